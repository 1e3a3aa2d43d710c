"""The manifest: an append-only CSV of decisions that people, spreadsheets and several processes may share."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from cleaner.core.errors import CleanerError
from cleaner.core.files import cell_to_csv, number_to_csv, path_to_csv, remove_leftovers, sync_folder, write_whole
from cleaner.core.ledger import Edits, Ledger
from cleaner.core.manifest_rows import COLUMNS, Lines, ManifestRows
from cleaner.core.records import Decision, decision_revision

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Manifest", "overtaken"]

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
# Where the file grew, so many bytes before the new ones must be as they were read, so that rows were added and nothing
# else. What alone escapes is an edit further back that moves nothing, by a program that also adds rows and keeps the
# inode: it is seen when the file is next read from its beginning, as every command and every new page does.
_LOOK_BACK = 1 << 22


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
        self._rows = ManifestRows(str(self.path))
        self._place: _Place | None = None
        self._torn = b""
        self._ledger = Ledger(self.path)
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

    def standing(self) -> ManifestRows:
        """For each decided path the decision that stands; what was undone is not in it.

        It is the same object, with what was added, until somebody edits the file.
        """
        return self._rows

    def latest(self) -> Mapping[str, Decision]:
        """For each path that was ever decided its last row, also one that takes it back to undecided."""
        return self._rows.latest()

    def rows(self) -> list[Decision]:
        """Every decision ever taken, in the order of the file."""
        return list(map(self._rows.row, range(self._rows.count)))

    @property
    def edits(self) -> Edits:
        """Acknowledged decisions that somebody removed from the file or put into another order.

        Raises:
            CleanerError: the ledger beside the file makes no sense, or cannot be read.
        """
        if not (self.path.exists() or self._ledger.path.exists()):
            return Edits()  # nor is a lock made beside what is not there
        try:
            return self._edits_now()
        except OSError as error:
            raise CleanerError(f"{str(self._ledger.path)!r} cannot be read: {error.strerror}") from error

    def _edits_now(self) -> Edits:
        try:
            with self._lock:
                # Else rows that another process added since would seem to be lost.
                self._read()
                return self._ledger.edits(self._rows)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            # Where nothing can be written nobody can be appending.
            self._read()
            return self._ledger.edits(self._rows)

    @property
    def edited(self) -> str:
        """Say how the file was edited, and what can be done; empty where no acknowledged decision is concerned."""
        message = self.edits.message(str(self.path))
        todo = "On the review page restore them, or accept the file as it is; `apply --accept-edited` accepts it too"
        return f"{message}. {todo}" if message else ""

    def accept_edits(self) -> None:
        """Take the file as it is for what was decided, whatever was removed from it.

        Raises:
            CleanerError: the file makes no sense.
            OSError: the ledger cannot be written.
        """
        with self._lock:
            self._read()
            self._ledger.accept(self._rows)

    def restore(self) -> Edits:
        """Put back the acknowledged decisions that were removed, and all of them into their order; returns what was.

        The edited file is kept beside the manifest. Rows that people added stay, in the order of their times.

        Raises:
            CleanerError: the file makes no sense.
            OSError: it cannot be written; it is as it was.
        """
        with self._lock:
            self._read()
            edits = self.edits
            if not edits:
                return edits
            if self.path.exists():
                write_whole(self._free_name("edited"), bytes(self._rows.data + self._torn))
            write_whole(self.path, self._ledger.restored(self._rows, _line))
            self._read()
            self._ledger.accept(self._rows)
        return edits

    def decisions(self) -> pd.DataFrame:
        """The decisions that stand, one row a path, as a DataFrame with the columns of the file."""
        import pandas as pd

        standing = list(self._rows.values())
        columns = {name: [getattr(decision, name) for decision in standing] for name in COLUMNS}
        frame: pd.DataFrame = pd.DataFrame(columns | {"action": [decision.action.value for decision in standing]})
        return frame

    def append(self, *decisions: Decision, expected: Mapping[str, Decision | None] | None = None) -> None:
        """Add decisions to the file; when this returns they are on the disk.

        Args:
            decisions: what to add.
            expected: what the caller takes to stand for paths, None where nothing; all is added or, where another
                process was quicker, nothing. By default it does not matter what stands.

        Raises:
            CleanerError: the file as it stands makes no sense, or something else stands than was expected; nothing
                was added.
            OSError: the disk is full, or the file may not be written; nothing was added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._read()
            self._check_stands(expected or {})
            self._set_aside()
            self._widen()
            before = self._edits_before()
            header = [] if self._rows.columns else [list(COLUMNS)]
            columns = self._rows.columns or list(COLUMNS)
            text = _csv_lines(header + [_row_for(decision, columns) for decision in decisions])
            self._write_at_end(text.encode("utf-8"))
            if header:
                sync_folder(self.path.parent)
            self._read()
            if before is not None:
                self._acknowledge(decisions, before)

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
        remove_leftovers(out.parent)
        try:
            write_whole(out, _csv_lines([list(COLUMNS), *map(_row, self._rows.values())]))
        except OSError as error:
            raise CleanerError(
                f"{str(out)!r} cannot be written ({error.strerror}); give a file in a folder that exists and is yours"
            ) from error
        return len(self._rows)

    def _edits_before(self) -> Edits | None:
        """The differences before decisions are added; None where the ledger is damaged, which forbids no decision."""
        try:
            return self.edits
        except CleanerError as error:
            self._warn(str(error))
            return None

    def _acknowledge(self, decisions: Sequence[Decision], before: Edits) -> None:
        try:
            self._ledger.add(self._rows, before, _line, decisions)
        except OSError as error:
            # The decisions are taken; an error would say that they are not.
            self._warn(
                f"{str(self._ledger.path)!r} cannot be written ({error.strerror}), so that nobody would notice if "
                "these decisions were removed from the manifest"
            )

    def _may_replace(self, out: Path) -> bool:
        """Whether a file is what an export writes, and neither this manifest nor that of a scan."""
        is_of_a_scan = (out.parent / "scan.json").exists() and out.name == "decisions.csv"
        is_this = os.path.realpath(out) == os.path.realpath(self.path)
        return not is_of_a_scan and not is_this and out.is_file() and _is_export(out)

    def _check_stands(self, expected: Mapping[str, Decision | None]) -> None:
        """Refuse where something else stands than is expected; only under the lock does that remain so."""
        for path, decision in expected.items():
            now = self._rows.get(path)
            if decision_revision(now) != decision_revision(decision):
                raise overtaken(path, now)

    def _widen(self) -> None:
        """Add to the header the columns that a person left out, so that nothing of a decision is lost.

        The rows stay as they are: one with fewer cells than the header is read, as spreadsheets write such rows.
        """
        columns = self._rows.columns
        missing = [name for name in COLUMNS if name not in columns]
        if not columns or not missing:
            return
        data = _bytes_of(self.path)
        feed = Lines(data, first=True)
        next(csv.reader(feed))
        header = data[: feed.at].rstrip(b"\r\n")
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
        rows, new = self._rows, self._added(now)
        if new is None:
            rows, new = ManifestRows(str(self.path)), _bytes_of(self.path) if now else b""
        # Where it makes no sense, what was read before still stands, and is read on from there once it is mended.
        self._torn = rows.add(new)
        self._rows = rows
        # As the file was before it was read: what others write in the meantime is found by the next call.
        self._place = now
        return True

    def _added(self, now: _Place | None) -> bytes | None:
        """The bytes after those that were read before; None where more changed than that rows were added."""
        known, before = self._rows.data, self._place
        if before is None or now is None or now.inode != before.inode or now.size < len(known):
            return None
        if not known.endswith(b"\n"):
            return None
        begin = max(0, len(known) - _LOOK_BACK)
        data = _bytes_of(self.path, begin)
        size = len(known) - begin
        return data[size:] if data[:size] == known[begin:] else None

    def _set_aside(self) -> None:
        """Move a torn last line to a file beside the manifest, so that a row can follow; only under the lock."""
        if not self._torn:
            return
        known = len(self._rows.data)
        aside = self._free_name(f"torn-{known}")
        write_whole(aside, self._torn)
        with open(self.path, "r+b") as file:
            file.truncate(known)
            os.fsync(file.fileno())
        self._warn(f"the last line of {str(self.path)!r} was torn; it was moved to {aside.name!r}")
        self._read()

    def _free_name(self, what: str) -> Path:
        names = (f"{self.path.name}.{what}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
        return next(file for file in map(self.path.with_name, names) if not file.exists())

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def overtaken(path: str, standing: Decision | None) -> CleanerError:
    """The error for one who would decide about a path without having seen what stands for it."""
    if standing is None:
        return CleanerError(f"somebody took back the decision about {path!r} meanwhile; decide again if you wish")
    what = f"{standing.action} {standing.new_label}".strip()
    return CleanerError(
        f"{standing.reviewer or 'somebody'} decided {what!r} for {path!r} meanwhile; decide again if you wish"
    )


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


def _bytes_of(path: Path, begin: int = 0) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read()
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error


def _line(decision: Decision | None, columns: list[str]) -> bytes:
    """One line of the file: the row of a decision, or the header for None."""
    return _csv_lines([columns if decision is None else _row_for(decision, columns)]).encode("utf-8")


def _row(decision: Decision) -> list[str]:
    return _row_for(decision, list(COLUMNS))


def _row_for(decision: Decision, columns: list[str]) -> list[str]:
    """The cells of a decision in the order of `columns`; columns that people added stay empty."""
    cells = {name: cell_to_csv(str(getattr(decision, name))) for name in COLUMNS}
    cells["path"] = path_to_csv(decision.path)
    cells["loss"] = "" if math.isnan(decision.loss) and not decision.predicted else number_to_csv(decision.loss)
    return [cells.get(name, "") for name in columns]


def _csv_lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
