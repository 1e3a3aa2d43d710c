"""Apply and undo on a label table: rows change, all else stays, and an end in the middle is no end."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cleaner
from cleaner.apply import apply
from cleaner.apply.execute import Report, undo
from cleaner.apply.table import rewrite
from cleaner.apply.trash import trash
from cleaner.core import journal_lines
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.journal import State, read
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from tests.support.crashes import in_a_process_that_dies, one_step
from tests.support.folders import TIME, delete, make, make_scan, relabel, tree
from tests.support.label_tables import CSV, Place
from tests.support.light_process import in_a_light_process

LATER = "2026-02-01T12:00:00Z"
APPLIED = (
    b"\xef\xbb\xbfid,fname,label,note\r\n"
    b'2,"train/2.png","fox",\n'
    b"3,train/3.png,dog,two \xc3\xa9\r\n"
    b"\r\n"
    b"4,valid/1.png,fox,\r\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_apply_changes_rows_as_decided_and_undo_restores_the_table_with_its_time(place: Place) -> None:
    place.decide_all()
    planned = apply(place.manifest, place.root, labels=place.table, dry_run=True)
    assert tree(place.root) == place.before
    report = place.apply()
    assert place.table.read_bytes() == APPLIED
    assert (place.table.stat().st_mode & 0o777) == 0o640
    assert (planned.planned, planned.conflicts) == (report.done, report.conflicts)
    assert [(c.action, c.path, c.label, c.new_label) for c in report.done] == [
        ("delete", "train/1.png", "cat", ""),
        ("relabel", "train/2.png", "dog", "fox"),
        ("relabel", "train/3.png", "cat", "dog"),
        ("delete", "=5.png", "dog", ""),
    ]
    assert [(c.path, c.reason) for c in report.conflicts] == [("valid/1.png", "there is no class 'bird'")]
    found = read(report.journal)
    assert (found.kept.read_bytes(), found.before.sha256) == (CSV, sha256_of(found.kept))
    others = {path: file for path, file in tree(place.root).items() if path != "labels.csv"}
    assert others == {path: file for path, file in place.before.items() if path != "labels.csv"}
    back = undo(report.journal)
    assert tree(place.root) == place.before
    assert (place.table.stat().st_mode & 0o777) == 0o640
    assert (len(back.done), back.conflicts) == (4, ())
    assert undo(report.journal) == Report(report.journal, (), ())


def test_the_public_functions_apply_to_a_table_and_undo(place: Place) -> None:
    place.decide_all()
    report = cleaner.apply(str(place.manifest), str(place.root), labels=str(place.table))
    assert place.table.read_bytes() == APPLIED
    cleaner.undo(str(report.journal))
    assert tree(place.root) == place.before


def test_a_second_apply_changes_nothing(place: Place) -> None:
    place.decide_all()
    first = place.apply()
    after, scan = tree(place.root), tree(place.manifest.parent)
    again = place.apply()
    assert (again.journal, again.done, again.conflicts) == (None, (), first.conflicts)
    assert (tree(place.root), tree(place.manifest.parent)) == (after, scan)


def test_what_was_undone_can_be_applied_again_and_journals_are_undone_last_first(place: Place) -> None:
    place.decide_all()
    for _ in range(2):
        undo(place.apply().journal)
    first = place.apply().journal
    place.decide(relabel("train/3.png", "fox", label="dog", decided_at=LATER))
    second = place.apply().journal
    assert b"train/3.png,fox" in place.table.read_bytes()
    (conflict,) = undo(first).conflicts
    assert f"cleaner undo {second}" in conflict.reason
    assert undo(second).conflicts == ()
    assert place.table.read_bytes() == APPLIED
    assert undo(first).conflicts == ()
    assert tree(place.root) == place.before


def test_a_table_that_somebody_changed_since_is_not_overwritten_by_undo(place: Place) -> None:
    place.decide_all()
    done = place.apply().journal
    for content in (APPLIED + b"6,valid/6.png,cat,\n", None):
        place.table.unlink() if content is None else place.table.write_bytes(content)
        for _ in range(2):
            (conflict,) = undo(done).conflicts
            assert str(read(done).kept) in conflict.reason
        assert (place.table.read_bytes() if content else not place.table.exists()) == (content or True)
    place.table.write_bytes(APPLIED)
    kept = read(done).kept
    kept.rename(kept.with_name("aside"))
    assert "is gone or was changed" in undo(done).conflicts[0].reason
    kept.with_name("aside").rename(kept)
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before


def test_a_table_put_back_by_hand_is_undone(place: Place) -> None:
    place.decide_all()
    done = place.apply().journal
    place.table.write_bytes(CSV)
    assert "says otherwise again" in place.apply().conflicts[0].reason
    assert undo(done) == Report(done, (), ())
    assert place.apply().done != ()


@pytest.mark.parametrize("action", [Action.KEEP, Action.UNSURE, Action.UNDO])
def test_a_conflict_with_an_earlier_apply_names_the_undo_command(action: Action, place: Place) -> None:
    place.decide_all()
    done = place.apply().journal
    place.decide(*(Decision(path, action, decided_at=LATER) for path in ("train/1.png", "train/2.png")))
    report = place.apply()
    assert [c.path for c in report.conflicts] == ["train/1.png", "train/2.png", "valid/1.png"]
    assert all(f"cleaner undo {done}" in c.reason for c in report.conflicts[:2])
    undo(done)
    place.apply()
    assert b'train/1.png,cat,"a, ""b"""\r\n2,"train/2.png","dog"' in place.table.read_bytes()


