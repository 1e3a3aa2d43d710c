"""From decisions to changes of table rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cleaner.apply.item_labels import ItemLabels, SeveralLabels, is_left_to_do
from cleaner.apply.plan import AppliedChange, Plan, Refusal, asks_for_change, identify, plan_changes
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
        rows = self.by_name.get(change.name, ())
        if change.action == "delete":
            return not rows
        return [label for _, label in rows] == [change.becomes]


def find_rows(table: TableFile, resolver: TablePathResolver, paths: Iterable[str], names: Iterable[str]) -> Rows:
    """Find the rows of the files at `paths`, and those with one of `names`.

    Raises:
        CleanerError: the table is invalid.
    """
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

    Attributes:
        root: the dataset's folder.
        table: the label table.
        rows: its rows about the decisions and about earlier changes.
        resolver: finds the files of the table's paths.
        vocab: the labels that the scan knows; None without a scan: then those in the table are known.
        earlier: the last change of an earlier apply, by path.
        labels: how cells have their labels.
    """

    root: Path
    table: TableFile
    rows: Rows
    resolver: TablePathResolver
    vocab: Sequence[str] | None
    earlier: Mapping[str, AppliedChange]
    labels: ItemLabels

    def plan(self, decisions: Iterable[Decision]) -> Plan:
        """Plan a change of a row for each decision that asks for one.

        Args:
            decisions: the last about each path, also those that ask for no change: they may contradict an earlier one.
        """
        # A row means one file, and there is one decision about a file: no two changes are of one row.
        return Plan(*plan_changes(decisions, self._change))

    def _change(self, decision: Decision) -> RowChange | None:
        if not self._agrees_with_earlier(decision) or not asks_for_change(decision):
            return None
        identify(decision, self.root)
        name, position, text = self._row(decision)
        labels = self.labels
        has_several = isinstance(labels, SeveralLabels)
        before, action, new_label = labels.as_decided(text), decision.action, decision.new_label
        if not is_left_to_do(decision, labels, labels.split(text), self._known):
            raise Refusal(f"it has the label{'s' * has_several} {before!r} already")
        after = labels.changed(text, new_label, str) if action is Action.RELABEL else None
        if after is not None:
            self.table.check_label(after)
        cell = after if has_several else None
        return RowChange(decision.path, name, action.value, before, new_label, decision.decided_at, position, cell)

    def _agrees_with_earlier(self, decision: Decision) -> bool:
        """Return whether an earlier change leaves a decision to do.

        Raises:
            Refusal: an earlier change contradicts the decision.
        """
        before = self.earlier.get(decision.path)
        if before is None or not isinstance(before.change, RowChange):
            return True
        if before.change.decision == decision_key(decision):
            if self.rows.shows(before.change):
                return False
            raise Refusal(f"it {before.outcome}, and the table says otherwise again; look at it and decide again")
        if self.rows.shows(before.change) and not _is_about(decision, before.change):
            raise before.must_be_undone()
        return True

    def _row(self, decision: Decision) -> tuple[str, int, str]:
        """Return the name, position and label cell of a decision's row."""
        matches: list[tuple[str, int, str]] = []
        for name in sorted(self.resolver.names(decision.path)):
            rows = self.rows.by_name.get(name, ())
            files = self.resolver.resolve(name) if rows else set()
            if decision.path not in files:
                continue
            if len(files) > 1:
                others = sorted(files - {decision.path})
                raise Refusal(
                    f"the table calls it {name!r}, which may also be {others[0]!r}; write the whole path there"
                )
            matches += [(name, position, label) for position, label in rows]
        if not matches:
            raise Refusal("it is not in the table")
        if len(matches) > 1:
            raise Refusal(f"it is {len(matches)} times in the table; leave one row of it")
        return matches[0]

    @cached_property
    def _known(self) -> frozenset[str]:
        if self.vocab is not None:
            return frozenset(self.vocab)
        return frozenset(label for cell in self.rows.labels for label in self.labels.split(cell) or ())


def _is_about(decision: Decision, change: RowChange) -> bool:
    """Return whether a decision was made about a row as an earlier change left it."""
    if change.action == "delete":
        return False
    if decision.label:
        return decision.label == change.new_label
    return asks_for_change(decision)
