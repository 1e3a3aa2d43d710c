"""Apply and undo on a label table: the table is replaced in one step, and a copy of the old one is kept."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cleaner.apply.item_labels import known_labels, labels_of_cells
from cleaner.apply.plan import (
    AppliedChange,
    Conflict,
    Outcome,
    Plan,
    PlanContext,
    Run,
    asks_for_change,
    interrupted_undo,
    try_each,
)
from cleaner.apply.table.path_resolver import TablePathResolver
from cleaner.apply.table.row_plan import RowPlanner, Rows, find_rows
from cleaner.apply.table.table_file import TableFile, file_version, parse_table, read_table, sha256_of_bytes
from cleaner.core.errors import CleanerError
from cleaner.core.files import remove_leftovers, write_whole
from cleaner.core.journal import AnyJournal, RowChange, State, TableJournal, TableVersion, journals_in, new_journal_path
from cleaner.core.scan_files import DESCRIPTION

__all__ = ["TableStore", "plan_table_undo"]

# Files of a scan that have columns with paths and labels too.
_SCAN_TABLES = ("top_losses.csv", "confusion.csv", "unreadable.csv", "classes.csv", "decisions.csv")


@dataclass(frozen=True)
class TableStore:
    """A dataset with a label table.

    Attributes:
        root: the dataset's folder, without links.
        table: the label table.
        path_column, label_column: names of its columns; None to choose those with usual names.
        label_delim: delimiter of several labels in a cell; None if each image has one label.
    """

    root: Path
    table: str | Path
    path_column: str | None = None
    label_column: str | None = None
    label_delim: str | None = None

    @property
    def folder(self) -> Path:
        """The folder to lock; not the table itself, which another file replaces."""
        return Path(os.path.realpath(self.table)).parent

    def plan_apply(self, context: PlanContext) -> Run:
        """Plan the row changes of an apply."""
        labels = labels_of_cells(context.header, self.label_delim)
        table = read_table(self.table, self.path_column, self.label_column)
        _check_is_of_no_scan(table.path, context.manifest.path)
        journals = list(_journals_of(table.path, context.journals))
        paths = [path for path, decision in context.decisions.items() if asks_for_change(decision)]
        resolver = TablePathResolver(self.root, table.path.parent, paths)
        rows = find_rows(table, resolver, paths, (change.name for j in journals for change in j.operations))
        earlier = [_settled(journal, table, rows) for journal in journals]
        applied = {change.path: AppliedChange(change, j.path) for j in earlier for change in j.carried_out}
        known = known_labels(labels, context.vocab, rows.labels)
        planner = RowPlanner(self.root, table, rows, resolver, known, applied, labels)
        plan = Plan(*try_each(context.decisions.values(), planner.change))
        unsettled = [(old, new) for old, new in zip(journals, earlier, strict=True) if old.state is not new.state]
        unused = [new.path for old, new in unsettled if (old.state, new.state) == (State.APPLYING, State.UNDONE)]
        path = unused[-1] if unused else new_journal_path(context.manifest.path.parent)
        journal, data = _new_journal(path, self.root, table, plan)
        return Run(
            journal=journal,
            plan=plan,
            goal=State.FINISHED,
            changed=table.path,
            is_due=bool(plan.operations or unsettled),
            begin=partial(_begin, [new for _, new in unsettled], journal, table),
            change=partial(_replace_table, journal, data),
            earlier=earlier,
        )


def plan_table_undo(journal: TableJournal) -> Run:
    """Plan to put the old table back, byte for byte and with its time of change."""
    changes = tuple(replace(change, label=change.new_label, new_label=change.label) for change in journal.operations)
    run = Run(
        journal=journal,
        plan=Plan(changes[::-1]),
        goal=State.UNDONE,
        changed=journal.table,
        is_due=True,
        begin=partial(journal.mark, State.UNDOING),
        change=lambda: Outcome(()),
    )
    if journal.state is State.UNDONE:
        return replace(run, plan=Plan(()), is_due=False)
    remove_leftovers(journal.table.parent)
    _check_is_regular(journal.table)
    version, current = file_version(journal.table), _bytes_of(journal.table)
    if current is not None and sha256_of_bytes(current) == journal.before.sha256:
        # The apply was not begun, or an undo was interrupted after its one step.
        return replace(run, plan=Plan(()), begin=lambda: None)
    _check_is_regular(journal.kept)
    old = _bytes_of(journal.kept)
    reason = _reason_to_leave(journal, current, old)
    if reason or old is None:
        return replace(run, plan=Plan((), (Conflict(str(journal.table), "undo", reason),)), is_due=False)
    parse_table(journal.kept, old)
    return replace(run, change=partial(_put_back, journal, old, version, changes[::-1]))


def _journals_of(table: Path, journals: Iterable[AnyJournal]) -> Iterator[TableJournal]:
    for journal in journals:
        if isinstance(journal, TableJournal) and os.path.realpath(journal.table) == str(table):
            yield journal


def _check_is_of_no_scan(table: Path, manifest: Path) -> None:
    is_of_scan = table.name in _SCAN_TABLES and (table.parent / DESCRIPTION).exists()
    if table == Path(os.path.realpath(manifest)) or is_of_scan:
        raise CleanerError(f"{str(table)!r} was written by a scan or review; give the table that the dataset has")


def _settled(journal: TableJournal, table: TableFile, rows: Rows) -> TableJournal:
    """Return the journal of an interrupted run with the state that the table shows."""
    if journal.state in (State.FINISHED, State.UNDONE):
        return journal
    is_after = table.sha256 == journal.after
    if is_after and journal.state is State.UNDOING:
        raise interrupted_undo(journal)
    if table.sha256 == journal.before.sha256:
        return replace(journal, state=State.UNDONE)
    left = () if is_after else (change.path for change in journal.operations if not rows.shows(change))
    return replace(journal, state=State.FINISHED, left=frozenset(left))


def _new_journal(path: Path, root: Path, table: TableFile, plan: Plan) -> tuple[TableJournal, bytes]:
    """Return the journal of an apply, and the bytes of the changed table."""
    changes = tuple(change for change in plan.operations if isinstance(change, RowChange))
    data = table.changed({change.place: change.becomes for change in changes}) if changes else table.data
    status = table.status
    before = TableVersion(table.sha256, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
    after = sha256_of_bytes(data)
    return TableJournal(path=path, data=root, operations=changes, table=table.path, before=before, after=after), data


def _begin(unsettled: Sequence[TableJournal], journal: TableJournal, table: TableFile) -> None:
    """Record the result of interrupted runs, then write the journal and the copy of the old table."""
    for settled in unsettled:
        remove_leftovers(settled.table.parent)
        settled.mark(settled.state, settled.left)
    if not journal.operations:
        return
    try:
        journal.write()
        write_whole(journal.kept, table.data, journal.before.mode)
        if not table.is_as_it_was():
            raise CleanerError(f"somebody changed {str(table.path)!r} just now; look at it again")
    except (OSError, CleanerError) as error:
        # If these files stay, the next apply sees by the table's bytes that nothing was done.
        with suppress(OSError):
            journal.kept.unlink(missing_ok=True)
            journal.path.unlink(missing_ok=True)
        raise CleanerError(_message(error)) from error


def _replace_table(journal: TableJournal, data: bytes) -> Outcome:
    if not journal.operations:
        return Outcome((), left=None, has_journal=False)
    return Outcome(journal.operations, notes=_rewrite(journal, data, modified=None))


def _put_back(
    journal: TableJournal, old: bytes, version: tuple[int, ...] | None, changes: tuple[RowChange, ...]
) -> Outcome:
    if file_version(journal.table) != version:
        reason = "somebody changed the table just now; give the command again"
        return Outcome((), (Conflict(str(journal.table), "undo", reason),), left=None)
    return Outcome(changes, notes=_rewrite(journal, old, journal.before.modified))


def _reason_to_leave(journal: TableJournal, current: bytes | None, old: bytes | None) -> str:
    """Say why the old table cannot replace the current one; empty if it can."""
    if old is None or sha256_of_bytes(old) != journal.before.sha256:
        return f"the copy of the old table, {str(journal.kept)!r}, is gone or was changed; put it back first"
    if current is None:
        return f"the table is gone; the old one is kept as {str(journal.kept)!r}"
    sha256 = sha256_of_bytes(current)
    if sha256 == journal.after:
        return ""
    for later in _journals_of(Path(os.path.realpath(journal.table)), journals_in(journal.path.parent, TableJournal)):
        if later.after == sha256 and later.path != journal.path and later.state is not State.UNDONE:
            undo = shlex.join(["cleaner", "undo", str(later.path)])
            return f"a later apply changed the table; `{undo}` comes first"
    return f"somebody changed the table since; compare it with the old one, which is kept as {str(journal.kept)!r}"


def _check_is_regular(path: Path) -> None:
    """Refuse a link and anything else that is not a regular file: no apply leaves one in the place of a table."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise CleanerError(f"{str(path)!r} is a link or no regular file; put the table back there; nothing was changed")


def _rewrite(journal: TableJournal, data: bytes, modified: int | None) -> tuple[str, ...]:
    """Give the table other bytes; return notes. If that fails, the table is unchanged."""
    remove_leftovers(journal.table.parent)
    try:
        write_whole(journal.table, data, journal.before.mode, modified)
    except OSError as error:
        if _bytes_of(journal.table) == data:
            return (f"{str(journal.table)!r} was changed, but may not survive a power cut: {_message(error)}",)
        raise CleanerError(
            f"{str(journal.table)!r} cannot be written ({_message(error)}); nothing was changed; give the command "
            "again once it can"
        ) from error
    return ()


def _message(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _bytes_of(path: Path) -> bytes | None:
    """Return the bytes of a file; None if there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {_message(error)}; nothing was changed") from error
