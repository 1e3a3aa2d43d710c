"""Sentences for the end of a list: what was found, what is likely left, and how to go on."""

from __future__ import annotations

import shlex

from cleaner.core.estimate import ClassEstimate, Estimate
from cleaner.core.records import Action
from cleaner.review.session import Session
from cleaner.review.view import LIST_NAMES

__all__ = ["summary"]


def summary(session: Session, is_last: bool) -> list[str]:
    """Return the sentences for the end of the open list.

    Args:
        session: the review.
        is_last: whether no other list has undecided samples; the totals and the command that applies are added.
    """
    found = session.scan.estimate()
    lines = [_counted(session)]
    if session.view.label not in LIST_NAMES:
        place = session.view.split, session.view.label
        lines += [_of_class(each, found.unit) for each in found.classes if (each.split, each.label) == place]
    if is_last:
        lines += _of_scan(session, found)
    return list(filter(None, lines))


def _counted(session: Session) -> str:
    """Return how many images of the list were decided, and how."""
    actions = [session.standing[path].action for path in session.samples_of_view if path in session.standing]
    changed = sum(action in (Action.DELETE, Action.RELABEL) for action in actions)
    counts = {"changed": changed, "unsure": actions.count(Action.UNSURE), "kept": actions.count(Action.KEEP)}
    undecided = len(session.samples_of_view) - len(actions)
    counts |= {"undecided": undecided}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "changed") + "."


def _of_class(each: ClassEstimate, unit: str) -> str:
    """Return the share of errors at the end of a class, and how many its audit sample makes likely."""
    parts = []
    if len(each.recent) > 1:
        parts.append(f"{sum(each.recent)} of the last {len(each.recent)} by rank were wrong.")
    if each.left is not None:
        wrong = f"{each.audited_wrong} of {each.audited} audited"
        parts.append(f"In the {each.rest:,} that are not listed, {_likely(round(each.left), unit)} ({wrong}).")
    elif each.rest:
        parts.append(f"{each.rest:,} are not listed; the audit sample shows how many of them are wrong.")
    return " ".join(parts)


def _likely(count: int, unit: str) -> str:
    if count == 1:
        return f"about 1 more {unit} is likely to be wrong"
    number = f"about {count:,}" if count else "hardly any"
    return f"{number} more {unit}s are likely to be wrong"


def _of_scan(session: Session, found: Estimate) -> list[str]:
    scan = session.scan
    command = shlex.join(["cleaner", "apply", str(scan.manifest_path), "--data", str(scan.root)])
    counts = session.counts()
    left = (counts.scan_kept - counts.scan_decided) - (counts.kept - counts.decided)
    others = f"{left:,} of other splits are undecided." if left else ""
    # Without scored samples there is nothing to estimate from.
    whole = f"In the whole scan: {found.summary()}" if any(scan.scored.values()) else ""
    return [whole, others, f"To change the dataset, run: {command}"]
