"""Disagreements of reviewers, from the rows of a manifest."""

from __future__ import annotations

from collections.abc import Iterable

from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.records import Action, Decision

__all__ = ["last_by_reviewer", "note_on_disagreement", "other_opinions"]


def last_by_reviewer(rows: Iterable[Decision]) -> dict[str, Decision]:
    """Return the last decision of each reviewer about one file, oldest first; none for one who undid it.

    Args:
        rows: all rows of the file, in the order of the manifest.
    """
    last: dict[str, Decision] = {}
    for row in rows:
        last.pop(row.reviewer, None)  # moves the reviewer to the end
        if row.action is not Action.UNDO:
            last[row.reviewer] = row
    return last


def other_opinions(rows: Iterable[Decision], standing: Decision | None) -> tuple[Decision, ...]:
    """Return the decisions about one file that contradict the current one.

    Args:
        rows: all rows of the file, in the order of the manifest.
        standing: the current decision; for None all decisions are returned if reviewers disagree.
    """
    last = last_by_reviewer(rows)
    if len({_what(decision) for decision in last.values()}) < 2:
        return ()
    if standing is None:
        return tuple(last.values())
    return tuple(d for d in last.values() if d.reviewer != standing.reviewer and _what(d) != _what(standing))


def note_on_disagreement(rows: ManifestRows) -> tuple[str, ...]:
    """Report on how many decided images reviewers disagree, with one as an example; empty if on none."""
    disputed = [path for path in rows.repeated() if path in rows and other_opinions(rows.all_for(path), rows[path])]
    if not disputed:
        return ()
    opinions = ", ".join(map(_shown, last_by_reviewer(rows.all_for(disputed[0])).values()))
    images = "1 image" if len(disputed) == 1 else f"{len(disputed)} images"
    such_as = "" if len(disputed) == 1 else "such as "
    return (f"reviewers disagree on {images}, {such_as}{disputed[0]!r} ({opinions}); the last decision stands",)


def _shown(decision: Decision) -> str:
    reviewer = decision.reviewer if decision.reviewer.isprintable() else ascii(decision.reviewer)
    label = f" to {decision.new_label!r}" if decision.new_label else ""
    return f"{reviewer or 'somebody'}: {decision.action}{label}"


def _what(decision: Decision) -> tuple[Action, str]:
    return decision.action, decision.new_label
