"""Emptying the trash: only what the journal put there is removed, and an undo after it tells the truth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.apply.trash import empty, trash
from cleaner.core import journal, journal_lines
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.journal import State
from cleaner.core.records import Action, Decision
from tests.support.crashes import in_a_process_that_dies, one_step
from tests.support.folders import TIME, Place, delete, make, relabel, tree
from tests.support.light_process import in_a_light_process


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def done(place: Place) -> Path:
    """The journal of an apply that deleted two files and moved one to another class."""
    place.decide(delete("cat/1.png"), delete("dog/4.png"), relabel("cat/2.png", "dog"))
    return place.apply().journal


def in_trash(place: Place) -> list[str]:
    return [path.removeprefix(f"{TRASH}/journal/") for path, file in tree(place.root).items() if TRASH in path and file]


def test_the_trash_is_listed_with_its_bytes_and_nothing_changes(place: Place, done: Path) -> None:
    before = tree(place.root.parent)
    found = trash(done)
    assert [each.target for each in found.files] == ["cat/1.png", "dog/4.png"]
    assert found.size == sum(len(place.before[each.target][0]) for each in found.files)
    assert found.left == ()
    assert tree(place.root.parent) == before


def test_what_was_deleted_is_removed_for_good_and_undo_says_so_and_restores_the_rest(place: Place, done: Path) -> None:
    emptied = empty(done)
    assert ([each.target for each in emptied.files], emptied.left) == (["cat/1.png", "dog/4.png"], ())
    assert not (place.root / TRASH).exists()
    assert (trash(done).files, empty(done).files) == ((), ())
    for moved in (1, 0):
        back = undo(done)
        assert len(back.done) == moved
        assert len(back.conflicts) == 2
        assert all("gone for good" in conflict.reason for conflict in back.conflicts)
    gone = ("cat/1.png", "dog/4.png")
    assert tree(place.root) == {path: file for path, file in place.before.items() if path not in gone}


def test_other_files_in_the_trash_stay_and_are_listed(place: Place, done: Path) -> None:
    other = place.root / TRASH / done.stem
    make(other / "cat" / "of somebody else.png")
    (other / "dog" / "4.png").write_bytes(b"changed")
    emptied = empty(done)
    assert [each.target for each in emptied.files] == ["cat/1.png"]
    assert [conflict.path for conflict in emptied.left] == [f"{TRASH}/{done.stem}/dog/4.png"]
    assert in_trash(place) == ["cat/of somebody else.png", "dog/4.png"]


def test_a_change_that_keeps_size_and_time_is_seen(place: Place, done: Path) -> None:
    file = place.root / TRASH / done.stem / "cat" / "1.png"
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [conflict.path for conflict in empty(done).left] == [f"{TRASH}/{done.stem}/cat/1.png"]
    assert file.exists()


def test_the_trash_of_another_journal_stays(place: Place, done: Path) -> None:
    place.decide(delete("cat/3.png"))
    second = place.apply().journal
    empty(done)
    assert in_trash(place) == ["cat/3.png"]
    assert undo(second).conflicts == ()
    assert place.before["cat/3.png"] == tree(place.root)["cat/3.png"]


def test_a_trash_that_is_reached_through_a_link_is_left_alone(place: Place, done: Path) -> None:
    (place.root / TRASH / done.stem).rename(place.root.parent / "elsewhere")
    (place.root / TRASH / done.stem).symlink_to("../../elsewhere")
    emptied = empty(done)
    assert (emptied.files, len(emptied.left)) == ((), 2)
    assert undo(done).conflicts == ()


def test_what_was_not_in_the_trash_is_not_removed_whatever_the_journal_says(place: Place, done: Path) -> None:
    done.write_text(done.read_text().replace('"action": "relabel"', '"action": "delete"'))
    with pytest.raises(CleanerError, match="not known to be a journal that you wrote"):
        empty(done)
    emptied = empty(done, trust=True)
    assert [conflict.path for conflict in emptied.left] == ["dog/2.png"]
    assert (place.root / "dog/2.png").exists()


def test_what_was_undone_has_no_trash(place: Place, done: Path) -> None:
    undo(done)
    assert empty(done).files == ()
    assert tree(place.root) == place.before


@pytest.mark.parametrize("state", [State.APPLYING, State.UNDOING])
def test_what_was_interrupted_is_finished_first(state: State, place: Place, done: Path) -> None:
    journal.read(done).mark(state)
    for call in (trash, empty):
        with pytest.raises(CleanerError, match="interrupted"):
            call(done)
    assert len(in_trash(place)) == 2


def test_a_journal_that_cannot_be_written_removes_nothing(
    place: Place, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(journal_lines, "write_whole", full)
    with pytest.raises(CleanerError, match="nothing was removed"):
        empty(done)
    assert len(in_trash(place)) == 2


def test_a_trashed_file_that_cannot_be_removed_stays_and_undo_puts_it_back(
    place: Place, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert len(empty(done).left) == 2
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before


def test_apply_after_it_changes_nothing_and_another_decision_is_told_what_happened(place: Place, done: Path) -> None:
    empty(done)
    assert (place.apply().done, place.apply().conflicts) == ((), ())
    place.decide(Decision("cat/1.png", Action.KEEP, decided_at=TIME))
    (conflict,) = apply(place.manifest, place.root, dry_run=True).conflicts
    assert "gone for good" in conflict.reason


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@in_a_light_process
def test_a_process_that_is_killed_at_any_change_leaves_an_undo_that_tells_the_truth(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        at += 1
        place = Place(tmp_path / str(at))
        place.decide(delete("cat/1.png"), delete("dog/4.png"), relabel("cat/2.png", "dog"))
        done = place.apply().journal
        died = in_a_process_that_dies(at, lambda done=done: empty(done), one_step)
        there = {"cat/1.png", "dog/4.png"} & set(in_trash(place))
        back = undo(done)
        assert {operation.target for operation in back.done} == there | {"cat/2.png"}
        assert all("gone for good" in conflict.reason for conflict in back.conflicts)
        assert len(back.conflicts) == 2 - len(there)
        left = {path: file for path, file in tree(place.root).items() if TRASH not in path}
        gone = {"cat/1.png", "dog/4.png"} - there
        assert left == {path: file for path, file in place.before.items() if path not in gone}
    assert at > 5
