"""What `apply` and `undo` take: a scan, its folder, its manifest or a report; and the dataset's folder by default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan, load
from tests.support.folders import tree
from tests.support.scans import make_scan

DELETED, MOVED = "train/cat/cat_01.png", "train/dog/dog_02.png"


@pytest.fixture
def decided(scan: Scan) -> Scan:
    """A scan with two decisions."""
    scan.decide(DELETED, "delete")
    scan.decide(MOVED, "relabel", "fox")
    return scan


@pytest.mark.parametrize("kind", ["scan", "loaded", "folder", "text", "manifest", "report"])
def test_each_way_to_name_the_decisions_applies_them_to_the_dataset_of_the_scan(kind: str, decided: Scan) -> None:
    before = tree(decided.root)
    sources: dict[str, Any] = {
        "scan": decided,
        "loaded": load(decided.folder),
        "folder": decided.folder,
        "text": str(decided.folder),
        "manifest": decided.manifest_path,
        "report": cleaner.apply(decided, dry_run=True),
    }
    report = cleaner.apply(sources[kind])
    assert [change.path for change in report.done] == [DELETED, MOVED]
    assert (report.planned, report.conflicts, report.warnings, report.notes) == ((), (), (), ())
    assert (report.manifest, report.changed) == (decided.manifest_path, decided.root)
    assert not (decided.root / DELETED).exists()
    back = cleaner.undo(report)
    assert (len(back.done), back.manifest, back.label_changes) == (2, None, ())
    assert tree(decided.root) == before


def test_a_dry_run_changes_nothing_and_sums_up_by_labels(decided: Scan) -> None:
    decided.decide("train/cat/cat_02.png", "delete")
    before = tree(decided.root.parent)
    report = cleaner.apply(decided, dry_run=True)
    assert tree(decided.root.parent) == before
    assert (report.journal, report.done, len(report.planned), report.is_dry_run) == (None, (), 3, True)
    pairs = [(each.label, each.new_label, each.count) for each in report.label_changes]
    assert pairs == [("cat", "", 2), ("dog", "fox", 1)]
    assert repr(report) == "<Report: 3 planned, 0 left alone>"
    shown = report._repr_html_()
    assert "<td>cat</td><td>(deleted)</td><td>2</td>" in shown
    assert "cleaner.apply(report)" in shown


def test_a_report_in_a_notebook_says_how_to_take_it_back(decided: Scan) -> None:
    report = cleaner.apply(decided)
    assert repr(report) == f"<Report: 2 done, 0 left alone, undo with {str(report.journal)!r}>"
    assert "cleaner.undo(report)" in report._repr_html_()
    assert "cleaner.undo" not in cleaner.undo(report)._repr_html_()


def test_labels_that_a_person_left_out_of_the_manifest_come_from_folders_and_names(scan: Scan) -> None:
    Manifest(scan.manifest_path).append(Decision(DELETED, Action.DELETE), Decision(MOVED, Action.DELETE))
    pairs = [(each.label, each.count) for each in cleaner.apply(scan, dry_run=True).label_changes]
    assert pairs == [("cat", 1), ("dog", 1)]
    named = cleaner.apply(scan, name_pattern=r"(.+)_\d+", dry_run=True).label_changes
    assert [(each.label, each.count) for each in named] == pairs


def test_a_report_applies_what_it_showed_and_no_more(decided: Scan) -> None:
    report = cleaner.apply(decided, dry_run=True)
    decided.decide("valid/fox/fox_v03.png", "delete")
    before = tree(decided.root)
    with pytest.raises(CleanerError, match=r"1 changes .*did not show, such as that of 'valid/fox/fox_v03.png'"):
        cleaner.apply(report)
    assert tree(decided.root) == before
    decided.decide("valid/fox/fox_v03.png", "undo")
    decided.decide(MOVED, "keep")
    assert [change.path for change in cleaner.apply(report).done] == [DELETED]
    assert cleaner.apply(report).done == ()


def test_another_folder_than_that_of_the_scan_is_noted(decided: Scan, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    decided.root.rename(moved)
    with pytest.raises(CleanerError, match=r"scanned in .*, which is not there; .* data=DIR"):
        cleaner.apply(decided.folder)
    (note,) = cleaner.apply(decided, moved, dry_run=True).notes
    assert note == f"{str(moved)!r} is not the folder that was scanned, {str(decided.root)!r}; is it the same dataset?"
    assert len(cleaner.apply(replace(decided, root=moved)).done) == 2


@pytest.mark.parametrize("n", [1, 2])
def test_a_folder_without_any_image_of_the_scan_is_one_error(n: int, decided: Scan, tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    if n == 1:
        decided.decide(MOVED, "keep")
    with pytest.raises(CleanerError, match="none of the images of the scan is in"):
        cleaner.apply(decided, tmp_path / "wrong")
    (decided.folder / "scan.json").unlink()
    if n == 1:  # one file may be gone
        assert len(cleaner.apply(decided, tmp_path / "wrong").conflicts) == 1
        return
    with pytest.raises(CleanerError, match="none of the 2 files to delete or relabel is in"):
        cleaner.apply(decided, tmp_path / "wrong")


def test_decisions_about_files_that_are_all_gone_are_conflicts_one_by_one(decided: Scan) -> None:
    for path in (DELETED, MOVED):
        (decided.root / path).unlink()
    assert [each.reason for each in cleaner.apply(decided).conflicts] == ["the file is gone"] * 2


def test_after_an_apply_the_moved_dataset_is_still_known(tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", ("cat", "dog"), per_class=1)
    for sample in scan.samples:
        scan.decide(sample.path, "relabel", sample.predicted)
    assert len(cleaner.apply(scan).done) == 4
    assert cleaner.apply(scan).done == ()
    moved = scan.root.rename(tmp_path / "moved")
    assert cleaner.Review(scan, root=moved).session.scan.root == moved


def test_undo_of_a_scan_takes_its_only_apply_that_is_not_undone(decided: Scan) -> None:
    for source in (decided, decided.folder, decided.manifest_path):
        journal = cleaner.apply(decided).journal
        assert cleaner.undo(source).journal == journal
    with pytest.raises(CleanerError, match=f"has no apply that is not undone already; .*{journal.name}'"):
        cleaner.undo(decided)


def test_changes_that_were_undone_are_noted_when_they_are_planned_again(decided: Scan) -> None:
    assert cleaner.apply(decided).notes == ()
    cleaner.undo(decided)
    assert cleaner.apply(decided, dry_run=True).notes == ("2 of the changes were made before and undone",)


def test_undo_of_a_scan_with_several_applies_names_the_last(decided: Scan) -> None:
    cleaner.apply(decided)
    decided.decide("train/fox/fox_01.png", "delete")
    last = cleaner.apply(decided).journal
    with pytest.raises(CleanerError, match=f"has 2 applies that can be undone; .* such as the last, '.*{last.name}'"):
        cleaner.undo(decided.folder)


def test_cleaned_takes_a_scan_or_its_folder(decided: Scan) -> None:
    paths = [DELETED, MOVED, "train/fox/fox_01.png"]
    for source in (decided, decided.folder, decided.manifest_path):
        assert cleaner.cleaned(paths, source, labels=["cat", "dog", "fox"]) == (paths[1:], ["fox", "fox"])
