"""What an apply does, written before it is done: a file of JSON lines from which everything can be put back.

The first line says which dataset it is about. Then comes a line for each operation, with the identity of its file, and
then one for each state that was reached, and for what is about to be removed from the trash. What was done before such
a line is there is known from where the files are.

The first line also has a signature of the whole, made with a key that only the user has who ran the apply. A journal
without it, or that somebody edited since, can be read, but says why it may be somebody else's; see `Journal.doubt`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.fields import check_absolute, check_text
from cleaner.core.files import check_path, regular_handle, remove_leftovers, write_whole
from cleaner.core.identity import Identity
from cleaner.core.records import Decision
from cleaner.core.settings import journal_key

__all__ = [
    "Journal",
    "Operation",
    "State",
    "append_line",
    "check_action",
    "content_of",
    "decision_key",
    "doubt_of",
    "is_of_table",
    "journals_beside",
    "lines_of",
    "new_name",
    "not_a_journal",
    "now",
    "read",
    "state_of",
    "write_lines",
]

_FORMAT = 2
_PREFIX = "journal-"
_SIGNATURE = "signature"


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
        FieldError: a field makes no sense, such as a path that is not inside the dataset.
    """

    source: str
    target: str
    action: str
    new_label: str
    decided_at: str
    file: Identity

    def __post_init__(self) -> None:
        check_path(self.source, "source")
        check_path(self.target, "target")
        check_action(self.action)
        check_text(self, "new_label", "decided_at")
        if not isinstance(self.file, Identity):
            raise FieldError("file", self.file, "size, modified, inode and sha256 of a file are accepted")

    @property
    def decision(self) -> tuple[str, str, str, str]:
        """What tells one decision from a later one; see `decision_key`."""
        return self.source, self.action, self.new_label, self.decided_at


def check_action(action: object) -> None:
    """Check that an action is one that an apply carries out.

    Raises:
        FieldError: it is not.
    """
    if action not in ("delete", "relabel"):
        raise FieldError("action", action, "delete and relabel are accepted")


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
        doubt: why it may not be this user who wrote it as it is; empty where the signature shows that.

    Raises:
        FieldError: a field makes no sense.
    """

    path: Path
    data: Path
    operations: tuple[Operation, ...]
    folders: tuple[str, ...]
    written: str
    state: State = State.APPLYING
    left: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    doubt: str = ""

    def __post_init__(self) -> None:
        check_absolute("data", str(self.data))
        check_text(self, "written")
        for folder in self.folders:
            check_path(folder, "folders")
        targets = {operation.target for operation in self.operations}
        if len(targets) != len(self.operations):
            raise FieldError("target", sorted(targets), "each operation of a journal has another target")

    @property
    def carried_out(self) -> tuple[Operation, ...]:
        """The operations that were done and not taken back, as far as the journal says."""
        undone = self.state is State.UNDONE
        return tuple(operation for operation in self.operations if (operation.target in self.left) == undone)

    def write(self) -> None:
        """Write the journal before anything is moved; it is signed unless there was a doubt who wrote it.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        header = {"format": _FORMAT, "data": self.data.as_posix(), "folders": self.folders, "written": self.written}
        write_lines(self.path, header, map(asdict, self.operations), signed=not self.doubt)

    def remove(self) -> bool:
        """Remove the journal of an apply that moved nothing; false where that cannot be done."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

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


def write_lines(
    path: Path, header: Mapping[str, object], lines: Iterable[Mapping[str, object]], *, signed: bool
) -> None:
    """Write the lines of a journal, whole or not at all.

    Args:
        path: the journal's file.
        header: the first line.
        lines: all others.
        signed: whether to sign it as this user's; where the key cannot be had it is written without a signature.

    Raises:
        CleanerError: it cannot be written; the file is as it was.
    """
    content = b"".join(map(_line, (header, *lines)))
    _write(path, _signed(content) if signed else content)


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Add a line to a journal, whole or not at all; it is signed again if its signature was this user's.

    Raises:
        CleanerError: it cannot be written; the file is as it was.
    """
    try:
        whole = content_of(path)
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    # The end of a line that was torn goes away with it; see `lines_of`.
    content = whole[: whole.rfind(b"\n") + 1] + _line(line)
    _write(path, content if doubt_of(whole) else _signed(content))


