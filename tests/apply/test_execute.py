"""Apply and undo: nothing is lost, nothing overwritten, and an end in the middle is no end."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cleaner
from cleaner.apply import execute, journal
from cleaner.apply.execute import Report, apply, plan, undo
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan

TIME = "2026-01-31T12:00:00Z"
Tree = dict[str, object]


def delete(path: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.DELETE, "decided_at": TIME, **changes})


def relabel(path: str, new_label: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.RELABEL, "new_label": new_label, "decided_at": TIME, **changes})


def make(path: Path, content: str = "") -> None:
    """A file with its own bytes and a time of change long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content or str(path)).encode())
    os.utime(path, ns=(10**18, 10**18 + len(str(path))))


def make_scan(root: Path, *vocab: str) -> Path:
    """An empty scan, so that its labels are known; gives the path of its manifest."""
    scan = Scan(root, vocab, ("train",), 1, {"train": 0}, (), {"train": {}})
    return scan.write(root.parent / "scan").manifest_path


def tree(root: Path) -> Tree:
    """What lies below `root`: of files the bytes and the time of change; the trash of any journal is `journal`."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        name = "/".join(["journal" if part.startswith("journal-") else part for part in parts])
        found[name] = None if path.is_dir() else (path.read_bytes(), path.stat().st_mtime_ns)
    return found


class Place:
    """A dataset with a manifest beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.manifest = folder / "scan" / "decisions.csv"
        for name in ("cat/1", "cat/2", "cat/3", "dog/1", "dog/4", "fox/5"):
            make(self.root / f"{name}.png")
        self.before = tree(self.root)

    def decide(self, *decisions: Decision) -> None:
        Manifest(self.manifest).append(*decisions)

    def decide_all(self) -> None:
        """Deletes, a name that is taken, a class without a folder, and a decision that cannot be carried out."""
        make_scan(self.root, "cat", "dog", "fox", "cow")
        self.decide(
            delete("cat/1.png"),
            relabel("dog/1.png", "cat"),
            relabel("cat/2.png", "cow"),
            relabel("fox/5.png", "dog"),
            delete("dog/4.png"),
            relabel("cat/3.png", "bird"),
        )

    def apply(self) -> Report:
        return apply(self.manifest, self.root)

    def journals(self) -> list[Path]:
        return sorted(self.manifest.parent.glob("journal-*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=["in one step", "fallback"])
def mover(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system's rename that does not overwrite, and without it."""
    if request.param == "fallback":
        monkeypatch.setattr(execute, "_rename_noreplace", None)
    return request.param


APPLIED = {
    f"{TRASH}/journal/cat/1.png": "cat/1.png",
    "cat/1_1.png": "dog/1.png",
    "cow/2.png": "cat/2.png",
    "dog/5.png": "fox/5.png",
    f"{TRASH}/journal/dog/4.png": "dog/4.png",
    "cat/3.png": "cat/3.png",
}


def applied(before: Tree) -> Tree:
    """What `decide_all` makes of a dataset."""
    folders = [TRASH, f"{TRASH}/journal", f"{TRASH}/journal/cat", f"{TRASH}/journal/dog", "cow", "cat", "dog", "fox"]
    return {**dict.fromkeys(folders), **{new: before[old] for new, old in APPLIED.items()}}


@pytest.mark.usefixtures("mover")
def test_apply_moves_files_as_decided_and_undo_puts_all_back(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    assert tree(place.root) == applied(place.before)
    assert [operation.source for operation in report.done] == [*list(APPLIED.values())[:-1]]
    assert [(c.path, c.action) for c in report.conflicts] == [("cat/3.png", "relabel")]
    assert report.journal.parent == place.manifest.parent
    back = undo(report.journal)
    assert tree(place.root) == place.before
    assert back.journal == report.journal
    assert back.conflicts == ()
    assert [operation.target for operation in back.done] == list(APPLIED.values())[-2::-1]


def test_the_package_itself_applies(place: Place) -> None:
    place.decide_all()
    report = cleaner.apply(str(place.manifest), data=str(place.root))
    assert tree(place.root) == applied(place.before)
    cleaner.undo(str(report.journal))
    assert tree(place.root) == place.before


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(place: Place) -> None:
    place.decide_all()
    scan = tree(place.manifest.parent)
    planned = plan(place.manifest, place.root)
    assert tree(place.root) == place.before
    assert tree(place.manifest.parent).keys() - scan.keys() == set()
    report = place.apply()
    assert [o.source for o in planned.operations] == [o.source for o in report.done]
    assert [o.target for o in planned.operations if TRASH not in o.target] == ["cat/1_1.png", "cow/2.png", "dog/5.png"]
    assert planned.conflicts == report.conflicts


def test_nothing_to_do_leaves_no_journal(place: Place) -> None:
    place.decide(Decision("cat/1.png", Action.KEEP), delete("cat/none.png"))
    report = place.apply()
    assert (report.journal, report.done) == (None, ())
    assert place.journals() == []
    assert tree(place.root) == place.before


def test_a_second_apply_changes_nothing(place: Place) -> None:
    place.decide_all()
    first = place.apply()
    after = tree(place.root)
    again = place.apply()
    assert (again.journal, again.done, again.conflicts) == (None, (), first.conflicts)
    assert tree(place.root) == after
    assert place.journals() == [first.journal]


def test_a_file_that_comes_back_is_not_moved_again_until_it_is_decided_again(place: Place) -> None:
    place.decide(delete("cat/1.png"))
    place.apply()
    make(place.root / "cat/1.png")
    assert place.apply().done == ()
    assert tree(place.root)["cat/1.png"] == place.before["cat/1.png"]
    place.decide(delete("cat/1.png", decided_at="2026-02-01T12:00:00Z"))
    second = place.apply()
    assert len(second.done) == 1
    trashed = [path.read_bytes() for path in (place.root / TRASH).rglob("*.png")]
    assert trashed == [place.before["cat/1.png"][0]] * 2
    undo(second.journal)
    assert tree(place.root)["cat/1.png"] == place.before["cat/1.png"]


def test_what_was_undone_can_be_applied_again(place: Place) -> None:
    place.decide_all()
    for _ in range(3):
        undo(place.apply().journal)
        assert tree(place.root) == place.before
    place.apply()
    assert tree(place.root) == applied(place.before)
    assert len(place.journals()) == 4


def test_undo_twice_is_undo(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    undo(report.journal)
    assert undo(report.journal) == Report(report.journal, (), ())
    assert tree(place.root) == place.before


NAMES = st.sampled_from(["a", "b", "1.png", "1_1.png", "é😀.png", "two\nlines.png", "=1+1.png", "no suffix", "<b>"])
CLASSES = ["cat", "dog", "<Delete>", "=cow", "new"]
PATHS = st.tuples(st.sampled_from(["", "train/", "valid/deep/"]), st.sampled_from(CLASSES[:-1]), NAMES).map(
    lambda parts: f"{parts[0]}{parts[1]}/{parts[2]}"
)


# Most decisions can be carried out.
ACTIONS = st.sampled_from([Action.DELETE, Action.RELABEL] * 3 + list(Action))


@st.composite
def random_decisions(draw: st.DrawFn, root: Path, paths: list[str]) -> list[Decision]:
    """Of all the files and of some that are not there; some with a wrong label or hash, some undone."""
    decisions = []
    for path in [*paths, *draw(st.lists(PATHS, max_size=3))]:
        action, file = draw(ACTIONS), root / path
        found = ["", sha256_of(file)] * 3 if file.is_file() else [""]
        decisions.append(
            Decision(
                path,
                action,
                label=draw(st.sampled_from(["", path.split("/")[-2], "", path.split("/")[-2], "cat"])),
                new_label=draw(st.sampled_from([*CLASSES, "unknown", "../out"])) if action is Action.RELABEL else "",
                sha256=draw(st.sampled_from([*found, "0" * 64])),
                decided_at=draw(st.sampled_from([TIME, ""])),
            )
        )
    return decisions


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, after: bool = False) -> Iterator[None]:
    """In here the `at`-th move never comes to be, or is the last thing that is done."""
    moves = 0
    move = execute._move

    def counting(source: Path, target: Path) -> None:
        nonlocal moves
        moves += 1
        if moves == at and not after:
            raise KeyboardInterrupt
        move(source, target)
        if moves == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execute, "_move", counting)
        yield


@settings(deadline=None, max_examples=40)
@given(paths=st.lists(PATHS, min_size=1, max_size=12, unique=True), data=st.data())
def test_undo_after_apply_changes_nothing_whatever_the_tree_and_the_decisions(paths: list[str], data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        root = Path(folder, "data")
        root.mkdir()
        for path in paths:
            make(root / path)
        for name in data.draw(st.lists(st.sampled_from(["dog", "train/empty", "train/new"]), max_size=2)):
            (root / name).mkdir(parents=True, exist_ok=True)
        before = tree(root)
        manifest = make_scan(root, *CLASSES)
        Manifest(manifest).append(*data.draw(random_decisions(root, paths)))
        planned = plan(manifest, root)
        with suppress(KeyboardInterrupt), interrupted(monkeypatch, at=data.draw(st.integers(1, 9))):
            apply(manifest, root)
        report = apply(manifest, root)
        contents = sorted(value[0] for value in tree(root).values() if value)
        assert contents == sorted(value[0] for value in before.values() if value)
        assert report.conflicts == planned.conflicts
        for operation in planned.operations:
            assert (operation.source in tree(root)) == (operation.source in {o.target for o in planned.operations})
        journals = list(manifest.parent.glob("journal-*"))
        assert len(journals) == (1 if planned.operations else 0)
        for done in journals:
            with suppress(KeyboardInterrupt), interrupted(monkeypatch, at=data.draw(st.integers(1, 9))):
                undo(done)
            assert undo(done).conflicts == ()
        assert tree(root) == before


@pytest.mark.usefixtures("mover")
@pytest.mark.parametrize("after", [False, True], ids=["before the move", "after the move"])
@pytest.mark.parametrize("at", range(1, 6))
def test_an_apply_that_is_interrupted_at_any_move_is_finished_by_the_same_call(
    at: int, after: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide_all()
    with interrupted(monkeypatch, at, after), pytest.raises(KeyboardInterrupt):
        place.apply()
    assert tree(place.root) != applied(place.before) or (at, after) == (5, True)
    report = place.apply()
    assert tree(place.root) == applied(place.before)
    assert place.journals() == [report.journal]
    assert len(report.done) == 5 - (at if after else at - 1)
    assert place.apply().done == ()
    undo(report.journal)
    assert tree(place.root) == place.before


@pytest.mark.usefixtures("mover")
@pytest.mark.parametrize("after", [False, True], ids=["before the move", "after the move"])
@pytest.mark.parametrize("at", range(1, 6))
def test_an_undo_that_is_interrupted_at_any_move_is_finished_by_the_same_call(
    at: int, after: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide_all()
    done = place.apply().journal
    with interrupted(monkeypatch, at, after), pytest.raises(KeyboardInterrupt):
        undo(done)
    assert place.apply().done == ()  # which does not begin again what is being taken back
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before
    place.apply()
    assert tree(place.root) == applied(place.before)


@pytest.mark.parametrize("at", range(1, 6))
def test_an_apply_that_was_interrupted_can_be_undone(at: int, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide_all()
    with interrupted(monkeypatch, at), pytest.raises(KeyboardInterrupt):
        place.apply()
    report = undo(place.journals()[0])
    assert (len(report.done), report.conflicts) == (at - 1, ())
    assert tree(place.root) == place.before
    place.apply()
    assert tree(place.root) == applied(place.before)


@pytest.mark.parametrize("state", ["finished", "undone"])
def test_an_end_before_the_journal_is_marked_is_made_up_for(
    state: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place.decide_all()
    run: Callable[[], Report] = place.apply if state == "finished" else lambda: undo(place.apply().journal)
    mark = journal.Journal.mark
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "mark", lambda j, s, **f: stop() if s == state else mark(j, s, **f))
        with pytest.raises(KeyboardInterrupt):
            run()
    assert tree(place.root) == (applied(place.before) if state == "finished" else place.before)
    again = place.apply() if state == "finished" else undo(place.journals()[0])
    assert (again.done, again.journal) == ((), place.journals()[0])
    found = journal.read(place.journals()[0])
    assert found.finished
    assert found.undone == (state == "undone")


def test_a_last_line_of_the_journal_that_is_torn_is_written_again(place: Place) -> None:
    place.decide_all()
    path = place.apply().journal
    whole = path.read_bytes()
    begin = whole.rindex(b'{"state"')
    for size in range(begin, len(whole), 9):
        path.write_bytes(whole[:size])
        assert not journal.read(path).finished
        assert place.apply().done == ()
        assert journal.read(path).finished
        path.write_bytes(whole[:size])
        undo(path)
        assert tree(place.root) == place.before
        assert journal.read(path).undone
        path.write_bytes(whole[:begin])  # as if the undo had not been
        place.apply()
    assert tree(place.root) == applied(place.before)


def test_a_dry_run_after_an_interruption_says_what_is_left_to_do(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(*(relabel(f"cat/{n}.png", "dog") for n in (1, 2, 3)))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    make(place.root / "fox/2.png")
    place.decide(relabel("fox/2.png", "dog"))
    planned = plan(place.manifest, place.root)
    report = place.apply()
    assert planned.operations == report.done
    assert [o.target for o in report.done] == ["dog/2.png", "dog/3.png", "dog/2_1.png"]


def test_the_journal_says_all_before_anything_moves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[str] = []

    def check(source: Path, target: Path) -> None:
        found = journal.read(place.journals()[0])
        assert not found.finished
        written = [(operation.source, operation.target) for operation in found.operations]
        names = tuple(path.relative_to(place.root).as_posix() for path in (source, target))
        assert names in written
        assert len(written) == 5
        assert target.parent.is_dir()
        moves.append(names[0])
        move(source, target)

    move = execute._move
    place.decide_all()
    monkeypatch.setattr(execute, "_move", check)
    report = place.apply()
    assert moves == [operation.source for operation in report.done]
    assert len(moves) == 5


def test_a_journal_that_cannot_be_written_moves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.decide_all()
    monkeypatch.setattr(journal, "write_whole", full)
    with pytest.raises(CleanerError, match="nothing was moved"):
        place.apply()
    assert tree(place.root) == place.before


def test_the_moves_are_on_the_disk_before_the_journal_says_finished(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    mark = journal.Journal.mark
    monkeypatch.setattr(execute, "sync_folder", lambda folder: synced.append(folder.name))
    monkeypatch.setattr(journal.Journal, "mark", lambda *given, **more: (synced.append("mark"), mark(*given, **more)))
    place.decide(relabel("cat/1.png", "fox"))
    done = place.apply().journal
    assert (sorted(synced[:-1]), synced[-1]) == (["cat", "fox"], "mark")
    synced.clear()
    undo(done)
    assert (sorted(synced[:-1]), synced[-1]) == (["cat", "fox"], "mark")


@pytest.mark.usefixtures("mover")
def test_a_file_that_appears_between_plan_and_move_is_not_overwritten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appear(source: Path, target: Path) -> None:
        make(target, "of somebody else")
        move(source, target)

    move = execute._move
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_move", appear)
        report = place.apply()
    assert report.done == ()
    assert [conflict.path for conflict in report.conflicts] == ["cat/1.png", "cat/2.png"]
    assert all(os.strerror(errno.EEXIST) in conflict.reason for conflict in report.conflicts)
    assert (place.root / "dog/2.png").read_bytes() == b"of somebody else"
    assert {**tree(place.root), **place.before} == tree(place.root)
    again = place.apply()
    assert (len(again.done), again.conflicts) == (2, ())
    assert again.done[1].target == "dog/2_1.png"
    undo(again.journal)
    undo(report.journal)
    assert (place.root / "dog/2.png").read_bytes() == b"of somebody else"
    assert {**tree(place.root), **place.before} == tree(place.root)


@pytest.mark.usefixtures("mover")
def test_a_file_that_took_the_old_place_is_not_overwritten_by_undo(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    make(place.root / "cat/1.png", "of somebody else")
    back = undo(report.journal)
    assert [conflict.path for conflict in back.conflicts] == [o.target for o in report.done if o.source == "cat/1.png"]
    assert (place.root / "cat/1.png").read_bytes() == b"of somebody else"
    assert len(back.done) == 4
    (place.root / "cat/1.png").unlink()
    assert len(undo(report.journal).done) == 1
    assert tree(place.root) == place.before


@contextmanager
def refused(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> Iterator[None]:
    """In here a file of that name cannot be moved."""
    move = execute._move

    def refuse(source: Path, target: Path) -> None:
        if source.name == name:
            raise OSError(code, os.strerror(code), str(source))
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "_move", refuse)
        yield


@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV, errno.ENOSPC, errno.EIO])
def test_what_cannot_be_moved_is_a_conflict_the_rest_is_done_and_it_is_tried_again(
    code: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide_all()
    with refused(monkeypatch, "2.png", code):
        report = place.apply()
        assert [conflict.path for conflict in report.conflicts] == ["cat/3.png", "cat/2.png"]
        assert os.strerror(code) in report.conflicts[1].reason
        assert len(report.done) == 4
        assert tree(place.root)["cat/2.png"] == place.before["cat/2.png"]
        place.apply()
    again = place.apply()
    assert [operation.source for operation in again.done] == ["cat/2.png"]
    assert tree(place.root) == applied(place.before)
    with refused(monkeypatch, "4.png", code):
        back = undo(report.journal)
        assert len(back.conflicts) == 1
        assert len(back.done) == 3
    assert not journal.read(report.journal).undone
    assert len(undo(report.journal).done) == 1
    undo(again.journal)
    for path in place.journals():
        undo(path)
    assert tree(place.root) == place.before


def test_a_folder_that_cannot_be_made_is_a_conflict_and_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def refuse(path: Path, *args: Any, **options: Any) -> None:
        if path.name == "cow":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mkdir(path, *args, **options)

    place.decide_all()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        report = place.apply()
    assert [conflict.path for conflict in report.conflicts] == ["cat/3.png", "cat/2.png"]
    assert os.strerror(errno.EACCES) in report.conflicts[1].reason
    place.apply()
    assert tree(place.root) == applied(place.before)


def test_a_folder_that_was_taken_away_since_comes_back_with_undo(place: Place) -> None:
    place.decide(relabel("fox/5.png", "dog"))
    report = place.apply()
    (place.root / "fox").rmdir()
    assert undo(report.journal).conflicts == ()
    assert tree(place.root) == place.before


def test_what_lies_in_the_folders_that_apply_made_stays(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    make(place.root / "cow/of somebody else.png")
    assert undo(report.journal).conflicts == ()
    left = tree(place.root)
    assert left.pop("cow/of somebody else.png")
    assert left.pop("cow", "") is None
    assert left == place.before


def test_a_move_that_fails_without_the_one_step_rename_leaves_no_empty_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(execute, "_rename_noreplace", None)
    monkeypatch.setattr(execute.os, "replace", fail)
    for error in (OSError(errno.EXDEV, os.strerror(errno.EXDEV)), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            execute._move(place.root / "cat/2.png", place.root / "dog/2.png")
        assert tree(place.root) == place.before


def test_a_move_that_is_interrupted_when_it_is_done_loses_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def stop(source: Path, target: Path) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_rename_noreplace", None)
    monkeypatch.setattr(execute.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        execute._move(place.root / "cat/2.png", place.root / "dog/2.png")
    assert tree(place.root)["dog/2.png"] == place.before["cat/2.png"]


def test_a_file_system_without_the_one_step_rename_falls_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "_rename_noreplace", lambda *_: False)
    place.decide_all()
    undo(place.apply().journal)
    assert tree(place.root) == place.before


def test_a_link_is_moved_and_not_what_it_leads_to(place: Place) -> None:
    make(place.root.parent / "elsewhere.png")
    (place.root / "cat/link.png").symlink_to(place.root.parent / "elsewhere.png")
    place.decide(delete("cat/link.png"), relabel("cat/1.png", "dog"))
    report = place.apply()
    assert (place.root / report.done[0].target).is_symlink()
    assert (place.root.parent / "elsewhere.png").exists()
    undo(report.journal)
    assert (place.root / "cat/link.png").is_symlink()


def test_two_datasets_with_one_manifest_do_not_share_what_is_done(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    place.decide(delete("cat/1.png"))
    place.apply()
    assert len(apply(place.manifest, other.root).done) == 1
    assert len(place.journals()) == 2


def test_a_torn_row_of_the_manifest_is_reported(place: Place) -> None:
    place.decide(delete("cat/1.png"))
    for ask in (plan, apply):
        with open(place.manifest, "ab") as file:
            file.write(b"cat/2.png,del")
        report = ask(place.manifest, place.root)
        assert len(report.warnings) == 1
        assert "torn" in report.warnings[0]
    assert "cat/2.png" in tree(place.root)


LINES: list[dict[str, Any]] = [
    {"format": 1, "data": "/data", "folders": [TRASH], "written": TIME},
    {"source": "cat/1.png", "target": f"{TRASH}/1.png", "action": "delete", "decided_at": TIME},
    {"state": "finished", "failed": [], "at": TIME},
]


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def changed(line: int, **changes: object) -> str:
    """The journal with a line that has other values; None takes a value away."""
    lines = [dict(each) for each in LINES]
    lines[line].update(changes)
    lines[line] = {name: value for name, value in lines[line].items() if value is not None}
    return text_of(lines)


DAMAGES = {
    "empty": "",
    "no line end": json.dumps(LINES[0]),
    "not JSON": text_of(LINES) + "{\n",
    "not JSON in the middle": text_of(LINES[:1]) + "{torn\n" + text_of(LINES[1:]),
    "no objects": "[1]\n2\n",
    "later format": changed(0, format=2),
    "no format": changed(0, format=None),
    "no data": changed(0, data=None),
    "data is a number": changed(0, data=5),
    "no folders": changed(0, folders=None),
    "folder outside": changed(0, folders=["../x"]),
    "folder is a number": changed(0, folders=[5]),
    "source outside": changed(1, source="../1.png"),
    "absolute target": changed(1, target="/etc/passwd"),
    "no target": changed(1, target=None),
    "no time": changed(1, decided_at=None),
    "more than is known": changed(1, more="x"),
    "source is a number": changed(1, source=5),
    "no list of what failed": changed(2, failed=None),
    "failed is a number": changed(2, failed=5),
    "too deep": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_journal_is_an_error_that_names_it_and_nothing_moves(damage: str, place: Place) -> None:
    place.decide_all()
    path = place.manifest.with_name("journal-20260131T120000Z.jsonl")
    path.write_text(damage)
    for call in (lambda: undo(path), place.apply, lambda: plan(place.manifest, place.root)):
        with pytest.raises(CleanerError, match=r"journal-20260131T120000Z\.jsonl"):
            call()
    assert tree(place.root) == place.before


def test_an_undamaged_journal_is_read(tmp_path: Path) -> None:
    (tmp_path / "j").write_text(text_of(LINES))
    assert journal.read(tmp_path / "j").finished


def test_a_journal_that_is_not_utf8_or_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"\xff\n")
    for path in (tmp_path / "j", tmp_path / "none", tmp_path):
        with pytest.raises(CleanerError, match="is not a journal"):
            undo(path)


def test_a_dataset_or_a_manifest_that_is_not_there_is_an_error(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    for manifest, root in [(place.manifest, place.root / "none"), (place.root / "none", place.root)]:
        for call in (apply, plan):
            with pytest.raises(CleanerError, match="none"):
                call(manifest, root)
    place.root.rename(place.root.with_name("elsewhere"))
    with pytest.raises(CleanerError, match="is not there"):
        undo(report.journal)


def test_a_damaged_manifest_or_scan_moves_nothing(place: Place) -> None:
    place.decide_all()
    good = place.manifest.read_bytes()
    place.manifest.write_bytes(good + b"cat/3.png,drop\r\n")
    with pytest.raises(CleanerError, match="line 8"):
        place.apply()
    place.manifest.write_bytes(good)
    place.manifest.with_name("scan.json").write_text("{")
    with pytest.raises(CleanerError, match=r"scan\.json"):
        place.apply()
    assert tree(place.root) == place.before
