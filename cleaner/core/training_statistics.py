"""Statistics of each sample's losses over the epochs of a training, in memory-mapped files.

They take 40 bytes a sample, or with several labels per image 26 bytes a sample and label, and 16 more while an epoch
ends. With more than 65,535 labels they take 50.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.files import sync_folder
from cleaner.core.records import ALTERNATIVES

__all__ = ["LossStatistics", "SampleStatistics"]

# What was seen of a sample in the epoch that is not finished; no cross-entropy is minus infinity.
_EPOCH = np.dtype([("loss", np.float32), ("margin", np.float32)])
_UNSEEN = np.array((-np.inf, 0), _EPOCH)
# Means instead of sums, which would lose digits in single precision.
_MEANS = np.dtype(
    [
        ("loss", np.float32),
        ("margin", np.float32),
        ("error", np.float32),
        ("epochs", np.uint16),
        ("otherwise", np.uint16),
    ]
)
_MAX_EPOCHS = np.iinfo(np.uint16).max
_BLOCK = 65_536


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of `n` samples.

    Attributes:
        epochs: int64 [n], number of epochs in which the sample was seen.
        losses: float64 [n], mean loss in nats; higher is worse.
        margins: float64 [n], mean of the logit of the given label less the highest other one; lower is worse.
        errors: float64 [n], 0..1, how much of the training another label won; higher is worse. It is the mean of the
            logistic function of minus twice the margin, a smooth count of the epochs in which another label was
            predicted. The epochs are weighted by their numbers: later ones tell more, and where the model has
            memorised the labels they add nothing.
        otherwise: int64 [n], number of epochs in which another label was predicted.
        labels: int64 [n, m], the `m` most probable labels when the sample was last seen, the most probable first.
        probabilities: float64 [n, m], their probabilities.
    """

    epochs: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    margins: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    otherwise: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


class LossStatistics:
    """The statistics of the samples of one split, by their numbers.

    An epoch counts when it ends: `end_epoch` writes new means beside the old ones, and the caller notes the number of
    epochs before `settle`. A process that is killed at any moment leaves the means of the last noted epoch.

    Where several processes train, each has an object of its own, which sees other samples; the first one merges what
    they saw with `merge_epochs`, and has the means.

    Args:
        folder: of this split; created if needed.
        n: number of samples.
        n_classes: number of labels.
        epochs: number of finished epochs; 0 drops what the folder holds.
        per_label: with several labels per image, each label of a sample has statistics of its own. Its number is that
            of the sample times the number of labels, plus its own, and only its own probability is kept.
        rank: number of the process, from 0.

    Raises:
        CleanerError: the folder lacks the means of that many epochs, or holds those of another number of samples.
    """

    def __init__(
        self, folder: Path, n: int, n_classes: int, epochs: int = 0, per_label: bool = False, rank: int = 0
    ) -> None:
        self.n, self.epochs, self._folder = n * n_classes if per_label else n, epochs, folder
        self._rank = rank
        n_labels, n_probabilities = (0, 1) if per_label else (min(ALTERNATIVES, n_classes),) * 2
        label = np.uint16 if n_classes <= np.iinfo(np.uint16).max else np.uint32
        self._last_type = np.dtype(
            [("labels", label, (n_labels,)), ("first", np.float16), ("ratios", np.uint8, (n_probabilities - 1,))]
        )
        folder.mkdir(parents=True, exist_ok=True)
        is_continued = epochs > 0 and (folder / _of_process("epoch", rank)).exists()
        self._epoch = self._opened(_of_process("epoch", rank), _EPOCH)
        self._last = self._opened(_of_process("last", rank), self._last_type)
        if rank == 0:
            self._means = self._opened(f"means-{epochs}", _MEANS, must_exist=epochs > 0)
        self.dropped = is_continued and self.has_seen
        """True if the folder held an unfinished epoch, which was dropped."""
        self.settle()

    @property
    def has_seen(self) -> bool:
        """True if the unfinished epoch saw a sample."""
        blocks = (self._epoch["loss"][begin : begin + _BLOCK] for begin in range(0, self.n, _BLOCK))
        return any((losses != -np.inf).any() for losses in blocks)

    def update(
        self,
        samples: npt.NDArray[np.int64],
        losses: npt.NDArray[Any],
        margins: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        probabilities: npt.NDArray[Any],
    ) -> None:
        """Add a batch to the epoch; of a sample that is seen more than once in an epoch the last time counts.

        Args:
            samples: numbers of the samples.
            losses, margins, labels, probabilities: of this batch, as in `SampleStatistics`.
        """
        self._epoch["loss"][samples], self._epoch["margin"][samples] = losses, margins
        self._last["labels"][samples], self._last["first"][samples] = labels, probabilities[:, 0]
        self._last["ratios"][samples] = _ratios(probabilities)

    def flush(self) -> None:
        """Write this process's epoch to the disk, for the first one to merge."""
        self._epoch.flush()
        self._last.flush()

    def merge_epochs(self, count: int) -> None:
        """Add what the other ones of so many processes saw in this epoch, in the order of their numbers."""
        for rank in range(1, count):
            epoch = np.memmap(self._folder / _of_process("epoch", rank), _EPOCH, "r", shape=(self.n,))
            last = np.memmap(self._folder / _of_process("last", rank), self._last_type, "r", shape=(self.n,))
            for begin in range(0, self.n, _BLOCK):
                block = slice(begin, begin + _BLOCK)
                seen = epoch["loss"][block] != -np.inf
                self._epoch[block][seen], self._last[block][seen] = epoch[block][seen], last[block][seen]

    def end_epoch(self) -> None:
        """Write the means with this epoch to a new file; see the class. A process that is not the first only counts."""
        if self._rank:
            self.epochs += 1
            return
        path = self._folder / f"means-{self.epochs + 1}"
        new = np.memmap(path, _MEANS, "w+", shape=(self.n,))
        for begin in range(0, self.n, _BLOCK):
            block = slice(begin, begin + _BLOCK)
            new[block] = _added(self._means[block], self._epoch[block])
        new.flush()
        sync_folder(self._folder)
        self._means, self.epochs = new, self.epochs + 1

    def settle(self) -> None:
        """Drop the epoch that was added to the means, and the means of other numbers of epochs."""
        self._epoch[:] = _UNSEEN
        if self._rank:
            return
        for path in self._folder.glob("means-*"):
            if path.name != f"means-{self.epochs}":
                path.unlink()

    def of(self, block: slice) -> SampleStatistics:
        """Return the statistics of the samples with numbers in a range, over the finished epochs."""
        means, last = self._means[block], self._last[block]
        return SampleStatistics(
            means["epochs"].astype(np.int64),
            means["loss"].astype(np.float64),
            means["margin"].astype(np.float64),
            means["error"].astype(np.float64),
            means["otherwise"].astype(np.int64),
            last["labels"].astype(np.int64),
            _probabilities(last["first"], last["ratios"]),
        )

    def _opened(self, name: str, dtype: np.dtype[Any], must_exist: bool = False) -> np.memmap[Any, Any]:
        path, size = self._folder / name, self.n * dtype.itemsize
        if self.epochs and path.exists():
            if os.path.getsize(path) == size:
                return np.memmap(path, dtype, "r+", shape=(self.n,))
            raise CleanerError(f"{str(path)!r} is not that of {self.n} samples; start over with reset=True")
        if must_exist:
            raise CleanerError(f"{str(path)!r} is missing, the losses of {self.epochs} epochs; start over: reset=True")
        return np.memmap(path, dtype, "w+", shape=(self.n,))


