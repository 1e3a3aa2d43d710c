"""From decisions to changes of table rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.item_labels import ItemLabels, SeveralLabels, is_left_to_do
from cleaner.apply.plan import AppliedChange, Refusal, asks_for_change, identify
from cleaner.apply.table.path_resolver import TablePathResolver
from cleaner.apply.table.table_file import TableFile
from cleaner.core.files import path_from_csv
from cleaner.core.journal import RowChange, decision_key
from cleaner.core.records import Action, Decision

__all__ = ["RowPlanner", "Rows", "find_rows"]


@dataclass(frozen=True)
class Rows:
    """The rows that are asked about.

    Attributes:
        by_name: position and label of each such row, by the table's name for its file.
        labels: all labels of the table.
    """

    by_name: Mapping[str, Sequence[tuple[int, str]]]
    labels: frozenset[str]

    def shows(self, change: RowChange) -> bool:
        """Return whether the table has the result of a change."""
        labels = [label for _, label in self.by_name.get(change.name, ())]
        return not labels if change.action == "delete" else labels == [change.becomes]


def find_rows(table: TableFile, resolver: TablePathResolver, paths: Iterable[str], names: Iterable[str]) -> Rows:
    """Find the rows of the files at `paths`, and those with one of `names`."""
    wanted = {name for path in paths for name in resolver.names(path)} | set(names)
    by_name: dict[str, list[tuple[int, str]]] = defaultdict(list)
    labels: set[str] = set()
    for position, cell, label in table.rows():
        labels.add(label)
        name = path_from_csv(cell)
        if name in wanted:
            by_name[name].append((position, label))
    return Rows(dict(by_name), frozenset(labels))


@dataclass(frozen=True)
class RowPlanner:
    """Plans the row changes of decisions.

    A row means one file, and there is one decision about a file: no two changes are of one row.

    Attributes:
        root: the dataset's folder.
        table: the label table.
        rows: its rows about the decisions and about earlier changes.
        resolver: finds the files of the table's paths.
        known: labels that an image may get.
        earlier: the last change of an earlier apply, by path.
        labels: how cells have their labels.
    """

    root: Path
    table: TableFile
    rows: Rows
    resolver: TablePathResolver
    known: Container[str] | None
    earlier: Mapping[str, AppliedChange]
    labels: ItemLabels

    def change(self, decision: Decision) -> RowChange | None:
        """Return the change for a decision; None if nothing is left to do."""
        if not self._agrees_with_earlier(decision) or not asks_for_change(decision):
            return None
        identify(decision, self.root)
        name, position, text = self._row(decision)
        labels = self.labels
        has_several = isinstance(labels, SeveralLabels)
        before, action, new_label = labels.as_decided(text), decision.action, decision.new_label
        if not is_left_to_do(decision, labels, labels.split(text), self.known):
            raise Refusal(f"it has the label{'s' * has_several} {before!r} already")
        after = labels.changed(text, new_label, str) if action is Action.RELABEL else None
        if after is not None:
            self.table.check_label(after)
        cell = after if has_several else None
        return RowChange(decision.path, name, action.value, before, new_label, decision.decided_at, position, cell)

    def _agrees_with_earlier(self, decision: Decision) -> bool:
        """Return whether an earlier change leaves a decision to do; refuse a decision that contradicts it."""
        before = self.earlier.get(decision.path)
        if before is None or not isinstance(before.change, RowChange):
            return True
        is_shown = self.rows.shows(before.change)
        if decision_key(before.change) == decision_key(decision):
            if is_shown:
                return False
            raise Refusal(f"it {before.outcome}, and the table says otherwise again; look at it and decide again")
        is_about_result = decision.label == before.change.new_label if decision.label else asks_for_change(decision)
        if is_shown and (before.change.action == "delete" or not is_about_result):
            raise before.must_be_undone()
        return True

    def _row(self, decision: Decision) -> tuple[str, int, str]:
        """Return the name, position and label cell of a decision's row."""
        rows = [
            (name, position, label)
            for name in sorted(self.resolver.names(decision.path) & self.rows.by_name.keys())
            if self.resolver.is_name_of(name, decision.path)
            for position, label in self.rows.by_name[name]
        ]
        if not rows:
            raise Refusal("it is not in the table")
        if len(rows) > 1:
            raise Refusal(f"it is {len(rows)} times in the table; leave one row of it")
        return rows[0]
