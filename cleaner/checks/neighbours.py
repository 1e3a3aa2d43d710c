"""Searches the nearest neighbours of all images in one of their descriptions, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.descriptors import mirrored, unit

__all__ = ["nearest", "unit_blocks"]

# Queries and vectors that are compared at once: their cosines take 64 MiB.
_QUERIES, _VECTORS = 2048, 8192

Vectors = Callable[[int, int], npt.NDArray[np.float32]]
"""Returns the vectors, float32 [n, m] of unit length, from one position up to another."""


def unit_blocks(
    records: npt.NDArray[Any], distinct: npt.NDArray[np.int64], name: str, begin: int, end: int
) -> npt.NDArray[np.float32]:
    """Return a description of some images as unit vectors, computed when it is needed.

    Args:
        records: RECORD [n].
        distinct: the positions of all images that are compared.
        name: `colours`, `mirrored` or `hash`; the cosine of two hashes is 1 less a 32nd of the bits that differ.
        begin, end: which of `distinct`.
    """
    of = records[distinct[begin:end]]
    if name == "hash":
        octets = np.ascontiguousarray(of["hash"]).view(np.uint8).reshape(-1, 8)
        bits: npt.NDArray[np.float32] = (np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1) / np.float32(8)
        return bits
    return unit(mirrored(of["descriptor"]) if name == "mirrored" else of["descriptor"])


def nearest(queries: Vectors, vectors: Vectors, n: int, k: int, floor: float) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pairs, int64 [pairs, 2], of each query and its `k` nearest vectors, by exact search.

    A query and the vector at its own position are of the same image, and no pair.

    Args:
        queries, vectors: of the same `n` images; zeros are near to none.
        k: maximum number of vectors per query.
        floor: their cosine is higher than this.
    """
    for start in range(0, n, _QUERIES):
        block = queries(start, min(n, start + _QUERIES))
        best = np.full((len(block), k), floor, np.float32)
        at = np.full((len(block), k), -1, np.int64)
        for begin in range(0, n, _VECTORS):
            cosines = block @ vectors(begin, min(n, begin + _VECTORS)).T
            own = np.arange(start, start + len(block)) - begin
            inside = np.flatnonzero((own >= 0) & (own < cosines.shape[1]))
            cosines[inside, own[inside]] = -1
            _take_better(best, at, cosines, begin)
        rows, columns = np.nonzero(at >= 0)
        yield np.column_stack([rows + start, at[rows, columns]])


def _take_better(
    best: npt.NDArray[np.float32], at: npt.NDArray[np.int64], cosines: npt.NDArray[np.float32], begin: int
) -> None:
    """Put the vectors of a block that are nearer than the last of `best` [n, k] into it, nearest first."""
    rows, columns = np.nonzero(cosines > best[:, -1:])
    if not len(rows):
        return
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for row, mine in zip(rows[starts].tolist(), np.split(columns, starts[1:]), strict=True):
        values = np.concatenate([best[row], cosines[row, mine]])
        order = np.argsort(-values, kind="stable")[: best.shape[1]]
        at[row] = np.concatenate([at[row], mine + begin])[order]
        best[row] = values[order]
