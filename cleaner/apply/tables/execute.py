"""Apply and undo for label tables: the table is replaced in one step, and a copy of the old one is kept."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cleaner.apply.plan import Conflict
from cleaner.apply.run import (
    Report,
    check_edits,
    check_trust,
    checked,
    doubt_about,
    locked,
    note_on_history,
    notes_on,
    notes_on_key,
    warnings_of,
)
from cleaner.apply.tables.naming import Naming
from cleaner.apply.tables.plan import Made, Rows, TablePlan, make_plan, rows_of
from cleaner.apply.tables.sets import sets_of
from cleaner.apply.tables.table import LabelTable, content_of, read_table, sha256_of_bytes, version_of
from cleaner.core import journal as journals
from cleaner.core.errors import CleanerError
from cleaner.core.files import remove_leftovers, write_whole
from cleaner.core.journal import State
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import note_on_disagreement
from cleaner.core.records import Action
from cleaner.core.scan import Scan, load
from cleaner.core.table_journal import RowChange, TableJournal, Version, journals_of_table, read

__all__ = ["TableLabels", "apply_to_table", "doubt_about_table", "plan_for_table", "undo_in_table"]

# They have columns with paths and labels too.
_OF_A_SCAN = ("top_losses.csv", "confusion.csv", "unreadable.csv", "classes.csv", "decisions.csv")


@dataclass(frozen=True)
class TableLabels:
    """Which table, which of its columns, and what joins labels in a cell.

    The columns are None where they are told by their names, the delimiter where each image has one label.
    """

    table: str | Path
    path_column: str | None = None
    label_column: str | None = None
    label_delim: str | None = None


@dataclass(frozen=True)
class _Planned:
    table: LabelTable
    journals: tuple[TableJournal, ...]
    plan: TablePlan


def apply_to_table(manifest: str | Path, data: str | Path, labels: TableLabels, accept_edited: bool = False) -> Report:
    """Carry out the decisions of a manifest on a label table: `delete` drops a row, `relabel` changes its label.

    All else in the table stays as it is. A copy of the old table is kept beside the journal.

    Raises:
        CleanerError: the manifest, the folder or the table cannot be used, or an undo was interrupted; nothing was
            changed.
    """
    manifest, root = checked(manifest, data)
    # The lock belongs to the table: another scan folder may be about it too. Its folder is locked, as the table itself
    # is replaced by another file.
    with locked(manifest, Path(os.path.realpath(labels.table)).parent):
        check_edits(manifest, accept_edited)
        planned = _planned(manifest, root, labels)
        free = _settle(planned)
        todo = planned.plan
        if not todo.operations:
            return Report(None, (), todo.conflicts, todo.warnings, todo.notes)
        new = planned.table.changed({c.place: c.becomes for c in todo.operations})
        journal = _journal(free or journals.new_name(manifest.parent), root, planned.table, todo.operations, new)
        notes = _write(journal, planned.table, new)
        warnings = _mark(journal, State.FINISHED)
    warnings, notes = (*todo.warnings, *warnings), (*todo.notes, *notes, *notes_on_key())
    return Report(journal.path, todo.operations, todo.conflicts, warnings, notes, journal.table)


def plan_for_table(manifest: str | Path, data: str | Path, labels: TableLabels) -> TablePlan:
    """What `apply_to_table` would do; changes nothing.

    Raises:
        CleanerError: the manifest, the folder or the table cannot be used, or an undo was interrupted.
    """
    return _planned(*checked(manifest, data), labels).plan


def undo_in_table(journal: str | Path, trust: bool = False) -> Report:
    """Put the old table back, byte for byte and with its time of change, if nobody changed the new one since.

    Args:
        journal: the journal that the apply wrote.
        trust: as in `cleaner.apply.execute.undo`.

    Raises:
        CleanerError: the journal cannot be used, or is not known to be yours; nothing was changed.
    """
    check_trust(doubt_about_table(journal), trust)  # before a lock is made beside what may be no journal
    with locked(Path(journal), read(journal).table.parent):
        found = read(journal)
        check_trust(_doubt(found), trust)
        if found.state is State.UNDONE:
            return Report(found.path, (), ())
        remove_leftovers(found.table.parent)
        _check_is_regular(found.table)
        status, now = _status_of(found.table), _bytes_of(found.table)
        if now is not None and sha256_of_bytes(now) == found.before.sha256:
            # It was not begun, or an undo was interrupted after its one step.
            return Report(found.path, (), (), _mark(found, State.UNDONE))
        _check_is_regular(found.kept)
        old = _bytes_of(found.kept)
        reason = _reason_to_leave(found, now, old)
        if reason or old is None:
            return Report(found.path, (), (Conflict(str(found.table), "undo", reason),))
        content_of(found.kept, old)
        found.mark(State.UNDOING)
        if _status_of(found.table) != status:
            reason = "somebody changed the table just now; give the command again"
            return Report(found.path, (), (Conflict(str(found.table), "undo", reason),))
        notes = _rewrite(found, old, found.before.modified)
        warnings = _mark(found, State.UNDONE)
    back = tuple(replace(change, label=change.new_label, new_label=change.label) for change in found.changes[::-1])
    return Report(found.path, back, (), warnings, notes, found.table)


def doubt_about_table(journal: str | Path) -> str:
    """See `cleaner.apply.execute.doubt`."""
    return _doubt(read(journal))


def _doubt(journal: TableJournal) -> str:
    rows = len(journal.changes)
    return doubt_about(journal.path, journal.doubt, f"replace the file {str(journal.table)!r} ({rows} rows change)")


def _reason_to_leave(journal: TableJournal, now: bytes | None, old: bytes | None) -> str:
    """Why the old table cannot take the place of the one that is there; empty where it can."""
    if old is None or sha256_of_bytes(old) != journal.before.sha256:
        return f"the copy of the old table, {str(journal.kept)!r}, is gone or was changed; put it back first"
    if now is None:
        return f"the table is gone; the old one is kept as {str(journal.kept)!r}"
    found = sha256_of_bytes(now)
    if found == journal.after:
        return ""
    for later in journals_of_table(journal.path, Path(os.path.realpath(journal.table))):
        if later.after == found and later.path != journal.path and later.state is not State.UNDONE:
            undo = shlex.join(["cleaner", "undo", str(later.path)])
            return f"a later apply changed the table; `{undo}` comes first"
    return f"somebody changed the table since; compare it with the old one, which is kept as {str(journal.kept)!r}"


def _check_is_regular(path: Path) -> None:
    """Refuse a link and what is no file, which no apply leaves in the place of a table.

    Raises:
        CleanerError: it is one.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise CleanerError(f"{str(path)!r} is a link or no regular file; put the table back there; nothing was changed")


