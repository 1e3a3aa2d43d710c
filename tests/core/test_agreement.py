"""Figures of agreement equal published examples, and each rule lets the decisions stand that it names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.agreement import Agreement, agreement, cohen_kappa, krippendorff_alpha, ruled
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision


def krippendorff_units() -> list[list[str]]:
    """Return section C of Krippendorff (2011): nominal data, four observers, missing data."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    return [[value for value in unit if value != "."] for unit in zip(*observers, strict=True)]


def test_alpha_is_that_of_krippendorffs_example_with_missing_values() -> None:
    assert krippendorff_alpha(krippendorff_units()) == pytest.approx(0.743, abs=0.0005)


def test_alpha_is_that_of_krippendorffs_binary_example() -> None:
    # Section A: two observers, binary: alpha = 0.095.
    units = zip("0100000010", "1110010000", strict=True)
    assert krippendorff_alpha([list(unit) for unit in units]) == pytest.approx(0.095, abs=0.0005)


def test_kappa_is_that_of_the_textbook_example() -> None:
    # 50 proposals: both yes 20, only the first 5, only the second 10, both no 15.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)


judgements = st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=30)


@given(judgements)
def test_alpha_is_at_most_one_and_does_not_depend_on_order(units: list[list[str]]) -> None:
    alpha = krippendorff_alpha(units)
    assert math.isnan(alpha) or alpha <= 1
    assert krippendorff_alpha([sorted(unit) for unit in reversed(units)]) == pytest.approx(alpha, nan_ok=True)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
def test_who_always_agree_have_one_or_nothing_to_compare(values: list[str]) -> None:
    pairs = [(value, value) for value in values]
    expected = math.nan if len(set(values)) == 1 else 1.0
    assert cohen_kappa(pairs) == pytest.approx(expected, nan_ok=True)
    assert krippendorff_alpha(pairs) == pytest.approx(expected, nan_ok=True)


def decided(folder: Path, *decisions: Decision) -> Manifest:
    manifest = Manifest(folder / "decisions.csv")
    for decision in decisions:
        manifest.append(decision)
    return manifest


def by(reviewer: str, path: str, action: Action, new_label: str = "", **changes: str) -> Decision:
    return Decision(path, action, "cat", new_label, reviewer=reviewer, **changes)


KEEP, DELETE, RELABEL, UNDO = Action.KEEP, Action.DELETE, Action.RELABEL, Action.UNDO


def found_in(manifest: Manifest) -> Agreement:
    return agreement(manifest.standing())


def test_agreement_counts_what_reviewers_decided_about_the_same_images(tmp_path: Path) -> None:
    manifest = decided(
        tmp_path,
        by("ann", "a", KEEP),
        by("ann", "b", DELETE),
        by("ann", "c", RELABEL, "dog"),
        by("ann", "d", KEEP),
        by("ben", "a", KEEP),
        by("ben", "b", KEEP),
        by("ben", "c", RELABEL, "fox"),
        by("ben", "e", KEEP),
        by("ben", "b", DELETE),
    )
    found = found_in(manifest)
    assert (found.images, found.overlap) == ({"ann": 4, "ben": 4}, 3)
    assert found.raw == pytest.approx(2 / 3)
    assert found.differing == {"c": {"ann": "relabel to dog", "ben": "relabel to fox"}}
    assert found.kappa == pytest.approx((2 / 3 - 2 / 9) / (1 - 2 / 9))
    assert "3 by at least two, who agree in 66.7% of the pairs" in found.summary()
    assert found.frame().values.tolist() == [["c", "relabel to dog", "relabel to fox"]]
    assert "relabel to fox" in found._repr_html_()


def test_decisions_about_other_bytes_or_labels_are_not_compared(tmp_path: Path) -> None:
    manifest = decided(
        tmp_path,
        by("ann", "a", KEEP, sha256="1" * 64),
        by("ben", "a", DELETE, sha256="2" * 64),
        by("ann", "b", KEEP),
        by("ben", "b", UNDO),
    )
    assert found_in(manifest).overlap == 0


def test_with_three_reviewers_there_is_no_kappa(tmp_path: Path) -> None:
    manifest = decided(tmp_path, *(by(name, "a", KEEP) for name in ("ann", "ben", "cem")), by("ann", "b", DELETE))
    found = found_in(manifest)
    assert (found.overlap, found.raw, found.differing) == (1, 1.0, {})
    assert math.isnan(found.kappa)


def test_an_empty_manifest_says_so(tmp_path: Path) -> None:
    assert "nobody decided anything" in found_in(decided(tmp_path)).summary()


# What ann, ben and cem decided, in this order, and what stands by each rule; None for nothing.
TABLE = {
    "all agree": ("kkk", "k", "k", "k"),
    "two of three": ("dkk", "k", "k", None),
    "two of three, not the last": ("ddk", "k", "d", None),
    "all differ": ("dkr", "r", None, None),
    "two, who differ": ("dk", "k", None, None),
    "two, who agree": ("dd", "d", "d", "d"),
    "one alone": ("d", "d", "d", "d"),
    "two labels": ("rf", "f", None, None),
    "the last one undid it": ("ddu", None, None, None),
}
ACTIONS = {"k": (KEEP, ""), "d": (DELETE, ""), "r": (RELABEL, "dog"), "f": (RELABEL, "fox"), "u": (UNDO, "")}


@pytest.mark.parametrize("rule", ["last", "majority", "unanimous"])
@pytest.mark.parametrize("case", TABLE)
def test_each_rule_lets_its_decision_stand(case: str, rule: str, tmp_path: Path) -> None:
    letters, *expected = TABLE[case]
    names = ("ann", "ben", "cem")
    rows = [by(name, "a", *ACTIONS[letter]) for name, letter in zip(names, letters, strict=False)]
    latest, left_out = ruled(decided(tmp_path, *rows).standing(), rule)
    wanted = expected[("last", "majority", "unanimous").index(rule)]
    standing = latest.get("a")
    if standing is not None and standing.action is UNDO:
        standing = None
    assert (standing and (standing.action, standing.new_label)) == (wanted and ACTIONS[wanted])
    assert list(left_out) == (["a"] if wanted is None and "u" not in letters else [])


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match="rule is 'first'; pass one of 'last', 'majority', 'unanimous'"):
        ruled(decided(tmp_path).standing(), "first")
