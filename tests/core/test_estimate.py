"""How many errors are left: the interval covers the truth, and counts what people decided."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.estimate import FEW, stratified_wilson, wilson
from cleaner.core.issues import Issue
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, ClassLosses, Decision, Sample
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, OTHER, join_labels

# Shares of wrong labels of CIFAR-10N's classes (Wei et al. 2022, aggregate labels), and what is left below a cut that
# finds a part of them: from every class's samples, its errors below the cut.
SIZE = 4_500
WRONG_BELOW = (0.031, 0.012, 0.082, 0.117, 0.058, 0.074, 0.019, 0.027, 0.022, 0.041)
DRAWS, AUDITED, COVERED = 500, 30, 0.92


def draws(share: float, seed: int) -> list[int]:
    """The numbers of errors in simple random samples of a class of `SIZE` with that share of errors."""
    random = np.random.default_rng(seed)
    found = random.hypergeometric(round(share * SIZE), SIZE - round(share * SIZE), AUDITED, size=DRAWS)
    return [int(n) for n in found]


def test_the_interval_of_every_class_covers_the_truth() -> None:
    for seed, share in enumerate(WRONG_BELOW):
        truth = round(share * SIZE) / SIZE
        intervals = [wilson(wrong, AUDITED, SIZE) for wrong in draws(share, seed)]
        assert np.mean([each.low <= truth <= each.high for each in intervals]) >= COVERED, share


@pytest.mark.parametrize("sizes", [[SIZE] * 10, [9000, 100, 40, 30, 500, 2000, 35, 31, 60, 4000]])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_interval_of_the_total_covers_the_truth(sizes: list[int], scale: float) -> None:
    random = np.random.default_rng(0)
    errors = [round(size * share * scale) for size, share in zip(sizes, WRONG_BELOW, strict=True)]
    truth, covered, widths = sum(errors) / sum(sizes), 0, []
    for _ in range(DRAWS):
        samples = [
            int(random.hypergeometric(wrong, size - wrong, min(size, AUDITED)))
            for wrong, size in zip(errors, sizes, strict=True)
        ]
        strata = [(wrong, min(size, AUDITED), size) for wrong, size in zip(samples, sizes, strict=True)]
        found = stratified_wilson(strata)
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert covered / DRAWS >= COVERED
    assert np.mean(widths) < 0.15  # an interval from 0 to 1 would cover everything


def test_the_interval_of_ten_equal_classes_is_about_that_of_one_sample() -> None:
    """The example of the documentation: 9 of 300 audited images are wrong."""
    found = stratified_wilson([(1, 30, 4500)] * 9 + [(0, 30, 4500)])
    whole = wilson(9, 300, 45_000)
    assert found.rate == pytest.approx(0.03)
    assert found.low == pytest.approx(whole.low, abs=0.003)
    assert found.high == pytest.approx(whole.high, abs=0.006)


@pytest.mark.parametrize(("wrong", "n", "population"), [(0, 30, 30), (3, 30, 30), (5, 5, 5)])
def test_a_class_that_was_audited_as_a_whole_is_known(wrong: int, n: int, population: int) -> None:
    found = wilson(wrong, n, population)
    assert (found.low, found.rate, found.high) == (wrong / n,) * 3


@pytest.mark.parametrize("n", [1, 7, 30])
def test_an_interval_holds_its_rate_and_shrinks_with_the_sample(n: int) -> None:
    for wrong in range(n + 1):
        small, large = wilson(wrong, n, 10_000), wilson(4 * wrong, 4 * n, 10_000)
        assert 0 <= small.low <= small.rate <= small.high <= 1
        assert large.high - large.low < small.high - small.low


# Decisions about a scan.


def sample(label: str, rank: int, name: str, given: tuple[str, ...] = ()) -> Sample:
    return Sample("train", label, rank, name, 5.0 - rank / 100, "dog", 0.9, given)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Forty kept cats and an audit sample of thirty of the other 100; five dogs, all kept."""
    kept = [sample("cat", rank, f"top_{rank:02d}.png") for rank in range(1, 41)]
    dogs = [sample("dog", rank, f"dog_{rank}.png") for rank in range(1, 6)]
    audit = [replace(sample("cat", rank, f"audit_{rank}.png"), loss=0.1) for rank in range(1, 31)]
    (tmp_path / "data").mkdir()
    made = Scan(
        root=tmp_path / "data",
        vocab=("cat", "dog", "fox"),
        splits=("train",),
        k=40,
        scored={"train": 145},
        samples=tuple(kept + dogs),
        cells={"train": {("cat", "dog"): 140, ("dog", "dog"): 5}},
        losses=(ClassLosses("train", "cat", 140, 140), ClassLosses("train", "dog", 5, 0)),
        audit=tuple(audit),
    )
    return made.write(tmp_path / "scan")


