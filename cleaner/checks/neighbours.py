"""Searches the nearest neighbours of images in one of their descriptions, block by block; exactly or by an index."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.checks.descriptors import mirrored, unit
from cleaner.core.errors import CleanerError

__all__ = ["Vectors", "nearest", "nearest_by_index", "unit_blocks"]

# Queries and vectors that are compared at once: their cosines take 32 MiB, and those that are looked at again as much.
_QUERIES, _VECTORS = 1024, 8192
# Images in an index, which take about 100 MiB; more indexes take more time.
_INDEXED = 200_000
# Images that are added to an index or searched in it at once.
_BLOCK = 1 << 12
# Vectors of an index that are followed at once in a search. With 64, usearch's default, .973 of the nearest ones of
# mirrored pictures were found among 60,000.
_FOLLOWED = 192
_NEAR = np.dtype([("cosine", "<f4"), ("at", "<i8")])

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
            _take_better(best, at, _cosines(block, vectors(begin, min(n, begin + _VECTORS)), start - begin), begin)
        rows, columns = np.nonzero(at >= 0)
        yield np.column_stack([rows + start, at[rows, columns]])


def _cosines(
    queries: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], offset: int
) -> npt.NDArray[np.float32]:
    """Return the cosines [queries, vectors]; -1 for the same image: the query at `i`, the vector at `i + offset`."""
    cosines: npt.NDArray[np.float32] = queries @ vectors.T
    own = np.arange(len(queries)) + offset
    inside = np.flatnonzero((own >= 0) & (own < len(vectors)))
    cosines[inside, own[inside]] = -1
    return cosines


def _take_better(
    best: npt.NDArray[np.float32], at: npt.NDArray[np.int64], cosines: npt.NDArray[np.float32], begin: int
) -> None:
    """Put the vectors of a block that are nearer than the last of `best` [n, k] into it, nearest first.

    One vector of each query in turn, the nearest, which is then struck out of `cosines`: most queries have few nearer
    ones in a block, and to find a maximum takes less time than to sort.
    """
    rows = np.arange(len(best))
    for _ in range(best.shape[1]):
        columns = (cosines if len(rows) == len(cosines) else cosines[rows]).argmax(axis=1)
        values = cosines[rows, columns]
        is_better = values > best[rows, -1]
        rows, columns, values = rows[is_better], columns[is_better], values[is_better]
        if not len(rows):
            return
        cosines[rows, columns] = -1
        _insert(best, at, rows, values, columns + begin)


def _insert(
    best: npt.NDArray[np.float32],
    at: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
) -> None:
    """Put a vector into each of some rows in place of the last one, nearest first."""
    best[rows, -1], at[rows, -1] = values, positions
    order = np.argsort(-best[rows], axis=1, kind="stable")
    best[rows], at[rows] = (np.take_along_axis(each[rows], order, axis=1) for each in (best, at))


def nearest_by_index(
    queries: Vectors, vectors: Vectors, n: int, k: int, floor: float
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pairs, int64 [pairs, 2], of each query and about its `k` nearest vectors, as `nearest` does.

    The search is approximate, in graphs of navigable small worlds (Malkov and Yashunin, 2016), as `usearch` builds them
    in several threads; so two runs may differ in a few pairs. One graph at a time is in memory, of a part of the
    images; what was found in earlier ones is in a temporary file meanwhile. Of the pairs of `nearest` it finds 988 in
    1,000 among 60,000 images made of CIFAR-10, 983 of mirrored ones, and 998 of those with a cosine above .9.

    Raises:
        CleanerError: usearch is not installed.
    """
    with tempfile.TemporaryFile() as file:
        found = np.memmap(file, _NEAR, "w+", shape=(max(1, n), k))  # an empty file cannot be mapped
        found["cosine"], found["at"] = floor, -1
        for begin in range(0, n, _INDEXED):
            _search_part(found, queries, _index(vectors, begin, min(n, begin + _INDEXED), n), n)
        for start in range(0, n, _BLOCK):
            at = np.asarray(found["at"][start : min(n, start + _BLOCK)])
            rows, columns = np.nonzero(at >= 0)
            yield np.column_stack([rows + start, at[rows, columns]])


def _search_part(found: npt.NDArray[Any], queries: Vectors, index: Any, n: int) -> None:
    """Put the vectors of an index that are nearer than the last of `found` [n, k] into it, nearest first."""
    if not len(index):
        return
    k = found.shape[1]
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(n, start + _BLOCK))
        keys, cosines = _searched(index, queries(rows.start, rows.stop), k + 1)
        cosines[keys == np.arange(rows.start, rows.stop)[:, None]] = -1
        values = np.hstack([found["cosine"][rows], cosines])
        positions = np.hstack([found["at"][rows], keys])
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        found["cosine"][rows] = np.take_along_axis(values, order, axis=1)
        found["at"][rows] = np.take_along_axis(positions, order, axis=1)


def _searched(
    index: Any, queries: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the keys and the cosines [n, k] of the vectors of an index that are nearest to each query."""
    matches = index.search(_as_bytes(queries), k)
    # The row of a single query is flat.
    keys, distances = np.atleast_2d(matches.keys).astype(np.int64), np.atleast_2d(matches.distances)
    # An index of fewer vectors leaves the rest of a row undefined; the row of a single query is short then.
    counts: Any = np.asarray(getattr(matches, "counts", keys.shape[1]))
    is_none = np.arange(keys.shape[1]) >= counts.reshape(-1, 1)
    is_none = is_none | ~queries.any(axis=1, keepdims=True)
    return keys, np.where(is_none, -1, 1 - np.where(is_none, 0, distances)).astype(np.float32)


def _index(vectors: Vectors, begin: int, end: int, n: int) -> Any:
    """Return an index of some of `n` vectors by their positions, without zeros, which are near to none."""
    try:
        from usearch.index import Index
    except ImportError as error:
        raise CleanerError(
            f"Copies among {n:,} different images are searched with the package usearch, which is not installed. "
            "Install it with pip install 'image-label-cleaner[copies]' and run the command again: the images are not "
            "measured again."
        ) from error
    index = None
    for start in range(begin, end, _BLOCK):
        block = vectors(start, min(end, start + _BLOCK))
        if index is None:
            index = Index(ndim=block.shape[1], metric="cos", dtype="i8", expansion_search=_FOLLOWED)
        own = np.flatnonzero(block.any(axis=1))
        if len(own):
            index.add(own + start, _as_bytes(block[own]))
    return index


def _as_bytes(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return vectors each scaled so that its largest number is 127, as whole numbers.

    The vectors of an index take half the memory of float16 so. usearch would scale the length to 127
    instead, which leaves only about 20 different numbers: it then found 92 of 100 neighbours instead of 98.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-9)
    scaled: npt.NDArray[np.int8] = np.rint(vectors * (127 / largest)).astype(np.int8)
    return scaled
