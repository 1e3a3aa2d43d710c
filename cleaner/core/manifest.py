"""The manifest: an append-only CSV of decisions, shared by people, spreadsheets and several processes."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from cleaner.core.arguments import manifest_path
from cleaner.core.errors import CleanerError
from cleaner.core.files import cell_to_csv, number_to_csv, path_to_csv, remove_leftovers, sync_folder, write_whole
from cleaner.core.ledger import Edits, Ledger
from cleaner.core.manifest_rows import COLUMNS, Lines, ManifestRows
from cleaner.core.markup import lines, table
from cleaner.core.records import Decision, decision_revision

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Manifest", "overtaken"]

_T = TypeVar("_T")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
# If this many bytes before the new ones are unchanged, the file is taken to have only grown. An edit before these, of
# the same length, is missed until a command or a new page reads the whole file.
_LOOK_BACK = 1 << 22


@dataclass(frozen=True)
class _FileVersion:
    """The version of the file that was read."""

    inode: int
    size: int
    modified: int


class Manifest:
    """The decisions in one CSV file. The last row of a path is current; `undo` makes the path undecided again.

    The first decision creates the file. Other processes may append at the same time, and people may edit the file: each
    call first reads the new rows. A torn last line, left by a killed process or a full disk, is ignored and reported in
    `warnings`; `append` moves it to a file beside the manifest.

    Args:
        path: the CSV file.

    Raises:
        CleanerError: the file cannot be read, or a row is invalid.

    Examples:
        >>> cleaner.Manifest("scan/decisions.csv")
        <Manifest 'scan/decisions.csv' with the decisions about 2 images>
    """

    def __init__(self, path: str | Path) -> None:
        self.path = manifest_path(path)
        self.warnings: list[str] = []
        """Parts of the file that were ignored, for people to read."""
        self._lock = FileLock(f"{self.path}.lock", thread_local=False)
        self._rows = ManifestRows(str(self.path))
        self._version: _FileVersion | None = None
        self._torn = b""
        self._ledger = Ledger(self.path)
        self.refresh()

    def __repr__(self) -> str:
        return f"<Manifest {str(self.path)!r} with the decisions about {len(self.standing()):,} images>"

    def _repr_html_(self) -> str:
        counts = Counter(decision.action.value for decision in self.standing().values())
        about = [f"Decisions in {self.path}", *self.warnings, *filter(None, [self.edited])]
        after = f"Next: cleaner.apply({str(self.path)!r}, dry_run=True) shows what they would change"
        return lines(about) + table(("decision", "images"), counts.most_common()) + lines([after])

    @classmethod
    def existing(cls, path: str | Path) -> Manifest:
        """Return the manifest in an existing file.

        Raises:
            CleanerError: the file does not exist or is invalid.
        """
        if not manifest_path(path).is_file():
            raise CleanerError(f"there is no manifest {str(path)!r}; give the decisions.csv of a scan folder")
        return cls(path)

    def standing(self) -> ManifestRows:
        """Return the current decision of each decided path.

        The same object is returned, with new rows added, until somebody edits the file.
        """
        return self._rows

    def latest(self) -> Mapping[str, Decision]:
        """Return the last row of each path, including `undo` rows.

        Examples:
            >>> manifest.latest()["dog/dog_1.png"].new_label
            'bear'
        """
        return self._rows.latest()

    def rows(self) -> list[Decision]:
        """Return all decisions, in the order of the file.

        Examples:
            >>> len(manifest.rows())
            2
        """
        return list(map(self._rows.row, range(self._rows.count)))

    @property
    def edits(self) -> Edits:
        """Acknowledged decisions that somebody removed from the file or reordered.

        Raises:
            CleanerError: the ledger beside the file is invalid or cannot be read.
        """
        if not (self.path.exists() or self._ledger.path.exists()):
            return Edits()
        try:
            return self._locked(self._read_edits)
        except OSError as error:
            raise CleanerError(f"{str(self._ledger.path)!r} cannot be read: {error.strerror}") from error

    def _read_edits(self) -> Edits:
        self._read()  # otherwise rows that other processes added would seem to be lost
        return self._ledger.edits(self._rows)

    def _locked(self, read: Callable[[], _T]) -> _T:
        """Call `read` under the lock; without it where nothing can be written, so that nobody can be appending."""
        try:
            with self._lock:
                return read()
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            return read()

    @property
    def edited(self) -> str:
        """Describe lost and reordered decisions, and what to do; empty if there are none."""
        message = self.edits.message(str(self.path))
        todo = "On the review page restore them, or accept the file as it is; so does apply with accept_edited=True"
        return f"{message}. {todo}" if message else ""

    def accept_edits(self) -> None:
        """Accept the file as it is, without the decisions that were removed from it.

        Raises:
            CleanerError: the file is invalid.
            OSError: the ledger cannot be written.
        """
        with self._lock:
            self._read()
            self._ledger.accept(self._rows)

    def restore(self) -> Edits:
        """Restore removed decisions and the order of all decisions; return the edits that were reverted.

        A copy of the edited file is kept beside the manifest. Rows that people added stay, in the order of their times.

        Raises:
            CleanerError: the file is invalid.
            OSError: the file cannot be written; it is unchanged.
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
        """Return the current decisions, one row per path, with the columns of the file.

        Examples:
            >>> manifest.decisions()["action"].tolist()
            ['delete', 'relabel']
        """
        import pandas as pd

        standing = list(self._rows.values())
        columns = {name: [getattr(decision, name) for decision in standing] for name in COLUMNS}
        frame: pd.DataFrame = pd.DataFrame(columns | {"action": [decision.action.value for decision in standing]})
        return frame

    def append(self, *decisions: Decision, expected: Mapping[str, Decision | None] | None = None) -> None:
        """Append decisions to the file; they are on the disk when this returns.

        Args:
            decisions: the decisions to add.
            expected: expected current decision per path, None for undecided. If another process was quicker, nothing
                is added. By default nothing is expected.

        Raises:
            CleanerError: the file is invalid, or a current decision is not the expected one; nothing was added.
            OSError: the file cannot be written; nothing was added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._read()
            self._check_current(expected or {})
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
        """Read the rows that others wrote since the last call; return whether there are any.

        Raises:
            CleanerError: the file cannot be read, or a row is invalid.
        """
        if _version_of(self.path) == self._version:
            return False
        changed = self._locked(self._read)
        if self._torn:
            self._warn(
                f"the last line of {str(self.path)!r} is torn or unfinished, and ignored: {self._torn[:200]!r}; "
                "complete it with a line end, or delete it"
            )
        return changed

    def export(self, out: str | Path) -> int:
        """Write the current decisions, one row per path, to another CSV file; return their number.

        Raises:
            CleanerError: the file exists and is not an earlier export, or cannot be written; nothing was written.

        Examples:
            >>> manifest.export("final.csv")
            2
        """
        out = Path(out)
        if os.path.lexists(out) and not self._may_replace(out):
            raise CleanerError(f"{str(out)!r} exists and is not an earlier export of decisions; give another name")
        remove_leftovers(out.parent)
        columns = list(COLUMNS)
        try:
            write_whole(out, _csv_lines([columns, *(_row_for(row, columns) for row in self._rows.values())]))
        except OSError as error:
            raise CleanerError(
                f"{str(out)!r} cannot be written ({error.strerror}); give a file in a folder that exists and is yours"
            ) from error
        return len(self._rows)

    def _edits_before(self) -> Edits | None:
        """Return the edits before decisions are added; None for a damaged ledger, which prevents no decision."""
        try:
            return self.edits
        except CleanerError as error:
            self._warn(str(error))
            return None

    def _acknowledge(self, decisions: Sequence[Decision], before: Edits) -> None:
        try:
            self._ledger.add(self._rows, before, _line, decisions)
        except OSError as error:
            # No error, since the decisions themselves are written.
            self._warn(
                f"{str(self._ledger.path)!r} cannot be written ({error.strerror}); a removal of these decisions from "
                "the manifest would go unnoticed"
            )

    def _may_replace(self, out: Path) -> bool:
        """Return whether a file is an export, and neither this manifest nor that of a scan."""
        is_of_a_scan = (out.parent / "scan.json").exists() and out.name == "decisions.csv"
        is_this = os.path.realpath(out) == os.path.realpath(self.path)
        return not is_of_a_scan and not is_this and out.is_file() and _is_export(out)

    def _check_current(self, expected: Mapping[str, Decision | None]) -> None:
        """Check the current decisions; the result holds while the lock is held."""
        for path, decision in expected.items():
            now = self._rows.get(path)
            if decision_revision(now) != decision_revision(decision):
                raise overtaken(path, now)

    def _widen(self) -> None:
        """Add columns that a person removed to the header; rows may have fewer cells than the header."""
        columns = self._rows.columns
        missing = [name for name in COLUMNS if name not in columns]
        if not columns or not missing:
            return
        data = _bytes_of(self.path)
        lines = Lines(data, first=True)
        next(csv.reader(lines))
        header = data[: lines.at].rstrip(b"\r\n")
        rows = data[len(header) :] if data.endswith(b"\n") else data[len(header) :] + b"\r\n"
        write_whole(self.path, b",".join([header, *(name.encode() for name in missing)]) + rows)
        self._read()

    def _write_at_end(self, data: bytes) -> None:
        with open(self.path, "a+b", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            if before:
                file.seek(before - 1)
                # A person may have typed the last row without a line end, or it may be torn.
                data = {b"\n": b"", b"\r": b"\n"}.get(file.read(1), b"\r\n") + data
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                # Remove the partial row: under the lock the tail is ours.
                file.truncate(before)
                raise

    def _read(self) -> bool:
        now = _version_of(self.path)
        if now == self._version:
            return False
        rows, new = self._rows, self._added(now)
        if new is None:
            rows, new = ManifestRows(str(self.path)), _bytes_of(self.path) if now else b""
        # After an error the earlier rows stay, and reading resumes behind them.
        self._torn = rows.add(new)
        self._rows = rows
        # The version before reading: the next call finds rows that others add meanwhile.
        self._version = now
        return True

    def _added(self, now: _FileVersion | None) -> bytes | None:
        """Return the bytes after those read before; None if the file did not only grow."""
        known, before = self._rows.data, self._version
        if before is None or now is None or now.inode != before.inode or now.size < len(known):
            return None
        if not known.endswith(b"\n"):
            return None
        begin = max(0, len(known) - _LOOK_BACK)
        data = _bytes_of(self.path, begin)
        size = len(known) - begin
        return data[size:] if data[:size] == known[begin:] else None

    def _set_aside(self) -> None:
        """Move a torn last line to a file beside the manifest, so that a row can follow; needs the lock."""
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
    """Return the error for a decision about a path whose current decision the reviewer has not seen."""
    if standing is None:
        return CleanerError(f"somebody took back the decision about {path!r} meanwhile; decide again if you wish")
    what = f"{standing.action} {standing.new_label}".strip()
    who = standing.reviewer or "somebody"
    return CleanerError(f"{who} decided {what!r} for {path!r} meanwhile; decide again if you wish")


def _is_export(path: Path) -> bool:
    """Return whether a file can be a `Manifest.export`: our header and one row per path."""
    try:
        header, *rows = csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
    except (OSError, ValueError, csv.Error):
        return False
    paths = {row[0] for row in rows if row}
    return header == list(COLUMNS) and len(paths) == len(rows)


def _version_of(path: Path) -> _FileVersion | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
    return _FileVersion(status.st_ino, status.st_size, status.st_mtime_ns)


def _bytes_of(path: Path, begin: int = 0) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read()
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error


def _line(decision: Decision | None, columns: list[str]) -> bytes:
    """Return one line of the file: the row of a decision, or the header for None."""
    return _csv_lines([columns if decision is None else _row_for(decision, columns)]).encode("utf-8")


def _row_for(decision: Decision, columns: list[str]) -> list[str]:
    """Return the cells of a decision in these columns; columns that people added stay empty."""
    cells = {name: cell_to_csv(str(getattr(decision, name))) for name in COLUMNS}
    cells["path"] = path_to_csv(decision.path)
    cells["loss"] = "" if math.isnan(decision.loss) and not decision.predicted else number_to_csv(decision.loss)
    return [cells.get(name, "") for name in columns]


def _csv_lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
