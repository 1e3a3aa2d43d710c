"""The rows of a manifest: read from its bytes, checked, and turned into decisions on demand."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate, islice

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import cell_from_csv, path_from_csv
from cleaner.core.records import Action, Decision, check_utc, parse_action

__all__ = ["COLUMNS", "Lines", "ManifestRows"]

COLUMNS = ("path", "action", "label", "new_label", "split", "loss", "predicted", "sha256", "reviewer", "decided_at")
_REQUIRED = ("path", "action")
# Columns of which no half of a value is accepted, so that a torn row is noticed.
_NEVER_HALF = ("action", "sha256", "decided_at")
# Bytes that are checked at once; an unusual row has its block read one by one. Shorter than the longest cell of csv.
_BLOCK = 1 << 17
# Cells in the form that this program writes, without quotes: certainly valid, but for the day of a time.
_TEXT = rb'[^",\r\n\0]*'
_PART = rb'(?!\.{1,2}[/,\r\n])[^"/,\r\n\0]+'
_PLAIN_CELLS = {
    "path": rb"(?:\./)?(?P<path>" + _PART + rb"(?:/" + _PART + rb")*)",
    "action": rb"(?P<action>" + "|".join(Action).encode() + rb")",
    "new_label": rb"(?P<new_label>" + _TEXT + rb")",
    "loss": rb"(?:-?\d+(?:\.\d+)?(?:e[+-]\d+)?|nan|-?inf)?",
    "sha256": rb"(?:[0-9a-f]{64})?",
    "decided_at": rb"(?:(?P<day>\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3})?Z)?",
}


@lru_cache(maxsize=16)
def _plain_row(columns: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return the pattern of a line with plain cells in these columns."""
    cells = b",".join(_PLAIN_CELLS.get(name, _TEXT) for name in columns)
    return re.compile(rb"^" + cells + rb"\r?$", re.MULTILINE)


