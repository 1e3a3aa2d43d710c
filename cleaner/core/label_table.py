"""Label tables in CSV, TSV and Parquet: choose their columns of paths and labels, and read both as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.files import path_from_csv

__all__ = [
    "DELIMITERS",
    "TABLE_SUFFIXES",
    "LabelRows",
    "LabelTable",
    "check_is_table",
    "check_parquet_types",
    "choose_columns",
    "choose_path_column",
    "is_parquet_text",
    "label_rows",
    "parquet_rows",
    "read_label_table",
    "reading_parquet",
]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""The delimiter of the cells of a text table, by the suffix of its name."""

TABLE_SUFFIXES = frozenset((*DELIMITERS, ".parquet"))
"""The suffixes that the name of a label table may have, in lower case."""

_PATHS = frozenset(
    [
        "fname",
        "file",
        "files",
        "filename",
        "file_name",
        "filenames",
        "file_path",
        "filepath",
        "image",
        "image_id",
        "image_name",
        "image_path",
        "images",
        "img",
        "img_path",
        "name",
        "path",
        "paths",
    ]
)
_LABELS = frozenset(["label", "labels", "class", "class_name", "category", "target", "y"])


@dataclass(frozen=True)
class LabelTable:
    """The paths and labels of a label table, in the order of its rows.

    Attributes:
        paths: cells of the path column, without the leading `./` that guards them from spreadsheets.
        labels: cells of the label column as text; a missing one is empty.
        path_column, label_column: the names of the columns.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    path_column: str
    label_column: str


@dataclass(frozen=True)
class LabelRows:
    """The path and label of each row of a label table, read from its file at each iteration.

    Attributes:
        file: the table.
        columns: the names of its columns.
        path_column, label_column: the names of those with the paths and the labels.
    """

    file: Path
    columns: tuple[str, ...]
    path_column: str
    label_column: str

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the path and label of each row, as in `LabelTable`.

        Raises:
            CleanerError: a row is invalid, or the file cannot be read.
        """
        rows = self._in_parquet() if _is_parquet(self.file) else self._in_text()
        for path, label in rows:
            yield path_from_csv(path), label

    def _in_text(self) -> Iterator[tuple[str, str]]:
        path, label = self.columns.index(self.path_column), self.columns.index(self.label_column)
        records = _records(self.file)
        next(records)
        for line, cells in records:
            if len(cells) != len(self.columns):
                raise CleanerError(
                    f"{str(self.file)!r}, line {line}: {len(cells)} cells, but the header has {len(self.columns)}; put "
                    f"text that has {DELIMITERS[self.file.suffix.lower()]!r} in it in quotes"
                )
            yield cells[path], cells[label]

    def _in_parquet(self) -> Iterator[tuple[str, str]]:
        names = [self.path_column, self.label_column]
        with reading_parquet(str(self.file)) as (_, parquet), parquet.ParquetFile(self.file) as file:
            check_parquet_types(str(self.file), file.schema_arrow, *names)
            for batch in file.iter_batches(columns=names):
                yield from parquet_rows(batch, *names)


def label_rows(file: Path, path_column: str | None = None, label_column: str | None = None) -> LabelRows:
    """Return the rows of a label table without holding them in memory.

    Args:
        file: a `.csv`, `.tsv` or `.parquet` file; text is in UTF-8, with or without BOM, and its first row names the
            columns. Its labels are not interpreted: `001` stays `001`.
        path_column, label_column: names of columns; None to choose those with usual names.

    Raises:
        CleanerError: there is no such file, it has another format, or its columns are ambiguous.
    """
    check_is_table(file)
    columns = _parquet_columns(file) if _is_parquet(file) else tuple(next(_records(file), (1, []))[1])
    if not columns:
        raise CleanerError(f"{str(file)!r} is empty; a first row with the names of the columns is expected")
    return LabelRows(file, columns, *choose_columns(str(file), columns, path_column, label_column))


def check_is_table(file: Path) -> None:
    """Check that a file is there, and that its suffix is that of a label table."""
    if not file.is_file():
        raise CleanerError(f"there is no label table {str(file)!r}; a .csv, .tsv or .parquet file is accepted")
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise CleanerError(f"the label table is {str(file)!r}; a .csv, .tsv or .parquet file is accepted")


