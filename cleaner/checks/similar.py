"""Copies: the same bytes, the same pixels, and near-copies, found by descriptors and told by their details.

Three steps, each of which leaves fewer images to the next. Images with the same bytes or pixels count as one. The
nearest neighbours of each in the colour descriptor, also mirrored, and in the hash are its candidates. A candidate is a
copy if the details of both thumbnails agree where they overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleaner.checks.alignment import likeness
from cleaner.checks.neighbours import Vectors, nearest, unit_blocks
from cleaner.checks.records import CopyGroup
from cleaner.core.errors import CleanerError

__all__ = ["MAX_EXACT", "MAX_MEMBERS", "MIN_LIKENESS", "find_copies", "nearest_by_index"]

MAX_EXACT = 200_000
"""Maximum number of images among which neighbours are searched exactly: the time grows with its square."""

MAX_MEMBERS = 100
"""Maximum number of images of a group that are listed."""

MIN_LIKENESS = 0.84
"""The least likeness of a near-copy; see `cleaner.checks.alignment.likeness`."""

# A copy of a copy may differ more from the image to keep.
_MIN_OF_CHAIN = 0.7
# Neighbours of an image that are looked at, and how near they are at least: cosines of descriptors, and 10 of 64 bits.
_NEIGHBOURS, _MIN_COSINE, _MIN_BITS = 3, 0.5, 1 - 2 * 10 / 64
_BLOCK = 1 << 12
# Images in an index, about 100 MiB; more indexes take more time.
_INDEXED = 100_000

Records = npt.NDArray[Any]
ReadImage = Callable[[int], Image.Image]
"""Reads the image at a position, upright and in RGB."""


@dataclass(frozen=True, slots=True)
class _Alike:
    """The likeness of two pictures, 0 to 1, and whether one of them is mirrored for it."""

    score: float
    is_mirrored: bool


Edges = Mapping[tuple[int, int], _Alike]


def find_copies(records: Records, read: ReadImage) -> list[CopyGroup]:
    """Return the groups of copies, in the order of their first members.

    The member to keep is the one with the most pixels, then the first. The others are copies of it; or copies of such
    a copy, if they are not much less like it. At most `MAX_MEMBERS` are listed.

    Args:
        records: RECORD [n]; read in blocks.
        read: called for images whose measured pixels agree, to compare them at full size. It may raise anything.

    Raises:
        CleanerError: more than `MAX_EXACT` images are different, and the package usearch is not installed.
    """
    same_bytes = _first_equal(records["bytes_sha256"])
    own = np.flatnonzero(same_bytes == np.arange(len(records)))
    pixels_of_own = own[_first_equal(records["pixels_sha256"][own])]
    first_of = np.arange(len(records))
    first_of[own] = pixels_of_own
    first_of = first_of[same_bytes]
    equals = _Equals(first_of)
    edges = dict(_near_copies(records, own[pixels_of_own == own]))
    stars = [star for component in _components(edges) for star in _stars(component, edges, records)]
    near = {at for star in stars for at in star}
    stars += [[at] for at in equals.firsts() if at not in near]
    groups = [_group(star, equals, same_bytes, edges, records, read) for star in stars]
    return sorted(groups, key=lambda group: min(group.members))


class _Equals:
    """The images with the same pixels as an earlier one, by that one.

    Args:
        first_of: int64 [n], position of the first image with the same pixels.
    """

    def __init__(self, first_of: npt.NDArray[np.int64]) -> None:
        copies = np.flatnonzero(first_of != np.arange(len(first_of)))
        self._copies = copies[np.argsort(first_of[copies], kind="stable")]
        self._firsts = first_of[self._copies]

    def firsts(self) -> list[int]:
        """Return the images of which there are equal ones."""
        found: list[int] = np.unique(self._firsts).tolist()
        return found

    def of(self, first: int) -> npt.NDArray[np.int64]:
        """Return the images that equal this one, which is the first."""
        begin, end = (int(np.searchsorted(self._firsts, first, side)) for side in ("left", "right"))
        return self._copies[begin:end]


def _group(
    star: Sequence[int],
    equals: _Equals,
    same_bytes: npt.NDArray[np.int64],
    edges: Edges,
    records: Records,
    read: ReadImage,
) -> CopyGroup:
    """Return the group of an image to keep, the first, its near-copies, and all that equal one of them."""
    total = len(star) + sum(len(equals.of(at)) for at in star)
    members, scores, details = [star[0]], [1.0], ["suggested to be kept"]
    if total > MAX_MEMBERS:
        details[0] += f"; {total - MAX_MEMBERS:,} more copies are not listed"
    for at in star:
        alike = None if at == star[0] else _alike(at, star[0], edges, records)
        for copy in ([] if alike is None else [at]) + equals.of(at)[: MAX_MEMBERS - len(members)].tolist():
            if len(members) == MAX_MEMBERS:
                break
            score, detail = (
                _equality(copy, star[0], same_bytes, read)
                if alike is None
                else (min(0.99, alike.score), _difference(records, copy, star[0], alike.is_mirrored))
            )
            members.append(copy)
            scores.append(score)
            details.append(detail)
    return CopyGroup(tuple(members), tuple(scores), tuple(details))


def _equality(at: int, keep: int, same_bytes: npt.NDArray[np.int64], read: ReadImage) -> tuple[float, str]:
    """Return the score and the detail of an image whose measured pixels are those of the one to keep."""
    if same_bytes[at] == same_bytes[keep]:
        return 1.0, "same bytes"
    # A JPEG is measured at half its size or less.
    return (1.0, "same pixels") if _have_equal_pixels(at, keep, read) else (0.99, "near-copy")


def _difference(records: Records, at: int, keep: int, is_mirrored: bool) -> str:
    """Return how a near-copy differs from the image to keep, in words."""
    width, height = (float(records[side][at]) / float(records[side][keep]) for side in ("width", "height"))
    parts = ["near-copy", *(["mirrored"] if is_mirrored else [])]
    if max(width, height) < 0.98:
        parts.append(f"{(width * height) ** 0.5:.0%} of the size")
    return ", ".join(parts)


def _near_copies(records: Records, distinct: npt.NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], _Alike]]:
    """Yield the pairs of images whose details agree, the first one first."""
    pairs = _candidates(records, distinct)
    for start in range(0, len(pairs), _BLOCK):
        first, second, mirrored = pairs[start : start + _BLOCK].T
        scores = _likeness(records, first, second, mirrored.astype(bool))
        for at in np.flatnonzero(scores >= MIN_LIKENESS).tolist():
            yield (int(first[at]), int(second[at])), _Alike(float(scores[at]), bool(mirrored[at]))


def _likeness(
    records: Records,
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Return how alike the pictures of pairs are, the second of which may be mirrored."""
    others = records["grey"][second]
    others[mirrored] = others[mirrored][:, :, ::-1]
    return likeness(records["grey"][first], others)


