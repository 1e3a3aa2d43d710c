"""Descriptions of a picture: what changes them little, what changes them much, and their shapes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageEnhance, ImageOps

from cleaner.checks.descriptors import (
    GREY_SIDE,
    dct_hash,
    descriptor,
    grey_thumbnail,
    mirrored,
    unit,
    without_border,
)
from tests.checks.test_run import picture


def reencoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


SLIGHT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded": reencoded,
    "half the size": lambda image: image.resize((100, 75)),
    "another shape": lambda image: image.resize((170, 150)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
}
DESCRIPTORS = arrays.arrays(np.uint8, st.tuples(st.integers(0, 5), st.just(192)))


def bits_that_differ(one: Image.Image, other: Image.Image) -> int:
    return (dct_hash(one) ^ dct_hash(other)).bit_count()


def cosine(one: Image.Image, other: Image.Image) -> float:
    first, second = unit(np.stack([descriptor(one), descriptor(other)]))
    return float(first @ second)


@pytest.mark.parametrize("change", SLIGHT)
def test_a_slight_change_changes_hash_and_descriptor_little(change: str) -> None:
    for seed in range(20):
        changed = SLIGHT[change](picture(seed))
        assert bits_that_differ(picture(seed), changed) <= 10
        assert cosine(picture(seed), changed) > 0.95


def test_other_pictures_have_other_hashes_and_descriptors() -> None:
    pictures = [picture(seed) for seed in range(30)]
    pairs = [(one, other) for at, one in enumerate(pictures) for other in pictures[:at]]
    assert min(bits_that_differ(*pair) for pair in pairs) > 10
    assert max(cosine(*pair) for pair in pairs) < 0.8


def test_a_hash_has_64_bits_half_of_which_are_set() -> None:
    for seed in range(20):
        assert 0 <= dct_hash(picture(seed)) < 2**64
        assert dct_hash(picture(seed)).bit_count() == 32


def test_the_frequencies_of_a_hash_are_those_of_the_definition() -> None:
    values = grey_thumbnail(picture(3)).astype(float)
    at = np.arange(GREY_SIDE)

    def frequency(down: int, right: int) -> float:
        waves = (np.cos(np.pi * n * (2 * at + 1) / (2 * GREY_SIDE)) for n in (down, right))
        return float((np.outer(*waves) * values).sum())

    low = np.array([[frequency(down, right) for right in range(8)] for down in range(8)])
    expected = "".join("01"[int(value > np.median(low))] for value in low.reshape(-1))
    assert f"{dct_hash(picture(3)):064b}" == expected


def test_a_descriptor_is_the_mean_colour_of_each_of_64_parts() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    means = pixels.reshape(8, 4, 8, 6, 3).mean(axis=(1, 3)).reshape(-1)
    found = descriptor(Image.fromarray(pixels))
    assert (found.dtype, found.shape) == (np.uint8, (192,))
    assert np.abs(found - means).max() <= 1  # Pillow rounds after each direction


@given(DESCRIPTORS)
def test_unit_descriptors_have_no_mean_and_length_one_or_zero(descriptors: np.ndarray) -> None:
    vectors = unit(descriptors)
    assert (vectors.dtype, vectors.shape) == (np.float32, descriptors.shape)
    assert np.abs(vectors.mean(axis=1)).max(initial=0) < 1e-5
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-4) | (lengths == 0))


@pytest.mark.parametrize("brightness", [0, 1, 128, 255])
def test_a_picture_of_one_colour_is_near_to_none(brightness: int) -> None:
    plain = Image.new("RGB", (40, 30), (brightness,) * 3)
    noisy = Image.fromarray(np.asarray(plain) ^ np.random.default_rng(0).integers(0, 2, (30, 40, 3), np.uint8))
    assert cosine(plain, plain) == 0
    assert cosine(noisy, noisy) == 0


@given(DESCRIPTORS)
def test_mirroring_twice_gives_the_same_descriptors(descriptors: np.ndarray) -> None:
    assert (mirrored(mirrored(descriptors)) == descriptors).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_mirrored_descriptor_is_that_of_the_mirrored_picture(seed: int) -> None:
    found = mirrored(descriptor(picture(seed))[None])[0]
    assert np.abs(found.astype(int) - descriptor(ImageOps.mirror(picture(seed)))).max() <= 1


@pytest.mark.parametrize("colour", ["white", "black", "red"])
def test_a_border_is_left_out(colour: str) -> None:
    framed = ImageOps.expand(picture(0), (12, 20, 9, 5), colour)
    assert without_border(framed).tobytes() == picture(0).tobytes()


@pytest.mark.parametrize("seed", range(10))
def test_a_picture_without_a_border_stays_as_it_is(seed: int) -> None:
    assert without_border(picture(seed)).tobytes() == picture(seed).tobytes()


@settings(deadline=None)
@given(
    st.integers(0, 1000),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.integers(0, 30)] * 4),
    st.sampled_from(["white", "black", "red"]),
)
def test_no_more_than_a_fifth_is_left_out_at_an_edge_and_something_stays(
    seed: int, size: tuple[int, int], widths: tuple[int, int, int, int], colour: str
) -> None:
    framed = ImageOps.expand(picture(seed, size), widths, colour)
    bare = without_border(framed)
    for side, full in zip(bare.size, framed.size, strict=True):
        assert side >= max(1, full - 2 * (full // 5 + 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 3), (200, 150)])
@pytest.mark.parametrize("plain", [True, False])
def test_pictures_of_all_shapes_are_described(size: tuple[int, int], plain: bool) -> None:
    image = Image.new("RGB", size, "white") if plain else picture(0, size)
    bare = without_border(image)
    assert min(bare.size) >= 1
    assert not plain or bare.size == size
    assert (descriptor(bare).shape, grey_thumbnail(bare).shape) == ((192,), (GREY_SIDE, GREY_SIDE))
    assert 0 <= dct_hash(bare) < 2**64
