"""Reads the paths and labels of label tables in CSV, TSV and Parquet, as text."""

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
    "check_is_table",
    "check_parquet_types",
    "choose_columns",
    "choose_path_column",
    "import_pyarrow",
    "is_parquet_text",
    "label_rows",
    "parquet_rows",
    "reading_parquet",
]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""Cell separators of text tables, by the suffix of the file name."""

TABLE_SUFFIXES = frozenset((*DELIMITERS, ".parquet"))
"""Accepted suffixes of label tables, in lower case."""

# Usual names of the columns, in lower case.
_PATH_COLUMNS = """
    fname file files filename file_name filenames file_path filepath image image_id image_name image_path images img
    img_path name path paths
"""
_LABEL_COLUMNS = "label labels tags class class_name category target y"


@dataclass(frozen=True)
class LabelRows:
    """The rows of a label table, pairs of path and label, read from its file on each iteration.

    Attributes:
        file: the table.
        columns: the names of its columns.
        path_column, label_column: the names of the columns with the paths and the labels.
    """

    file: Path
    columns: tuple[str, ...]
    path_column: str
    label_column: str

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the path and label of each row, the path without a leading `./`, a missing label as empty text.

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
                delimiter = DELIMITERS[self.file.suffix.lower()]
                raise CleanerError(
                    f"{str(self.file)!r}, line {line}: {len(cells)} cells, but the header has {len(self.columns)}; "
                    f"quote text that contains {delimiter!r}"
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
        file: a `.csv`, `.tsv` or `.parquet` file. Text is in UTF-8, with or without BOM, and its first row names the
            columns. Labels are not interpreted: `001` stays `001`.
        path_column, label_column: names of the columns; None finds them by their usual names.

    Raises:
        CleanerError: the file is missing or has another format, or its columns are ambiguous.
    """
    check_is_table(file)
    columns = _parquet_columns(file) if _is_parquet(file) else tuple(next(_records(file), (1, []))[1])
    if not columns:
        raise CleanerError(f"{str(file)!r} is empty; expected a first row with the names of the columns")
    return LabelRows(file, columns, *choose_columns(str(file), columns, path_column, label_column))


def check_is_table(file: Path) -> None:
    """Check that a file is there, and that its suffix is that of a label table."""
    if not file.is_file():
        raise CleanerError(f"there is no label table {str(file)!r}; a .csv, .tsv or .parquet file is accepted")
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise CleanerError(f"the label table is {str(file)!r}; a .csv, .tsv or .parquet file is accepted")


def choose_columns(
    name: str, columns: Sequence[str], path_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """Return the columns of the paths and the labels: the given ones, or the only ones with usual names.

    Raises:
        CleanerError: a column is missing or ambiguous.
    """
    path = choose_path_column(name, columns, path_column)
    label = label_column or _guessed(name, columns, _LABEL_COLUMNS, "label")
    _check_is_one(name, columns, label)
    if path == label:
        raise CleanerError(f"the column {path!r} cannot have both the paths and the labels; name two columns")
    return path, label


def choose_path_column(name: str, columns: Sequence[str], path_column: str | None) -> str:
    """Return the column of the paths: the given one, or the only one with a usual name.

    Raises:
        CleanerError: the column is missing or ambiguous.
    """
    path = path_column or _guessed(name, columns, _PATH_COLUMNS, "path")
    _check_is_one(name, columns, path)
    return path


def _check_is_one(name: str, columns: Sequence[str], column: str) -> None:
    if columns.count(column) != 1:
        times = "no column" if column not in columns else "more than one column"
        raise CleanerError(f"{name!r} has {times} {column!r}; its columns are {list(columns)}")


def _guessed(name: str, columns: Sequence[str], usual: str, kind: str) -> str:
    candidates = [column for column in columns if column.strip().lower().replace(" ", "_") in usual.split()]
    if len(candidates) != 1:
        which = f"{candidates} could be the {kind}s"
        if not candidates:
            which = f"none has a usual name for {kind}s ({', '.join(usual.split())})"
        raise CleanerError(f"{name!r} has the columns {list(columns)}; {which}. Name the column: {kind}_column=NAME")
    return candidates[0]


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record, the header first; empty lines are skipped."""
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
    pa, parquet = import_pyarrow()
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
    """Check that the paths of a Parquet table are text, and its labels text or whole numbers.

    Raises:
        CleanerError: a column has another type.
    """
    pa, _ = import_pyarrow()
    if not is_parquet_text(schema.field(path_column).type):
        raise CleanerError(f"{name!r}: the column {path_column!r} has no text; paths are text")
    kind = schema.field(label_column).type
    if not is_parquet_text(kind) and not pa.types.is_integer(kind):
        raise CleanerError(f"{name!r}: the column {label_column!r} is of type {kind}; labels are text or whole numbers")


def is_parquet_text(kind: Any) -> bool:
    """Return whether a pyarrow type is text or categories of text."""
    pa, _ = import_pyarrow()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def import_pyarrow() -> tuple[Any, Any]:
    """Import `pyarrow` and `pyarrow.parquet`.

    Raises:
        CleanerError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise CleanerError("a label table in Parquet needs pyarrow: `pip install pyarrow`, or give a CSV") from error
    return pa, parquet
