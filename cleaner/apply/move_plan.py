"""From decisions to moves of files, where the labels of a dataset are in its paths."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cleaner.apply.dataset_paths import RealPaths, numbered, target_folders
from cleaner.apply.plan import AppliedChange, Plan, Refusal, asks_for_change, identify, plan_changes
from cleaner.core.journal import Operation, decision_key
from cleaner.core.records import Action, Decision

__all__ = ["PathLabels", "plan_moves"]


class PathLabels(Protocol):
    """A dataset whose paths contain the labels."""

    @property
    def root(self) -> Path:
        """The dataset's folder."""

    def relabelled(self, decision: Decision) -> Iterator[str]:
        """Yield paths with the new label of a decision, relative to the root: all in one folder, best first.

        Raises:
            Refusal: the decision does not fit the current label; also while the paths are taken.
        """


def plan_moves(
    decisions: Iterable[Decision], labels: PathLabels, trash: str, earlier: Sequence[AppliedChange] = ()
) -> Plan:
    """Plan a move of a file for each decision that asks for one.

    Args:
        decisions: the last about each path, also those that ask for no move: they may contradict an earlier move.
        labels: how paths contain labels.
        trash: folder for deleted files, relative to the dataset's.
        earlier: moves of earlier applies, oldest first.
    """
    decisions = list(decisions)
    planner = _MovePlanner(decisions, labels, trash, earlier)
    operations, conflicts = plan_changes(decisions, planner.move)
    missing = (folder for folder in target_folders(operations) if not os.path.exists(labels.root / folder))
    return Plan(operations, conflicts, tuple(sorted(missing)))


class _MovePlanner:
    """Plans one move after the other; remembers which paths are taken."""

    def __init__(
        self, decisions: Sequence[Decision], labels: PathLabels, trash: str, earlier: Sequence[AppliedChange]
    ) -> None:
        self._labels = labels
        self._trash = trash
        self._paths = RealPaths(labels.root)
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

    def move(self, decision: Decision) -> Operation | None:
        """Return the move for a decision; None if nothing is left to do.

        Raises:
            Refusal: the decision cannot be carried out.
        """
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
        """Return whether earlier moves leave a decision to do.

        Raises:
            Refusal: an earlier move contradicts the decision.
        """
        before = self._departed.get(decision.path)
        if not before:
            return True
        last, root = before[-1], self._labels.root
        is_there = os.path.lexists(root / decision.path)
        if any(applied.change.decision == decision_key(decision) for applied in before):
            # The decision is not about another file that came later. The same file may be back on purpose.
            if is_there and isinstance(last.change, Operation) and last.change.file.is_at(root / decision.path):
                raise Refusal(f"it {last.outcome}, and there is a file again; look at it and decide again")
            return False
        if not is_there and last.emptied and not os.path.lexists(root / last.change.key):
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
