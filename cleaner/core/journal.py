"""What an apply does, written before it is done: a file of JSON lines from which everything can be put back.

The first line says which dataset it is about. Then comes a line for each operation, with the identity of its file, and
then one for each state that was reached, and for what is about to be removed from the trash. What was done before such
a line is there is known from where the files are.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.files import check_path, write_whole
from cleaner.core.identity import Identity
from cleaner.core.records import Decision

__all__ = [
    "Journal",
    "Operation",
    "State",
    "append_line",
    "decision_key",
    "is_of_table",
    "journals_beside",
    "lines_of",
    "new_name",
    "not_a_journal",
    "now",
    "read",
    "write_lines",
]

_FORMAT = 2
_PREFIX = "journal-"


class State(str, enum.Enum):
    """How far a journal has come."""

    APPLYING = "applying"
    FINISHED = "finished"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Operation:
    """One file's move, with the decision that asked for it. Paths are relative to the dataset's folder.

    Raises:
        CleanerError: a path is not one inside the dataset.
    """

    source: str
    target: str
    action: str
    new_label: str
    decided_at: str
    file: Identity

    def __post_init__(self) -> None:
        check_path(self.source)
        check_path(self.target)

    @property
    def decision(self) -> tuple[str, str, str, str]:
        """What tells one decision from a later one; see `decision_key`."""
        return self.source, self.action, self.new_label, self.decided_at


def decision_key(decision: Decision) -> tuple[str, str, str, str]:
    """What tells one decision about a path from a later one; equals `Operation.decision` of the move it asked for."""
    return decision.path, decision.action.value, decision.new_label, decision.decided_at


@dataclass(frozen=True)
class Journal:
    """The operations of one apply, and how far it has come.

    Attributes:
        path: the journal's file.
        data: the dataset's folder.
        operations: in the order in which they are done; no two have the same target.
        folders: folders that did not exist before, deepest last; taken away again by undo.
        written: when it was begun.
        state: the last state that was reached.
        left: targets of the operations that are an exception to the state: not `finished`, or not `undone`.
        removed: targets in the trash that were to be removed for good; one that is still there was not come to.
    """

    path: Path
    data: Path
    operations: tuple[Operation, ...]
    folders: tuple[str, ...]
    written: str
    state: State = State.APPLYING
    left: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    @property
    def carried_out(self) -> tuple[Operation, ...]:
        """The operations that were done and not taken back, as far as the journal says."""
        undone = self.state is State.UNDONE
        return tuple(operation for operation in self.operations if (operation.target in self.left) == undone)

    def write(self) -> None:
        """Write the journal before anything is moved.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        header = {"format": _FORMAT, "data": self.data.as_posix(), "folders": self.folders, "written": self.written}
        write_lines(self.path, [header, *map(asdict, self.operations)])

    def mark(self, state: State, left: Iterable[str] = ()) -> None:
        """Add the line that says that all operations reached a state, but for those with a target in `left`.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        append_line(self.path, {"state": state.value, "left": sorted(left), "at": now()})

    def mark_removed(self, targets: Iterable[str]) -> None:
        """Add the line that says which files of the trash are about to be removed for good.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        append_line(self.path, {"removed": sorted(targets), "at": now()})


def write_lines(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Write the lines of a journal, whole or not at all.

    Raises:
        CleanerError: it cannot be written; the file is as it was.
    """
    _write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8"))


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Add a line to a journal, whole or not at all.

    Raises:
        CleanerError: it cannot be written; the file is as it was.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    # The end of a line that was torn goes away with it; see `lines_of`.
    whole = whole[: whole.rfind(b"\n") + 1]
    _write(path, whole + (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def new_name(folder: Path) -> Path:
    """A free name for a journal in `folder`, by the time of day."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{_PREFIX}{stamp}{suffix}.jsonl" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(folder / name for name in names if not (folder / name).exists())


def journals_beside(manifest: Path, data: Path) -> list[Journal]:
    """The journals of earlier applies in the folder of a manifest to a dataset, oldest first.

    Raises:
        CleanerError: one of the journals makes no sense.
    """
    # The same dataset may be reached through a link.
    root = os.path.realpath(data)
    paths = sorted(manifest.parent.glob(f"{_PREFIX}*.jsonl"))
    found = [read(path) for path in paths if not is_of_table(path)]
    return sorted((j for j in found if os.path.realpath(j.data) == root), key=lambda journal: journal.written)


def read(path: str | Path) -> Journal:
    """Read a journal.

    Raises:
        CleanerError: it is not one, or cannot be read.
    """
    path = Path(path)
    try:
        header, *rest = lines_of(path)
        if "table" in header:
            raise ValueError("it is one of a label table, which moved no files")
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}; this version reads format {_FORMAT}")
        for folder in header["folders"]:
            check_path(folder)
        states = [(State(entry["state"]), frozenset(entry["left"])) for entry in rest if "state" in entry]
        state, left = states[-1] if states else (State.APPLYING, frozenset[str]())
        return Journal(
            path=path,
            data=Path(header["data"]),
            operations=tuple(_operation(entry) for entry in rest if not {"state", "removed"} & entry.keys()),
            folders=tuple(header["folders"]),
            written=str(header["written"]),
            state=state,
            left=left,
            removed=frozenset(target for entry in rest for target in entry.get("removed", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_a_journal(path, error) from error


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal.

    Raises:
        OSError, ValueError, RecursionError: it cannot be read, or is not JSON lines.
    """
    # A torn last line can only be a state that was not reached: operations are written whole before they are done.
    return [_parsed(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def is_of_table(path: Path) -> bool:
    """Whether a file begins as the journal of an apply to a label table does."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            return "table" in _parsed(file.readline())
    except (OSError, ValueError, RecursionError):
        return False


def not_a_journal(path: Path, error: Exception) -> CleanerError:
    """The error that says why a file is no journal."""
    return CleanerError(f"{str(path)!r} is not a journal of `cleaner apply`: {error}")


def _operation(entry: Mapping[str, Any]) -> Operation:
    return Operation(**{**entry, "file": Identity(**entry["file"])})


def _parsed(line: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError(f"{line[:80]!r} is not a JSON object")
    return entry


def now() -> str:
    """The time, for people and for the order of journals."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
