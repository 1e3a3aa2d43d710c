"""Filter and order of a view, without a scan."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision, Sample
from cleaner.review.view import View

SAMPLES = [
    Sample("train", "cat", 1, "b.png", math.inf, "dog", 0.5),
    Sample("train", "cat", 2, "C.png", 3.0, "fox", math.nan),
    Sample("train", "cat", 3, "a.png", 2.0, "dog", 0.2),
]
STANDING = {"a.png": Decision("a.png", Action.KEEP), "b.png": Decision("b.png", Action.DELETE)}


def selected(**changes: Any) -> list[str]:
    view = View("train", "cat", **changes)
    return [sample.path for sample in view.select(reversed(SAMPLES), STANDING, lambda sample: sample.predicted)]


@pytest.mark.parametrize(
    ("order", "paths"),
    [
        ("loss", ["b.png", "C.png", "a.png"]),
        ("confidence", ["a.png", "b.png", "C.png"]),
        ("name", ["C.png", "a.png", "b.png"]),
    ],
)
def test_samples_are_in_the_order_of_the_view(order: str, paths: list[str]) -> None:
    assert selected(order=order) == paths


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"show": "decided"}, ["b.png", "a.png"]),
        ({"show": "undecided"}, ["C.png"]),
        ({"show": "keep"}, ["a.png"]),
        ({"show": "unsure"}, []),
        ({"predicted": "dog"}, ["b.png", "a.png"]),
        ({"text": " c."}, ["C.png"]),
        ({"predicted": "dog", "show": "delete", "text": "png"}, ["b.png"]),
    ],
)
def test_only_samples_that_fit_the_filter_are_selected(changes: dict[str, Any], paths: list[str]) -> None:
    assert selected(**changes) == paths


@pytest.mark.parametrize(
    "change",
    [
        {"page": -1}, {"page": True}, {"page_size": 0}, {"page_size": 201}, {"page_size": 2.0}, {"show": "x"},
        {"order": []}, {"text": 5}, {"text": "x" * 4097}, {"at": None},
    ],
)  # fmt: skip
def test_a_view_refuses_invalid_values(change: dict[str, Any]) -> None:
    with pytest.raises(CleanerError, match=next(iter(change))):
        View("train", "cat", **change)
