"""Apply and undo: nothing is lost, nothing overwritten, and an end in the middle is no end."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cleaner
from cleaner.apply import apply, dataset_paths, locks, moves
from cleaner.apply.execute import Report, undo
from cleaner.core import journal, journal_lines
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sha256_of
from cleaner.core.journal import State
from cleaner.core.journal_lines import parse_lines
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from tests.support.crashes import by_links, by_placeholders, in_a_process_that_dies, interrupted, one_step
from tests.support.folders import TIME, Place, Tree, delete, make, make_scan, relabel, tree
from tests.support.light_process import in_a_light_process

preview = partial(apply, dry_run=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=["in one step", "fallback"])
def mover(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system's rename that does not overwrite, and without it."""
    if request.param == "fallback":
        monkeypatch.setattr(moves, "_rename_noreplace", None)
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


def test_the_public_functions_apply_and_undo(place: Place) -> None:
    place.decide_all()
    report = cleaner.apply(str(place.manifest), data=str(place.root))
    assert tree(place.root) == applied(place.before)
    cleaner.undo(str(report.journal))
    assert tree(place.root) == place.before


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(place: Place) -> None:
    place.decide_all()
    scan = tree(place.manifest.parent)
    planned = apply(place.manifest, place.root, dry_run=True)
    assert tree(place.root) == place.before
    assert tree(place.manifest.parent).keys() - scan.keys() == set()
    report = place.apply()
    assert [o.source for o in planned.planned] == [o.source for o in report.done]
    assert [o.target for o in planned.planned if TRASH not in o.target] == ["cat/1_1.png", "cow/2.png", "dog/5.png"]
    assert planned.conflicts == report.conflicts


def test_a_damaged_table_of_the_scan_stops_neither_apply_nor_undo_nor_cleaned(place: Place) -> None:
    place.decide_all()
    (place.manifest.parent / "top_losses.csv").write_text("damaged")
    assert cleaner.cleaned(["cat/1.png", "fox/5.png"], place.manifest, labels=["cat", "fox"]) == (
        ["fox/5.png"],
        ["dog"],
    )
    assert len(apply(place.manifest, place.root, dry_run=True).planned) == 5
    done = place.apply().journal
    assert tree(place.root) == applied(place.before)
    undo(done)
    assert tree(place.root) == place.before


