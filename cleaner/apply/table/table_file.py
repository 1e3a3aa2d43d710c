"""One label table: its file as it was read, and its columns of paths and labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.table.parquet import ParquetTable
from cleaner.apply.table.text import TextTable
from cleaner.core.errors import CleanerError
from cleaner.core.identity import version_of
from cleaner.core.label_table import DELIMITERS, check_is_table, choose_columns

__all__ = ["TableFile", "file_version", "parse_table", "read_table", "sha256_of_bytes"]


@dataclass(frozen=True)
class TableFile:
    """A label table as it was when it was read.

    Attributes:
        path: the file, without links.
        content: its columns and rows.
        path_column, label_column: names of the columns of paths and labels.
        status: of the file, taken before it was read.
        data: its bytes.
        sha256: of the bytes.
    """

    path: Path
    content: TextTable | ParquetTable
    path_column: str
    label_column: str
    status: os.stat_result
    data: bytes
    sha256: str

    def rows(self) -> Iterator[tuple[int, str, str]]:
        """Yield the position, path cell and label of each row."""
        return self.content.rows(self.path_column, self.label_column)

    def check_label(self, label: str) -> None:
        """Refuse a label that the label column cannot hold."""
        if isinstance(self.content, ParquetTable):
            self.content.to_value(self.label_column, label)

    def changed(self, changes: Mapping[int, str | None]) -> bytes:
        """Return the file's bytes with other labels at some row positions; a row that gets None is dropped."""
        return self.content.changed(self.label_column, changes)

    def is_as_it_was(self) -> bool:
        """Return whether the file was neither written to nor replaced since it was read."""
        return file_version(self.path) == version_of(self.status)


def read_table(labels: str | Path, path_column: str | None, label_column: str | None) -> TableFile:
    """Read a label table; without names of columns, choose those with usual names."""
    path = Path(os.path.realpath(labels))
    check_is_table(path)
    try:
        status, data = path.stat(), path.read_bytes()
    except OSError as error:
        raise CleanerError(f"the label table {str(path)!r} cannot be read: {error.strerror}") from error
    content = parse_table(path, data)
    chosen = choose_columns(str(path), content.columns, path_column, label_column)
    return TableFile(path, content, *chosen, status, data, sha256_of_bytes(data))


def parse_table(path: Path, data: bytes) -> TextTable | ParquetTable:
    """Parse the bytes of a label table; the suffix of its name tells the format."""
    delimiter = DELIMITERS.get(path.suffix.lower())
    return TextTable(data, delimiter, str(path)) if delimiter else ParquetTable(data, str(path))


def file_version(path: Path) -> tuple[int, ...] | None:
    """Return numbers that change whenever a file is written to or replaced; None if it cannot be looked at."""
    try:
        return version_of(os.stat(path))
    except OSError:
        return None


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
