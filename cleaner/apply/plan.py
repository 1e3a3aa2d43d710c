"""Plans for folders and tables: every conflict is found and listed before anything changes."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.identity import Identity
from cleaner.core.journal import AnyJournal, Change, Operation, RowChange, State
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan_header import ScanHeader

__all__ = [
    "AppliedChange",
    "Changes",
    "Conflict",
    "LabelChange",
    "Outcome",
    "Plan",
    "PlanContext",
    "Refusal",
    "Run",
    "asks_for_change",
    "identify",
    "interrupted_undo",
    "label_changes",
    "manifest_warnings",
    "try_each",
]

_Item = TypeVar("_Item", Decision, Operation)
_Result = TypeVar("_Result")
Changes = tuple[Operation, ...] | tuple[RowChange, ...]


class Refusal(Exception):  # noqa: N818 - not an error of the program, but the reason why one decision is left alone
    """Why a decision cannot be carried out; the message is for people."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A decision that is left alone, and why."""

    path: str
    action: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The operations of an apply or an undo. No two of them concern the same file, target or row.

    Attributes:
        operations: moves of files or changes of table rows, in order.
        conflicts: decisions that are left alone.
        folders: folders to create, parents first; empty for a label table.
        warnings: faults of the manifest, such as rows that were left out.
        notes: information without a fault.
    """

    operations: Changes
    conflicts: tuple[Conflict, ...] = ()
    folders: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelChange:
    """The number of images that go from one label to another; an empty `new_label` stands for deleted."""

    label: str
    new_label: str
    count: int


@dataclass(frozen=True)
class PlanContext:
    """The input of a plan.

    Attributes:
        manifest: the manifest.
        decisions: the last row about each path, including `undo`.
        header: header of the scan beside the manifest; None without a scan.
        journals: those beside the manifest about folders, or those about tables, oldest first.
        open_questions: who decided what, by the path of each image about which the rule lets nothing stand.
    """

    manifest: Manifest
    decisions: Mapping[str, Decision]
    header: ScanHeader | None
    journals: Sequence[AnyJournal]
    open_questions: Mapping[str, str] = field(default_factory=dict)

    @property
    def vocab(self) -> tuple[str, ...] | None:
        """The labels that the scan knows; None without a scan."""
        return self.header.vocab if self.header else None


@dataclass(frozen=True)
class Outcome:
    """The changes of a run.

    Attributes:
        done: the operations that were done.
        conflicts: the operations that failed.
        notes: information without a fault.
        left: keys of the journal's operations that did not reach the run's goal; None if the goal is not recorded.
        has_journal: whether the journal exists after the run.
    """

    done: Changes
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] | None = ()
    has_journal: bool = True


@dataclass(frozen=True)
class Run:
    """An apply or undo that is planned for one kind of dataset.

    Attributes:
        journal: the journal of the run.
        plan: what is to be done.
        goal: the state that the journal reaches at the end.
        changed: the dataset's folder or the label table.
        is_due: whether there is anything to change or to record.
        begin: records in the journal what is about to be done; raises CleanerError before anything changes.
        change: changes the dataset.
        earlier: the journals of earlier applies, with the result of interrupted ones settled.
    """

    journal: AnyJournal
    plan: Plan
    goal: State
    changed: Path
    is_due: bool
    begin: Callable[[], None]
    change: Callable[[], Outcome]
    earlier: Sequence[AnyJournal] = ()


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """A change that an earlier apply made and nobody took back.

    Attributes:
        change: the move or row change.
        journal: path of the journal that records it.
        emptied: whether its file is gone, and was, or was about to be, removed from the trash for good.
    """

    change: Change
    journal: Path
    emptied: bool = False

    @property
    def outcome(self) -> str:
        """The change to the image, and the journal that records it."""
        done = "was deleted"
        if self.change.action != "delete":
            is_move = isinstance(self.change, Operation)
            done = f"was moved to {self.change.key!r}" if is_move else f"was relabelled to {self.change.new_label!r}"
        return f"{done} by {self.journal.name!r}"

    def must_be_undone(self) -> Refusal:
        """Return the refusal of a decision that contradicts this change."""
        undo = shlex.join(["cleaner", "undo", str(self.journal)])
        return Refusal(f"it {self.outcome}; `{undo}` takes that back")


def interrupted_undo(journal: AnyJournal) -> CleanerError:
    """Return the error for a dataset on which an undo was interrupted."""
    undo = shlex.join(["cleaner", "undo", str(journal.path)])
    return CleanerError(f"an undo was interrupted; `{undo}` finishes it and comes first; nothing was changed")


def manifest_warnings(manifest: Manifest) -> tuple[str, ...]:
    """Return the faults of a manifest: rows left out, and acknowledged decisions removed or reordered."""
    return tuple(text for text in (*manifest.warnings, manifest.edited) if text)


def label_changes(changes: Changes, labels: Mapping[str, str]) -> tuple[LabelChange, ...]:
    """Sum changes up by label and new label, in the order of both; `labels` has the label of each path."""
    pairs = Counter(
        (labels.get(change.path, ""), "" if change.action == "delete" else change.new_label) for change in changes
    )
    return tuple(LabelChange(*pair, count) for pair, count in sorted(pairs.items()))


def asks_for_change(decision: Decision) -> bool:
    """Return whether a decision is one that an apply carries out."""
    return decision.action in (Action.DELETE, Action.RELABEL)


def try_each(
    items: Iterable[_Item], step: Callable[[_Item], _Result | None]
) -> tuple[tuple[_Result, ...], tuple[Conflict, ...]]:
    """Take a step for each decision or operation; return the results that are not None, and a conflict per refusal."""
    results: list[_Result] = []
    conflicts: list[Conflict] = []
    for item in items:
        try:
            if (result := step(item)) is not None:
                results.append(result)
        except Refusal as refusal:
            conflicts.append(Conflict(item.path, Action(item.action).value, str(refusal)))
    return tuple(results), tuple(conflicts)


def identify(decision: Decision, root: Path) -> Identity:
    """Return the identity of a decision's file; refuse one that is not the file that was decided about."""
    path = root / decision.path
    if not os.path.lexists(path):
        raise Refusal("the file is gone")
    if not os.path.isfile(path):
        raise Refusal("it is no regular file")
    try:
        status = os.lstat(path)
        return Identity.from_status(path, status, _checked_sha256(decision, path))
    except OSError as error:
        raise Refusal(f"it cannot be read: {error.strerror}") from error


def _checked_sha256(decision: Decision, path: Path) -> str:
    """Return the SHA-256 of the bytes; empty if they are unreadable now and were when it was decided."""
    try:
        sha256 = sha256_of(path)
    except OSError:
        if decision.sha256:
            raise
        return ""
    if decision.sha256 and sha256 != decision.sha256:
        raise Refusal("its bytes changed since the decision; look at it again")
    if decision.decided_at and not decision.sha256:
        # The app writes no hash only if it could not read the file, so nobody can have seen the current image.
        raise Refusal("it could not be read when it was decided, and now it can; look at it again")
    return sha256
