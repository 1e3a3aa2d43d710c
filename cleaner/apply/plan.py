"""From decisions to operations: every conflict is found and listed before anything moves."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cleaner.apply.journal import Operation
from cleaner.apply.labels import FolderLabels, Refusal
from cleaner.core.files import sha256_of
from cleaner.core.records import Action, Decision

__all__ = ["Conflict", "Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A decision that is left alone, and why."""

    path: str
    action: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What an apply would do. No two operations have the same source, or the same target.

    Attributes:
        operations: the moves, in order.
        conflicts: the decisions that are left alone.
        folders: folders that have to be made, each after the one that holds it.
        warnings: what was found wrong with the manifest and mended.
    """

    operations: tuple[Operation, ...]
    conflicts: tuple[Conflict, ...]
    folders: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def make_plan(
    decisions: Iterable[Decision],
    labels: FolderLabels,
    trash: str,
    done: Collection[tuple[str, str, str]],
    taken: Collection[str] = (),
) -> Plan:
    """Turn the decisions that stand into moves of files.

    Args:
        decisions: the decisions that stand, at most one a path.
        labels: where the labels live.
        trash: folder for deleted files, relative to the dataset's.
        done: decisions that an earlier apply carried out (`Operation.decision`); they are left out.
        taken: paths that no file is moved to, though nothing is there yet.
    """
    operations: list[Operation] = []
    conflicts: list[Conflict] = []
    taken = set(taken)
    for decision in decisions:
        if decision.action not in (Action.DELETE, Action.RELABEL):
            continue
        # A move that an earlier apply made is not made again: the file may have come back on purpose.
        if (decision.path, decision.action.value, decision.decided_at) in done:
            continue
        try:
            target = labels.target(decision, trash)
            _check_file(decision, labels.root)
            _check_inside(target, labels.root)
        except Refusal as refusal:
            conflicts.append(Conflict(decision.path, decision.action.value, str(refusal)))
            continue
        target = _free(target, labels.root, taken)
        taken.add(target)
        operations.append(Operation(decision.path, target, decision.action.value, decision.decided_at))
    return Plan(tuple(operations), tuple(conflicts), tuple(_missing_folders(operations, labels.root)))


def _check_inside(path: str, root: Path) -> None:
    # A link in the place of a folder would lead the move out of the dataset.
    folder = (root / path).parent
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise Refusal(f"the folder {str(folder)!r} is a link that leads out of the dataset")


def _check_file(decision: Decision, root: Path) -> None:
    _check_inside(decision.path, root)
    path = root / decision.path
    if not os.path.lexists(path):
        raise Refusal("the file is gone")
    if not path.is_file():
        raise Refusal("it is no regular file")
    try:
        found = sha256_of(path) if decision.sha256 else ""
    except OSError as error:
        raise Refusal(f"it cannot be read: {error.strerror}") from error
    if found != decision.sha256:
        raise Refusal("its bytes changed since the decision; look at it again")


def _free(target: str, root: Path, taken: Collection[str]) -> str:
    """The first of `name.jpg`, `name_1.jpg`, `name_2.jpg`, … that no file has and no operation was promised."""
    path = PurePosixPath(target)
    candidate, n = target, 0
    while candidate in taken or os.path.lexists(root / candidate):
        n += 1
        candidate = path.with_name(f"{path.stem}_{n}{path.suffix}").as_posix()
    return candidate


def _missing_folders(operations: Iterable[Operation], root: Path) -> list[str]:
    missing: dict[str, None] = {}
    for parent in {PurePosixPath(operation.target).parent: None for operation in operations}:
        for folder in reversed([parent, *parent.parents]):
            if folder.parts and not (root / folder).exists():
                missing[folder.as_posix()] = None
    return sorted(missing)
