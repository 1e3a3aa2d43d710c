"""Label tables: two of their columns as text, told by their names, the same as apply reads them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.apply.table.table_file import read_table
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import choose_columns, label_rows

TABLE = b'\xef\xbb\xbffname,size,label\r\n./=1.png,3,001\r\n"a,""b"".png",,"two\nlines"\r\n\r\nc.png,NA,\r\n'
PATHS, LABELS = ("=1.png", 'a,"b".png', "c.png"), ("001", "two\nlines", "")


def put(folder: Path, data: bytes, name: str = "labels.csv") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("name", ["labels.csv", "labels.TSV"])
def test_csv_and_tsv_tables_are_read(name: str, tmp_path: Path) -> None:
    data = TABLE if name.endswith("csv") else TABLE.replace(b",", b"\t")
    rows = label_rows(put(tmp_path, data, name))
    delimiter = "," if name.endswith("csv") else "\t"
    assert list(rows) == [(path.replace(",", delimiter), label) for path, label in zip(PATHS, LABELS, strict=True)]
    assert (rows.path_column, rows.label_column) == ("fname", "label")


def test_every_pass_over_the_rows_reads_the_file(tmp_path: Path) -> None:
    rows = label_rows(put(tmp_path, TABLE), "fname", "size")
    assert list(rows) == list(rows) == list(zip(PATHS, ("3", "", "NA"), strict=True))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog", None], ("cat", "dog", "")),
        (pd.Categorical(["cat", "dog", "cat"]), ("cat", "dog", "cat")),
        ([3, 1, 2], ("3", "1", "2")),
    ],
)
def test_parquet_is_read(labels: Any, expected: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra test brings")
    frame = pd.DataFrame({"label": labels, "path": ["./-1.png", "2.png", "3.png"], "size": [1, 2, 3]})
    frame.to_parquet(tmp_path / "labels.parquet", row_group_size=2)
    rows = label_rows(tmp_path / "labels.parquet")
    assert list(rows) == list(zip(("-1.png", "2.png", "3.png"), expected, strict=True))


@pytest.mark.parametrize(
    ("labels", "problem"), [([0.5, 1.0], "of type double; labels are text or whole"), ([True, False], "of type bool")]
)
def test_parquet_with_invalid_labels_is_refused(labels: list[Any], problem: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra test brings")
    pd.DataFrame({"label": labels, "path": ["1.png", "2.png"]}).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(CleanerError, match=problem):
        list(label_rows(tmp_path / "labels.parquet"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CleanerError, match="pip install pyarrow"):
        label_rows(put(tmp_path, b"PAR1", "labels.parquet"))


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("labels.xlsx", b"PK", "labels.xlsx'; a .csv, .tsv or .parquet file is accepted"),
        ("labels.csv", b"", "is empty; expected a first row"),
        ("labels.csv", b"\xef\xbb\xbf\r\n\n", "is empty; expected a first row"),
        (
            "labels.csv",
            b"path,label\n\na.png,x,y\n",
            "line 3: 3 cells, but the header has 2; quote text that contains ','",
        ),
        (
            "labels.tsv",
            b"path\tlabel\n'a.png\n",
            r"line 2: 1 cells, but the header has 2; quote text that contains '\\t'",
        ),
        ("labels.csv", b'path,label\na.png,"x\n', "line 2: unexpected end of data; close and double quotes"),
        ("labels.csv", b'path,label\na.png,x\nb.png,"x"y\n', "line 3: .* expected after .*; close and double quotes"),
        ("labels.csv", b"path,label\n\xff.png,x\n", "is not UTF-8; save"),
        ("labels.csv", "path,label\na.png,x\n".encode("utf-16"), "is not UTF-8; save"),
        ("labels.parquet", b"no", "is not a Parquet file"),
    ],
)
def test_an_invalid_table_is_refused(name: str, data: bytes, problem: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra test brings")
    with pytest.raises(CleanerError, match=problem):
        list(label_rows(put(tmp_path, data, name)))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"no label table .*; a \.csv"):
        label_rows(tmp_path / "none.csv")


def read(of: Any, file: Path) -> list[tuple[str, str]] | None:
    try:
        return of(file)
    except CleanerError:
        return None


def as_apply_does(file: Path) -> list[tuple[str, str]]:
    return [(path.removeprefix("./"), label) for _, path, label in read_table(file, None, None).rows()]


@given(st.text(st.sampled_from(list('ab./",\r\n')), max_size=24))
def test_scan_and_apply_read_the_same_rows(rows: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = put(Path(folder), b"path,label\n" + rows.encode())
        assert read(lambda file: list(label_rows(file)), file) == read(as_apply_does, file)


@pytest.mark.parametrize(
    ("columns", "given", "chosen"),
    [
        (["fname", "label"], (None, None), ("fname", "label")),
        (["id", "File Name", "is_valid", "Class"], (None, None), ("File Name", "Class")),
        (["image", "y"], (None, None), ("image", "y")),
        (["image_name", "tags"], (None, None), ("image_name", "tags")),
        (["path", "name", "target"], ("name", None), ("name", "target")),
        (["a", "b"], ("b", "a"), ("b", "a")),
        (["path", "name", "label"], (None, None), "['path', 'name'] could be the paths"),
        (["path", "label", "class"], (None, None), "could be the labels. Name the column: label_column=NAME"),
        (["a", "b"], (None, None), "columns ['a', 'b']; none has a usual name for paths (fname, file,"),
        (["path", "b"], (None, None), "none has a usual name for labels (label, labels, tags, class, class_name,"),
        (["a", "label"], ("c", None), "no column 'c'; its columns are ['a', 'label']"),
        (["a", "a", "label"], ("a", None), "more than one column 'a'"),
        (["a", "label"], ("label", None), "name two columns"),
    ],
)
def test_columns_are_chosen_by_name_unless_ambiguous(
    columns: list[str], given: tuple[str | None, str | None], chosen: tuple[str, str] | str
) -> None:
    if isinstance(chosen, tuple):
        assert choose_columns("t.csv", columns, *given) == chosen
        return
    with pytest.raises(CleanerError) as caught:
        choose_columns("t.csv", columns, *given)
    assert chosen in str(caught.value)