def test_a_label_that_was_decided_before_the_table_changed_is_told_apart(place: Place) -> None:
    place.decide_all()
    place.apply()
    place.decide(relabel("train/3.png", "fox", label="cat", decided_at=LATER))
    assert "was relabelled to 'dog'" in place.apply().conflicts[0].reason
    place.decide(Decision("train/3.png", Action.KEEP, label="dog", decided_at=LATER))
    assert [c.path for c in place.apply().conflicts] == ["valid/1.png"]


def test_row_conflicts_are_left_alone_with_a_reason(place: Place) -> None:
    content = CSV + b"\n6,train/1.png,cat,\n7,gone.png,cat,\n8,train/3,cat,\n"
    place.table.write_bytes(content.replace(b"3,train/3.png,cat,two \xc3\xa9\r\n", b""))
    place.before = tree(place.root)
    make_scan(place.root, "cat", "dog", "fox")
    place.decide(
        delete("train/1.png"),
        relabel("train/2.png", "fox", label="cat"),
        delete("train/3.png"),
        delete("gone.png", sha256="0" * 64),
        delete("valid/1.png", sha256="0" * 64),
        relabel("=5.png", "dog"),
    )
    assert place.reasons() == {
        "train/1.png": "it is 2 times in the table; leave one row of it",
        "train/2.png": "its label is 'dog', and the decision was about 'cat'",
        "train/3.png": "it is not in the table",
        "gone.png": "the file is gone",
        "valid/1.png": "its bytes changed since the decision; look at it again",
        "=5.png": "it has the label 'dog' already",
    }
    place.decide(relabel("=5.png", "cow"))
    assert place.reasons()["=5.png"] == "there is no class 'cow'"
    (place.manifest.parent / "scan.json").unlink()
    place.decide(relabel("=5.png", "fox"))
    assert apply(place.manifest, place.root, labels=place.table, dry_run=True).planned[0].new_label == "fox"
    place.decide(relabel("=5.png", "cow"))
    assert place.reasons()["=5.png"] == "there is no class 'cow'"


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("data/labels.csv", ["train/1.png", "valid/2.png"]),
        ("data/labels.csv", ["./train/1.png", "./valid/2.png"]),
        ("data/train/labels.csv", ["1.png", "../valid/2.png"]),
        ("labels.csv", ["data/train/1.png", "data/valid/2.png"]),
        ("labels.csv", ["train/1.png", "valid/2.png"]),
        ("data/labels.csv", ["1.png", "2.png"]),
        ("elsewhere/labels.csv", ["../data/train/1.png", "2.png"]),
    ],
)
def test_a_table_may_call_files_by_several_names(table: str, names: list[str], tmp_path: Path) -> None:
    for path in ("data/train/1.png", "data/valid/2.png"):
        make(tmp_path / path)
    (tmp_path / table).parent.mkdir(exist_ok=True)
    (tmp_path / table).write_text("image,class\n" + "".join(f"{name},cat\n" for name in names) + "x,dog\n")
    manifest = tmp_path / "decisions.csv"
    Manifest(manifest).append(relabel("train/1.png", "dog", decided_at=""), delete("valid/2.png", decided_at=""))
    apply(manifest, tmp_path / "data", labels=tmp_path / table)
    assert (tmp_path / table).read_text() == f"image,class\n{names[0]},dog\nx,dog\n"