def _of_process(name: str, rank: int) -> str:
    """Return the name of a process's own file."""
    return f"{name}-{rank}" if rank else name


def _added(means: npt.NDArray[Any], epoch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return means with one epoch more, for the samples that it saw."""
    added: npt.NDArray[Any] = means.copy()
    seen = epoch["loss"] != -np.inf
    count = np.minimum(means["epochs"][seen].astype(np.int64) + 1, _MAX_EPOCHS)
    with np.errstate(invalid="ignore"):  # an infinite loss makes the mean NaN, which ranks highest
        for name in ("loss", "margin"):
            before = means[name][seen].astype(np.float64)
            added[name][seen] = before + (epoch[name][seen] - before) / count
        before = means["error"][seen].astype(np.float64)
        error = 1 / (1 + np.exp(np.clip(2.0 * epoch["margin"][seen], -100, 100)))
        added["error"][seen] = before + (error - before) * 2 / (count + 1)  # weights 1, 2, 3, …
    added["epochs"][seen] = count
    otherwise = means["otherwise"][seen].astype(np.int64) + (epoch["margin"][seen] < 0)
    added["otherwise"][seen] = np.minimum(otherwise, _MAX_EPOCHS)
    return added


def _ratios(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the ratio of each probability [n, m], highest first, to the one before, [n, m - 1], in a byte.

    The root spreads the steps: a ratio of 0.01 is exact to 0.0004, one near 1 to 0.004.
    """
    before = np.maximum(probabilities[:, :-1], np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore"):  # a model that diverged has no probabilities
        ratios = np.clip(np.nan_to_num(probabilities[:, 1:] / before), 0, 1)
    steps: npt.NDArray[np.uint8] = np.rint(255 * np.sqrt(ratios)).astype(np.uint8)
    return steps


def _probabilities(first: npt.NDArray[Any], ratios: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the probabilities [n, m] from the first ones and the ratios."""
    factors = np.concatenate([first.astype(np.float64)[:, None], (ratios / 255.0) ** 2], axis=1)
    return np.cumprod(factors, axis=1)
