"""Copies: the same bytes, the same pixels, and near-copies, found by descriptors and told by their details.

Three steps, each of which leaves fewer images to the next. Images with the same bytes or pixels count as one. The
nearest neighbours of each in the colour descriptor, also mirrored, in the hash, and in features if there are any, are
its candidates. A candidate is a copy if edges and details of both thumbnails agree where they overlap.

Records are read in blocks, and candidates are compared as they are found: in memory remain 8 bytes of each image, and
the copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleaner.checks.alignment import likeness
from cleaner.checks.features import Described, joined
from cleaner.checks.neighbours import Vectors, nearest, nearest_by_index, unit_blocks
from cleaner.checks.records import CopyGroup

__all__ = ["MAX_EXACT", "MAX_MEMBERS", "MIN_LIKENESS", "find_copies"]

MAX_EXACT = 200_000
"""Maximum number of images among which neighbours are searched exactly: the time grows with its square."""

MAX_MEMBERS = 100
"""Maximum number of images of a group that are listed."""

MIN_LIKENESS = 0.84
"""The least likeness of a near-copy; see `cleaner.checks.alignment.likeness`."""

# A copy of a copy may differ more from the image to keep.
_MIN_OF_CHAIN = 0.75
# Neighbours of an image that are looked at, and how near they are at least: cosines of descriptors, and 10 of 64 bits.
_NEIGHBOURS, _MIN_COSINE, _MIN_BITS = 3, 0.5, 1 - 2 * 10 / 64
_BLOCK = 1 << 12
# Colours of a copy that are told in words: levels of 255 by which its mean brightness differs, and the mean of one
# channel besides; and limits of RECORD's `colour`, above which a picture is in colours, and below which in grey. Of
# photos whose sides are cropped by 15 %, 2 in 100 differ as much in brightness and 1 in a channel.
_BRIGHTER, _RECOLOURED, _COLOURED, _GREY = 20, 8, 0.1, 0.02
# Logarithm of a ratio of sides by which a copy has another shape.
_SAME_SHAPE = 0.02
# Pairs that are remembered as compared, 8 bytes each.
_REMEMBERED = 1 << 21

Records = npt.NDArray[Any]
ReadImage = Callable[[int], Image.Image]
"""Reads the image at a position, upright and in RGB."""


@dataclass(frozen=True, slots=True)
class _Alike:
    """The likeness of two pictures, 0 to 1, and whether one of them is mirrored for it."""

    score: float
    is_mirrored: bool


Edges = Mapping[tuple[int, int], _Alike]


def find_copies(records: Records, read: ReadImage, described: Described | None = None) -> list[CopyGroup]:
    """Return the groups of copies, in the order of their first members.

    The member to keep is the one with the most pixels, then the first. The others are copies of it; or copies of such
    a copy, if they are not much less like it. At most `MAX_MEMBERS` are listed.

    Args:
        records: RECORD [n]; read in blocks.
        read: called for images whose measured pixels agree, to compare them at full size. It may raise anything.
        described: looks up features, by which further candidates are found.

    Raises:
        CleanerError: more than `MAX_EXACT` images are different, and the package usearch is not installed.
    """
    equals, distinct = _equals(records)
    edges = _near_copies(records, distinct, described)
    stars = list(_stars(edges, records))
    near = {at for star in stars for at in star}
    stars += [[at] for at in equals.firsts() if at not in near]
    groups = [_group(star, equals, edges, records, read) for star in stars]
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


def _equals(records: Records) -> tuple[_Equals, npt.NDArray[np.int64]]:
    """Return the images with the same bytes or pixels as an earlier one, and the positions of all others."""
    first_of = np.arange(len(records))
    copies, firsts = _repeats(records, "bytes_sha256", first_of)
    first_of[copies] = firsts
    copies, firsts = _repeats(records, "pixels_sha256", np.flatnonzero(first_of == np.arange(len(records))))
    first_of[copies] = firsts
    # The first image with some bytes may have the pixels of an earlier one.
    first_of = first_of[first_of]
    return _Equals(first_of), np.flatnonzero(first_of == np.arange(len(records)))


def _group(star: Sequence[int], equals: _Equals, edges: Edges, records: Records, read: ReadImage) -> CopyGroup:
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
                _equality(copy, star[0], records, read)
                if alike is None
                else (min(0.99, alike.score), _difference(records[copy], records[star[0]], alike.is_mirrored))
            )
            members.append(copy)
            scores.append(score)
            details.append(detail)
    return CopyGroup(tuple(members), tuple(scores), tuple(details))


def _equality(at: int, keep: int, records: Records, read: ReadImage) -> tuple[float, str]:
    """Return the score and the detail of an image whose measured pixels are those of the one to keep."""
    if (records[at]["bytes_sha256"] == records[keep]["bytes_sha256"]).all():
        return 1.0, "same bytes"
    # A JPEG is measured at half its size or less.
    return (1.0, "same pixels") if _have_equal_pixels(at, keep, read) else (0.99, "near-copy")


def _difference(copy: Any, keep: Any, is_mirrored: bool) -> str:
    """Return how a near-copy differs from the image to keep, of their records, in words."""
    words = ["near-copy", *(["mirrored"] if is_mirrored else []), *_difference_of_colours(copy, keep)]
    width, height = (float(copy[side]) / float(keep[side]) for side in ("width", "height"))
    # The sides of a smaller picture are rounded to whole pixels.
    rounding = 1 / min(float(copy[side]) for side in ("width", "height"))
    if abs(math.log(width / height)) > _SAME_SHAPE + rounding:
        words.append("of another shape")
    if max(width, height) < 0.98:
        words.append(f"{(width * height) ** 0.5:.0%} of the size")
    return ", ".join(words)


def _difference_of_colours(copy: Any, keep: Any) -> Iterator[str]:
    """Yield words for the colours of a copy, by the mean colours of both; small changes may be those of a crop."""
    of_copy, of_keep = (record["descriptor"].reshape(-1, 3).mean(axis=0) for record in (copy, keep))
    brightness = float(of_copy.mean() - of_keep.mean())
    factor = float(of_copy.mean() / max(1.0, of_keep.mean()))
    # A picture made brighter by a sum or by a factor has its colours still.
    shift = min(float(np.abs(of_copy - expected).max()) for expected in (of_keep + brightness, of_keep * factor))
    if copy["colour"] < _GREY and keep["colour"] > _COLOURED:
        yield "in grey"
    elif keep["colour"] < _GREY and copy["colour"] > _COLOURED:
        yield "in colours"
    elif shift > _RECOLOURED:
        yield "recoloured"
    if abs(brightness) > _BRIGHTER:
        yield "brighter" if brightness > 0 else "darker"


def _near_copies(
    records: Records, distinct: npt.NDArray[np.int64], described: Described | None
) -> dict[tuple[int, int], _Alike]:
    """Return the pairs of images whose details agree, the first one first."""
    edges: dict[tuple[int, int], _Alike] = {}
    compared = _Compared(len(records))
    for found in _candidates(records, distinct, described):
        pairs = compared.new(found)
        for start in range(0, len(pairs), _BLOCK):
            first, second, mirrored = pairs[start : start + _BLOCK].T
            scores = _likeness(records, first, second, mirrored.astype(bool))
            for at in np.flatnonzero(scores >= MIN_LIKENESS).tolist():
                pair, alike = (int(first[at]), int(second[at])), _Alike(float(scores[at]), bool(mirrored[at]))
                # A picture may be like another and like its mirror image.
                if pair not in edges or alike.score > edges[pair].score:
                    edges[pair] = alike
    return edges


class _Compared:
    """Remembers pairs that were compared, as most are found more than once; the last ones, if there are many.

    Args:
        n: number of images.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._keys = np.zeros(min(_REMEMBERED, 8 * n + 1), np.uint64)

    def new(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the pairs, int64 [n, 3] of `_candidates`, that are not known to be compared, and remember them."""
        # No pair has the key 0: the first one comes before the second.
        keys, at = np.unique((pairs[:, 0] * self._n + pairs[:, 1]) * 2 + pairs[:, 2], return_index=True)
        keys = keys.astype(np.uint64)
        # Multiplied by a large odd number, so that the upper bits depend on all of the key.
        places = ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) % np.uint64(len(self._keys))
        is_new = self._keys[places] != keys
        self._keys[places] = keys
        new: npt.NDArray[np.int64] = pairs[at[is_new]]
        return new


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


def _candidates(
    records: Records, distinct: npt.NDArray[np.int64], described: Described | None
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the pairs of images that are near in one of the descriptions: int64 [n, 3], first, second, mirrored."""
    search = nearest if len(distinct) <= MAX_EXACT else nearest_by_index
    for queries, vectors, floor, is_mirrored in _searches(records, distinct, described):
        for pairs in search(queries, vectors, len(distinct), _NEIGHBOURS, floor):
            at = np.sort(distinct[pairs], axis=1)
            yield np.column_stack([at, np.full(len(at), is_mirrored)])


def _searches(
    records: Records, distinct: npt.NDArray[np.int64], described: Described | None
) -> Iterator[tuple[Vectors, Vectors, float, bool]]:
    """Yield queries, vectors, the least cosine, and whether the queries are mirrored, of each search."""
    colours, mirrored, bits = (
        partial(unit_blocks, records, distinct, name) for name in ("colours", "mirrored", "hash")
    )
    yield colours, colours, _MIN_COSINE, False
    yield mirrored, colours, _MIN_COSINE, True
    yield bits, bits, _MIN_BITS, False
    if described is not None:
        features = partial(_joined_blocks, records, distinct, described)
        yield features, features, _MIN_COSINE, False


def _joined_blocks(
    records: Records, distinct: npt.NDArray[np.int64], described: Described, begin: int, end: int
) -> npt.NDArray[np.float32]:
    """Return features joined with colour descriptors, of unit length: without features the descriptor counts alone."""
    rows = joined(records, distinct[begin:end], described)
    rows /= np.maximum(1e-9, np.linalg.norm(rows, axis=1, keepdims=True))
    return rows


def _stars(edges: Edges, records: Records) -> Iterator[list[int]]:
    """Yield groups of images: one to keep and those that are like it, then groups of the rest.

    Without this a chain of scenes of one kind, each like the next, would be one group.
    """
    neighbours: dict[int, list[int]] = {}
    for one, other in edges:
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    rest = set(neighbours)
    for keep in sorted(neighbours, key=lambda at: _rank(at, records)):
        if keep in rest:
            near = _star_of(keep, rest, neighbours, edges, records)
            rest.difference_update([keep, *near])
            if near:
                yield [keep, *sorted(near, key=lambda at: _rank(at, records))]


def _rank(at: int, records: Records) -> tuple[int, int]:
    """Return a key that is less for an image that is rather kept."""
    return -int(records["width"][at]) * int(records["height"][at]), at


def _star_of(
    keep: int, rest: Set[int], neighbours: Mapping[int, Sequence[int]], edges: Edges, records: Records
) -> list[int]:
    """Return those of the rest that are like the one to keep: its copies, the copies of these, and so on."""
    near: list[int] = []
    seen = {keep}
    waiting = [keep]
    while waiting:
        for at in neighbours[waiting.pop()]:
            if at in rest and at not in seen:
                seen.add(at)
                if _is_of_star(at, keep, edges, records):
                    near.append(at)
                    waiting.append(at)
    return near


def _is_of_star(at: int, keep: int, edges: Edges, records: Records) -> bool:
    return (min(at, keep), max(at, keep)) in edges or _alike(at, keep, edges, records).score >= _MIN_OF_CHAIN


def _repeats(
    records: Records, name: str, among: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the positions of images whose digest an earlier one of `among` has, and of the first such one of each."""
    keys = np.empty(len(among), np.uint64)
    for start in range(0, len(among), _BLOCK):
        digests = records[name][among[start : start + _BLOCK], :16]
        parts = np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)
        keys[start : start + _BLOCK] = parts[:, 0] ^ (parts[:, 1] * np.uint64(3))
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    is_repeat = np.zeros(len(keys), bool)
    is_repeat[1:] = keys[1:] == keys[:-1]
    # Where a run of equal keys begins.
    begins = np.maximum.accumulate(np.where(is_repeat, 0, np.arange(len(keys))))[is_repeat]
    copies, firsts = among[order[is_repeat]], among[order[begins]]
    is_equal = np.ones(len(copies), bool)
    for start in range(0, len(copies), _BLOCK):
        block = slice(start, start + _BLOCK)
        # Digests that agree in 64 bits only are those of different images.
        is_equal[block] = (records[name][copies[block]] == records[name][firsts[block]]).all(axis=1)
    return copies[is_equal], firsts[is_equal]


def _have_equal_pixels(one: int, other: int, read: ReadImage) -> bool:
    """Return whether two images have the same pixels at full size; a file that cannot be read now has others."""
    try:
        first, second = read(one), read(other)
        return first.size == second.size and first.tobytes() == second.tobytes()
    except Exception:  # noqa: BLE001 - decoders raise anything; the file changed since it was measured
        return False
