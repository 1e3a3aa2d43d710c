"""Decisions that an apply carried out on a dataset and no undo took back, as recorded in the journals."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cleaner.core.journal import AnyJournal, Journal, Operation, State, TableJournal, decision_key, journals_in

__all__ = ["CarriedOut", "carried_out", "carried_out_note", "from_journal"]


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """One decision that was carried out.

    Attributes:
        decision: identifies the decision; see `cleaner.core.journal.decision_key`.
        target: current path of the image; the path decided about if only a table was changed.
        new_label: the label the image got; empty if it was deleted.
        sha256: of the moved file; empty if no file was moved.
        at: time of the apply, UTC, ISO 8601.
    """

    decision: tuple[str, str, str, str]
    target: str
    new_label: str
    sha256: str
    at: str


def carried_out(folder: Path, root: Path) -> list[CarriedOut]:
    """Read the journals in a scan folder that are about the dataset in the folder `root`, oldest apply first."""
    real = os.path.realpath(root)
    journals: list[AnyJournal] = [*journals_in(folder, Journal), *journals_in(folder, TableJournal)]
    records = [
        record
        for journal in journals
        # An interrupted run is settled when its command is given again.
        if journal.state in (State.FINISHED, State.UNDONE) and os.path.realpath(journal.data) == real
        for record in from_journal(journal)
    ]
    return sorted(records, key=lambda record: record.at)


def from_journal(journal: AnyJournal) -> Iterator[CarriedOut]:
    """Yield what one journal records as carried out and not taken back."""
    for change in journal.carried_out:
        sha256 = change.file.sha256 if isinstance(change, Operation) else ""
        yield CarriedOut(decision_key(change), change.key, change.new_label, sha256, journal.written)


def carried_out_note(records: Iterable[CarriedOut]) -> str:
    """Say how many decisions were carried out, and when; empty for none."""
    days: dict[str, int] = {}
    for record in records:
        days[record.at[:10]] = days.get(record.at[:10], 0) + 1
    parts = [f"{n} decision{' was' if n == 1 else 's were'} carried out on {day}" for day, n in sorted(days.items())]
    return ", ".join(parts)
