"""Properties that tell the label: those that do are told, those that do not are not, however few the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cleaner.checks import properties
from cleaner.checks.properties import guesses, telling_properties
from cleaner.checks.records import RECORD

Records = np.ndarray[Any, Any]
Classes = np.ndarray[Any, Any]


def random_records(n: int, seed: int = 0) -> Records:
    random = np.random.default_rng(seed)
    records = np.zeros(n, RECORD)
    for name in ("width", "height"):
        records[name] = random.integers(200, 400, n)
    for name in ("brightness", "contrast", "sharpness", "colour"):
        records[name] = random.random(n)
    return records


def shuffled(*sizes: int, seed: int = 0) -> Classes:
    """Return the classes of images in random order, from the number of images of each."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.uint32)


def told(records: Records, classes: Classes, *labels: str) -> list[str]:
    return list(telling_properties(records, classes, labels))


@pytest.mark.parametrize("sizes", [(40, 40), (150, 150), (1500, 1500), (20, 2000)])
def test_dark_cats_and_bright_dogs_are_told(sizes: tuple[int, int]) -> None:
    classes = shuffled(*sizes)
    records = random_records(len(classes))
    records["brightness"] = records["brightness"] * 0.4 + np.where(classes == 0, 0.05, 0.55)
    (sentence,) = told(records, classes, "cat", "dog")
    assert sentence.startswith("how bright they are alone tells the label of ")
    assert "50% by chance" in sentence
    assert "'cat'" in sentence or "'dog'" in sentence


def test_the_sentence_has_the_figures() -> None:
    classes = shuffled(300, 300)
    records = random_records(600)
    records["brightness"] = np.where(classes == 0, 0.2, 0.8)
    assert told(records, classes, "cat", "dog") == [
        "how bright they are alone tells the label of 100% of the images, 50% by chance; most of 'cat' (100%). "
        "A model may learn that instead"
    ]


@pytest.mark.parametrize("odd", range(3))
def test_the_class_that_differs_is_named(odd: int) -> None:
    classes = shuffled(300, 300, 300)
    records = random_records(900)
    records["brightness"] = records["brightness"] * 0.4 + np.where(classes == odd, 0.05, 0.55)
    labels = ("cat", "dog", "fox")
    (sentence,) = told(records, classes, *labels)
    assert f"33% by chance; most of {labels[odd]!r} (100%)" in sentence


# The start of the sentence, and the fields of the first class and of the second.
TELLING: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "how bright they are": ({"brightness": 0.2}, {"brightness": 0.4}),
    "their contrast": ({"contrast": 0.2}, {"contrast": 0.4}),
    "how sharp they are": ({"sharpness": 0.2}, {"sharpness": 1.9}),
    "how colourful they are": ({"colour": 0.0}, {"colour": 1.0}),
    "their number of pixels": ({"width": 100, "height": 100}, {"width": 400, "height": 400}),
    "their shape": ({"width": 400, "height": 100}, {"width": 100, "height": 400}),
}


@pytest.mark.parametrize("what", TELLING)
def test_each_property_can_tell_the_label(what: str) -> None:
    classes = shuffled(100, 100)
    records = random_records(200)
    for name in TELLING[what][0]:
        records[name] = np.where(classes == 0, TELLING[what][0][name], TELLING[what][1][name])
    assert [sentence.split(" alone ")[0] for sentence in told(records, classes, "a", "b")] == [what]


def test_a_property_that_one_in_ten_images_has_not_is_told_and_one_that_half_have_not_is_not() -> None:
    classes = shuffled(500, 500)
    random = np.random.default_rng(1)
    for share, expected in ((0.1, 1), (0.4, 0)):
        records = random_records(1000)
        dark = (classes == 0) ^ (random.random(1000) < share)
        records["brightness"] = np.where(dark, 0.2, 0.8)
        assert len(told(records, classes, "cat", "dog")) == expected


SPLITS = {
    "two classes of 150": (150, 150),
    "two classes of 1,500": (1500, 1500),
    "ten classes of 30": (30,) * 10,
    "ten classes of 300": (300,) * 10,
    "two small classes": (20, 20),
    "two classes of 40": (40, 40),
    "three small classes": (25, 25, 25),
    "a small class and a large one": (20, 1000),
}


@pytest.mark.parametrize("split", SPLITS)
def test_random_labels_are_not_told(split: str) -> None:
    sizes = SPLITS[split]
    labels = [f"class {number}" for number in range(len(sizes))]
    for seed in range(20):
        assert told(random_records(sum(sizes), seed), shuffled(*sizes, seed=seed), *labels) == []


def test_images_that_are_all_alike_tell_nothing() -> None:
    records = np.repeat(random_records(1), 200)
    assert told(records, shuffled(100, 100), "cat", "dog") == []
    assert told(records, np.arange(200, dtype=np.uint32) % 2, "cat", "dog") == []


@pytest.mark.parametrize("sizes", [(), (0,), (500,), (19, 19), (500, 19), (500, 0, 5), (19,) * 30])
def test_fewer_than_two_classes_of_enough_images_tell_nothing(sizes: tuple[int, ...]) -> None:
    classes = shuffled(*sizes) if sizes else np.zeros(0, np.uint32)
    records = random_records(len(classes))
    records["brightness"] = classes / 30
    assert guesses(records, classes, len(sizes)) == []
    assert told(records, classes, *(f"class {number}" for number in range(len(sizes)))) == []


def test_small_classes_count_neither_for_nor_against() -> None:
    classes = shuffled(10, 300, 0, 300, 19)
    records = random_records(len(classes))
    records["brightness"] = np.where(classes == 3, 0.2, 0.8)
    (sentence,) = told(records, classes, "a", "b", "c", "d", "e")
    assert "50% by chance" in sentence
    assert "most of 'b' (100%)" in sentence


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_result_does_not_depend_on_the_size_of_a_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = shuffled(60, 90, 50)
    records = random_records(200)
    whole = guesses(records, classes, 3)
    assert [each.name for each in whole] == ["brightness", "contrast", "sharpness", "colour", "area", "shape"]
    monkeypatch.setattr(properties, "_BLOCK", block)
    assert guesses(records, classes, 3) == whole


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2**20, 2**8)])
def test_extreme_pictures_are_counted(size: tuple[int, int]) -> None:
    classes = shuffled(50, 50)
    records = random_records(100)
    records["width"][0], records["height"][0] = size
    records["sharpness"][1] = 50
    assert told(records, classes, "cat", "dog") == []


@pytest.mark.parametrize("odd", [0, 3, 9])
def test_one_class_of_many_that_differs_is_named(odd: int) -> None:
    classes = shuffled(*[60] * 10)
    records = random_records(600)
    records["brightness"] = records["brightness"] * 0.4 + np.where(classes == odd, 0.05, 0.55)
    labels = [f"class {number}" for number in range(10)]
    (sentence,) = told(records, classes, *labels)
    assert sentence.startswith(f"how bright they are alone tells {labels[odd]!r} from the other labels: ")
    assert "right, 50% by chance" in sentence


def test_a_class_that_differs_in_half_of_its_images_only_is_not_named() -> None:
    classes = shuffled(*[60] * 10)
    records = random_records(600)
    dark = (classes == 3) & (np.random.default_rng(2).random(600) < 0.5)
    records["brightness"] = records["brightness"] * 0.4 + np.where(dark, 0.05, 0.55)
    assert told(records, classes, *map(str, range(10))) == []