def _alike(at: int, keep: int, edges: Edges, records: Records) -> _Alike:
    """Return how alike an image is to the one to keep."""
    known = edges.get((min(at, keep), max(at, keep)))
    if known is not None:
        return known
    pair = np.array([keep, keep]), np.array([at, at]), np.array([False, True])
    plain, flipped = _likeness(records, *pair).tolist()
    return _Alike(max(plain, flipped), flipped > plain)


def _candidates(records: Records, distinct: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the pairs of images that are near in one of the descriptions: int64 [n, 3], first, second, mirrored."""
    blocks = {name: partial(unit_blocks, records, distinct, name) for name in ("colours", "mirrored", "hash")}
    searches = (
        ("colours", "colours", _MIN_COSINE),
        ("mirrored", "colours", _MIN_COSINE),
        ("hash", "hash", _MIN_BITS),
    )
    search = nearest if len(distinct) <= MAX_EXACT else nearest_by_index
    found = [np.empty((0, 3), np.int64)]
    for queries, vectors, floor in searches:
        for pairs in search(blocks[queries], blocks[vectors], len(distinct), _NEIGHBOURS, floor):
            at = np.sort(distinct[pairs], axis=1)
            found.append(np.column_stack([at, np.full(len(at), queries == "mirrored")]))
    return np.unique(np.concatenate(found), axis=0)


def nearest_by_index(
    queries: Vectors, vectors: Vectors, n: int, k: int, floor: float
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pairs, int64 [pairs, 2], of each query and about its `k` nearest vectors, as `nearest` does.

    The search is approximate, in graphs of navigable small worlds (Malkov and Yashunin, 2016), as `usearch` builds them
    in several threads; so two runs may differ in a few pairs. One graph at a time is in memory, of a part of the
    images. Of the pairs of `nearest` it finds 996 in 1,000 or more for 10,000 images of CIFAR-10.

    Raises:
        CleanerError: usearch is not installed.
    """
    best, at = np.full((n, k), floor, np.float32), np.full((n, k), -1, np.int64)
    for begin in range(0, n, _INDEXED):
        index = _index(vectors, begin, min(n, begin + _INDEXED))
        if not len(index):
            continue
        for start in range(0, n, _BLOCK):
            rows = slice(start, min(n, start + _BLOCK))
            found = index.search(queries(rows.start, rows.stop), k + 1)
            keys, distances = np.atleast_2d(found.keys).astype(np.int64), np.atleast_2d(found.distances)
            # An index of fewer vectors leaves the rest of a row undefined; the row of a single query is short then.
            counts: Any = np.asarray(getattr(found, "counts", keys.shape[1]))
            is_none = np.arange(keys.shape[1]) >= counts.reshape(-1, 1)
            is_none |= keys == np.arange(rows.start, rows.stop)[:, None]
            cosines = 1 - np.where(is_none, 2, distances)
            values, positions = np.hstack([best[rows], cosines]), np.hstack([at[rows], keys])
            order = np.argsort(-values, axis=1, kind="stable")[:, :k]
            best[rows], at[rows] = (np.take_along_axis(each, order, axis=1) for each in (values, positions))
    for start in range(0, n, _BLOCK):
        of, columns = np.nonzero(at[start : start + _BLOCK] >= 0)
        yield np.column_stack([of + start, at[of + start, columns]])


def _index(vectors: Vectors, begin: int, end: int) -> Any:
    """Return an index of vectors by their positions, without zeros, which are near to none."""
    try:
        from usearch.index import Index
    except ImportError as error:
        raise CleanerError(
            f"Copies among more than {MAX_EXACT:,} different images are searched with the package usearch, which is "
            "not installed. Install it with pip install 'image-cleaner[copies]' and run the command again: the images "
            "are not measured again."
        ) from error
    index = None
    for start in range(begin, end, _BLOCK):
        block = vectors(start, min(end, start + _BLOCK))
        if index is None:
            index = Index(ndim=block.shape[1], metric="ip", dtype="f16")
        own = np.flatnonzero(block.any(axis=1))
        if len(own):
            index.add(own + start, block[own])
    return index


def _components(edges: Edges) -> list[list[int]]:
    """Return the connected images."""
    parent: dict[int, int] = {}

    def root(at: int) -> int:
        while parent.setdefault(at, at) != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for one, other in edges:
        a, b = root(one), root(other)
        parent[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = {}
    for at in sorted(parent):
        members.setdefault(root(at), []).append(at)
    return list(members.values())


def _stars(component: list[int], edges: Edges, records: Records) -> Iterator[list[int]]:
    """Yield groups of connected images: one to keep and those that are like it, then groups of the rest.

    Without this a chain of scenes of one kind, each like the next, would be one group.
    """
    keep, *others = sorted(component, key=lambda at: (-int(records["width"][at]) * int(records["height"][at]), at))
    near = [at for at in others if _is_of_star(at, keep, edges, records)]
    if near:
        yield [keep, *near]
    rest = set(others) - set(near)
    inner = {pair: alike for pair, alike in edges.items() if rest.issuperset(pair)} if rest else {}
    for smaller in _components(inner):
        yield from _stars(smaller, inner, records)


def _is_of_star(at: int, keep: int, edges: Edges, records: Records) -> bool:
    return (min(at, keep), max(at, keep)) in edges or _alike(at, keep, edges, records).score >= _MIN_OF_CHAIN


def _first_equal(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return for each digest, uint8 [n, 32], the position of the first equal one."""
    keys = np.ascontiguousarray(digests[:, :16]).view(np.uint64).reshape(-1, 2)
    _, first, which = np.unique(keys[:, 0] ^ (keys[:, 1] * np.uint64(3)), return_index=True, return_inverse=True)
    found: npt.NDArray[np.int64] = first[which.reshape(-1)].astype(np.int64)
    # Digests that agree in 64 bits only are those of different images.
    differs = np.flatnonzero((digests[found] != digests).any(axis=1)) if len(digests) else found
    found[differs] = differs
    return found


def _have_equal_pixels(one: int, other: int, read: ReadImage) -> bool:
    """Return whether two images have the same pixels at full size; a file that cannot be read now has others."""
    try:
        first, second = read(one), read(other)
        return first.size == second.size and first.tobytes() == second.tobytes()
    except Exception:  # noqa: BLE001 - decoders raise anything; the file changed since it was measured
        return False
