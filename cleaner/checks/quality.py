"""Issues of single images, from their measurements: what shows little, and what differs from most of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.records import Finding
from cleaner.core.issues import QUALITY

__all__ = ["MAX_KEPT", "Quality", "Worst", "find_quality"]

MAX_KEPT = 1000
"""Maximum number of images that are listed for an issue, the worst."""

_BLOCK = 1 << 16

# The figures are those of 250 photos of ImageNet and of 10,000 images of CIFAR-10, each at its most extreme but for one
# in a thousand of CIFAR-10, and of degraded copies of them.
_DARK = 0.32  # darkest photo .49, CIFAR .44; divided by 4: .26 at most
_BRIGHT = 0.78  # brightest photo .58, CIFAR .67; with a sixth of its distance from white: .83 at least
_CONTRAST = 0.2  # photo .34, CIFAR .23; with 15 % of its contrast: .16 at most
_SHARPNESS = 0.15  # photo .21, CIFAR .32; blurred by 1 % of the side: .13 at most for 99 in 100, by 2 %: .06
_UNIFORM = 0.95  # photo .66, CIFAR .77; of one colour with noise of 6 levels: 1
_GREY = 0.02  # photos in colour .05; those in grey 0
# Grey images, and those of another size or shape, are odd where at most this share of the dataset is: with 10 % of the
# photos taken upright, being upright is usual. Of the photos 2 % are grey, of CIFAR-10 1.3 %.
_MAX_SHARE_OF_ODD = 0.05
# An image is odd that is further from the median than this many times the usual distance, which holds for two thirds
# of the images; and by this factor at least, as all sizes may be nearly equal.
_USUAL_DISTANCES = 5.0
_SHAPE_FACTOR, _AREA_FACTOR, _SHARPNESS_FACTOR = 1.8, 10.0, 2.0
# Where more images are blurred than this, as all were scaled up, those are that are far below the others.
_MAX_SHARE_OF_BLURRED = 0.5
_LEAST_SHARPNESS = 1e-4
# Much smaller than the learner's input: stretched to more than twice its side.
_SMALL = 0.5


@dataclass(frozen=True)
class Quality:
    """The issues of single images.

    Attributes:
        findings: by issue, worst first; of each issue the `MAX_KEPT` worst.
        by_class: int64 [n_classes] by issue, number of all images with the issue.
    """

    findings: list[Finding]
    by_class: dict[str, npt.NDArray[np.int64]]


def find_quality(
    records: npt.NDArray[Any], classes: npt.NDArray[np.uint32], n_classes: int, input_size: int | None = None
) -> Quality:
    """Find the issues of single images.

    Args:
        records: RECORD [n]; read in blocks, twice.
        classes: index [n] of the label of each.
        n_classes: number of labels.
        input_size: side of the images that a learner takes, in pixels; None for no issue `small`.
    """
    usual = _Usual()
    for _, block in _blocks(records):
        usual.update(block)
    limits = usual.result(input_size)
    worst = {issue: Worst() for issue in QUALITY}
    by_class = {issue: np.zeros(n_classes, np.int64) for issue in QUALITY}
    for start, block in _blocks(records):
        for issue, scores in _scores(block, limits).items():
            at = np.flatnonzero(~np.isnan(scores))
            by_class[issue] += np.bincount(classes[start : start + len(block)][at], minlength=n_classes)
            worst[issue].update(start + at, scores[at])
    findings = [
        Finding(issue, at, min(1.0, max(0.0, score)), _DETAILS[issue](records[at], limits))
        for issue, kept in worst.items()
        for at, score in kept.result()
    ]
    return Quality(findings, {issue: counts for issue, counts in by_class.items() if counts.any()})


@dataclass(frozen=True)
class _Limits:
    """The usual values of a dataset, and the limits that follow from them.

    Attributes:
        shape, area: median of the binary logarithm of width by height, and of the number of pixels.
        max_shape, max_area: distance from it at which an image is odd.
        sharpness: images below it are blurred.
        grey_is_odd: whether few images are grey.
        min_side: images with a shorter side are small; 0 for none.
    """

    shape: float
    max_shape: float
    area: float
    max_area: float
    sharpness: float
    grey_is_odd: bool
    min_side: float


@dataclass
class _Usual:
    """Accumulates what is usual: histograms of fixed bins, so that memory does not grow with the images."""

    n: int = 0
    grey: int = 0
    blurred: int = 0
    shapes: _Histogram = field(default_factory=lambda: _Histogram(-20, 20))
    areas: _Histogram = field(default_factory=lambda: _Histogram(0, 40))
    sharpness: _Histogram = field(default_factory=lambda: _Histogram(-20, 2))

    def update(self, block: npt.NDArray[Any]) -> None:
        self.n += len(block)
        self.grey += int(np.count_nonzero(_is_grey(block)))
        self.shapes.update(_shape(block))
        self.areas.update(_area(block))
        self.blurred += int(np.count_nonzero(block["sharpness"] < _SHARPNESS))
        self.sharpness.update(np.log2(np.maximum(block["sharpness"].astype(np.float64), _LEAST_SHARPNESS)))

    def result(self, input_size: int | None) -> _Limits:
        sharpness = _SHARPNESS
        if self.blurred > _MAX_SHARE_OF_BLURRED * self.n:
            middle, distance = self.sharpness.result(_SHARPNESS_FACTOR)
            sharpness = min(sharpness, 2.0 ** (middle - distance))
        return _Limits(
            *self.shapes.result(_SHAPE_FACTOR),
            *self.areas.result(_AREA_FACTOR),
            sharpness,
            0 < self.grey <= _MAX_SHARE_OF_ODD * self.n,
            (input_size or 0) * _SMALL,
        )


class _Histogram:
    """A sketch of quantiles: counts in bins of a 64th of an octave."""

    def __init__(self, low: int, high: int) -> None:
        self._edges = np.linspace(low, high, 64 * (high - low) + 1)
        self._counts = np.zeros(len(self._edges) - 1, np.int64)

    def update(self, values: npt.NDArray[np.float64]) -> None:
        self._counts += np.histogram(values, self._edges)[0]

    def result(self, factor: float) -> tuple[float, float]:
        """Return the median, and the distance from it beyond which a value is odd.

        That is `_USUAL_DISTANCES` times the distance of the quantiles of one and of five sixths, the larger of both; at
        least the logarithm of `factor`; and so far that at most `_MAX_SHARE_OF_ODD` of the values are beyond.
        """
        n = int(self._counts.sum())
        if not n:
            return 0.0, 0.0
        below = np.cumsum(self._counts) / n
        low, middle, high = (float(self._edges[np.searchsorted(below, q)]) for q in (1 / 6, 1 / 2, 5 / 6))
        # The outer edge of each bin, as all values of a bin are odd or none is.
        distances = np.maximum(np.abs(self._edges[:-1] - middle), np.abs(self._edges[1:] - middle))
        order = np.argsort(-distances, kind="stable")
        crowd = int(np.searchsorted(np.cumsum(self._counts[order]), _MAX_SHARE_OF_ODD * n, side="right"))
        usual = _USUAL_DISTANCES * max(middle - low, high - middle)
        return middle, max(usual, float(np.log2(factor)), float(distances[order[crowd]]))


class Worst:
    """The positions with the highest scores, at most `MAX_KEPT`; of equal ones the first."""

    def __init__(self) -> None:
        self._at, self._scores = np.empty(0, np.int64), np.empty(0)

    def update(self, at: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> None:
        self._at = np.concatenate([self._at, at])
        self._scores = np.concatenate([self._scores, scores])
        order = np.argsort(-self._scores, kind="stable")[:MAX_KEPT]
        self._at, self._scores = self._at[order], self._scores[order]

    def result(self) -> Iterator[tuple[int, float]]:
        return zip(self._at.tolist(), self._scores.tolist(), strict=True)


def _scores(block: npt.NDArray[Any], limits: _Limits) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores of a block, NaN for images without the issue: 0 at the threshold, 1 at the worst."""
    value = {name: block[name].astype(np.float64) for name in ("dark", "bright", "contrast", "sharpness", "uniform")}
    plain = value["uniform"] >= _UNIFORM
    is_dark, is_bright = value["dark"] < _DARK, value["bright"] > _BRIGHT
    sides = np.minimum(block["width"], block["height"])
    # A plain picture is dark or bright too, and a dark one has no contrast: the first reason is enough.
    return {
        "dark": _where(is_dark & ~plain, 1 - value["dark"] / _DARK),
        "bright": _where(is_bright & ~plain, (value["bright"] - _BRIGHT) / (1 - _BRIGHT)),
        "low-contrast": _where(
            (value["contrast"] < _CONTRAST) & ~plain & ~is_dark & ~is_bright, 1 - value["contrast"] / _CONTRAST
        ),
        "blurred": _where((value["sharpness"] < limits.sharpness) & ~plain, 1 - value["sharpness"] / limits.sharpness),
        "one-colour": _where(plain, (value["uniform"] - _UNIFORM) / (1 - _UNIFORM)),
        "odd-shape": _oddness(_shape(block), limits.shape, limits.max_shape),
        "odd-size": _oddness(_area(block), limits.area, limits.max_area),
        "small": _where(sides < limits.min_side, 1 - sides / max(1.0, limits.min_side)),
        "grey": _where(_is_grey(block) & limits.grey_is_odd, np.ones(len(block))),
        "wrong-suffix": _where(block["wrong_suffix"], np.ones(len(block))),
        "rotated": _where(block["rotated"], np.ones(len(block))),
    }


