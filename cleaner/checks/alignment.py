"""Compares grey thumbnails: how alike two pictures are where they overlap, if one is cropped, shifted or scaled."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.checks.descriptors import GREY_SIDE

__all__ = ["likeness"]

Grey = npt.NDArray[Any]

# Sides to which the second thumbnail is scaled: of thumbnails of half the side, which takes a quarter of the time, and
# of whole ones, first some and then the others. A crop of 15 % makes a picture larger by 18 %.
_COARSE_SIDES = (13, 16, 19)
_FIRST_SIDES, _OTHER_SIDES = (27, 32, 38), (25, 26, 28, 29, 30, 31, 33, 34, 35, 36, 37, 40)
# The correlation after each of these steps with which the next one is taken, the last of which looks at the details. Of
# copies 97 in 100 have more, of the nearest neighbours that are none 20, 6 and 3.
_COARSE, _PROMISING, _NEAR = 0.78, 0.85, 0.88
# The least of each side that overlaps.
_OVERLAP = 0.8
# The share of the overlap that differs most is left out, twice, such as a text on one of the pictures.
_LEFT_OUT = 0.08
# Details are what is left without the mean of so many pixels around.
_AROUND = 3
# A transform of this many sides holds all offsets without wrapping around.
_SIDES_OF_TRANSFORM = 1.5
# A picture with less variance, in squares of 255 levels, is plain: all such pictures are alike.
_MIN_VARIANCE, _MIN_DETAIL = 25.0, 2.0
_AT_ONCE = 256


class _Best(NamedTuple):
    """The best alignment so far of each pair: correlation, side of the second picture, and offsets."""

    score: npt.NDArray[np.float32]
    side: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]


def likeness(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return how alike the pictures of each pair are: the correlation of their details at the best alignment.

    The alignment is that of the highest correlation at several scales, computed with Fourier transforms and sums over
    rectangles as by Lewis, "Fast normalized cross-correlation". Two scenes of one kind, such as two sunsets, reach .98
    there, as much as copies; in their details, without the mean of the pixels around, they do not.

    Args:
        first, second: uint8 [n, `GREY_SIDE`, `GREY_SIDE`], of the same pictures or others.

    Returns:
        float32 [n], 0 to 1. Of 250 photos none was more alike than .7 to another; of copies of them, however changed,
        19 of 20 are above .94. Small pictures of one object on plain ground can reach .9. Plain pictures are alike to
        none.
    """
    scores = [
        _likeness(first[start : start + _AT_ONCE], second[start : start + _AT_ONCE])
        for start in range(0, len(first), _AT_ONCE)
    ]
    return np.concatenate(scores) if scores else np.empty(0, np.float32)


