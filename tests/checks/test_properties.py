"""Properties that tell the label are named, and those that do not are not."""

from __future__ import annotations

import numpy as np
import pytest

from cleaner.checks import properties
from cleaner.checks.properties import telling_properties
from tests.checks.test_quality import records


def random_records(n: int, seed: int) -> np.ndarray:
    random, made = np.random.default_rng(seed), records(n)
    for name in ("brightness", "contrast", "sharpness", "colour"):
        made[name] = random.uniform(0, 1, n)
    made["width"] = random.integers(50, 1000, n)
    return made


def test_cats_that_are_all_dark_are_named() -> None:
    made, classes = random_records(300, 0), (np.arange(300) // 2 % 3).astype(np.uint32)
    made["brightness"][classes == 1] /= 8
    [sentence] = telling_properties(made, classes, ["dog", "cat", "fox"])
    assert sentence.startswith("how bright they are alone tells the label of")
    assert "33% by chance" in sentence
    assert "most of 'cat'" in sentence


@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 10])
def test_labels_at_random_are_told_by_nothing(n: int, seed: int, n_classes: int) -> None:
    classes = np.random.default_rng(seed + 100).integers(0, n_classes, n).astype(np.uint32)
    assert list(telling_properties(random_records(n, seed), classes, list(map(str, range(n_classes))))) == []


def test_classes_of_few_images_say_nothing() -> None:
    made, classes = random_records(60, 0), np.repeat(np.arange(4, dtype=np.uint32), 15)
    made["brightness"] = classes / 4
    assert list(telling_properties(made, classes, list("abcd"))) == []
    assert list(telling_properties(made[:0], classes[:0], [])) == []


def test_the_result_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made, classes = random_records(300, 0), (np.arange(300) // 2 % 3).astype(np.uint32)
    whole = properties.guesses(made, classes, 3)
    monkeypatch.setattr(properties, "_BLOCK", 7)
    assert properties.guesses(made, classes, 3) == whole