def _planned(manifest: Path, root: Path, labels: TableLabels) -> _Planned:
    scan = load(manifest.parent) if (manifest.parent / "scan.json").is_file() else None
    sets = sets_of(scan, labels.label_delim)
    table = read_table(labels.table, labels.path_column, labels.label_column)
    _check_is_of_no_scan(table.path, manifest)
    found = tuple(journals_of_table(manifest, table.path))
    _check_no_undo(found, table)
    decisions = Manifest(manifest)
    latest = decisions.latest()
    asking = [path for path, decision in latest.items() if decision.action in (Action.DELETE, Action.RELABEL)]
    naming = Naming(root, table.path.parent, asking)
    rows = rows_of(table, naming, asking, (change.name for j in found for change in j.changes))
    settled = tuple(_settled(journal, table, rows) for journal in found)
    earlier = [Made(change, journal.path) for journal in settled for change in journal.carried_out]
    plan = make_plan(latest.values(), root, table, rows, naming, scan.vocab if scan else None, earlier, sets)
    unchecked = [change.path for change in plan.operations if not latest[change.path].sha256]
    notes = (*_notes(scan, root, unchecked, decisions), *note_on_history(settled, latest.values()))
    plan = replace(plan, warnings=warnings_of(decisions), notes=notes)
    return _Planned(table, settled, plan)


def _notes(scan: Scan | None, root: Path, unchecked: Sequence[str], decisions: Manifest) -> tuple[str, ...]:
    return (*notes_on(scan, root, unchecked), *note_on_disagreement(decisions.standing()))


