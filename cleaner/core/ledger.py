"""The ledger of a manifest: a copy of all acknowledged decisions, to detect lost and reordered rows.

Spreadsheets can save an old copy of a manifest, which removes later decisions, or sort its rows, which makes old
decisions current again. The ledger lies beside the manifest, and only this program writes it.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.manifest_rows import COLUMNS, ManifestRows
from cleaner.core.records import Decision, decision_revision, parse_time
from cleaner.core.terminal import abbreviate

__all__ = ["Edits", "Ledger"]

_SHOWN = 3
_LineOf = Callable[["Decision | None", "list[str]"], bytes]


@dataclass(frozen=True)
class Edits:
    """Differences between a manifest and the decisions acknowledged before.

    Attributes:
        lost: acknowledged decisions without a row in the manifest, oldest first.
        reordered: paths whose rows are not in the order of the decisions, so that an old one may be current.
    """

    lost: tuple[Decision, ...] = ()
    reordered: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.reordered)

    def message(self, name: str) -> str:
        """Describe the differences of the manifest called `name`; empty without any."""
        parts = []
        if n := len(self.lost):
            rows = [f"{d.path!r} ({d.action}{f' by {d.reviewer}' if d.reviewer else ''})" for d in self.lost]
            parts.append(f"{n} {'decision is' if n == 1 else 'decisions are'} missing: {abbreviate(rows, _SHOWN)}")
        if n := len(self.reordered):
            paths = abbreviate(map(repr, self.reordered), _SHOWN)
            images = f"{n} image" if n == 1 else f"{n} images"
            parts.append(f"rows about {images} are out of order, so that other decisions may stand: {paths}")
        return f"{name!r} was edited outside of cleaner: {'; '.join(parts)}" if parts else ""


class Ledger:
    """The acknowledged rows of one manifest, in a file of the same format.

    While nobody edits the manifest, it begins with the bytes of the ledger, which is quick to check. All methods need
    the manifest's lock and its current rows; without, rows of other processes would seem to be lost.

    Args:
        manifest: the manifest's file.
    """

    def __init__(self, manifest: Path) -> None:
        self.path = manifest.with_name(f"{manifest.name}.ledger")
        # The state of the last comparison, so that a new decision needs a comparison of its own bytes only.
        self._rows: ManifestRows | None = None
        self._inode = 0
        self._size = 0
        self._agreed = 0
        self._edits: tuple[tuple[int, int], Edits] | None = None

    def edits(self, rows: ManifestRows) -> Edits:
        """Compare all rows of the manifest with the acknowledged decisions.

        Raises:
            CleanerError: the ledger is invalid.
            OSError: the ledger cannot be read.
        """
        if self._is_beginning(rows):
            unknown = rows.repeated(begin=rows.number_at(self._agreed))
            return Edits(reordered=tuple(path for path in unknown if _runs_backwards(rows.all_for(path))))
        version = rows.count, self._size
        if self._edits is None or self._edits[0] != version:
            self._edits = version, _compared(self._acknowledged(), rows)
        return self._edits[1]

    def add(self, rows: ManifestRows, before: Edits, line_of: _LineOf, decisions: Sequence[Decision]) -> None:
        """Acknowledge decisions that were just added to the manifest; earlier differences stay.

        Args:
            rows: all rows of the manifest.
            before: the differences before the decisions were added.
            line_of: returns the line of a decision in these columns, or of None their header.
            decisions: the added decisions.
        """
        is_beginning = self._is_beginning(rows)
        if before:
            known = self._acknowledged()
            columns = known.columns or list(COLUMNS)
            header = b"" if known.columns else line_of(None, columns)
            self._append(header + b"".join(line_of(decision, columns) for decision in decisions), len(known.data))
        elif is_beginning:
            self._append(rows.data[self._agreed :], self._agreed)
        else:
            self.accept(rows)

    def accept(self, rows: ManifestRows) -> None:
        """Acknowledge the manifest as it is."""
        write_whole(self.path, bytes(rows.data))

    def restored(self, rows: ManifestRows, line_of: _LineOf) -> bytes:
        """Return the manifest with lost rows restored and reordered rows in the order of the decisions.

        Only paths with lost or reordered rows change: their rows are placed together where the last one was.

        Args:
            rows: all rows of the manifest; they keep their text.
            line_of: returns the line of a decision in these columns, or of None their header.
        """
        edits, known, columns = self.edits(rows), self._acknowledged(), rows.columns or list(COLUMNS)
        affected = dict.fromkeys([*(decision.path for decision in edits.lost), *edits.reordered])
        texts: dict[tuple[str, ...], bytes] = {}
        last: dict[str, int] = {}
        for number in range(rows.count):
            decision = rows.row(number)
            texts[_id(decision)], last[decision.path] = rows.text(number), number
        whole = {
            path: [texts.get(_id(decision)) or line_of(decision, columns) for decision in _in_order(known, rows, path)]
            for path in affected
        }
        lines = [rows.header or line_of(None, columns)]
        for number in range(rows.count):
            path = rows.row(number).path
            if path not in affected:
                lines.append(rows.text(number))
            elif last[path] == number:
                lines += whole.pop(path)
        lines += [line for path in whole for line in whole[path]]
        return b"".join(line if line.endswith(b"\n") else line + b"\r\n" for line in lines)

    def _is_beginning(self, rows: ManifestRows) -> bool:
        """Return whether the manifest begins with the ledger's bytes; their number is `_agreed` then."""
        try:
            status = os.stat(self.path)
            inode, self._size = status.st_ino, status.st_size
        except FileNotFoundError:
            inode = self._size = 0
        if rows is not self._rows or inode != self._inode or self._size < max(0, self._agreed):
            self._rows, self._inode, self._agreed, self._edits = rows, inode, 0, None
        if self._agreed >= 0 and self._size > self._agreed:
            with open(self.path, "rb") as file:
                file.seek(self._agreed)
                tail = file.read()
            same = rows.data[self._agreed : self._agreed + len(tail)] == tail
            self._agreed = self._agreed + len(tail) if same else -1
        return self._agreed >= 0

    def _append(self, data: bytes | bytearray, whole: int) -> None:
        """Add lines after the first `whole` bytes, in place of a torn end."""
        # Not synced: the decisions are safe in the manifest, and a ledger cut short by a power cut loses none.
        with open(self.path, "ab", buffering=0) as file:
            file.truncate(whole)
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                file.truncate(whole)
                raise

    def _acknowledged(self) -> ManifestRows:
        rows = ManifestRows(str(self.path))
        try:
            rows.add(self.path.read_bytes() if self._inode else b"")
        except CleanerError as error:
            raise CleanerError(f"{error}; delete that file to continue without a list of lost decisions") from error
        return rows


