"""From decisions to operations: every conflict is found and listed before anything moves."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cleaner.apply.labels import Labels, Refusal
from cleaner.core.files import sha256_of
from cleaner.core.identity import Identity
from cleaner.core.journal import Operation, decision_key
from cleaner.core.records import Action, Decision

__all__ = ["Conflict", "Done", "Inside", "Plan", "checked_file", "folders_of", "make_plan"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A decision that is left alone, and why."""

    path: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that an earlier apply did and nobody took back, and the journal that says so.

    Attributes:
        operation, journal: the two.
        emptied: its file was, or was about to be, removed from the trash for good.
    """

    operation: Operation
    journal: Path
    emptied: bool = False


@dataclass(frozen=True)
class Plan:
    """What an apply would do. No two operations have the same source, or the same target, whatever folder is a link.

    Attributes:
        operations: the moves, in order.
        conflicts: the decisions that are left alone.
        folders: folders that have to be made, each after the one that holds it.
        warnings: what is wrong with the manifest, so that a row of it was left out.
        notes: what people should know, though nothing is wrong.
    """

    operations: tuple[Operation, ...]
    conflicts: tuple[Conflict, ...]
    folders: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def make_plan(decisions: Iterable[Decision], labels: Labels, trash: str, earlier: Sequence[Done] = ()) -> Plan:
    """Turn the last decision about each path into moves of files.

    Args:
        decisions: at most one a path; also those that ask for no move, which may contradict what was done.
        labels: where the labels live.
        trash: folder for deleted files, relative to the dataset's.
        earlier: what earlier applies did, in that order.
    """
    before = defaultdict(list)
    for done in earlier:
        before[done.operation.source].append(done)
    inside = Inside(labels.root)
    # A name that an earlier move made free is not given away: its file may be put back, in whatever order.
    taken = {inside.place(path) for done in earlier for path in (done.operation.source, done.operation.target)}
    arrived = {done.operation.target: done for done in earlier}
    decisions = list(decisions)
    called = defaultdict(list)
    for decision in decisions:
        if decision.action is not Action.UNDO:
            called[inside.place(decision.path)].append(decision.path)
    operations: list[Operation] = []
    conflicts: list[Conflict] = []
    for decision in decisions:
        try:
            if not _leaves_to_do(decision, before.get(decision.path), labels.root):
                continue
            _check_is_meant(decision, arrived.get(decision.path))
            targets = labels.targets(decision, trash)
            inside.check(decision.path)
            _check_is_alone(decision, called[inside.place(decision.path)])
            file = checked_file(decision, labels.root)
            target = _free(targets, inside, taken)
            inside.check(target)
        except Refusal as refusal:
            conflicts.append(Conflict(decision.path, decision.action.value, str(refusal)))
            continue
        taken.add(inside.place(target))
        action = decision.action.value
        operations.append(Operation(decision.path, target, action, decision.new_label, decision.decided_at, file))
    return Plan(tuple(operations), tuple(conflicts), tuple(_missing_folders(operations, labels.root)))


def _leaves_to_do(decision: Decision, before: Sequence[Done] | None, root: Path) -> bool:
    """Whether a decision asks for a move that was not made yet; `before`: the moves from its path that were made.

    Raises:
        Refusal: what was done before stands in its way.
    """
    if before:
        is_there = os.path.lexists(root / decision.path)
        if any(done.operation.decision == decision_key(decision) for done in before):
            # Of a file that came later the decision says nothing.
            if is_there and before[-1].operation.file.is_at(root / decision.path):
                # It may have come back on purpose.
                raise Refusal(f"it {_was(before[-1])}, and there is a file again; look at it and decide again")
            return False
        if not is_there and before[-1].emptied and not os.path.lexists(root / before[-1].operation.target):
            raise Refusal(f"it {_was(before[-1])} and is gone for good: `cleaner trash --empty` removed it")
        if not is_there:
            undo = shlex.join(["cleaner", "undo", str(before[-1].journal)])
            raise Refusal(f"it {_was(before[-1])}; `{undo}` takes that back")
    return decision.action in (Action.DELETE, Action.RELABEL)


def _check_is_meant(decision: Decision, arrived: Done | None) -> None:
    """Check that a decision is about the file that an earlier apply put at its path; None where none did.

    Raises:
        Refusal: it may be about another file, that was or should have been there before.
    """
    if arrived and not decision.sha256:
        raise Refusal(
            f"the file there is {arrived.operation.source!r}, which {arrived.journal.name!r} moved there; a decision "
            "without a sha256 does not say that it is meant; add that, or decide again"
        )


def _check_is_alone(decision: Decision, names: Sequence[str]) -> None:
    """Check that a file was decided about by one name only; `names`: all by which it was.

    Raises:
        Refusal: it was by another one too.
    """
    if others := [name for name in names if name != decision.path]:
        raise Refusal(
            f"it is also called {others[0]!r}, through a folder that is a link, and there is a decision about that "
            "too; take one of the two back"
        )


def _was(done: Done) -> str:
    was = "was deleted" if done.operation.action == "delete" else f"was moved to {done.operation.target!r}"
    return f"{was} by {done.journal.name!r}"


class Inside:
    """Knows where the folders of a dataset really are, and which lie in it; each is looked at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = Path(os.path.realpath(root))
        self._folders: dict[str, tuple[str, bool]] = {}

    def place(self, path: str) -> str:
        """Where a file really is, which is the same for all its names through folders that are links."""
        folder, _, name = path.rpartition("/")
        return os.path.join(self._folder(folder)[0], name)

    def _folder(self, folder: str) -> tuple[str, bool]:
        """Where a folder really is, and whether that is in the dataset."""
        if folder not in self._folders:
            real = os.path.realpath(os.path.join(self._root, folder))
            self._folders[folder] = real, Path(real).is_relative_to(self._real)
        return self._folders[folder]

    def holds(self, path: str) -> bool:
        """Whether the folder of a file is really in the dataset."""
        return self._folder(path.rpartition("/")[0])[1]

    def check(self, path: str) -> None:
        """Check that a move from or to `path` stays in the dataset.

        Raises:
            Refusal: its folder is a link that leads out of it.
        """
        if not self.holds(path):
            folder = path.rpartition("/")[0]
            raise Refusal(f"the folder {os.path.join(self._root, folder)!r} is a link that leads out of the dataset")


