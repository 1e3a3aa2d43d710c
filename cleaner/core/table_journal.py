"""The journal of an apply to a label table: which table, what it was and what it became, and each row's change.

It is a file of JSON lines beside the manifest, like that of an apply to folders, and beside it lies a copy of the table
as it was. The table is replaced in one step, so that its bytes say whether that was done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cleaner.core import journal as journals
from cleaner.core.errors import FieldError
from cleaner.core.fields import check_absolute, check_sha256, check_text, check_whole
from cleaner.core.files import check_path
from cleaner.core.journal import (
    State,
    append_line,
    check_action,
    content_of,
    doubt_of,
    is_of_table,
    lines_of,
    not_a_journal,
    now,
    state_of,
    write_lines,
)
from cleaner.core.label_table import TABLE_SUFFIXES

__all__ = ["RowChange", "TableJournal", "Version", "journals_of_table", "read"]

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class RowChange:
    """What a decision does to one row.

    Attributes:
        path: the image's file, relative to the dataset's folder.
        name: what the table calls it.
        action: `delete`, which drops the row, or `relabel`.
        label: the label that the row has before; with several in a cell all of them, as a decision writes them.
        new_label: the label that it gets, or all of them; empty where it is dropped.
        decided_at: of the decision.
        place: of the row in the table as it was.
        cell: what stands in the row after, where there may be several labels; None where that is `new_label`.

    Raises:
        FieldError: a field makes no sense.
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
        check_action(self.action)
        check_text(self, "name", "label", "new_label", "decided_at")
        check_whole(self, "place")
        if self.cell is not None:
            check_text(self, "cell")

    @property
    def becomes(self) -> str | None:
        """What stands in the label's cell after the change; None where the row is dropped."""
        if self.action == "delete":
            return None
        return self.new_label if self.cell is None else self.cell

    @property
    def decision(self) -> tuple[str, str, str, str]:
        """What tells one decision from a later one; see `cleaner.core.journal.decision_key`."""
        return self.path, self.action, self.new_label, self.decided_at


@dataclass(frozen=True, slots=True)
class Version:
    """The bytes that a table had at one time; `modified` and `mode` are those that an undo gives back.

    Raises:
        FieldError: a field makes no sense.
    """

    sha256: str
    size: int
    modified: int
    mode: int

    def __post_init__(self) -> None:
        check_sha256(self, "sha256")
        check_whole(self, "size")
        check_whole(self, "modified", minimum=-(2**63), maximum=2**63 - 1)
        check_whole(self, "mode", maximum=0o7777)


@dataclass(frozen=True)
class TableJournal:
    """The changes of one apply to a label table, and how far it has come.

    Attributes:
        path: the journal's file.
        data: the dataset's folder.
        table: the label table.
        before: the table as it was.
        after: SHA-256 of what it became.
        changes: of its rows.
        written: when it was begun.
        state: the last state that was reached.
        left: paths of the changes that are not in the table though the journal is finished.
        doubt: as in `Journal`.

    Raises:
        FieldError: a field makes no sense, such as a table that is called like none.
    """

    path: Path
    data: Path
    table: Path
    before: Version
    after: str
    changes: tuple[RowChange, ...]
    written: str
    state: State = State.APPLYING
    left: frozenset[str] = frozenset()
    doubt: str = ""

    def __post_init__(self) -> None:
        check_absolute("data", str(self.data))
        check_absolute("table", str(self.table))
        if self.table.suffix.lower() not in TABLE_SUFFIXES:
            raise FieldError("table", str(self.table), "a .csv, .tsv or .parquet file is accepted")
        if not isinstance(self.before, Version):
            raise FieldError("before", self.before, "sha256, size, modified and mode of a table are accepted")
        check_sha256(self, "after")
        check_text(self, "written")

    @property
    def kept(self) -> Path:
        """The copy of the table as it was."""
        return self.path.with_name(f"{self.path.stem}.{self.table.name}")

    @property
    def carried_out(self) -> tuple[RowChange, ...]:
        """The changes that were made and not taken back, as far as the journal says."""
        if self.state is not State.FINISHED:
            return ()
        return tuple(change for change in self.changes if change.path not in self.left)

    def write(self) -> None:
        """Write the journal before anything is changed.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        header = {
            "format": _FORMAT,
            "data": self.data.as_posix(),
            "table": self.table.as_posix(),
            "before": asdict(self.before),
            "after": self.after,
            "kept": self.kept.name,
            "written": self.written,
        }
        write_lines(self.path, header, map(asdict, self.changes), signed=True)

    def mark(self, state: State, left: Iterable[str] = ()) -> None:
        """Add the line that says that a state was reached.

        Raises:
            CleanerError: it cannot be written; the file is as it was.
        """
        append_line(self.path, {"state": state.value, "left": sorted(left), "at": now()})


def journals_of_table(manifest: Path, table: Path) -> list[TableJournal]:
    """The journals of earlier applies in the folder of a manifest to a table, oldest first.

    Raises:
        CleanerError: one of them makes no sense.
    """
    found = _beside(manifest)
    return sorted((j for j in found if os.path.realpath(j.table) == str(table)), key=lambda journal: journal.written)


def _beside(manifest: Path) -> Iterator[TableJournal]:
    for path in sorted(manifest.parent.glob("journal-*.jsonl")):
        if is_of_table(path):
            yield read(path)
        else:
            # Only one of folders has nothing to do with tables; what is damaged may have.
            journals.read(path)


def read(path: str | Path) -> TableJournal:
    """Read the journal of an apply to a label table.

    Raises:
        CleanerError: it is not one, or cannot be read.
    """
    path = Path(path)
    try:
        content = content_of(path)
        header, *rest = lines_of(content)
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}; this version reads format {_FORMAT}")
        before = header["before"]
        state, left = state_of(rest)
        found = TableJournal(
            path=path,
            data=Path(check_absolute("data", header["data"])),
            table=Path(check_absolute("table", header["table"])),
            before=Version(**before) if isinstance(before, dict) else before,
            after=header["after"],
            changes=tuple(RowChange(**entry) for entry in rest if "state" not in entry),
            written=header["written"],
            state=state,
            left=left,
            doubt=doubt_of(content),
        )
        if header["kept"] != found.kept.name:
            # Its copy of the table is found by its name.
            raise ValueError(f"it was renamed; give it the name {str(header['kept'])[: -len(found.table.name)]}jsonl")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_a_journal(path, error) from error
    return found
