"""Bounded heaps that keep the `k` samples of each class that rank highest: by loss, by its opposite, or at random."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.records import ALTERNATIVES, Alternatives, ScoredBatch, joined
from cleaner.core.tally import check_indices

__all__ = ["Kept", "Rank", "TopK", "by_hash", "by_highest_loss", "by_lowest_loss"]

Rank = Callable[[ScoredBatch], npt.NDArray[np.float64]]
"""Returns the rank [n] of samples; higher ones are kept, and those of minus infinity never."""

_ROW = np.dtype(
    [
        ("rank", np.float64),
        ("loss", np.float64),
        ("predicted", np.int32),
        ("confidence", np.float32),
        ("alternatives", np.int32, (ALTERNATIVES,)),
        ("probabilities", np.float32, (ALTERNATIVES,)),
    ]
)


class Kept(NamedTuple):
    """A kept sample.

    Attributes:
        path, loss: of the sample.
        predicted: index of a class.
        confidence: probability of `predicted`.
        alternatives: indices of the most probable classes with their probabilities, highest first.
    """

    path: str
    loss: float
    predicted: int
    confidence: float
    alternatives: tuple[tuple[int, float], ...] = ()


class TopK:
    """The `k` samples that rank highest of each of `n_classes` classes, independent of their order.

    Ties break by path. Each class has a buffer of `2 * k` rows. A full buffer is cut to its highest `k`, and later
    samples must reach the lowest rank of the last cut. Most samples cost one comparison in a vector operation; about
    `k * log(n / k)` of `n` in random order are added in Python.

    Args:
        n_classes: number of classes, at least 1.
        k: number of samples to keep per class, at least 1.
        rank: by what samples are ranked.
        once: keep a path that comes more than once in a class only once.

    Raises:
        CleanerError: a number is below 1.
    """

    def __init__(self, n_classes: int, k: int, rank: Rank, once: bool = False) -> None:
        if n_classes < 1 or k < 1:
            raise CleanerError(f"expected at least 1 class and k of at least 1; got {n_classes} classes and k={k}")
        self.n_classes = n_classes
        self.k = k
        self._rank = rank
        self._threshold = np.full(n_classes, -np.inf)
        # Untouched pages of np.empty cost no memory, so a large k is free until used.
        self._rows = np.empty((n_classes, 2 * k), _ROW)
        self._paths: list[list[str]] = [[] for _ in range(n_classes)]
        self._kept_once: list[set[str]] | None = [set() for _ in range(n_classes)] if once else None

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch.

        Raises:
            CleanerError: a label is not the index of a class.
        """
        self._update(batch, self._reached(batch))

    def exchange(self, batch: ScoredBatch) -> list[ScoredBatch]:
        """Add a batch, and return the samples, also of earlier ones, that are dropped: they cannot be in the result.

        Raises:
            CleanerError: a label is not the index of a class.
        """
        reached = self._reached(batch)
        dropped = self._update(batch, reached)
        below = np.flatnonzero(~reached[0])
        return [batch.select(below), *dropped] if len(below) else dropped

    def _update(
        self, batch: ScoredBatch, found: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]
    ) -> list[ScoredBatch]:
        """Add what reaches the last cuts, and return what is dropped from the buffers."""
        is_reached, ranks = found
        dropped: list[ScoredBatch] = []
        reached = batch.select(np.flatnonzero(is_reached))
        rows = np.empty(len(reached.paths), _ROW)
        rows["rank"], rows["loss"] = ranks[is_reached], reached.losses
        rows["predicted"], rows["confidence"] = reached.predicted, reached.confidences
        if reached.alternatives is None:
            rows["alternatives"] = -1
        else:
            rows["alternatives"], rows["probabilities"] = reached.alternatives.most_probable()
        self._add(rows, reached.labels, reached.paths, dropped)
        return dropped

    def reached(self, batch: ScoredBatch) -> npt.NDArray[np.intp]:
        """Return the positions in a batch of samples that reach the last cut of their class."""
        return np.flatnonzero(self._reached(batch)[0])

    def merge(self, other: TopK) -> None:
        """Add the kept samples of heaps over other samples; the order of merges does not matter.

        Raises:
            CleanerError: the other heaps have another number of classes or another `k`.
        """
        if (other.n_classes, other.k) != (self.n_classes, self.k):
            raise CleanerError(
                f"cannot merge heaps of {other.n_classes} classes and k={other.k} "
                f"into heaps of {self.n_classes} classes and k={self.k}"
            )
        self.update(other.rows())

    def cut(self) -> list[ScoredBatch]:
        """Cut all classes to their highest `k`, and return the samples that are dropped."""
        dropped: list[ScoredBatch] = []
        for label in range(self.n_classes):
            self._cut(label, dropped)
        return dropped

    def result(self) -> list[list[Kept]]:
        """Return at most `k` kept samples per class, highest rank first."""
        return [self.of_class(label) for label in range(self.n_classes)]

    def of_class(self, label: int) -> list[Kept]:
        """Return at most `k` kept samples of one class, highest rank first."""
        if not self._paths[label]:
            return []
        order = self._order(label)[: self.k]
        rows = self._rows[label, order]
        columns = (rows[name].tolist() for name in ("loss", "predicted", "confidence", "alternatives", "probabilities"))
        return [
            Kept(
                self._paths[label][at],
                loss,
                predicted,
                confidence,
                _pairs(labels, probabilities),
            )
            for at, loss, predicted, confidence, labels, probabilities in zip(order, *columns, strict=True)
        ]

    def paths_of(self, label: int) -> set[str]:
        """Return the paths of `of_class`."""
        return {self._paths[label][at] for at in self._order(label)[: self.k]}

    def paths(self) -> set[str]:
        """Return the paths of `result`."""
        return set[str]().union(*map(self.paths_of, range(self.n_classes)))

    def rows(self) -> ScoredBatch:
        """Return all samples in the buffers, among them the result."""
        return joined([self._batch(label, range(len(paths))) for label, paths in enumerate(self._paths)])

    def cut_at(self, label: int) -> float:
        """No sample of the class that was dropped ranks higher than this; minus infinity where none was."""
        return float(self._threshold[label])

    def lowest(self) -> npt.NDArray[np.float64]:
        """Return the rank [n_classes] of the last sample in the result of each class; minus infinity if below `k`."""
        found = np.full(self.n_classes, -np.inf)
        for label, paths in enumerate(self._paths):
            if len(paths) >= self.k:
                found[label] = np.partition(self._rows["rank"][label, : len(paths)], len(paths) - self.k)[-self.k]
        return found

    def remove(self, paths: Container[str]) -> list[ScoredBatch]:
        """Drop the samples of these files, to score them again, and return others that are dropped with them.

        Samples below an earlier cut do not come back, so a class may keep fewer than `k`: still its highest.
        """
        dropped: list[ScoredBatch] = []
        for label, kept in enumerate(self._paths):
            # Samples from the batch of the last cut can lie below that cut.
            reach = self._rows["rank"][label, : len(kept)] >= self._threshold[label]
            dropped.append(self._batch(label, [i for i, path in enumerate(kept) if not (reach[i] or path in paths)]))
            self._keep(label, [i for i, path in enumerate(kept) if reach[i] and path not in paths])
        return dropped

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the heaps as plain arrays for a file; `from_arrays` inverts this."""
        sizes = np.array(list(map(len, self._paths)), np.int64)
        # Paths contain no NUL.
        text = "\0".join(path for paths in self._paths for path in paths)
        return {
            "sizes": sizes,
            "threshold": self._threshold,
            "rows": self._rows[np.arange(2 * self.k) < sizes[:, None]],
            "paths": np.frombuffer(text.encode("utf-8"), np.uint8),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> TopK:
        """Take the content of heaps from the arrays of `to_arrays`; return these.

        Raises:
            CleanerError: the arrays do not fit the number of classes and `k`.
        """
        sizes = arrays["sizes"]
        paths = arrays["paths"].tobytes().decode("utf-8").split("\0") if sizes.sum() else []
        if sizes.shape != (self.n_classes,) or sizes.max() > 2 * self.k or len(paths) != sizes.sum():
            raise CleanerError(f"the saved heaps are not those of {self.n_classes} classes and k={self.k}")
        self._rows[np.arange(2 * self.k) < sizes[:, None]] = arrays["rows"]
        self._threshold[:] = arrays["threshold"]
        ends = np.cumsum(sizes).tolist()
        self._paths = [paths[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
        if self._kept_once is not None:
            self._kept_once = list(map(set, self._paths))
        return self

    def _reached(self, batch: ScoredBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return which samples reach the last cut of their class, and the ranks of all."""
        check_indices("labels", batch.labels, self.n_classes)
        ranks = self._rank(batch)
        return (ranks >= self._threshold[batch.labels]) & (ranks > -np.inf), ranks

    def _add(
        self,
        rows: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        paths: Sequence[str],
        dropped: list[ScoredBatch],
    ) -> None:
        """Append samples to the buffers: paths one by one, rows in runs up to the next cut."""
        taken, slots = list[int](), list[int]()

        def write() -> None:
            self._rows[labels[taken], slots] = rows[taken]

        for i, label in enumerate(labels.tolist()):
            if self._kept_once is not None:
                if paths[i] in self._kept_once[label]:
                    continue
                self._kept_once[label].add(paths[i])
            if len(self._paths[label]) == 2 * self.k:
                write()
                taken, slots = [], []
                self._cut(label, dropped)
            taken.append(i)
            slots.append(len(self._paths[label]))
            self._paths[label].append(paths[i])
        write()

    def _order(self, label: int) -> list[int]:
        """Return the positions in the buffer of a class, highest rank first."""
        paths = self._paths[label]
        ranks = self._rows["rank"][label, : len(paths)].tolist()
        return sorted(range(len(paths)), key=lambda i: (-ranks[i], paths[i]))

    def _cut(self, label: int, dropped: list[ScoredBatch]) -> None:
        """Sort the buffer of a class and cut it to the highest `k`; one that has fewer stays as it is."""
        if len(self._paths[label]) < self.k:
            return
        order = self._order(label)
        if len(order) > self.k:
            dropped.append(self._batch(label, order[self.k :]))
        self._threshold[label] = self._rows["rank"][label, order[self.k - 1]]
        self._keep(label, order[: self.k])

    def _keep(self, label: int, positions: list[int]) -> None:
        """Reduce the buffer of a class to these positions, in this order."""
        self._rows[label, : len(positions)] = self._rows[label, positions]
        self._paths[label] = [self._paths[label][i] for i in positions]
        if self._kept_once is not None:
            self._kept_once[label] = set(self._paths[label])

    def _batch(self, label: int, positions: Iterable[int]) -> ScoredBatch:
        """Return samples in the buffer of a class as a batch."""
        at = list(positions)
        rows, paths = self._rows[label, at], [self._paths[label][i] for i in at]
        columns = (rows["loss"], rows["predicted"].astype(np.int64), rows["confidence"].astype(np.float64))
        alternatives = Alternatives(rows["probabilities"], rows["alternatives"])
        return ScoredBatch(paths, np.full(len(at), label, np.int64), *columns, (), alternatives)


