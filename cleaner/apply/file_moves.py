"""Apply and undo where the labels of a dataset are in its paths: files are moved, never over another file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cleaner.apply import moves
from cleaner.apply.dataset_paths import (
    RealPaths,
    remove_empty_folders,
    sync_folders,
    target_folders,
    trash_folders,
)
from cleaner.apply.folders import FolderLabels
from cleaner.apply.move_plan import PathLabels, plan_moves
from cleaner.apply.names import NameLabels
from cleaner.apply.plan import (
    AppliedChange,
    Conflict,
    Outcome,
    Plan,
    PlanContext,
    Refusal,
    Run,
    interrupted_undo,
)
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, remove_leftovers
from cleaner.core.journal import Journal, Operation, State, new_journal_path
from cleaner.core.records import Action, Decision
from cleaner.core.tasks import MULTI_LABEL

__all__ = ["FileStore", "plan_file_undo"]


@dataclass(frozen=True)
class FileStore:
    """A dataset whose paths contain its labels; see `cleaner.apply.plan.LabelStore`.

    Attributes:
        root: the dataset's folder, without links.
        name_pattern: finds the label in a file's name; None if the label is the folder's name.
    """

    root: Path
    name_pattern: str | None = None

    @property
    def folder(self) -> Path:
        """The folder to lock."""
        return self.root

    def clean_up(self, context: PlanContext) -> tuple[str, ...]:
        """Remove what half-done moves of interrupted applies left; return notes."""
        begun = (journal for journal in self._journals(context) if journal.state is State.APPLYING)
        return tuple(note for journal in begun for note in _remove_halves(journal.operations, self.root))

    def plan_apply(self, context: PlanContext) -> Run:
        """Plan the moves of an apply; an interrupted apply goes on in its own journal.

        Raises:
            CleanerError: the name pattern cannot be used, or an undo was interrupted.
        """
        earlier = [_settled(journal, self.root) for journal in self._journals(context)]
        begun = [journal for journal in earlier if journal.state is State.APPLYING]
        journal = begun[-1] if begun else Journal(path=new_journal_path(context.manifest.path.parent), data=self.root)
        decisions, refused = _movable(context)
        plan = plan_moves(
            decisions,
            self._labels(context),
            trash=f"{TRASH}/{journal.path.stem}",
            earlier=[AppliedChange(o, j.path, o.target in j.removed) for j in earlier for o in j.carried_out],
        )
        lost = (conflict for each in begun for conflict in _lost(each, self.root))
        todo = _moves_of(plan)
        # A folder that an earlier apply created is removed with the last file that any apply moved there.
        shared = target_folders(todo) & {folder for each in earlier for folder in each.folders}
        folders = tuple(dict.fromkeys((*journal.folders, *sorted(shared), *plan.folders)))
        journal = replace(journal, data=self.root, folders=folders, operations=(*journal.operations, *todo))
        return Run(
            journal=journal,
            plan=replace(plan, conflicts=(*lost, *plan.conflicts, *refused)),
            goal=State.FINISHED,
            changed=self.root,
            is_due=bool(todo or begun),
            begin=journal.write,
            change=partial(_move_all, journal, todo, {f for j in earlier if j.path != journal.path for f in j.folders}),
            earlier=earlier,
        )

    def _journals(self, context: PlanContext) -> Iterator[Journal]:
        for journal in context.journals:
            # The same dataset may be reached through a link.
            if isinstance(journal, Journal) and os.path.realpath(journal.data) == str(self.root):
                yield journal

    def _labels(self, context: PlanContext) -> PathLabels:
        if self.name_pattern is None:
            return FolderLabels.from_vocab(self.root, context.vocab)
        return NameLabels.from_vocab(self.root, self.name_pattern, context.vocab)


def plan_file_undo(journal: Journal) -> Run:
    """Plan the moves that take an apply back; what a half-done move left is removed at once.

    Raises:
        CleanerError: the dataset is gone.
    """
    root = journal.data
    if not os.path.isdir(root):
        raise CleanerError(f"the journal's dataset {str(root)!r} is not there; put it back first; nothing was changed")
    done = journal.carried_out
    notes: tuple[str, ...] = ()
    if journal.state is State.APPLYING:
        notes = _remove_halves(journal.operations, root)
        done = _settled(journal, root).operations
    elif journal.state is State.UNDOING:
        notes = _remove_halves(map(_reversed, done), root)
    todo = tuple(map(_reversed, reversed(done)))
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


def _moves_of(plan: Plan) -> tuple[Operation, ...]:
    return tuple(operation for operation in plan.operations if isinstance(operation, Operation))


def _movable(context: PlanContext) -> tuple[list[Decision], list[Conflict]]:
    """Return the decisions that a move can carry out, and refuse those that give an image several labels."""
    decisions = list(context.decisions.values())
    if context.header is None or context.header.task != MULTI_LABEL:
        return decisions, []
    reason = "it has several labels, and a folder name holds one; give the label table, with labels (--labels)"
    relabels = [decision for decision in decisions if decision.action is Action.RELABEL]
    refused = [Conflict(decision.path, decision.action.value, reason) for decision in relabels]
    return [decision for decision in decisions if decision.action is not Action.RELABEL], refused


def _settled(journal: Journal, root: Path) -> Journal:
    """Return a journal with the operations that were done, as the files show if the apply was interrupted.

    Raises:
        CleanerError: an undo was interrupted, so that the goal of the files is unknown.
    """
    if journal.state is State.UNDOING:
        raise interrupted_undo(journal)
    if journal.state is not State.APPLYING:
        return journal
    return replace(journal, operations=tuple(o for o in journal.operations if _was_moved(o, root)))


def _was_moved(operation: Operation, root: Path) -> bool:
    source, target = root / operation.source, root / operation.target
    if operation.file.is_exactly_at(source):
        return False
    if operation.file.is_at(target):
        return True
    if operation.file.is_at(source):
        return False
    # Another file, or none, is at the source: a move that may have happened is not forgotten.
    return os.path.lexists(target) or not os.path.lexists(source)


def _lost(journal: Journal, root: Path) -> Iterator[Conflict]:
    for operation in journal.operations:
        if not os.path.lexists(root / operation.source) and not os.path.lexists(root / operation.target):
            reason = f"neither it nor {operation.target!r}, to where it was being moved, is there"
            yield Conflict(operation.source, operation.action, reason)


def _remove_halves(operations: Iterable[Operation], root: Path) -> tuple[str, ...]:
    """Remove what half-done moves left; return notes on files at their targets that may be the user's."""
    paths = RealPaths(root)
    inside = [o for o in operations if paths.contains(o.source) and paths.contains(o.target)]
    for folder in {(root / operation.target).parent for operation in inside}:
        remove_leftovers(folder)
    halves = [o for o in inside if o.file.is_at(root / o.source)]
    stuck = [o.target for o in halves if not moves.take_back_half(root / o.source, root / o.target)]
    if not stuck:
        return ()
    return (
        f"{len(stuck)} files at targets of interrupted moves may be yours, such as {stuck[0]!r}; they are unchanged, "
        "and nothing is moved over them",
    )