def _check_is_of_no_scan(table: Path, manifest: Path) -> None:
    if table == Path(os.path.realpath(manifest)) or (
        table.name in _OF_A_SCAN and (table.parent / "scan.json").exists()
    ):
        raise CleanerError(f"{str(table)!r} is what a scan and its review wrote; give the table that the dataset has")


def _check_no_undo(found: Sequence[TableJournal], table: LabelTable) -> None:
    for journal in found:
        if journal.state is State.UNDOING and table.sha256 == journal.after:
            again = shlex.join(["cleaner", "undo", str(journal.path)])
            raise CleanerError(f"an undo was interrupted; `{again}` finishes it and comes first; nothing was changed")


def _settled(journal: TableJournal, table: LabelTable, rows: Rows) -> TableJournal:
    """A journal of a run that was interrupted as it is after it, by what stands in the table."""
    if journal.state in (State.FINISHED, State.UNDONE):
        return journal
    if table.sha256 == journal.before.sha256:
        return replace(journal, state=State.UNDONE)
    left = () if table.sha256 == journal.after else (c.path for c in journal.changes if not rows.shows(c))
    return replace(journal, state=State.FINISHED, left=frozenset(left))


def _settle(planned: _Planned) -> Path | None:
    """Write down what was found of runs that were interrupted; gives the journal of one that changed nothing."""
    free = None
    for journal in planned.journals:
        written = read(journal.path)
        if written.state is journal.state:
            continue
        remove_leftovers(journal.table.parent)
        journal.mark(journal.state, journal.left)
        if written.state is State.APPLYING and journal.state is State.UNDONE:
            free = journal.path
    return free


def _journal(path: Path, root: Path, table: LabelTable, changes: tuple[RowChange, ...], new: bytes) -> TableJournal:
    status = table.status
    before = Version(table.sha256, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
    return TableJournal(path, root, table.path, before, sha256_of_bytes(new), changes, journals.now())


def _write(journal: TableJournal, table: LabelTable, new: bytes) -> tuple[str, ...]:
    """Write the journal, then the copy of the old table, then the new table.

    Raises:
        CleanerError: one of them cannot be written, or somebody changed the table; it is as it was.
    """
    try:
        journal.write()
        write_whole(journal.kept, table.data, journal.before.mode)
        if not table.is_as_it_was():
            raise CleanerError(f"somebody changed {str(table.path)!r} just now; look at it again")
    except (OSError, CleanerError) as error:
        _discard(journal)
        raise CleanerError(f"{_why(error)}; nothing was changed") from error
    return _rewrite(journal, new, modified=None)


def _discard(journal: TableJournal) -> None:
    """Remove the journal of an apply that did not change the table, and the copy that it kept.

    Where that cannot be done they stay: the next apply sees by the table's bytes that nothing was done.
    """
    with suppress(OSError):
        journal.kept.unlink(missing_ok=True)
        journal.path.unlink(missing_ok=True)


def _rewrite(journal: TableJournal, data: bytes, modified: int | None) -> tuple[str, ...]:
    """Give the table other bytes; returns what cannot be said of them.

    Raises:
        CleanerError: it cannot be written; it is as it was.
    """
    remove_leftovers(journal.table.parent)
    try:
        write_whole(journal.table, data, journal.before.mode, modified)
    except OSError as error:
        if _bytes_of(journal.table) == data:
            return (f"whether {str(journal.table)!r} would survive a power cut as it is now is unknown: {_why(error)}",)
        raise CleanerError(
            f"{str(journal.table)!r} cannot be written ({_why(error)}); nothing was changed; give the command again "
            "once it can"
        ) from error
    return ()


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _mark(journal: TableJournal, state: State) -> tuple[str, ...]:
    """Mark the journal once all is done; returns what could not be written of it."""
    try:
        journal.mark(state)
    except CleanerError as error:
        return (f"all that is listed was done, but {error}; give the same command again",)
    return ()


def _status_of(path: Path) -> tuple[int, ...] | None:
    try:
        return version_of(os.stat(path))
    except OSError:
        return None


def _bytes_of(path: Path) -> bytes | None:
    """None where there is no file.

    Raises:
        CleanerError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {_why(error)}; nothing was changed") from error
