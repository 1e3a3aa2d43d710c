"""Bounded heaps that keep the `k` samples with the highest loss of each class."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch
from cleaner.core.tally import check_indices

__all__ = ["Kept", "TopLosses"]


class Kept(NamedTuple):
    """A kept sample; `predicted` is the index of a class and `confidence` its probability."""

    path: str
    loss: float
    predicted: int
    confidence: float


class TopLosses:
    """The `k` samples with the highest loss of each of `n_classes` classes, independent of their order.

    A NaN or infinite loss ranks above every finite one; ties break by path. Each class has a buffer of `2 * k` entries.
    A full buffer is cut to its highest `k`, and later samples must reach the lowest loss of the last cut. Most samples
    cost one comparison in a vector operation; about `k * log(n / k)` of `n` in random order are added in Python.

    Args:
        n_classes: number of classes, at least 1.
        k: number of samples to keep per class, at least 1.

    Raises:
        CleanerError: a number is below 1.
    """

    def __init__(self, n_classes: int, k: int) -> None:
        if n_classes < 1 or k < 1:
            raise CleanerError(f"expected at least 1 class and k of at least 1; got {n_classes} classes and k={k}")
        self.n_classes = n_classes
        self.k = k
        capacity = 2 * k
        self._size = [0] * n_classes
        self._threshold = np.full(n_classes, -np.inf)
        # Untouched pages of np.empty cost no memory, so a large k is free until used.
        self._loss = np.empty((n_classes, capacity), np.float64)
        self._predicted = np.empty((n_classes, capacity), np.int32)
        self._confidence = np.empty((n_classes, capacity), np.float32)
        self._paths: list[list[str]] = [[] for _ in range(n_classes)]

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch.

        Raises:
            CleanerError: a label is not the index of a class.
        """
        check_indices("labels", batch.labels, self.n_classes)
        reach = self.reached(batch)
        if len(reach):
            rows = batch.select(reach)
            self._add(rows.labels, rows.paths, rows.losses, rows.predicted, rows.confidences)

    def reached(self, batch: ScoredBatch) -> npt.NDArray[np.intp]:
        """Return the positions in a batch of samples that reach the last cut of their class."""
        return np.flatnonzero(_rankable(batch.losses) >= self._threshold[batch.labels])

    def merge(self, other: TopLosses) -> None:
        """Add the kept samples of heaps over other samples; the order of merges does not matter.

        Raises:
            CleanerError: the other heaps have another number of classes or another `k`.
        """
        if (other.n_classes, other.k) != (self.n_classes, self.k):
            raise CleanerError(
                f"cannot merge heaps of {other.n_classes} classes and k={other.k} "
                f"into heaps of {self.n_classes} classes and k={self.k}"
            )
        for label, paths in enumerate(other._paths):
            n = len(paths)
            columns = (other._loss, other._predicted, other._confidence)
            self._add(np.full(n, label), paths, *(column[label, :n] for column in columns))

    def result(self) -> list[list[Kept]]:
        """Return at most `k` kept samples per class, highest loss first."""
        return [self.of_class(label) for label in range(self.n_classes)]

    def of_class(self, label: int) -> list[Kept]:
        """Return at most `k` kept samples of one class, highest loss first."""
        self._cut(label)
        n = self._size[label]
        columns = (self._loss, self._predicted, self._confidence)
        rows = zip(self._paths[label], *(column[label, :n].tolist() for column in columns), strict=True)
        return [Kept(*row) for row in rows]

    def cut_at(self, label: int) -> float:
        """No sample of the class that was dropped has a higher loss than this; minus infinity where none was."""
        self._cut(label)
        return float(self._threshold[label])

    def remove(self, paths: Container[str]) -> None:
        """Drop the samples of these files, to score them again.

        Samples below an earlier cut do not come back, so a class may keep fewer than `k`: still its highest losses.
        """
        for label, kept in enumerate(self._paths):
            # Samples from the batch of the last cut can lie below that cut.
            reach = _rankable(self._loss[label, : len(kept)]) >= self._threshold[label]
            self._keep(label, [i for i, path in enumerate(kept) if reach[i] and path not in paths])

    def truncated(self, k: int) -> TopLosses:
        """Return new heaps with the highest `k` samples of each class."""
        heaps = TopLosses(self.n_classes, k)
        for label in range(self.n_classes):
            kept = self.of_class(label)[:k]
            columns = (self._loss, self._predicted, self._confidence)
            heaps._add(
                np.full(len(kept), label),
                [row.path for row in kept],
                *(column[label, : len(kept)] for column in columns),
            )
        return heaps

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the heaps as plain arrays for a file; `from_arrays` inverts this."""
        sizes = np.array(self._size, np.int64)
        filled = np.arange(2 * self.k) < sizes[:, None]
        # Paths contain no NUL.
        text = "\0".join(path for paths in self._paths for path in paths)
        return {
            "sizes": sizes,
            "threshold": self._threshold,
            "loss": self._loss[filled],
            "predicted": self._predicted[filled],
            "confidence": self._confidence[filled],
            "paths": np.frombuffer(text.encode("utf-8"), np.uint8),
        }

    @classmethod
    def from_arrays(cls, n_classes: int, k: int, arrays: Mapping[str, npt.NDArray[Any]]) -> TopLosses:
        """Return the heaps from the arrays of `to_arrays`.

        Raises:
            CleanerError: the arrays do not fit the number of classes and `k`.
        """
        heaps = cls(n_classes, k)
        sizes = arrays["sizes"]
        paths = arrays["paths"].tobytes().decode("utf-8").split("\0") if sizes.sum() else []
        if sizes.shape != (n_classes,) or sizes.max() > 2 * k or len(paths) != sizes.sum():
            raise CleanerError(f"the saved heaps are not those of {n_classes} classes and k={k}")
        filled = np.arange(2 * k) < sizes[:, None]
        heaps._loss[filled], heaps._predicted[filled] = arrays["loss"], arrays["predicted"]
        heaps._confidence[filled] = arrays["confidence"]
        heaps._threshold[:] = arrays["threshold"]
        heaps._size = sizes.tolist()
        ends = np.cumsum(sizes).tolist()
        heaps._paths = [paths[end - size : end] for end, size in zip(ends, heaps._size, strict=True)]
        return heaps

    def _add(
        self,
        labels: npt.NDArray[np.int64],
        paths: Sequence[str],
        losses: npt.NDArray[Any],
        predicted: npt.NDArray[Any],
        confidences: npt.NDArray[Any],
    ) -> None:
        """Append samples to the buffers: paths one by one, numbers in runs up to the next cut."""
        begin, slots = 0, list[int]()

        def write(end: int) -> None:
            rows = labels[begin:end]
            self._loss[rows, slots] = losses[begin:end]
            self._predicted[rows, slots] = predicted[begin:end]
            self._confidence[rows, slots] = confidences[begin:end]

        for i, label in enumerate(labels.tolist()):
            if self._size[label] == 2 * self.k:
                write(i)
                begin, slots = i, []
                self._cut(label)
            slots.append(self._size[label])
            self._size[label] += 1
            self._paths[label].append(paths[i])
        write(len(labels))

    def _cut(self, label: int) -> None:
        """Sort the buffer of a class and cut it to the highest `k`."""
        paths = self._paths[label]
        rank = _rankable(self._loss[label, : len(paths)]).tolist()
        highest = sorted(range(len(paths)), key=lambda i: (-rank[i], paths[i]))[: self.k]
        self._keep(label, highest)
        if len(highest) == self.k:
            self._threshold[label] = rank[highest[-1]]

    def _keep(self, label: int, positions: list[int]) -> None:
        """Reduce the buffer of a class to these positions, in this order."""
        for column in (self._loss, self._predicted, self._confidence):
            column[label, : len(positions)] = column[label, positions]
        self._paths[label] = [self._paths[label][i] for i in positions]
        self._size[label] = len(positions)


def _rankable(losses: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    """Replace NaN and infinite losses by infinity, so that they rank highest."""
    return np.where(np.isfinite(losses), losses, np.inf)
