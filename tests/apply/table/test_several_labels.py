"""Tables whose cells hold several labels: one is added or removed, all else stays, and undo gives the bytes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.apply import apply
from cleaner.apply.execute import Report, undo
from cleaner.apply.item_labels import SeveralLabels
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import OTHER, join_labels
from cleaner.review.session import Session
from tests.support.scans import make_label_scan, make_scan

TABLE = (
    b"\xef\xbb\xbffname,tags,note\r\n"
    b'0.png,,"a, b"\r\n'
    b'1.png,"cat",x\r\n'
    b"2.png,dog,\r\n"
    b"3.png,dog cat,y\r\n"
    b"unknown.png,fox cat,\r\n"
)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    scan = make_label_scan(tmp_path / "data", tmp_path / "scan")
    (scan.root / "labels.csv").write_bytes(TABLE)
    return scan


def decide(scan: Scan, path: str, action: Action, old: Sequence[str], new: Sequence[str] | None = None) -> None:
    new_label = "" if new is None else join_labels(new, ";")
    label, file = join_labels(old, ";"), scan.root / path
    sha256 = sha256_of(file) if file.exists() else ""
    at = "2026-01-31T12:00:00Z"
    row = Decision(path, action, label=label, new_label=new_label, sha256=sha256, decided_at=at)
    Manifest(scan.manifest_path).append(row)


def carry_out(scan: Scan, delimiter: str | None = " ") -> Report:
    return apply(
        scan.manifest_path, scan.root, labels=scan.root / "labels.csv", label_column="tags", label_delim=delimiter
    )


def test_cells_change_and_undo_gives_the_bytes_back(scan: Scan) -> None:
    decide(scan, "0.png", Action.RELABEL, (), ("cat", "fox"))
    decide(scan, "1.png", Action.RELABEL, ("cat",), ())
    decide(scan, "2.png", Action.DELETE, ("dog",))
    decide(scan, "3.png", Action.RELABEL, ("cat", "dog"), ("cat", "dog", "fox"))
    report = carry_out(scan)
    assert report.conflicts == ()
    table = scan.root / "labels.csv"
    assert table.read_bytes() == (
        b"\xef\xbb\xbffname,tags,note\r\n"
        b'0.png,cat fox,"a, b"\r\n'
        b'1.png,"",x\r\n'
        b"3.png,dog cat fox,y\r\n"
        b"unknown.png,fox cat,\r\n"
    )
    assert [(done.path, done.label, done.new_label) for done in report.done] == [
        ("0.png", ";", "cat;fox"),
        ("1.png", "cat", ";"),
        ("2.png", "dog", ""),
        ("3.png", "dog;cat", "cat;dog;fox"),
    ]
    again = carry_out(scan)
    assert (again.done, again.conflicts) == ((), ())
    assert report.journal is not None
    undone = undo(report.journal)
    assert [(back.path, back.new_label) for back in undone.done][-1] == ("0.png", ";")
    assert table.read_bytes() == TABLE
    assert len(carry_out(scan).done) == 4


def test_the_review_says_what_is_applied(scan: Scan) -> None:
    session = Session(scan, reviewer="anna")
    session.decide("3.png", "toggle", "cat")
    session.filter(label="fox")
    session.decide("3.png", "toggle", "fox")
    session.decide("1.png", "toggle", "fox")
    session.filter(label="cat")
    session.decide("1.png", "toggle", "cat")
    session.decide("0.png", "toggle", "dog")
    session.decide("0.png", "toggle", "dog")
    assert [(done.path, done.cell) for done in carry_out(scan).done] == [("3.png", "dog fox"), ("1.png", "fox")]


CONFLICTS = [
    (("0.png", Action.RELABEL, ("cat",), ("dog",)), "its labels are none, and the decision was about 'cat'"),
    (("3.png", Action.RELABEL, ("cat",), ("dog",)), "its labels are 'cat', 'dog', and the decision was about 'cat'"),
    (("3.png", Action.DELETE, ("cat",), None), "its labels are 'cat', 'dog', and the decision was about 'cat'"),
    (("3.png", Action.RELABEL, ("cat", "dog"), ("cow",)), "there is no class 'cow'"),
    (("9.png", Action.DELETE, ("cat",), None), "the file is gone"),
]


@pytest.mark.parametrize(("row", "reason"), CONFLICTS)
def test_decisions_that_do_not_fit_the_labels_are_left_alone_and_listed(
    row: tuple[str, Action, Sequence[str], Sequence[str] | None], reason: str, scan: Scan
) -> None:
    decide(scan, *row)
    report = carry_out(scan)
    assert [conflict.path for conflict in report.conflicts] == [row[0]]
    assert reason in report.conflicts[0].reason
    assert (scan.root / "labels.csv").read_bytes() == TABLE


def test_a_set_that_the_table_has_already_is_a_conflict(scan: Scan) -> None:
    Manifest(scan.manifest_path).append(Decision("3.png", Action.RELABEL, new_label="cat;dog"))
    (conflict,) = carry_out(scan).conflicts
    assert "has the labels 'dog;cat' already" in conflict.reason


def test_a_label_with_the_tables_delimiter_in_it_is_a_conflict(scan: Scan) -> None:
    spaced = replace(scan, vocab=("cat", "dog", "fox", "big dog")).write(scan.root.parent / "spaced")
    decide(spaced, "1.png", Action.RELABEL, ("cat",), ("cat", "big dog"))
    (conflict,) = carry_out(spaced).conflicts
    assert "the label 'big dog' cannot stand in a cell whose labels ' ' joins" in conflict.reason


@pytest.mark.parametrize("delimiter", [None, ""])
def test_the_delimiter_of_the_table_has_to_be_given(delimiter: str | None, scan: Scan) -> None:
    decide(scan, "1.png", Action.DELETE, ("cat",))
    with pytest.raises(CleanerError, match=r"give the delimiter of labels in a cell of the table with label_delim"):
        carry_out(scan, delimiter)
    assert (scan.root / "labels.csv").read_bytes() == TABLE


def test_a_delimiter_for_one_label_an_image_is_refused(tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", per_class=1)
    (scan.root / "labels.csv").write_text("fname,tags\n")
    decide(scan, "train/cat/cat_01.png", Action.DELETE, ("cat",))
    with pytest.raises(CleanerError, match="a scan of the task 'single-label' has no label sets"):
        carry_out(scan)
    with pytest.raises(CleanerError, match="no label table"):
        apply(scan.manifest_path, scan.root, label_delim=" ")


@pytest.mark.parametrize("delimiter", ["\n", '"', "a\rb"])
def test_a_delimiter_that_no_cell_can_have_is_refused(delimiter: str, scan: Scan) -> None:
    decide(scan, "1.png", Action.DELETE, ("cat",))
    with pytest.raises(CleanerError, match="the text between two labels in a cell is accepted"):
        carry_out(scan, delimiter)


def test_without_a_scan_the_manifest_joins_as_the_table_does(scan: Scan, tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "alone/decisions.csv")
    manifest.append(Decision("3.png", Action.RELABEL, label="cat dog", new_label="cat fox"))
    manifest.append(Decision("1.png", Action.RELABEL, label="cat", new_label="cat;dog"))
    report = apply(manifest.path, scan.root, labels=scan.root / "labels.csv", label_column="tags", label_delim=" ")
    assert [(done.path, done.cell) for done in report.done] == [("3.png", "cat fox")]
    assert "there is no class 'cat;dog'" in report.conflicts[0].reason


def test_on_folders_a_set_is_a_conflict_and_delete_moves(scan: Scan) -> None:
    decide(scan, "1.png", Action.RELABEL, ("cat",), ("dog",))
    decide(scan, "2.png", Action.DELETE, ("dog",))
    todo = apply(scan.manifest_path, scan.root, dry_run=True)
    assert [operation.source for operation in todo.planned] == ["2.png"]
    report = apply(scan.manifest_path, scan.root)
    assert [done.source for done in report.done] == ["2.png"]
    assert "several labels, a folder name holds one" in report.conflicts[0].reason
    assert report.journal is not None
    undo(report.journal)
    assert (scan.root / "2.png").exists()


def test_without_labels_delete_moves_the_file_or_drops_its_row(tmp_path: Path) -> None:
    scan = make_label_scan(tmp_path / "data", tmp_path / "label_scan")
    samples = tuple(replace(s, label="all images", predicted="all images", given=()) for s in scan.kept("train", "cat"))
    changes = {"vocab": ("all images",), "samples": samples, "losses": (), "task": OTHER, "label_delim": ""}
    other = replace(scan, **changes).write(tmp_path / "scan")
    (scan.root / "ages.csv").write_text("fname,label\n0.png,31.5\n1.png,4\n")
    Session(other, reviewer="anna").decide("0.png", Action.DELETE)
    report = apply(other.manifest_path, scan.root, labels=scan.root / "ages.csv")
    assert report.conflicts == ()
    assert (scan.root / "ages.csv").read_text() == "fname,label\n1.png,4\n"
    assert report.journal is not None
    undo(report.journal)
    report = apply(other.manifest_path, scan.root)
    assert [done.source for done in report.done] == ["0.png"]
    assert report.conflicts == ()


def test_the_command_takes_the_delimiter(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    decide(scan, "1.png", Action.RELABEL, ("cat",), ("cat", "dog"))
    command = ["apply", str(scan.manifest_path), "--data", str(scan.root), "--labels", str(scan.root / "labels.csv")]
    assert main([*command, "--label-column", "tags", "--json"]) == 2
    assert "--label-delim" in capsys.readouterr().err
    assert main([*command, "--label-column", "tags", "--label-delim", " ", "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["done"]
    assert (done["label"], done["new_label"]) == ("cat", "cat;dog")
    assert b'1.png,"cat dog",x' in (scan.root / "labels.csv").read_bytes()
    assert load(scan.folder).label_delim == ";"


LABEL = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(LABEL, unique=True), st.sets(LABEL), st.sampled_from([" ", ",", "|", ", "]))
def test_remaining_labels_keep_their_order_and_new_ones_come_last(
    before: list[str], new: set[str], delimiter: str
) -> None:
    labels = SeveralLabels(";", delimiter)
    after = labels.split(labels.changed(delimiter.join(before), join_labels(sorted(new), ";"), str))
    stays = [label for label in before if label in new]
    assert list(after[: len(stays)]) == stays
    assert set(after) == new
    assert len(after) == len(new)


def test_parquet_cells_hold_sets_too(scan: Scan) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra test brings")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, which the extra test brings")
    file = scan.root / "labels.parquet"
    parquet.write_table(pa.table({"fname": ["1.png", "3.png"], "labels": ["cat", "dog cat"]}), file)
    before = file.read_bytes()
    decide(scan, "1.png", Action.RELABEL, ("cat",), ())
    decide(scan, "3.png", Action.RELABEL, ("cat", "dog"), ("cat",))
    report = apply(scan.manifest_path, scan.root, labels=file, label_delim=" ")
    assert parquet.read_table(file)["labels"].to_pylist() == ["", "cat"]
    assert report.journal is not None
    undo(report.journal)
    assert file.read_bytes() == before
