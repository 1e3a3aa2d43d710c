"""The record of an image that one pass over the files makes, of a fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cleaner.checks.descriptors import GREY_SIDE

__all__ = ["DESCRIPTOR_SIZE", "RECORD", "CopyGroup", "Finding"]

DESCRIPTOR_SIZE = 192
"""Bytes of a descriptor: 8 x 8 pixels of three colours."""

RECORD = np.dtype(
    [
        ("width", "<u4"),  # upright, in pixels
        ("height", "<u4"),
        ("dark", "<f4"),  # 99th percentile of the brightness, 0 to 1
        ("bright", "<f4"),  # 5th percentile of the brightness, 0 to 1
        ("brightness", "<f4"),  # mean, 0 to 1
        ("contrast", "<f4"),  # between the 1st and the 99th percentile of the brightness, 0 to 1
        ("sharpness", "<f4"),  # strength of the strongest edges as a share of the contrast
        ("uniform", "<f4"),  # share of the picture that has about its median colour, 0 to 1
        ("colour", "<f4"),  # how far the colours are from grey, 0 to 1
        ("wrong_suffix", "?"),
        ("rotated", "?"),
        ("bytes_sha256", "u1", 32),
        ("pixels_sha256", "u1", 32),
        ("hash", "<u8"),
        ("descriptor", "u1", DESCRIPTOR_SIZE),
        ("grey", "u1", (GREY_SIDE, GREY_SIDE)),  # a thumbnail, to compare candidates
    ]
)
"""A record; images are in an array of these, on the disk."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An issue of one image.

    Attributes:
        issue: a key of `cleaner.core.issues.QUALITY`.
        at: position of its record.
        score: 0 to 1, higher is worse.
        detail: the reason in words.
    """

    issue: str
    at: int
    score: float
    detail: str


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """Images that are copies of each other.

    Attributes:
        members: positions of their records, the one to keep first.
        scores: how alike each member is to the first, 0 to 1; 1 for the same pixels.
        details: of each member, how it is a copy of the first, in words, such as `same bytes` or `mirrored`.
    """

    members: tuple[int, ...]
    scores: tuple[float, ...]
    details: tuple[str, ...]
