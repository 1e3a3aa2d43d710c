"""Apply and undo, as folders and tables share them: check, lock, plan, journal, change, mark.

What differs is in `cleaner.apply.file_moves` (labels in folder or file names) and `cleaner.apply.table.rewrite`
(labels in a table): each plans a `Run`, and each step of a run can be interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cleaner.apply.dataset_check import check_is_dataset
from cleaner.apply.file_moves import FileStore
from cleaner.apply.file_undo import plan_file_undo
from cleaner.apply.locks import locked
from cleaner.apply.options import LabelOptions, Store
from cleaner.apply.plan import Changes, Conflict, PlanContext, Run, label_changes, manifest_warnings
from cleaner.apply.report import Report
from cleaner.apply.sources import journal_of
from cleaner.apply.table.rewrite import plan_table_undo
from cleaner.core.agreement import ruled
from cleaner.core.carried_out import carried_out_note, from_journal
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.journal import (
    AnyJournal,
    Journal,
    Operation,
    RowChange,
    State,
    TableJournal,
    decision_key,
    journals_in,
    read,
)
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import note_on_disagreement
from cleaner.core.records import Decision
from cleaner.core.scan_header import ScanHeader, read_scan_header
from cleaner.core.settings import journal_key

__all__ = ["LabelOptions", "Report", "carry_out", "check_trust", "doubt", "doubt_text", "dry_run", "undo"]


@dataclass(frozen=True)
class _Planned:
    """A run that is planned, and what its report says about it."""

    run: Run
    context: PlanContext
    options: LabelOptions
    store: Store

    def report(self, changes: Changes, **fields: Any) -> Report:
        """Return a report about changes that are planned or done."""
        decided = self.context.decisions
        labels = {change.path: self._label_of(change, decided) for change in changes}
        common = {
            "label_changes": label_changes(changes, labels),
            "trash": self.run.journal.trash if isinstance(self.run.journal, Journal) else None,
            "manifest": self.context.manifest.path,
            "options": self.options,
        }
        return Report(**{**common, **fields})

    def _label_of(self, change: Operation | RowChange, decided: Mapping[str, Decision]) -> str:
        if isinstance(change, RowChange):
            return change.label
        known = decided[change.path].label if change.path in decided else ""
        return known or (self.store.label_of(change.path) if isinstance(self.store, FileStore) else "")


def carry_out(
    manifest: Path, options: LabelOptions, accept_edited: bool = False, shown: Report | None = None
) -> Report:
    """Carry out a manifest; see `cleaner.apply.apply`. `shown` is the dry run that the user looked at."""
    decisions = Manifest.existing(os.path.abspath(manifest))
    store = options.store()
    with locked(decisions.path, store.folder):
        decisions.refresh()
        _check_edits(decisions, accept_edited)
        context = _read_context(decisions, store, options.rule)
        notes = store.clean_up(context) if isinstance(store, FileStore) else ()
        planned = _planned(store, context, options)
        if shown is not None:
            _check_was_shown(planned.run.plan.operations, shown)
        run = replace(planned.run, plan=replace(planned.run.plan, notes=(*planned.run.plan.notes, *notes)))
        outcome = _run(run)
    notes = (*outcome.notes, *(_notes_on_key() if outcome.journal else ()))
    fields = {name: getattr(outcome, name) for name in ("journal", "done", "conflicts", "warnings", "changed")}
    return planned.report(outcome.done, **fields, notes=notes)


def dry_run(manifest: Path, options: LabelOptions) -> Report:
    """Return what `carry_out` would do, also after an interrupted run; change nothing."""
    decisions, store = Manifest.existing(os.path.abspath(manifest)), options.store()
    planned = _planned(store, _read_context(decisions, store, options.rule), options)
    plan = planned.run.plan
    about = {"conflicts": plan.conflicts, "warnings": plan.warnings, "notes": plan.notes}
    return planned.report(plan.operations, journal=None, done=(), planned=plan.operations, is_dry_run=True, **about)


def undo(journal: Report | str | Path, trust: bool = False) -> Report:
    """Take back all changes of an apply, also of an interrupted one.

    Changes that cannot be taken back are in the report's conflicts; another call tries them again and leaves the
    others alone. A label table is restored byte for byte, unless somebody changed it since.

    Args:
        journal: the report of the apply, the path of its journal, or a scan or scan folder with one apply to undo.
        trust: whether to accept a journal that may not be yours, because somebody else ran the apply, the journal was
            edited, or version 0.1 wrote it. `cleaner undo` shows what it would change, and asks.

    Raises:
        CleanerError: the journal cannot be used or may not be yours, or its dataset is gone; nothing was changed.

    Examples:
        >>> report = cleaner.apply("scan")
        >>> len(cleaner.undo(report).done)
        2
    """
    found = read(journal_of(journal))
    check_trust(_doubt(found), trust)  # before a lock is created beside a file that may be no journal
    with locked(found.path, found.data if isinstance(found, Journal) else found.table.parent):
        found = read(found.path, known=found)
        check_trust(_doubt(found), trust)
        report = _run(plan_file_undo(found) if isinstance(found, Journal) else plan_table_undo(found))
    return replace(report, trash=found.trash) if isinstance(found, Journal) else report


def doubt(journal: Report | str | Path) -> str:
    """Say why a journal may not be yours, and what an undo of it would change; empty if it is yours."""
    return _doubt(read(journal_of(journal)))


def doubt_text(journal: AnyJournal, effect: str) -> str:
    """Say why a journal may not be this user's, and what would be done; empty without doubt."""
    reason = f"{str(journal.path)!r} is not known to be a journal that you wrote ({journal.doubt})"
    return journal.doubt and f"{reason}. This would {effect}"


