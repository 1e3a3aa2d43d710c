"""Apply where the labels of a dataset are in its paths: files are moved, never over another file."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from cleaner.apply import moves
from cleaner.apply.dataset_paths import RealPaths, numbered, remove_empty_folders, sync_folders, target_folders
from cleaner.apply.names import NameLabels
from cleaner.apply.plan import (
    AppliedChange,
    Conflict,
    Outcome,
    Plan,
    PlanContext,
    Refusal,
    Run,
    asks_for_change,
    identify,
    interrupted_undo,
    try_each,
)
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, remove_leftovers
from cleaner.core.journal import Journal, Operation, State, decision_key, new_journal_path, trash_path
from cleaner.core.records import Action, Decision
from cleaner.core.scan_header import ScanHeader
from cleaner.core.tasks import MULTI_LABEL

__all__ = ["FileStore", "FolderLabels", "MovePlanner", "move_file", "remove_halves", "settled", "sync_moves"]


@dataclass(frozen=True)
class FileStore:
    """A dataset whose paths contain its labels.

    Attributes:
        root: the dataset's folder, without links.
        name_pattern: finds the label in a file's name; None if the label is the folder's name.
        trash: folder for deleted files outside of the dataset, without links; None for the hidden one in it.
    """

    root: Path
    name_pattern: str | None = None
    trash: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder to lock."""
        return self.root

    def clean_up(self, context: PlanContext) -> tuple[str, ...]:
        """Remove what half-done moves of interrupted applies left; return notes."""
        begun = (journal for journal in self._journals(context) if journal.state is State.APPLYING)
        return tuple(note for journal in begun for note in remove_halves(journal.operations, journal))

    def label_of(self, path: str) -> str:
        """Return the label in the path of a file; empty for none."""
        if self.name_pattern is None:
            return PurePosixPath(path).parent.name
        match = re.search(self.name_pattern, path.rpartition("/")[2])
        return (match[1] or "") if match else ""

    def plan_apply(self, context: PlanContext) -> Run:
        """Plan the moves of an apply; an interrupted apply goes on in its own journal."""
        earlier = [settled(replace(journal, data=self.root)) for journal in self._journals(context)]
        begun = [journal for journal in earlier if journal.state is State.APPLYING]
        journal = self._journal(begun, context.manifest.path.parent)
        decisions, refused = try_each(context.decisions.values(), partial(_movable, header=context.header))
        applied = [AppliedChange(o, j.path, _is_emptied(o, j)) for j in earlier for o in j.carried_out]
        trash = f"{TRASH}/{journal.path.stem}"
        plan = MovePlanner(decisions, self._labels(context), trash, applied, journal.trash).plan()
        lost = (conflict for each in begun for conflict in _lost(each))
        todo = tuple(o for o in plan.operations if isinstance(o, Operation))
        # A folder that an earlier apply created is removed with the last file that any apply moved there.
        shared = target_folders(todo) & {
            path for each in earlier for path in each.folders if _is_same(path, each, journal)
        }
        folders = tuple(dict.fromkeys((*journal.folders, *sorted(shared), *plan.folders)))
        journal = replace(journal, folders=folders, operations=(*journal.operations, *todo))
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

    def _journal(self, begun: Sequence[Journal], folder: Path) -> Journal:
        """Return the journal of an apply, that of an interrupted one if there is one."""
        if not begun:
            return Journal(path=new_journal_path(folder), data=self.root, trash=self.trash)
        if self.trash not in (None, begun[-1].trash):
            was = f"trash={str(begun[-1].trash)!r}" if begun[-1].trash else "no trash"
            raise CleanerError(
                f"an apply was interrupted that was given {was}; repeat that one first, then give trash="
                f"{str(self.trash)!r}; nothing was changed"
            )
        return begun[-1]

    def _journals(self, context: PlanContext) -> Iterator[Journal]:
        for journal in context.journals:
            # The same dataset may be reached through a link.
            if isinstance(journal, Journal) and os.path.realpath(journal.data) == str(self.root):
                yield journal

    def _labels(self, context: PlanContext) -> FolderLabels | NameLabels:
        if self.name_pattern is None:
            return FolderLabels(self.root, context.vocab)
        return NameLabels.from_vocab(self.root, self.name_pattern, context.vocab)


