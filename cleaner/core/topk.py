"""The bounded heaps: of a stream of scored samples, the `k` with the highest loss of each class."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch

__all__ = ["Kept", "TopLosses"]


class Kept(NamedTuple):
    """A sample that was kept; `predicted` is the index of a class and `confidence` its probability."""

    path: str
    loss: float
    predicted: int
    confidence: float


class TopLosses:
    """The `k` samples with the highest loss of each of `n_classes` classes, whatever the order they come in.

    A NaN or infinite loss ranks above every finite one; ties break by path. Memory is bounded by `n_classes * 2 * k`
    entries: each class has a buffer of `2 * k`, cut back to the best `k` when it is full, and only samples that reach
    the k-th best loss of the last cut get into it. That makes the cost of a sample a comparison in a vector operation;
    the Python work is for survivors, of which a class of `n` samples in random order has about `k * log(n / k)`.

    Args:
        n_classes: number of classes, at least 1.
        k: how many samples to keep of each class, at least 1.

    Raises:
        CleanerError: a number is below 1.
    """

    def __init__(self, n_classes: int, k: int) -> None:
        if n_classes < 1 or k < 1:
            raise CleanerError(f"got {n_classes} classes and k={k}; both must be at least 1")
        self.n_classes = n_classes
        self.k = k
        capacity = 2 * k
        self._size = [0] * n_classes
        self._threshold = np.full(n_classes, -np.inf)
        # Untouched pages of np.empty cost no memory, so a large k is free until it is used.
        self._loss = np.empty((n_classes, capacity), np.float64)
        self._predicted = np.empty((n_classes, capacity), np.int32)
        self._confidence = np.empty((n_classes, capacity), np.float32)
        self._paths: list[list[str]] = [[] for _ in range(n_classes)]

    def update(self, batch: ScoredBatch) -> None:
        """Take in a batch.

        Raises:
            CleanerError: a label is not the index of a class.
        """
        labels = batch.labels
        if len(labels) == 0:
            return
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise CleanerError(
                f"labels from {labels.min()} to {labels.max()} came for {self.n_classes} classes; "
                f"0 to {self.n_classes - 1} are accepted"
            )
        reach = self.reached(batch)
        if len(reach):
            self._add(
                labels[reach],
                [batch.paths[i] for i in reach.tolist()],
                batch.losses[reach],
                batch.predicted[reach],
                batch.confidences[reach],
            )

    def reached(self, batch: ScoredBatch) -> npt.NDArray[np.intp]:
        """The positions in a batch of those that are not worse than what was dropped from their class."""
        return np.flatnonzero(_rankable(batch.losses) >= self._threshold[batch.labels])

    def merge(self, other: TopLosses) -> None:
        """Take in what another one kept of other samples; the order of merges does not matter.

        Raises:
            CleanerError: the other has another number of classes or another `k`.
        """
        if (other.n_classes, other.k) != (self.n_classes, self.k):
            raise CleanerError(
                f"cannot merge heaps of {other.n_classes} classes and k={other.k} "
                f"into heaps of {self.n_classes} classes and k={self.k}; they must be the same"
            )
        for label, paths in enumerate(other._paths):
            n = len(paths)
            columns = (other._loss, other._predicted, other._confidence)
            self._add(np.full(n, label), paths, *(column[label, :n] for column in columns))

    def result(self) -> list[list[Kept]]:
        """For each class the kept samples, highest loss first; at most `k`."""
        return [self.of_class(label) for label in range(self.n_classes)]

    def of_class(self, label: int) -> list[Kept]:
        """The kept samples of one class, highest loss first; at most `k`."""
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
        """Drop what is kept of some files, to be scored again.

        What was dropped earlier does not come back, nor is anything kept that ranks below it: afterwards a class may
        have fewer than `k` samples, which are still those with the highest losses.
        """
        for label, own in enumerate(self._paths):
            # Samples that came in the batch of the last cut can be below what that dropped.
            reach = _rankable(self._loss[label, : len(own)]) >= self._threshold[label]
            left = [i for i, path in enumerate(own) if reach[i] and path not in paths]
            for column in (self._loss, self._predicted, self._confidence):
                column[label, : len(left)] = column[label, left]
            self._paths[label] = [own[i] for i in left]
            self._size[label] = len(left)

    def truncated(self, k: int) -> TopLosses:
        """Heaps of the highest `k` of what is kept here."""
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
        """All that is kept, as plain arrays for a file; `from_arrays` gives the same heaps back."""
        sizes = np.array(self._size, np.int64)
        filled = np.arange(2 * self.k) < sizes[:, None]
        # No path has a NUL in it.
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
        """The heaps that `to_arrays` gave.

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
        """Put samples into the buffers: the paths one by one, the numbers of as many as fit at once."""
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
        """Sort the buffer of a class and cut it to the best `k`."""
        n = self._size[label]
        paths = self._paths[label]
        rank = _rankable(self._loss[label, :n]).tolist()
        best = sorted(range(n), key=lambda i: (-rank[i], paths[i]))[: self.k]
        for column in (self._loss, self._predicted, self._confidence):
            column[label, : len(best)] = column[label, best]
        self._paths[label] = [paths[i] for i in best]
        self._size[label] = len(best)
        if len(best) == self.k:
            self._threshold[label] = rank[best[-1]]


def _rankable(losses: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    """Losses as they rank: whatever is not finite stands above every finite one."""
    return np.where(np.isfinite(losses), losses, np.inf)
