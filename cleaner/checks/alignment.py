"""Compares grey thumbnails: how alike two pictures are where they overlap, if one is cropped, shifted or scaled."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleaner.checks.descriptors import GREY_SIDE

__all__ = ["likeness"]

Grey = npt.NDArray[Any]

# Sides to which the second thumbnail is scaled: of thumbnails of half the side, which takes a quarter of the time, and
# of whole ones, first some and then the others. A crop of 15 % makes a picture larger by 18 %. More sides found no more
# copies, as the best alignment is refined.
_COARSE_SIDES = (13, 16, 19)
_FIRST_SIDES, _OTHER_SIDES = (27, 32, 38), (29, 30, 34, 35)
# The correlation after each of these steps with which the next one is taken, then that of the details before the
# alignment is refined: of the nearest neighbours in CIFAR-10, those with less were no more alike than .81 in the end.
_COARSE, _PROMISING, _NEAR, _OF_DETAILS = 0.76, 0.8, 0.78, 0.45
# The least of each side that overlaps.
_OVERLAP = 0.8
# Details are what is left without the mean of so many pixels around: more to align by, fewer to compare, as a shape has
# fewer of those in common with another one.
_AROUND, _NEXT = 3, 2
# How often an alignment is refined, and how much at most each time: in pixels, and as a share of the size.
_REFINEMENTS, _MAX_MOVE, _MAX_GROWTH = 2, 0.7, 0.03
# Details of less than this contrast, relative to the others, tell nothing about the alignment.
_MIN_FACTOR = 0.05
_CENTRE = (GREY_SIDE - 1) / 2
# How much edges count, the rest being details; and the power of the share of the pixels that show something. Edges tell
# apart planes and cars of CIFAR-10 on plain ground, details and the power made shapes on a plain sky: of 28 false pairs
# of CIFAR-10 that had passed a correlation of details, 9 are left, and of 1,770 pairs of made shapes, a quarter of
# which had passed, 3.
_OF_EDGES, _OF_PLAIN = 2 / 3, 0.75
# Details are weakened by this share of their standard deviation: without it a shape on a plain sky that was saved again
# was half as often a copy.
_WEAK = 0.3
# The likeness is this power of what is shared, which puts copies near 1: .33, the least of most of them, becomes .84.
_ROOT = 0.155
# Added to what is divided by.
_TINY = 1e-3
# A transform of this many sides holds all offsets without wrapping around.
_SIDES_OF_TRANSFORM = 1.5
# A picture with less variance, or less of its details, in squares of 255 levels, is plain and alike to none.
_MIN_VARIANCE, _MIN_DETAIL = 25.0, 0.5
_AT_ONCE = 256


class _Best(NamedTuple):
    """The best alignment so far of each pair: correlation, side of the second picture, and offsets."""

    score: npt.NDArray[np.float32]
    side: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]


def likeness(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return how alike the pictures of each pair are: how far their edges and details agree at the best alignment.

    The alignment is that of the highest correlation at several scales, computed with Fourier transforms and sums over
    rectangles as by Lewis, "Fast normalized cross-correlation", and then refined by parts of a pixel. Two scenes of one
    kind, such as two sunsets, reach a correlation of .98 there, as much as copies; their details do not agree.

    Args:
        first, second: uint8 [n, `GREY_SIDE`, `GREY_SIDE`], of the same pictures or others, in any order.

    Returns:
        float32 [n], 0 to 1. Of the nearest neighbours of 250 photos none was more alike than .7; of copies of them,
        however changed, 19 of 20 are above .93. Small pictures of one object on plain ground can reach .88. Plain
        pictures are alike to none.
    """
    scores = [
        _likeness(first[start : start + _AT_ONCE], second[start : start + _AT_ONCE])
        for start in range(0, len(first), _AT_ONCE)
    ]
    return np.concatenate(scores) if scores else np.empty(0, np.float32)