@dataclass(frozen=True)
class FolderLabels:
    """A dataset in which the label of an image is the name of its folder.

    Attributes:
        root: the dataset's folder.
        known: labels that may get a new folder; None if only existing folders are classes.
    """

    root: Path
    known: Collection[str] | None = None

    def relabelled(self, decision: Decision) -> Iterator[str]:
        """Yield paths with the new label of a decision, relative to the root: all in one folder, best first."""
        path = PurePosixPath(decision.path)
        if decision.label and path.parent.name != decision.label:
            raise Refusal(
                f"its folder is {path.parent.name!r}, not its label {decision.label!r}: folder names are not the "
                "labels here. If file names contain the label, give name_pattern=REGEX; if a table has it, give "
                "labels=FILE; else train on the items that cleaner.cleaned returns"
            )
        if path.parent.name == decision.new_label:
            raise Refusal(f"it has the label {decision.new_label!r} already")
        if len(path.parts) < 2:
            raise Refusal("it lies in the dataset's folder itself, which is no class")
        self._check_class(path, decision.new_label)
        return numbered((path.parent.parent / decision.new_label / path.name).as_posix())

    def _check_class(self, path: PurePosixPath, label: str) -> None:
        # A hidden folder, such as the trash, is no class: its images are not listed.
        if not label or label.startswith(".") or any(c in label for c in "/\\\0"):
            raise Refusal(f"no folder can be called {label!r}")
        folder = self.root / path.parent.parent / label
        if os.path.isdir(folder):
            return
        if self.known is None or label not in self.known:
            raise Refusal(f"there is no class {label!r} beside it: {os.fspath(folder)!r} does not exist")
        if path.parent.name not in self.known:
            raise Refusal(f"its folder is {path.parent.name!r}, which is no class; nor is there {os.fspath(folder)!r}")


class MovePlanner:
    """Plans one move after the other; remembers which paths are taken.

    Args:
        decisions: the last about each path; one that asks for no move may contradict a move of an earlier apply.
        labels: how paths contain labels.
        trash: folder for deleted files, relative to the dataset's.
        earlier: moves of earlier applies, oldest first.
        elsewhere: as `trash` in `Journal`.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        labels: FolderLabels | NameLabels,
        trash: str,
        earlier: Sequence[AppliedChange] = (),
        elsewhere: Path | None = None,
    ) -> None:
        self._decisions = decisions
        self._labels = labels
        self._trash = trash
        self._paths = RealPaths(labels.root, elsewhere)
        self._departed = defaultdict(list)
        self._arrived = {applied.change.key: applied for applied in earlier}
        for applied in earlier:
            self._departed[applied.change.path].append(applied)
        # The source of an earlier move stays reserved: undo may put its file back at any time.
        self._taken = {self._paths.resolve(path) for path in (*self._departed, *self._arrived)}
        self._decided_paths = defaultdict(list)
        for decision in decisions:
            if decision.action is not Action.UNDO:
                self._decided_paths[self._paths.resolve(decision.path)].append(decision.path)

    def plan(self) -> Plan:
        """Plan a move for each decision that asks for one."""
        operations, conflicts = try_each(self._decisions, self._move)
        missing = (folder for folder in target_folders(operations) if not os.path.exists(self._paths.resolve(folder)))
        return Plan(operations, conflicts, tuple(sorted(missing)))

    def _move(self, decision: Decision) -> Operation | None:
        """Return the move for a decision; None if nothing is left to do."""
        if not self._is_left_to_do(decision) or not asks_for_change(decision):
            return None
        self._check_is_meant(decision)
        is_delete = decision.action is Action.DELETE
        targets = numbered(f"{self._trash}/{decision.path}") if is_delete else self._labels.relabelled(decision)
        self._paths.check(decision.path)
        self._check_has_one_path(decision)
        file = identify(decision, self._labels.root)
        target = next(path for path in targets if self._is_free(path))
        self._paths.check(target)
        self._taken.add(self._paths.resolve(target))
        return Operation(decision.path, target, decision.action.value, decision.new_label, decision.decided_at, file)

    def _is_left_to_do(self, decision: Decision) -> bool:
        """Return whether earlier moves leave a decision to do; refuse one that contradicts the last of them."""
        before = self._departed.get(decision.path)
        if not before:
            return True
        last, root = before[-1], self._labels.root
        is_there = os.path.lexists(root / decision.path)
        if any(decision_key(applied.change) == decision_key(decision) for applied in before):
            # The decision is not about another file that came later. The same file may be back on purpose.
            if is_there and isinstance(last.change, Operation) and last.change.file.is_at(root / decision.path):
                raise Refusal(f"it {last.outcome}, and there is a file again; look at it and decide again")
            return False
        if not is_there and last.emptied:
            raise Refusal(f"it {last.outcome} and is gone for good: `cleaner trash --empty` removed it")
        if not is_there:
            raise last.must_be_undone()
        return True

    def _check_is_meant(self, decision: Decision) -> None:
        """Refuse a decision that may be about another file than the one that an earlier apply moved to its path."""
        arrived = self._arrived.get(decision.path)
        if arrived and not decision.sha256:
            raise Refusal(
                f"the file there is {arrived.change.path!r}, which {arrived.journal.name!r} moved there; a decision "
                "without a sha256 may be about another file. Add the sha256, or decide again"
            )

    def _check_has_one_path(self, decision: Decision) -> None:
        """Refuse a decision about a file that was also decided about by another path."""
        paths = self._decided_paths[self._paths.resolve(decision.path)]
        if others := [path for path in paths if path != decision.path]:
            raise Refusal(
                f"it is also called {others[0]!r}, through a folder that is a link, and there is a decision about that "
                "too; take one of the two back"
            )

    def _is_free(self, path: str) -> bool:
        real = self._paths.resolve(path)
        return real not in self._taken and not os.path.lexists(real)


def _movable(decision: Decision, header: ScanHeader | None) -> Decision:
    """Return the decision; refuse one that gives an image several labels."""
    if decision.action is Action.RELABEL and header and header.task == MULTI_LABEL:
        raise Refusal("it has several labels, a folder name holds one; give the label table with labels=FILE")
    return decision


def settled(journal: Journal) -> Journal:
    """Return a journal with the operations that were done, as the files show if the apply was interrupted."""
    if journal.state is State.UNDOING:
        raise interrupted_undo(journal)
    if journal.state is not State.APPLYING:
        return journal
    return replace(journal, operations=tuple(o for o in journal.operations if _was_moved(o, journal)))


def _was_moved(operation: Operation, journal: Journal) -> bool:
    source, target = journal.file_at(operation.source), journal.file_at(operation.target)
    if operation.file.is_exactly_at(source):
        return False
    if operation.file.is_at(target):
        return True
    if operation.file.is_at(source):
        return False
    # Another file, or none, is at the source: a move that may have happened is not forgotten.
    return os.path.lexists(target) or not os.path.lexists(source)


def _is_same(path: str, earlier: Journal, journal: Journal) -> bool:
    """Return whether two journals mean the same folder by a path."""
    return earlier.trash == journal.trash or trash_path(Path(), path) is None


def _is_emptied(operation: Operation, journal: Journal) -> bool:
    return operation.target in journal.removed and not os.path.lexists(journal.file_at(operation.target))


def _lost(journal: Journal) -> Iterator[Conflict]:
    for operation in journal.operations:
        if not any(os.path.lexists(journal.file_at(path)) for path in (operation.source, operation.target)):
            reason = f"neither it nor {operation.target!r}, to where it was being moved, is there"
            yield Conflict(operation.source, operation.action, reason)


def remove_halves(operations: Iterable[Operation], journal: Journal) -> tuple[str, ...]:
    """Remove what half-done moves left; return notes on files at their targets that may be the user's."""
    paths, at = RealPaths(journal.data, journal.trash), journal.file_at
    inside = [o for o in operations if paths.contains(o.source) and paths.contains(o.target)]
    for folder in {at(operation.target).parent for operation in inside}:
        remove_leftovers(folder)
    halves = [o for o in inside if o.file.is_at(at(o.source))]
    stuck = [o.target for o in halves if not moves.take_back_half(at(o.source), at(o.target))]
    if not stuck:
        return ()
    return (
        f"{len(stuck)} files at targets of interrupted moves may be yours, such as {stuck[0]!r}; they are unchanged, "
        "and nothing is moved over them",
    )


