"""The features that a scan kept, by the positions of images in a check, and joined with their colour descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.descriptors import unit
from cleaner.core.features import Features

__all__ = ["Described", "features_of", "joined"]

Described = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""Returns the features float32 [n, m] of images at some positions, of about unit length; zeros where there are none."""


def features_of(features: Features, paths: Iterable[str]) -> Described:
    """Return a function that looks up the short features of images by their positions among `paths`."""
    rows = features.rows_of(paths)

    def described(at: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        found = features.short[np.maximum(0, rows[at])].astype(np.float32)
        found[rows[at] < 0] = 0
        return found

    return described


def joined(records: npt.NDArray[Any], at: npt.NDArray[np.int64], described: Described) -> npt.NDArray[np.float32]:
    """Return features beside colour descriptors: the cosine of two rows is the mean of both cosines."""
    rows: npt.NDArray[np.float32] = np.hstack([described(at), unit(records["descriptor"][at])]) * np.float32(0.5**0.5)
    return rows
