"""The ledger of a manifest: a copy of every acknowledged decision, which shows that rows were lost or reordered.

People edit a manifest with spreadsheets. One that saves an old copy removes the decisions taken since; one that sorts
the rows makes overruled decisions stand again. The ledger lies beside the manifest, and only this program writes it.
"""

from __future__ import annotations

import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.manifest_rows import COLUMNS, ManifestRows
from cleaner.core.records import Decision, face_of, parse_time

__all__ = ["Edits", "Ledger"]

_SHOWN = 3


@dataclass(frozen=True)
class Edits:
    """Differences between a manifest and the decisions acknowledged before.

    Attributes:
        lost: acknowledged decisions without a row in the manifest, in the order in which they were taken.
        reordered: paths whose rows are not in the order in which they were decided, so that another one may stand.
    """

    lost: tuple[Decision, ...] = ()
    reordered: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.reordered)

    def message(self, name: str) -> str:
        """Describe the differences of the manifest called `name`; empty without any."""
        parts = []
        if self.lost:
            rows = [f"{d.path!r} ({d.action}{f' by {d.reviewer}' if d.reviewer else ''})" for d in self.lost]
            parts.append(f"{_count(len(self.lost), 'decision is', 'decisions are')} missing: {_some(rows)}")
        if self.reordered:
            images = _count(len(self.reordered), "image", "images")
            paths = _some(list(map(repr, self.reordered)))
            parts.append(f"rows about {images} are out of order, so that other decisions may stand: {paths}")
        return f"{name!r} was edited outside of cleaner: {'; '.join(parts)}" if parts else ""


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


class Ledger:
    """The acknowledged rows of one manifest, in a file of the same form.

    As long as nobody edits the manifest the ledger is a beginning of it, byte for byte, which is quick to check.
    Methods that write expect the manifest's lock to be held.

    Args:
        manifest: the manifest's file.
    """

    def __init__(self, manifest: Path) -> None:
        self.path = manifest.with_name(f"{manifest.name}.ledger")
        # What was found of these rows and this file, so that a further decision needs a look at its own bytes only.
        self._rows: ManifestRows | None = None
        self._inode = 0
        self._agreed = 0
        self._edits: Edits | None = None

    def edits(self, rows: ManifestRows) -> Edits:
        """Compare all rows of the manifest with the acknowledged decisions.

        Raises:
            CleanerError: the ledger makes no sense.
            OSError: it cannot be read.
        """
        if self._is_beginning(rows):
            unknown = rows.repeated(begin=rows.number_at(self._agreed))
            return Edits(reordered=tuple(path for path in unknown if _runs_backwards(rows.of(path))))
        if self._edits is None:
            self._edits = _compared(self._acknowledged(), rows)
        return self._edits

    def add(self, rows: ManifestRows, lines_in: Callable[[list[str]], bytes]) -> None:
        """Acknowledge decisions that were just added to the manifest; differences that were there before stay.

        Args:
            rows: all rows of the manifest.
            lines_in: gives the lines of the added decisions in some columns.
        """
        if self._is_beginning(rows):
            self._append(rows.data[self._agreed :])
        elif self._edits is None or self._edits:
            self._append(lines_in(self._acknowledged().columns))
        else:
            self.accept(rows)

    def accept(self, rows: ManifestRows) -> None:
        """Acknowledge the manifest as it is, whatever it lost."""
        write_whole(self.path, bytes(rows.data))

    def restored(self, rows: ManifestRows, line_of: Callable[[Decision | None, list[str]], bytes]) -> bytes:
        """Return the rows of the manifest with all acknowledged ones back in their order; unknown ones follow.

        Args:
            rows: all rows of the manifest; those that are there keep their text.
            line_of: gives the line of a decision in some columns; of None their header.
        """
        texts: dict[object, deque[bytes]] = {}
        for number in range(rows.count):
            texts.setdefault(_id(rows.row(number)), deque()).append(rows.text(number))
        columns = rows.columns or list(COLUMNS)
        lines = []
        for number in range((known := self._acknowledged()).count):
            decision = known.row(number)
            left = texts.get(_id(decision))
            lines.append(left.popleft() if left else line_of(decision, columns))
        unknown = [text for number in range(rows.count) for text in _taken(texts, _id(rows.row(number)))]
        header = rows.header or line_of(None, columns)
        return header + b"".join(text if text.endswith(b"\n") else text + b"\r\n" for text in (*lines, *unknown))

    def _is_beginning(self, rows: ManifestRows) -> bool:
        """Whether the manifest begins with the ledger's bytes, of which there are `_agreed` then."""
        try:
            status = os.stat(self.path)
            inode, size = status.st_ino, status.st_size
        except FileNotFoundError:
            inode = size = 0
        if rows is not self._rows or inode != self._inode or size < max(0, self._agreed):
            self._rows, self._inode, self._agreed, self._edits = rows, inode, 0, None
        if self._agreed >= 0 and size > self._agreed:
            with open(self.path, "rb") as file:
                file.seek(self._agreed)
                tail = file.read()
            same = rows.data[self._agreed : self._agreed + len(tail)] == tail
            self._agreed = self._agreed + len(tail) if same else -1
        return self._agreed >= 0

    def _append(self, data: bytes | bytearray) -> None:
        # Not synced: the decisions are safe in the manifest, and what a power cut takes from here is not missed there.
        with open(self.path, "ab", buffering=0) as file:
            before = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                file.truncate(before)
                raise

    def _acknowledged(self) -> ManifestRows:
        found = ManifestRows(str(self.path))
        try:
            found.take_in(self.path.read_bytes() if self._inode else b"")
        except CleanerError as error:
            raise CleanerError(
                f"{error}; delete that file to go on without knowing which decisions were lost"
            ) from error
        return found


def _taken(texts: Mapping[object, deque[bytes]], key: object) -> Iterator[bytes]:
    if left := texts.get(key):
        yield left.popleft()


def _id(decision: Decision) -> tuple[str, ...]:
    """Identify a decision by what spreadsheets leave as it is; they write losses in other digits."""
    return decision.path, *face_of(decision)


def _compared(known: ManifestRows, rows: ManifestRows) -> Edits:
    there = Counter(_id(rows.row(number)) for number in range(rows.count))
    lost = []
    for number in range(known.count):
        decision = known.row(number)
        there[_id(decision)] -= 1
        if there[_id(decision)] < 0:
            lost.append(decision)
    missing = {decision.path for decision in lost}
    repeated = [path for path in known.repeated() if path not in missing]
    reordered = [path for path in repeated if not _is_in_order(known.of(path), rows.of(path))]
    return Edits(tuple(lost), tuple(reordered))


def _is_in_order(known: Sequence[Decision], found: Sequence[Decision]) -> bool:
    """Whether the known decisions stand among those found in the same order."""
    rest = iter(map(_id, found))
    return all(_id(decision) in rest for decision in known)


def _runs_backwards(decisions: Sequence[Decision]) -> bool:
    latest, seen = -math.inf, set[tuple[str, ...]]()
    for decision in decisions:
        time = parse_time(decision.decided_at).timestamp() if decision.decided_at else latest
        # An undo on the page repeats the row that stands again, with its own time.
        if time < latest and _id(decision) not in seen:
            return True
        latest = max(latest, time)
        seen.add(_id(decision))
    return False
