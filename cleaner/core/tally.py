"""Counts over all samples of a scan: sparse confusion counts, and the losses of each class.

All sums are whole numbers (losses are added in units of 2**-20), so they depend neither on batches nor on shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import LOSS_EDGES, ScoredBatch

__all__ = ["MAX_LOSS", "ClassTally", "ConfusionCell", "Tally", "check_indices"]

_UNITS = 1 << 20  # per nat
MAX_LOSS = float(1 << 20)
"""Losses are clipped to this in a mean, so that the sum of eight million of them fits a 64-bit integer."""
_EDGES = np.array(LOSS_EDGES)
_NOT_FINITE = len(LOSS_EDGES) + 1  # the bin after the last
_BINS = _NOT_FINITE + 1

# Samples counted at once; large, because counting sorts all cells.
_RECENT = 1 << 19


class ConfusionCell(NamedTuple):
    """Number `n` of samples of class `label` predicted as class `predicted`, as indices into the vocabulary."""

    label: int
    predicted: int
    n: int


class ClassTally(NamedTuple):
    """Counts of all samples of class `label`, an index into the vocabulary; fields as in `records.ClassLosses`."""

    label: int
    scored: int
    predicted_otherwise: int
    mean_loss: float
    not_finite: int
    histogram: tuple[int, ...]


class Tally:
    """The counts of a stream of scored samples; memory grows with the classes and the non-zero cells.

    Args:
        n_classes: number of classes, at least 1.

    Raises:
        CleanerError: the number is below 1.
    """

    def __init__(self, n_classes: int) -> None:
        if n_classes < 1:
            raise CleanerError(f"expected at least 1 class, got {n_classes}")
        self.n_classes = n_classes
        self.scored = 0
        self.unreadable = 0
        # The counted cells, sorted, and the cells of later samples, whose untouched pages cost no memory.
        self._cells = self._counts = np.empty(0, np.int64)
        self._recent = np.empty(_RECENT, np.int64)
        self._losses = np.empty(_RECENT, np.float64)
        self._sums = np.zeros(n_classes, np.int64)
        self._bins = np.zeros((n_classes, _BINS), np.int64)
        self._filled = 0
        # Merged cells and counts that are not added up yet, and how many.
        self._merged: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        self._waiting = 0

    def update(self, batch: ScoredBatch) -> None:
        """Count a batch.

        Raises:
            CleanerError: a label or a prediction is not the index of a class.
        """
        check_indices("labels", batch.labels, self.n_classes)
        check_indices("predictions", batch.predicted, self.n_classes)
        cells = batch.labels * self.n_classes + batch.predicted
        for begin in range(0, len(cells), _RECENT):
            block = cells[begin : begin + _RECENT]
            if self._filled + len(block) > _RECENT:
                self._settle()
            free = slice(self._filled, self._filled + len(block))
            self._recent[free], self._losses[free] = block, batch.losses[begin : begin + _RECENT]
            self._filled += len(block)
        self.scored += len(batch.labels)
        self.unreadable += len(batch.unreadable)

    def merge(self, other: Tally) -> None:
        """Add the counts of a tally over other samples.

        Raises:
            CleanerError: the other tally has another number of classes.
        """
        if other.n_classes != self.n_classes:
            raise CleanerError(f"cannot merge counts of {other.n_classes} classes into counts of {self.n_classes}")
        other._settle()
        self._merged.append((other._cells, other._counts))
        self._waiting += len(other._cells)
        if self._waiting > _RECENT:
            self._settle()
        self._sums += other._sums
        self._bins += other._bins
        self.scored += other.scored
        self.unreadable += other.unreadable

    def to_arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the counts as plain arrays for a file; `from_arrays` inverts this."""
        self._settle()
        totals = np.array([self.scored, self.unreadable], np.int64)
        sums, bins = self._sums.copy(), self._bins.copy()
        return {"cells": self._cells, "counts": self._counts, "totals": totals, "loss_sums": sums, "loss_bins": bins}

    @classmethod
    def from_arrays(cls, n_classes: int, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Tally:
        """Return the tally from the arrays of `to_arrays`.

        Raises:
            CleanerError: the arrays do not fit the number of classes.
        """
        tally = cls(n_classes)
        sums, bins = arrays["loss_sums"], arrays["loss_bins"]
        if (sums.shape, bins.shape) != (tally._sums.shape, tally._bins.shape):
            raise CleanerError(f"the saved counts are not those of {n_classes} classes and {_BINS} bins")
        tally._sums[:], tally._bins[:] = sums, bins
        tally._cells, tally._counts = arrays["cells"], arrays["counts"]
        tally.scored, tally.unreadable = arrays["totals"].tolist()
        return tally

    def result(self) -> list[ConfusionCell]:
        """Return the non-zero cells, by label and predicted class."""
        self._settle()
        cells = zip(self._cells.tolist(), self._counts.tolist(), strict=True)
        return [ConfusionCell(cell // self.n_classes, cell % self.n_classes, n) for cell, n in cells]

    def classes(self) -> list[ClassTally]:
        """Return the counts of all classes with a scored sample, in the order of the vocabulary."""
        self._settle()
        scored = self._bins.sum(axis=1)
        is_right = self._cells // self.n_classes == self._cells % self.n_classes
        otherwise = scored.copy()
        otherwise[self._cells[is_right] // self.n_classes] -= self._counts[is_right]
        found = np.flatnonzero(scored)
        finite = scored[found] - self._bins[found, _NOT_FINITE]
        means = self._sums[found] / _UNITS / np.where(finite, finite, np.nan)
        columns = (found, scored[found], otherwise[found], means, self._bins[found, _NOT_FINITE])
        histograms = map(tuple, self._bins[found, :_NOT_FINITE].tolist())
        rows = zip(*(column.tolist() for column in columns), histograms, strict=True)
        return [ClassTally(*row) for row in rows]

    def _settle(self) -> None:
        """Count the samples since the last call."""
        recent, ones = self._recent[: self._filled], np.ones(self._filled, np.int64)
        self._add_losses(recent // self.n_classes, self._losses[: self._filled])
        cells, counts = zip((self._cells, self._counts), (recent, ones), *self._merged, strict=True)
        self._merged, self._waiting, self._filled = [], 0, 0
        self._count(np.concatenate(cells), np.concatenate(counts))

    def _add_losses(self, labels: npt.NDArray[np.int64], losses: npt.NDArray[np.float64]) -> None:
        finite = np.isfinite(losses)
        bins = np.where(finite, np.searchsorted(_EDGES, losses, side="right"), _NOT_FINITE)
        np.add.at(self._bins.reshape(-1), labels * _BINS + bins, 1)
        units = np.rint(np.clip(losses[finite], -MAX_LOSS, MAX_LOSS) * _UNITS).astype(np.int64)
        np.add.at(self._sums, labels[finite], units)

    def _count(self, cells: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        """Sort cells with their counts, and add up the counts of equal cells."""
        self._cells, where = np.unique(cells, return_inverse=True)
        self._counts = np.bincount(where, counts, len(self._cells)).astype(np.int64)


def check_indices(name: str, indices: npt.NDArray[np.int64], n_classes: int) -> None:
    """Check that `indices` are those of classes; `name` names them in the error.

    Raises:
        CleanerError: an index is not from 0 to `n_classes - 1`.
    """
    if len(indices) and (indices.min() < 0 or indices.max() >= n_classes):
        found = f"{indices.min()} to {indices.max()}"
        raise CleanerError(f"{name} range from {found}; expected 0 to {n_classes - 1} for {n_classes} classes")
