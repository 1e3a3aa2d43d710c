"""A trash outside of the dataset: its journal records it, so that undo and `cleaner trash` find the files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.apply.trash import empty, trash
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.journal import Journal, State, read
from cleaner.core.records import Action
from cleaner.core.scan import load
from tests.support.folders import Place, delete, make, make_scan, relabel, tree


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.decide(delete("cat/1.png"), delete("dog/4.png"), relabel("cat/2.png", "dog"))
    return place


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("is_there", [False, True])
def test_deleted_files_go_there_and_undo_brings_them_back(is_there: bool, place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "trash"
    if is_there:
        elsewhere.mkdir()
    planned = apply(place.manifest, place.root, dry_run=True, trash=elsewhere)
    assert elsewhere.exists() is is_there
    report = apply(place.manifest, place.root, trash=elsewhere)
    assert (len(planned.planned), len(report.done), report.conflicts) == (3, 3, ())
    assert report.trash == elsewhere
    assert files_in(elsewhere) == ["1.png", "4.png"]
    assert not (place.root / TRASH).exists()
    assert apply(place.manifest, place.root, trash=elsewhere).done == ()
    assert apply(place.manifest, place.root).done == ()
    assert [each.target for each in trash(report).files] == ["cat/1.png", "dog/4.png"]
    assert undo(report).conflicts == ()
    assert tree(place.root) == place.before
    assert elsewhere.exists() is is_there, "a folder of the user stays, and one that apply made goes"


def test_what_is_there_is_removed_for_good(place: Place, tmp_path: Path) -> None:
    report = apply(place.manifest, place.root, trash=tmp_path / "trash")
    (tmp_path / "trash/note.txt").write_text("mine")
    removed = empty(report)
    assert ([each.target for each in removed.files], removed.left) == (["cat/1.png", "dog/4.png"], ())
    assert files_in(tmp_path / "trash") == ["note.txt"]
    place.decide(delete("cat/1.png", action=Action.KEEP))
    (conflict,) = apply(place.manifest, place.root).conflicts
    assert "gone for good" in conflict.reason
    back = undo(report)
    assert (len(back.done), len(back.conflicts)) == (1, 2)
    assert all("gone for good" in conflict.reason for conflict in back.conflicts)


def test_the_same_trash_serves_several_applies(place: Place, tmp_path: Path) -> None:
    first = apply(place.manifest, place.root, trash=tmp_path / "trash")
    place.decide(delete("fox/5.png"))
    second = apply(place.manifest, place.root, trash=tmp_path / "trash")
    third = apply(place.manifest, place.root)
    assert (len(second.done), third.done) == (1, ())
    for report in (second, first):
        assert undo(report).conflicts == ()
    assert tree(place.root) == place.before
    assert not (tmp_path / "trash").exists()


def test_the_commands_name_the_whole_path(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["apply", str(place.manifest), "--data", str(place.root), "--trash", str(tmp_path / "trash"), "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    target = report["done"][0]["target"]
    assert target.startswith(str(tmp_path / "trash/journal-"))
    assert Path(target).is_file()
    assert main(["trash", report["journal"]]) == 0
    assert target in capsys.readouterr().out
    assert main(["undo", report["journal"]]) == 0
    assert target in capsys.readouterr().out
    assert tree(place.root) == place.before


def test_an_interrupted_apply_goes_on_with_its_own_trash(place: Place, tmp_path: Path) -> None:
    report = apply(place.manifest, place.root, trash=tmp_path / "trash")
    found = read(report.journal)
    assert isinstance(found, Journal)
    replace(found, state=State.APPLYING).write()  # without the line that says that it ended
    place.decide(delete("fox/5.png"))
    with pytest.raises(CleanerError, match="an apply was interrupted that was given trash="):
        apply(place.manifest, place.root, trash=tmp_path / "other")
    again = apply(place.manifest, place.root)
    assert (len(again.done), again.journal, again.trash) == (1, report.journal, tmp_path / "trash")
    assert files_in(tmp_path / "trash") == ["1.png", "4.png", "5.png"]
    assert undo(again).conflicts == ()
    assert tree(place.root) == place.before


def test_a_journal_of_somebody_else_brings_nothing_from_outside_and_removes_nothing_there(
    place: Place, tmp_path: Path
) -> None:
    report = apply(place.manifest, place.root, trash=tmp_path / "trash")
    header, *lines = report.journal.read_text().splitlines(keepends=True)
    unsigned = {name: value for name, value in json.loads(header).items() if name != "signature"}
    report.journal.write_text("".join([json.dumps(unsigned) + "\n", *lines]))
    listed = trash(report)
    assert (listed.files, len(listed.left)) == ((), 2)
    back = undo(report, trust=True)
    assert [change.target for change in back.done] == ["cat/2.png"]
    assert all("the journal may not be yours" in conflict.reason for conflict in back.conflicts)
    assert files_in(tmp_path / "trash") == ["1.png", "4.png"]


@pytest.mark.parametrize("where", ["data/trash", "data", "data/cat"])
def test_a_trash_in_the_dataset_is_refused(where: str, place: Place, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match="lies in the dataset"):
        apply(place.manifest, place.root, trash=tmp_path / where)
    assert tree(place.root) == place.before


def test_the_hidden_folder_by_name_is_the_usual_trash(place: Place) -> None:
    assert apply(place.manifest, place.root, trash=place.root / TRASH).trash is None


def test_a_trash_on_another_file_system_is_refused(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trash").mkdir()
    real = os.stat

    def stat(path: object, **options: object) -> object:
        found = real(path, **options)
        if str(path) != str(tmp_path / "trash"):
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]])

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(CleanerError, match="is on another file system than the dataset"):
        apply(place.manifest, place.root, trash=tmp_path / "trash")
    assert tree(place.root) == place.before


@pytest.mark.parametrize(("source", "is_warned"), [("torch", True), ("arrays", True), ("fastai", False), ("", False)])
def test_a_trash_that_torchvision_takes_for_a_class_is_noted(source: str, is_warned: bool, tmp_path: Path) -> None:
    place = Place(tmp_path)
    make_scan(place.root, "cat", "dog", "fox")
    scan = load(place.manifest.parent)
    replace(scan, settings={"source": source}).write(place.manifest.parent)
    place.decide(delete("cat/1.png"))
    notes = apply(place.manifest, place.root).notes
    assert any("ImageFolder takes for a class" in note for note in notes) is is_warned
    assert TRASH in ImageFolder(place.root).classes
    undo(place.journals()[0])
    elsewhere = apply(place.manifest, place.root, trash=tmp_path / "trash")
    assert not any("ImageFolder" in note for note in elsewhere.notes)
    assert TRASH not in ImageFolder(place.root).classes


def test_a_trash_with_a_link_on_the_way_is_where_the_link_leads(place: Place, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    report = apply(place.manifest, place.root, trash=tmp_path / "link/trash")
    assert report.trash == tmp_path / "real/trash"
    make(tmp_path / "real/trash/other.png")
    assert undo(report).conflicts == ()
    assert files_in(tmp_path / "real") == ["other.png"]