def test_a_journal_is_parsed_once_for_one_undo(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide_all()
    done = place.apply().journal
    parsed = []
    monkeypatch.setattr(journal, "parse_lines", lambda content: (parsed.append(1), parse_lines(content))[1])
    undo(done)
    assert parsed == [1]


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


def test_an_undone_apply_can_be_applied_again(place: Place) -> None:
    place.decide_all()
    for _ in range(3):
        undo(place.apply().journal)
        assert tree(place.root) == place.before
    place.apply()
    assert tree(place.root) == applied(place.before)
    assert len(place.journals()) == 4


def test_a_second_undo_changes_nothing(place: Place) -> None:
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


SOME_PATHS = st.lists(PATHS, min_size=1, max_size=12, unique=True)


@settings(max_examples=40)
@given(paths=SOME_PATHS, data=st.data())
def test_undo_after_apply_changes_nothing_whatever_the_tree_and_the_decisions(paths: list[str], data: Any) -> None:
    undo_after_apply_changes_nothing(paths, data)


@pytest.mark.long
@settings(max_examples=1000)
@given(paths=SOME_PATHS, data=st.data())
def test_undo_after_apply_changes_nothing_a_thousand_times(paths: list[str], data: Any) -> None:
    undo_after_apply_changes_nothing(paths, data)


def undo_after_apply_changes_nothing(paths: list[str], data: Any) -> None:
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
        planned = apply(manifest, root, dry_run=True)
        for places in ([o.source for o in planned.planned], [o.target for o in planned.planned]):
            assert len(set(places)) == len(places)
        with suppress(KeyboardInterrupt), interrupted(monkeypatch, at=data.draw(st.integers(1, 9))):
            apply(manifest, root)
        report = apply(manifest, root)
        contents = sorted(value[0] for value in tree(root).values() if value)
        assert contents == sorted(value[0] for value in before.values() if value)
        # The reason may be another one: where a file was gone, one may have been moved to.
        assert [(c.path, c.action) for c in report.conflicts] == [(c.path, c.action) for c in planned.conflicts]
        for operation in planned.planned:
            assert (operation.source in tree(root)) == (operation.source in {o.target for o in planned.planned})
        journals = list(manifest.parent.glob("journal-*"))
        assert len(journals) == (1 if planned.planned else 0)
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
    for ask in (preview, apply):  # which do not begin again what is being taken back
        with pytest.raises(CleanerError, match=f"cleaner undo .*{done.name}"):
            ask(place.manifest, place.root)
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
def test_a_run_interrupted_before_the_journal_is_marked_is_finished_by_the_same_call(
    state: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place.decide_all()
    run: Callable[[], Report] = place.apply if state == "finished" else lambda: undo(place.apply().journal)
    mark = journal.Journal.mark
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "mark", lambda j, s, left: stop() if s == state else mark(j, s, left))
        with pytest.raises(KeyboardInterrupt):
            run()
    assert tree(place.root) == (applied(place.before) if state == "finished" else place.before)
    again = place.apply() if state == "finished" else undo(place.journals()[0])
    assert (again.done, again.journal) == ((), place.journals()[0])
    assert journal.read(place.journals()[0]).state == state


def test_a_torn_last_line_of_the_journal_is_written_again(place: Place) -> None:
    place.decide_all()
    path = place.apply().journal
    whole = path.read_bytes()
    begin = whole.rindex(b'{"state"')
    for size in range(begin, len(whole), 9):
        path.write_bytes(whole[:size])
        assert journal.read(path).state is State.APPLYING
        assert place.apply().done == ()
        assert journal.read(path).state is State.FINISHED
        path.write_bytes(whole[:size])
        undo(path, trust=True)  # its signature was of the whole
        assert tree(place.root) == place.before
        assert journal.read(path).state is State.UNDONE
        path.write_bytes(whole[:begin])  # as if the undo had not been
        place.apply()
    assert tree(place.root) == applied(place.before)


def test_a_dry_run_after_an_interruption_says_what_is_left_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide(*(relabel(f"cat/{n}.png", "dog") for n in (1, 2, 3)))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    make(place.root / "fox/2.png")
    place.decide(relabel("fox/2.png", "dog"))
    planned = apply(place.manifest, place.root, dry_run=True)
    report = place.apply()
    assert planned.planned == report.done
    assert [o.target for o in report.done] == ["dog/2.png", "dog/3.png", "dog/2_1.png"]


def test_the_journal_says_all_before_anything_moves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []

    def check(source: Path, target: Path) -> None:
        found = journal.read(place.journals()[0])
        assert found.state is State.APPLYING
        written = [(operation.source, operation.target) for operation in found.operations]
        names = tuple(path.relative_to(place.root).as_posix() for path in (source, target))
        assert names in written
        assert len(written) == 5
        assert target.parent.is_dir()
        moved.append(names[0])
        move(source, target)

    move = moves.move
    place.decide_all()
    monkeypatch.setattr(moves, "move", check)
    report = place.apply()
    assert moved == [operation.source for operation in report.done]
    assert len(moved) == 5


def test_a_journal_that_cannot_be_written_moves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.decide_all()
    monkeypatch.setattr(journal_lines, "write_whole", full)
    with pytest.raises(CleanerError, match="nothing was changed"):
        place.apply()
    assert tree(place.root) == place.before


def test_the_moves_are_on_the_disk_before_the_journal_says_finished(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    mark = journal.Journal.mark
    monkeypatch.setattr(dataset_paths, "sync_folder", lambda folder: synced.append(folder.name))
    monkeypatch.setattr(journal.Journal, "mark", lambda *given, **more: (synced.append("mark"), mark(*given, **more)))
    place.decide(relabel("cat/1.png", "fox"))
    done = place.apply().journal
    assert (sorted(synced[:-1]), synced[-1]) == (["cat", "fox"], "mark")
    synced.clear()
    undo(done)
    assert (sorted(synced[1:-1]), synced[0], synced[-1]) == (["cat", "fox"], "mark", "mark")


@pytest.mark.usefixtures("mover")
def test_a_file_that_appears_between_plan_and_move_is_not_overwritten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appear(source: Path, target: Path) -> None:
        make(target, "of somebody else")
        move(source, target)

    move = moves.move
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    with monkeypatch.context() as patch:
        patch.setattr(moves, "move", appear)
        report = place.apply()
    assert report.done == ()
    assert [conflict.path for conflict in report.conflicts] == ["cat/1.png", "cat/2.png"]
    assert all(os.strerror(errno.EEXIST) in conflict.reason for conflict in report.conflicts)
    assert (place.root / "dog/2.png").read_bytes() == b"of somebody else"
    assert {**tree(place.root), **place.before} == tree(place.root)
    again = place.apply()
    assert (len(again.done), again.conflicts) == (2, ())
    assert again.done[1].target == "dog/2_1.png"
    assert report.journal is None
    undo(again.journal)
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
    move = moves.move

    def refuse(source: Path, target: Path) -> None:
        if source.name == name:
            raise OSError(code, os.strerror(code), str(source))
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(moves, "move", refuse)
        yield


@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV, errno.ENOSPC, errno.EIO])
def test_a_failed_move_is_a_conflict_the_others_are_done_and_it_is_retried(
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
    Manifest(place.manifest).append(delete("cat/1.png", decided_at=""))  # without a hash
    place.apply()
    assert len(apply(place.manifest, other.root).done) == 1
    assert len(place.journals()) == 2


def test_a_torn_row_of_the_manifest_is_reported(place: Place) -> None:
    place.decide(delete("cat/1.png"))
    for ask in (preview, apply):
        with open(place.manifest, "ab") as file:
            file.write(b"cat/2.png,del")
        report = ask(place.manifest, place.root)
        assert len(report.warnings) == 1
        assert "torn" in report.warnings[0]
    assert "cat/2.png" in tree(place.root)


def test_a_file_that_appears_at_the_place_of_one_that_was_moved_before_an_interruption_is_told_apart(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "dog"))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    make(place.root / "cat/1.png", "of somebody else")
    report = place.apply()
    assert [operation.source for operation in report.done] == ["cat/2.png"]
    assert report.conflicts == ()  # the decision was about other bytes
    assert report.notes[0].startswith("1 decision was carried out on ")
    assert len(journal.read(report.journal).carried_out) == 2
    back = undo(report.journal)
    assert [conflict.path.rpartition("/")[2] for conflict in back.conflicts] == ["1.png"]
    assert (place.root / "cat/1.png").read_bytes() == b"of somebody else"
    (place.root / "cat/1.png").unlink()
    assert undo(report.journal).conflicts == ()
    assert tree(place.root) == place.before


