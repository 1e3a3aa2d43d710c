"""The manifest: what is decided stays decided, whoever else writes to the file and however a write ends."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core import manifest as manifest_module
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import COLUMNS, Manifest
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.records import Action, Decision

HEADER = b"path,action,label,new_label,split,loss,predicted,sha256,reviewer,decided_at\r\n"
SHA256 = "0123456789abcdef" * 4
TIME = "2026-01-31T12:00:00.123Z"
# With all that a tear can hit: quotes, a comma, line ends and characters of two to four bytes.
ODD = Decision(
    path='=c,a"t/é😀.png',
    action=Action.RELABEL,
    label="two\nlines",
    new_label="a, b\r\n",
    split="train",
    loss=1.5,
    predicted='"',
    sha256=SHA256,
    reviewer="Zoë",
    decided_at=TIME,
)
ODD_TEXTS = ["a,b", 'say "cheese"', '"', "two\nlines", "cr\rlf\r\n", "😀", "=1+1", "<b>bold</b>", "<Delete>", " ", "-5"]
ODD_TEXTS += ["'=1", "''@", "'", "'a", "\n="]
# A NUL cannot be in the name of a file, and Python 3.10 does not read it from CSV.
TEXT = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
NAMES = TEXT.map(lambda text: text.replace("/", "")).filter(lambda name: name not in ("", ".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    action = draw(st.sampled_from(Action))
    return Decision(
        path=draw(PATHS),
        action=action,
        label=draw(TEXT),
        new_label=draw(TEXT.filter(bool)) if action is Action.RELABEL else "",
        split=draw(TEXT),
        loss=draw(st.floats(width=32)),
        predicted=draw(TEXT),
        sha256=draw(st.sampled_from(["", SHA256])),
        reviewer=draw(TEXT),
        decided_at=draw(st.sampled_from(["", TIME, "2026-01-31T12:00:00+00:00"])),
    )


def keep(path: str, **changes: Any) -> Decision:
    return Decision(**{"path": path, "action": Action.KEEP, "decided_at": TIME, **changes})


def as_text(rows: list[Decision]) -> list[str]:
    """As text, so that NaN equals NaN; the file holds numbers as float32."""
    return [repr(replace(row, loss=float(np.float32(row.loss)))) for row in rows]


def paths(manifest: Manifest) -> list[str]:
    return list(manifest.standing())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.csv"


@given(batches=st.lists(st.lists(decisions(), max_size=3), max_size=4))
def test_every_decision_comes_back_as_it_was_taken(batches: list[list[Decision]]) -> None:
    rows = [row for batch in batches for row in batch]
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(Path(folder, "decisions.csv"))
        for batch in batches:
            manifest.append(*batch)
        assert as_text(manifest.rows()) == as_text(rows)
        again = Manifest(manifest.path)
        assert as_text(again.rows()) == as_text(rows)
        assert again.warnings == []
    standing = {row.path: row for row in rows}
    expected = [row for row in standing.values() if row.action is not Action.UNDO]
    for each in (manifest, again):
        assert sorted(as_text(list(each.standing().values()))) == sorted(as_text(expected))


CELLS = {
    "path": [
        *("a.png", "cat/b c.png", "é/ü.png", "./-c.png", "a/./b", "../x", "/x", "x/", "a//b", "", ".", "a."),
        *("./../b", "..a", "././a"),
    ],
    "action": ["keep", "delete", "relabel", "unsure", "undo", "Keep", "relabeX", ""],
    "label": ["", "cat", "-5", "a b"],
    "new_label": ["", "dog"],
    "loss": ["", "1.5", "nan", "-inf", "1e-05", "1_0", " 2", "high", "１"],
    "sha256": ["", SHA256, SHA256.upper(), SHA256[:-1], SHA256[:-1] + "é", "g" * 64],
    "decided_at": [
        *("", TIME, "2026-01-31T12:00:00Z", "2026-02-29T12:00:00Z", "2024-02-29T12:00:00Z", "2026-13-01T12:00:00Z"),
        *("2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:00:60Z", "2026-01-31T12:00:00+00:00"),
        *("2026-01-31T12:00:00+01:00", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2o26-01-31T12:00:00Z"),
        *("2026-01-31T12:0::00Z", "2026-01-31T12:00:00.1x3Z"),
    ],
}
PLAIN = dict.fromkeys([*COLUMNS, "note"], "") | {"path": "a.png", "action": "keep", "note": "n"}
LINES = ["{}\r\n", "{}\n", "{},\r\n", "\r\n{}\n", "{}\r\r\n", '"{}"\n', "{}\0\n", "{}\x0bx\n", "a\rb{}\n"]


@given(
    columns=st.permutations(list(PLAIN)),
    changes=st.lists(
        st.sampled_from(list(CELLS)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(CELLS[name]))),
        max_size=3,
    ),
    line=st.sampled_from(LINES),
)
def test_reading_rows_in_bulk_equals_reading_them_one_by_one(
    columns: list[str], changes: list[tuple[str, str]], line: str
) -> None:
    plain, changed = (",".join(cells[name] for name in columns) for cells in (PLAIN, PLAIN | dict(changes)))
    header = f"{','.join(columns)}\n"
    text = f"{plain}\r\n{line.format(changed)}{plain}\n"

    def read() -> object:
        rows = ManifestRows("file")
        try:
            torn = rows.add(header.encode()) + rows.add(text.encode())
        except CleanerError as error:
            return str(error)
        return as_text([rows.row(n) for n in range(rows.count)]), as_text(list(rows.values())), torn

    together = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cleaner.core.manifest_rows._Reader._take_block", lambda *_: False)
        assert read() == together


def test_rows_written_by_cleaner_are_read_in_bulk(path: Path) -> None:
    Manifest(path).append(
        keep("a/é.png", label="cat", split="train", loss=1e-7, predicted="x", sha256=SHA256, reviewer="Zoë"),
        keep("=b.png", label="=cat", split="-train", loss=-1.5, predicted="'+x", sha256=SHA256, reviewer="@Zoë"),
        keep("b.png", action=Action.RELABEL, new_label="dog", loss=math.inf, predicted="dog"),
        keep("-c.png", action=Action.UNDO, decided_at="2026-01-31T12:00:00Z"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cleaner.core.manifest_rows._Reader._parse", None)  # reads a single row
        rows = ManifestRows("file")
        assert rows.add(path.read_bytes()) == b""
    assert [row.path for row in map(rows.row, range(rows.count))] == ["a/é.png", "=b.png", "b.png", "-c.png"]
    assert list(rows) == ["a/é.png", "=b.png", "b.png"]


@pytest.mark.parametrize("odd", [None, ODD])
def test_a_manifest_of_many_blocks_is_read_whole(
    odd: Decision | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cleaner.core.manifest_rows._BLOCK", 300)
    rows = [keep(f"{n % 60}.png", action=[Action.KEEP, Action.UNDO][n % 7 == 0]) for n in range(100)]
    if odd is not None:
        rows[50] = odd
    grown, by_path = Manifest(path), dict[str, list[Decision]]()
    for row in rows:
        grown.append(row)
        by_path.setdefault(row.path, []).append(row)
    last = [said[-1] for said in by_path.values()]
    for manifest in (grown, Manifest(path)):
        standing = manifest.standing()
        assert as_text(manifest.rows()) == as_text(rows)
        assert {name: as_text(standing.all_for(name)) for name in by_path} == {
            n: as_text(r) for n, r in by_path.items()
        }
        assert as_text(list(manifest.latest().values())) == as_text(last)
        assert as_text(list(standing.values())) == as_text([row for row in last if row.action is not Action.UNDO])
        assert len(standing) == len(list(standing))
    with open(path, "ab") as file:
        file.write(b"x.png,drop\r\n")
    lines = path.read_bytes().count(b"\n")
    for read in (grown.refresh, lambda: Manifest(path)):
        with pytest.raises(CleanerError, match=f"line {lines}, column 'action'"):
            read()
    assert len(grown.rows()) == 100


def test_only_the_end_of_a_large_manifest_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleaner.core.manifest._LOOK_BACK", 1000)
    manifest, other = Manifest(path), Manifest(path)
    manifest.append(*(keep(f"{n}.png") for n in range(100)))
    other.refresh()
    begins, read = [], manifest_module._bytes_of
    monkeypatch.setattr(
        manifest_module, "_bytes_of", lambda path, begin=0: (begins.append(begin), read(path, begin))[1]
    )
    size = path.stat().st_size
    manifest.append(keep("a.png"))
    assert other.refresh()
    assert begins == [size - 1000] * 2
    assert list(other.standing()) == list(manifest.standing())
    assert list(other.standing())[-1] == "a.png"
    edit(path, path.read_bytes().replace(b"99.png", b"x9.png"))
    assert other.refresh()
    assert "x9.png" in other.standing()


def test_the_first_decision_makes_the_file_and_its_folder(path: Path) -> None:
    manifest = Manifest(path.parent / "new" / "folder" / path.name)
    assert (manifest.rows(), manifest.standing()) == ([], {})
    manifest.append(keep("a.png"))
    assert manifest.path.read_bytes() == HEADER + b"a.png,keep,,,,,,,," + TIME.encode() + b"\r\n"


def test_opening_a_missing_manifest_as_existing_is_an_error(path: Path) -> None:
    with pytest.raises(CleanerError, match="there is no manifest"):
        Manifest.existing(path)
    Manifest(path).append(keep("a.png"))
    assert paths(Manifest.existing(path)) == ["a.png"]


def test_the_last_row_of_a_path_counts_and_undo_makes_it_undecided(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"), keep("b.png"))
    manifest.append(keep("a.png", action=Action.RELABEL, new_label="dog"), keep("b.png", action=Action.UNDO))
    assert {p: d.new_label for p, d in manifest.standing().items()} == {"a.png": "dog"}
    assert len(manifest.rows()) == 4
    manifest.append(keep("b.png", action=Action.DELETE), keep("a.png", action=Action.UNDO))
    assert {p: d.action for p, d in manifest.standing().items()} == {"b.png": Action.DELETE}


def test_the_formula_guard_is_in_the_bytes_of_the_file(path: Path) -> None:
    guarded = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png"]
    manifest = Manifest(path)
    manifest.append(*map(keep, guarded))
    cells = [line.split(b",")[0].strip(b'"') for line in path.read_bytes().split(b"\r\n")[1:-1]]
    assert cells == [f"./{name}".encode() for name in guarded]
    assert paths(manifest) == paths(Manifest(path)) == guarded


def test_pandas_reads_the_file(path: Path) -> None:
    Manifest(path).append(ODD, keep("a.png", loss=math.inf, predicted="dog"), keep("b.png"))
    frame = pd.read_csv(path, keep_default_na=False, na_values={"loss": [""]})
    assert frame.columns.tolist() == list(COLUMNS)
    assert frame["path"].tolist() == ['./=c,a"t/é😀.png', "a.png", "b.png"]
    assert frame["new_label"].tolist() == ["a, b\r\n", "", ""]
    assert frame["loss"].tolist()[:2] == [1.5, math.inf]
    assert math.isnan(frame["loss"][2])


def test_the_data_frame_has_the_current_decisions(path: Path) -> None:
    manifest = Manifest(path)
    assert manifest.decisions().columns.tolist() == list(COLUMNS)
    assert manifest.decisions().empty
    manifest.append(keep("b.png", action=Action.UNDO), ODD, keep("a.png"))
    frame = manifest.decisions()
    assert frame["path"].tolist() == [ODD.path, "a.png"]
    assert frame["action"].tolist() == ["relabel", "keep"]
    assert frame["loss"].dtype == float
    assert frame["loss"][0] == 1.5
    assert math.isnan(frame["loss"][1])


def test_export_writes_one_row_a_path(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("=a.png"), ODD, keep("b.png"))
    manifest.append(keep("=a.png", action=Action.DELETE), keep("b.png", action=Action.UNDO))
    out = path.with_name("out.csv")
    assert manifest.export(out) == 2
    assert out.read_bytes().startswith(HEADER)
    assert as_text(Manifest(out).rows()) == as_text(list(manifest.standing().values()))


def test_an_earlier_export_is_replaced(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"), ODD)
    out = path.with_name("out.csv")
    manifest.export(out)
    manifest.append(keep("b.png"))
    assert manifest.export(out) == 3
    assert paths(Manifest(out)) == ["a.png", ODD.path, "b.png"]


def test_export_replaces_nothing_but_an_export(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"), keep("a.png", action=Action.DELETE))
    (path.parent / "scan").mkdir()
    for name, content in {
        "scan.json": b"{}",
        "empty.csv": b"",
        "binary": b"\xff\0",
        "table.csv": b"path,action\r\n",
        "history.csv": path.read_bytes(),
        "scan/decisions.csv": HEADER + b"b.png,keep\r\n",
        "scan/scan.json": b"{}",
    }.items():
        (path.parent / name).write_bytes(content)
    (path.parent / "link.csv").symlink_to(path)
    (path.parent / "broken.csv").symlink_to("nowhere")
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    refused = [path, path.parent / "." / path.name, *before, path.parent / "scan", path.parent / "broken.csv"]
    for out in refused:
        with pytest.raises(CleanerError, match="not an earlier export"):
            manifest.export(out)
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before


def test_a_manifest_of_one_row_is_not_replaced_by_its_own_export(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"))
    with pytest.raises(CleanerError, match="not an earlier export"):
        manifest.export(path)


def test_export_to_a_folder_that_is_not_there_is_an_error_that_names_the_file(path: Path) -> None:
    with pytest.raises(CleanerError, match=r"none/out\.csv' cannot be written .*a folder that exists"):
        Manifest(path).export(path.parent / "none" / "out.csv")


def test_the_latest_rows_include_undone_decisions(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"), keep("b.png"), keep("a.png", action=Action.UNDO))
    assert {p: d.action for p, d in manifest.latest().items()} == {"a.png": Action.UNDO, "b.png": Action.KEEP}


def row_of(decision: Decision, folder: Path) -> bytes:
    """The bytes that a decision has in the file."""
    Manifest(folder / "row.csv").append(decision)
    return (folder / "row.csv").read_bytes()[len(HEADER) :]


@pytest.mark.parametrize("torn", [ODD, keep("b.png"), keep("b😀.png", decided_at="")], ids=["odd", "plain", "no time"])
def test_a_row_torn_at_any_byte_is_set_aside_and_the_next_decision_is_taken(torn: Decision, path: Path) -> None:
    before = HEADER + row_of(ODD, path.parent) + row_of(keep("a.png"), path.parent / "2")
    row = row_of(torn, path.parent / "3")
    whole = row.removesuffix(b"\r\n")
    for size in range(1, len(row)):
        path.write_bytes(before + row[:size])
        manifest = Manifest(path)
        is_whole = size >= len(whole) and torn.decided_at  # but for its line end
        assert as_text(manifest.rows()) == as_text([ODD, keep("a.png"), *([torn] if is_whole else [])]), row[:size]
        assert len(manifest.warnings) == (0 if is_whole else 1)
        assert path.read_bytes() == before + row[:size]  # who reads changes nothing
        manifest.append(keep("next.png"))
        set_aside = list(path.parent.glob("decisions.csv.torn-*"))
        assert [file.read_bytes() for file in set_aside] == ([] if is_whole else [row[:size]])
        assert all(file.name in manifest.warnings[1] for file in set_aside)
        assert as_text(Manifest(path).rows()) == as_text(manifest.rows())
        assert manifest.rows()[-1].path == "next.png"
        assert path.read_bytes().startswith(before)
        for file in set_aside:
            file.unlink()


def test_a_header_torn_at_any_byte_is_set_aside(path: Path) -> None:
    for size in range(len(HEADER)):
        path.write_bytes(HEADER[:size])
        manifest = Manifest(path)
        assert manifest.rows() == []
        assert path.read_bytes() == HEADER[:size]
        manifest.append(keep("a.png"))
        assert path.read_bytes() == HEADER + row_of(keep("a.png"), path.parent / str(size))


@pytest.mark.parametrize("content", [b"buy milk", b"a,b", b"pathology", b"path;act", b"\0" * 512, b"\xff", b'"path'])
def test_a_file_that_has_no_header_is_an_error_and_stays(content: bytes, path: Path) -> None:
    opened_before = Manifest(path)
    path.write_bytes(content)
    for call in (lambda: Manifest(path), opened_before.refresh, lambda: opened_before.append(keep("a.png"))):
        with pytest.raises(CleanerError, match="line 1"):
            call()
        assert path.read_bytes() == content
    assert list(path.parent.glob("*.torn-*")) == []


def test_a_tail_of_garbage_is_set_aside(path: Path) -> None:
    before = HEADER + b"a.png,keep\r\n"
    for garbage in (b"\0" * 512, b"\xff\xfe\x00", b'"\xc3', b"\x1f\x8b,,,"):
        path.write_bytes(before + garbage)
        manifest = Manifest(path)
        assert paths(manifest) == ["a.png"]
        assert len(manifest.warnings) == 1
        assert path.read_bytes() == before + garbage
        manifest.append()
        assert path.read_bytes() == before


def test_a_torn_row_is_reported_with_its_text_once(path: Path) -> None:
    path.write_bytes(HEADER + b"a.png,keep\r\nb.png,delete")
    manifest = Manifest(path)
    edit(path, path.read_bytes())
    assert manifest.refresh()
    assert len(manifest.warnings) == 1
    assert "b.png,delete" in manifest.warnings[0]
    assert "line end" in manifest.warnings[0]


def test_two_tears_at_one_place_are_both_kept(path: Path) -> None:
    for torn in (b"b.png,ke", b"c.png,k"):
        path.write_bytes(HEADER + b"a.png,keep\r\n" + torn)
        Manifest(path).append()
    assert sorted(file.read_bytes() for file in path.parent.glob("*.torn-*")) == [b"b.png,ke", b"c.png,k"]


def test_a_tear_that_another_process_leaves_is_found_by_the_next_append(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"))
    with open(path, "ab") as file:
        file.write(b"b.png,del")
    manifest.append(keep("c.png"))
    assert paths(manifest) == paths(Manifest(path)) == ["a.png", "c.png"]
    assert len(manifest.warnings) == 1
    assert "torn-" in manifest.warnings[0]


def edit(path: Path, content: bytes) -> None:
    """As another program writes: at a later time than all before, whatever the clock of the file system can tell."""
    later = path.stat().st_mtime_ns + 10**9 if path.exists() else None
    path.write_bytes(content)
    if later is not None:
        os.utime(path, ns=(later, later))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"\xef\xbb\xbf" + HEADER + b"a.png,keep,,,,,,,,\r\n", ["a.png"], id="BOM"),
        pytest.param(HEADER.replace(b"\r", b"") + b"a.png,keep\nb.png,keep\n", ["a.png", "b.png"], id="LF"),
        pytest.param(b"action,path\r\nkeep,a.png\r\n", ["a.png"], id="other order, few columns"),
        pytest.param(b"path,action\r\na.png,keep\r\n", ["a.png"], id="only what is required"),
        pytest.param(b"note,path,action,\r\nx,a.png,keep,y\r\n", ["a.png"], id="extra columns"),
        pytest.param(b" path , action \r\na.png,keep\r\n", ["a.png"], id="spaces in the header"),
        pytest.param(HEADER + b"a.png,keep\r\n\r\n,,,,,,,,,\r\n\r\n", ["a.png"], id="blank lines"),
        pytest.param(b'"path","action"\r\n"a.png","keep"\r\n', ["a.png"], id="all in quotes"),
        pytest.param(HEADER + b"./cat/a.png,keep\r\n", ["cat/a.png"], id="a leading dot"),
        pytest.param(HEADER + b"a.png,keep,,,,,,,,2026-01-31T12:00:00Z", ["a.png"], id="no line end, with time"),
        pytest.param(b"path,action\r\na.png,keep\r\nb.png,delete", ["a.png", "b.png"], id="no line end, with action"),
        pytest.param(b"path,action\nb.png,delete", ["b.png"], id="no line end, LF"),
        pytest.param(HEADER.strip(), [], id="a header without line end"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_files_of_people_and_spreadsheets_are_read_and_extended(
    content: bytes, expected: list[str], path: Path
) -> None:
    path.write_bytes(content)
    manifest = Manifest(path)
    assert paths(manifest) == expected
    manifest.append(ODD)
    manifest.append(keep("z.png"))
    for each in (manifest, Manifest(path)):
        assert paths(each) == [*expected, ODD.path, "z.png"]
        assert as_text(each.rows()[-2:-1]) == as_text([ODD])  # nothing of it was lost to columns that were not there
        assert each.warnings == []
    assert path.read_bytes().startswith(content[:3])


@pytest.mark.parametrize("last", ["path", "label", "new_label", "predicted", "reviewer", "note"])
def test_a_last_row_without_line_end_counts_as_torn(last: str, path: Path) -> None:
    # As a spreadsheet may order the columns; the tear took the end of the last cell.
    header = ",".join([*(name for name in COLUMNS if name != last), last]).encode()
    cells = {"path": "a.png", "action": "relabel", "new_label": "do", "decided_at": TIME, last: "do"}
    row = ",".join(cells.get(name, "") for name in header.decode().split(",")).encode()
    path.write_bytes(header + b"\r\n" + row)
    manifest = Manifest(path)
    assert manifest.rows() == []
    assert len(manifest.warnings) == 1


@pytest.mark.parametrize(
    ("line", "row", "column", "value", "accepted"),
    [
        (2, b"a.png,Delete", "action", "Delete", "keep, delete, relabel, unsure, undo"),
        (2, b"a.png,", "action", "", "keep, delete, relabel, unsure, undo"),
        (2, b"a.png", "action", "", "keep, delete, relabel, unsure, undo"),
        (2, b",keep", "path", "", "expected a path relative to the dataset's folder"),
        (2, b"../a.png,keep", "path", "../a.png", "expected a path relative to the dataset's folder"),
        (2, b"/a.png,keep", "path", "/a.png", "expected a path relative to the dataset's folder"),
        (2, b"a.png,relabel", "new_label", "", "needs the new label"),
        (2, b"a.png,keep,cat,dog", "new_label", "dog", "leave it empty"),
        (2, b"a.png,keep,,,,high", "loss", "high", "a number, nan or inf"),
        (2, b'a.png,keep,,,,"1,5"', "loss", "1,5", "a number, nan or inf"),
        (2, b"a.png,keep,,,,,,1.2E+63", "sha256", "1.2E+63", "64 lower-case hexadecimal digits"),
        (2, b"a.png,keep,,,,,,,,31.01.2026 12:00", "decided_at", "31.01.2026 12:00", "2026-01-31T12:00:00Z"),
        (5, b'"x\r\ny.png",keep\r\n\r\na.png,drop', "action", "drop", "keep, delete"),
    ],
)
def test_an_invalid_row_is_an_error_with_line_and_column(
    line: int, row: bytes, column: str, value: str, accepted: str, path: Path
) -> None:
    path.write_bytes(HEADER + row + b"\r\n")
    with pytest.raises(CleanerError) as caught:
        Manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{str(path)!r}, line {line}, column {column!r}: ")
    assert repr(value) in message
    assert accepted in message
    assert path.read_bytes() == HEADER + row + b"\r\n"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"path;action\r\na.png;keep\r\n", 1, "commas"),
        (b"label,action\r\ncat,keep\r\n", 1, "'path'"),
        (b"path,action,path\r\na.png,keep,b.png\r\n", 1, "'path' once"),
        (b"path,action\ra.png,keep\r", 1, "not CSV"),
        (HEADER + b"a.png,keep,,,,,,,,,\r\n", 2, "11 cells"),
        (HEADER + b"a,b.png,keep,,,,,,,,\r\n", 2, "11 cells"),
        (HEADER + b"a.png,keep\r\nb\xff.png,keep\r\nc.png,keep\r\n", 3, "UTF-8"),
        (HEADER + b"a.png,keep\r\nb\xff.png,keep\r\n", 3, "UTF-8"),
        (HEADER + b'a.png,keep\r\n"b"s.png,keep\r\nc.png,keep\r\n', 3, "not CSV"),
        (HEADER + b'a.png,keep\r\n"b"s.png,keep\r\n', 3, "not CSV"),
        (HEADER + b'a.png,keep\r\n"b.png,keep\r\nc.png,keep\r\nd.png,keep\r\n', 3, "not CSV"),
        (HEADER + b'a.png,keep\r\n"b.png,keep\r\nc.png,keep\r\nd.p', 3, "not CSV"),
    ],
)
def test_a_file_that_is_no_table_is_an_error_and_stays(content: bytes, line: int, reason: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(CleanerError, match=f"line {line}\\b") as caught:
        Manifest(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert path.read_bytes() == content


def test_a_manifest_that_cannot_be_read_is_an_error_that_names_it(path: Path) -> None:
    path.mkdir()
    with pytest.raises(CleanerError, match=r"decisions\.csv"):
        Manifest(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(b"a.png", b"x.png"), id="same size"),
        pytest.param(lambda data: data.replace(b"a.png", b"x_longer.png"), id="longer"),
        pytest.param(lambda data: data.replace(b"a.png", b"x"), id="shorter"),
        pytest.param(lambda _: b"action,path\nkeep,x.png\nkeep,b.png\n", id="another table"),
    ],
)
@pytest.mark.parametrize("as_new_file", [False, True], ids=["in place", "replaced"])
def test_changes_of_other_programs_are_noticed(change: Callable[[bytes], bytes], as_new_file: bool, path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"), keep("b.png"))
    assert not manifest.refresh()
    changed = change(path.read_bytes())
    if as_new_file:
        edit(path.with_name("new"), changed)
        path.with_name("new").replace(path)
    else:
        edit(path, changed)
    assert manifest.refresh()
    assert not manifest.refresh()
    assert paths(manifest) == paths(Manifest(path))
    assert paths(manifest)[0].startswith("x")
    edit(path, change(path.read_bytes()).replace(b"b.png", b"y.png"))
    manifest.append(keep("c.png"))
    assert paths(manifest) == paths(Manifest(path))
    assert paths(manifest)[1:] == ["y.png", "c.png"]


def test_a_change_while_the_file_is_read_is_noticed_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_before_an_edit(file: Path) -> bytes:
        monkeypatch.undo()
        data = file.read_bytes()
        edit(file, data.replace(b"a.png", b"x.png"))
        return data

    path.write_bytes(HEADER + b"a.png,keep\r\n")
    monkeypatch.setattr("cleaner.core.manifest._bytes_of", read_before_an_edit)
    manifest = Manifest(path)
    assert paths(manifest) == ["a.png"]
    assert manifest.refresh()
    assert paths(manifest) == ["x.png"]


def test_rows_of_others_and_a_removed_file_are_noticed(path: Path) -> None:
    one, other = Manifest(path), Manifest(path)
    one.append(keep("a.png"))
    assert other.refresh()
    other.append(keep("b.png"))
    one.append(keep("c.png"))
    assert other.refresh()
    assert paths(one) == paths(other) == ["a.png", "b.png", "c.png"]
    path.unlink()
    assert one.refresh()
    assert (one.rows(), one.standing()) == ([], {})
    other.append(keep("d.png"))
    assert paths(other) == paths(Manifest(path)) == ["d.png"]


def test_an_invalid_row_of_others_keeps_earlier_rows_until_repaired(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(keep("a.png"))
    good = path.read_bytes()
    for begin in (good, good.replace(b"a.png", b"x.png")):
        edit(path, begin + b"b.png,keep\r\nc.png,drop\r\n")
        for _ in range(2):
            with pytest.raises(CleanerError, match="line 4, column 'action'"):
                manifest.refresh()
            assert paths(manifest) == ["a.png"]
        with pytest.raises(CleanerError, match="line 4, column 'action'"):
            manifest.append(keep("d.png"))
        assert path.read_bytes() == begin + b"b.png,keep\r\nc.png,drop\r\n"
    edit(path, good + b"b.png,keep\r\nc.png,delete\r\n")
    manifest.append(keep("d.png"))
    assert [row.path for row in manifest.rows()] == ["a.png", "b.png", "c.png", "d.png"]


def test_line_numbers_are_right_after_a_row_without_line_end(path: Path) -> None:
    path.write_bytes(HEADER + f"a.png,keep,,,,,,,,{TIME}".encode())
    manifest = Manifest(path)
    manifest.append(keep("b.png"))
    with open(path, "ab") as file:
        file.write(b"c.png,drop\r\n")
    with pytest.raises(CleanerError, match="line 4, column 'action'"):
        manifest.refresh()


WRITER = """
import sys
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
path, name, count = sys.argv[1:]
manifest = Manifest(path)
for n in range(int(count)):
    manifest.append(Decision(f"{name}/{n}, {'x' * (n % 50 * 7)}.png", Action.KEEP, label='two\\nlines', reviewer=name))