def _likeness(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    scores = np.zeros(len(first), np.float32)
    a, b = _blurred(first), _blurred(second)
    at = np.flatnonzero(_align(_halved(a), _halved(b), _COARSE_SIDES).score > _COARSE)
    a, b = a[at], b[at]
    best = _align(a, b, _FIRST_SIDES)
    promising = np.flatnonzero(best.score > _PROMISING)
    others = _align(a[promising], b[promising], _OTHER_SIDES)
    is_better = others.score > best.score[promising]
    for name in _Best._fields:
        old, new = getattr(best, name), getattr(others, name)
        old[promising] = np.where(is_better, new, old[promising])
    for n in np.flatnonzero(best.score > _NEAR).tolist():
        overlap = _overlap(a[n], b[n], int(best.side[n]), int(best.down[n]), int(best.right[n]))
        scores[at[n]] = max(0.0, _correlation_of_details(*overlap))
    return scores


def _align(a: Grey, b: Grey, sides: tuple[int, ...]) -> _Best:
    n, full = len(a), a.shape[1]
    best = _Best(np.full(n, -1, np.float32), *(np.zeros(n, np.int64) for _ in range(3)))
    if not n:
        return best
    shape = (int(_SIDES_OF_TRANSFORM * full),) * 2
    transformed = np.fft.rfft2(a, shape)
    of_a = _integral(a), _integral(a * a)
    for side in sides:
        scaled = _scaled(b, side)
        product = transformed * np.conj(np.fft.rfft2(scaled, shape))
        offsets = _offsets(side, full)
        correlation = np.fft.irfft2(product, shape)[:, offsets[:, None], offsets]
        scores = _normalised(correlation, of_a, (_integral(scaled), _integral(scaled * scaled)), side, full)
        flat = scores.reshape(n, -1)
        where = flat.argmax(axis=1)
        found = flat[np.arange(n), where]
        better = found > best.score
        best.score[better], best.side[better] = found[better], side
        best.down[better] = offsets[where // len(offsets)][better]
        best.right[better] = offsets[where % len(offsets)][better]
    return best


def _normalised(correlation: Grey, of_a: tuple[Grey, Grey], of_b: tuple[Grey, Grey], side: int, full: int) -> Grey:
    """Return the correlation coefficients [n, offsets, offsets] of the overlaps."""
    offsets = _offsets(side, full)
    begin, end = np.maximum(0, offsets), np.minimum(full, offsets + side)
    length = (end - begin).astype(np.float32)
    n = length[:, None] * length
    sum_a, square_a = (_rectangles(image, begin, end) for image in of_a)
    sum_b, square_b = (_rectangles(image, begin - offsets, end - offsets) for image in of_b)
    variance_a = square_a - sum_a * sum_a / n
    variance_b = square_b - sum_b * sum_b / n
    is_plain = (variance_a < _MIN_VARIANCE * n) | (variance_b < _MIN_VARIANCE * n)
    product = np.where(is_plain, 1, variance_a * variance_b)
    scores: Grey = np.where(is_plain, -1, (correlation - sum_a * sum_b / n) / np.sqrt(product)).astype(np.float32)
    return scores


def _overlap(a: Grey, b: Grey, side: int, down: int, right: int) -> tuple[Grey, Grey]:
    """Return the pixels of both pictures where they overlap."""
    scaled = _scaled(b[None], side)[0]
    rows, columns = ((max(0, at), min(GREY_SIDE, at + side)) for at in (down, right))
    part_a = a[rows[0] : rows[1], columns[0] : columns[1]]
    return part_a, scaled[rows[0] - down : rows[1] - down, columns[0] - right : columns[1] - right]


def _correlation_of_details(first: Grey, second: Grey) -> float:
    """Return the correlation of the details of two pictures, without the pixels that differ most."""
    a, b = (_details(picture).reshape(-1) for picture in (first, second))
    for _ in range(2):
        if min(a.var(), b.var()) < _MIN_DETAIL:
            return 0.0
        differences = np.abs(a - a.mean() - (a @ b / len(a) - a.mean() * b.mean()) / b.var() * (b - b.mean()))
        kept = differences <= np.quantile(differences, 1 - _LEFT_OUT)
        a, b = a[kept], b[kept]
    # Roots, as else a bird on a plain sky would be a copy of any other: one strong detail would decide.
    a, b = (np.sign(values) * np.sqrt(np.abs(values)) for values in (a, b))
    return float(np.corrcoef(a, b)[0, 1]) if min(a.var(), b.var()) > 0 else 0.0


def _details(picture: Grey) -> npt.NDArray[np.float64]:
    """Return a picture without the mean of the pixels around each of its pixels."""
    width = 2 * _AROUND + 1
    sums = _integral(np.pad(picture, _AROUND, mode="reflect")[None])[0]
    around = sums[width:, width:] - sums[:-width, width:] - sums[width:, :-width] + sums[:-width, :-width]
    details: npt.NDArray[np.float64] = picture - around / width**2
    return details


def _blurred(thumbnails: npt.NDArray[np.uint8]) -> Grey:
    """Return thumbnails without their finest details, which differ after scaling and shifts by parts of a pixel."""
    values = np.pad(thumbnails.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    values = values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]
    blurred: Grey = (values[..., :-2] + 2 * values[..., 1:-1] + values[..., 2:]) / 16
    return blurred


def _scaled(images: Grey, side: int) -> Grey:
    weights = _interpolation(side, images.shape[1])
    scaled: Grey = weights @ images @ weights.T
    return scaled


def _halved(images: Grey) -> Grey:
    n, side, _ = images.shape
    halved: Grey = images.reshape(n, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return halved


@cache
def _interpolation(side: int, full: int) -> Grey:
    """Return the matrix [side, full] of a linear interpolation."""
    at = np.clip((np.arange(side) + 0.5) * full / side - 0.5, 0, full - 1)
    distance = np.abs(at[:, None] - np.arange(full))
    weights: Grey = np.maximum(0, 1 - distance).astype(np.float32)
    return weights


@cache
def _offsets(side: int, full: int) -> npt.NDArray[np.int64]:
    """Return the offsets of a picture of `side` in one of `full` at which enough of both overlaps."""
    least = int(np.ceil(_OVERLAP * min(side, full)))
    return np.arange(least - side, full - least + 1)


def _integral(images: Grey) -> npt.NDArray[np.float64]:
    """Return the sums [n, side + 1, side + 1] of all pixels above and left of each corner."""
    sums = images.astype(np.float64).cumsum(axis=1).cumsum(axis=2)
    return np.pad(sums, ((0, 0), (1, 0), (1, 0)))


def _rectangles(
    sums: npt.NDArray[np.float64], begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the sums [n, k, k] over the rectangles of `k` ranges in both directions."""
    rows = sums[:, end] - sums[:, begin]
    found: npt.NDArray[np.float64] = rows[:, :, end] - rows[:, :, begin]
    return found
