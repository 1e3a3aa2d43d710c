"""Who decided what about each file, as the rows of a manifest say."""

from __future__ import annotations

from collections.abc import Container

from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.opinions import other_opinions
from cleaner.core.records import Decision

__all__ = ["Opinions"]


class Opinions:
    """For each file the last decision of each reviewer, and how many files of a scan are decided.

    Args:
        of: the paths of the scan.
    """

    def __init__(self, of: Container[str]) -> None:
        self._of = of
        self._rows = ManifestRows("")
        self._taken = 0
        self._decided: set[str] = set()

    @property
    def decided(self) -> int:
        """How many files of the scan have a decision that stands."""
        return len(self._decided)

    def take_in(self, rows: ManifestRows) -> None:
        """Take in the rows that came since; all of them again where somebody edited the file."""
        if rows is not self._rows:
            self._rows, self._taken = rows, rows.count
            self._decided = {path for path in rows if path in self._of}
        for number in range(self._taken, rows.count):
            path = rows.row(number).path
            if path in rows and path in self._of:
                self._decided.add(path)
            else:
                self._decided.discard(path)
        self._taken = rows.count

    def others(self, path: str, standing: Decision | None) -> tuple[Decision, ...]:
        """What reviewers decided on a file otherwise than what stands; nothing where nobody disagrees."""
        return other_opinions(self._rows.of(path), standing)
