"""CSV and TSV as bytes: what is not changed stays as it was, to the byte."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.apply.table.text import TextTable
from cleaner.core.errors import CleanerError

COLUMNS = ["fname", "label", "split", "note"]
ODD = [
    "",
    "cat",
    "a,b",
    'say "cheese"',
    '"',
    "two\nlines",
    "cr\rlf\r\n",
    "tab\t",
    "=1+1",
    " x ",
    "é😀",
    'in"side',
    "\ufeff",
]
CELLS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
BOM = b"\xef\xbb\xbf"


def needs_quotes(cell: str, delimiter: str) -> bool:
    return cell.startswith('"') or any(mark in cell for mark in (delimiter, "\r", "\n"))


def raw(cell: str, quoted: bool) -> str:
    return '"' + cell.replace('"', '""') + '"' if quoted else cell


@st.composite
def written(draw: st.DrawFn) -> dict[str, Any]:
    """Cells with the header first, which of them stand in quotes, and how the rest of the file is written."""
    delimiter = draw(st.sampled_from(",\t"))
    rows = [COLUMNS, *draw(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=6))]
    quoted = [[draw(st.booleans()) or needs_quotes(cell, delimiter) for cell in row] for row in rows]
    ends = [draw(st.sampled_from(["\n", "\r\n", "\r"])) for _ in rows]
    empty = [draw(st.sampled_from(["", "", "\r\n"])) for _ in rows]
    if draw(st.booleans()) and len(rows) > 1:
        ends[-1] = empty[-1] = ""
    return {
        "delimiter": delimiter,
        "rows": rows,
        "quoted": quoted,
        "ends": ends,
        "empty": empty,
        "bom": draw(st.booleans()),
    }


def as_bytes(table: dict[str, Any], raws: list[list[str] | None]) -> bytes:
    """The file; of a row that is None only the empty lines after it are there."""
    lines = (
        ("" if cells is None else table["delimiter"].join(cells) + end) + empty
        for cells, end, empty in zip(raws, table["ends"], table["empty"], strict=True)
    )
    return (BOM if table["bom"] else b"") + "".join(lines).encode("utf-8")


@given(table=written(), data=st.data())
def test_only_the_cells_that_are_changed_and_the_rows_that_are_dropped_change(table: Any, data: Any) -> None:
    delimiter, rows, quoted = table["delimiter"], table["rows"], table["quoted"]
    raws: list[Any] = [
        [raw(*each) for each in zip(row, quotes, strict=True)] for row, quotes in zip(rows, quoted, strict=True)
    ]
    found = TextTable(as_bytes(table, raws), delimiter, "labels.csv")
    assert list(found.columns) == COLUMNS
    places = list(found.rows("fname", "label"))
    assert [(path, label) for _, path, label in places] == [(row[0], row[1]) for row in rows[1:]]
    chosen = data.draw(st.lists(st.sampled_from(range(1, len(rows))), unique=True)) if len(rows) > 1 else []
    changes = {n: data.draw(st.one_of(st.none(), CELLS.filter(bool))) for n in chosen}
    for n, label in changes.items():
        if label is None:
            raws[n] = None
        else:
            raws[n][1] = raw(label, quoted[n][1] or needs_quotes(label, delimiter) or '"' in label)
    got = found.changed("label", {places[n - 1][0]: label for n, label in changes.items()})
    assert got == as_bytes(table, raws)
    again = TextTable(got, delimiter, "labels.csv")
    assert [(path, label) for _, path, label in again.rows("fname", "label")] == [
        (rows[n][0], changes.get(n) or rows[n][1]) for n in range(1, len(rows)) if raws[n] is not None
    ]


@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=6), quoting=st.sampled_from([0, 1]))
def test_what_the_csv_module_writes_is_read(rows: list[list[str]], quoting: int) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=quoting).writerows([["fname", "label"], *rows])
    found = TextTable(out.getvalue().encode("utf-8"), ",", "labels.csv")
    assert [[path, label] for _, path, label in found.rows("fname", "label")] == rows


def test_the_label_gets_quotes_only_where_it_needs_them_or_had_them() -> None:
    table = TextTable(b'fname,label\r\na.png,cat\r\nb.png,"cat"\nc.png,cat', ",", "t")
    places = [place for place, *_ in table.rows("fname", "label")]
    assert table.changed("label", dict(zip(places, ["dog", "dog", "a,b"], strict=True))) == (
        b'fname,label\r\na.png,dog\r\nb.png,"dog"\nc.png,"a,b"'
    )
    assert table.changed("label", {places[1]: None}) == b"fname,label\r\na.png,cat\r\nc.png,cat"
    assert table.changed("label", {}) == b'fname,label\r\na.png,cat\r\nb.png,"cat"\nc.png,cat'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"fname,label\na,b\nc\n", "line 3: 1 cells, but the header has 2"),
        (b"fname,label\na,b,c\n", "line 2: 3 cells.*in quotes"),
        (b'fname,label\n"a"b,c\n', "line 2: there is text after a cell in quotes"),
        (b'fname,label\n\n"a,b\nc,d\n', "line 3: a quote is opened and never closed"),
        (b'fname,label\na,"', "line 2: a quote is opened and never closed"),
        (b"fname,label\na,caf\xe9\n", "line 2 is not UTF-8"),
        ("fname,label\na,b\n".encode("utf-16"), "is not UTF-8"),
        ("fname,label\na,b\n".encode("utf-16-le"), "line 1 has a NUL"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_where(content: bytes, message: str) -> None:
    with pytest.raises(CleanerError, match=message):
        list(TextTable(content, ",", "labels.csv").rows("fname", "label"))