def _likeness(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    scores = np.zeros(len(first), np.float32)
    a, b = (_blurred(pictures) for pictures in _ordered(first, second))
    at = np.flatnonzero(_align(_halved(a), _halved(b), _COARSE_SIDES).score > _COARSE)
    a, b = a[at], b[at]
    best = _align(a, b, _FIRST_SIDES)
    promising = np.flatnonzero(best.score > _PROMISING)
    others = _align(a[promising], b[promising], _OTHER_SIDES)
    is_better = others.score > best.score[promising]
    for name in _Best._fields:
        old, new = getattr(best, name), getattr(others, name)
        old[promising] = np.where(is_better, new, old[promising])
    for n in np.flatnonzero(best.score > _NEAR).tolist():
        scores[at[n]] = _compared(a[n], b[n], int(best.side[n]), int(best.down[n]), int(best.right[n]))
    return scores


def _ordered(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the same pairs, each in the order of its bytes, so that the likeness does not depend on the order."""
    one, other = (pictures.reshape(len(first), GREY_SIDE**2) for pictures in (first, second))
    each, at = np.arange(len(first)), (one != other).argmax(axis=1)
    is_later = (one[each, at] > other[each, at])[:, None, None]
    return np.where(is_later, second, first), np.where(is_later, first, second)


def _align(a: Grey, b: Grey, sides: tuple[int, ...]) -> _Best:
    n, full = len(a), a.shape[1]
    best = _Best(np.full(n, -1, np.float32), *(np.zeros(n, np.int64) for _ in range(3)))
    if not n:
        return best
    shape = (int(_SIDES_OF_TRANSFORM * full),) * 2
    transformed = np.fft.rfft2(a, shape)
    of_a = _integral(a), _integral(a * a)
    for side in sides:
        scaled = _scaled(b, side)
        product = transformed * np.conj(np.fft.rfft2(scaled, shape))
        offsets = _offsets(side, full)
        correlation = np.fft.irfft2(product, shape)[:, offsets[:, None], offsets]
        scores = _normalised(correlation, of_a, (_integral(scaled), _integral(scaled * scaled)), side, full)
        flat = scores.reshape(n, -1)
        where = flat.argmax(axis=1)
        found = flat[np.arange(n), where]
        better = found > best.score
        best.score[better], best.side[better] = found[better], side
        best.down[better] = offsets[where // len(offsets)][better]
        best.right[better] = offsets[where % len(offsets)][better]
    return best


def _normalised(correlation: Grey, of_a: tuple[Grey, Grey], of_b: tuple[Grey, Grey], side: int, full: int) -> Grey:
    """Return the correlation coefficients [n, offsets, offsets] of the overlaps."""
    offsets = _offsets(side, full)
    begin, end = np.maximum(0, offsets), np.minimum(full, offsets + side)
    length = (end - begin).astype(np.float32)
    n = length[:, None] * length
    sum_a, square_a = (_rectangles(image, begin, end) for image in of_a)
    sum_b, square_b = (_rectangles(image, begin - offsets, end - offsets) for image in of_b)
    variance_a = square_a - sum_a * sum_a / n
    variance_b = square_b - sum_b * sum_b / n
    is_plain = (variance_a < _MIN_VARIANCE * n) | (variance_b < _MIN_VARIANCE * n)
    product = np.where(is_plain, 1, variance_a * variance_b)
    scores: Grey = np.where(is_plain, -1, (correlation - sum_a * sum_b / n) / np.sqrt(product)).astype(np.float32)
    return scores


def _compared(a: Grey, b: Grey, side: int, down: int, right: int) -> float:
    """Return how far two pictures agree where they overlap, if the second one is scaled to `side` and shifted.

    The alignment is refined by parts of a pixel and in each direction on its own, by the method of Lucas and Kanade:
    the difference of the details is explained by the slopes of the second picture, as far as it can be. Without it the
    details of a copy that was cropped agree no more than those of some other pictures of one kind.
    """
    scale = np.full(2, GREY_SIDE / side)
    begin = (0.5 - np.array([down, right])) * scale - 0.5
    for number in range(_REFINEMENTS):
        first, second, rows, columns = _mapped(a, b, scale, begin)
        first, second = _details(first, _AROUND), _details(second, _AROUND)
        if number == 0 and _cosine(first, second) < _OF_DETAILS:
            return 0.0
        moves, growth = _correction(first, second, rows, columns)
        begin = begin + scale * (moves - _CENTRE * growth)
        scale = scale * (1 + growth)
    return _agreement(*_mapped(a, b, scale, begin)[:2])


def _cosine(a: Grey, b: Grey) -> float:
    one, other = a.reshape(-1), b.reshape(-1)
    return float(one @ other / max(_TINY, (one @ one) * (other @ other)) ** 0.5)


def _mapped(a: Grey, b: Grey, scale: Grey, begin: Grey) -> tuple[Grey, Grey, Grey, Grey]:
    """Return the pixels of both pictures where they overlap, and the rows and columns of these in the first one.

    Args:
        scale, begin: a row or column `at` of the first picture is `scale * at + begin` of the second one.
    """
    pixels = np.arange(GREY_SIDE)
    inside, weights = [], []
    for direction in range(2):
        at = scale[direction] * pixels + begin[direction]
        inside.append(pixels[(at >= -0.5) & (at <= GREY_SIDE - 0.5)])
        nearest = np.clip(at[inside[direction]], 0, GREY_SIDE - 1)
        weights.append(np.maximum(0, 1 - np.abs(nearest[:, None] - pixels)))
    rows, columns = inside
    return a[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], weights[0] @ b @ weights[1].T, rows, columns


def _correction(a: Grey, b: Grey, rows: Grey, columns: Grey) -> tuple[Grey, Grey]:
    """Return by how many pixels the details `b` are to be moved down and right, and by which shares to be widened."""
    down, right = np.gradient(b)
    around = down * (rows - _CENTRE)[:, None], right * (columns - _CENTRE)
    causes = np.stack([b, down, right, *around]).reshape(5, -1)
    effect = a.reshape(-1)
    differences = (effect - (causes[0] @ effect) / (causes[0] @ causes[0] + _TINY) * causes[0]) ** 2
    # Pixels that differ much, such as a text on one of the pictures, count little.
    weighted = causes / (1 + differences / (differences.mean() + _TINY))
    products = weighted @ causes.T
    products[np.diag_indices(5)] += _TINY + 1e-3 * products.diagonal()
    factor, *found = np.linalg.solve(products, weighted @ effect)
    if factor < _MIN_FACTOR:
        return np.zeros(2), np.zeros(2)
    found = np.array(found) / factor
    return np.clip(found[:2], -_MAX_MOVE, _MAX_MOVE), np.clip(found[2:], -_MAX_GROWTH, _MAX_GROWTH)


def _agreement(first: Grey, second: Grey) -> float:
    """Return how far two aligned pictures agree, 0 to 1.

    What they do not share counts more if few pixels show anything: a dark shape on a plain sky shares most of its
    pixels with any other.
    """
    pictures = [_blurred(picture[None])[0] for picture in (first, second)]
    a, b = (_details(picture, _NEXT) for picture in pictures)
    if min(a.var(), b.var()) < _MIN_DETAIL:
        return 0.0
    roots = (_roots(details)[None] for details in (a, b))
    edges = (np.array(np.gradient(picture)) for picture in pictures)
    shared = (1 - _OF_EDGES) * _shared(*roots) + _OF_EDGES * _shared(*edges)
    not_shared = (1 - shared) / min(_filled(a), _filled(b)) ** _OF_PLAIN
    return float(max(0.0, 1 - not_shared) ** _ROOT)


def _roots(details: Grey) -> Grey:
    """Return the roots of details, as else one strong detail would decide; without weak ones, which may be noise."""
    roots: Grey = np.sign(details) * np.sqrt(np.maximum(0, np.abs(details) - _WEAK * details.std()))
    return roots


def _shared(a: Grey, b: Grey) -> float:
    """Return the share that two fields of vectors [n, height, width] have in common, whatever their contrast."""
    of_a, of_b = (np.sqrt((field * field).sum(axis=0)) for field in (a, b))
    cosines = (a * b).sum(axis=0) / np.maximum(of_a * of_b, _TINY)
    of_a, of_b = of_a / of_a.mean(), of_b / of_b.mean()
    common = np.minimum(of_a, of_b) * np.maximum(0, cosines)
    return float(common.sum() / np.maximum(of_a, of_b).sum())


def _filled(details: Grey) -> float:
    """Return the share of the pixels that show something: 1 if all show as much."""
    return float(np.abs(details).mean() ** 2 / (details * details).mean())


def _details(picture: Grey, around: int) -> Grey:
    """Return a picture without the mean of the pixels around each of its pixels."""
    rows, columns = (_means(side, around) for side in picture.shape)
    details: Grey = picture - rows @ picture @ columns.T
    return details


@cache
def _means(side: int, around: int) -> Grey:
    """Return the matrix [side, side] of the mean of so many pixels on both sides; beyond the edge it is mirrored."""
    at = np.abs(np.arange(side)[:, None] + np.arange(-around, around + 1))
    at = np.minimum(at, 2 * (side - 1) - at)
    means: Grey = (at[:, :, None] == np.arange(side)).mean(axis=1)
    return means


def _blurred(pictures: Grey) -> Grey:
    """Return pictures without their finest details, which differ after scaling and shifts by parts of a pixel."""
    values = np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    values = values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]
    blurred: Grey = (values[..., :-2] + 2 * values[..., 1:-1] + values[..., 2:]) / 16
    return blurred


def _scaled(images: Grey, side: int) -> Grey:
    weights = _interpolation(side, images.shape[1])
    scaled: Grey = weights @ images @ weights.T
    return scaled


def _halved(images: Grey) -> Grey:
    n, side, _ = images.shape
    halved: Grey = images.reshape(n, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return halved


@cache
def _interpolation(side: int, full: int) -> Grey:
    """Return the matrix [side, full] of a linear interpolation."""
    at = np.clip((np.arange(side) + 0.5) * full / side - 0.5, 0, full - 1)
    distance = np.abs(at[:, None] - np.arange(full))
    weights: Grey = np.maximum(0, 1 - distance).astype(np.float32)
    return weights


@cache
def _offsets(side: int, full: int) -> npt.NDArray[np.int64]:
    """Return the offsets of a picture of `side` in one of `full` at which enough of both overlaps."""
    least = int(np.ceil(_OVERLAP * min(side, full)))
    return np.arange(least - side, full - least + 1)


def _integral(images: Grey) -> npt.NDArray[np.float64]:
    """Return the sums [n, side + 1, side + 1] of all pixels above and left of each corner."""
    sums = images.astype(np.float64).cumsum(axis=1).cumsum(axis=2)
    return np.pad(sums, ((0, 0), (1, 0), (1, 0)))


def _rectangles(
    sums: npt.NDArray[np.float64], begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the sums [n, k, k] over the rectangles of `k` ranges in both directions."""
    rows = sums[:, end] - sums[:, begin]
    found: npt.NDArray[np.float64] = rows[:, :, end] - rows[:, :, begin]
    return found
