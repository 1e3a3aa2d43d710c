"""From decisions to changed rows: every conflict is found and listed before the table is written."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.labels import Refusal
from cleaner.apply.plan import Conflict, checked_file
from cleaner.apply.tables.naming import Naming
from cleaner.apply.tables.sets import LabelSets
from cleaner.apply.tables.table import LabelTable
from cleaner.core.journal import decision_key
from cleaner.core.records import Action, Decision
from cleaner.core.table_journal import RowChange

__all__ = ["Made", "Rows", "TablePlan", "make_plan", "rows_of"]


@dataclass(frozen=True, slots=True)
class Made:
    """A change that an earlier apply made and nobody took back, and the journal that says so."""

    change: RowChange
    journal: Path


@dataclass(frozen=True)
class TablePlan:
    """What an apply would do to a label table. No two changes are of the same row, or of the same file.

    Attributes:
        operations: the changes of rows, in the order of the decisions.
        conflicts: the decisions that are left alone.
        warnings: what is wrong with the manifest, so that a row of it was left out.
        notes: what people should know, though nothing is wrong.
    """

    operations: tuple[RowChange, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The rows that are asked about, and which labels the table has.

    Attributes:
        called: by what the table calls the file, the place and the label of each such row.
        labels: all labels of the table.
    """

    called: Mapping[str, Sequence[tuple[int, str]]]
    labels: frozenset[str]

    def shows(self, change: RowChange) -> bool:
        """Whether the table is as it would be after a change."""
        rows = self.called.get(change.name, ())
        if change.action == "delete":
            return not rows
        return [label for _, label in rows] == [change.becomes]


def rows_of(table: LabelTable, naming: Naming, paths: Iterable[str], names: Iterable[str]) -> Rows:
    """The rows of the files at some paths, and those of some names.

    Raises:
        CleanerError: the table makes no sense.
    """
    wanted = {name for path in paths for name in naming.names(path)} | set(names)
    called: dict[str, list[tuple[int, str]]] = defaultdict(list)
    labels: set[str] = set()
    for place, cell, label in table.rows():
        labels.add(label)
        name = naming.name_in(cell)
        if name in wanted:
            called[name].append((place, label))
    return Rows(dict(called), frozenset(labels))


@dataclass(frozen=True)
class _Ground:
    """What the decisions are held against."""

    root: Path
    table: LabelTable
    rows: Rows
    naming: Naming
    known: frozenset[str]
    sets: LabelSets | None = None


def make_plan(
    decisions: Iterable[Decision],
    root: Path,
    table: LabelTable,
    rows: Rows,
    naming: Naming,
    vocab: Iterable[str] | None,
    earlier: Sequence[Made] = (),
    sets: LabelSets | None = None,
) -> TablePlan:
    """Turn the last decision about each path into changes of rows.

    Args:
        decisions: at most one a path; also those that ask for no change, which may contradict what was done.
        root: the dataset's folder.
        table: the label table.
        rows: its rows, of all these decisions and of what earlier applies did.
        naming: how the table names files.
        vocab: the labels that the scan knows; None where there is no scan: then those in the table are the known ones.
        earlier: what earlier applies did, in that order.
        sets: how several labels stand in a cell; None where each has one.
    """
    before = {made.change.path: made for made in earlier}
    ground = _Ground(root, table, rows, naming, _known(rows, vocab, sets), sets)
    changes: list[RowChange] = []
    conflicts: list[Conflict] = []
    for decision in decisions:
        try:
            if _leaves_to_do(decision, before.get(decision.path), rows):
                changes.append(_change(decision, ground))
        except Refusal as refusal:
            conflicts.append(Conflict(decision.path, decision.action.value, str(refusal)))
    # Each row means one file, and there is one decision about each: no two changes can be of one row.
    return TablePlan(tuple(changes), tuple(conflicts))


