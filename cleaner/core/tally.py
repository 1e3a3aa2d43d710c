"""Counts over every sample of a scan: the sparse confusion counts, and of each class the losses.

All of it is whole numbers, so that neither the batches nor the order of shards change anything: a loss is added up in
millionths, and counted in the bin of a histogram.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import LOSS_EDGES, ScoredBatch

__all__ = ["LARGEST_LOSS", "ClassTally", "ConfusionCell", "Tally"]

_UNITS = 1 << 20  # of one nat
LARGEST_LOSS = float(1 << 20)
"""A loss beyond this counts as this in a mean, so that the sum of eight million of them is still a 64-bit integer."""
_EDGES = np.array(LOSS_EDGES)
_NOT_FINITE = len(LOSS_EDGES) + 1  # the bin after the last
_BINS = _NOT_FINITE + 1

# So many samples are counted at once: counting sorts all cells, so it must be worth it.
_RECENT = 1 << 19


class ConfusionCell(NamedTuple):
    """That `n` samples of class `label` were predicted as class `predicted`; both are indices into the vocabulary."""

    label: int
    predicted: int
    n: int


class ClassTally(NamedTuple):
    """Of all `scored` samples of class `label`, an index into the vocabulary; fields as in `records.ClassLosses`."""

    label: int
    scored: int
    predicted_otherwise: int
    mean_loss: float
    not_finite: int
    histogram: tuple[int, ...]


class Tally:
    """The counts of a stream of scored samples; memory grows with the number of classes and of non-zero cells.

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
        # The cells that were counted, sorted, and the cell of each sample that came since.
        self._cells = self._counts = np.empty(0, np.int64)
        self._recent = np.empty(_RECENT, np.int64)  # whose pages cost no memory before they are used
        self._losses = np.empty(_RECENT, np.float64)
        self._sums = np.zeros(n_classes, np.int64)
        self._bins = np.zeros((n_classes, _BINS), np.int64)
        self._filled = 0
        # Cells and counts that were merged and not added up yet, and how many.
        self._merged: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        self._waiting = 0

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
        cells = batch.labels * self.n_classes + batch.predicted
        for begin in range(0, len(cells), _RECENT):
            some = cells[begin : begin + _RECENT]
            if self._filled + len(some) > _RECENT:
                self._settle()
            self._recent[self._filled : self._filled + len(some)] = some
            self._losses[self._filled : self._filled + len(some)] = batch.losses[begin : begin + _RECENT]
            self._filled += len(some)
        self.scored += len(batch.labels)
        self.unreadable += len(batch.unreadable)

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally, of other samples.

        Raises:
            CleanerError: the other has another number of classes.
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
        """The counts as plain arrays for a file; `from_arrays` gives the same counts back."""
        self._settle()
        totals = np.array([self.scored, self.unreadable], np.int64)
        sums, bins = self._sums.copy(), self._bins.copy()
        return {"cells": self._cells, "counts": self._counts, "totals": totals, "loss_sums": sums, "loss_bins": bins}

    @classmethod
    def from_arrays(cls, n_classes: int, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Tally:
        """The counts that `to_arrays` gave.

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
        """The non-zero cells, by label and predicted class."""
        self._settle()
        cells = zip(self._cells.tolist(), self._counts.tolist(), strict=True)
        return [ConfusionCell(cell // self.n_classes, cell % self.n_classes, n) for cell, n in cells]

    def classes(self) -> list[ClassTally]:
        """The classes of which a sample was scored, in the order of the vocabulary."""
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
        """Count what came since the last time."""
        recent, ones = self._recent[: self._filled], np.ones(self._filled, np.int64)
        self._add_losses(recent // self.n_classes, self._losses[: self._filled])
        cells, counts = zip((self._cells, self._counts), (recent, ones), *self._merged, strict=True)
        self._merged, self._waiting, self._filled = [], 0, 0
        self._count(np.concatenate(cells), np.concatenate(counts))

    def _add_losses(self, labels: npt.NDArray[np.int64], losses: npt.NDArray[np.float64]) -> None:
        finite = np.isfinite(losses)
        bins = np.where(finite, np.searchsorted(_EDGES, losses, side="right"), _NOT_FINITE)
        np.add.at(self._bins.reshape(-1), labels * _BINS + bins, 1)
        units = np.rint(np.clip(losses[finite], -LARGEST_LOSS, LARGEST_LOSS) * _UNITS).astype(np.int64)
        np.add.at(self._sums, labels[finite], units)

    def _count(self, cells: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        """Make of cells with their counts, in any order and several times each, the sorted cells and their sums."""
        self._cells, where = np.unique(cells, return_inverse=True)
        self._counts = np.bincount(where, counts, len(self._cells)).astype(np.int64)
