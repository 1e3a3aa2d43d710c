"""The result of an apply or undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cleaner.apply.options import LabelOptions
from cleaner.apply.plan import Changes, Conflict, LabelChange
from cleaner.core.journal import trash_path
from cleaner.core.markup import lines, table
from cleaner.core.terminal import text_table

__all__ = ["LABEL_PAIRS", "Report"]

LABEL_PAIRS = ("label", "new label", "images")
"""Header of `Report.label_pairs`."""

_MAX_LISTED = 20


@dataclass(frozen=True, repr=False)
class Report:
    """The result of an apply or undo.

    Attributes:
        journal: file from which the changes can be undone; None if there is none.
        done: moves of files, or changes of table rows; paths relative to the dataset's folder.
        conflicts: what was left alone, and why.
        warnings: faults of the manifest or the journal, so that something was left out.
        notes: information without a fault.
        changed: the dataset's folder or the label table; None if nothing was changed.
        planned: what a dry run would have done.
        label_changes: `done` or `planned` summed up by label and new label; empty for an undo.
        trash: folder for deleted files outside of the dataset; None for the hidden one in it.
        manifest: the decisions that were applied; None for an undo.
        options: where the labels are; None for an undo.
        is_dry_run: whether nothing was changed because that was asked for.
    """

    journal: Path | None
    done: Changes
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: Path | None = None
    planned: Changes = ()
    label_changes: tuple[LabelChange, ...] = ()
    trash: Path | None = None
    manifest: Path | None = None
    options: LabelOptions | None = field(default=None, compare=False)
    is_dry_run: bool = False

    def shown_path(self, path: str) -> str:
        """Return the path of a change for people: of a file in a trash outside of the dataset the whole path."""
        return str(trash_path(self.trash, path) or path)

    def __repr__(self) -> str:
        about = f", undo with {str(self.journal)!r}" if self._can_be_undone else ""
        return f"<Report: {self._counts()}{about}>"

    def __str__(self) -> str:
        tables = [text_table(header, rows) for header, rows in self._tables() if rows]
        return "\n".join([*self._texts(), *tables, *self._next_step()])

    def _repr_html_(self) -> str:
        tables = [table(header, rows) for header, rows in self._tables()]
        return "".join([lines(self._texts()), *tables, lines(self._next_step())])

    def label_pairs(self) -> list[tuple[str, str, int]]:
        """Return a row of `LABEL_PAIRS` for each of the `label_changes`."""
        return [(each.label or "?", each.new_label or "(deleted)", each.count) for each in self.label_changes]

    def _texts(self) -> list[str]:
        return [self._counts(), *self.warnings, *self.notes]

    def _tables(self) -> list[tuple[tuple[str, ...], Sequence[tuple[object, ...]]]]:
        refused = [(each.path, each.action, each.reason) for each in self.conflicts[:_MAX_LISTED]]
        return [(LABEL_PAIRS, self.label_pairs()), (("path", "action", "left alone because"), refused)]

    def _counts(self) -> str:
        done = f"{len(self.planned):,} planned" if self.is_dry_run else f"{len(self.done):,} done"
        return f"{done}, {len(self.conflicts):,} left alone"

    def _next_step(self) -> list[str]:
        if self.is_dry_run:
            return ["Next: cleaner.apply(report) carries this out"] if self.planned else []
        return ["To take it back: cleaner.undo(report)"] if self._can_be_undone else []

    @property
    def _can_be_undone(self) -> bool:
        return bool(self.journal and self.done and self.manifest)
