"""Find repeated texts, such as paths that are listed twice, in little memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["DuplicateFinder"]


class DuplicateFinder:
    """Finds texts that came before. It keeps eight bytes of each: ten million take 80 MB.

    It keeps 64-bit hashes: two of ten million different texts share one with a probability of 1 in 300,000.

    Attributes:
        count: number of texts that came before.
    """

    def __init__(self) -> None:
        self.count = 0
        # Sorted, each longer than all after it together: a text is looked up in few, and they are merged rarely.
        self._runs: list[npt.NDArray[np.int64]] = []

    def update(self, texts: Sequence[str]) -> int | None:
        """Add texts; return the position of the first that came before, among them or earlier, or None."""
        hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
        order = np.argsort(hashes, kind="stable")
        run = hashes[order]
        repeated = np.zeros(len(run), np.bool_)
        repeated[1:] = run[1:] == run[:-1]
        for known in self._runs:
            at = np.minimum(np.searchsorted(known, run), len(known) - 1)
            repeated |= known[at] == run
        positions = order[repeated]
        self.count += len(positions)
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        if len(run):
            self._runs.append(run)
        return int(positions.min()) if len(positions) else None
