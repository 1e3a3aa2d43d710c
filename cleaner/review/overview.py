"""The overview of a split: its classes, what is confused with what, and the losses of the class that is open.

Messages are dictionaries with a `kind`. What the page asks carries an `id`, and every one of them gets a reply with
the same `id`: what it asked for, or an `error`.

    from the page
    kind       fields                            reply
    ready      id                                overview
    open       id, label, predicted              news, after the grid was sent that class

    to the page
    kind       fields
    overview   id, split, classes, matrix, edges, and what a `news` has
    news       id, label, predicted, histogram, not_finite: what is open; decided, the numbers that changed, by label
    error      id, message

A class is `label, name, scored, otherwise, mean, kept, decided`; the files that could not be read are one, of which
nothing but the last two is known. The matrix has `labels`, those with the most confusion; `cells`, lists of the numbers
of given and predicted label among them, a count and how many of that are kept; and `left_out`, how many wrong
predictions are in none of the cells; it is null where images carry several labels or none.

While the overview is folded nothing is counted and no news is sent; the page asks anew when it is unfolded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from cleaner.core.confusion import most_confused_labels
from cleaner.core.errors import CleanerError
from cleaner.core.records import LOSS_EDGES, ClassLosses
from cleaner.core.tasks import OTHER, SINGLE_LABEL
from cleaner.review.messages import check_fields, checked_message, shortened
from cleaner.review.session import UNREADABLE, Session

__all__ = ["Overview"]

_MATRIX_LABELS = 20
# The fields of each kind of message, as in the table above.
_FIELDS: dict[str, frozenset[str]] = {"ready": frozenset(), "open": frozenset({"label", "predicted"})}
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Members:
    """The classes of a split of which there is anything, and for each file of which classes it is.

    With it, counting what is decided takes as long as there are decisions, not as there are samples.
    """

    split: str
    labels: list[str]
    of: dict[str, tuple[str, ...]]


class Overview(anywidget.AnyWidget):  # type: ignore[misc]
    """The overview of one session; unfolded at the start where nothing is decided yet.

    Args:
        session: what is on screen.
        open_class: opens a class and shows it; gets a label, and what its samples are predicted as or an empty text.

    Attributes:
        unfolded: whether more than the button that unfolds it is shown.
        ranked_by: what the page calls the number that the samples are ranked by.
        patience_ms: how long the page waits for a reply before it says that there is none.
    """

    _esm = _HERE / "overview.js"
    _css = _HERE / "overview.css"
    unfolded = traitlets.Bool().tag(sync=True)
    ranked_by = traitlets.Unicode("loss").tag(sync=True)
    patience_ms = traitlets.Int(10_000).tag(sync=True)

    def __init__(self, session: Session, open_class: Callable[[str, str], None]) -> None:
        super().__init__(unfolded=session.counts().scan_decided == 0, ranked_by=session.scan.ranked_by)
        self._session = session
        self._open_class = open_class
        # What the page was told last: of which split, how many are decided of each class, and what is open.
        self._split = session.split
        self._decided: dict[str, int] = {}
        self._open = ("", "")
        self._members: _Members | None = None
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ready": self._answer_ready,
            "open": self._answer_open,
        }
        self.on_msg(self._answer)

    def draw(self, ask: int | None = None) -> None:
        """Send what changed; `ask` is the id of the message that this replies to."""
        if self._session.split != self._split:
            self._send_all(ask)
        elif self.unfolded or ask is not None:
            self._send_news(ask)

    def show_error(self, message: str, ask: int | None = None) -> None:
        """Show an error."""
        self.send({"kind": "error", "id": ask, "message": shortened(message)})

    def _send_news(self, ask: int | None) -> None:
        session = self._session
        before, self._decided = self._decided, self._count()
        changed = {label: n for label, n in self._decided.items() if before.get(label) != n}
        is_open = (session.label, session.place.predicted)
        # A page was turned: the table would be drawn anew for nothing.
        if ask is None and not changed and is_open == self._open:
            return
        self._open = is_open
        self.send({"kind": "news", "id": ask, "decided": changed, **_open(session)})

    def _send_all(self, ask: int | None) -> None:
        session = self._session
        self._split, self._decided = session.split, self._count()
        self._open = (session.label, session.place.predicted)
        content = {
            "split": session.split,
            "classes": _classes(session, self._decided),
            "matrix": _matrix(session),
            "edges": LOSS_EDGES,
            "decided": {},
            **_open(session),
        }
        self.send({"kind": "overview", "id": ask, **content})

    def _count(self) -> dict[str, int]:
        """How many files of each class are decided, for the classes of which there is anything."""
        session = self._session
        if self._members is None or self._members.split != session.split:
            self._members = _members(session)
        found = dict.fromkeys(self._members.labels, 0)
        for path in session.standing:
            for label in self._members.of.get(path, ()):
                found[label] += 1
        return found

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        ask = None
        try:
            message = checked_message(content)
            ask = message["id"]
            check_fields(message, _FIELDS)
            self._answers[message["kind"]](message)
        except CleanerError as error:
            self.show_error(str(error), ask)
        except OSError as error:
            self.show_error(f"{error.strerror or error} ({self._session.manifest.path.name})", ask)
        except Exception as error:
            # What fails in a callback is otherwise seen by nobody; it goes on to the kernel's log as well.
            self.show_error(f"{type(error).__name__}: {error}", ask)
            raise

    def _answer_ready(self, message: dict[str, Any]) -> None:
        self._session.refresh()
        self._send_all(message["id"])

    def _answer_open(self, message: dict[str, Any]) -> None:
        label, predicted = message.get("label"), message.get("predicted", "")
        if not isinstance(label, str) or not isinstance(predicted, str):
            raise CleanerError("to open a class takes a label, and may take what is predicted, both of them text")
        self._open_class(label, predicted)
        self.draw(message["id"])


def _matrix(session: Session) -> dict[str, Any] | None:
    if session.scan.task != SINGLE_LABEL:
        return None
    cells = session.scan.cells[session.split]
    labels = most_confused_labels(cells, session.scan.vocab, _MATRIX_LABELS)
    number = {label: at for at, label in enumerate(labels)}
    kept: dict[tuple[str, str], int] = {}
    for label in labels:
        for sample in session.scan.kept(session.split, label):
            kept[label, sample.predicted] = kept.get((label, sample.predicted), 0) + 1
    shown = {pair: n for pair, n in cells.items() if pair[0] in number and pair[1] in number}
    left_out = sum(n for pair, n in cells.items() if pair[0] != pair[1] and pair not in shown)
    found = [[number[given], number[other], n, kept.get((given, other), 0)] for (given, other), n in shown.items()]
    return {"labels": labels, "cells": found, "left_out": left_out}


def _classes(session: Session, decided: Mapping[str, int]) -> list[dict[str, Any]]:
    known = {each.label: each for each in session.scan.of_classes(session.split)}
    return [
        _class(label, _kept(session, label), decided[label], known.get(label, ClassLosses(session.split, label, 0, 0)))
        | ({"otherwise": None} if session.scan.task == OTHER else {})
        for label in decided
    ]


def _class(label: str, paths: set[str], decided: int, losses: ClassLosses) -> dict[str, Any]:
    is_label = label != UNREADABLE
    return {
        "label": label,
        "name": label if is_label else "files that could not be read",
        "scored": losses.scored if is_label else None,
        "otherwise": losses.predicted_otherwise if is_label else None,
        # JSON has no NaN.
        "mean": None if math.isnan(losses.mean_loss) else losses.mean_loss,
        "kept": len(paths),
        "decided": decided,
    }


def _members(session: Session) -> _Members:
    known = {each.label for each in session.scan.of_classes(session.split)}
    labels: list[str] = []
    of: dict[str, tuple[str, ...]] = {}
    for label in (*session.scan.vocab, UNREADABLE):
        paths = _kept(session, label)
        if paths or label in known:
            labels.append(label)
        mine = (label,)
        for path in paths:
            of[path] = of.get(path, ()) + mine
    return _Members(session.split, labels, of)


def _kept(session: Session, label: str) -> set[str]:
    """The files of a class; a dataset may name one more than once."""
    if label == UNREADABLE:
        return {each.path for each in session.scan.unreadable if each.split == session.split}
    return {sample.path for sample in session.scan.kept(session.split, label)}


def _open(session: Session) -> dict[str, Any]:
    label = session.label
    losses = next((each for each in session.scan.losses if (each.split, each.label) == (session.split, label)), None)
    return {
        "label": label,
        "predicted": session.place.predicted,
        "histogram": losses.histogram if losses else (),
        "not_finite": losses.not_finite if losses else 0,
    }
