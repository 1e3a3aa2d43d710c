"""What is known of a scored batch, on its way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cleaner.core.records import ScoredBatch
from cleaner.scoring.sources import Candidates
from cleaner.scoring.sources.held import Held
from cleaner.scoring.sources.loading import Traced

__all__ = ["Transfers", "and_held"]


class Transfers:
    """Copies scored batches to the host and hands them on, in order.

    On a GPU a copy is waited for one batch later, so that the GPU is never idle for it.

    Args:
        arrived: takes each scored batch, and what it was made of.
    """

    def __init__(self, arrived: Callable[[ScoredBatch, Traced], None]) -> None:
        self._arrived = arrived
        self._waiting: Callable[[], tuple[ScoredBatch, Traced]] | None = None

    def send(self, current: Traced, targets: Tensor, losses: Tensor, probabilities: Tensor) -> None:
        """Begin to copy what is known of a batch of `n` samples.

        Args:
            current: the batch.
            targets: indices into the vocabulary [n].
            losses: [n].
            probabilities: [n, n_classes].
        """
        confidences, predicted = probabilities.max(dim=-1)
        on_host, copied = _copied([targets, losses, predicted, confidences])

        def batch() -> tuple[ScoredBatch, Traced]:
            copied()
            labels, found, guesses, sure = (t.numpy() for t in on_host)
            columns = (labels.astype(np.int64), found.astype(np.float64), guesses.astype(np.int64))
            return ScoredBatch(current.paths, *columns, sure.astype(np.float64), current.unreadable), current

        self.settle()
        self._waiting = batch
        if not targets.is_cuda:
            self.settle()

    def hand_on(self, batch: ScoredBatch, traced: Traced) -> None:
        """Hand on a batch that is on the host already, after those that came before it."""
        self.settle()
        self._arrived(batch, traced)

    def settle(self) -> None:
        """Wait for the copy that is under way, if there is one, and hand it on."""
        if self._waiting is not None:
            self._arrived(*self._waiting())
            self._waiting = None


def and_held(
    consume: Callable[[ScoredBatch], None], held: Held, candidates: Candidates | None
) -> Callable[[ScoredBatch, Traced], None]:
    """Hands on each scored batch, and then lets `held` take what will be scored again."""

    def take(batch: ScoredBatch, traced: Traced) -> None:
        consume(batch)
        if candidates is not None and traced.collated is not None:
            held.hold(batch, traced.collated, candidates)

    return take


def _nothing() -> None:
    """What there is to wait for where nothing was begun."""


def _copied(tensors: list[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
    """The tensors on the host, and a function that waits until they are there."""
    if not tensors[0].is_cuda:
        return [t.cpu().float() if t.dtype in (torch.bfloat16, torch.float16) else t.cpu() for t in tensors], _nothing
    on_host = [torch.empty(t.shape, dtype=torch.float64, pin_memory=True) for t in tensors]
    for host, device in zip(on_host, tensors, strict=True):
        host.copy_(device.double(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))
    return on_host, event.synchronize