class ManifestRows(Mapping[str, Decision]):
    """All rows of one manifest; as a mapping, the current decision of each decided path.

    Rows are checked when they are added, but kept as bytes, so that a million rows take little more memory than their
    file. A row is turned into a `Decision` on demand.

    Args:
        name: the file's name for error messages.

    Attributes:
        columns: the header; empty before it is read.
        data: the bytes of all whole records.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.columns: list[str] = []
        self.data = bytearray()
        self._lines = 0
        self._starts = array("q")
        # The number of the first row of each path, and by that the numbers of its later rows.
        self._first: dict[str, int] = {}
        self._later: dict[int, list[int]] = {}
        self._undone: set[int] = set()
        self._decisions: dict[int, Decision] = {}

    def __getitem__(self, path: str) -> Decision:
        if path not in self:
            raise KeyError(path)
        return self.row(self._numbers(path)[-1])

    def __contains__(self, path: object) -> bool:
        first = self._first.get(path)  # type: ignore[call-overload]  # other types are not found
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
        """Return the row with this number, counted from 0."""
        if number not in self._decisions:
            text = io.StringIO(self.text(number).decode(), newline="\n")
            self._decisions[number] = _decision(
                dict(zip(self.columns, next(csv.reader(text, strict=True)), strict=False))
            )
        return self._decisions[number]

    def text(self, number: int) -> bytes:
        """Return the bytes of the row with this number."""
        after = number + 1
        end = self._starts[after] if after < len(self._starts) else len(self.data)
        return bytes(self.data[self._starts[number] : end])

    @property
    def header(self) -> bytes:
        """The bytes before the first row."""
        return bytes(self.data[: self._starts[0]] if self._starts else self.data)

    def number_at(self, place: int) -> int:
        """Return the number of the first row at this byte or later; `count` if there is none."""
        return bisect_left(self._starts, place)

    def repeated(self, begin: int = 0) -> Iterator[str]:
        """Return the paths with several rows, at least one of them with the number `begin` or higher."""
        return (self.row(first).path for first, later in self._later.items() if later[-1] >= begin)

    def all_for(self, path: str) -> list[Decision]:
        """Return all rows of a path, in the order of the file."""
        return [self.row(number) for number in self._numbers(path)]

    def latest(self) -> dict[str, Decision]:
        """Return the last row of each path, including `undo` rows."""
        return {path: self.row(self._numbers(path)[-1]) for path in self._first}

    def add(self, data: bytes) -> bytes:
        """Add the records in `data`, which follow the present ones; return the torn end of `data`.

        Raises:
            CleanerError: a record is invalid; nothing was added.
        """
        reader = _Reader(self._name, self.columns, self._lines)
        reader.read(data)
        begin, count = len(self.data), self.count
        self._starts.extend(begin + start for start in reader.starts)
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
    """Reads the records in bytes that follow earlier ones.

    Attributes:
        columns: the header.
        lines: number of lines up to the end of the whole records.
        good: number of bytes of the whole records.
        starts: the byte at which each row begins.
        paths: the path of each row.
        undone: numbers of the `undo` rows, counted from 0.
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
        """Read all whole records."""
        while self.good < len(data):
            if self.columns:
                end = data.rfind(b"\n", self.good, self.good + _BLOCK) + 1 or len(data)
            else:
                end = data.find(b"\n", self.good) + 1 or len(data)
            if not self._take_block(data[self.good : end]) and not self._take_one_by_one(data, end):
                return

    def _take_block(self, block: bytes) -> bool:
        """Add whole lines at once if all are plain; return whether they are."""
        if not block.endswith(b"\n") or any(self.columns.count(name) != 1 for name in COLUMNS):
            return False
        pattern = _plain_row(tuple(self.columns))
        rows = pattern.findall(block)
        if len(rows) != block.count(b"\n"):
            return False
        cells = dict(zip(pattern.groupindex, zip(*rows, strict=True), strict=True))
        relabels = (action == b"relabel" for action in cells["action"])
        if list(relabels) != list(map(bool, cells["new_label"])):
            return False
        try:
            block.decode()
            for day in set(filter(None, cells["day"])):
                check_utc(f"{day.decode()}T00:00:00Z")
        except (UnicodeDecodeError, FieldError):
            return False
        count = len(self.paths)
        self.undone.update(count + n for n, action in enumerate(cells["action"]) if action == b"undo")
        self.paths += b"\n".join(cells["path"]).decode().split("\n")
        starts = accumulate(map(len, block.splitlines(keepends=True)), initial=self.good)
        self.starts.extend(islice(starts, len(rows)))
        self.lines += len(rows)
        self.good += len(block)
        return True

    def _take_one_by_one(self, data: bytes, end: int) -> bool:
        """Add the records that begin before `end`; return False for a torn last one."""
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
        """Return whether a last line without a line end is a row that a person typed, not a torn one."""
        if not self.columns:
            # A torn header is the beginning of ours; any other one is left to `_check_header`.
            return cells == list(COLUMNS) or not ",".join(COLUMNS).startswith(",".join(cells))
        ends_whole = self.columns[-1] in _NEVER_HALF and len(cells) == len(self.columns) and cells[-1] != ""
        return ends_whole and self._is_valid(cells, line)

    def _is_torn(self, tail: bytes, error: Exception) -> bool:
        """Return whether an unreadable tail is one torn row, not the consequence of a person's mistake."""
        if not self.columns:
            return False
        in_quotes = isinstance(error, csv.Error) and "unexpected end of data" in str(error)
        if tail.endswith(b"\n") and not in_quotes:
            return False
        # A quote that is never closed includes the rows after it.
        _, *others = tail.splitlines()
        return not any(self._is_row(line) for line in others)

    def _is_row(self, line: bytes) -> bool:
        try:
            (cells,) = csv.reader([line.decode()], strict=True)
        except (ValueError, csv.Error):
            return False
        return self._is_valid(cells, line=0)

    def _is_valid(self, cells: list[str], line: int) -> bool:
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
                    f"{self._where(1)}: the header is {cells}; expected the column {name!r} once, separated by commas"
                )
        return columns

    def _parse(self, cells: list[str], line: int) -> Decision:
        if len(cells) > len(self.columns):
            found = f"{len(cells)} cells, but the header has {len(self.columns)}"
            raise CleanerError(f"{self._where(line)}: {found}; quote text that contains commas")
        # Spreadsheets drop empty cells at the end of a row.
        row = dict(zip(self.columns, cells, strict=False))
        try:
            return _decision(row)
        except FieldError as error:
            raise CleanerError(f"{self._where(line)}, column {error.field!r}: {error}") from error

    def _where(self, line: int) -> str:
        return f"{self._name!r}, line {line}"


class Lines(Iterator[str]):
    """Iterates over the lines of UTF-8 text from a byte on; `first` if the file begins there.

    Attributes:
        at: end of the lines returned so far, in bytes.
        lines: number of lines returned so far.
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
        """True once all lines were returned."""
        return self.at >= len(self._data)


def _decision(row: Mapping[str, str]) -> Decision:
    loss = row.get("loss", "")
    try:
        number = float(loss) if loss else math.nan
    except ValueError as error:
        raise FieldError("loss", loss, "expected a number, nan or inf") from error
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
