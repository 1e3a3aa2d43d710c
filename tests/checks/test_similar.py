"""Groups of copies: what is one, which member is kept, and that masses of copies stay quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from cleaner.checks import neighbours, similar
from cleaner.checks.measure import measure
from cleaner.checks.records import RECORD, CopyGroup
from cleaner.checks.similar import MAX_MEMBERS, find_copies
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
    monkeypatch.setattr(neighbours, "_INDEXED", 6)
    assert made.groups() == expected


def test_without_usearch_many_images_are_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_with_copies(tmp_path)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    assert made.groups()
    monkeypatch.setattr(similar, "MAX_EXACT", 5)
    with pytest.raises(CleanerError, match=r"among 20 different images .* pip install 'image-label-cleaner\[copies\]'"):
        made.groups()


def test_copies_of_few_images_need_no_usearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setattr(similar, "MAX_EXACT", 5)
    [group] = find_copies(np.repeat(Made(tmp_path, [(picture(0), ".png")]).records, 50), lambda at: picture(0))
    assert len(group.members) == 50


def test_a_chain_of_likenesses_is_cut_where_they_end() -> None:
    records = np.zeros(6, RECORD)
    records["width"], records["height"] = [9, 5, 5, 5, 5, 5], 5
    near = similar._Alike(0.9, False)
    edges = {(0, 1): near, (1, 2): near, (2, 3): near, (3, 4): near, (4, 5): near}
    # Without pixels none is like another but along the chain.
    assert list(similar._stars(edges, records)) == [[0, 1], [2, 3], [4, 5]]


def test_a_chain_of_100_000_is_cut_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 100_000
    records = np.zeros(n, RECORD)
    edges = {(at, at + 1): similar._Alike(0.9, False) for at in range(n - 1)}
    monkeypatch.setattr(similar, "_alike", lambda *_: similar._Alike(0.0, False))
    assert list(similar._stars(edges, records)) == [[at, at + 1] for at in range(0, n, 2)]


def test_a_copy_of_a_copy_is_of_the_group_if_it_is_like_the_image_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    records = np.zeros(5, RECORD)
    edges = {(at, at + 1): similar._Alike(0.9, False) for at in range(4)}
    monkeypatch.setattr(similar, "_alike", lambda at, *_: similar._Alike(0.8 if at < 3 else 0.2, False))
    assert list(similar._stars(edges, records)) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("remembered", [1, 7, 1 << 10])
def test_a_pair_is_compared_again_only_if_it_was_forgotten(remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "_REMEMBERED", remembered)
    compared = similar._Compared(1000)
    pairs = np.array([[at, at + 1, at % 2] for at in [0, 1, 0, 0, 998]])
    assert compared.new(pairs).tolist() == [[0, 1, 0], [1, 2, 1], [998, 999, 0]]
    assert len(compared.new(pairs)) <= 2 if remembered < 1000 else len(compared.new(pairs)) == 0
    assert compared.new(np.array([[0, 1, 1]])).tolist() == [[0, 1, 1]]
    assert compared.new(pairs[:0]).shape == (0, 3)


@pytest.mark.parametrize("remembered", [1, 1 << 21])
def test_the_groups_do_not_depend_on_what_is_remembered(
    remembered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "_REMEMBERED", remembered)
    assert len(made_with_copies(tmp_path).groups()) == len(TRANSFORMS)


def test_repeats_are_told_by_the_whole_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "_BLOCK", 2)
    records = np.zeros(9, RECORD)
    records["bytes_sha256"][:, 0] = [5, 1, 5, 2, 1, 5, 9, 9, 7]
    records["bytes_sha256"][7, 31] = 1
    copies, firsts = similar._repeats(records, "bytes_sha256", np.arange(9))
    assert sorted(zip(copies.tolist(), firsts.tolist(), strict=True)) == [(2, 0), (4, 1), (5, 0)]


def test_an_image_with_the_bytes_of_one_with_the_pixels_of_a_third_is_of_their_group(tmp_path: Path) -> None:
    made = Made(tmp_path, [(picture(0), ".png"), (picture(0), ".bmp"), (picture(0), ".bmp"), (picture(1), ".png")])
    [group] = made.groups()
    assert group.members == (0, 1, 2)
    assert set(group.details[1:]) == {"same pixels"}


def test_features_lead_to_copies_that_no_other_search_finds() -> None:
    random = np.random.default_rng(0)
    records = np.zeros(12, RECORD)
    # Images 0 and 1 show the same; five others have nearly the colours of each, and all differ in their hashes.
    colours = random.integers(60, 200, (3, 192))
    for copy in (0, 1):
        mixed = (colours[copy] + colours[2]) // 2
        records["descriptor"][copy::2] = mixed + random.integers(-9, 10, (6, 192))
    records["grey"] = random.integers(0, 256, (12, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)
    records["grey"][1] = records["grey"][0]
    records["hash"] = random.integers(0, 2**63, 12)
    for digest in ("bytes_sha256", "pixels_sha256"):
        records[digest][:, 0] = np.arange(12)
    records["width"], records["height"] = 200, 150

    def described(at: np.ndarray) -> np.ndarray:
        of_images = np.eye(12, dtype=np.float32)
        of_images[1], of_images[5] = of_images[0], 0
        return of_images[at]

    def read(at: int) -> Image.Image:
        raise OSError(at)

    assert find_copies(records, read) == []
    [group] = find_copies(records, read, described)
    assert (group.members, group.details[1]) == ((0, 1), "near-copy")
    # Features only lead to candidates: without the same details there is no copy.
    records["grey"][1] = records["grey"][2]
    assert find_copies(records, read, described) == []


def record(size: tuple[int, int] = (200, 150), colour: tuple[int, int, int] = (120, 100, 80), spread: float = 0.4):
    made = np.zeros((), RECORD)
    made["width"], made["height"], made["colour"] = *size, spread
    made["descriptor"] = np.tile(np.array(colour, np.uint8), 64)
    return made[()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"size": (100, 75)}, ["50% of the size"]),
        ({"size": (67, 50)}, ["33% of the size"]),
        ({"size": (7, 5)}, ["3% of the size"]),
        ({"size": (199, 149)}, []),
        ({"size": (150, 150)}, ["of another shape"]),
        ({"size": (100, 100)}, ["of another shape", "58% of the size"]),
        ({"colour": (150, 125, 100)}, ["brighter"]),
        ({"colour": (145, 125, 105)}, ["brighter"]),
        ({"colour": (90, 75, 60)}, ["darker"]),
        ({"colour": (125, 105, 85)}, []),
        ({"colour": (120, 80, 100)}, ["recoloured"]),
        ({"colour": (180, 130, 130)}, ["recoloured", "brighter"]),
        ({"colour": (104, 104, 104), "spread": 0.0}, ["in grey"]),
        ({"colour": (60, 60, 60), "spread": 0.0, "size": (100, 75)}, ["in grey", "darker", "50% of the size"]),
    ],
)
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_difference_is_told_in_words(change: dict, words: list[str], is_mirrored: bool) -> None:
    expected = ["near-copy", *(["mirrored"] if is_mirrored else []), *words]
    assert similar._difference(record(**change), record(), is_mirrored).split(", ") == expected


def test_a_copy_in_colours_of_a_picture_in_grey_is_told() -> None:
    assert similar._difference(record(), record(spread=0.0), False) == "near-copy, in colours"