def _known(rows: Rows, vocab: Iterable[str] | None, sets: LabelSets | None) -> frozenset[str]:
    if vocab is not None:
        return frozenset(vocab)
    return frozenset(label for cell in rows.labels for label in sets.of_cell(cell)) if sets else rows.labels


def _leaves_to_do(decision: Decision, before: Made | None, rows: Rows) -> bool:
    """Whether a decision asks for a change that was not made yet; `before`: the last one of its path that was made.

    Raises:
        Refusal: what was done before stands in its way.
    """
    if before and before.change.decision == decision_key(decision):
        if rows.shows(before.change):
            return False
        raise Refusal(f"it {_was(before)}, and the table says otherwise again; look at it and decide again")
    if before and rows.shows(before.change) and not _is_about(decision, before.change):
        undo = shlex.join(["cleaner", "undo", str(before.journal)])
        raise Refusal(f"it {_was(before)}; `{undo}` takes that back")
    return decision.action in (Action.DELETE, Action.RELABEL)


def _is_about(decision: Decision, change: RowChange) -> bool:
    """Whether a decision was taken about a row as an earlier change left it."""
    if change.action == "delete":
        return False
    if decision.label:
        return decision.label == change.new_label
    return decision.action in (Action.DELETE, Action.RELABEL)


def _was(made: Made) -> str:
    was = "was deleted" if made.change.action == "delete" else f"was relabelled to {made.change.new_label!r}"
    return f"{was} by {made.journal.name!r}"


def _change(decision: Decision, ground: _Ground) -> RowChange:
    checked_file(decision, ground.root)
    name, place, label = _row(decision, ground)
    if ground.sets:
        before, cell = _set_after(decision, label, ground, ground.sets)
        about = (decision.path, name, decision.action.value, before, decision.new_label)
        return RowChange(*about, decision.decided_at, place, cell)
    if decision.label and label != decision.label:
        raise Refusal(f"the table has the label {label!r} for it, and the decision was about {decision.label!r}")
    if decision.action is Action.RELABEL:
        if label == decision.new_label:
            raise Refusal(f"it has the label {label!r} already")
        if decision.new_label not in ground.known:
            raise Refusal(f"there is no class {decision.new_label!r}")
        ground.table.check_label(decision.new_label)
    action = decision.action.value
    return RowChange(decision.path, name, action, label, decision.new_label, decision.decided_at, place)


def _set_after(decision: Decision, cell: str, ground: _Ground, sets: LabelSets) -> tuple[str, str | None]:
    """The labels in a cell as a decision writes them, and the cell after it; None where the row is dropped."""
    before, now = sets.as_decided(cell), set(sets.of_cell(cell))
    if decision.label and set(sets.of_decision(decision.label)) != now:
        raise Refusal(f"the table has the labels {before!r} for it, and the decision was about {decision.label!r}")
    if decision.action is Action.DELETE:
        return before, None
    new = sets.of_decision(decision.new_label)
    if set(new) == now:
        raise Refusal(f"it has the labels {before!r} already")
    for label in new:
        if label not in ground.known:
            raise Refusal(f"there is no class {label!r}")
    after = sets.cell_after(cell, new)
    ground.table.check_label(after)
    return before, after


def _row(decision: Decision, ground: _Ground) -> tuple[str, int, str]:
    """What the table calls the file of a decision, and the place and the label of its row."""
    found: list[tuple[str, int, str]] = []
    for name in sorted(ground.naming.names(decision.path)):
        rows = ground.rows.called.get(name, ())
        meant = ground.naming.meant(name) if rows else set()
        if decision.path not in meant:
            continue
        if len(meant) > 1:
            others = sorted(meant - {decision.path})
            raise Refusal(f"the table calls it {name!r}, which may also be {others[0]!r}; write the whole path there")
        found += [(name, place, label) for place, label in rows]
    if not found:
        raise Refusal("it is not in the table")
    if len(found) > 1:
        raise Refusal(f"it is {len(found)} times in the table; leave one row of it")
    return found[0]