def _id(decision: Decision) -> tuple[str, ...]:
    """Identify a decision by fields that spreadsheets do not reformat, unlike the loss."""
    return decision.path, *decision_revision(decision)


def _compared(known: ManifestRows, rows: ManifestRows) -> Edits:
    there = Counter(_id(rows.row(number)) for number in range(rows.count))
    lost = []
    for number in range(known.count):
        decision = known.row(number)
        there[_id(decision)] -= 1
        if there[_id(decision)] < 0:
            lost.append(decision)
    missing = {decision.path for decision in lost}
    unknown = {path for (path, *_), count in there.items() if count > 0}
    reordered = [path for path in known.repeated() if not _is_in_order(known.all_for(path), rows.all_for(path))]
    reordered += [path for path in rows.repeated() if path in unknown and _runs_backwards(rows.all_for(path))]
    return Edits(tuple(lost), tuple(path for path in dict.fromkeys(reordered) if path not in missing))


def _is_in_order(known: Sequence[Decision], found: Sequence[Decision]) -> bool:
    """Return whether the found decisions include the known ones in the same order."""
    rest = iter(map(_id, found))
    return all(_id(decision) in rest for decision in known)


def _in_order(known: ManifestRows, rows: ManifestRows, path: str) -> list[Decision]:
    """Return all decisions about a path: the acknowledged ones in their order, others between them by time."""
    decisions = known.all_for(path)
    left = Counter(map(_id, decisions))
    for decision in sorted(rows.all_for(path), key=_time):
        left[_id(decision)] -= 1
        if left[_id(decision)] < 0:
            later = (at for at, other in enumerate(decisions) if _time(other) > _time(decision))
            decisions.insert(next(later, len(decisions)), decision)
    return decisions


def _runs_backwards(decisions: Sequence[Decision]) -> bool:
    latest, seen = -math.inf, set[tuple[str, ...]]()
    for decision in decisions:
        time = _time(decision) if decision.decided_at else latest
        # An undo on the page repeats an earlier row with its old time.
        if time < latest and _id(decision) not in seen:
            return True
        latest = max(latest, time)
        seen.add(_id(decision))
    return False


def _time(decision: Decision) -> float:
    """Return the time of a decision; infinity for a row without one, which a person added."""
    return parse_time(decision.decided_at).timestamp() if decision.decided_at else math.inf
