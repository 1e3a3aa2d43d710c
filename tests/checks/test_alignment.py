"""How alike two thumbnails are: copies however changed, other pictures, plain pictures, and batches."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from cleaner.checks import alignment
from cleaner.checks.alignment import likeness
from cleaner.checks.descriptors import GREY_SIDE, grey_thumbnail, without_border
from cleaner.checks.similar import MIN_LIKENESS
from tests.checks.test_run import SIZE, picture

SEEDS = range(24)
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def reencoded(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


def cropped(share: float) -> Change:
    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in image.size)
        left, top = random.integers(0, (image.width - width + 1, image.height - height + 1)).tolist()
        return image.crop((left, top, left + width, top + height))

    return change


def shifted(share: float) -> Change:
    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        moved = Image.new("RGB", image.size)
        moved.paste(image, tuple(round(share * side) * int(random.choice([-1, 1])) for side in image.size))
        return moved

    return change


def recoloured(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    other = Image.merge("HSV", (hue.point(lambda each: (each + 20) % 256), saturation, value)).convert("RGB")
    return ImageEnhance.Brightness(ImageEnhance.Contrast(other).enhance(1.3)).enhance(0.8)


CHANGES: dict[str, Change] = {
    "re-encoded": reencoded,
    "half the size": lambda image, _: image.resize((100, 75)),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.1),
    "cropped by 15 %": cropped(0.15),
    "shifted by 5 %": shifted(0.05),
    "shifted by 10 %": shifted(0.1),
    "recoloured": recoloured,
    "mirrored back": lambda image, random: ImageOps.mirror(reencoded(ImageOps.mirror(image), random)),
}


def thumbnail(image: Image.Image) -> np.ndarray:
    return grey_thumbnail(without_border(image))


def thumbnails(seeds: range = SEEDS, change: Change = lambda image, _: image) -> np.ndarray:
    return np.stack([thumbnail(change(picture(seed), np.random.default_rng(seed))) for seed in seeds])


def pairs_of(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides of all pairs of different pictures."""
    first, second = np.triu_indices(len(pictures), 1)
    return pictures[first], pictures[second]


def bird(seed: int, noise: float = 4.0) -> Image.Image:
    """A dark shape on a plain sky that is a little brighter below; each seed gives another shape."""
    random = np.random.default_rng(seed)
    centre = random.uniform(0.35, 0.65, 2) * SIZE
    angles, lengths = np.sort(random.uniform(0, 2 * np.pi, 9)), random.uniform(5, 24, 9)
    corners = centre + lengths[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    image = Image.new("RGB", SIZE, (150, 190, 230))
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners.tolist()], fill=(20, 20, 20))
    light = np.linspace(-20, 20, SIZE[1])[:, None, None] + random.normal(0, noise, (SIZE[1], SIZE[0], 1))
    return Image.fromarray((np.asarray(image) + light).clip(0, 255).astype(np.uint8))


