"""Inputs that will be scored again, held in memory up to a number of bytes, so that no file is read twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from cleaner.core.records import ScoredBatch
from cleaner.scoring.sources import Candidates, Wanted

__all__ = ["LIMIT", "Held"]

LIMIT = 128 * 2**20
"""Bytes of inputs that a fast scan may hold on to, which is some hundred images of usual size."""


class Held:
    """The inputs and targets of candidates, as they came out of the loader's collation.

    When `limit` is reached, those that are no candidates any more are let go of; once that makes too little room, no
    more are taken, and the others have to be read again.

    Args:
        limit: most bytes of inputs.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes, self._full = limit, 0, False
        self._rows: dict[str, tuple[Tensor, Tensor]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._rows

    def hold(self, batch: ScoredBatch, collated: Sequence[Tensor], candidates: Candidates) -> None:
        """Take the candidates of a scored batch out of what was collated: inputs [n, ...] and targets [n]."""
        if self._full:
            return
        among = candidates.among(batch)
        inputs, targets = collated
        for i, path in enumerate(batch.paths):
            if path in among and path not in self._rows:
                self._rows[path] = inputs[i].clone(), targets[i].clone()
                self._bytes += _bytes_of(inputs[i])
        if self._bytes > self._limit:
            self._let_go(candidates.so_far())

    def batches(
        self, only: Wanted, size: int, label_of: Callable[[Tensor], str]
    ) -> Iterator[tuple[list[str], tuple[Tensor, Tensor]]]:
        """What is held of the samples that `only` asks for: paths, and inputs and targets as they were collated."""
        wanted = ((path, row) for path, row in self._rows.items() if only(path, partial(label_of, row[1])))
        while rows := list(islice(wanted, size)):
            # Images that a transform leaves at their own sizes are put together only where they fit.
            shape = rows[0][1][0].shape
            alike = [row for row in rows if row[1][0].shape == shape]
            for some in (alike, *([row] for row in rows if row[1][0].shape != shape)):
                inputs, targets = (torch.stack(tensors) for tensors in zip(*(row[1] for row in some), strict=True))
                yield [path for path, _ in some], (inputs, targets)

    def _let_go(self, still: set[str]) -> None:
        self._rows = {path: row for path, row in self._rows.items() if path in still}
        self._bytes = sum(_bytes_of(inputs) for inputs, _ in self._rows.values())
        self._full = self._bytes > self._limit * 3 / 4


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
