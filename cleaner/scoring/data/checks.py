"""Checks that every dataset makes before any image is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError

__all__ = ["DuplicateFinder", "check_folder", "check_number", "common_root"]


def check_number(name: str, value: int | None, min_value: int) -> None:
    """Check that `value` is None or a whole number of at least `min_value`.

    Raises:
        CleanerError: it is not.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < min_value):
        raise CleanerError(f"{name} is {value!r}; pass a whole number of at least {min_value}")


def check_folder(folder: Path) -> Path:
    """Return the absolute path of a folder.

    Raises:
        CleanerError: there is no such folder.
    """
    if not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is not a folder; pass the folder that holds the images")
    return Path(os.path.abspath(folder))


def common_root(own: str | None, folders: Iterable[str]) -> Path:
    """Return `own` if all folders are below it and it is not the current folder, else their common folder."""
    folders = list(folders)
    if own is not None and own != os.getcwd() and all(Path(folder).is_relative_to(own) for folder in folders):
        return Path(own)
    return Path(os.path.commonpath(folders))


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