def decide(scan: Scan, action: Action, *paths: str, **fields: Any) -> None:
    Manifest(scan.manifest_path).append(
        *(Decision(path, action, decided_at="2026-01-01T00:00:00Z", **fields) for path in paths)
    )


def test_decisions_and_the_audit_are_counted(scan: Scan) -> None:
    decide(scan, Action.RELABEL, *(f"top_{n:02d}.png" for n in range(1, 26)), new_label="dog")
    decide(scan, Action.DELETE, "top_26.png")
    decide(scan, Action.KEEP, *(f"top_{n:02d}.png" for n in range(27, 36)))
    decide(scan, Action.UNSURE, "top_36.png", "audit_10.png")
    decide(scan, Action.KEEP, *(f"audit_{n}.png" for n in range(1, 9)))
    decide(scan, Action.RELABEL, "audit_9.png", new_label="fox")
    found = load(scan.manifest_path.parent).estimate()
    cat, dog = found.classes
    assert (cat.decided, cat.changed, cat.unsure, cat.kept, cat.rest) == (35, 26, 2, 40, 100)
    assert cat.recent == (True,) * 21 + (False,) * 9
    assert (cat.audit_sample, cat.audited, cat.audited_wrong) == (30, 9, 1)
    assert cat.wrong == wilson(1, 9, 100)
    assert cat.left == pytest.approx(91 / 9)
    assert cat.on_next_page(30) == pytest.approx(5 * 21 / 30)  # of the 40, five are undecided or unsure
    assert (dog.rest, dog.wrong, dog.left) == (0, None, None)
    assert math.isnan(dog.on_next_page(30))
    assert (found.found, found.unsure, found.wrong, found.left) == (27, 2, cat.wrong, cat.left)
    assert found.not_audited == ()  # nothing of the dogs is below the cut
    assert found.summary() == (
        "27 changed, 2 unsure. Of the last 30 by rank 21 were wrong. "
        "The next 30 by rank are likely to have about 7 more. "
        "About 11.1 % (0.5–42.0 %) of the rest are wrong, some 10 images."
    )
    assert "<td>35</td><td>26</td><td>1 of 9</td><td>10 (0–38)</td>" in load(scan.folder)._repr_html_()
    assert "27 changed" in scan._repr_html_()


def test_what_nobody_audited_has_no_estimate_and_says_so(scan: Scan) -> None:
    decide(scan, Action.KEEP, "top_01.png")
    found = scan.estimate()
    assert (found.wrong, found.left) == (None, None)
    assert "no estimate" in found.summary()
    decide(scan, Action.UNSURE, "audit_1.png")  # counts on neither side
    assert scan.estimate().wrong is None


def test_few_decisions_say_nothing_about_the_next(scan: Scan) -> None:
    decide(scan, Action.DELETE, *(f"top_{rank:02d}.png" for rank in range(1, FEW)))
    assert scan.estimate().summary().startswith("9 changed. Nobody decided about the audit sample")
    assert math.isnan(scan.estimate().on_next_page(30))
    decide(scan, Action.KEEP, f"top_{FEW:02d}.png")
    assert "Of the last 10 by rank 9 were wrong." in scan.estimate().summary()


def test_images_picked_from_far_down_say_nothing_about_the_next(scan: Scan) -> None:
    decide(scan, Action.KEEP, *(f"top_{rank:02d}.png" for rank in range(1, 11)))
    picked = [f"top_{rank:02d}.png" for rank in (32, 34, 36, 38, 40)]
    decide(scan, Action.RELABEL, *picked, new_label="dog")
    cat = scan.estimate().classes[0]
    assert (cat.changed, cat.recent) == (5, (False,) * 10)
    decide(scan, Action.KEEP, *(f"top_{rank:02d}.png" for rank in range(11, 32)))
    assert sum(scan.estimate().classes[0].recent) == 5  # now they are part of what was looked through