def test_a_picture_is_as_alike_to_itself_as_can_be() -> None:
    assert likeness(thumbnails(), thumbnails()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_a_copy(change: str) -> None:
    assert likeness(thumbnails(), thumbnails(change=CHANGES[change])).min() > MIN_LIKENESS


@pytest.mark.parametrize("change", CHANGES)
def test_likeness_does_not_depend_on_the_order_of_a_pair(change: str) -> None:
    one, other = thumbnails(), thumbnails(change=CHANGES[change])
    assert (likeness(one, other) == likeness(other, one)).all()


def test_a_mirrored_picture_is_no_copy_unless_it_is_mirrored_back() -> None:
    flipped = thumbnails()[:, :, ::-1]
    assert likeness(thumbnails(), flipped).max() < MIN_LIKENESS
    assert likeness(thumbnails(), flipped[:, :, ::-1]).min() > MIN_LIKENESS


def test_different_pictures_are_no_copies() -> None:
    assert likeness(*pairs_of(thumbnails(range(60)))).max() < MIN_LIKENESS


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_two_made_pictures_are_alike_only_if_they_are_the_same(one: int, other: int) -> None:
    found = float(likeness(thumbnail(picture(one))[None], thumbnail(picture(other))[None])[0])
    assert (found > MIN_LIKENESS) == (one == other)


def test_different_shapes_on_a_plain_sky_are_no_copies() -> None:
    assert likeness(*pairs_of(np.stack([thumbnail(bird(seed)) for seed in range(30)]))).max() < MIN_LIKENESS


def test_a_shape_on_a_sky_without_noise_is_a_copy_of_itself() -> None:
    shapes = np.stack([thumbnail(bird(seed, 0)) for seed in range(30)])
    assert likeness(shapes, shapes).min() > MIN_LIKENESS


@pytest.mark.parametrize(("width", "height"), [(186, 150), (200, 138), (190, 132)])
def test_a_picture_stretched_in_one_direction_is_a_copy(width: int, height: int) -> None:
    """A part of the picture without a strip on one side or two, of another shape, squeezed to the same square."""
    cut = [picture(seed).crop((0, 0, width, height)) for seed in SEEDS]
    assert likeness(thumbnails(), np.stack([grey_thumbnail(image) for image in cut])).min() > MIN_LIKENESS


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_plain_pictures_are_alike_to_none(brightness: int) -> None:
    plain = np.full((len(SEEDS), GREY_SIDE, GREY_SIDE), brightness, np.uint8)
    noisy = plain ^ np.random.default_rng(0).integers(0, 2, plain.shape, np.uint8)
    for one in (plain, noisy):
        for other in (plain, noisy, thumbnails()):
            assert (likeness(one, other) == 0).all()
            assert (likeness(other, one) == 0).all()


@pytest.mark.parametrize("at_once", [1, 5, 24, 1000])
def test_likeness_does_not_depend_on_batches(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = thumbnails(), thumbnails(change=cropped(0.1))
    other[::3] = thumbnails(range(100, 100 + len(SEEDS)))[::3]  # pairs that leave at the first step
    expected = likeness(one, other)
    monkeypatch.setattr(alignment, "_AT_ONCE", at_once)
    found = likeness(one, other)
    assert found == pytest.approx(expected, abs=1e-4)
    assert (found[::3] == 0).all()
    assert found[1::3].min() > MIN_LIKENESS


def test_no_pairs_have_no_likeness() -> None:
    empty = np.empty((0, GREY_SIDE, GREY_SIDE), np.uint8)
    found = likeness(empty, empty)
    assert (found.dtype, found.shape) == (np.float32, (0,))


def test_thumbnails_are_not_changed() -> None:
    one, other = thumbnails(), thumbnails(change=cropped(0.1))
    before = one.copy(), other.copy()
    likeness(one, other)
    assert (one == before[0]).all()
    assert (other == before[1]).all()


@pytest.mark.parametrize("full", [GREY_SIDE // 2, GREY_SIDE])
@pytest.mark.parametrize("side", sorted({*alignment._COARSE_SIDES, *alignment._FIRST_SIDES, *alignment._OTHER_SIDES}))
def test_at_least_four_fifths_of_the_smaller_side_overlap(side: int, full: int) -> None:
    offsets = alignment._offsets(side, full)
    overlaps = np.minimum(full, offsets + side) - np.maximum(0, offsets)
    smaller = min(side, full)
    assert overlaps.min() >= 0.8 * smaller
    assert (np.diff(offsets) == 1).all()
    for next_offset in (offsets[0] - 1, offsets[-1] + 1):
        assert min(full, next_offset + side) - max(0, next_offset) < 0.8 * smaller


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 2), (-3, 4), (6, -6)])
def test_the_offset_of_a_shifted_picture_is_found(down: int, right: int) -> None:
    margin = 6
    canvas = grey_thumbnail(picture(1)).repeat(2, axis=0).repeat(2, axis=1)

    def window(top: int, left: int) -> np.ndarray:
        return canvas[top : top + GREY_SIDE, left : left + GREY_SIDE][None]

    one, other = window(margin, margin), window(margin + down, margin + right)
    best = alignment._align(alignment._blurred(one), alignment._blurred(other), alignment._FIRST_SIDES)
    assert (best.side.tolist(), best.down.tolist(), best.right.tolist()) == ([GREY_SIDE], [down], [right])
    assert likeness(one, other)[0] > MIN_LIKENESS
