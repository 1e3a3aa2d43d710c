"""What is known of a scored batch, on its way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable
from cleaner.scoring.sources import Candidates
from cleaner.scoring.sources.held import Held
from cleaner.scoring.sources.loading import Traced

__all__ = ["Arrays", "Transfers", "and_held", "scored_batch"]

Arrays = Sequence[npt.NDArray[Any]]
Record = Callable[[Sequence[str], Arrays, Sequence[Unreadable]], ScoredBatch | ScoredLabels]
"""Makes the record of a batch: of its paths, of arrays with a row for each of them, and of what could not be read."""


def scored_batch(paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]) -> ScoredBatch:
    """The record of a batch with one label an image, of targets, losses, predictions and confidences, each [n]."""
    labels, losses, predicted, confidences = arrays
    columns = (labels.astype(np.int64), losses.astype(np.float64), predicted.astype(np.int64))
    return ScoredBatch(paths, *columns, confidences.astype(np.float64), unreadable)


class Transfers:
    """Copies scored batches to the host and hands them on, in order.

    On a GPU a copy is waited for one batch later, so that the GPU is never idle for it.

    Args:
        arrived: takes each scored batch, and what it was made of.
    """

    def __init__(self, arrived: Callable[[ScoredBatch | ScoredLabels, Traced], None]) -> None:
        self._arrived = arrived
        self._waiting: Callable[[], tuple[ScoredBatch | ScoredLabels, Traced]] | None = None

    def send(self, current: Traced, tensors: Sequence[Tensor], record: Record) -> None:
        """Begin to copy what is known of a batch.

        Args:
            current: the batch.
            tensors: of which each has a row for each sample.
            record: makes the record of the batch of them.
        """
        on_host, copied = _copied(tensors)

        def batch() -> tuple[ScoredBatch | ScoredLabels, Traced]:
            copied()
            return record(current.paths, [t.numpy() for t in on_host], current.unreadable), current

        self.settle()
        self._waiting = batch
        if not tensors[0].is_cuda:
            self.settle()

    def hand_on(self, batch: ScoredBatch | ScoredLabels, traced: Traced) -> None:
        """Hand on a batch that is on the host already, after those that came before it."""
        self.settle()
        self._arrived(batch, traced)

    def settle(self) -> None:
        """Wait for the copy that is under way, if there is one, and hand it on."""
        if self._waiting is not None:
            self._arrived(*self._waiting())
            self._waiting = None


def and_held(
    consume: Callable[[ScoredBatch | ScoredLabels], None], held: Held, candidates: Candidates | None
) -> Callable[[ScoredBatch | ScoredLabels, Traced], None]:
    """Hands on each scored batch, and then lets `held` take what will be scored again."""

    def take(batch: ScoredBatch | ScoredLabels, traced: Traced) -> None:
        consume(batch)
        if candidates is not None and isinstance(batch, ScoredBatch) and traced.collated is not None:
            held.hold(batch, traced.collated, candidates)

    return take


def _nothing() -> None:
    """What there is to wait for where nothing was begun."""


def _copied(tensors: Sequence[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
    """The tensors on the host, and a function that waits until they are there."""
    if not tensors[0].is_cuda:
        return [t.cpu().float() if t.dtype in (torch.bfloat16, torch.float16) else t.cpu() for t in tensors], _nothing
    on_host = [torch.empty(t.shape, dtype=torch.float64, pin_memory=True) for t in tensors]
    for host, device in zip(on_host, tensors, strict=True):
        host.copy_(device.double(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))
    return on_host, event.synchronize