def _move_all(journal: Journal, todo: tuple[Operation, ...], shared_folders: set[str]) -> Outcome:
    """Move the files of an apply; if nothing was moved, remove its journal and folders that no other apply created."""
    done, conflicts = try_each(todo, partial(_carry_out, journal=journal))
    notes = sync_moves(journal)
    failed = {conflict.path for conflict in conflicts}
    left = tuple(o.target for o in todo if o.source in failed and not o.file.is_at(journal.file_at(o.target)))
    if len(left) < len(journal.operations):
        return Outcome(done, conflicts, notes, left)
    notes = (*notes, *remove_empty_folders({*journal.folders} - shared_folders, journal))
    try:
        journal.path.unlink()
    except OSError:
        return Outcome(done, conflicts, notes, left)
    return Outcome(done, conflicts, notes, left=None, has_journal=False)


def _carry_out(operation: Operation, journal: Journal) -> Operation:
    if not operation.file.is_at(journal.file_at(operation.source)):
        raise Refusal("it is gone or its bytes changed since this began; look at it again")
    return move_file(operation, journal)


def move_file(operation: Operation, journal: Journal) -> Operation:
    """Move a file and return the operation; refuse it if that fails."""
    target = journal.file_at(operation.target)
    try:
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
        moves.move(journal.file_at(operation.source), target)
    except OSError as error:
        raise Refusal(f"it could not be moved to {operation.target!r}: {error.strerror}") from error
    return operation


def sync_moves(journal: Journal) -> tuple[str, ...]:
    """Sync the folders of all operations: moves before an interruption may not be on the disk yet."""
    paths = (*(path for o in journal.operations for path in (o.source, o.target)), *journal.folders)
    return sync_folders({path.rpartition("/")[0] for path in paths}, journal, "moves")
