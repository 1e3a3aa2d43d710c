"""Apply and undo, as folders and tables share them: check, lock, plan, journal, change, mark.

What differs is in `cleaner.apply.file_moves` (labels in folder or file names) and `cleaner.apply.table.rewrite`
(labels in a table): each plans a `Run`, and each step of a run can be interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cleaner.apply.file_moves import FileStore
from cleaner.apply.file_undo import plan_file_undo
from cleaner.apply.locks import locked
from cleaner.apply.plan import Changes, Conflict, Plan, PlanContext, Run, manifest_warnings
from cleaner.apply.table.rewrite import TableStore, plan_table_undo
from cleaner.core.carried_out import carried_out_note, from_journal
from cleaner.core.errors import CleanerError
from cleaner.core.journal import AnyJournal, Journal, State, TableJournal, decision_key, journals_in, read
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import note_on_disagreement
from cleaner.core.scan_header import ScanHeader, read_scan_header
from cleaner.core.settings import journal_key

__all__ = ["LabelOptions", "Report", "carry_out", "check_trust", "doubt", "doubt_text", "plan", "undo"]

_Store = FileStore | TableStore


@dataclass(frozen=True)
class Report:
    """The result of an apply or undo.

    Attributes:
        journal: file from which the changes can be undone; None if there is none.
        done: moves of files, or changes of table rows; paths relative to the dataset's folder.
        conflicts: what was left alone, and why.
        warnings: faults of the manifest or the journal, so that something was left out.
        notes: information without a fault.
        changed: the dataset's folder or the label table; None if nothing was changed.
    """

    journal: Path | None
    done: Changes
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: Path | None = None


@dataclass(frozen=True)
class LabelOptions:
    """The location of a dataset's labels; the attributes are the arguments of `cleaner.apply`."""

    data: str | Path
    labels: str | Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    name_pattern: str | None = None
    label_delim: str | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.name_pattern is not None:
            raise CleanerError("Expected a label table or a name pattern, got both; labels are in one of them")
        if self.labels is None and (self.path_column or self.label_column or self.label_delim is not None):
            raise CleanerError("got a column or delimiter, but no label table; give the table too, with labels")

    def store(self) -> _Store:
        """Return the store of the labels; its paths have no links, so that a journal outlives a link."""
        root = Path(os.path.realpath(self.data))
        if not root.is_dir():
            raise CleanerError(
                f"{str(self.data)!r} is not a folder; give the dataset's folder, or a copy or mount of images at an "
                "address"
            )
        if self.labels is None:
            return FileStore(root, self.name_pattern)
        return TableStore(root, self.labels, self.path_column, self.label_column, self.label_delim)


def carry_out(manifest: str | Path, options: LabelOptions, accept_edited: bool = False) -> Report:
    """Carry out a manifest; see `cleaner.apply.apply`."""
    decisions = Manifest.existing(os.path.abspath(manifest))
    store = options.store()
    with locked(decisions.path, store.folder):
        decisions.refresh()
        _check_edits(decisions, accept_edited)
        context = _read_context(decisions, store)
        notes = store.clean_up(context) if isinstance(store, FileStore) else ()
        run = _planned(store, context)
        run = replace(run, plan=replace(run.plan, notes=(*run.plan.notes, *notes)))
        report = _run(run)
    return replace(report, notes=(*report.notes, *_notes_on_key())) if report.journal else report


def plan(
    manifest: str | Path,
    data: str | Path,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    name_pattern: str | None = None,
    label_delim: str | None = None,
) -> Plan:
    """Return what `cleaner.apply` would do, also after an interrupted run; change nothing."""
    options = LabelOptions(data, labels, path_column, label_column, name_pattern, label_delim)
    decisions, store = Manifest.existing(os.path.abspath(manifest)), options.store()
    return _planned(store, _read_context(decisions, store)).plan


def undo(journal: str | Path, trust: bool = False) -> Report:
    """Take back all changes of an apply, also of an interrupted one.

    Changes that cannot be taken back are in the report's conflicts; another call tries them again and leaves the
    others alone. A label table is restored byte for byte, unless somebody changed it since.

    Args:
        journal: the journal that the apply wrote.
        trust: whether to accept a journal that may not be yours, because somebody else ran the apply, the journal was
            edited, or version 0.1 wrote it. `cleaner undo` shows what it would change, and asks.

    Raises:
        CleanerError: the journal cannot be used or may not be yours, or its dataset is gone; nothing was changed.

    Examples:
        >>> report = cleaner.apply("scan/decisions.csv", "images")
        >>> len(cleaner.undo(report.journal).done)
        2
    """
    found = read(journal)
    check_trust(_doubt(found), trust)  # before a lock is created beside a file that may be no journal
    with locked(found.path, found.data if isinstance(found, Journal) else found.table.parent):
        found = read(journal, known=found)
        check_trust(_doubt(found), trust)
        return _run(plan_file_undo(found) if isinstance(found, Journal) else plan_table_undo(found))


