"""The scan folder: what is written comes back, and what is damaged is named."""

from __future__ import annotations

import csv
import itertools
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import LOSS_EDGES, Action, ClassLosses, Decision, Sample, Typical, Unreadable
from cleaner.core.scan import Scan, load
from cleaner.core.scan_guard import check_out, inside_dataset, vocab_change
from cleaner.core.scan_tables import alternatives_to_json, label_to_json
from cleaner.core.tasks import MULTI_LABEL, SINGLE_LABEL
from tests.support.scan_records import as_text, make

ODD = ["a,b", 'say "cheese"', "two\nlines", "cr\rlf\r\n", "😀", "=1+1", "<b>bold</b>", " ", "", "nan", "-5", "\u2028"]
ODD += ["'=1", "''@", "'", "'a", "\n="]
# A NUL cannot be in the name of a folder, and Python 3.10 does not read it from CSV.
TEXT = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
NAMES = TEXT.map(lambda text: text.replace("/", "")).filter(lambda name: name not in ("", ".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
LOSSES = st.floats(width=32)
CONFIDENCES = st.one_of(st.floats(0, 1, width=32), st.just(math.nan))


def as_json(pairs: list[tuple[str, float]]) -> str:
    names = [label_to_json(label) for label, _ in pairs]
    return alternatives_to_json(names, enumerate(probability for _, probability in pairs))


@st.composite
def class_losses(draw: st.DrawFn, split: str, label: str) -> ClassLosses:
    """What could be said of a class: also that nothing is known of its losses, or that none was finite."""
    bins = len(LOSS_EDGES) + 1
    histogram = tuple(draw(st.one_of(st.just([]), st.lists(st.integers(0, 10**6), min_size=bins, max_size=bins))))
    not_finite = draw(st.integers(1, 10)) if not sum(histogram) else draw(st.integers(0, 10))
    histogram = histogram or (0,) * bins
    scored = sum(histogram) + not_finite
    mean = float(f"{draw(st.floats(-100, 100)):.9g}") if scored > not_finite else math.nan
    if draw(st.booleans()):
        mean, not_finite, histogram = math.nan, 0, ()
    return ClassLosses(split, label, scored, draw(st.integers(0, scored)), mean, not_finite, histogram)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Scans with any labels, splits, paths and numbers."""
    vocab = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    splits = draw(st.lists(TEXT, min_size=1, max_size=2, unique=True))
    label, split = st.sampled_from(vocab), st.sampled_from(splits)
    rank, count = st.integers(1, 10**6), st.integers(1, 10**9)
    alternatives = st.lists(st.tuples(TEXT, st.floats(0, 1, width=32)), max_size=5).map(as_json)
    sample = st.builds(Sample, split, label, rank, PATHS, LOSSES, label, CONFIDENCES, st.just(()), alternatives)
    finite = st.integers(-99, 99).map(lambda n: n / 4)
    classes = draw(st.lists(st.tuples(split, label), max_size=3, unique=True))
    return Scan(
        root=Path("/data") / draw(PATHS),
        vocab=tuple(vocab),
        splits=tuple(splits),
        k=draw(st.integers(1, 1000)),
        scored={name: draw(st.integers(0, 10**9)) for name in splits},
        samples=tuple(draw(st.lists(sample, max_size=5))),
        audit=tuple(replace(each, rank=1) for each in draw(st.lists(sample, max_size=2, unique_by=lambda s: s.label))),
        typical=tuple(draw(st.lists(st.builds(Typical, split, label, rank, PATHS, finite), max_size=3))),
        cells={name: draw(st.dictionaries(st.tuples(label, label), count, max_size=4)) for name in splits},
        unreadable=tuple(draw(st.lists(st.builds(Unreadable, split, TEXT, PATHS, TEXT), max_size=3))),
        losses=tuple(draw(class_losses(*names)) for names in classes),
        ranked_by=draw(TEXT),
        settings=draw(st.dictionaries(TEXT, st.one_of(st.integers(), TEXT, st.booleans(), st.none()), max_size=3)),
        versions=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        started=draw(TEXT),
        finished=draw(TEXT),
        left_out=draw(st.dictionaries(TEXT, st.integers(1, 10**9), max_size=3)),
    )


@given(scan=scans())
def test_a_written_scan_is_loaded_unchanged(scan: Scan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert scan.write(Path(folder, "new", "scan")) is scan
        back = load(Path(folder, "new", "scan"))
    assert as_text(back) == as_text(scan)
    assert back.folder == scan.folder == Path(folder, "new", "scan")


def paths(samples: Any) -> list[str]:
    return [sample.path.split("/")[-1] for sample in samples]


def test_kept_returns_the_samples_of_a_class_by_rank() -> None:
    scan = make(samples=tuple(reversed(make().samples)))
    assert paths(scan.kept("train", "cat")) == ["n.png", "b.png"]
    assert paths(scan.kept("train", "dog")) == ["a.png", "c.png"]
    assert scan.kept("valid", "dog") == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((99,), ["n.png", "i.png", "b.png", "a.png", "c.png"]),
        ((3,), ["n.png", "i.png", "b.png"]),
        ((99, "train"), ["n.png", "b.png", "a.png", "c.png"]),
        ((99, None, "dog"), ["a.png", "c.png"]),
        ((1, "train", "dog"), ["a.png"]),
        ((99, "valid", "dog"), []),
    ],
)
def test_worst_ranks_over_classes_with_not_finite_losses_first(arguments: Any, expected: list[str]) -> None:
    assert paths(make(samples=tuple(reversed(make().samples))).worst(*arguments)) == expected


def test_top_is_a_frame_with_the_columns_of_the_file(tmp_path: Path) -> None:
    scan = make().write(tmp_path)
    in_file = pd.read_csv(tmp_path / "top_losses.csv")
    in_file["alternatives"] = [tuple(map(tuple, json.loads(text))) for text in in_file["alternatives"]]
    worst = [sample.path for sample in scan.worst(99, "train")]
    in_split = in_file[in_file["split"] == "train"].set_index("path").loc[worst]
    pd.testing.assert_frame_equal(scan.top("train").set_index("path"), in_split, check_dtype=False)
    assert scan.top()["path"].tolist() == [sample.path for sample in scan.worst()]
    assert scan.top("train", "dog")["path"].tolist() == ["train/dog/a.png", "train/dog/c.png"]
    assert scan.top("valid", "fox").empty
    assert scan.top("valid", "fox").columns.tolist() == in_file.columns.tolist()


def test_confusion_has_the_cells_that_are_not_zero() -> None:
    frame = make().confusion("valid")
    assert frame.columns.tolist() == ["label", "predicted", "count"]
    assert frame.to_numpy().tolist() == [["cat", "fox", 5], ["cat", "cat", 1]]


def test_most_confused_returns_the_wrong_cells_highest_first() -> None:
    scan = make()
    rows = [["valid", "cat", "fox", 5], ["train", "cat", "dog", 2], ["train", "dog", "cat", 2]]
    assert scan.most_confused().columns.tolist() == ["split", "label", "predicted", "count"]
    assert scan.most_confused().to_numpy().tolist() == rows
    assert scan.most_confused("train").to_numpy().tolist() == rows[1:]
    assert scan.most_confused(min_val=3).to_numpy().tolist() == rows[:1]
    assert scan.most_confused("train", min_val=3).empty


def test_a_split_of_which_no_image_could_be_read_has_no_confusion() -> None:
    scan = make(cells={"train": {("cat", "dog"): 2}, "valid": {}})
    assert scan.confusion("valid").empty
    assert scan.most_confused().to_numpy().tolist() == [["train", "cat", "dog", 2]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda scan: scan.kept("test", "cat"),
        lambda scan: scan.kept("train", "cow"),
        lambda scan: scan.top("test"),
        lambda scan: scan.top("train", "cow"),
        lambda scan: scan.worst(5, "test"),
        lambda scan: scan.worst(5, None, "cow"),
        lambda scan: scan.worst(0),
        lambda scan: scan.confusion("test"),
        lambda scan: scan.most_confused("test"),
        lambda scan: scan.manifest_path,
    ],
)
def test_asking_for_an_unknown_split_or_class_is_an_error(ask: Callable[[Scan], object]) -> None:
    with pytest.raises(CleanerError):
        ask(make())


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab": ("cat", "dog", "fox", "cat")},
        {"vocab": ("cat", "dog")},
        {"splits": ("train",), "cells": {"train": {}}},
    ],
)
def test_a_scan_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CleanerError):
        make(**changes)


def test_a_written_scan_has_the_path_of_its_manifest(tmp_path: Path) -> None:
    assert make().write(tmp_path).manifest_path == load(tmp_path).manifest_path == tmp_path / "decisions.csv"


def test_other_programs_can_read_the_files_of_a_scan(tmp_path: Path) -> None:
    odd = Sample("train", "cat", 1, "=1.png", math.inf, "dog", 0.1, (), '[["dog", 0.1], ["cat", 0.05]]')
    unreadable = (Unreadable("valid", "cat", "-x/b.png", "two\nlines"), Unreadable("valid", "dog", "c.png", "empty"))
    typical = (Typical("train", "cat", 1, "-t.png", 0.25),)
    make(samples=(odd,), audit=(odd,), typical=typical, unreadable=unreadable).write(tmp_path)
    header = b"split,label,rank,path,loss,predicted,confidence,alternatives\r\n"
    row = b'train,cat,1,./=1.png,inf,dog,0.1,"[[""dog"", 0.1], [""cat"", 0.05]]"\r\n'
    assert (tmp_path / "top_losses.csv").read_bytes() == header + row
    without_rank = header.replace(b"rank,", b"") + row.replace(b"cat,1,", b"cat,")
    assert (tmp_path / "audit.csv").read_bytes() == without_rank
    assert (tmp_path / "typical.csv").read_bytes() == b"split,label,rank,path,loss\r\ntrain,cat,1,./-t.png,0.25\r\n"
    assert (tmp_path / "confusion.csv").read_bytes().startswith(b"split,label,predicted,count\r\ntrain,cat,cat,7\r\n")
    assert b'valid,cat,./-x/b.png,"two\nlines"\r\n' in (tmp_path / "unreadable.csv").read_bytes()
    description = json.loads((tmp_path / "scan.json").read_text(encoding="utf-8"))
    assert list(description) == [
        *("format", "root", "vocab", "splits", "k", "scored", "unreadable", "left_out"),
        *("ranked_by", "task", "label_delim", "settings", "versions", "started", "finished", "generation"),
    ]
    assert (description["format"], description["unreadable"]) == (1, {"train": 0, "valid": 2})


def test_a_scan_of_an_earlier_version_left_nothing_out(tmp_path: Path) -> None:
    make(left_out={"": 2, ".heix": 1}).write(tmp_path)
    assert load(tmp_path).left_out == {"": 2, ".heix": 1}
    described(left_out=None)(tmp_path)
    assert load(tmp_path).left_out == {}


HOSTILE = ["=cmd|'/c calc'!A0", "+1", "-train", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''-", "'plain"]


def cells_of(file: Path) -> list[str]:
    with open(file, encoding="utf-8", newline="") as opened:
        return [cell for row in csv.reader(opened) for cell in row]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell == cell.strip()


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_no_written_cell_is_a_formula(task: str, tmp_path: Path) -> None:
    vocab, several = tuple(HOSTILE), task == MULTI_LABEL
    name = HOSTILE[:3]
    samples = tuple(
        Sample(
            name[n % 3],
            label,
            1,
            f"{label.replace('/', '')}.png",
            -0.5,
            vocab[n - 1],
            0.5,
            vocab[n:] if several else (),
            json.dumps([[label, 0.5]]),
        )
        for n, label in enumerate(vocab)
    )
    scan = make(
        vocab=vocab,
        splits=tuple(name),
        scored=dict.fromkeys(name, 10),
        samples=samples,
        audit=samples,
        typical=tuple(Typical(sample.split, sample.label, 1, sample.path, -0.5) for sample in samples),
        cells={split: {} if several else dict.fromkeys(itertools.pairwise(vocab), 1) for split in name},
        unreadable=tuple(Unreadable(name[0], label, "=x.png", f"{label} cannot be read") for label in vocab),
        losses=tuple(ClassLosses(name[1], label, 3, 1, -0.25) for label in vocab),
        task=task,
        label_delim=";" if several else "",
    ).write(tmp_path / "scan")
    manifest = Manifest(scan.manifest_path)
    for n, sample in enumerate(scan.samples):
        about = {"split": sample.split, "loss": -0.5, "predicted": vocab[n - 1], "reviewer": vocab[n - 2]}
        manifest.append(Decision(sample.path, Action.RELABEL, sample.label, vocab[n - 3], **about))
    manifest.export(tmp_path / "scan/export.csv")

    files = sorted((tmp_path / "scan").glob("*.csv"))
    assert len(files) == 8
    bad = {
        file.name: [c for c in cells_of(file) if c[:1] in tuple("=+-@\t\r\n") and not is_number(c)] for file in files
    }
    assert not any(bad.values()), bad
    assert as_text(load(tmp_path / "scan")) == as_text(scan)
    for file in ("decisions.csv", "export.csv"):
        found = Manifest(tmp_path / "scan" / file).rows()
        assert [row.label for row in found] == list(vocab)
        assert [row.reviewer for row in found] == [vocab[n - 2] for n in range(len(vocab))]
        assert [row.new_label for row in found] == [vocab[n - 3] for n in range(len(vocab))]


def test_labels_in_files_of_version_0_1_are_read_unchanged(tmp_path: Path) -> None:
    make(vocab=("cat", "dog", "fox", "=x")).write(tmp_path)
    for name in ("scan.json", "top_losses.csv", "confusion.csv", "classes.csv"):
        text = (tmp_path / name).read_text(encoding="utf-8").replace("cat", "'=cat").replace("dog", "=dog")
        (tmp_path / name).write_text(text.replace("'=cat/", "cat/").replace("=dog/", "dog/"), encoding="utf-8")
    edited("scan.json", '"generation"', '"other"')(tmp_path)
    scan = load(tmp_path)
    assert scan.vocab == ("'=cat", "=dog", "fox", "=x")
    assert [sample.label for sample in scan.samples] == ["'=cat", "'=cat", "=dog", "=dog", "'=cat"]
    assert scan.cells["valid"] == {("'=cat", "fox"): 5, ("'=cat", "'=cat"): 1}


def test_scan_json_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("cleaner.core.scan_files.write_whole", lambda path, _: written.append(path.name))
    monkeypatch.setattr("cleaner.core.scan_files.ScanFiles.move", lambda _: written.append("moved"))
    make().write(tmp_path)
    assert written.pop() == "moved"
    assert sorted(written[:-1]) == [
        *("audit.csv", "classes.csv", "confusion.csv", "top_losses.csv", "typical.csv", "unreadable.csv")
    ]
    assert written[-1] == "scan.json"


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A hand that writes `new` for `old` in one of the files."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_bytes().decode()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new, 1).encode())

    return edit


def described(**changes: object) -> Callable[[Path], None]:
    """A hand that changes fields of `scan.json`; None takes one away."""

    def edit(folder: Path) -> None:
        description = {**json.loads((folder / "scan.json").read_text()), **changes}
        (folder / "scan.json").write_text(json.dumps({k: v for k, v in description.items() if v is not None}))

    return edit


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


ROW = "train,cat,2,train/cat/b.png,3,dog,0.9"
BAD_ROWS = [
    "",
    "train,cat,2,train/cat/b.png,3,dog",
    "train,cat,2,train/cat/b.png,3,dog,0.9,more",
    "train,cat,two,train/cat/b.png,3,dog,0.9",
    "train,cat,0,train/cat/b.png,3,dog,0.9",
    "train,cat,2,../b.png,3,dog,0.9",
    "train,cat,2,/b.png,3,dog,0.9",
    "train,cat,2,,3,dog,0.9",
    "train,cat,2,train/cat/b.png,high,dog,0.9",
    "train,cat,2,train/cat/b.png,3,dog,9",
    "train,cow,2,train/cat/b.png,3,dog,0.9",
    "train,cat,2,train/cat/b.png,3,cow,0.9",
    "test,cat,2,train/cat/b.png,3,dog,0.9",
    'train,cat,2,"train/cat/b.png,3,dog,0.9',
    'train,"cat"s,2,train/cat/b.png,3,dog,0.9',
]
AUDITED, TYPICAL = "train,dog,train/dog/z.png,0.5,cat,0.6,[]", "train,dog,1,train/dog/y.png,0.01"
BAD_AUDITED = [
    AUDITED.removesuffix(",[]"),
    AUDITED.replace("train,", "test,"),
    AUDITED.replace("cat", "cow"),
    AUDITED.replace("0.5", "high"),
    AUDITED.replace("train/dog", "../dog"),
]
BAD_ALTERNATIVES = [
    "",
    "[",
    "{}x",
    '"[[""cat"", 2]]"',
    '"[[""cat""]]"',
    '"[[1, 0.5]]"',
    '"[""cat"", 0.5]"',
    "[" * 9000,
    "7",
]
BAD_TYPICAL = [
    "train,dog,1,train/dog/y.png",
    TYPICAL.replace("dog,1", "dog,0"),
    TYPICAL.replace("dog,1", "dog,one"),
    TYPICAL.replace("dog,1", "cow,1"),
    TYPICAL.replace("0.01", "inf"),
    TYPICAL.replace("train/dog", "/dog"),
]
BAD_CELLS = [
    "train,cat,dog",
    "train,cat,dog,few",
    "train,cat,dog,1.5",
    "train,cat,dog,0",
    "train,cat,dog,-2",
    "test,cat,dog,2",
    "train,cow,dog,2",
    "train,cat,cow,2",
]
BAD_LOSSES = [
    "train,cat,9,2,0.5,1",
    "train,cow,9,2,0.5,1,0:6 5:2",
    "test,cat,9,2,0.5,1,0:6 5:2",
    "train,cat,9,10,0.5,1,0:6 5:2",
    "train,cat,9,-1,0.5,1,0:6 5:2",
    "train,cat,many,2,0.5,1,0:6 5:2",
    "train,cat,9,2,low,1,0:6 5:2",
    "train,cat,9,2,inf,1,0:6 5:2",
    "train,cat,9,2,0.5,10,0:6 5:2",
    "train,cat,9,2,0.5,1,0:6 5:3",
    "train,cat,9,2,0.5,1,0:6 5:few",
    "train,cat,9,2,0.5,1,0:6 3:2",
    "train,cat,9,2,0.5,1,0:10 5:-2",
]
BAD_FIELDS = [
    ("format", 2),
    ("format", None),
    ("root", None),
    ("root", 5),
    ("root", "/a\0b"),
    ("root", "/\ud800"),
    ("vocab", None),
    ("vocab", "cat"),
    ("vocab", [1, 2]),
    ("vocab", ["cat", "dog", "fox", "cat"]),
    ("splits", {}),
    ("splits", [None]),
    ("k", None),
    ("k", "2"),
    ("scored", []),
    ("scored", {"train": 5}),
    ("scored", {"train": "many", "valid": 1}),
    ("unreadable", 3),
    ("left_out", [".heix"]),
    ("left_out", {".heix": "1"}),
    ("left_out", {".heix": 0}),
    ("ranked_by", 1),
    ("settings", []),
    ("versions", "1"),
    ("started", 5),
    ("finished", None),
]
BAD_FILES = [
    ("scan.json", b""),
    ("scan.json", b"{"),
    ("scan.json", b"[1]"),
    ("scan.json", b"[" * 100_000),
    ("scan.json", b"\xff{}"),
    ("top_losses.csv", b""),
    ("top_losses.csv", b"label,split,rank,path,loss,predicted,confidence\r\n"),
    ("confusion.csv", b"split,label,predicted\r\n"),
    ("confusion.csv", b"split,label,predicted,count\r\n\xff,"),
    ("unreadable.csv", b"split,label,path,error,more\r\n"),
    ("unreadable.csv", b"split,label,path,error\r\ntrain,cat,../u.png,gone\r\n"),
]
FILES = ("scan.json", "top_losses.csv", "confusion.csv", "unreadable.csv")
DAMAGES = [
    *((name, lambda folder, name=name: (folder / name).unlink()) for name in FILES),
    *((name, lambda folder, name=name: ((folder / name).unlink(), (folder / name).mkdir())) for name in FILES),
    *((name, written(name, content)) for name, content in BAD_FILES),
    *(("scan.json", described(**{name: value})) for name, value in BAD_FIELDS),
    *(("top_losses.csv", edited("top_losses.csv", ROW, row)) for row in BAD_ROWS),
    ("classes.csv", written("classes.csv", b"")),
    ("classes.csv", lambda folder: ((folder / "classes.csv").unlink(), (folder / "classes.csv").mkdir())),
    *(("classes.csv", edited("classes.csv", "train,cat,9,2,0.5,1,0:6 5:2", row)) for row in BAD_LOSSES),
    *(("confusion.csv", edited("confusion.csv", "train,cat,dog,2", row)) for row in BAD_CELLS),
    ("audit.csv", written("audit.csv", b"")),
    *(("audit.csv", edited("audit.csv", AUDITED, row)) for row in BAD_AUDITED),
    *(("audit.csv", edited("audit.csv", AUDITED, f"{AUDITED[:-2]}{cell}")) for cell in BAD_ALTERNATIVES),
    ("typical.csv", written("typical.csv", b"split,label,path,loss\r\n")),
    *(("typical.csv", edited("typical.csv", TYPICAL, row)) for row in BAD_TYPICAL),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_scan_folder_is_an_error_that_names_the_file(
    name: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    audited, typical = Sample("train", "dog", 1, "train/dog/z.png", 0.5, "cat", 0.6), "train/dog/y.png"
    make(audit=(audited,), typical=(Typical("train", "dog", 1, typical, 0.01),)).write(tmp_path)
    damage(tmp_path)
    with pytest.raises(CleanerError) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert name in str(caught.value)


def test_a_bad_row_is_named_by_its_line(tmp_path: Path) -> None:
    make().write(tmp_path)
    edited("top_losses.csv", "train,dog,2,", "train,dog,x,")(tmp_path)
    with pytest.raises(CleanerError, match="line 5"):
        load(tmp_path)


@pytest.mark.parametrize("folder", ["nowhere", "file", "file/below"])
def test_loading_from_a_missing_folder_is_an_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CleanerError, match="is not the folder of a finished scan"):
        load(tmp_path / folder)


VOCAB = ("cat", "dog", "fox")


def test_a_scan_may_be_written_to_a_new_or_empty_folder_or_over_one_of_the_same_dataset(tmp_path: Path) -> None:
    check_out(tmp_path / "new", Path("/data"), VOCAB)
    check_out(tmp_path, Path("/data"), VOCAB)
    make().write(tmp_path)
    (tmp_path / "notes.txt").write_text("of a person")
    check_out(tmp_path, Path("/data"), reversed(VOCAB))


def test_files_of_an_unfinished_scan_and_its_review_are_accepted(tmp_path: Path) -> None:
    for name in (
        "top_losses.csv",
        "confusion.csv",
        "classes.csv",
        ".scan.json.x.part",
        ".scan.lock",
        ".scan.holder",
        ".scan-0123abcd",
        "decisions.csv",
        "decisions.csv.lock",
    ):
        (tmp_path / name).write_text("")
    for name in ("decisions.csv.torn-17", "journal-20260131T120000Z.jsonl", "apply.lock"):
        (tmp_path / name).write_text("")
    (tmp_path / "checkpoint").mkdir()
    check_out(tmp_path, Path("/data"), VOCAB)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("")
    with pytest.raises(CleanerError, match=r"thesis\.docx"):
        check_out(tmp_path, Path("/data"), VOCAB)


def test_a_file_in_place_of_the_scan_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan").write_text("")
    with pytest.raises(CleanerError, match="is a file"):
        check_out(tmp_path / "scan", Path("/data"), VOCAB)


@pytest.mark.parametrize(
    ("root", "vocab", "message"),
    [("/other", VOCAB, "another dataset"), ("/data", ("cow", "horse"), "labels")],
)
def test_the_scan_of_another_dataset_is_not_overwritten(
    root: str, vocab: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    make().write(tmp_path)
    with pytest.raises(CleanerError, match=message):
        check_out(tmp_path, Path(root), vocab)


def test_a_scan_with_a_changed_vocabulary_is_replaced_with_a_note(tmp_path: Path) -> None:
    make().write(tmp_path)
    now = (*VOCAB[:-1], "cow")
    check_out(tmp_path, Path("/data"), now)
    assert vocab_change(tmp_path, now).endswith(f"the vocabulary lost {VOCAB[-1]!r} and gained 'cow'")
    assert vocab_change(tmp_path, VOCAB) == vocab_change(tmp_path / "new", VOCAB) == ""


def test_a_damaged_scan_is_not_overwritten(tmp_path: Path) -> None:
    make().write(tmp_path)
    (tmp_path / "scan.json").write_text("{")
    with pytest.raises(CleanerError, match=r"scan\.json"):
        check_out(tmp_path, Path("/data"), VOCAB)


def test_a_changed_copy_of_a_scan_keeps_no_cached_samples() -> None:
    scan = make()
    scan.kept("train", "cat")
    assert replace(scan, samples=()).kept("train", "cat") == ()


def test_class_counts_come_from_all_samples_or_from_the_confusion() -> None:
    scan = make()
    assert [(each.label, each.scored, each.predicted_otherwise) for each in scan.of_classes("train")] == [
        ("cat", 9, 2),
        ("dog", 11, 2),
    ]
    cat, dog = scan.of_classes("train")
    assert (cat.mean_loss, cat.not_finite, sum(cat.histogram)) == (0.5, 1, 8)
    assert math.isnan(dog.mean_loss)
    assert dog.histogram == ()
    frame = scan.classes("train")
    assert scan.classes()["split"].unique().tolist() == list(scan.splits)
    assert frame.columns.tolist() == [field.name for field in fields(ClassLosses)]
    assert frame["label"].tolist() == ["cat", "dog"]
    with pytest.raises(CleanerError, match="no split"):
        scan.classes("test")


def test_a_scan_folder_from_before_there_were_classes_is_read(tmp_path: Path) -> None:
    make().write(tmp_path)
    (tmp_path / "classes.csv").unlink()
    scan = load(tmp_path)
    assert scan.losses == ()
    assert [(each.label, each.scored) for each in scan.of_classes("valid")] == [("cat", 6)]


def test_class_losses_of_an_earlier_scan_are_removed(tmp_path: Path) -> None:
    make().write(tmp_path)
    make(losses=()).write(tmp_path)
    assert load(tmp_path).losses == ()


def test_the_bins_of_a_histogram_are_named_by_their_lower_edges(tmp_path: Path) -> None:
    make().write(tmp_path)
    assert (tmp_path / "classes.csv").read_bytes() == (
        b"split,label,scored,predicted_otherwise,mean_loss,not_finite,histogram\r\ntrain,cat,9,2,0.5,1,0:6 5:2\r\n"
    )


def test_a_scan_of_an_earlier_version_has_no_alternatives_and_no_audit(tmp_path: Path) -> None:
    scan = make().write(tmp_path)
    for name in ("audit.csv", "typical.csv"):
        (tmp_path / name).unlink()
    lines = (tmp_path / "top_losses.csv").read_text().splitlines()
    (tmp_path / "top_losses.csv").write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    old = load(tmp_path)
    assert (tuple(old.audit), tuple(old.typical)) == ((), ())
    assert as_text(old)["samples"] == as_text(scan)["samples"]
    assert {sample.alternatives for sample in old.samples} == {()}


def test_the_audit_sample_is_loaded_in_its_order(tmp_path: Path) -> None:
    random = [
        Sample("train", label, rank, f"{label}{rank}.png", 0.1, "cat", 0.9)
        for label in ("cat", "dog")
        for rank in (1, 2, 3)
    ]
    make(audit=tuple(random)).write(tmp_path)
    scan = load(tmp_path)
    assert list(scan.audit) == random
    assert scan.by_path()["dog2.png"] == random[4]
    assert all(sample.path not in {each.path for each in random} for sample in scan.samples)


@pytest.mark.parametrize(
    ("folder", "is_inside"),
    [("data/scan", True), ("link/scan", True), ("scan", False), ("data-2", False), ("data", False)],
)
def test_a_scan_folder_in_the_dataset_is_told(folder: str, is_inside: bool, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    text = inside_dataset(tmp_path / folder, tmp_path / "data")
    assert bool(text) is is_inside
    assert not text or "ImageFolder takes it for a class" in text