def _where(mask: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mask, scores, np.nan)


def _is_grey(block: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which pictures are grey; not those that are plain, dark or pale, as these show no colours anyway."""
    shows_much = (block["uniform"] < _UNIFORM) & (block["contrast"] >= _CONTRAST)
    is_grey: npt.NDArray[np.bool_] = (block["colour"] < _GREY) & shows_much
    return is_grey


def _oddness(values: npt.NDArray[np.float64], usual: float, limit: float) -> npt.NDArray[np.float64]:
    """Return scores that grow from 0 at the limit towards 1."""
    distance = np.abs(values - usual)
    return _where(distance > limit, 1 - limit / np.maximum(distance, limit))


def _shape(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    shape: npt.NDArray[np.float64] = np.log2(block["width"] / block["height"])
    return shape


def _area(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    area: npt.NDArray[np.float64] = np.log2(block["width"].astype(np.float64) * block["height"])
    return area


def _blocks(records: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    return ((start, records[start : start + _BLOCK]) for start in range(0, len(records), _BLOCK))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _size(record: Any) -> str:
    return f"{record['width']} x {record['height']} pixels"


def _odd_size_detail(record: Any, limits: _Limits) -> str:
    factor = 2 ** float(_area(np.atleast_1d(record))[0] - limits.area)
    relation = f"{factor:.0f} times" if factor > 1 else f"1/{1 / factor:.0f} of"
    return f"{_size(record)}, {relation} the usual number in this dataset"


def _odd_shape_detail(record: Any, limits: _Limits) -> str:
    usual = 2**limits.shape
    return f"{_size(record)}, a ratio of {record['width'] / record['height']:.2g}; usual here is {usual:.2g}"


_DETAILS: dict[str, Callable[[Any, _Limits], str]] = {
    "dark": lambda record, _: f"99 % of it is darker than {_percent(record['dark'])} of white",
    "bright": lambda record, _: f"95 % of it is brighter than {_percent(record['bright'])} of white",
    "low-contrast": lambda record, _: f"98 % of it lies within {_percent(record['contrast'])} of the brightness",
    "blurred": lambda record, _: f"its edges have {_percent(record['sharpness'])} of its contrast",
    "one-colour": lambda record, _: f"{_percent(record['uniform'])} of it has one colour",
    "odd-shape": _odd_shape_detail,
    "odd-size": _odd_size_detail,
    "small": lambda record, limits: f"{_size(record)}; the learner takes {limits.min_side / _SMALL:.0f}",
    "grey": lambda *_: "grey, while most images of this dataset have colours",
    "wrong-suffix": lambda *_: "its suffix is that of another format than its content",
    "rotated": lambda *_: "its EXIF data turn or mirror it, which many loaders ignore",
}
