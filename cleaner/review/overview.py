"""The overview of a split: its classes, the confused labels, and the losses of the open class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import traitlets

from cleaner.core.confusion import most_confused_labels
from cleaner.core.records import LOSS_EDGES, ClassLosses
from cleaner.core.tasks import OTHER, SINGLE_LABEL
from cleaner.review import protocol
from cleaner.review.channel import Channel
from cleaner.review.session import Session
from cleaner.review.view import LIST_NAMES

__all__ = ["Overview"]

_MATRIX_LABELS = 20
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Memberships:
    """The classes of a split that are not empty, and the classes of each file.

    They make the time for counting decided files grow with the decisions, not with the samples.
    """

    split: str
    labels: list[str]
    labels_of: dict[str, tuple[str, ...]]


class Overview(Channel):
    """The overview of one session; unfolded at the start if nothing is decided yet.

    While it is folded, nothing is counted and nothing is sent.

    Args:
        session: the review.
        open_class: opens a class and shows it; called with a label, and a prediction or an empty text.

    Attributes:
        unfolded: whether the page shows more than the button that unfolds it.
    """

    _esm = _HERE / "overview.js"
    _css = _HERE / "overview.css"
    unfolded = traitlets.Bool().tag(sync=True)
    messages = protocol.OVERVIEW

    def __init__(self, session: Session, open_class: Callable[[str, str], None]) -> None:
        super().__init__(session, unfolded=session.counts().scan_decided == 0)
        self._open_class = open_class
        # As last sent: the split, the number of decided files per class, and the open class with its prediction.
        self._sent_split = session.view.split
        self._sent_decided: dict[str, int] = {}
        self._sent_open = ("", "")
        self._memberships: _Memberships | None = None

    def draw(self, reply_to: int | None = None) -> None:
        """Send what changed, as the reply to a message if `reply_to` is its id."""
        if self._session.view.split != self._sent_split:
            self._send_all(reply_to)
        elif self.unfolded or reply_to is not None:
            self._send_news(reply_to)

    def _on_ready(self, reply_to: int) -> None:
        self._session.refresh()
        self._send_all(reply_to)

    def _on_open(self, reply_to: int, label: str, predicted: str = "") -> None:
        self._open_class(label, predicted)
        self.draw(reply_to)

    def _send_news(self, reply_to: int | None) -> None:
        view = self._session.view
        before, decided = self._sent_decided, self._count_decided()
        changed = {label: number for label, number in decided.items() if before.get(label) != number}
        # A page that is only turned needs no new table.
        if reply_to is None and not changed and (view.label, view.predicted) == self._sent_open:
            return
        self._sent_decided, self._sent_open = decided, (view.label, view.predicted)
        self.send({"kind": "news", "id": reply_to, "decided": changed, **_open_class(self._session)})

    def _send_all(self, reply_to: int | None) -> None:
        session, view = self._session, self._session.view
        self._sent_split, self._sent_decided = view.split, self._count_decided()
        self._sent_open = (view.label, view.predicted)
        content = {
            "kind": "overview",
            "id": reply_to,
            "split": view.split,
            "classes": _classes(session, self._sent_decided),
            "matrix": _matrix(session),
            "edges": LOSS_EDGES,
            "decided": {},
        }
        self.send(content | _open_class(session))

    def _count_decided(self) -> dict[str, int]:
        """Return the number of decided files of each class that is not empty."""
        session = self._session
        if self._memberships is None or self._memberships.split != session.view.split:
            self._memberships = _memberships(session)
        counts = dict.fromkeys(self._memberships.labels, 0)
        for path in session.standing:
            for label in self._memberships.labels_of.get(path, ()):
                counts[label] += 1
        return counts


def _matrix(session: Session) -> dict[str, Any] | None:
    scan, split = session.scan, session.view.split
    if scan.task != SINGLE_LABEL:
        return None
    labels = most_confused_labels(scan.cells[split], scan.vocab, _MATRIX_LABELS)
    position = {label: number for number, label in enumerate(labels)}
    kept: dict[tuple[str, str], int] = {}
    for label in labels:
        for sample in scan.kept(split, label):
            kept[label, sample.predicted] = kept.get((label, sample.predicted), 0) + 1
    cells, left_out = [], 0
    for (given, predicted), count in scan.cells[split].items():
        if given in position and predicted in position:
            cells.append([position[given], position[predicted], count, kept.get((given, predicted), 0)])
        elif given != predicted:
            left_out += count
    return {"labels": labels, "cells": cells, "left_out": left_out}


def _classes(session: Session, decided: Mapping[str, int]) -> list[dict[str, Any]]:
    losses = _losses_by_label(session)
    return [_class_row(session, label, losses.get(label), number) for label, number in decided.items()]


def _class_row(session: Session, label: str, losses: ClassLosses | None, decided: int) -> dict[str, Any]:
    split, is_label = session.view.split, label not in LIST_NAMES
    losses = losses or ClassLosses(split, label, 0, 0)
    has_predictions = is_label and session.scan.task != OTHER
    return {
        "label": label,
        "name": LIST_NAMES.get(label, label),
        "scored": losses.scored if is_label else None,
        "otherwise": losses.predicted_otherwise if has_predictions else None,
        "mean": protocol.null_if_nan(losses.mean_loss),
        "kept": len(session.samples_of(split, label)),
        "decided": decided,
    }


def _memberships(session: Session) -> _Memberships:
    split, losses = session.view.split, _losses_by_label(session)
    labels: list[str] = []
    labels_of: dict[str, tuple[str, ...]] = {}
    for label in (*session.scan.vocab, *LIST_NAMES):
        paths = session.samples_of(split, label)
        if paths or label in losses:
            labels.append(label)
        one_label = (label,)  # shared by the files of one class, to save memory
        for path in paths:
            labels_of[path] = labels_of.get(path, ()) + one_label
    return _Memberships(split, labels, labels_of)


def _losses_by_label(session: Session) -> dict[str, ClassLosses]:
    return {losses.label: losses for losses in session.scan.of_classes(session.view.split)}


def _open_class(session: Session) -> dict[str, Any]:
    view = session.view
    losses = next((each for each in session.scan.losses if (each.split, each.label) == (view.split, view.label)), None)
    return {
        "label": view.label,
        "predicted": view.predicted,
        "histogram": losses.histogram if losses else (),
        "not_finite": losses.not_finite if losses else 0,
    }
