"""Copies: the same bytes, the same pixels, and near-copies, found by descriptors and told by their details.

Three steps, each of which leaves fewer images to the next. Images with the same bytes or pixels are one. The nearest
neighbours of each in the colour descriptor, also mirrored, and in the hash are its candidates. A candidate is a copy if
the details of both thumbnails agree where they overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleaner.checks.alignment import likeness
from cleaner.checks.descriptors import mirrored, unit
from cleaner.checks.records import CopyGroup

__all__ = ["MAX_MEMBERS", "find_copies", "nearest"]

MAX_MEMBERS = 100
"""Maximum number of images of a group that are listed."""

MIN_LIKENESS = 0.84
"""How alike the details of a near-copy are at least; see `cleaner.checks.alignment.likeness`."""

# Neighbours of an image that are looked at, and how near they are at least: cosines of descriptors, and 10 of 64 bits.
_NEIGHBOURS, _MIN_COSINE, _MIN_BITS = 3, 0.5, 1 - 2 * 10 / 64
# Queries and images that are compared at once.
_QUERIES, _IMAGES = 1024, 1 << 14
_BLOCK = 1 << 12

ReadImage = Callable[[int], Image.Image]
"""Reads the image at a position, upright and in RGB."""


class _Pair(NamedTuple):
    """Two images, the first one first, that may be copies, or are."""

    first: int
    second: int
    is_mirrored: bool


def find_copies(records: npt.NDArray[Any], read: ReadImage) -> list[CopyGroup]:
    """Return the groups of copies, in the order of their first members.

    The member to keep is the one with the most pixels, then the first. All members are copies of it or of a copy of it.

    Args:
        records: RECORD [n]; read in blocks.
        read: called for images whose measured pixels agree, to compare them at full size. It may raise anything.
    """
    same_bytes = _equal(records["bytes_sha256"])
    own = np.flatnonzero(same_bytes == np.arange(len(records)))
    groups = _Union(len(records))
    for at in np.flatnonzero(same_bytes != np.arange(len(records))).tolist():
        groups.join(at, int(same_bytes[at]))
    same_pixels = own[_equal(records["pixels_sha256"][own])]
    equal: set[tuple[int, int]] = set()
    for at, first in zip(own.tolist(), same_pixels.tolist(), strict=True):
        if at != first:
            groups.join(at, first)
            if _have_equal_pixels(at, first, read):
                equal.add((first, at))
    distinct = own[same_pixels == own]
    alike: dict[tuple[int, int], tuple[float, bool]] = {}
    for pair, score in _near_copies(records, distinct):
        groups.join(pair.first, pair.second)
        alike[pair.first, pair.second] = score, pair.is_mirrored
    return [_group(members, records, same_bytes, equal, alike) for members in groups.result()]


def _group(
    members: list[int],
    records: npt.NDArray[Any],
    same_bytes: npt.NDArray[np.int64],
    equal: set[tuple[int, int]],
    alike: dict[tuple[int, int], tuple[float, bool]],
) -> CopyGroup:
    def order(at: int) -> tuple[int, int]:
        return -int(records["width"][at]) * int(records["height"][at]), at

    ordered = sorted(members, key=order)
    keep, listed = ordered[0], ordered[:MAX_MEMBERS]
    scores, details = [1.0], ["the largest, suggested to be kept" if _differ_in_size(records, ordered) else "the first"]
    if len(ordered) > MAX_MEMBERS:
        details[0] += f"; {len(ordered) - MAX_MEMBERS:,} more copies are not listed"
    first = int(same_bytes[keep])
    for at in listed[1:]:
        own = int(same_bytes[at])
        if own == first:
            scores.append(1.0)
            details.append("same bytes")
        elif (min(own, first), max(own, first)) in equal:
            scores.append(1.0)
            details.append("same pixels")
        else:
            score, is_mirrored = alike.get((min(own, first), max(own, first)), (MIN_LIKENESS, False))
            scores.append(min(0.999, score))
            details.append(_difference(records, at, keep, is_mirrored))
    return CopyGroup(tuple(listed), tuple(scores), tuple(details))


def _differ_in_size(records: npt.NDArray[Any], members: list[int]) -> bool:
    return len({(int(records["width"][at]), int(records["height"][at])) for at in members}) > 1


def _difference(records: npt.NDArray[Any], at: int, keep: int, is_mirrored: bool) -> str:
    """Return how a near-copy differs from the image to keep, in words."""
    width, height = (records[side][at] / records[side][keep] for side in ("width", "height"))
    parts = ["mirrored"] if is_mirrored else []
    if max(width, height) < 0.98:
        parts.append(f"{(width * height) ** 0.5:.0%} of the size")
    return ", ".join(["near-copy", *parts])


def _near_copies(records: npt.NDArray[Any], distinct: npt.NDArray[np.int64]) -> Iterator[tuple[_Pair, float]]:
    """Yield the pairs of images whose details agree, with how alike they are."""
    pairs = sorted(_candidates(records, distinct))
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        first = records["grey"][[pair.first for pair in block]]
        second = records["grey"][[pair.second for pair in block]]
        flipped = np.array([pair.is_mirrored for pair in block])
        second[flipped] = second[flipped][:, :, ::-1]
        for pair, score in zip(block, likeness(first, second).tolist(), strict=True):
            if score >= MIN_LIKENESS:
                yield pair, score


def _candidates(records: npt.NDArray[Any], distinct: npt.NDArray[np.int64]) -> set[_Pair]:
    """Return the pairs of images that are near in one of the descriptions."""
    descriptors = records["descriptor"][distinct]
    vectors, bits = unit(descriptors), _bits(records["hash"][distinct])
    found: set[_Pair] = set()
    for queries, vectors_, floor, is_mirrored in (
        (vectors, vectors, _MIN_COSINE, False),
        (unit(mirrored(descriptors)), vectors, _MIN_COSINE, True),
        (bits, bits, _MIN_BITS, False),
    ):
        for query, near in nearest(queries, vectors_, _NEIGHBOURS, floor, skip_self=True):
            first, second = sorted((int(distinct[query]), int(distinct[near])))
            found.add(_Pair(first, second, is_mirrored))
    return found


def nearest(
    queries: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    k: int,
    floor: float,
    skip_self: bool = False,
) -> Iterator[tuple[int, int]]:
    """Yield the positions of each query and of its `k` nearest vectors, by exact search in blocks.

    Args:
        queries: float32 [n, m] of unit length.
        vectors: float32 [N, m] of unit length; zeros are near to none.
        k: maximum number of vectors per query.
        floor: their cosine is higher than this.
        skip_self: leave out the vector at the query's own position.
    """
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        best = np.full((len(block), k), floor, np.float32)
        at = np.full((len(block), k), -1, np.int64)
        for begin in range(0, len(vectors), _IMAGES):
            cosines = block @ vectors[begin : begin + _IMAGES].T
            if skip_self:
                own = np.arange(start, start + len(block)) - begin
                inside = np.flatnonzero((own >= 0) & (own < cosines.shape[1]))
                cosines[inside, own[inside]] = -1
            # Few are above the k-th best so far, so that only these are sorted.
            rows, columns = np.nonzero(cosines > best[:, -1:])
            for row in np.unique(rows).tolist():
                mine = columns[np.searchsorted(rows, row) : np.searchsorted(rows, row, "right")]
                values = np.concatenate([best[row], cosines[row, mine]])
                order = np.argsort(-values, kind="stable")[:k]
                at[row] = np.concatenate([at[row], mine + begin])[order]
                best[row] = values[order]
        for row, column in zip(*np.nonzero(at >= 0), strict=True):
            yield start + int(row), int(at[row, column])


def _bits(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
    """Return hashes as unit vectors [n, 64]: the cosine of two is 1 less a 32nd of the number of bits that differ."""
    octets = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
    vectors: npt.NDArray[np.float32] = (np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1) / np.float32(8)
    return vectors


def _equal(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return for each digest, uint8 [n, 32], the position of the first equal one."""
    keys = np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)
    order = np.argsort(keys, kind="stable")
    first = np.arange(len(keys))
    leader = -1
    for run in np.flatnonzero(np.diff(keys[order], prepend=keys[order[:1]] + np.uint64(1)) == 0).tolist():
        at, before = int(order[run]), int(order[run - 1])
        if first[before] == before:
            leader = before
        if (digests[at] == digests[leader]).all():
            first[at] = leader
    return first


def _have_equal_pixels(one: int, other: int, read: ReadImage) -> bool:
    """Return whether two images have the same pixels at full size; a file that cannot be read now has others."""
    try:
        first, second = read(one), read(other)
        return first.size == second.size and first.tobytes() == second.tobytes()
    except Exception:  # noqa: BLE001 - decoders raise anything; the file changed since it was measured
        return False


class _Union:
    """Groups of positions that were joined, by the union of disjoint sets."""

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n)

    def join(self, one: int, other: int) -> None:
        a, b = self._root(one), self._root(other)
        self._parent[max(a, b)] = min(a, b)

    def result(self) -> list[list[int]]:
        """Return the groups of at least two members, in order."""
        members: dict[int, list[int]] = defaultdict(list)
        roots = [self._root(at) for at in np.flatnonzero(self._parent != np.arange(len(self._parent))).tolist()]
        for at, root in zip(np.flatnonzero(self._parent != np.arange(len(self._parent))).tolist(), roots, strict=True):
            members[root].append(at)
        return [[root, *members[root]] for root in sorted(members)]

    def _root(self, at: int) -> int:
        path = []
        while self._parent[at] != at:
            path.append(at)
            at = int(self._parent[at])
        self._parent[path] = at
        return at