def test_deleted_copies_say_nothing_about_the_labels_of_the_next(scan: Scan) -> None:
    copies = [f"top_{rank:02d}.png" for rank in range(1, 21)]
    issues = tuple(Issue("copy", 1, 1.0, "train", "cat", path) for path in copies)
    checked = replace(scan, issues=issues)
    decide(scan, Action.DELETE, *copies)
    decide(scan, Action.KEEP, *(f"top_{rank:02d}.png" for rank in range(21, 31)))
    cat = checked.estimate().classes[0]
    assert (cat.changed, cat.recent, cat.on_next_page(10)) == (20, (False,) * 10, 0)
    decide(scan, Action.RELABEL, copies[-1], new_label="dog")  # an error of a label, copy or not
    assert checked.estimate().classes[0].recent == (True,) + (False,) * 10


def test_some_classes_without_audit_are_named(scan: Scan) -> None:
    dogs = tuple(replace(sample, label="dog", path=f"dog_{sample.path}") for sample in scan.audit)
    more = replace(scan, losses=(scan.losses[0], ClassLosses("train", "dog", 50, 0)), audit=(*scan.audit, *dogs))
    decide(scan, Action.KEEP, "audit_1.png")
    found = more.estimate()
    assert [each.label for each in found.not_audited] == ["dog"]
    assert "of the rest of 1 audited class are wrong" in found.summary()
    assert "Nobody audited 1 other class: no estimate of them." in found.summary()


@pytest.mark.parametrize(
    ("started", "fields", "counts"),
    [
        ("2025-12-31T00:00:00Z", {}, True),
        ("2026-01-02T00:00:00Z", {}, False),  # in an earlier round, whose errors were corrected
        ("2025-12-31T00:00:00Z", {"predicted": "dog", "loss": 4.0}, False),  # for its loss, not by chance
    ],
)
def test_only_blind_decisions_of_this_round_audit(
    started: str, fields: dict[str, Any], counts: bool, scan: Scan
) -> None:
    decide(scan, Action.DELETE, "audit_1.png", **fields)
    found = replace(scan, started=started).estimate()
    assert (found.wrong is not None) == counts


def test_a_scan_without_an_audit_sample_says_why(scan: Scan) -> None:
    old = replace(scan, audit=())
    assert "of an early version, so there is no audit sample" in old.estimate().summary()
    whole = replace(old, losses=(ClassLosses("train", "cat", 40, 0), ClassLosses("train", "dog", 5, 0)))
    assert "The lists have every sample" in whole.estimate().summary()
    unlabelled = (ClassLosses("train", ALL_IMAGES, 9, 0),)
    fields = {"vocab": (ALL_IMAGES,), "samples": (), "cells": {"train": {}}, "task": OTHER}
    assert "Images without labels have no audit" in replace(old, losses=unlabelled, **fields).estimate().summary()


def test_a_scan_beside_a_damaged_manifest_is_shown_with_the_reason(scan: Scan) -> None:
    scan.manifest_path.write_text("path,action\n../x,explode\n")
    assert "Scan of" in scan._repr_html_()
    assert "decisions.csv" in scan._repr_html_()


def test_a_taken_back_decision_does_not_count(scan: Scan) -> None:
    decide(scan, Action.DELETE, "audit_1.png")
    decide(scan, Action.UNDO, "audit_1.png")
    assert scan.estimate().wrong is None


def test_an_error_of_a_label_set_counts_for_the_labels_that_change(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    kept = [
        Sample("train", label, rank, f"{rank}.png", 1.0, "", 0.5, ("cat",))
        for label in ("cat", "dog")
        for rank in (1, 2)
    ]
    scan = Scan(
        tmp_path / "data", ("cat", "dog"), ("train",), 2, {"train": 2}, tuple(kept), {"train": {}},
        losses=tuple(ClassLosses("train", label, 2, 0) for label in ("cat", "dog")),
        task=MULTI_LABEL, label_delim=";",
    ).write(tmp_path / "scan")  # fmt: skip
    both = join_labels(("cat", "dog"), ";")
    decide(scan, Action.RELABEL, "1.png", label="cat", new_label=both)
    assert [(each.label, each.decided, each.changed) for each in scan.estimate().classes] == [
        ("cat", 1, 0),
        ("dog", 1, 1),
    ]


def test_a_scan_without_a_folder_is_refused(scan: Scan) -> None:
    with pytest.raises(CleanerError, match="no folder"):
        replace(scan, folder=None).estimate()


def test_decisions_of_an_earlier_round_do_not_say_that_nothing_is_left(scan: Scan) -> None:
    decide(scan, Action.KEEP, *(f"top_{rank:02d}.png" for rank in range(1, 31)))
    assert len(load(scan.folder).estimate().recent) == 30
    later = replace(scan, started="2999-01-01T00:00:00Z").write(scan.folder)
    assert later.estimate().recent == ()
    assert "The next" not in later.estimate().summary()