def check_trust(doubt: str, trust: bool) -> None:
    """Refuse a journal that may not be this user's, as `doubt_text` says, unless they trust it."""
    if doubt and not trust:
        raise CleanerError(f"{doubt}; give trust=True if that is what you want; nothing was changed")


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
        raise CleanerError(f"{manifest.edited}. Nothing was changed")


def _check_was_shown(operations: Changes, shown: Report) -> None:
    """Refuse changes that the dry run did not show, as decisions or files changed since."""
    known = set(map(decision_key, shown.planned))
    new = [change.path for change in operations if decision_key(change) not in known]
    if new:
        raise CleanerError(
            f"{len(new)} changes are planned that the dry run did not show, such as that of {new[0]!r}: decisions or "
            "files changed since. Look at a new dry run; nothing was changed"
        )


def _read_context(manifest: Manifest, store: Store, rule: str) -> PlanContext:
    folder = manifest.path.parent
    kind: type[AnyJournal] = Journal if isinstance(store, FileStore) else TableJournal
    decisions, open_questions = ruled(manifest.standing(), rule)
    return PlanContext(manifest, decisions, read_scan_header(folder), journals_in(folder, kind), open_questions)


def _planned(store: Store, context: PlanContext, options: LabelOptions) -> _Planned:
    """Plan an apply, with the warnings and notes that do not depend on where the labels are."""
    check_is_dataset(context, store.root)
    run = store.plan_apply(context)
    unchecked = [change.path for change in run.plan.operations if not context.decisions[change.path].sha256]
    notes = (
        *_notes_on_root(context.header, store.root, unchecked),
        *(note_on_disagreement(context.manifest.standing()) if options.rule == "last" else ()),
        *_note_on_history(run.earlier, context),
        *_note_on_undone(run.plan.operations, context),
        *_notes_on_trash(run, context.header),
    )
    differing = (
        Conflict(path, "", f"no decision stands by the rule {options.rule!r}: {who}")
        for path, who in context.open_questions.items()
    )
    conflicts = (*run.plan.conflicts, *differing)
    warnings = manifest_warnings(context.manifest)
    run = replace(run, plan=replace(run.plan, conflicts=conflicts, warnings=warnings, notes=notes))
    return _Planned(run, context, options, store)


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
    """Say if another folder than the scanned one is changed; images at an address have a copy in any folder."""
    if header is None or os.path.realpath(header.root) == str(root) or (header.address and not unchecked):
        return ()
    by_name = ""
    if unchecked:
        by_name = (
            f", and {len(unchecked)} decisions have no sha256, so their files are known by name alone, such as "
            f"{unchecked[0]!r}"
        )
    return (f"{str(root)!r} is not the folder that was scanned, {header.location!r}{by_name}; is it the same dataset?",)


def _notes_on_trash(run: Run, header: ScanHeader | None) -> tuple[str, ...]:
    """Say if torchvision would take the trash for a class, where the dataset was not scanned with fastai."""
    if header is None or header.source in ("", "fastai") or not isinstance(run.journal, Journal) or run.journal.trash:
        return ()
    deleted = [each for each in run.plan.operations if each.action == "delete"]
    if not any(each.path.count("/") == 1 for each in deleted):
        return ()
    return (
        f"deleted files go to {TRASH!r} in the dataset's folder, which torchvision's ImageFolder takes for a class; "
        "trash=DIR puts them into another folder of the same file system",
    )


def _note_on_history(earlier: Sequence[AnyJournal], context: PlanContext) -> tuple[str, ...]:
    """Say how many of the decisions earlier applies carried out, and when."""
    keys = set(map(decision_key, context.decisions.values()))
    records = (record for journal in earlier for record in from_journal(journal) if record.decision in keys)
    note = carried_out_note(records)
    return (note,) if note else ()


def _note_on_undone(operations: Changes, context: PlanContext) -> tuple[str, ...]:
    """Say how many of the planned changes an undo took back before."""
    undone = [journal for journal in context.journals if journal.state is State.UNDONE]
    taken_back = {decision_key(change) for journal in undone for change in journal.operations}
    again = sum(decision_key(change) in taken_back for change in operations)
    return (f"{again:,} of the changes were made before and undone",) if again else ()