def _move_all(journal: Journal, todo: tuple[Operation, ...], shared_folders: set[str]) -> Outcome:
    """Move the files of an apply; remove its journal and folders if nothing was moved.

    Args:
        journal: with the operations of an interrupted apply and those to do.
        todo: operations to do.
        shared_folders: folders that other applies created.
    """
    root = journal.data
    done, conflicts = _each(todo, partial(_carry_out, root=root))
    notes = _sync(journal)
    failed = {conflict.path for conflict in conflicts}
    left = tuple(o.target for o in todo if o.source in failed and not o.file.is_at(root / o.target))
    if len(left) < len(journal.operations):
        return Outcome(done, conflicts, notes, left)
    notes = (*notes, *remove_empty_folders({*journal.folders} - shared_folders, root))
    try:
        journal.path.unlink()
    except OSError:
        return Outcome(done, conflicts, notes, left)
    return Outcome(done, conflicts, notes, left=None, has_journal=False)


def _move_all_back(journal: Journal, todo: tuple[Operation, ...]) -> Outcome:
    done, conflicts = _each(todo, partial(_take_back, journal=journal, paths=RealPaths(journal.data)))
    notes = (*_sync(journal), *remove_empty_folders({*journal.folders, *trash_folders(journal)}, journal.data))
    return Outcome(done, conflicts, notes, tuple(conflict.path for conflict in conflicts))


def _each(
    operations: Iterable[Operation], step: Callable[[Operation], bool]
) -> tuple[tuple[Operation, ...], tuple[Conflict, ...]]:
    """Take a step for each operation, which returns whether it moved the file; a step that fails is a conflict."""
    done: list[Operation] = []
    conflicts: list[Conflict] = []
    for operation in operations:
        try:
            if step(operation):
                done.append(operation)
        except Refusal as refusal:
            conflicts.append(Conflict(operation.source, operation.action, str(refusal)))
        except OSError as error:
            reason = f"it could not be moved to {operation.target!r}: {error.strerror}"
            conflicts.append(Conflict(operation.source, operation.action, reason))
    return tuple(done), tuple(conflicts)


def _carry_out(operation: Operation, root: Path) -> bool:
    if not operation.file.is_at(root / operation.source):
        raise Refusal("it is gone or its bytes changed since this began; look at it again")
    return _move(operation, root)


def _take_back(operation: Operation, journal: Journal, paths: RealPaths) -> bool:
    """Put a file back; `operation` is the reverse of the one in the journal."""
    paths.check(operation.target)
    # Users may keep their trash on another disk, behind a link. Their own journal identifies the files there.
    if journal.doubt or operation.action != "delete":
        paths.check(operation.source)
    source, target = journal.data / operation.source, journal.data / operation.target
    if not operation.file.is_exactly_at(source) and operation.file.is_exactly_at(target):
        return False  # put back by an interrupted undo, or by hand
    if operation.file.is_at(source):
        return _move(operation, journal.data)
    if operation.file.is_at(target):
        return False
    if os.path.lexists(source):
        raise Refusal("it is not the file that was moved here, or its bytes changed since; put it back by hand")
    if operation.source in journal.removed:
        raise Refusal("it is gone for good: `cleaner trash --empty` removed it")
    raise Refusal(f"it is no longer here, nor is it at {operation.target!r}")


def _move(operation: Operation, root: Path) -> bool:
    source, target = root / operation.source, root / operation.target
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
    moves.move(source, target)
    return True


def _sync(journal: Journal) -> tuple[str, ...]:
    """Sync the folders of all operations: moves before an interruption may not be on the disk yet."""
    paths = (*(path for o in journal.operations for path in (o.source, o.target)), *journal.folders)
    return sync_folders({path.rpartition("/")[0] for path in paths}, journal.data, "moves")


def _reversed(operation: Operation) -> Operation:
    return replace(operation, source=operation.target, target=operation.source)
