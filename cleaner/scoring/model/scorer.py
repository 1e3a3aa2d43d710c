"""The `Scorer` contract, and what scorers share: copies to the host, records, weights and modes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable
from cleaner.core.tasks import SINGLE_LABEL
from cleaner.scoring.data.reader import Dataset, Key, PathBatch
from cleaner.scoring.model.backends import BackendSelector

__all__ = [
    "Arrays",
    "Pending",
    "Scored",
    "Scorer",
    "kept_modes",
    "one_batch_late",
    "scored_batch",
    "to_host",
    "unscored_batch",
    "weights_digest",
]

Scored = ScoredBatch | ScoredLabels
Arrays = Sequence[npt.NDArray[Any]]
Pending = Callable[[], Scored]
"""Waits until the results of a batch are on the host, and returns them."""


class Scorer(ABC):
    """A model and its loss: scores collated batches.

    Attributes:
        vocab: labels in the order of the model's outputs.
        task, label_delim: as in `Scan`.
        settings: how the model is run, for `scan.json`.
        selector: the backend that runs the model, chosen on the first batch or by a scan that is resumed.
    """

    task: str = SINGLE_LABEL
    label_delim: str = ""

    def __init__(self, vocab: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.vocab, self.settings = vocab, settings
        self.selector = BackendSelector()

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model runs."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Move the model and its loss."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a scan to be resumed, such as a digest of the weights."""

    @abstractmethod
    def session(self, dataset: Dataset, fast: bool) -> AbstractContextManager[Callable[[PathBatch], Pending]]:
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


def one_batch_late(pending: Iterable[Pending]) -> Iterator[Scored]:
    """Yield the result of each batch after the next one was started: a GPU then never waits for a copy to the host."""
    end: Any = None
    return (started() for started, _next in pairwise(chain(pending, [end])))


def to_host(tensors: Sequence[Tensor]) -> Callable[[], list[npt.NDArray[Any]]]:
    """Start to copy tensors to the host; the function that is returned waits for the copies."""
    if not tensors[0].is_cuda:
        halves = (torch.bfloat16, torch.float16)
        on_host = [t.cpu().float() if t.dtype in halves else t.cpu() for t in tensors]
        return lambda: [t.numpy() for t in on_host]
    on_host = [torch.empty(t.shape, dtype=torch.float64, pin_memory=True) for t in tensors]
    for host, device in zip(on_host, tensors, strict=True):
        host.copy_(device.double(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))

    def arrays() -> list[npt.NDArray[Any]]:
        event.synchronize()
        return [t.numpy() for t in on_host]

    return arrays


def scored_batch(paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]) -> ScoredBatch:
    """Return the record of a batch from its targets, losses, predicted classes and confidences, each [n]."""
    labels, losses, predicted, confidences = arrays
    columns = (labels.astype(np.int64), losses.astype(np.float64), predicted.astype(np.int64))
    return ScoredBatch(paths, *columns, confidences.astype(np.float64), unreadable)


def unscored_batch(unreadable: Sequence[Unreadable]) -> ScoredBatch:
    """Return the record of a batch without a readable sample."""
    return scored_batch([], [np.empty(0)] * 4, unreadable)


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
