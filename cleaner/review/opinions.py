"""Who decided what about each file: the rows of a manifest, taken in as they come."""

from __future__ import annotations

from collections.abc import Container

from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision

__all__ = ["Opinions", "face_of"]


class Opinions:
    """For each file the last decision of each reviewer, and how many files of a scan are decided.

    Args:
        of: the paths of the scan.

    Attributes:
        decided: how many of them have a decision that stands.
    """

    def __init__(self, of: Container[str]) -> None:
        self._of = of
        self._said: dict[str, dict[str, Decision]] = {}
        self._decided: set[str] = set()
        self._taken = 0
        self._last: Decision | None = None

    @property
    def decided(self) -> int:
        """How many files of the scan have a decision that stands."""
        return len(self._decided)

    def take_in(self, manifest: Manifest) -> None:
        """Take in the rows that came since; all of them again where somebody edited the file."""
        rows = manifest.rows()
        if self._last is not None and (len(rows) < self._taken or rows[self._taken - 1] is not self._last):
            self._said, self._decided, self._taken = {}, set(), 0
        for row in rows[self._taken :]:
            self._take(row)
        self._taken, self._last = len(rows), rows[-1] if rows else None

    def others(self, path: str, standing: Decision | None) -> tuple[Decision, ...]:
        """What reviewers decided on a file otherwise than what stands; nothing where nobody disagrees."""
        said = list(self._said.get(path, {}).values())
        if len({_what(decision) for decision in said}) < 2:
            return ()
        if standing is None:
            return tuple(said)
        return tuple(d for d in said if d.reviewer != standing.reviewer and _what(d) != _what(standing))

    def _take(self, row: Decision) -> None:
        if row.path not in self._of:
            return
        said = self._said.setdefault(row.path, {})
        # To the end, so that the order is that of the decisions.
        said.pop(row.reviewer, None)
        if row.action is Action.UNDO:
            self._decided.discard(row.path)
        else:
            said[row.reviewer] = row
            self._decided.add(row.path)


def face_of(decision: Decision | None) -> tuple[str, str, str, str]:
    """What tells a decision from another one: what was decided, by whom and when; empty texts for none."""
    if decision is None:
        return ("", "", "", "")
    return (decision.action.value, decision.new_label, decision.reviewer, decision.decided_at)


def _what(decision: Decision) -> tuple[Action, str]:
    return decision.action, decision.new_label
