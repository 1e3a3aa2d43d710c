"""Issues of single images: the thresholds, what is usual in a dataset, the worst that are kept, and the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.checks import quality
from cleaner.checks.quality import MAX_KEPT, Quality, find_quality
from cleaner.checks.records import RECORD
from cleaner.core.issues import QUALITY

Records = np.ndarray[Any, Any]
TINY = 1e-6  # a score of 0, but for the precision of float32


def good(n: int, **values: object) -> Records:
    """Return the records of `n` pictures without an issue, with other values in some fields."""
    usual = {
        "width": 256,
        "height": 256,
        "dark": 0.9,
        "bright": 0.1,
        "brightness": 0.5,
        "contrast": 0.8,
        "sharpness": 0.6,
        "uniform": 0.2,
        "colour": 0.5,
    }
    records = np.zeros(n, RECORD)
    for name, value in {**usual, **values}.items():
        records[name] = value
    return records


def find(records: Records, input_size: int | None = None) -> Quality:
    return find_quality(records, np.zeros(len(records), np.uint32), 1, input_size)


def issues(records: Records, input_size: int | None = None) -> dict[int, dict[str, float]]:
    """Return the scores by issue of each position that has an issue."""
    found: dict[int, dict[str, float]] = {}
    for finding in find(records, input_size).findings:
        found.setdefault(finding.at, {})[finding.issue] = finding.score
    return found


def among_good(n: int = 40, input_size: int | None = None, **values: object) -> dict[str, float]:
    """Return the scores of one picture with these values among `n` good ones, which have no issue."""
    records = good(n + 1)
    for name, value in values.items():
        records[name][7] = value
    found = issues(records, input_size)
    assert set(found) <= {7}
    return found.get(7, {})


# An issue, its field, its threshold, a value just within it, and the worst one.
THRESHOLDS = {
    "dark": ("dark", 0.32, 0.319, 0.0),
    "bright": ("bright", 0.78, 0.781, 1.0),
    "low-contrast": ("contrast", 0.2, 0.199, 0.0),
    "blurred": ("sharpness", 0.15, 0.149, 0.0),
    "one-colour": ("uniform", 0.95, 0.951, 1.0),
}


@pytest.mark.parametrize("issue", THRESHOLDS)
def test_an_issue_begins_at_its_threshold(issue: str) -> None:
    field, threshold, within, worst = THRESHOLDS[issue]
    assert among_good(**{field: threshold}).get(issue, 0) < TINY
    assert among_good(**{field: 2 * threshold - within}) == {}
    assert among_good(**{field: within}) == {
        issue: pytest.approx(abs(within - threshold) / abs(worst - threshold), 0.01)
    }
    assert among_good(**{field: worst}) == {issue: 1}


@pytest.mark.parametrize("issue", THRESHOLDS)
def test_a_score_grows_to_the_worst(issue: str) -> None:
    field, threshold, _, worst = THRESHOLDS[issue]
    scores = [among_good(**{field: value}).get(issue, 0) for value in np.linspace(threshold, worst, 9)]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (pytest.approx(0, abs=TINY), 1)
    assert scores[4] == pytest.approx(0.5, abs=1e-5)


# Width and height among pictures of 256 x 256, input size, and the issues.
SIZES = {
    "usual": ((256, 256), None, set()),
    "nearly too wide": ((358, 200), None, set()),
    "too wide": ((362, 200), None, {"odd-shape"}),
    "nearly too high": ((200, 358), None, set()),
    "too high": ((200, 362), None, {"odd-shape"}),
    "nearly too large": ((808, 808), None, set()),
    "too large": ((811, 811), None, {"odd-size"}),
    "nearly too small": ((81, 81), None, set()),
    "too small": ((80, 80), None, {"odd-size"}),
    "half the input": ((200, 112), 224, set()),
    "below half the input": ((200, 111), 224, {"small"}),
    "below half the input on the other side": ((111, 200), 224, {"small"}),
    "below half of no input": ((200, 111), None, set()),
    "one pixel": ((1, 1), 224, {"odd-size", "small"}),
    "one column": ((1, 500), 224, {"odd-size", "odd-shape", "small"}),
}


@pytest.mark.parametrize("case", SIZES)
def test_sizes_have_thresholds_too(case: str) -> None:
    (width, height), input_size, expected = SIZES[case]
    assert set(among_good(width=width, height=height, input_size=input_size)) - ({"odd-shape"} - expected) == expected


def test_exactly_ten_times_the_pixels_or_a_ratio_of_9_to_5_is_not_odd() -> None:
    assert among_good(width=1024, height=640).get("odd-size", 0) < TINY
    assert among_good(width=450, height=250).get("odd-shape", 0) < TINY


def test_odd_size_and_shape_are_relative_to_the_dataset() -> None:
    assert issues(good(50, width=2560, height=2560)) == {}
    assert issues(good(50, width=3000, height=300)) == {}
    records = good(50, width=2560, height=2560)
    records["width"][3], records["height"][3] = 256, 256
    assert set(issues(records)) == {3}
    assert set(issues(records)[3]) == {"odd-size"}
    records = good(50, width=3000, height=300)
    records["width"][4], records["height"][4] = 900, 1000
    assert set(issues(records)) == {4}
    assert set(issues(records)[4]) == {"odd-shape"}


def test_where_sizes_differ_much_by_habit_a_large_one_is_not_odd() -> None:
    records = good(90)
    records["width"] = records["height"] = np.tile([64, 256, 1024], 30)
    records["width"][0] = records["height"][0] = 4000
    assert issues(records) == {}
    varied = good(2000)
    varied["width"] = np.random.default_rng(0).integers(40, 4000, 2000)
    varied["height"] = varied["width"] * 3 // 4
    assert issues(varied) == {}


@pytest.mark.parametrize(("n_grey", "expected"), [(1, 1), (5, 5), (6, 0), (99, 0), (100, 0)])
def test_grey_pictures_are_an_issue_where_few_are_grey(n_grey: int, expected: int) -> None:
    records = good(100)
    records["colour"][:n_grey] = 0.01
    assert issues(records) == {at: {"grey": 1.0} for at in range(expected)}


def test_a_picture_is_grey_below_its_threshold_only() -> None:
    assert among_good(colour=0.021) == {}
    assert among_good(colour=0.019) == {"grey": 1}


@pytest.mark.parametrize("brightness", [0.0, 0.5, 1.0])
def test_a_plain_picture_has_one_issue(brightness: float) -> None:
    plain = {"uniform": 1.0, "contrast": 0, "sharpness": 0, "colour": 0}
    assert among_good(**plain, dark=brightness, bright=brightness) == {"one-colour": 1}


@pytest.mark.parametrize("field", [{"uniform": 1}, {"contrast": 0.1}])
def test_plain_and_pale_pictures_leave_grey_ones_few(field: dict[str, float]) -> None:
    records = good(100)
    records["colour"][:6] = 0
    for name, value in field.items():
        records[name][:5] = value
    found = issues(records)
    assert found[5] == {"grey": 1}
    assert all("grey" not in found[at] for at in range(5))


@pytest.mark.parametrize(("n_upright", "is_odd"), [(1, True), (10, True), (20, False), (60, False)])
def test_an_image_is_of_odd_shape_where_few_have_its_shape(n_upright: int, is_odd: bool) -> None:
    records = good(200, width=300, height=200)
    records["width"][:n_upright], records["height"][:n_upright] = 200, 300
    assert issues(records).keys() == (set(range(n_upright)) if is_odd else set())


@pytest.mark.parametrize(("n_small", "is_odd"), [(10, True), (20, False)])
def test_an_image_is_of_odd_size_where_few_have_its_size(n_small: int, is_odd: bool) -> None:
    records = good(200)
    records["width"][:n_small] = records["height"][:n_small] = 32
    assert issues(records).keys() == (set(range(n_small)) if is_odd else set())


def test_an_image_beyond_a_crowd_is_odd_still() -> None:
    records = good(200, width=300, height=200)
    records["width"][:30], records["height"][:30] = 200, 300
    records["width"][199], records["height"][199] = 100, 600
    assert issues(records).keys() == {199}


@pytest.mark.parametrize("reason", [{"dark": 0.1}, {"bright": 0.9}])
def test_a_dark_or_bright_picture_is_not_one_of_low_contrast_too(reason: dict[str, float]) -> None:
    assert set(among_good(**reason, contrast=0.05)) == set(reason)


@pytest.mark.parametrize("issue", ["wrong-suffix", "rotated"])
def test_what_is_true_or_not_scores_one(issue: str) -> None:
    assert among_good(**{issue.replace("-", "_"): True}) == {issue: 1}


# An issue, the values of the picture that has it, and its reason.
DETAILS = {
    "dark": ({"dark": 0.25}, "99 % of it is darker than 25 % of white"),
    "bright": ({"bright": 0.9}, "95 % of it is brighter than 90 % of white"),
    "low-contrast": ({"contrast": 0.11}, "98 % of it lies within 11 % of the brightness"),
    "blurred": ({"sharpness": 0.07}, "its edges have 7 % of its contrast"),
    "one-colour": ({"uniform": 0.97}, "97 % of it has one colour"),
    "odd-shape": ({"width": 512, "height": 128}, "512 x 128 pixels, a ratio of 4; usual here is 1"),
    "odd-size": ({"width": 1024, "height": 1024}, "1024 x 1024 pixels, 16 times the usual number in this dataset"),
    "small": ({"width": 100, "height": 110}, "100 x 110 pixels; the learner takes 224"),
    "grey": ({"colour": 0.0}, "grey, while most images of this dataset have colours"),
    "wrong-suffix": ({"wrong_suffix": True}, "its suffix is that of another format than its content"),
    "rotated": ({"rotated": True}, "its EXIF data turn or mirror it, which many loaders ignore"),
}


@pytest.mark.parametrize("issue", QUALITY)
def test_a_reason_names_the_figure(issue: str) -> None:
    values, detail = DETAILS[issue]
    records = good(40)
    for name, value in values.items():
        records[name][7] = value
    assert [(each.issue, each.at, each.detail) for each in find(records, 224).findings] == [(issue, 7, detail)]


def test_a_small_picture_is_told_as_a_part_of_the_usual_one() -> None:
    records = good(40)
    records["width"][7] = records["height"][7] = 64
    assert [each.detail for each in find(records).findings] == [
        "64 x 64 pixels, 1/16 of the usual number in this dataset"
    ]


def test_the_worst_are_kept_and_all_are_counted() -> None:
    n = 2500
    records, random = good(n), np.random.default_rng(0)
    records["dark"] = random.permutation(n) / n * 0.3
    records["rotated"] = True
    found = find_quality(records, np.arange(n, dtype=np.uint32) % 3, 4)
    dark = [each for each in found.findings if each.issue == "dark"]
    assert [each.at for each in dark] == np.argsort(records["dark"]).tolist()[:MAX_KEPT]
    assert [each.score for each in dark] == sorted((each.score for each in dark), reverse=True)
    # All are equally bad.
    assert [each.at for each in found.findings if each.issue == "rotated"] == list(range(MAX_KEPT))
    assert {issue: counts.tolist() for issue, counts in found.by_class.items()} == {
        "dark": [834, 833, 833, 0],
        "rotated": [834, 833, 833, 0],
    }


def test_where_most_were_scaled_up_only_those_far_below_the_others_are_blurred() -> None:
    random = np.random.default_rng(0)
    records = good(400)
    records["sharpness"] = 0.08 * 2 ** random.normal(0, 0.3, 400)
    records["sharpness"][7] = 0.005
    assert {at for at, found in issues(records).items() if "blurred" in found} == {7}


def test_where_half_are_blurred_all_of_them_are() -> None:
    records = good(40)
    records["sharpness"][:20] = 0.05
    assert {at for at, found in issues(records).items() if "blurred" in found} == set(range(20))


def test_issues_are_in_the_order_of_the_page() -> None:
    records = random_records(0, 400)
    order = [each.issue for each in find(records, 224).findings]
    assert list(dict.fromkeys(order)) == [issue for issue in QUALITY if issue in order]
    assert order == sorted(order, key=list(QUALITY).index)


def test_no_pictures_have_no_issues() -> None:
    assert find_quality(good(0), np.zeros(0, np.uint32), 0) == Quality([], {})
    assert find(good(0), 224) == Quality([], {})


def test_a_single_picture_is_usual() -> None:
    assert find(good(1)) == Quality([], {})
    assert find(good(1, width=9000, height=3, colour=0)) == Quality([], {})
    assert issues(good(1, dark=0)) == {0: {"dark": 1}}


def random_records(seed: int, n: int) -> Records:
    """Return records of all kinds of pictures, many with an issue."""
    random = np.random.default_rng(seed)
    records = np.zeros(n, RECORD)
    for name in ("width", "height"):
        records[name] = 2 ** random.uniform(0, 20 if random.random() < 0.2 else 10, n)
    for name in ("dark", "bright", "brightness", "contrast", "uniform", "colour"):
        # Rounded, so that many are equal.
        records[name] = random.choice([0, 1, *np.round(random.random(n), 2)], n)
    records["sharpness"] = random.random(n) * 2 * random.integers(0, 2, n)
    for name in ("wrong_suffix", "rotated"):
        records[name] = random.random(n) < 0.3
    return records


@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), input_size=st.sampled_from([None, 1, 224]))
def test_scores_are_within_0_and_1_worst_first_and_counted_by_class(seed: int, n: int, input_size: int | None) -> None:
    records, classes = random_records(seed, n), np.random.default_rng(seed).integers(0, 3, n).astype(np.uint32)
    found = find_quality(records, classes, 3, input_size)
    assert all(0 <= each.score <= 1 and 0 <= each.at < n and each.detail for each in found.findings)
    for issue in QUALITY:
        listed = [each for each in found.findings if each.issue == issue]
        assert listed == sorted(listed, key=lambda each: (-each.score, each.at))
        counts = np.bincount(classes[[each.at for each in listed]], minlength=3) if listed else np.zeros(3)
        assert found.by_class.get(issue, np.zeros(3)).tolist() == counts.tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_result_does_not_depend_on_the_size_of_a_block(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MAX_KEPT", 20)
    records, classes = random_records(seed, 300), np.arange(300, dtype=np.uint32) % 7
    whole = find_quality(records, classes, 7, 224)
    monkeypatch.setattr(quality, "_BLOCK", block)
    parts = find_quality(records, classes, 7, 224)
    assert parts.findings == whole.findings
    assert {key: counts.tolist() for key, counts in parts.by_class.items()} == {
        key: counts.tolist() for key, counts in whole.by_class.items()
    }
