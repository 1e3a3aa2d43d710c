"""One label table: its file as it was read, which columns say what, and how other programs' columns are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cleaner.apply.tables.parquet import ParquetTable
from cleaner.apply.tables.text import TextTable
from cleaner.core.errors import CleanerError

__all__ = ["LabelTable", "choose_columns", "read_table", "sha256_of_bytes", "version_of"]

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
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class _Content(Protocol):
    columns: tuple[str, ...]

    def rows(self, path_column: str, label_column: str) -> Iterator[tuple[int, str, str]]: ...

    def changed(self, label_column: str, changes: Mapping[int, str | None]) -> bytes: ...


@dataclass(frozen=True)
class LabelTable:
    """A label table as it was when it was read.

    Attributes:
        path: the file itself, with no link on the way.
        content: its columns and rows.
        path_column, label_column: which columns have the files and the labels.
        status: of the file, taken before it was read.
        data: its bytes.
        sha256: of the bytes.
    """

    path: Path
    content: _Content
    path_column: str
    label_column: str
    status: os.stat_result
    data: bytes
    sha256: str

    def rows(self) -> Iterator[tuple[int, str, str]]:
        """Of each row the place, the path and the label.

        Raises:
            CleanerError: the rows make no sense.
        """
        return self.content.rows(self.path_column, self.label_column)

    def check_label(self, label: str) -> None:
        """Check that the label's column can hold `label`.

        Raises:
            Refusal: it cannot.
        """
        if isinstance(self.content, ParquetTable):
            self.content.check_label(self.label_column, label)

    def changed(self, changes: Mapping[int, str | None]) -> bytes:
        """The file's bytes with other labels in the rows at some places; a row that gets None is dropped."""
        return self.content.changed(self.label_column, changes)

    def is_as_it_was(self) -> bool:
        """Whether nobody wrote to the file since it was read, as far as the file system says."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return version_of(now) == version_of(self.status)


def version_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes whenever somebody writes to a file or puts another in its place."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_table(labels: str | Path, path_column: str | None, label_column: str | None) -> LabelTable:
    """Read a label table.

    Args:
        labels: a `.csv`, `.tsv` or `.parquet` file.
        path_column, label_column: names of columns; None where they are to be told by their names.

    Raises:
        CleanerError: there is no such file, it makes no sense, or its columns cannot be told.
    """
    path = Path(os.path.realpath(labels))
    if not path.is_file():
        raise CleanerError(f"there is no label table {str(labels)!r}; a .csv, .tsv or .parquet file is accepted")
    try:
        status, data = path.stat(), path.read_bytes()
    except OSError as error:
        raise CleanerError(f"the label table {str(path)!r} cannot be read: {error.strerror}") from error
    content = _content(path, data)
    chosen = choose_columns(str(path), content.columns, path_column, label_column)
    return LabelTable(path, content, *chosen, status, data, sha256_of_bytes(data))


def _content(path: Path, data: bytes) -> _Content:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ParquetTable(data, str(path))
    if suffix not in _DELIMITERS:
        raise CleanerError(f"the label table is {str(path)!r}; a .csv, .tsv or .parquet file is accepted")
    return TextTable(data, _DELIMITERS[suffix], str(path))


def choose_columns(
    name: str, columns: Sequence[str], path_column: str | None, label_column: str | None
) -> tuple[str, str]:
    """Which columns have the paths and the labels: those that are named, or the only ones with a usual name.

    Raises:
        CleanerError: there is no such column, or more than one.
    """
    path = path_column or _guessed(name, columns, _PATHS, "--path-column")
    label = label_column or _guessed(name, columns, _LABELS, "--label-column")
    for column in (path, label):
        if columns.count(column) != 1:
            times = "no column" if column not in columns else "more than one column"
            raise CleanerError(f"{name!r} has {times} {column!r}; its columns are {list(columns)}")
    if path == label:
        raise CleanerError(f"the column {path!r} cannot have both the paths and the labels; name two columns")
    return path, label


def _guessed(name: str, columns: Sequence[str], usual: frozenset[str], option: str) -> str:
    found = [column for column in columns if column.strip().lower().replace(" ", "_") in usual]
    if len(found) != 1:
        which = f"{found} could be meant" if found else "none has a usual name"
        raise CleanerError(f"{name!r} has the columns {list(columns)}, of which {which}; say which, with {option}")
    return found[0]


def sha256_of_bytes(data: bytes) -> str:
    """SHA-256, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