def read_label_table(file: Path, path_column: str | None, label_column: str | None) -> LabelTable:
    """Read the paths and labels of a label table; arguments as in `label_rows`.

    Raises:
        CleanerError: as in `label_rows`, or a row is invalid.
    """
    rows = label_rows(file, path_column, label_column)
    both = list(rows)
    paths, labels = tuple(path for path, _ in both), tuple(label for _, label in both)
    return LabelTable(paths, labels, rows.path_column, rows.label_column)


def choose_columns(
    name: str, columns: Sequence[str], path_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """Return the names of the columns of paths and labels: the given ones, or the only ones with a usual name.

    Raises:
        CleanerError: there is no such column, or more than one.
    """
    path = choose_path_column(name, columns, path_column)
    label = label_column or _guessed(name, columns, _LABELS, "--label-column")
    _check_is_one(name, columns, label)
    if path == label:
        raise CleanerError(f"the column {path!r} cannot have both the paths and the labels; name two columns")
    return path, label


def choose_path_column(name: str, columns: Sequence[str], path_column: str | None) -> str:
    """Return the name of the column of paths in a table without labels.

    Raises:
        CleanerError: there is no such column, or more than one.
    """
    path = path_column or _guessed(name, columns, _PATHS, "--path-column")
    _check_is_one(name, columns, path)
    return path


def _check_is_one(name: str, columns: Sequence[str], column: str) -> None:
    if columns.count(column) != 1:
        times = "no column" if column not in columns else "more than one column"
        raise CleanerError(f"{name!r} has {times} {column!r}; its columns are {list(columns)}")


def _guessed(name: str, columns: Sequence[str], usual: frozenset[str], option: str) -> str:
    found = [column for column in columns if column.strip().lower().replace(" ", "_") in usual]
    if len(found) != 1:
        which = f"{found} could be meant" if found else "none has a usual name"
        raise CleanerError(f"{name!r} has the columns {list(columns)}, and {which}; name one with {option}")
    return found[0]


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record that is not an empty line, the header first."""
    line = 0
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=DELIMITERS[file.suffix.lower()], strict=True)
            for cells in reader:
                if cells:
                    yield line + 1, cells
                line = reader.line_num
    except UnicodeDecodeError as error:
        raise CleanerError(f"{str(file)!r} is not UTF-8; save the file as UTF-8") from error
    except csv.Error as error:
        raise CleanerError(f"{str(file)!r}, line {line + 1}: {error}; close and double quotes") from error
    except OSError as error:
        raise CleanerError(f"the label table {str(file)!r} cannot be read: {error.strerror}") from error


def _is_parquet(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def _parquet_columns(file: Path) -> tuple[str, ...]:
    with reading_parquet(str(file)) as (_, parquet), parquet.ParquetFile(file) as opened:
        return tuple(opened.schema_arrow.names)


@contextmanager
def reading_parquet(name: str) -> Iterator[tuple[Any, Any]]:
    """Give `pyarrow` and `pyarrow.parquet` to read the file `name`, and report a file that they cannot read."""
    pa, parquet = _import_pyarrow()
    try:
        yield pa, parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CleanerError(f"{name!r} is not a Parquet file that can be read: {error}") from error


def parquet_rows(batch: Any, path_column: str, label_column: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the label of each row of a table or batch of pyarrow; missing values are empty texts."""
    columns = [batch.column(name).to_pylist() for name in (path_column, label_column)]
    for path, label in zip(*columns, strict=True):
        yield path or "", "" if label is None else str(label)


def check_parquet_types(name: str, schema: Any, path_column: str, label_column: str) -> None:
    """Check that the paths of a table in Parquet are text, and its labels text or whole numbers."""
    pa, _ = _import_pyarrow()
    if not is_parquet_text(schema.field(path_column).type):
        raise CleanerError(f"{name!r}: the column {path_column!r} has no text in it; paths are text")
    kind = schema.field(label_column).type
    if not is_parquet_text(kind) and not pa.types.is_integer(kind):
        raise CleanerError(f"{name!r}: the column {label_column!r} is of type {kind}; labels are text or whole numbers")


def is_parquet_text(kind: Any) -> bool:
    """Return whether a type of pyarrow is text or categories that are text."""
    pa, _ = _import_pyarrow()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _import_pyarrow() -> tuple[Any, Any]:
    """Return `pyarrow` and `pyarrow.parquet`, which only tables in Parquet need."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise CleanerError("a label table in Parquet needs pyarrow: `pip install pyarrow`, or give a CSV") from error
    return pa, parquet
