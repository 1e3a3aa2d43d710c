"""Where scored samples come from: one adapter for each kind of model and data, all with the interface `Source`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cleaner.core.records import ScoredBatch

__all__ = ["Source"]


class Source(Protocol):
    """What the engine needs of a model and its data.

    Attributes:
        root: the dataset's folder; every path of a batch is relative to it.
        vocab: the labels, in the order of the model's outputs.
        splits: names of the splits that `score` accepts.
        settings: how samples are scored, for `scan.json`.
    """

    root: Path
    vocab: tuple[str, ...]
    splits: tuple[str, ...]
    settings: dict[str, Any]

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""

    def score(self, split: str, consume: Callable[[ScoredBatch], None]) -> None:
        """Score every sample of the split once and hand each batch to `consume`."""