assert not manifest.warnings, manifest.warnings
"""


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
def test_eight_processes_append_to_one_file(count: int, path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(n), str(count)]) for n in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    manifest = Manifest(path)
    rows = [tuple(map(int, row.path.split(",")[0].split("/"))) for row in manifest.rows()]
    assert sorted(rows) == [(name, n) for name in range(8) for n in range(count)]
    assert all([n for name, n in rows if name == writer] == list(range(count)) for writer in range(8))
    assert manifest.warnings == []
    assert path.read_bytes().count(b"path,action") == 1
    print(f"\n{len(rows)} rows by 8 processes, none torn, none lost")


BELIEVER = """
import sys
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
path, name, count = sys.argv[1:]
manifest = Manifest(path)
print("ready", flush=True)
sys.stdin.readline()
won = 0
for n in range(int(count)):
    try:
        manifest.append(Decision(f"{n}.png", Action.KEEP, reviewer=name), expected={f"{n}.png": None})
        won += 1
    except CleanerError as error:
        assert "meanwhile" in str(error), error
print(won)
"""


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.long)])
def test_of_processes_deciding_on_one_card_at_once_only_one_succeeds(count: int, path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BELIEVER, path, str(n), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [int(process.communicate()[0]) for process in processes]
    rows = Manifest(path).rows()
    assert [row.path for row in rows] == [f"{n}.png" for n in range(count)]
    assert won == [sum(row.reviewer == str(n) for row in rows) for n in range(4)]
    print(f"\n4 processes decided on the same {count} cards; each card has one decision: {won}")


def test_append_refuses_if_the_expected_decisions_differ_from_the_file(path: Path) -> None:
    manifest, other = Manifest(path), Manifest(path)
    manifest.append(keep("a.png", loss=math.nan, predicted="x"), expected={"a.png": None, "b.png": None})
    stands = manifest.standing()["a.png"]
    edit(path, path.read_bytes().replace(b"\r", b""))  # the same decision, read anew
    manifest.append(keep("b.png"), expected={"a.png": stands})
    other.append(keep("a.png", action=Action.DELETE, reviewer="ben"))
    before = path.read_bytes()
    for believed in ({"a.png": stands}, {"a.png": None}, {"c.png": None, "a.png": stands}, {"c.png": stands}):
        with pytest.raises(CleanerError, match="meanwhile"):
            manifest.append(keep("c.png"), keep("a.png"), expected=believed)
        assert path.read_bytes() == before
    assert manifest.standing()["a.png"].reviewer == "ben"
    other.append(keep("a.png", action=Action.UNDO))
    with pytest.raises(CleanerError, match="took back"):
        manifest.append(keep("a.png"), expected={"a.png": manifest.standing()["a.png"]})
    manifest.append(keep("a.png"), expected={"a.png": None})


class FullDisk:
    """A file that takes half of what is written to it and then has no room, as a raw file does."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._writes = 0

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._writes += 1
        if self._writes > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data[: len(data) // 2])


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(file: Any, mode: str = "r", **options: Any) -> Any:
        return FullDisk(open(file, mode, **options)) if mode == "a+b" else open(file, mode, **options)

    monkeypatch.setattr("cleaner.core.manifest.open", opened, raising=False)


def failing_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("break_disk", [full_disk, failing_fsync])
@pytest.mark.parametrize("content", [HEADER + b"a.png,keep\r\n", HEADER + f"a.png,keep,,,,,,,,{TIME}".encode()])
def test_a_full_disk_changes_nothing_and_the_decision_can_be_retried(
    break_disk: Callable[[pytest.MonkeyPatch], None], content: bytes, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(content)
    manifest = Manifest(path)
    break_disk(monkeypatch)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            manifest.append(ODD)
        assert path.read_bytes() == content
        assert paths(manifest) == ["a.png"]
    monkeypatch.undo()
    manifest.append(ODD)
    assert paths(manifest) == paths(Manifest(path)) == ["a.png", ODD.path]
    assert manifest.warnings == []


@pytest.mark.parametrize("break_disk", [full_disk, failing_fsync])
def test_a_full_disk_at_the_first_decision_leaves_no_broken_manifest(
    break_disk: Callable[[pytest.MonkeyPatch], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(path)
    break_disk(monkeypatch)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        manifest.append(keep("a.png"))
    monkeypatch.undo()
    manifest.append(keep("a.png"))
    assert paths(Manifest(path)) == ["a.png"]


def test_a_decision_is_on_the_disk_when_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (fsync(handle), synced.append(path.read_bytes())))
    Manifest(path).append(keep("a.png"))
    assert path.read_bytes() in synced


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_manifest_that_may_only_be_read_can_be_read(code: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    content = HEADER + b"a.png,keep\r\nb.png,ke"
    path.write_bytes(content)
    path.chmod(0o444)
    monkeypatch.setattr("cleaner.core.manifest.FileLock.acquire", refuse)
    monkeypatch.setattr("cleaner.core.manifest.write_whole", refuse)
    manifest = Manifest(path)
    assert paths(manifest) == ["a.png"]
    assert len(manifest.warnings) == 1
    assert not manifest.refresh()
    with pytest.raises(OSError, match=os.strerror(code)):
        manifest.append(keep("c.png"))
    assert path.read_bytes() == content
    edit(path, HEADER + b"a.png,keep\r\nb.png,keep\r\n")
    assert manifest.refresh()
    assert paths(manifest) == ["a.png", "b.png"]
