"""What the records accept and refuse."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.records import Action, Decision, Sample, ScoredBatch, Unreadable

SHA256 = "0123456789abcdef" * 4
BAD_PATHS = ["", "/a.png", "a//b.png", "a/", ".", "..", "../a.png", "a/../b.png", "./a.png", "a/./b", "a\0", "\ud800"]


def sample(**changes: Any) -> Sample:
    fields = {"split": "train", "label": "cat", "rank": 1, "path": "a.png", "loss": 1.0, "predicted": "dog"}
    return Sample(**{**fields, "confidence": 0.5, **changes})


def decision(**changes: Any) -> Decision:
    return Decision(**{"path": "a.png", "action": Action.KEEP, **changes})


@pytest.mark.parametrize("loss", [0.0, -1.5, 1e300, math.inf, -math.inf, math.nan])
def test_a_sample_may_have_any_loss(loss: float) -> None:
    assert repr(sample(loss=loss).loss) == repr(loss)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1 + 1e-6, -1e-7, math.nan])
def test_a_confidence_is_a_probability_up_to_rounding_or_unknown(confidence: float) -> None:
    assert repr(sample(confidence=confidence).confidence) == repr(confidence)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0),
        ("rank", -1),
        ("confidence", 1.01),
        ("confidence", -0.01),
        ("confidence", math.inf),
        *(("path", path) for path in BAD_PATHS),
    ],
)
def test_a_sample_refuses_invalid_values(field: str, value: object) -> None:
    with pytest.raises(FieldError) as caught:
        sample(**{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize("path", BAD_PATHS)
def test_the_path_of_an_unreadable_image_is_checked(path: str) -> None:
    with pytest.raises(FieldError, match="path"):
        Unreadable("train", "cat", path, "truncated")


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "keep"},
        {"action": "unsure"},
        {"action": "undo"},
        {"action": "delete", "label": "cat", "split": "train", "predicted": "dog", "reviewer": "Ann", "loss": math.inf},
        {"action": "relabel", "new_label": "dog"},
        {"sha256": SHA256},
        {"decided_at": "2026-01-31T12:00:00Z"},
        {"decided_at": "2026-01-31T12:00:00.123Z"},
        {"decided_at": "2026-01-31T12:00:00+00:00"},
    ],
)
def test_a_decision_accepts_valid_values(changes: dict[str, Any]) -> None:
    made = decision(**changes)
    assert made.action is Action(changes.get("action", "keep"))
    assert all(getattr(made, name) == value for name, value in changes.items())


@pytest.mark.parametrize(
    ("changes", "field", "accepted"),
    [
        ({"action": "Delete"}, "action", "expected one of keep, delete, relabel, unsure, undo"),
        ({"action": ""}, "action", "expected one of keep"),
        ({"action": "<Delete>"}, "action", "expected one of keep"),
        ({"action": "relabel"}, "new_label", "needs the new label"),
        ({"action": "keep", "new_label": "dog"}, "new_label", "leave it empty"),
        ({"action": "undo", "new_label": "dog"}, "new_label", "leave it empty"),
        ({"sha256": "abc"}, "sha256", "64 lower-case"),
        ({"sha256": SHA256.upper()}, "sha256", "64 lower-case"),
        ({"sha256": SHA256[:-1] + "g"}, "sha256", "64 lower-case"),
        ({"decided_at": "yesterday"}, "decided_at", "2026-01-31T12:00:00Z"),
        ({"decided_at": "2026-01-31T12:00:00"}, "decided_at", "UTC"),
        ({"decided_at": "2026-01-31T12:00:00+02:00"}, "decided_at", "UTC"),
        ({"decided_at": "31.01.2026 12:00"}, "decided_at", "UTC"),
        ({"decided_at": "Z"}, "decided_at", "UTC"),
        *(({"path": path}, "path", "expected") for path in BAD_PATHS),
    ],
)
def test_a_decision_refuses_invalid_values_and_names_valid_ones(
    changes: dict[str, Any], field: str, accepted: str
) -> None:
    with pytest.raises(FieldError, match=accepted) as caught:
        decision(**changes)
    assert caught.value.field == field
    assert repr(caught.value.value) in str(caught.value)
    assert isinstance(caught.value, CleanerError)


def test_the_text_of_an_action_is_its_name_in_the_file() -> None:
    assert [str(action) for action in Action] == ["keep", "delete", "relabel", "unsure", "undo"]


def test_a_field_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(FieldError("rank", 0, "ranks begin at 1")))
    assert (error.field, error.value, error.accepted) == ("rank", 0, "ranks begin at 1")
    assert str(error) == "rank is 0; ranks begin at 1"


@pytest.mark.parametrize("short", ["paths", "labels", "losses", "predicted", "confidences"])
def test_a_batch_has_equally_many_values_of_each_kind(short: str) -> None:
    values = {
        "paths": ["a.png", "b.png"],
        "labels": np.zeros(2, np.int64),
        "losses": np.zeros(2),
        "predicted": np.zeros(2, np.int64),
        "confidences": np.zeros(2),
    }
    ScoredBatch(**values)
    with pytest.raises(CleanerError, match=f"'{short}': 1"):
        ScoredBatch(**{**values, short: values[short][:1]})
