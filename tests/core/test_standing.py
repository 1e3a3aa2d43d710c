"""A decision stands for the bytes and the label it was taken about, in whatever round and at whatever path."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Sample
from cleaner.core.standing import Standing
from cleaner.core.tasks import MULTI_LABEL
from tests.support.class_folders import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_decision_stands_while_the_file_is_the_same(place: Place) -> None:
    place.decide("cat/1.png", "delete")
    found = place.standing("cat/1.png", "cat/2.png")
    assert {path: decision.action for path, decision in found.items()} == {"cat/1.png": Action.DELETE}
    assert found.note("cat/1.png") == ""
    os.utime(place.root / "cat/1.png")  # its time of change alone is nothing
    found.refresh(["cat/1.png"])
    assert "cat/1.png" in found


def test_another_file_under_the_path_is_undecided_with_the_reason(place: Place) -> None:
    place.decide("cat/1.png", "delete")
    place.write("cat/1.png", "something else")
    found = place.standing("cat/1.png")
    assert not found
    assert found.note("cat/1.png").startswith("decided 'delete' by anna on ")
    assert "another file" in found.note("cat/1.png")


def test_files_of_a_swapped_folder_are_undecided(place: Place) -> None:
    place.write("dog/1.png", "another one")
    for name in ("cat/1.png", "dog/1.png", "cat", "dog", "."):
        os.utime(place.root / name, (1, 1))
    place.decide("cat/1.png", "delete")
    (place.root / "cat").rename(place.root / "old")
    (place.root / "dog").rename(place.root / "cat")
    found = place.standing("cat/1.png")
    assert not found
    assert "another file" in found.note("cat/1.png")


def test_a_file_that_is_gone_keeps_its_decision(place: Place) -> None:
    place.decide("cat/1.png", "delete")
    (place.root / "cat/1.png").unlink()
    assert place.standing("cat/1.png")["cat/1.png"].action is Action.DELETE


def test_a_file_with_another_label_is_undecided_with_the_reason(place: Place) -> None:
    place.decide("cat/1.png", "keep")
    found = place.standing("cat/1.png", label="dog")
    assert not found
    assert found.note("cat/1.png").endswith("when its label was 'cat'")


def test_a_relabelled_file_counts_as_kept_at_its_new_path(place: Place) -> None:
    place.decide("cat/1.png", "relabel", "dog")
    report = apply(place.manifest, place.root)
    assert [each.target for each in report.done] == ["dog/1_1.png"]
    found = place.standing("dog/1_1.png", "cat/1.png")
    assert found["dog/1_1.png"].action is Action.KEEP
    assert (found["dog/1_1.png"].label, found["dog/1_1.png"].reviewer) == ("dog", "anna")
    assert found.note("dog/1_1.png").startswith("relabelled from 'cat' by anna on ")
    assert found.history.startswith("1 decision was carried out on ")
    assert found.note("cat/1.png").startswith("carried out on ")

    undo(report.journal)
    found.update(Manifest(place.manifest).standing())
    assert set(found) == {"cat/1.png"}
    assert found.history == ""


def test_a_relabelled_file_is_asked_again_when_its_loss_has_grown(place: Place) -> None:
    place.decide("cat/1.png", "relabel", "dog", loss=2.0)
    apply(place.manifest, place.root)
    found = place.standing("dog/1_1.png", loss=3.5)
    assert not found
    assert found.note("dog/1_1.png").endswith("the model disagrees more than before (3.50, 2.00)")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda place: place.write("dog/1_1.png", "something else"),
        lambda place: place.decide("dog/1_1.png", "undo"),
    ],
    ids=["another file", "taken back"],
)
def test_a_relabelled_file_is_undecided_once_replaced_or_undone(spoil: Callable[[Place], None], place: Place) -> None:
    place.decide("cat/1.png", "relabel", "dog")
    apply(place.manifest, place.root)
    spoil(place)
    assert not place.standing("dog/1_1.png")


def test_a_deleted_file_that_is_back_is_undecided_with_the_reason(place: Place) -> None:
    place.decide("cat/1.png", "delete")
    apply(place.manifest, place.root)
    assert "cat/1.png" in place.standing("cat/1.png")
    place.write("cat/1.png", "cat/1.png")
    found = place.standing("cat/1.png")
    assert not found
    assert found.note("cat/1.png").endswith("the file is here again")


def test_a_row_relabelled_in_a_table_counts_as_kept(place: Place, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\ncat/1.png,cat\ncat/2.png,cat\ndog/1.png,dog\n")
    place.decide("cat/1.png", "relabel", "dog")
    apply(place.manifest, place.root, labels=table)
    again = place.standing("cat/1.png", label="dog")
    assert again["cat/1.png"].action is Action.KEEP
    assert place.standing("cat/1.png")["cat/1.png"].action is Action.RELABEL  # in the scan of before
    assert place.standing("cat/1.png").note("cat/1.png").startswith("carried out on ")


def test_label_sets_are_compared_as_sets(place: Place) -> None:
    place.decide("cat/1.png", "relabel", "dog;cat", label="cat")
    sample = Sample("train", "cat", 1, "cat/1.png", 1.0, "cat", 0.9, ("cat", "dog"))
    found = Standing({"cat/1.png": sample}, MULTI_LABEL, ";", place.root, place.manifest.parent)
    found.update(Manifest(place.manifest).standing())
    assert found["cat/1.png"].action is Action.KEEP
    other = Standing(
        {"cat/1.png": replace(sample, given=("dog",))}, MULTI_LABEL, ";", place.root, place.manifest.parent
    )
    other.update(Manifest(place.manifest).standing())
    assert not other


def test_a_damaged_journal_is_a_warning_and_removes_no_decision(place: Place) -> None:
    place.decide("cat/1.png", "keep")
    (place.manifest.parent / "journal-x.jsonl").write_text("nonsense\n")
    found = place.standing("cat/1.png")
    assert "cat/1.png" in found
    assert "is not a journal" in found.trouble