def _line(line: Mapping[str, object]) -> bytes:
    return (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8")


def _signed(content: bytes) -> bytes:
    """The content of a journal with the signature of this user; without one where there is no key."""
    try:
        key = journal_key(make=True)
    except (OSError, ValueError):
        # The apply goes on, and says so; undo asks before it believes the journal.
        key = b""
    first, rest = content.split(b"\n", 1)
    header = _parsed(first.decode("utf-8"))
    header.pop(_SIGNATURE, None)
    if key:
        header[_SIGNATURE] = _signature(header, rest, key)
    return _line(header) + rest


def _signature(header: Mapping[str, object], rest: bytes, key: bytes) -> str:
    unsigned = _line({name: value for name, value in header.items() if name != _SIGNATURE})
    return hmac.new(key, unsigned + rest, hashlib.sha256).hexdigest()


def doubt_of(content: bytes) -> str:
    """Say why it may not be this user who wrote a journal as it is; empty where the signature shows that."""
    content = content[: content.rfind(b"\n") + 1]
    try:
        first, rest = content.split(b"\n", 1)
        header = _parsed(first.decode("utf-8"))
        signature = header.get(_SIGNATURE)
        if not isinstance(signature, str):
            return "it has no signature, as those that version 0.1 wrote, or those that were written without settings"
        key = journal_key(make=False)
        expected = _signature(header, rest, key)
    except (OSError, ValueError, RecursionError) as error:
        return f"its signature cannot be checked: {error}"
    if not key or not hmac.compare_digest(expected, signature if signature.isascii() else ""):
        return "somebody else wrote it, or it was edited since"
    return ""


def _write(path: Path, content: bytes) -> None:
    remove_leftovers(path.parent)
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
        content = content_of(path)
        header, *rest = lines_of(content)
        if "table" in header:
            raise ValueError("it is one of a label table, which moved no files")
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}; this version reads format {_FORMAT}")
        state, left = state_of(rest)
        return Journal(
            path=path,
            data=Path(check_absolute("data", header["data"])),
            operations=tuple(_operation(entry) for entry in rest if not {"state", "removed"} & entry.keys()),
            folders=tuple(_texts("folders", header["folders"])),
            written=header["written"],
            state=state,
            left=left,
            removed=frozenset(t for entry in rest if "removed" in entry for t in _texts("removed", entry["removed"])),
            doubt=doubt_of(content),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_a_journal(path, error) from error


def state_of(lines: Iterable[Mapping[str, Any]]) -> tuple[State, frozenset[str]]:
    """The last state that the lines of a journal say, and what is left out of it.

    Raises:
        ValueError, KeyError: a line makes no sense.
    """
    states = [(State(entry["state"]), frozenset(_texts("left", entry["left"]))) for entry in lines if "state" in entry]
    return states[-1] if states else (State.APPLYING, frozenset())


def _texts(name: str, values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise FieldError(name, values, "a list of paths is accepted")
    return values


def content_of(path: Path) -> bytes:
    """The bytes of a journal.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    handle, _ = regular_handle(path)
    with os.fdopen(handle, "rb") as file:
        return file.read()


def lines_of(content: bytes) -> list[dict[str, Any]]:
    """The lines of a journal.

    Raises:
        ValueError, RecursionError: it is not JSON lines.
    """
    # A torn last line can only be a state that was not reached: operations are written whole before they are done.
    return [_parsed(line) for line in content.decode("utf-8").split("\n")[:-1]]


def is_of_table(path: Path) -> bool:
    """Whether a file begins as the journal of an apply to a label table does."""
    try:
        handle, _ = regular_handle(path)
        with os.fdopen(handle, encoding="utf-8", newline="\n") as file:
            return "table" in _parsed(file.readline())
    except (OSError, ValueError, RecursionError):
        return False


def not_a_journal(path: Path, error: Exception) -> CleanerError:
    """The error that says why a file is no journal."""
    reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return CleanerError(f"{str(path)!r} is not a journal of `cleaner apply`: {reason}")


def _operation(entry: Mapping[str, Any]) -> Operation:
    file = entry["file"]
    return Operation(**{**entry, "file": Identity(**file) if isinstance(file, dict) else file})


def _parsed(line: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError(f"{line[:80]!r} is not a JSON object")
    return entry


def now() -> str:
    """The time, for people and for the order of journals."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