def test_the_original_put_back_by_hand_as_a_copy_is_not_taken_for_one_that_was_never_moved(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(delete("cat/1.png"), delete("cat/2.png"))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    (place.root / "cat/1.png").write_bytes(place.before["cat/1.png"][0])
    report = place.apply()
    assert [operation.source for operation in report.done] == ["cat/2.png"]
    assert len(list((place.root / TRASH).rglob("*.png"))) == 2
    assert len(undo(report.journal).conflicts) == 1


def test_a_file_that_is_nowhere_after_an_interruption_is_a_conflict_and_stays_in_the_journal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(delete("cat/1.png"), delete("cat/2.png"))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    trash = next((place.root / TRASH).iterdir())
    trash.rename(place.root / "aside")  # as a disk that is not mounted
    report = place.apply()
    assert [(c.path, c.reason[:7]) for c in report.conflicts] == [("cat/1.png", "neither")]
    for file in list((place.root / "aside").rglob("*.png")):
        file.rename(trash / file.relative_to(place.root / "aside"))
    assert undo(report.journal).conflicts == ()
    assert (place.root / "cat/1.png").exists()


@pytest.mark.parametrize("action", [Action.KEEP, Action.UNSURE, Action.UNDO])
def test_a_decision_overruled_after_an_interruption_is_not_carried_out(
    action: Action, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(*(delete(f"cat/{n}.png") for n in (1, 2, 3)))
    with interrupted(monkeypatch, at=2), pytest.raises(KeyboardInterrupt):
        place.apply()
    place.decide(Decision("cat/2.png", action, decided_at=TIME))
    report = place.apply()
    assert [operation.source for operation in report.done] == ["cat/3.png"]
    assert report.conflicts == ()
    assert tree(place.root)["cat/2.png"] == place.before["cat/2.png"]
    assert undo(report.journal).conflicts == ()
    assert tree(place.root) == place.before


def test_bytes_that_changed_after_an_interruption_are_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide(delete("cat/1.png"), delete("cat/2.png"))
    with interrupted(monkeypatch, at=1), pytest.raises(KeyboardInterrupt):
        place.apply()
    make(place.root / "cat/2.png", "changed")
    report = place.apply()
    assert [operation.source for operation in report.done] == ["cat/1.png"]
    assert [(c.path, "its bytes changed" in c.reason) for c in report.conflicts] == [("cat/2.png", True)]
    assert undo(report.journal).conflicts == ()
    assert (place.root / "cat/2.png").read_bytes() == b"changed"


def test_bytes_that_change_between_plan_and_move_are_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write = journal.Journal.write
    monkeypatch.setattr(
        journal.Journal, "write", lambda j: (write(j), make(place.root / "cat/1.png", "changed"), None)[-1]
    )
    place.decide(delete("cat/1.png"))
    report = place.apply()
    assert report.done == ()
    assert "its bytes changed" in report.conflicts[0].reason
    assert (report.journal, place.journals()) == (None, [])


def test_a_row_about_a_file_that_was_not_there_is_not_carried_out_on_one_that_is_moved_there(place: Place) -> None:
    place.decide(relabel("cat/2.png", "dog"), delete("dog/2.png", decided_at=""))
    first = place.apply()
    assert ([o.source for o in first.done], [c.path for c in first.conflicts]) == (["cat/2.png"], ["dog/2.png"])
    again = place.apply()
    assert (again.done, [c.path for c in again.conflicts]) == ((), ["dog/2.png"])
    assert "which" in again.conflicts[0].reason
    assert (place.root / "dog/2.png").exists()
    place.decide(delete("dog/2.png", decided_at=""))  # as one who has seen it
    assert [o.source for o in place.apply().done] == ["dog/2.png"]


def test_a_second_undo_leaves_a_later_apply_alone(place: Place) -> None:
    place.decide_all()
    first = place.apply().journal
    undo(first)
    second = place.apply().journal
    assert undo(first) == Report(first, (), ())
    assert tree(place.root) == applied(place.before)
    undo(second)
    assert tree(place.root) == place.before


def test_undo_moves_no_other_file_that_has_the_name(place: Place) -> None:
    place.decide(relabel("cat/2.png", "dog"))
    done = place.apply().journal
    make(place.root / "dog/2.png", "of somebody else")
    back = undo(done)
    assert (back.done, [conflict.path for conflict in back.conflicts]) == ((), ["dog/2.png"])
    assert "not the file that was moved here" in back.conflicts[0].reason
    (place.root / "dog/2.png").unlink()
    assert "no longer here" in undo(done).conflicts[0].reason


def test_undo_knows_a_file_by_its_bytes_where_the_dataset_was_copied_to_another_disk_and_back(place: Place) -> None:
    place.decide_all()
    done = place.apply().journal
    shutil.copytree(place.root, place.root.with_name("copy"))
    shutil.rmtree(place.root)
    place.root.with_name("copy").rename(place.root)
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before


def test_files_that_an_undo_with_a_conflict_put_back_are_moved_again(place: Place) -> None:
    place.decide(delete("cat/1.png"), delete("cat/2.png"))
    first = place.apply().journal
    make(place.root / "cat/1.png", "of somebody else")
    assert [len(undo(first).done), len(undo(first).done)] == [1, 0]
    again = place.apply()
    assert [operation.source for operation in again.done] == ["cat/2.png"]
    assert again.conflicts == ()  # the other file is not the one decided about
    (place.root / "cat/1.png").unlink()
    assert [operation.target for operation in undo(first).done] == ["cat/1.png"]
    undo(again.journal)
    assert tree(place.root) == place.before


def test_journals_are_undone_in_any_order(place: Place) -> None:
    make_scan(place.root, "cat", "dog", "fox", "cow")
    place.decide(delete("cat/1.png"), relabel("cat/2.png", "cow"))
    first = place.apply().journal
    place.decide(relabel("dog/1.png", "cat"), relabel("cat/3.png", "cow"))
    second = place.apply().journal
    for done in (first, second):
        assert undo(done).conflicts == ()
    assert tree(place.root) == place.before


def test_a_trash_that_was_put_elsewhere_and_linked_can_be_undone(place: Place) -> None:
    place.decide_all()
    done = place.apply().journal
    (place.root / TRASH).rename(place.root.parent / "elsewhere")
    (place.root / TRASH).symlink_to("../elsewhere")
    assert undo(done).conflicts == ()
    assert journal.read(done).state is State.UNDONE
    assert tree(place.root) == {**place.before, TRASH: None}


def test_a_dataset_that_is_reached_through_a_link_is_the_same(place: Place) -> None:
    link = place.root.with_name("link")
    link.symlink_to("data")
    place.decide(delete("cat/1.png"))
    done = apply(place.manifest, link).journal
    again = place.apply()
    assert again == apply(place.manifest, link)
    assert (again.done, again.conflicts, again.warnings) == ((), (), ())
    link.unlink()
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before


def test_another_folder_than_was_scanned_is_noted_and_files_that_are_known_by_name_alone(
    place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path / "other")
    make_scan(other.root, "cat", "dog")
    scanned = other.manifest
    Manifest(scanned).append(place.with_hash(delete("cat/1.png")))
    (note,) = apply(scanned, place.root, dry_run=True).notes
    assert note.endswith(f"is not the folder that was scanned, {str(other.root)!r}; is it the same dataset?")
    Manifest(scanned).append(delete("cat/2.png", decided_at=""))
    assert apply(scanned, other.root, dry_run=True).notes == ()
    for report in (apply(scanned, place.root, dry_run=True), apply(scanned, place.root)):
        assert len(report.notes) == 1
        assert "known by name alone" in report.notes[0]
        assert str(other.root) in report.notes[0]
        assert "'cat/2.png'" in report.notes[0]
        assert report.warnings == ()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do(
    code: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    place.decide_all()
    done = place.apply().journal
    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    for call in (place.apply, lambda: undo(done)):
        with pytest.raises(CleanerError, match=r"cannot be written.*make it writable"):
            call()
    assert tree(place.root) == applied(place.before)


def test_a_journal_that_cannot_be_marked_at_the_end_is_a_warning_and_the_same_call_makes_up_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_at(state: State) -> Callable[[journal.Journal, State, Any], None]:
        def refuse(found: journal.Journal, wanted: State, left: Any) -> None:
            if wanted is state:
                raise CleanerError("the disk is full")
            mark(found, wanted, left)

        return refuse

    mark = journal.Journal.mark
    place.decide_all()
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "mark", full_at(State.FINISHED))
        report = place.apply()
        assert (len(report.done), len(report.warnings)) == (5, 1)
        assert "the disk is full" in report.warnings[0]
    assert place.apply().done == ()
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "mark", full_at(State.UNDOING))
        with pytest.raises(CleanerError, match="the disk is full; nothing was changed"):
            undo(report.journal)
        assert tree(place.root) == applied(place.before)
        patch.setattr(journal.Journal, "mark", full_at(State.UNDONE))
        back = undo(report.journal)
        assert (len(back.done), len(back.warnings)) == (5, 1)
    assert undo(report.journal) == Report(report.journal, (), ())
    assert tree(place.root) == place.before


def test_a_folder_that_cannot_be_synced_is_noted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(dataset_paths, "sync_folder", refuse)
    place.decide(relabel("cat/1.png", "fox"))
    report = place.apply()
    assert (len(report.done), len(report.notes), report.conflicts) == (1, 2, ())
    assert journal.read(report.journal).state is State.FINISHED


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("system", [one_step, by_links, by_placeholders])
@in_a_light_process
def test_the_same_call_finishes_the_work_of_a_process_killed_at_any_change(
    system: Callable[[pytest.MonkeyPatch], None], tmp_path: Path
) -> None:
    at, died = 0, True
    while died:
        at += 1
        place = Place(tmp_path / str(at))
        place.decide_all()
        died = in_a_process_that_dies(at, place.apply, system)
        in_a_process_that_dies(at // 2, place.apply, system)
        place.apply()
        assert tree(place.root) == applied(place.before)
        (done,) = place.journals()
        assert not list(place.manifest.parent.glob(".*.part"))
        undoing = in_a_process_that_dies(at, lambda done=done: undo(done), system)
        assert undo(done).conflicts == ()
        assert tree(place.root) == place.before
        assert not list(place.manifest.parent.glob(".*.part"))
        died = died or undoing
    assert at > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("system", [one_step, by_links, by_placeholders])
@in_a_light_process
def test_an_apply_that_is_killed_at_any_change_can_be_undone(
    system: Callable[[pytest.MonkeyPatch], None], tmp_path: Path
) -> None:
    at, died = 0, True
    while died:
        at += 1
        place = Place(tmp_path / str(at))
        place.decide_all()
        died = in_a_process_that_dies(at, place.apply, system)
        for done in place.journals():
            assert undo(done).conflicts == ()
        assert {**tree(place.root), **place.before} == tree(place.root)
        assert [path for path in tree(place.root) if path not in place.before] == []
    assert at > 20


@pytest.mark.usefixtures("mover")
@pytest.mark.parametrize(
    "make_theirs", [lambda _, b: make(b), lambda _, b: b.write_bytes(b""), lambda a, b: os.link(a, b)]
)
@pytest.mark.parametrize("step", ["apply", "undo"])
def test_what_is_at_the_target_of_a_killed_move_may_be_the_users_and_stays(
    make_theirs: Callable[[Path, Path], object], step: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(relabel("cat/1.png", "fox"), relabel("cat/2.png", "fox"))
    if step == "undo":
        done = place.apply().journal
    with interrupted(monkeypatch, at=1), pytest.raises(KeyboardInterrupt):
        place.apply() if step == "apply" else undo(done)
    source, target = ("cat/2.png", "fox/2.png") if step == "apply" else ("fox/2.png", "cat/2.png")
    make_theirs(place.root / source, place.root / target)
    theirs = os.lstat(place.root / target)
    report = place.apply() if step == "apply" else undo(done)
    assert os.path.samestat(os.lstat(place.root / target), theirs)
    assert any(repr(target) in note and "may be yours" in note for note in report.notes)
    if step == "apply":
        assert [operation.target for operation in report.done] == ["fox/1.png", "fox/2_1.png"]
        undo(report.journal)
    else:
        assert [(c.path, os.strerror(errno.EEXIST) in c.reason) for c in report.conflicts] == [("fox/2.png", True)]
        (place.root / target).unlink()
        assert undo(done).conflicts == ()
    assert {**tree(place.root), **place.before} == tree(place.root)


def test_an_apply_whose_every_move_fails_leaves_no_journal_and_no_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scan(place.root, "cat", "dog", "fox", "cow")
    place.decide(relabel("cat/1.png", "cow"), delete("cat/2.png"))
    with monkeypatch.context() as patch:
        patch.setattr(moves, "move", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, os.strerror(errno.EIO))))
        report = place.apply()
    assert (report.journal, report.done, len(report.conflicts), report.changed) == (None, (), 2, None)
    assert place.journals() == []
    assert tree(place.root) == place.before
    assert len(place.apply().done) == 2


def test_an_interrupted_apply_that_moved_nothing_and_has_nothing_left_to_do_leaves_no_journal(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(delete("cat/1.png"))
    with interrupted(monkeypatch, at=1), pytest.raises(KeyboardInterrupt):
        place.apply()
    assert len(place.journals()) == 1
    place.decide(Decision("cat/1.png", Action.KEEP, decided_at=TIME))
    assert place.apply().journal is None
    assert place.journals() == []
    assert tree(place.root) == place.before


def test_folders_that_are_empty_and_cannot_be_removed_are_noted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        code = errno.ENOTEMPTY if os.listdir(folder) else errno.EACCES
        raise OSError(code, os.strerror(code))

    place.decide_all()
    done = place.apply().journal
    make(place.root / "cow" / "of somebody else.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", refuse)
        report = undo(done)
    assert report.conflicts == ()
    (note,) = report.notes
    assert note.startswith(f"2 empty folders could not be removed, such as '{TRASH}/{done.stem}/")
    assert os.strerror(errno.EACCES) in note


def test_images_on_which_reviewers_disagree_are_noted(place: Place) -> None:
    place.decide(
        delete("cat/1.png", reviewer="anna"),
        Decision("cat/1.png", Action.KEEP, reviewer="bob", decided_at=TIME),
        relabel("cat/2.png", "dog", reviewer="anna"),
        relabel("cat/2.png", "dog", reviewer="bob"),
    )
    expected = "reviewers disagree on 1 image, 'cat/1.png' (anna: delete, bob: keep); the last decision stands"
    assert apply(place.manifest, place.root, dry_run=True).notes == (expected,)
    assert apply(place.manifest, place.root).notes == (expected,)
    place.decide(
        relabel("cat/3.png", "fox", reviewer=""),
        relabel("cat/3.png", "dog", reviewer="an\033[31mna"),
        Decision("dog/1.png", Action.UNSURE, reviewer="bob", decided_at=TIME),
        delete("dog/1.png", reviewer="anna"),
        Decision("dog/1.png", Action.UNDO, reviewer="bob", decided_at=TIME),
    )
    note, _ = apply(place.manifest, place.root, dry_run=True).notes
    assert note.startswith("reviewers disagree on 2 images, such as 'cat/1.png' (")
    place.decide(Decision("cat/1.png", Action.UNDO, reviewer="bob", decided_at=TIME))
    note, _ = apply(place.manifest, place.root, dry_run=True).notes
    assert "'cat/3.png' (somebody: relabel to 'fox', 'an\\x1b[31mna': relabel to 'dog')" in note


LINES: list[dict[str, Any]] = [
    {"format": 2, "data": "/data", "folders": [TRASH], "written": TIME},
    {
        "source": "cat/1.png",
        "target": f"{TRASH}/1.png",
        "action": "delete",
        "new_label": "",
        "decided_at": TIME,
        "file": {"size": 1, "modified": 2, "inode": 3, "sha256": "0" * 64},
    },
    {"state": "finished", "left": [], "at": TIME},
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
    "earlier format": changed(0, format=1),
    "later format": changed(0, format=3),
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
    "no file": changed(1, file=None),
    "the file is a number": changed(1, file=5),
    "the file has no size": changed(1, file={"modified": 2, "inode": 3, "sha256": ""}),
    "unknown state": changed(2, state="half"),
    "no list of what is left": changed(2, left=None),
    "left is a number": changed(2, left=5),
    "too deep": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_journal_is_an_error_that_names_it_and_nothing_moves(damage: str, place: Place) -> None:
    place.decide_all()
    path = place.manifest.with_name("journal-20260131T120000Z.jsonl")
    path.write_text(damage)
    for call in (lambda: undo(path), place.apply, lambda: apply(place.manifest, place.root, dry_run=True)):
        with pytest.raises(CleanerError, match=r"journal-20260131T120000Z\.jsonl"):
            call()
    assert tree(place.root) == place.before


def test_an_undamaged_journal_is_read(tmp_path: Path) -> None:
    (tmp_path / "j").write_text(text_of(LINES))
    assert journal.read(tmp_path / "j").state is State.FINISHED


def test_a_journal_that_is_not_utf8_or_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"\xff\n")
    for path in (tmp_path / "j", tmp_path / "none", tmp_path):
        with pytest.raises(CleanerError, match="is not a journal"):
            undo(path)


def test_a_dataset_or_a_manifest_that_is_not_there_is_an_error(place: Place) -> None:
    place.decide_all()
    report = place.apply()
    for manifest, root in [(place.manifest, place.root / "none"), (place.root / "none", place.root)]:
        for call in (apply, preview):
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
