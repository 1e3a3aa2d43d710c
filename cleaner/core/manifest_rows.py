"""The rows of a manifest as they stand in a file: read, checked, and made into decisions when they are asked for."""

from __future__ import annotations

import csv
import io
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import cell_from_csv, path_from_csv
from cleaner.core.plain_rows import plain_rows
from cleaner.core.records import Action, Decision, parse_action

__all__ = ["COLUMNS", "Lines", "ManifestRows"]

COLUMNS = ("path", "action", "label", "new_label", "split", "loss", "predicted", "sha256", "reviewer", "decided_at")
_REQUIRED = ("path", "action")
# Columns whose values show by themselves that they are whole: no half of one is accepted.
_WHOLE_OR_REFUSED = ("action", "sha256", "decided_at")
# Bytes that are checked at once. One row that is not plain costs that of its block, read one by one; and no cell of a
# block is longer than the csv module takes.
_BLOCK = 1 << 17


class ManifestRows(Mapping[str, Decision]):
    """All rows of one manifest; as a mapping, for each decided path the decision that stands.

    Each row is checked when it is taken in. What is held is its bytes and where they are, so that a million rows take
    little more than their file; a row is made into a `Decision` when it is asked for.

    Args:
        name: of the file, for errors.

    Attributes:
        columns: the header; empty before there is one.
        data: the bytes of all whole records.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.columns: list[str] = []
        self.data = bytearray()
        self._lines = 0
        self._starts = array("q")
        # Of each path the number of its first row, and for that the numbers of those that followed.
        self._first: dict[str, int] = {}
        self._later: dict[int, list[int]] = {}
        self._undone: set[int] = set()
        self._decisions: dict[int, Decision] = {}

    def __getitem__(self, path: str) -> Decision:
        if path not in self:
            raise KeyError(path)
        return self.row(self._numbers(path)[-1])

    def __contains__(self, path: object) -> bool:
        first = self._first.get(path)  # type: ignore[call-overload]  # what is no text is no key
        return first is not None and first not in self._undone

    def __iter__(self) -> Iterator[str]:
        return (path for path, first in self._first.items() if first not in self._undone)

    def __len__(self) -> int:
        return len(self._first) - len(self._undone)

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self._starts)

    def row(self, number: int) -> Decision:
        """The row of that number, counted from 0."""
        if number not in self._decisions:
            text = io.StringIO(self.text(number).decode(), newline="\n")
            self._decisions[number] = _decision(
                dict(zip(self.columns, next(csv.reader(text, strict=True)), strict=False))
            )
        return self._decisions[number]

    def text(self, number: int) -> bytes:
        """The bytes of the row of that number."""
        after = number + 1
        end = self._starts[after] if after < len(self._starts) else len(self.data)
        return bytes(self.data[self._starts[number] : end])

    @property
    def header(self) -> bytes:
        """The bytes before the first row."""
        return bytes(self.data[: self._starts[0]] if self._starts else self.data)

    def number_at(self, place: int) -> int:
        """The number of the first row that begins at this byte or after it; of no row where there is none."""
        return bisect_left(self._starts, place)

    def repeated(self, begin: int = 0) -> Iterator[str]:
        """The paths of several rows, one of which at least has this number or a higher one."""
        return (self.row(first).path for first, later in self._later.items() if later[-1] >= begin)

    def all_for(self, path: str) -> list[Decision]:
        """All rows of a path, in the order of the file."""
        return [self.row(number) for number in self._numbers(path)]

    def latest(self) -> dict[str, Decision]:
        """For each path its last row, also one that takes it back to undecided."""
        return {path: self.row(self._numbers(path)[-1]) for path in self._first}

    def add(self, data: bytes) -> bytes:
        """Add the records in `data`, which follow those that are there; returns what is torn at the end.

        Raises:
            CleanerError: a record makes no sense; nothing was added.
        """
        reader = _Reader(self._name, self.columns, self._lines)
        reader.read(data)
        begin, count = len(self.data), self.count
        self._starts.extend(reader.starts if begin == 0 else (begin + start for start in reader.starts))
        firsts = list(map(self._first.setdefault, reader.paths, range(count, self.count)))
        again = (number for number, first in enumerate(firsts) if count + number != first)
        for number in sorted(reader.undone.union(again)):
            first = firsts[number]
            if count + number != first:
                self._later.setdefault(first, []).append(count + number)
            (self._undone.add if number in reader.undone else self._undone.discard)(first)
        self.columns, self._lines = reader.columns, reader.lines
        self.data += data[: reader.good]
        return data[reader.good :]

    def _numbers(self, path: str) -> list[int]:
        first = self._first.get(path)
        return [] if first is None else [first, *self._later.get(first, ())]


class _Reader:
    """One reading of bytes that follow what was read before.

    Attributes:
        columns: the header.
        lines: number of lines up to the end of the whole records.
        good: number of bytes of the whole records.
        starts, paths, undone: as in `PlainRows`.
    """

    def __init__(self, name: str, columns: list[str], lines: int) -> None:
        self._name = name
        self.columns = columns
        self.lines = lines
        self.good = 0
        self.starts = array("q")
        self.paths: list[str] = []
        self.undone: set[int] = set()

    def read(self, data: bytes) -> None:
        """Take in all whole records."""
        while self.good < len(data):
            end = data.rfind(b"\n", self.good, self.good + _BLOCK) + 1 or len(data)
            if not self._take_block(data[self.good : end]) and not self._take_one_by_one(data, end):
                return

    def _take_block(self, block: bytes) -> bool:
        if any(self.columns.count(name) != 1 for name in COLUMNS):
            return False
        found = plain_rows(block, self.columns)
        if found is None:
            return False
        self.undone.update(len(self.paths) + number for number in found.undone)
        self.starts.frombytes((found.starts + self.good).tobytes())
        self.paths += found.paths
        self.lines += len(found.paths)
        self.good += len(block)
        return True

    def _take_one_by_one(self, data: bytes, end: int) -> bool:
        """Take in the records that begin before `end`; false where the last one is torn."""
        feed = Lines(data, self.good, first=self.lines == 0)
        before = self.lines
        reader = csv.reader(feed, strict=True)
        while feed.at < end:
            line = self.lines + 1
            try:
                cells = next(reader)
            except (UnicodeDecodeError, csv.Error) as error:
                if feed.exhausted and self._is_torn(data[self.good :], error):
                    return False
                reason = f"CSV: {error}" if isinstance(error, csv.Error) else "UTF-8: save the file as UTF-8 CSV"
                raise CleanerError(f"{self._where(line)} is not {reason}") from error
            if feed.exhausted and not data.endswith(b"\n") and not self._is_whole(cells, line):
                return False
            self._take(cells, line)
            self.good, self.lines = feed.at, before + feed.lines
        return True

    def _is_whole(self, cells: list[str], line: int) -> bool:
        """Whether a last line without a line end is a row that a person typed, and not the torn half of one."""
        if not self.columns:
            # Only what we write can be torn by us: half of our header. Anything else is for the header's check.
            return cells == list(COLUMNS) or not ",".join(COLUMNS).startswith(",".join(cells))
        ends_whole = self.columns[-1] in _WHOLE_OR_REFUSED and len(cells) == len(self.columns) and cells[-1] != ""
        return ends_whole and self._makes_sense(cells, line)

    def _is_torn(self, tail: bytes, error: Exception) -> bool:
        """Whether a tail that cannot be read is one row that was cut off, and not what follows a person's mistake."""
        if not self.columns:
            return False
        in_quotes = isinstance(error, csv.Error) and "unexpected end of data" in str(error)
        if tail.endswith(b"\n") and not in_quotes:
            return False
        # A quote that was opened and never closed takes in the rows after it.
        _, *others = tail.splitlines()
        return not any(self._is_row(line) for line in others)

    def _is_row(self, line: bytes) -> bool:
        try:
            (cells,) = csv.reader([line.decode()], strict=True)
        except (ValueError, csv.Error):
            return False
        return self._makes_sense(cells, line=0)

    def _makes_sense(self, cells: list[str], line: int) -> bool:
        try:
            self._parse(cells, line)
        except CleanerError:
            return False
        return True

    def _take(self, cells: list[str], line: int) -> None:
        if not self.columns:
            self.columns = self._check_header(cells)
            return
        if not any(cells):
            return
        decision = self._parse(cells, line)
        if decision.action is Action.UNDO:
            self.undone.add(len(self.paths))
        self.paths.append(decision.path)
        self.starts.append(self.good)

    def _check_header(self, cells: list[str]) -> list[str]:
        columns = [name.strip() for name in cells]
        for name in _REQUIRED:
            if columns.count(name) != 1:
                raise CleanerError(
                    f"{self._where(1)}: the header is {cells}; it needs the column {name!r} once, with commas between"
                )
        return columns

    def _parse(self, cells: list[str], line: int) -> Decision:
        if len(cells) > len(self.columns):
            raise CleanerError(
                f"{self._where(line)}: {len(cells)} cells, but the header has {len(self.columns)}; "
                "put text with commas in quotes"
            )
        # Spreadsheets drop empty cells at the end of a row.
        row = dict(zip(self.columns, cells, strict=False))
        try:
            return _decision(row)
        except FieldError as error:
            raise CleanerError(f"{self._where(line)}, column {error.field!r}: {error}") from error

    def _where(self, line: int) -> str:
        return f"{self._name!r}, line {line}"


