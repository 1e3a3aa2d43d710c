"""The journal of an apply: a file of JSON lines, written before the dataset changes, from which undo restores it.

The first line names the dataset and carries the user's signature; see `cleaner.core.journal_lines`. One line follows
for each operation, a move of a file or a change of a table row. Later lines record the states that the run reached and
the files that are about to be removed from the trash. Before such a line is written, the files themselves show what
was done.
"""

from __future__ import annotations

import enum
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.fields import check_absolute, check_sha256, check_text, check_whole
from cleaner.core.files import TRASH, check_path
from cleaner.core.identity import Identity, version_of
from cleaner.core.journal_lines import append_line, doubt_of, parse_lines, read_content, write_lines
from cleaner.core.label_table import TABLE_SUFFIXES
from cleaner.core.records import Action, Decision

__all__ = [
    "AnyJournal",
    "Change",
    "Journal",
    "Operation",
    "RowChange",
    "State",
    "TableJournal",
    "TableVersion",
    "count_journals",
    "decision_key",
    "journals_in",
    "new_journal_path",
    "read",
    "trash_path",
]

_FORMAT = 2
_PREFIX = "journal-"


class State(str, enum.Enum):
    """The last step that a journal records."""

    APPLYING = "applying"
    FINISHED = "finished"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Operation:
    """The move of one file, with the decision that asked for it. Paths are relative to the dataset's folder."""

    source: str
    target: str
    action: str
    new_label: str
    decided_at: str
    file: Identity

    def __post_init__(self) -> None:
        check_path(self.source, "source")
        check_path(self.target, "target")
        _check_action(self.action)
        check_text(self, "new_label", "decided_at")
        if not isinstance(self.file, Identity):
            raise FieldError("file", self.file, "size, modified, inode and sha256 of a file are accepted")

    @property
    def path(self) -> str:
        """Path of the image that was decided about."""
        return self.source

    @property
    def key(self) -> str:
        """Name of this operation in the journal's state lines."""
        return self.target


@dataclass(frozen=True, slots=True)
class RowChange:
    """The change of one row of a label table, with the decision that asked for it.

    Attributes:
        path: the image's file, relative to the dataset's folder.
        name: the row's path cell, without a leading `./`.
        action: `delete`, which drops the row, or `relabel`.
        label: the row's label before; several labels are joined as in a decision.
        new_label: the row's label after, joined likewise; empty if the row is dropped.
        decided_at: time of the decision.
        place: position of the row in the table before the change.
        cell: text of the label cell after the change where a cell may hold several labels; None if it is `new_label`.
    """

    path: str
    name: str
    action: str
    label: str
    new_label: str
    decided_at: str
    place: int
    cell: str | None = None

    def __post_init__(self) -> None:
        check_path(self.path)
        _check_action(self.action)
        check_text(self, "name", "label", "new_label", "decided_at")
        check_whole(self, "place")
        if self.cell is not None:
            check_text(self, "cell")

    @property
    def becomes(self) -> str | None:
        """Text of the label cell after the change; None if the row is dropped."""
        if self.action == "delete":
            return None
        return self.new_label if self.cell is None else self.cell

    @property
    def key(self) -> str:
        """Name of this change in the journal's state lines."""
        return self.path


Change = Operation | RowChange
_ChangeT = TypeVar("_ChangeT", bound=Change)


def _check_action(action: object) -> None:
    if action not in ("delete", "relabel"):
        raise FieldError("action", action, "delete and relabel are accepted")


def decision_key(decision: Decision | Change) -> tuple[str, str, str, str]:
    """Identify one of several decisions about a path, also from the change that it asked for."""
    return decision.path, Action(decision.action).value, decision.new_label, decision.decided_at


