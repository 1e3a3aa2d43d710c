"""Label tables in CSV and TSV: cells are located in the bytes, so that unchanged cells stay byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cleaner.core.errors import CleanerError

__all__ = ["TextTable"]

_BOM = b"\xef\xbb\xbf"
# A regular expression for many columns takes seconds to compile.
_MAX_COLUMNS = 100
_LINE_END = re.compile(rb"\r\n|\n|\r")


class TextTable:
    """A table in CSV or TSV, UTF-8 with or without BOM, from the file's bytes; the first row names the columns."""

    def __init__(self, data: bytes, delimiter: str, name: str) -> None:
        self._data = data
        self._name = name
        self._delimiter = delimiter.encode()
        quoted, plain = rb'"[^"]*(?:""[^"]*)*"', rb"[^" + self._delimiter + rb"\r\n]*"
        self._cell = re.compile(quoted + rb"|" + plain)
        self._row: re.Pattern[bytes] | None = None
        self._check_encoding()
        self._first = len(_BOM) if data.startswith(_BOM) else 0
        header = next(self._records(), None)
        if header is None:
            raise CleanerError(f"{name!r} is empty; a first row with the names of the columns is expected")
        self.columns = tuple(map(_text, header[1]))
        """The names in the first row."""
        # Matches most rows in one step; other rows are parsed cell by cell.
        cell = rb"(" + quoted + rb'|(?!")' + plain + rb")"
        if len(self.columns) <= _MAX_COLUMNS:
            self._row = re.compile(self._delimiter.join([cell] * len(self.columns)) + rb"(\r\n|\n|\r|\Z)")

    def rows(self, path_column: str, label_column: str) -> Iterator[tuple[int, str, str]]:
        """Yield the byte position, path and label of each row; empty lines are skipped."""
        path, label, width = self.columns.index(path_column), self.columns.index(label_column), len(self.columns)
        records = self._records()
        next(records)
        for position, cells in records:
            if len(cells) != width:
                raise CleanerError(
                    f"{self._where(position)}: {len(cells)} cells, but the header has {width}; put text that has "
                    f"{self._delimiter.decode()!r} in it in quotes"
                )
            yield position, _text(cells[path]), _text(cells[label])

    def changed(self, label_column: str, changes: Mapping[int, str | None]) -> bytes:
        """Return the file's bytes with other labels at some row positions; a row that gets None is dropped.

        A quoted cell stays quoted; another one gets quotes only if its label needs them.
        """
        label = self.columns.index(label_column)
        pieces, kept = [], 0
        for position in sorted(changes):
            new, (spans, end) = changes[position], self._record(position)
            begin, end = (position, end) if new is None else spans[label]
            pieces.append(self._data[kept:begin])
            if new is not None:
                pieces.append(self._written(new, quoted=self._data[begin:end].startswith(b'"')))
            kept = end
        return b"".join([*pieces, self._data[kept:]])

    def _written(self, label: str, quoted: bool) -> bytes:
        text = label.encode("utf-8")
        if quoted or any(mark in text for mark in (self._delimiter, b'"', b"\r", b"\n")):
            return b'"' + text.replace(b'"', b'""') + b'"'
        return text

    def _records(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield the position and raw cells of every record that is not an empty line."""
        data, position, delimiter = self._data, self._first, self._delimiter
        while position < len(data):
            line_end = _LINE_END.search(data, position)
            stop, end = line_end.span() if line_end else (len(data), len(data))
            line = data[position:stop]
            if b'"' not in line:
                cells = line.split(delimiter)
            elif row := self._row and self._row.match(data, position):
                cells, end = list(row.groups()[:-1]), row.end()
            else:
                spans, end = self._record(position)
                cells = [data[begin:until] for begin, until in spans]
            if cells != [b""]:
                yield position, cells
            position = end

    def _record(self, position: int) -> tuple[list[tuple[int, int]], int]:
        """Return the spans of a record's cells, and the position of the next record."""
        data, spans, begin = self._data, [], position
        while True:
            found = self._cell.match(data, begin)
            end = found.end() if found else begin
            if data[begin : begin + 1] == b'"' and (end == begin + 1 or data[end - 1 : end] != b'"'):
                raise CleanerError(f"{self._where(begin)}: a quote is opened and never closed; close it")
            spans.append((begin, end))
            if end == len(data):
                return spans, end
            if line_end := _LINE_END.match(data, end):
                return spans, line_end.end()
            if not data.startswith(self._delimiter, end):
                raise CleanerError(
                    f"{self._where(end)}: there is text after a cell in quotes; double a quote inside of quotes"
                )
            begin = end + len(self._delimiter)

    def _check_encoding(self) -> None:
        try:
            self._data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CleanerError(
                f"{self._where(error.start)} is not UTF-8; save the file as UTF-8, and look at its labels after that"
            ) from error
        if b"\0" in self._data:
            where = self._where(self._data.index(b"\0"))
            raise CleanerError(f"{where} has a NUL character; if the file is UTF-16, save it as UTF-8")

    def _where(self, position: int) -> str:
        lines = sum(1 for _ in _LINE_END.finditer(self._data, 0, position))
        return f"{self._name!r}, line {lines + 1}"


def _text(cell: bytes) -> str:
    if cell.startswith(b'"'):
        cell = cell[1:-1].replace(b'""', b'"')
    return cell.decode("utf-8")
