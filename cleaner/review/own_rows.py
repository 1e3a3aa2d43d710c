"""The rows of a manifest that one reviewer wrote, for a blind review."""

from __future__ import annotations

from cleaner.core.manifest_rows import ManifestRows

__all__ = ["OwnRows"]


class OwnRows:
    """Keeps up with a manifest, and leaves out the rows of others.

    Args:
        reviewer: whose rows count.
    """

    def __init__(self, reviewer: str) -> None:
        self._reviewer = reviewer
        self._of: ManifestRows | None = None
        self._own, self._n_read = ManifestRows(""), 0

    def of(self, rows: ManifestRows) -> ManifestRows:
        """Return the reviewer's rows; the same object with new rows added, until somebody edits the manifest."""
        if rows is not self._of or rows.count < self._n_read:
            self._of, self._own, self._n_read = rows, ManifestRows(""), 0
        if not self._own.columns and rows.columns:
            self._own.add(rows.header)
        for number in range(self._n_read, rows.count):
            if rows.row(number).reviewer == self._reviewer:
                self._own.add(rows.text(number))
        self._n_read = rows.count
        return self._own
