"""A scan job of made-up samples, without images or model; the number of a sample determines its loss."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cleaner.core.records import ScoredBatch, Unreadable
from cleaner.scoring.data.reader import Dataset, LoadedSample, PathBatch
from cleaner.scoring.engine import DatasetInfo, ScanJob
from cleaner.scoring.model.scorer import Scorer, Started

VOCAB = ("a", "b", "c")


class MadeUpDataset(Dataset):
    """Samples whose keys are their numbers.

    Attributes:
        n_read: number of samples read so far in this process.
    """

    collate_advice = "Nothing can be done"

    def __init__(self, labels: Any, unreadable: Container[int] = (), batch_size: int = 3) -> None:
        super().__init__("all", VOCAB, batch_size)
        self.count = len(labels)
        self._labels, self._unreadable, self.n_read = labels, unreadable, 0

    def listing(self) -> Callable[[], Iterator[int]]:
        return partial(iter, range(self.count))

    def name(self, key: int) -> str:
        return f"{key:04d}.png"

    def file(self, key: int) -> str:
        return str(self.root / self.name(key))

    def label(self, key: int) -> str:
        return VOCAB[self._labels[key]]

    def sample(self, key: int) -> tuple[int, int]:
        self.n_read += 1
        return key, int(self._labels[key])

    def load(self, key: int) -> LoadedSample | Unreadable:
        if key in self._unreadable:
            return Unreadable(self.split, self.label(key), self.name(key), "torn")
        return LoadedSample(self.name(key), self.sample(key))

    def collate(self, samples: list[Any]) -> Any:
        return tuple(torch.tensor(column) for column in zip(*samples, strict=True))


class MadeUpScorer(Scorer):
    """A model with a given loss for each sample, and a fast backend with given errors.

    Attributes:
        scored: number of samples scored so far.
    """

    def __init__(self, losses: Any, errors: Any = None) -> None:
        super().__init__(VOCAB, {})
        self._losses, self._errors, self.scored = losses, errors, 0
        self.selector.names.update({"exact": "plain", "fast": "int8"})

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def model(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def to(self, device: torch.device) -> None:
        """Stay on the CPU."""

    def identity(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def session(self, dataset: Dataset, fast: bool) -> Iterator[Callable[[PathBatch], Started]]:
        yield partial(self._start, fast and self._errors is not None)

    def _start(self, errs: bool, batch: PathBatch) -> Started:
        keys, labels = (column.numpy() for column in batch.data)
        losses = np.asarray(self._losses[keys] + (self._errors[keys] if errs else 0), np.float64)
        self.scored += len(keys)
        record = ScoredBatch(batch.paths, labels, losses, labels, losses * 0, batch.unreadable)
        return Started([torch.empty(0)], lambda _arrays: record)


def made_up_job(dataset: MadeUpDataset, scorer: MadeUpScorer) -> ScanJob:
    """Return the job of one made-up split."""
    return ScanJob(DatasetInfo(Path("data"), VOCAB, ("all",)), {"all": dataset}, scorer, 0, {}, {})
