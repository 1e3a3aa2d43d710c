"""The manifest: an append-only CSV of decisions that people, spreadsheets and several processes may share."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import number_to_csv, path_from_csv, path_to_csv, sync_folder, write_whole
from cleaner.core.records import Action, Decision, parse_action

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Manifest"]

COLUMNS = ("path", "action", "label", "new_label", "split", "loss", "predicted", "sha256", "reviewer", "decided_at")
_REQUIRED = ("path", "action")
# Columns whose values show by themselves that they are whole: no half of one is accepted.
_WHOLE_OR_REFUSED = ("action", "sha256", "decided_at")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class _Place:
    """How far the file has been read."""

    inode: int
    size: int
    modified: int


class Manifest:
    """The decisions in one CSV file. The last row of a path stands; `undo` takes the path back to undecided.

    The file is created by the first decision. Other processes may append at the same time, and people may edit it
    between two appends: every call that reads first takes in what is new. A torn last line, left by a process that was
    killed or a disk that was full, is left out and reported in `warnings`. Only `append` changes the file: it moves
    such a line to a file beside the manifest.

    Args:
        path: the CSV file.

    Raises:
        CleanerError: the file cannot be read, or a row makes no sense.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        """What was found wrong with the file and left out, for people to read."""
        self._lock = FileLock(f"{self.path}.lock", thread_local=False)
        self._rows: list[Decision] = []
        self._standing: dict[str, Decision] = {}
        self._columns: list[str] = []
        self._place: _Place | None = None
        self._torn = b""
        self._known = 0
        self._lines = 0
        self._checksum = 0
        self.refresh()

    @classmethod
    def existing(cls, path: str | Path) -> Manifest:
        """The manifest in a file that must be there.

        Raises:
            CleanerError: there is no such file, or it makes no sense.
        """
        if not Path(path).is_file():
            raise CleanerError(f"there is no manifest {str(path)!r}; it is the decisions.csv in the scan folder")
        return cls(path)

    def standing(self) -> Mapping[str, Decision]:
        """For each decided path the decision that stands; what was undone is not in it."""
        return self._standing

    def latest(self) -> Mapping[str, Decision]:
        """For each path that was ever decided its last row, also one that takes it back to undecided."""
        return {decision.path: decision for decision in self._rows}

    def rows(self) -> list[Decision]:
        """Every decision ever taken, in the order of the file."""
        return list(self._rows)

    def decisions(self) -> pd.DataFrame:
        """The decisions that stand, one row a path, as a DataFrame with the columns of the file."""
        import pandas as pd

        standing = list(self._standing.values())
        columns = {name: [getattr(decision, name) for decision in standing] for name in COLUMNS}
        frame: pd.DataFrame = pd.DataFrame(columns | {"action": [decision.action.value for decision in standing]})
        return frame

    def append(self, *decisions: Decision) -> None:
        """Add decisions to the file; when this returns they are on the disk.

        Raises:
            CleanerError: the file as it stands makes no sense.
            OSError: the disk is full, or the file may not be written; nothing was added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._read()
            self._set_aside()
            self._widen()
            header = [] if self._columns else [list(COLUMNS)]
            columns = self._columns or list(COLUMNS)
            text = _csv_lines(header + [_row_for(decision, columns) for decision in decisions])
            self._write_at_end(text.encode("utf-8"))
            if header:
                sync_folder(self.path.parent)
            self._read()

    def refresh(self) -> bool:
        """Take in what other processes and people wrote since; true if there was anything.

        Raises:
            CleanerError: the file cannot be read, or a row makes no sense.
        """
        if _place_of(self.path) == self._place:
            return False
        try:
            with self._lock:
                changed = self._read()
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            # Where nothing can be written nobody can be appending: the file can be read without the lock.
            changed = self._read()
        if self._torn:
            self._warn(
                f"the last line of {str(self.path)!r} is torn or not finished, and left out: {self._torn[:200]!r}; "
                "complete it, end it with a line end, or delete it"
            )
        return changed

    def export(self, out: str | Path) -> int:
        """Write the decisions that stand, one row a path, to another CSV file; returns how many.

        Only a file that an earlier export wrote is replaced.

        Raises:
            CleanerError: there is another file of that name, or it cannot be written; nothing was written.
        """
        out = Path(out)
        if os.path.lexists(out) and not self._may_replace(out):
            raise CleanerError(f"{str(out)!r} is there and is not an earlier export of decisions; give another name")
        try:
            write_whole(out, _csv_lines([list(COLUMNS), *map(_row, self._standing.values())]))
        except OSError as error:
            raise CleanerError(
                f"{str(out)!r} cannot be written ({error.strerror}); give a file in a folder that exists and is yours"
            ) from error
        return len(self._standing)

    def _may_replace(self, out: Path) -> bool:
        """Whether a file is what an export writes, and neither this manifest nor that of a scan."""
        is_of_a_scan = (out.parent / "scan.json").exists() and out.name == "decisions.csv"
        is_this = os.path.realpath(out) == os.path.realpath(self.path)
        return not is_of_a_scan and not is_this and out.is_file() and _is_export(out)

    def _widen(self) -> None:
        """Add to the header the columns that a person left out, so that nothing of a decision is lost.

        The rows stay as they are: one with fewer cells than the header is read, as spreadsheets write such rows.
        """
        missing = [name for name in COLUMNS if name not in self._columns]
        if not self._columns or not missing:
            return
        data = _bytes_of(self.path)
        feed = _Lines(data, first=True)
        next(csv.reader(feed))
        header = data[: feed.bytes].rstrip(b"\r\n")
        rows = data[len(header) :] if data.endswith(b"\n") else data[len(header) :] + b"\r\n"
        write_whole(self.path, b",".join([header, *(name.encode() for name in missing)]) + rows)
        self._read()

    def _write_at_end(self, data: bytes) -> None:
        with open(self.path, "a+b", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            if before:
                file.seek(before - 1)
                # A person may have typed the last row without a line end, or a tear may have taken half of it.
                data = {b"\n": b"", b"\r": b"\n"}.get(file.read(1), b"\r\n") + data
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                # Half a row must not stay: under the lock the tail is ours.
                file.truncate(before)
                raise

    def _read(self) -> bool:
        now = _place_of(self.path)
        if now == self._place:
            return False
        data = _bytes_of(self.path) if now else b""
        before = list(self._rows), dict(self._standing), self._columns, self._lines
        known = self._known
        # Only if every line read before is still there, the rest is new rows; else a person edited the file.
        if not data[:known].endswith(b"\n") or zlib.crc32(data[:known]) != self._checksum:
            self._rows, self._standing, self._columns, self._lines, known = [], {}, [], 0, 0
        try:
            good = known + self._take_in(data[known:])
        except CleanerError:
            # What was read before still stands, and is read on from there once the file is mended.
            self._rows, self._standing, self._columns, self._lines = before
            raise
        self._known, self._checksum = good, zlib.crc32(data[:good])
        # As the file was before it was read: what others write in the meantime is found by the next call.
        self._place = now
        self._torn = data[good:]
        return True

    def _take_in(self, data: bytes) -> int:
        """Parse the records in `data`, which follow what was read before; returns the bytes of the whole records."""
        feed = _Lines(data, first=self._lines == 0)
        before, good = self._lines, 0
        reader = csv.reader(feed, strict=True)
        while True:
            line = before + feed.lines + 1
            try:
                cells = next(reader)
            except StopIteration:
                return good
            except (UnicodeDecodeError, csv.Error) as error:
                if feed.exhausted and self._is_torn(data[good:], error):
                    return good
                reason = f"CSV: {error}" if isinstance(error, csv.Error) else "UTF-8: save the file as UTF-8 CSV"
                raise CleanerError(f"{self._where(line)} is not {reason}") from error
            if feed.exhausted and not data.endswith(b"\n") and not self._is_whole(cells, line):
                return good
            self._take(cells, line)
            good, self._lines = feed.bytes, before + feed.lines

    def _is_whole(self, cells: list[str], line: int) -> bool:
        """Whether a last line without a line end is a row that a person typed, and not the torn half of one."""
        if not self._columns:
            # Only what we write can be torn by us: half of our header. Anything else is for the header's check.
            return cells == list(COLUMNS) or not ",".join(COLUMNS).startswith(",".join(cells))
        ends_whole = self._columns[-1] in _WHOLE_OR_REFUSED and len(cells) == len(self._columns) and cells[-1] != ""
        return ends_whole and self._makes_sense(cells, line)

    def _is_torn(self, tail: bytes, error: Exception) -> bool:
        """Whether a tail that cannot be read is one row that was cut off, and not what follows a person's mistake."""
        if not self._columns:
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
        if not self._columns:
            self._columns = self._check_header(cells)
            return
        if not any(cells):
            return
        decision = self._parse(cells, line)
        self._rows.append(decision)
        if decision.action is Action.UNDO:
            self._standing.pop(decision.path, None)
        else:
            self._standing[decision.path] = decision

    def _check_header(self, cells: list[str]) -> list[str]:
        columns = [name.strip() for name in cells]
        for name in _REQUIRED:
            if columns.count(name) != 1:
                raise CleanerError(
                    f"{self._where(1)}: the header is {cells}; it needs the column {name!r} once, with commas between"
                )
        return columns

    def _parse(self, cells: list[str], line: int) -> Decision:
        if len(cells) > len(self._columns):
            raise CleanerError(
                f"{self._where(line)}: {len(cells)} cells, but the header has {len(self._columns)}; "
                "put text with commas in quotes"
            )
        # Spreadsheets drop empty cells at the end of a row.
        row = dict(zip(self._columns, cells, strict=False))
        try:
            return _decision(row)
        except FieldError as error:
            raise CleanerError(f"{self._where(line)}, column {error.field!r}: {error}") from error

    def _where(self, line: int) -> str:
        return f"{str(self.path)!r}, line {line}"

    def _set_aside(self) -> None:
        """Move a torn last line to a file beside the manifest, so that a row can follow; only under the lock."""
        if not self._torn:
            return
        names = (
            f"{self.path.name}.torn-{self._known}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 10_000)))
        )
        aside = next(file for file in map(self.path.with_name, names) if not file.exists())
        write_whole(aside, self._torn)
        with open(self.path, "r+b") as file:
            file.truncate(self._known)
            os.fsync(file.fileno())
        self._warn(f"the last line of {str(self.path)!r} was torn; it was moved to {aside.name!r}")
        self._read()

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