@dataclass(frozen=True, kw_only=True)
class _JournalBase(ABC, Generic[_ChangeT]):
    """The operations of one apply and the last recorded state.

    Attributes:
        path: the journal's file.
        data: the dataset's folder.
        operations: in the order in which they are done.
        written: when the journal was begun, UTC, ISO 8601.
        state: the last recorded state.
        left: keys of the operations that did not reach the state: not `finished`, or not `undone`.
        doubt: why this user may not have written the journal as it is; empty if the signature is valid.
        version: version of the file when it was read; see `cleaner.core.identity.version_of`.
    """

    path: Path
    data: Path
    operations: tuple[_ChangeT, ...] = ()
    written: str = field(default_factory=lambda: _now())
    state: State = State.APPLYING
    left: frozenset[str] = frozenset()
    doubt: str = ""
    version: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_absolute("data", str(self.data))
        check_text(self, "written")

    @property
    def carried_out(self) -> tuple[_ChangeT, ...]:
        """The operations that were done and not undone, according to the journal."""
        undone = self.state is State.UNDONE
        return tuple(operation for operation in self.operations if (operation.key in self.left) == undone)

    @abstractmethod
    def _header(self) -> dict[str, object]:
        """Return the fields of the first line between `data` and `written`."""

    def write(self) -> None:
        """Write the journal before the dataset changes; sign it unless its origin is in doubt."""
        header = {"format": _FORMAT, "data": self.data.as_posix(), **self._header(), "written": self.written}
        write_lines(self.path, header, map(asdict, self.operations), signed=not self.doubt)

    def mark(self, state: State, left: Iterable[str] = ()) -> None:
        """Record that all operations reached a state, except those with a key in `left`."""
        append_line(self.path, {"state": state.value, "left": sorted(left), "at": _now()})


@dataclass(frozen=True, kw_only=True)
class Journal(_JournalBase[Operation]):
    """The moves of one apply; no two have the same target.

    Attributes:
        folders: folders that the apply creates, deepest last; undo removes them.
        removed: files of the trash that were, or were about to be, removed for good.
        trash: the folder that stands for `.cleaner-trash` in the paths; None for that in the dataset's folder.
    """

    folders: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    trash: Path | None = None

    def __post_init__(self) -> None:
        _JournalBase.__post_init__(self)
        if self.trash is not None:
            check_absolute("trash", str(self.trash))
        for folder in self.folders:
            check_path(folder, "folders")
        targets = {operation.target for operation in self.operations}
        if len(targets) != len(self.operations):
            raise FieldError("target", sorted(targets), "each operation of a journal has another target")

    def _header(self) -> dict[str, object]:
        return {"folders": self.folders, **({} if self.trash is None else {"trash": self.trash.as_posix()})}

    def file_at(self, path: str) -> Path:
        """Return the file or folder that a path of this journal means."""
        return trash_path(self.trash, path) or self.data / path

    def mark_removed(self, targets: Iterable[str]) -> None:
        """Record which files of the trash are about to be removed for good."""
        append_line(self.path, {"removed": sorted(targets), "at": _now()})


@dataclass(frozen=True, slots=True)
class TableVersion:
    """The bytes of a table before an apply; undo restores `modified` and `mode` too."""

    sha256: str
    size: int
    modified: int
    mode: int

    def __post_init__(self) -> None:
        check_sha256(self, "sha256")
        check_whole(self, "size")
        check_whole(self, "modified", minimum=-(2**63), maximum=2**63 - 1)
        check_whole(self, "mode", maximum=0o7777)


@dataclass(frozen=True, kw_only=True)
class TableJournal(_JournalBase[RowChange]):
    """The row changes of one apply; the table is replaced in one step, so its bytes show whether that was done.

    Attributes:
        table: the label table.
        before: the table before the apply.
        after: SHA-256 of the table after the apply.
    """

    table: Path
    before: TableVersion
    after: str

    def __post_init__(self) -> None:
        _JournalBase.__post_init__(self)
        check_absolute("table", str(self.table))
        if self.table.suffix.lower() not in TABLE_SUFFIXES:
            raise FieldError("table", str(self.table), "a .csv, .tsv or .parquet file is accepted")
        if not isinstance(self.before, TableVersion):
            raise FieldError("before", self.before, "sha256, size, modified and mode of a table are accepted")
        check_sha256(self, "after")

    @property
    def kept(self) -> Path:
        """The copy of the table before the apply."""
        return self.path.with_name(f"{self.path.stem}.{self.table.name}")

    def _header(self) -> dict[str, object]:
        before = asdict(self.before)
        return {"table": self.table.as_posix(), "before": before, "after": self.after, "kept": self.kept.name}


