"""Decisions that an apply carried out on the dataset and no undo took back, as the journals beside a manifest say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cleaner.core import journal as journals
from cleaner.core import table_journal
from cleaner.core.journal import Journal, Operation, State
from cleaner.core.table_journal import TableJournal

__all__ = ["CarriedOut", "carried_out", "carried_out_note", "of_journal"]


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """One decision that was carried out.

    Attributes:
        decision: identifies the decision; see `cleaner.core.journal.decision_key`.
        target: path of the file since; the one decided about where only a table was changed.
        new_label: the label the image got; empty where it was deleted.
        sha256: of the moved file; empty where no file was moved.
        at: time of the apply, UTC, ISO 8601.
    """

    decision: tuple[str, str, str, str]
    target: str
    new_label: str
    sha256: str
    at: str


def carried_out(folder: Path, root: Path) -> list[CarriedOut]:
    """Read the journals in a scan folder that are about the dataset in the folder `root`, oldest apply first.

    Raises:
        CleanerError: a journal makes no sense.
    """
    real = os.path.realpath(root)
    found: list[CarriedOut] = []
    for path in sorted(folder.glob("journal-*.jsonl")):
        is_of_table = journals.is_of_table(path)
        journal = table_journal.read(path) if is_of_table else journals.read(path)
        # What an interrupted run did is settled when its command is given again.
        if journal.state in (State.FINISHED, State.UNDONE) and os.path.realpath(journal.data) == real:
            found += of_journal(journal)
    return sorted(found, key=lambda each: each.at)


def of_journal(journal: Journal | TableJournal) -> Iterator[CarriedOut]:
    """Give what one journal says was carried out and not taken back."""
    for each in journal.carried_out:
        if isinstance(each, Operation):
            yield CarriedOut(each.decision, each.target, each.new_label, each.file.sha256, journal.written)
        else:
            yield CarriedOut(each.decision, each.path, each.new_label, "", journal.written)


def carried_out_note(found: Iterable[CarriedOut]) -> str:
    """Say how many decisions were carried out, and when; empty for none."""
    days: dict[str, int] = {}
    for each in found:
        days[each.at[:10]] = days.get(each.at[:10], 0) + 1
    parts = [f"{n} decision{' was' if n == 1 else 's were'} carried out on {day}" for day, n in sorted(days.items())]
    return ", ".join(parts)