def test_a_name_that_may_be_of_two_files_is_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, b"fname,label\n1.png,cat\n2.png,cat\n")
    place.decide(delete("train/1.png"), delete("train/2.png"))
    report = place.apply()
    assert [change.path for change in report.done] == ["train/2.png"]
    assert "'1.png' may be 'train/1.png' or 'valid/1.png'" in report.conflicts[0].reason
    assert place.table.read_bytes() == b"fname,label\n1.png,cat\n"


def test_a_name_is_of_the_file_that_lies_there(tmp_path: Path) -> None:
    place = Place(tmp_path, b"fname,label\n1.png,cat\n")
    make(place.root / "1.png")
    place.decide(delete("train/1.png"))
    assert [conflict.reason for conflict in place.apply().conflicts] == ["it is not in the table"]


def test_a_table_that_is_a_link_stays_one(place: Place) -> None:
    link = place.root.parent / "link.csv"
    link.symlink_to("data/labels.csv")
    place.decide_all()
    done = apply(place.manifest, place.root, labels=link).journal
    assert link.is_symlink()
    assert place.table.read_bytes() == APPLIED
    assert place.apply().done == ()
    undo(done)
    assert tree(place.root) == place.before


def test_a_table_with_tabs(tmp_path: Path) -> None:
    place = Place(tmp_path, CSV.replace(b",", b"\t").replace(b"a\t", b"a,"), "data/labels.TSV")
    place.decide_all()
    done = place.apply().journal
    assert place.table.read_bytes() == APPLIED.replace(b",", b"\t")
    undo(done)
    assert tree(place.root) == place.before


@pytest.mark.parametrize("name", ["decisions.csv", "top_losses.csv"])
def test_a_table_that_a_scan_wrote_is_refused_as_label_table(name: str, place: Place) -> None:
    place.decide_all()
    with pytest.raises(CleanerError, match="the table that the dataset has"):
        apply(place.manifest, place.root, labels=place.manifest.with_name(name))


def test_a_table_that_is_none_or_not_there_is_an_error(place: Place) -> None:
    place.decide_all()
    for name, message in [("none.csv", "no label table"), ("train", "no label table"), ("=5.png", "is accepted")]:
        with pytest.raises(CleanerError, match=message):
            apply(place.manifest, place.root, labels=place.root / name)
    with pytest.raises(CleanerError, match="no label table"):
        apply(place.manifest, place.root, path_column="fname")


def test_folders_and_a_table_beside_each_other_do_not_mix(place: Place) -> None:
    place.decide(delete("train/1.png"))
    of_table = place.apply().journal
    of_folders = apply(place.manifest, place.root).journal
    assert (place.apply().done, apply(place.manifest, place.root).done) == ((), ())
    with pytest.raises(CleanerError, match="label table"):
        trash(of_table)
    assert undo(of_folders).conflicts == undo(of_table).conflicts == ()
    assert tree(place.root) == place.before