def _pairs(labels: list[int], probabilities: list[float]) -> tuple[tuple[int, float], ...]:
    """Return labels with their probabilities, without the places that are not filled, which come last."""
    n = len(labels) if labels[-1] >= 0 else labels.index(-1)
    return tuple(zip(labels[:n], probabilities[:n], strict=True))


def by_highest_loss(batch: ScoredBatch) -> npt.NDArray[np.float64]:
    """Rank by the loss; NaN and infinite losses rank above every finite one."""
    return np.where(np.isfinite(batch.losses), batch.losses, np.inf)


def by_lowest_loss(batch: ScoredBatch) -> npt.NDArray[np.float64]:
    """Rank by the loss, the lowest highest; samples whose loss is NaN or infinite are left out."""
    return np.where(np.isfinite(batch.losses), -batch.losses, -np.inf)


def by_hash(key: int) -> Rank:
    """Return a rank that draws samples at random: the `k` smallest hashes of a class are a simple random sample.

    The same paths give the same sample, whatever their order. Another key gives another one, and so does each class.
    The hash mixes the CRC-32 of a path, the class and the key as SplitMix64 does (Steele, Lea and Flood 2014, Fast
    Splittable Pseudorandom Number Generators).

    Args:
        key: from 0 to 2**32 - 1.
    """

    def rank(batch: ScoredBatch) -> npt.NDArray[np.float64]:
        paths = np.array([zlib.crc32(path.encode("utf-8")) for path in batch.paths], np.uint64)
        classes = batch.labels.astype(np.uint64) + (np.uint64(key) << np.uint64(32))
        hashes = _mixed(_mixed(classes) ^ paths) >> np.uint64(11)  # as many bits as a float64 holds
        ranks: npt.NDArray[np.float64] = np.negative(hashes.astype(np.float64))
        return ranks

    return rank


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return one step of SplitMix64 from each state."""
    mixed: npt.NDArray[np.uint64] = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed
