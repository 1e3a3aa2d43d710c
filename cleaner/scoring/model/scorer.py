"""The `Scorer` contract, and what scorers share: records, weights and modes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cleaner.core.records import ALTERNATIVES, Alternatives, ScoredBatch, ScoredLabels, Unreadable
from cleaner.core.tasks import SINGLE_LABEL
from cleaner.scoring.data.reader import Dataset, Key, PathBatch
from cleaner.scoring.model.backends import BackendSelector

__all__ = [
    "Arrays",
    "Scored",
    "Scorer",
    "Started",
    "kept_modes",
    "most_probable",
    "scored_batch",
    "weights_digest",
]

Scored = ScoredBatch | ScoredLabels
Arrays = Sequence[npt.NDArray[Any]]


class Started(NamedTuple):
    """A batch that the model has scored, on its device still.

    Attributes:
        results: tensors with a row per sample.
        record: returns the record of the batch from these as arrays on the host.
    """

    results: Sequence[Tensor]
    record: Callable[[Arrays], Scored]


class Scorer(ABC):
    """A model and its loss: scores collated batches.

    Attributes:
        vocab: labels in the order of the model's outputs.
        task, label_delim: as in `Scan`.
        settings: how the model is run, for `scan.json`.
        selector: the backend that runs the model, chosen on the first batch or by a scan that is resumed.
        views: number of shifted copies of each image over which losses and probabilities are averaged.
    """

    task: str = SINGLE_LABEL
    label_delim: str = ""

    def __init__(self, vocab: tuple[str, ...], settings: dict[str, Any], views: int = 1) -> None:
        self.vocab, self.settings, self.views = vocab, settings, views
        if views > 1:
            self.settings["views"] = views
        self.selector = BackendSelector()

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device that runs the model."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model, on its device."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Move the model and its loss."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a scan to be resumed, such as a digest of the weights."""

    @abstractmethod
    def session(self, dataset: Dataset, fast: bool) -> AbstractContextManager[Callable[[PathBatch], Started]]:
        """Prepare the model for validation, without gradients; afterwards it is as it was, also after an error.

        Args:
            dataset: the split that will be scored.
            fast: run the quickest backend, not the quickest one that gives the same losses.

        Returns:
            a function that starts to score a batch with at least one readable sample.
        """

    def draw(self, dataset: Dataset, key: Key) -> bytes:  # noqa: ARG002
        """Return a JPEG of a sample with its target, for tasks without labels; empty if it cannot be drawn."""
        return b""


def scored_batch(paths: Sequence[str], unreadable: Sequence[Unreadable], arrays: Arrays) -> ScoredBatch:
    """Return the record of a batch from its targets and losses [n], and its `most_probable` labels."""
    labels, losses, names, probabilities = arrays
    columns = (labels.astype(np.int64), losses.astype(np.float64))
    best = (names[:, 0].astype(np.int64), probabilities[:, 0].astype(np.float64))
    return ScoredBatch(paths, *columns, *best, unreadable, Alternatives(probabilities, names))


def most_probable(probabilities: Tensor) -> list[Tensor]:
    """Return the most probable labels and their probabilities [n, m], highest first, of those of all labels."""
    # The first one as `max` finds it, also where others are equal, as fastai's predictions.
    first = probabilities.max(dim=-1, keepdim=True)
    others = probabilities.scatter(-1, first.indices, -1.0).topk(min(ALTERNATIVES, probabilities.shape[-1]) - 1)
    found = ((first.indices, others.indices), (first.values, others.values))
    return [torch.cat(pair, dim=-1) for pair in found]


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode("utf-8"))
        if isinstance(values, Tensor):
            digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every layer, training or evaluation, afterwards and after an error."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