def checked_file(decision: Decision, root: Path) -> Identity:
    """The file that was decided about, which is the one that is there.

    Raises:
        Refusal: it is gone, cannot be read, or is another one.
    """
    path = root / decision.path
    if not os.path.lexists(path):
        raise Refusal("the file is gone")
    if not os.path.isfile(path):
        raise Refusal("it is no regular file")
    try:
        status = os.lstat(path)
        return Identity.of(path, status, _checked_bytes(decision, path))
    except OSError as error:
        raise Refusal(f"it cannot be read: {error.strerror}") from error


def _checked_bytes(decision: Decision, path: Path) -> str:
    """The SHA-256 of the bytes; empty where they cannot be read, and could not when it was decided.

    Raises:
        OSError: they can no longer be read.
    """
    try:
        found = sha256_of(path)
    except OSError:
        if decision.sha256:
            raise
        return ""
    if decision.sha256 and found != decision.sha256:
        raise Refusal("its bytes changed since the decision; look at it again")
    if decision.decided_at and not decision.sha256:
        # The app writes no hash only where it could not read the file, so nobody can have seen what is there now.
        raise Refusal("it could not be read when it was decided, and now it can; look at it again")
    return found


def _free(targets: Iterable[str], inside: Inside, taken: Container[str]) -> str:
    """The first of some paths that no file has and no operation was promised."""
    places = ((path, inside.place(path)) for path in targets)
    return next(path for path, place in places if place not in taken and not os.path.lexists(place))


def _missing_folders(operations: Sequence[Operation], root: Path) -> list[str]:
    return sorted(folder for folder in folders_of(operations) if not os.path.exists(root / folder))


def folders_of(operations: Iterable[Operation]) -> set[str]:
    """The folders that the operations move files to, and those that hold these, below the dataset's."""
    nearest = {operation.target.rpartition("/")[0] for operation in operations}
    return {str(folder) for path in nearest for folder in (PurePosixPath(path), *PurePosixPath(path).parents)} - {"."}
