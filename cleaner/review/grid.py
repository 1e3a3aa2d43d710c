"""The thumbnail grid: one anywidget, which shows a page of a session and hands its messages on.

Messages are dictionaries with a `kind`. What the page asks carries an `id`, and every one of them gets a reply with
the same `id`: what it asked for, or an `error`.

    from the page
    kind       fields                            reply
    ready      id                                page
    turn       id, page                          page
    decide     id, path, action, new_label       card

    to the page
    kind       fields
    page       id, split, label, page, pages, counts, cards, and one buffer (JPEG) for each card with a `buffer`
    card       id, counts, card
    error      id, message, and the card as it stands on the disk where the message was about one

A card is `path, name, label, predicted, confidence, loss, rank, action, new_label, reviewer`; in a page also `error`,
why there is no thumbnail, or `buffer`, the number of its thumbnail among the buffers of the message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from cleaner.core.errors import CleanerError
from cleaner.core.records import parse_action
from cleaner.review.session import Card, Session
from cleaner.review.thumbnails import Thumbnails

__all__ = ["Grid"]

_LONGEST_MESSAGE = 1000
_HERE = Path(__file__).parent


class Grid(anywidget.AnyWidget):  # type: ignore[misc]
    """The grid of one session.

    Args:
        session: what is on screen.
        thumbnails: where the images come from.
        on_change: called after the page was turned or a decision was taken, to redraw what stands around the grid.
    """

    _esm = _HERE / "grid.js"
    _css = _HERE / "grid.css"
    vocab = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, session: Session, thumbnails: Thumbnails, on_change: Callable[[], None] = lambda: None) -> None:
        super().__init__(vocab=list(session.scan.vocab))
        self._session = session
        self._thumbnails = thumbnails
        self._on_change = on_change
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ready": self._answer_ready,
            "turn": self._answer_turn,
            "decide": self._answer_decide,
        }
        self.on_msg(self._answer)

    def show(self, ask: int | None = None) -> None:
        """Send the page that is open; `ask` is the id of the message that this replies to."""
        cards = [_for_page(card) for card in self._session.cards()]
        found = self._thumbnails.get(card["path"] for card in cards)
        buffers: list[bytes] = []
        for card in cards:
            thumbnail = found[card["path"]]
            card["error"] = thumbnail.error
            if thumbnail.data:
                card["buffer"] = len(buffers)
                buffers.append(thumbnail.data)
        session = self._session
        place = {"split": session.split, "label": session.label, "page": session.page, "pages": session.pages}
        self.send({"kind": "page", "id": ask, **place, "counts": asdict(session.counts()), "cards": cards}, buffers)
        if session.page + 1 < session.pages:
            self._thumbnails.prefetch(card.sample.path for card in session.cards(session.page + 1))

    def show_error(self, message: str, ask: int | None = None, path: str | None = None) -> None:
        """Show an error, and the card of `path` as it stands."""
        card = {"card": _for_page(self._session.card(path))} if path is not None else {}
        # What came may be quoted in the message, and may be of any length.
        self.send({"kind": "error", "id": ask, "message": message[:_LONGEST_MESSAGE], **card})

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        ask, path = None, None
        try:
            message = _checked(content)
            ask = message["id"]
            path = self._session.card(message["path"]).sample.path if "path" in message else None
            kind = message["kind"]
            if kind not in self._answers:
                raise CleanerError(f"there is no message {kind!r}; accepted are {', '.join(self._answers)}")
            self._answers[kind](message)
        except CleanerError as error:
            self.show_error(str(error), ask, path)
        except OSError as error:
            self.show_error(f"Not saved: {error.strerror or error} ({self._session.manifest.path.name})", ask, path)
        except Exception as error:
            # What fails in a callback is otherwise seen by nobody; it goes on to the kernel's log as well.
            self.show_error(f"{type(error).__name__}: {error}", ask, path)
            raise

    def _answer_ready(self, message: dict[str, Any]) -> None:
        self.show(message["id"])

    def _answer_turn(self, message: dict[str, Any]) -> None:
        self._session.turn_to(message.get("page"))  # type: ignore[arg-type]  # which checks it
        self.show(message["id"])
        self._on_change()

    def _answer_decide(self, message: dict[str, Any]) -> None:
        new_label = message.get("new_label", "")
        if not isinstance(new_label, str) or not isinstance(message.get("path"), str):
            raise CleanerError("a decision needs a path, an action and, to relabel, a new_label, all of them text")
        card = self._session.decide(message["path"], parse_action(message.get("action", "")), new_label)
        counts = asdict(self._session.counts())
        self.send({"kind": "card", "id": message["id"], "counts": counts, "card": _for_page(card)})
        self._on_change()


def _checked(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise CleanerError("a message without a kind came; it was left out")
    if isinstance(content.get("id"), bool) or not isinstance(content.get("id"), int):
        raise CleanerError(f"a message {content['kind']!r} without a number for an id came; it was left out")
    return content


def _for_page(card: Card) -> dict[str, Any]:
    sample, decision = card.sample, card.decision
    return {
        "path": sample.path,
        "name": sample.path.rsplit("/", 1)[-1],
        "label": sample.label,
        "predicted": sample.predicted,
        # JSON has no NaN.
        "confidence": None if math.isnan(sample.confidence) else sample.confidence,
        "loss": f"{sample.loss:.3f}",
        "rank": sample.rank,
        "action": decision.action.value if decision else "",
        "new_label": decision.new_label if decision else "",
        "reviewer": decision.reviewer if decision else "",
    }
