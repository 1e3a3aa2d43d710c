"""Groups of copies: what is one, which member is kept, and that masses of copies stay quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from cleaner.checks import neighbours, similar
from cleaner.checks.measure import measure
from cleaner.checks.neighbours import nearest
from cleaner.checks.records import RECORD, CopyGroup
from cleaner.checks.similar import MAX_MEMBERS, find_copies, nearest_by_index
from cleaner.core.errors import CleanerError
from tests.checks.test_run import picture, save

TRANSFORMS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: image.resize((100, 75)),
    "cropped by 10 %": lambda image: image.crop((15, 5, 195, 140)),
    "cropped by 15 %": lambda image: image.crop((0, 10, 170, 138)),
    "shifted": lambda image: ImageOps.expand(image, (14, 9, 0, 0)).crop((0, 0, 200, 150)),
    "mirrored": ImageOps.mirror,
    "bordered": lambda image: ImageOps.expand(image, 12, "white"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


class Made:
    """Records of made pictures in files."""

    def __init__(self, folder: Path, images: list[tuple[Image.Image, str]]) -> None:
        self.files = [save(image, folder / f"{at:03d}{suffix}") for at, (image, suffix) in enumerate(images)]
        self.records = np.array([measure(str(file)) for file in self.files], RECORD)

    def read(self, at: int) -> Image.Image:
        return Image.open(self.files[at]).convert("RGB")

    def groups(self) -> list[CopyGroup]:
        return find_copies(self.records, self.read)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_changed_copy_is_found_among_other_pictures(transform: str, tmp_path: Path) -> None:
    others = [(picture(seed), ".png") for seed in range(1, 20)]
    made = Made(tmp_path, [(picture(0), ".png"), *others, (TRANSFORMS[transform](picture(0)), ".jpg")])
    [group] = made.groups()
    assert sorted(group.members) == [0, 20]
    assert 0.84 <= group.scores[1] <= 1
    assert ("mirrored" in group.details[1]) == (transform == "mirrored")


def test_different_pictures_are_no_copies(tmp_path: Path) -> None:
    assert Made(tmp_path, [(picture(seed), ".jpg") for seed in range(60)]).groups() == []


def test_plain_pictures_are_no_copies_of_each_other(tmp_path: Path) -> None:
    greys = [(Image.new("RGB", (100, 80), (n, n, n)), ".png") for n in range(0, 250, 5)]
    assert Made(tmp_path, greys).groups() == []


def test_the_details_say_how_each_is_a_copy(tmp_path: Path) -> None:
    whole = picture(0, (400, 300))
    made = Made(tmp_path, [(whole.resize((200, 150)), ".png"), (whole, ".png"), (whole, ".bmp"), (whole, ".png")])
    [group] = made.groups()
    assert group.members == (1, 2, 3, 0)
    assert group.details == ("suggested to be kept", "same pixels", "same bytes", "near-copy, 50% of the size")
    assert group.scores[:3] == (1, 1, 1)


@pytest.mark.parametrize("fault", ["a difference", "an error"])
def test_pixels_are_the_same_only_at_full_size(fault: str, tmp_path: Path) -> None:
    made = Made(tmp_path, [(picture(0), ".png"), (picture(0), ".bmp")])

    def read(at: int) -> Image.Image:
        if fault == "an error":
            raise OSError("gone")
        return made.read(at).point(lambda value: value ^ at)

    [group] = find_copies(made.records, read)
    assert (group.scores[1], group.details[1]) == (0.99, "near-copy")


@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image_have_no_copies(n: int, tmp_path: Path) -> None:
    assert find_copies(np.zeros(n, RECORD), lambda at: picture(at)) == []


def test_a_million_copies_of_one_image_are_one_short_group(tmp_path: Path) -> None:
    made = Made(tmp_path, [(picture(0), ".png")])
    [group] = find_copies(np.broadcast_to(made.records, (1_000_000,)), made.read)
    assert group.members == tuple(range(MAX_MEMBERS))
    assert group.details[0] == f"suggested to be kept; {1_000_000 - MAX_MEMBERS:,} more copies are not listed"
    assert set(group.details[1:]) == {"same bytes"}


def test_pixels_are_compared_only_for_what_is_listed(tmp_path: Path) -> None:
    made = Made(tmp_path, [(picture(0), ".png")])
    records = np.repeat(made.records, 3000)
    records["bytes_sha256"][:, :2] = np.arange(3000, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    read: list[int] = []
    [group] = find_copies(records, lambda at: (read.append(at), picture(0))[1])
    assert len(group.members) == MAX_MEMBERS
    assert len(read) < 3 * MAX_MEMBERS


def test_the_order_of_the_images_does_not_change_the_groups(tmp_path: Path) -> None:
    images = [(picture(seed), ".png") for seed in range(12)]
    images += [(picture(seed).resize((150, 112)), ".jpg") for seed in range(0, 12, 2)]
    images += [(ImageOps.mirror(picture(4)), ".png"), (picture(5), ".bmp")]
    made = Made(tmp_path, images)
    expected = {frozenset(group.members) for group in made.groups()}
    assert len(expected) == 7
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = find_copies(made.records[order], lambda at: made.read(int(order[at])))
    assert {frozenset(order[list(group.members)].tolist()) for group in shuffled} == expected


def pairs_of(search: Callable[..., Iterator[np.ndarray]], values: np.ndarray, floor: float) -> list[tuple[int, int]]:
    """Return the pairs of three nearest that a search yields for unit vectors [n, m]."""

    def vectors(begin: int, end: int) -> np.ndarray:
        return values[begin:end]

    return [tuple(pair) for block in search(vectors, vectors, len(values), 3, floor) for pair in block.tolist()]


def made_with_copies(tmp_path: Path) -> Made:
    images = [(picture(seed), ".png") for seed in range(12)]
    changed = [(change(picture(seed)), ".jpg") for seed, change in enumerate(TRANSFORMS.values(), 3)]
    return Made(tmp_path, [*images, *changed])


def test_many_images_have_the_same_groups_as_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    made = made_with_copies(tmp_path)
    expected = made.groups()
    assert len(expected) == len(TRANSFORMS)
    monkeypatch.setattr(similar, "MAX_EXACT", 5)
    monkeypatch.setattr(similar, "nearest", None)
    monkeypatch.setattr(similar, "_INDEXED", 6)
    assert made.groups() == expected


def test_without_usearch_many_images_are_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_with_copies(tmp_path)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    assert made.groups()
    monkeypatch.setattr(similar, "MAX_EXACT", 5)
    with pytest.raises(CleanerError, match=r"more than 5 different images .* pip install 'image-cleaner\[copies\]'"):
        made.groups()


def test_copies_of_few_images_need_no_usearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setattr(similar, "MAX_EXACT", 5)
    [group] = find_copies(np.repeat(Made(tmp_path, [(picture(0), ".png")]).records, 50), lambda at: picture(0))
    assert len(group.members) == 50


def test_an_index_finds_98_in_100_of_the_pairs_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(similar, "_INDEXED", 8_000)
    random = np.random.default_rng(0)
    values = random.normal(size=(20_000, 16)).astype(np.float32)
    values[1::4] = values[::4] + random.normal(size=(5_000, 16)) / 4
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    exact, found = (set(pairs_of(search, values, 0.5)) for search in (nearest, nearest_by_index))
    assert len(exact) > 50_000
    assert len(exact & found) >= 0.98 * len(exact)
    assert len(found) <= len(exact)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 2, 11])
def test_plain_pictures_are_in_no_index(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(similar, "_INDEXED", 5)
    monkeypatch.setattr(similar, "_BLOCK", 5)
    values = np.zeros((n, 4), np.float32)
    assert pairs_of(nearest_by_index, values, 0.5) == []
    values[-2:] = 0.5
    assert n == 0 or len(similar._index(lambda a, b: values[a:b], 0, n)) == min(n, 2)
    assert pairs_of(nearest_by_index, values, 0.5) == ([(n - 2, n - 1), (n - 1, n - 2)] if n > 1 else [])


def test_a_chain_of_likenesses_is_cut_where_they_end() -> None:
    records = np.zeros(6, RECORD)
    records["width"], records["height"] = [9, 5, 5, 5, 5, 5], 5
    near = similar._Alike(0.9, False)
    edges = {(0, 1): near, (1, 2): near, (2, 3): near, (3, 4): near, (4, 5): near}
    # Without pixels none is like another but along the chain.
    stars = list(similar._stars(list(range(6)), edges, records))
    assert stars == [[0, 1], [2, 3], [4, 5]]


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.9]))
def test_the_nearest_are_those_of_a_full_sort(n: int, k: int, seed: int, floor: float) -> None:
    _check_nearest(n, k, seed, floor, 7, 5)


def test_the_nearest_of_20_000_are_those_of_brute_force() -> None:
    _check_nearest(20_000, 3, 0, 0.2, neighbours._QUERIES, neighbours._VECTORS)


def _check_nearest(n: int, k: int, seed: int, floor: float, queries: int, vectors: int) -> None:
    values = np.random.default_rng(seed).normal(size=(n, 24)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_QUERIES", queries)
        patch.setattr(neighbours, "_VECTORS", vectors)
        blocks = list(nearest(lambda a, b: values[a:b], lambda a, b: values[a:b], n, k, floor))
    found = {(int(query), int(near)) for block in blocks for query, near in block}
    expected = set()
    for start in range(0, n, 1000):
        cosines = values[start : start + 1000] @ values.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -1
        best = np.argpartition(-cosines, min(k, n - 1), axis=1)[:, :k]
        rows, columns = np.nonzero(np.take_along_axis(cosines, best, axis=1) > floor)
        expected |= set(zip((start + rows).tolist(), best[rows, columns].tolist(), strict=True))
    assert found == expected
