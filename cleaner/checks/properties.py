"""Properties of the images that tell the label by themselves, such as that all cats are dark.

A model learns such a property instead of what the label means. The idea is that of Datalab's spurious correlations;
here the label is guessed from a histogram of the property, filled by one half of the images and tried on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Telling", "telling_properties"]

_BLOCK = 1 << 16
_BINS = 24
# Reported is what is guessed by this much better than by chance, of the way to always right, in classes of this size.
_MIN_GAIN, _MIN_OF_CLASS = 0.25, 20
# And by this many standard errors: in small classes luck alone guesses much, and six properties are tried.
_MIN_ERRORS = 5.0
# A class is set apart from the others if this share of both is guessed right. Half is by chance; of random classes of
# 20 images .77 at most, of CIFAR-10 .67; and .99 where all cats are four times darker.
_MIN_APART = 0.85

_PROPERTIES = {
    "brightness": ("how bright they are", 0.0, 1.0),
    "contrast": ("their contrast", 0.0, 1.0),
    "sharpness": ("how sharp they are", 0.0, 1.6),
    "colour": ("how colourful they are", 0.0, 1.0),
    "area": ("their number of pixels", 6.0, 26.0),
    "shape": ("their shape", -2.0, 2.0),
}


class Telling(NamedTuple):
    """A property, and the accuracy with which it tells the label.

    Attributes:
        name: a key such as `brightness`.
        accuracy: mean over the classes of the share that is guessed right from the property alone, 0 to 1.
        chance: that accuracy without knowing anything.
        error: the standard error of the accuracy without knowing anything.
        label: index of the class that is guessed best.
        of_label: the share of that class that is guessed right.
        apart: index of the class that is told best from all others.
        of_apart: mean of the shares of that class and of the others that are guessed right, .5 by chance.
    """

    name: str
    accuracy: float
    chance: float
    error: float
    label: int
    of_label: float
    apart: int
    of_apart: float


def telling_properties(
    records: npt.NDArray[Any], classes: npt.NDArray[np.uint32], labels: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence for each property that tells the label.

    Args:
        records: RECORD [n].
        classes: index [n] of the label of each.
        labels: names of the labels; an empty one counts as a label too.
    """
    for found in guesses(records, classes, len(labels)):
        if found.accuracy - found.chance > max(_MIN_GAIN * (1 - found.chance), _MIN_ERRORS * found.error):
            what = _PROPERTIES[found.name][0]
            yield (
                f"{what} alone tells the label of {found.accuracy:.0%} of the images, {found.chance:.0%} by chance; "
                f"most of {labels[found.label]!r} ({found.of_label:.0%}). A model may learn that instead"
            )
        elif found.of_apart > _MIN_APART:
            # One class of many, which changes the accuracy of all little.
            yield (
                f"{_PROPERTIES[found.name][0]} alone tells {labels[found.apart]!r} from the other labels: "
                f"{found.of_apart:.0%} right, 50% by chance. A model may learn that instead"
            )


def guesses(records: npt.NDArray[Any], classes: npt.NDArray[np.uint32], n_classes: int) -> list[Telling]:
    """Return how well each property tells the label; nothing for fewer than two classes with enough images."""
    # [property, half, class, bin]: memory that does not grow with the images
    counts = np.zeros((len(_PROPERTIES), 2, n_classes, _BINS), np.int64)
    for start in range(0, len(records), _BLOCK):
        block, of_block = records[start : start + _BLOCK], classes[start : start + _BLOCK].astype(np.int64)
        halves = np.arange(start, start + len(block)) % 2
        for number, (name, (_, low, high)) in enumerate(_PROPERTIES.items()):
            bins = np.clip(((_values(block, name) - low) / (high - low) * _BINS).astype(np.int64), 0, _BINS - 1)
            np.add.at(counts[number], (halves, of_block, bins), 1)
    large = np.flatnonzero(counts[0].sum(axis=(0, 2)) >= _MIN_OF_CLASS)
    if len(large) < 2:
        return []
    return [_telling(name, counts[number][:, large], large) for number, name in enumerate(_PROPERTIES)]


def _telling(name: str, counts: npt.NDArray[np.int64], large: npt.NDArray[np.int64]) -> Telling:
    """Return how well a property tells the label, from counts [half, class, bin]."""
    right, apart = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    for known, tried in ((counts[0], counts[1]), (counts[1], counts[0])):
        # Each class counts the same. A bin that no image of the known half is in tells nothing.
        shares = (known + 1e-3) / (known.sum(axis=1, keepdims=True) + 1e-3 * known.shape[1])
        tried_shares = tried / np.maximum(1, tried.sum(axis=1, keepdims=True))
        is_right = np.argmax(shares, axis=0) == np.arange(len(known))[:, None]
        right += (tried_shares * is_right).sum(axis=1) / 2
        is_own = shares > _of_others(shares)
        apart += ((tried_shares * is_own).sum(axis=1) + (_of_others(tried_shares) * ~is_own).sum(axis=1)) / 4
    best, most_apart, chance = int(np.argmax(right)), int(np.argmax(apart)), 1 / len(large)
    error = float(np.sqrt((chance * (1 - chance) / counts.sum(axis=(0, 2))).sum())) / len(large)
    told = int(large[best]), float(right[best])
    return Telling(name, float(right.mean()), chance, error, *told, int(large[most_apart]), float(apart[most_apart]))


def _of_others(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each class the mean of the shares [class, bin] of the other classes."""
    others: npt.NDArray[np.float64] = (shares.sum(axis=0) - shares) / (len(shares) - 1)
    return others


def _values(block: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    width, height = block["width"].astype(np.float64), block["height"].astype(np.float64)
    if name == "area":
        return np.log2(width * height)
    if name == "shape":
        return np.log2(width / height)
    values: npt.NDArray[np.float64] = block[name].astype(np.float64)
    return values