class Lines(Iterator[str]):
    """The lines of UTF-8 text from a byte on, counting what was handed out; `first` if the file begins here.

    Attributes:
        at: the byte up to which lines were handed out.
        lines: number of lines handed out.
    """

    def __init__(self, data: bytes, at: int = 0, *, first: bool) -> None:
        self._data = data
        self._first = first
        self.at = at
        self.lines = 0

    def __next__(self) -> str:
        if self.exhausted:
            raise StopIteration
        line = self._data[self.at : self._data.find(b"\n", self.at) + 1 or len(self._data)]
        encoding = "utf-8-sig" if self._first and not self.lines else "utf-8"
        self.at, self.lines = self.at + len(line), self.lines + 1
        return line.decode(encoding)

    @property
    def exhausted(self) -> bool:
        """Whether all lines were handed out."""
        return self.at >= len(self._data)


def _decision(row: Mapping[str, str]) -> Decision:
    loss = row.get("loss", "")
    try:
        number = float(loss) if loss else math.nan
    except ValueError as error:
        raise FieldError("loss", loss, "a number, nan or inf is accepted") from error
    return Decision(
        path=path_from_csv(row.get("path", "")),
        action=parse_action(row.get("action", "")),
        label=cell_from_csv(row.get("label", "")),
        new_label=cell_from_csv(row.get("new_label", "")),
        split=cell_from_csv(row.get("split", "")),
        loss=number,
        predicted=cell_from_csv(row.get("predicted", "")),
        sha256=row.get("sha256", ""),
        reviewer=cell_from_csv(row.get("reviewer", "")),
        decided_at=row.get("decided_at", ""),
    )
