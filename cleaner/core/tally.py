"""Counts over every sample of a scan: the sparse confusion counts, from which the counts per class follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch

__all__ = ["ConfusionCell", "Tally"]


class ConfusionCell(NamedTuple):
    """That `n` samples of class `label` were predicted as class `predicted`; both are indices into the vocabulary."""

    label: int
    predicted: int
    n: int


class Tally:
    """The confusion counts of a stream of scored samples; memory grows with the number of non-zero cells.

    Args:
        n_classes: number of classes, at least 1.

    Raises:
        CleanerError: the number is below 1.
    """

    def __init__(self, n_classes: int) -> None:
        if n_classes < 1:
            raise CleanerError(f"got {n_classes} classes; at least 1 is needed")
        self.n_classes = n_classes
        self.scored = 0
        self.unreadable = 0
        self._cells: Counter[int] = Counter()

    def update(self, batch: ScoredBatch) -> None:
        """Count a batch.

        Raises:
            CleanerError: a label or a prediction is not the index of a class.
        """
        for name, indices in (("labels", batch.labels), ("predictions", batch.predicted)):
            if len(indices) and (indices.min() < 0 or indices.max() >= self.n_classes):
                raise CleanerError(
                    f"{name} from {indices.min()} to {indices.max()} came for {self.n_classes} classes; "
                    f"0 to {self.n_classes - 1} are accepted"
                )
        cells, counts = np.unique(batch.labels * self.n_classes + batch.predicted, return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._cells[cell] += count
        self.scored += len(batch.labels)
        self.unreadable += len(batch.unreadable)

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally, of other samples.

        Raises:
            CleanerError: the other has another number of classes.
        """
        if other.n_classes != self.n_classes:
            raise CleanerError(f"cannot merge counts of {other.n_classes} classes into counts of {self.n_classes}")
        self._cells.update(other._cells)
        self.scored += other.scored
        self.unreadable += other.unreadable

    def to_arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """The counts as plain arrays for a file; `from_arrays` gives the same counts back."""
        return {
            "cells": np.array(list(self._cells), np.int64),
            "counts": np.array(list(self._cells.values()), np.int64),
            "totals": np.array([self.scored, self.unreadable], np.int64),
        }

    @classmethod
    def from_arrays(cls, n_classes: int, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Tally:
        """The counts that `to_arrays` gave."""
        tally = cls(n_classes)
        tally._cells = Counter(dict(zip(arrays["cells"].tolist(), arrays["counts"].tolist(), strict=True)))
        tally.scored, tally.unreadable = arrays["totals"].tolist()
        return tally

    def result(self) -> list[ConfusionCell]:
        """The non-zero cells, by label and predicted class."""
        return [ConfusionCell(*divmod(cell, self.n_classes), count) for cell, count in sorted(self._cells.items())]
