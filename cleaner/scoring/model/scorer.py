"""The `Scorer` contract, and what scorers share: losses of single samples, copies to the host, modes, weights."""

from __future__ import annotations

import hashlib
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
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
    "loss_name",
    "one_batch_late",
    "per_sample",
    "scored_batch",
    "to_host",
    "unreduced",
    "unscored_batch",
    "weights_digest",
]

Scored = ScoredBatch | ScoredLabels
Arrays = Sequence[npt.NDArray[Any]]
Pending = Callable[[], Scored]
"""Waits until the results of a batch are on the host, and returns them."""

_log = logging.getLogger("cleaner")


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

    def warn_if_reduced(self, loss: Tensor, n: int) -> None:
        """Warn once if a loss function returned one number for a batch of `n` samples."""
        if loss.numel() < n and "loss_evaluated" not in self.settings:
            self.settings["loss_evaluated"] = "one sample at a time"
            _log.warning(
                "the loss %s returns one number per batch, even with reduction='none', so it is evaluated one sample "
                "at a time; one that takes `reduction` is faster",
                self.settings["loss"],
            )


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


def loss_name(loss_func: Any) -> str:
    """Return the name of a loss function, for people and for comparison."""
    return getattr(loss_func, "__name__", None) or type(loss_func).__name__


@contextmanager
def unreduced(loss_func: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Give a loss function that returns one loss per sample if it can; afterwards the original is as it was."""
    if not hasattr(loss_func, "reduction"):
        yield _Unreduced(loss_func) if _takes_reduction(loss_func) else loss_func
        return
    reduction = loss_func.reduction
    loss_func.reduction = "none"
    try:
        yield loss_func
    finally:
        loss_func.reduction = reduction


class _Unreduced(partial):  # type: ignore[type-arg]
    """A loss function called with `reduction="none"`; it keeps the function's attributes, such as `activation`."""

    def __new__(cls, loss_func: Callable[..., Any]) -> _Unreduced:
        return super().__new__(cls, loss_func, reduction="none")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)


def _takes_reduction(loss_func: Callable[..., Any]) -> bool:
    try:
        function = inspect.unwrap(loss_func)  # fastai's losses wrap a module
        return "reduction" in inspect.signature(getattr(function, "forward", function)).parameters
    except ValueError:  # a function written in C has no signature
        return False


def per_sample(loss: Tensor, n: int, evaluate_one: Callable[[int], Tensor]) -> Tensor:
    """Return one loss per sample, [n], from an unreduced loss.

    `evaluate_one` returns the loss of the sample with an index; used if the function reduces whatever it is asked.
    """
    if loss.numel() == n:
        return loss.reshape(n)
    if loss.numel() > n and loss.numel() % n == 0:
        return loss.reshape(n, -1).mean(dim=1)
    return torch.stack([evaluate_one(i).mean() for i in range(n)])
