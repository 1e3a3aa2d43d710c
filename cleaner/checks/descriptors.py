"""Small descriptions of a picture, by which its copies are found: a hash, a colour descriptor, a grey thumbnail."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["GREY_SIDE", "dct_hash", "descriptor", "grey_thumbnail", "mirrored", "unit", "without_border"]

GREY_SIDE = 32
"""Side of a grey thumbnail in pixels."""

_SIDE = 8
# A border is a strip whose brightness differs by less than this from one row of pixels to the next, of 255.
_PLAIN = 8.0
# The most of a side that is taken for a border, on each end.
_MAX_BORDER = 0.2


def dct_hash(rgb: Image.Image) -> int:
    """Return a perceptual hash of 64 bits: which of the lowest 8 x 8 frequencies are above their median.

    The method is pHash, as in `ImageHash`: the discrete cosine transform of 32 x 32 grey pixels.
    """
    grey = grey_thumbnail(rgb).astype(np.float32)
    cosines = _cosines()
    low = cosines @ grey @ cosines.T
    bits = (low > np.median(low)).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def descriptor(rgb: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the picture at 8 x 8 pixels, row by row, as uint8 [192]."""
    small = rgb.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).reshape(-1)


def grey_thumbnail(rgb: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the picture in grey, squeezed to a square, as uint8 [`GREY_SIDE`, `GREY_SIDE`]."""
    return np.asarray(rgb.convert("L").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX), np.uint8)


def unit(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return descriptors [n, m] with their mean removed and unit length; zeros for a picture of one brightness."""
    values = descriptors.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    # Below this length it is noise, by which all plain pictures would be alike.
    values /= np.where(lengths < 2 * math.sqrt(values.shape[1]), np.inf, lengths)
    return values


def mirrored(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the descriptors [n, 192] of the mirrored pictures."""
    pixels = descriptors.reshape(-1, _SIDE, _SIDE, 3)
    return np.ascontiguousarray(pixels[:, :, ::-1]).reshape(descriptors.shape)


def without_border(rgb: Image.Image) -> Image.Image:
    """Return the picture without plain strips along its edges, such as a frame or what a shift leaves empty.

    A picture that is plain to the middle is returned as it is.
    """
    grey = np.asarray(rgb.convert("L"), np.float32)
    top, bottom = _strips(grey)
    left, right = _strips(grey.T)
    if not (top or bottom or left or right):
        return rgb
    return rgb.crop((left, top, rgb.width - right, rgb.height - bottom))


def _strips(grey: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Return how many rows at the beginning and at the end of a picture are plain and of the brightness of its edge."""
    limit = int(len(grey) * _MAX_BORDER)
    ends = (grey[: limit + 1], grey[::-1][: limit + 1])
    counts = []
    for rows in ends:
        is_plain = np.abs(rows - np.median(rows[0])).mean(axis=1) < _PLAIN
        count = int(np.argmin(is_plain)) if not is_plain.all() else 0
        counts.append(count)
    return counts[0], counts[1]


@cache
def _cosines() -> npt.NDArray[np.float32]:
    """Return the first 8 rows of the matrix of the discrete cosine transform of 32 values."""
    frequency, at = np.arange(_SIDE)[:, None], np.arange(GREY_SIDE)
    return np.cos(np.pi * frequency * (2 * at + 1) / (2 * GREY_SIDE)).astype(np.float32)