def interrupt(monkeypatch: pytest.MonkeyPatch, name: str, after: bool) -> None:
    real = getattr(rewrite, name)

    def stop(*given: Any, **options: Any) -> Any:
        if after:
            real(*given, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(rewrite, name, stop)


@pytest.mark.parametrize("after", [False, True])
def test_an_apply_that_was_interrupted_and_a_table_that_was_changed_since(
    after: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide_all()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_rewrite", after)
        place.apply()
    (done,) = place.manifest.parent.glob("journal-*.jsonl")
    place.table.write_bytes(place.table.read_bytes() + b"\n6,6.png,cat,\n")
    mine = place.table.read_bytes()
    assert "somebody changed the table" in undo(done).conflicts[0].reason
    assert place.table.read_bytes() == mine
    report = place.apply()
    assert len(report.done) == (0 if after else 4)
    assert place.table.read_bytes() == APPLIED + (b"\n6,6.png,cat,\n" if after else b"6,6.png,cat,\n")
    assert place.apply().done == ()


def test_a_table_that_changes_while_it_is_applied_to_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide_all()
    write = journal_lines.write_lines

    def change(*given: Any, **options: Any) -> None:
        write(*given, **options)
        place.table.write_bytes(CSV + b"x")

    with monkeypatch.context() as patch:
        patch.setattr("cleaner.core.journal.write_lines", change)
        with pytest.raises(CleanerError, match="somebody changed"):
            place.apply()
    assert place.table.read_bytes() == CSV + b"x"
    assert list(place.manifest.parent.glob("journal-*")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@in_a_light_process
def test_the_same_call_finishes_the_work_of_a_process_killed_at_any_change(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        at += 1
        place = Place(tmp_path / str(at))
        place.decide_all()
        died = in_a_process_that_dies(at, place.apply, one_step)
        assert place.table.read_bytes() in (CSV, APPLIED)
        in_a_process_that_dies(at // 2, place.apply, one_step)
        place.apply()
        (done,) = place.manifest.parent.glob("journal-*.jsonl")
        assert {**tree(place.root), "labels.csv": 0} == {**place.before, "labels.csv": 0}
        assert place.table.read_bytes() == APPLIED
        undoing = in_a_process_that_dies(at, lambda done=done: undo(done), one_step)
        assert place.table.read_bytes() in (CSV, APPLIED)
        assert undo(done).conflicts == ()
        assert tree(place.root) == place.before
        assert not list(place.manifest.parent.glob(".*.part"))
        died = died or undoing
    assert at > 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@in_a_light_process
def test_undo_removes_the_half_written_files_of_a_killed_apply(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        at += 1
        place = Place(tmp_path / str(at))
        place.decide_all()
        died = in_a_process_that_dies(at, place.apply, one_step)
        for done in place.manifest.parent.glob("journal-*.jsonl"):
            assert undo(done).conflicts == ()
            assert tree(place.root) == place.before
            assert not list(place.manifest.parent.glob(".*.part"))
    assert at > 8


def test_a_table_on_which_reviewers_disagree_is_noted(place: Place) -> None:
    place.decide(
        delete("train/1.png", reviewer="anna"), Decision("train/1.png", Action.KEEP, reviewer="bob", decided_at=TIME)
    )
    (note,) = apply(place.manifest, place.root, labels=place.table, dry_run=True).notes
    assert "'train/1.png' (anna: delete, bob: keep)" in note


def test_an_undo_that_was_interrupted_comes_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide_all()
    done = place.apply().journal
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_rewrite", after=False)
        undo(done)
    for call in (place.apply, lambda: apply(place.manifest, place.root, labels=place.table, dry_run=True)):
        with pytest.raises(CleanerError, match=f"cleaner undo {done}"):
            call()
    undo(done)
    assert tree(place.root) == place.before
    assert read(done).state is State.UNDONE


NAMES = [f"{folder}/{name}.png" for folder in ("a", "b") for name in ("1", "2", "é, x", '"')]
LABELS = ["cat", "dog", "a, b", '"q"', "é\n"]


@settings(max_examples=60)
@given(data=st.data())
def test_undo_after_apply_changes_nothing_whatever_the_table_and_the_decisions(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = data.draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(LABELS)), max_size=9))
        for path in NAMES:
            make(folder / "data" / path)
        cells = [('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
        content = "fname,label\r\n" + "".join(
            ",".join(row) + data.draw(st.sampled_from(["\n", "\r\n"])) for row in cells
        )
        table = folder / "data" / "labels.csv"
        table.write_bytes(content.encode())
        os.utime(table, ns=(10**18, 10**18 + 3))
        before = tree(folder / "data")
        manifest = make_scan(folder / "data", *LABELS)
        for path in data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
            action = data.draw(st.sampled_from([Action.DELETE, Action.RELABEL, Action.RELABEL, Action.KEEP]))
            new = data.draw(st.sampled_from([*LABELS, "no class"])) if action is Action.RELABEL else ""
            label = data.draw(st.sampled_from(["", *LABELS]))
            Manifest(manifest).append(Decision(path, action, label=label, new_label=new))
        planned = apply(manifest, folder / "data", labels=table, dry_run=True)
        assert len({change.place for change in planned.planned}) == len(planned.planned)
        report = apply(manifest, folder / "data", labels=table)
        assert report.done == planned.planned
        assert {k: v for k, v in tree(folder / "data").items() if k != "labels.csv"} == {
            k: v for k, v in before.items() if k != "labels.csv"
        }
        assert apply(manifest, folder / "data", labels=table).done == ()
        if report.journal:
            assert undo(report.journal).conflicts == ()
        assert tree(folder / "data") == before


HEADER = {
    "format": 2,
    "data": "/data",
    "table": "/data/labels.csv",
    "before": {"sha256": "0" * 64, "size": 1, "modified": 2, "mode": 0o644},
    "after": "1" * 64,
    "kept": "journal-20260131T120000Z.labels.csv",
    "written": TIME,
}
CHANGE = {
    "path": "a.png", "name": "a.png", "action": "delete", "label": "", "new_label": "", "decided_at": "", "place": 3,
}  # fmt: skip
DAMAGES: dict[str, list[Any]] = {
    "format": [{**HEADER, "format": 3}, CHANGE],
    "no data": [{**HEADER, "data": None}, CHANGE],
    "table is a number": [{**HEADER, "table": 5}, CHANGE],
    "table is relative": [{**HEADER, "table": "labels.csv"}, CHANGE],
    "no before": [{**HEADER, "before": {}}, CHANGE],
    "mode is a text": [{**HEADER, "before": {**HEADER["before"], "mode": "x"}}, CHANGE],
    "other name": [{**HEADER, "kept": "../../etc/passwd"}, CHANGE],
    "path outside": [HEADER, {**CHANGE, "path": "../a"}],
    "no such action": [HEADER, {**CHANGE, "action": "keep"}],
    "more": [HEADER, {**CHANGE, "more": 1}],
    "state": [HEADER, CHANGE, {"state": "half", "left": []}],
    "left": [HEADER, CHANGE, {"state": "finished", "left": 5}],
}


@pytest.mark.parametrize("lines", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_journal_is_an_error_that_names_it(lines: list[Any], place: Place) -> None:
    place.decide_all()
    path = place.manifest.with_name("journal-20260131T120000Z.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    calls: list[Callable[[], object]] = [lambda: undo(path), place.apply]
    for call in calls:
        with pytest.raises(CleanerError, match=r"journal-20260131T120000Z\.jsonl"):
            call()
    assert tree(place.root) == place.before


def test_a_table_that_changes_while_it_is_put_back_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.decide_all()
    done = place.apply().journal
    mark = rewrite.TableJournal.mark

    def change(journal: Any, state: State, *left: Any) -> None:
        mark(journal, state, *left)
        place.table.write_bytes(APPLIED + b"x")

    with monkeypatch.context() as patch:
        patch.setattr(rewrite.TableJournal, "mark", change)
        assert "just now" in undo(done).conflicts[0].reason
    assert place.table.read_bytes() == APPLIED + b"x"
    place.table.write_bytes(APPLIED)
    assert undo(done).conflicts == ()
    assert tree(place.root) == place.before