AnyJournal = Journal | TableJournal
_JournalT = TypeVar("_JournalT", bound=Journal | TableJournal)


def trash_path(trash: Path | None, path: str) -> Path | None:
    """Return what a path means in a trash outside of the dataset; None for a path that is not of such a trash."""
    first, _, rest = path.partition("/")
    return trash / rest if trash is not None and first == TRASH else None


def new_journal_path(folder: Path) -> Path:
    """Return a free journal path in `folder`, named by the current time."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{_PREFIX}{stamp}{suffix}.jsonl" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(folder / name for name in names if not (folder / name).exists())


def count_journals(folder: Path) -> int:
    """Return how many applies a scan folder has the journals of."""
    return sum(1 for _ in folder.glob(f"{_PREFIX}*.jsonl"))


def journals_in(folder: Path, kind: type[_JournalT]) -> list[_JournalT]:
    """Read the journals of one kind in a scan folder, oldest first; one that may be of this kind must be undamaged."""
    found = [read(path) for path in sorted(folder.glob(f"{_PREFIX}*.jsonl")) if not _is_of_other_kind(path, kind)]
    return sorted((j for j in found if isinstance(j, kind)), key=lambda journal: journal.written)


def _is_of_other_kind(path: Path, kind: type) -> bool:
    try:
        header = parse_lines(read_content(path).partition(b"\n")[0] + b"\n")[0]
    except (OSError, ValueError, RecursionError):
        return False
    is_of_table, is_of_folders = "table" in header, "folders" in header
    return is_of_table is not is_of_folders and is_of_table is (kind is Journal)


def read(path: str | Path, known: AnyJournal | None = None) -> AnyJournal:
    """Read a journal; return `known`, the journal as it was read before, if the file did not change.

    Raises:
        CleanerError: the file is not a journal, or cannot be read.
    """
    path = Path(path)
    try:
        version = version_of(os.stat(path))
        if known is not None and version == known.version:
            return known
        content = read_content(path)
        header, *lines = parse_lines(content)
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}; this version reads format {_FORMAT}")
        states = [(State(line["state"]), _texts("left", line["left"])) for line in lines if "state" in line]
        state, left = states[-1] if states else (State.APPLYING, [])
        common = {
            "path": path,
            "data": Path(check_absolute("data", header["data"])),
            "written": header["written"],
            "state": state,
            "left": frozenset(left),
            "doubt": doubt_of(content),
            "version": version,
        }
        return (_table_journal if "table" in header else _file_journal)(header, lines, common)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CleanerError(f"{str(path)!r} is not a journal of `cleaner apply`: {reason}") from error


_Lines = list[dict[str, Any]]


def _file_journal(header: Mapping[str, Any], lines: _Lines, common: Mapping[str, Any]) -> Journal:
    removed = (target for line in lines if "removed" in line for target in _texts("removed", line["removed"]))
    trash = header.get("trash")
    return Journal(
        trash=None if trash is None else Path(check_absolute("trash", trash)),
        operations=tuple(_operation(line) for line in lines if not {"state", "removed"} & line.keys()),
        folders=tuple(_texts("folders", header["folders"])),
        removed=frozenset(removed),
        **common,
    )


def _table_journal(header: Mapping[str, Any], lines: _Lines, common: Mapping[str, Any]) -> TableJournal:
    before = header["before"]
    journal = TableJournal(
        operations=tuple(RowChange(**line) for line in lines if "state" not in line),
        table=Path(check_absolute("table", header["table"])),
        before=TableVersion(**before) if isinstance(before, dict) else before,
        after=header["after"],
        **common,
    )
    if header["kept"] != journal.kept.name:
        # The copy of the table is found by its name.
        raise ValueError(f"it was renamed; give it the name {str(header['kept'])[: -len(journal.table.name)]}jsonl")
    return journal


def _operation(line: Mapping[str, Any]) -> Operation:
    file = line["file"]
    return Operation(**{**line, "file": Identity(**file) if isinstance(file, dict) else file})


def _texts(name: str, values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise FieldError(name, values, "a list of paths is accepted")
    return values


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