class _Lines(Iterator[str]):
    """The lines of a piece of UTF-8 text, counting what was handed out; `first` if the file begins here."""

    def __init__(self, data: bytes, first: bool) -> None:
        self._data = data
        self._first = first
        self.bytes = 0
        self.lines = 0

    def __next__(self) -> str:
        if self.exhausted:
            raise StopIteration
        line = self._data[self.bytes : self._data.find(b"\n", self.bytes) + 1 or len(self._data)]
        encoding = "utf-8-sig" if self._first and not self.lines else "utf-8"
        self.bytes, self.lines = self.bytes + len(line), self.lines + 1
        return line.decode(encoding)

    @property
    def exhausted(self) -> bool:
        return self.bytes >= len(self._data)


def _is_export(path: Path) -> bool:
    """Whether a file could come from `Manifest.export`: its header, and below it one row a path."""
    try:
        header, *rows = csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
    except (OSError, ValueError, csv.Error):
        return False
    paths = {row[0] for row in rows if row}
    return header == list(COLUMNS) and len(paths) == len(rows)


def _place_of(path: Path) -> _Place | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
    return _Place(status.st_ino, status.st_size, status.st_mtime_ns)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error


def _decision(row: Mapping[str, str]) -> Decision:
    loss = row.get("loss", "")
    try:
        number = float(loss) if loss else math.nan
    except ValueError as error:
        raise FieldError("loss", loss, "a number, nan or inf is accepted") from error
    return Decision(
        path=path_from_csv(row.get("path", "")),
        action=parse_action(row.get("action", "")),
        loss=number,
        **{
            name: row.get(name, "")
            for name in ("label", "new_label", "split", "predicted", "sha256", "reviewer", "decided_at")
        },
    )


def _row(decision: Decision) -> list[str]:
    return _row_for(decision, list(COLUMNS))


def _row_for(decision: Decision, columns: list[str]) -> list[str]:
    """The cells of a decision in the order of `columns`; columns that people added stay empty."""
    cells = {name: str(getattr(decision, name)) for name in COLUMNS}
    cells["path"] = path_to_csv(decision.path)
    cells["loss"] = "" if math.isnan(decision.loss) and not decision.predicted else number_to_csv(decision.loss)
    return [cells.get(name, "") for name in columns]


def _csv_lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
