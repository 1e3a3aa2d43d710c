"""Issues of single images: each at its threshold, relative to the dataset where that is meant, the worst first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.checks import quality
from cleaner.checks.quality import MAX_KEPT, find_quality
from cleaner.checks.records import RECORD
from cleaner.core.issues import QUALITY

USUAL = {
    "width": 400,
    "height": 300,
    "dark": 0.95,
    "bright": 0.05,
    "brightness": 0.5,
    "contrast": 0.8,
    "sharpness": 0.6,
    "uniform": 0.1,
    "colour": 0.3,
}


def records(n: int = 100, **last: Any) -> np.ndarray:
    """Usual images, the last one with other values."""
    made = np.zeros(n, RECORD)
    for name, value in USUAL.items():
        made[name] = value
    for name, value in last.items():
        made[name][-1] = value
    return made


def issues_of(made: np.ndarray, **options: Any) -> set[str]:
    found = find_quality(made, np.zeros(len(made), np.uint32), 1, **options)
    assert {finding.at for finding in found.findings} <= {len(made) - 1}
    return {finding.issue for finding in found.findings}


@pytest.mark.parametrize(
    ("issue", "just_right", "wrong"),
    [
        ("dark", {"dark": 0.33}, {"dark": 0.31}),
        ("bright", {"bright": 0.77}, {"bright": 0.79}),
        ("low-contrast", {"contrast": 0.21}, {"contrast": 0.19}),
        ("blurred", {"sharpness": 0.14}, {"sharpness": 0.12}),
        ("one-colour", {"uniform": 0.94}, {"uniform": 0.96}),
        ("odd-shape", {"width": 700}, {"width": 730}),
        ("odd-shape", {"height": 530}, {"height": 550}),
        ("odd-size", {"width": 1200, "height": 900}, {"width": 1300, "height": 975}),
        ("odd-size", {"width": 133, "height": 100}, {"width": 120, "height": 90}),
        ("grey", {"colour": 0.03}, {"colour": 0.0}),
        ("wrong-suffix", {"wrong_suffix": False}, {"wrong_suffix": True}),
        ("rotated", {"rotated": False}, {"rotated": True}),
    ],
)
def test_an_image_has_an_issue_beyond_the_threshold_only(
    issue: str, just_right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    assert issues_of(records(**just_right)) == set()
    assert issues_of(records(**wrong)) == {issue}


def test_a_small_image_is_one_that_the_learner_stretches_to_more_than_twice_its_side() -> None:
    made = records(width=240, height=179)
    assert issues_of(made) == set()
    assert issues_of(made, input_size=358) == set()
    assert issues_of(made, input_size=359) == {"small"}


def test_the_first_reason_is_enough() -> None:
    assert issues_of(records(uniform=1.0, dark=0.0, contrast=0.0, sharpness=0.0)) == {"one-colour"}
    assert issues_of(records(dark=0.1, contrast=0.1)) == {"dark"}


def test_a_dataset_of_large_or_of_wide_images_has_no_odd_ones() -> None:
    made = records()
    made["width"] *= 40
    assert issues_of(made) == set()


def test_sizes_that_vary_are_not_odd() -> None:
    made = records(2000)
    made["width"] = np.random.default_rng(0).integers(40, 4000, 2000)
    made["height"] = made["width"] * 3 // 4
    assert issues_of(made) == set()


@pytest.mark.parametrize(("n_grey", "is_odd"), [(1, True), (10, True), (11, False), (100, False)])
def test_grey_images_are_odd_where_they_are_few(n_grey: int, is_odd: bool) -> None:
    made = records()
    made["colour"][:n_grey] = 0
    found = find_quality(made, np.zeros(100, np.uint32), 1)
    assert [finding.at for finding in found.findings] == (list(range(n_grey)) if is_odd else [])


def test_the_worst_are_listed_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = records(3000)
    made["dark"] = np.random.default_rng(0).uniform(0, 0.31, 3000).round(2)
    classes = np.arange(3000, dtype=np.uint32) % 3
    found = find_quality(made, classes, 4)
    assert found.by_class["dark"].tolist() == [1000, 1000, 1000, 0]
    expected = sorted(range(3000), key=lambda at: (made["dark"][at], at))[:MAX_KEPT]
    assert [finding.at for finding in found.findings] == expected
    monkeypatch.setattr(quality, "_BLOCK", 7)
    assert find_quality(made, classes, 4).findings == found.findings


@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image_are_no_error(n: int) -> None:
    assert find_quality(records(n), np.zeros(n, np.uint32), 1).findings == []


@given(st.integers(0, 2**32 - 1))
def test_scores_are_between_0_and_1_and_details_say_why(seed: int) -> None:
    random = np.random.default_rng(seed)
    made = records(50)
    for name in ("dark", "bright", "contrast", "sharpness", "uniform", "colour"):
        made[name] = random.choice([0.0, 0.01, 0.19, 0.5, 0.97, 1.0], 50)
    for name in ("width", "height"):
        made[name] = random.choice([1, 30, 400, 20_000], 50)
    found = find_quality(made, np.zeros(50, np.uint32), 1, input_size=224)
    assert {finding.issue for finding in found.findings} <= QUALITY.keys()
    for finding in found.findings:
        assert 0 <= finding.score <= 1
        assert finding.detail