def doubt(journal: str | Path) -> str:
    """Say why a journal may not be yours, and what an undo of it would change; empty if it is yours."""
    return _doubt(read(journal))


def doubt_text(journal: AnyJournal, effect: str) -> str:
    """Say why a journal may not be this user's, and what would be done; empty without doubt."""
    reason = f"{str(journal.path)!r} is not known to be a journal that you wrote ({journal.doubt})"
    return journal.doubt and f"{reason}. This would {effect}"


def check_trust(doubt: str, trust: bool) -> None:
    """Refuse a journal that may not be this user's, as `doubt_text` says, unless they trust it."""
    if doubt and not trust:
        raise CleanerError(f"{doubt}; give --yes (in Python trust=True) if that is what you want; nothing was changed")


def _doubt(journal: AnyJournal) -> str:
    if isinstance(journal, Journal):
        return doubt_text(journal, f"move up to {len(journal.carried_out)} files inside of {str(journal.data)!r}")
    rows = len(journal.operations)
    return doubt_text(journal, f"replace the file {str(journal.table)!r} ({rows} rows change)")


def _check_edits(manifest: Manifest, accept_edited: bool) -> None:
    """Refuse a manifest without all acknowledged decisions in their order, or acknowledge it as it is."""
    if accept_edited:
        manifest.accept_edits()
    elif manifest.edits:
        raise CleanerError(f"{manifest.edited} (accept_edited=True). Nothing was changed")


def _read_context(manifest: Manifest, store: _Store) -> PlanContext:
    folder = manifest.path.parent
    kind: type[AnyJournal] = Journal if isinstance(store, FileStore) else TableJournal
    return PlanContext(manifest, manifest.latest(), read_scan_header(folder), journals_in(folder, kind))


def _planned(store: _Store, context: PlanContext) -> Run:
    """Plan an apply, with the warnings and notes that do not depend on where the labels are."""
    run = store.plan_apply(context)
    unchecked = [change.path for change in run.plan.operations if not context.decisions[change.path].sha256]
    notes = (
        *_notes_on_root(context.header, store.root, unchecked),
        *note_on_disagreement(context.manifest.standing()),
        *_note_on_history(run.earlier, context),
    )
    return replace(run, plan=replace(run.plan, warnings=manifest_warnings(context.manifest), notes=notes))


def _run(run: Run) -> Report:
    """Write the journal, change the dataset, and record the goal."""
    plan = run.plan
    if not run.is_due:
        journal = run.journal.path if run.goal is State.UNDONE else None
        return Report(journal, (), plan.conflicts, plan.warnings, plan.notes)
    try:
        run.begin()
    except CleanerError as error:
        raise CleanerError(f"{error}; nothing was changed") from error
    outcome = run.change()
    warnings = plan.warnings
    if outcome.left is not None:
        try:
            run.journal.mark(run.goal, outcome.left)
        except CleanerError as error:
            warnings = (*warnings, f"all that is listed was done, but {error}; give the same command again")
    return Report(
        journal=run.journal.path if outcome.has_journal else None,
        done=outcome.done,
        conflicts=(*plan.conflicts, *outcome.conflicts),
        warnings=warnings,
        notes=(*plan.notes, *outcome.notes),
        changed=run.changed if outcome.done else None,
    )


def _notes_on_key() -> tuple[str, ...]:
    """Say why journals cannot be signed; empty if they can."""
    try:
        journal_key(make=True)
    except (OSError, ValueError) as error:
        return (f"the journal of this apply is not signed, so undo asks before it trusts the journal: {error}",)
    return ()


def _notes_on_root(header: ScanHeader | None, root: Path, unchecked: Sequence[str]) -> tuple[str, ...]:
    """Say if another folder than the scanned one is changed by decisions without a hash."""
    if header is None or not unchecked or os.path.realpath(header.root) == str(root):
        return ()
    return (
        f"{str(root)!r} is not the folder that was scanned, {header.location!r}, and {len(unchecked)} decisions have "
        f"no sha256, so their files are known by name alone, such as {unchecked[0]!r}; is it the same dataset?",
    )


def _note_on_history(earlier: Sequence[AnyJournal], context: PlanContext) -> tuple[str, ...]:
    """Say how many of the decisions earlier applies carried out, and when."""
    keys = set(map(decision_key, context.decisions.values()))
    records = (record for journal in earlier for record in from_journal(journal) if record.decision in keys)
    note = carried_out_note(records)
    return (note,) if note else ()
