"""Undo where the labels of a dataset are in its paths: files are moved back, never over another file."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from cleaner.apply.dataset_paths import RealPaths, remove_empty_folders, trash_folders
from cleaner.apply.file_moves import move_file, remove_halves, settled, sync_moves
from cleaner.apply.plan import Outcome, Plan, Refusal, Run, try_each
from cleaner.core.errors import CleanerError
from cleaner.core.journal import Journal, Operation, State, trash_path

__all__ = ["plan_file_undo", "reversed_move"]


def plan_file_undo(journal: Journal) -> Run:
    """Plan the moves that take an apply back; what a half-done move left is removed at once."""
    root = journal.data
    if not os.path.isdir(root):
        raise CleanerError(f"the journal's dataset {str(root)!r} is not there; put it back first; nothing was changed")
    done = journal.carried_out
    notes: tuple[str, ...] = ()
    if journal.state is State.APPLYING:
        notes = remove_halves(journal.operations, journal)
        done = settled(journal).operations
    elif journal.state is State.UNDOING:
        notes = remove_halves(map(reversed_move, done), journal)
    todo = tuple(map(reversed_move, reversed(done)))
    not_done = {operation.target for operation in journal.operations} - {operation.source for operation in todo}
    return Run(
        journal=journal,
        plan=Plan(todo, notes=notes),
        goal=State.UNDONE,
        changed=root,
        is_due=bool(todo) or journal.state is not State.UNDONE,
        begin=partial(journal.mark, State.UNDOING, not_done),
        change=partial(_move_all_back, journal, todo),
    )


def _move_all_back(journal: Journal, todo: tuple[Operation, ...]) -> Outcome:
    # A journal that may not be the user's says nothing about a trash outside of the dataset.
    paths = RealPaths(journal.data, None if journal.doubt else journal.trash)
    done, conflicts = try_each(todo, partial(_take_back, journal=journal, paths=paths))
    notes = (*sync_moves(journal), *remove_empty_folders({*journal.folders, *trash_folders(journal)}, journal))
    return Outcome(done, conflicts, notes, tuple(conflict.path for conflict in conflicts))


def _take_back(operation: Operation, journal: Journal, paths: RealPaths) -> Operation | None:
    """Put a file back; `operation` is the reverse of the one in the journal."""
    paths.check(operation.target)
    # Users may keep their trash on another disk, behind a link. Their own journal identifies the files there.
    if journal.doubt or operation.action != "delete":
        paths.check(operation.source)
    if journal.doubt and trash_path(journal.trash, operation.source):
        raise Refusal("its trash lies outside of the dataset, and the journal may not be yours; put it back by hand")
    source, target = journal.file_at(operation.source), journal.file_at(operation.target)
    if not operation.file.is_exactly_at(source) and operation.file.is_exactly_at(target):
        return None  # put back by an interrupted undo, or by hand
    if operation.file.is_at(source):
        return move_file(operation, journal)
    if operation.file.is_at(target):
        return None
    if os.path.lexists(source):
        raise Refusal("it is not the file that was moved here, or its bytes changed since; put it back by hand")
    if operation.source in journal.removed:
        raise Refusal("it is gone for good: `cleaner trash --empty` removed it")
    raise Refusal(f"it is no longer here, nor is it at {operation.target!r}")


def reversed_move(operation: Operation) -> Operation:
    """Return the move that takes another one back."""
    return replace(operation, source=operation.target, target=operation.source)
