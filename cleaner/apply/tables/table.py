"""One label table: its file as it was read, and which of its columns say what."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cleaner.apply.tables.parquet import ParquetTable
from cleaner.apply.tables.text import TextTable
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import DELIMITERS, choose_columns

__all__ = ["LabelTable", "content_of", "read_table", "sha256_of_bytes", "version_of"]


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
    content = content_of(path, data)
    chosen = choose_columns(str(path), content.columns, path_column, label_column)
    return LabelTable(path, content, *chosen, status, data, sha256_of_bytes(data))


def content_of(path: Path, data: bytes) -> _Content:
    """The columns and rows in the bytes of a label table; its name says of which kind it is.

    Raises:
        CleanerError: the bytes are no such table.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ParquetTable(data, str(path))
    if suffix not in DELIMITERS:
        raise CleanerError(f"the label table is {str(path)!r}; a .csv, .tsv or .parquet file is accepted")
    return TextTable(data, DELIMITERS[suffix], str(path))


def sha256_of_bytes(data: bytes) -> str:
    """SHA-256, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
