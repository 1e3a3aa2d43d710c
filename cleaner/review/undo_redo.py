"""The actions of one reviewer that can be undone and redone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cleaner.core.records import Decision, decision_revision

__all__ = ["Step", "UndoRedo"]


@dataclass(frozen=True, slots=True)
class Step:
    """One action: the decision about each of its files before and after it, None for undecided.

    Attributes:
        split, label: the class that was open.
    """

    split: str
    label: str
    before: Mapping[str, Decision | None]
    after: Mapping[str, Decision | None]

    def unchanged(self, standing: Mapping[str, Decision]) -> list[str]:
        """Return the files about which nobody has decided since."""

        def is_unchanged(path: str) -> bool:
            return decision_revision(standing.get(path)) == decision_revision(self.after[path])

        return list(filter(is_unchanged, self.after))

    def reversed(self, paths: Iterable[str]) -> Step:
        """Return the step that takes this one back for some of its files."""
        paths = list(paths)
        return Step(self.split, self.label, {p: self.after[p] for p in paths}, {p: self.before[p] for p in paths})

    def rows_back(self, path: str, undecided: Callable[[str], Decision]) -> list[Decision]:
        """Return the manifest rows that restore the decision before the step, with its reviewer.

        Args:
            path: one of the step's files.
            undecided: returns the row that takes a file back to undecided.
        """
        before, after = self.before[path], self.after[path]
        if before is None:
            return [undecided(path)]
        # Another reviewer's decision is taken back first; else the two would count as different opinions.
        is_same_reviewer = after is None or after.reviewer == before.reviewer
        return [before] if is_same_reviewer else [undecided(path), before]


class UndoRedo:
    """Steps to undo and steps to redo, the last one at the end."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.undone: list[Step] = []

    def add(self, step: Step) -> None:
        """Add a new step; undone ones can no longer be redone."""
        self.done.append(step)
        self.undone.clear()
