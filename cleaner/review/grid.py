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
    page       id, split, label, page, pages, unreadable, cards, and one buffer (JPEG) for each card with a `buffer`
    card       id, card
    error      id, message, and the card as it stands on the disk where the message was about one

Each message to the page also carries the news of the manifest: `counts`; `changed`, the other cards of the page on
which somebody decided since the page had them; and `warnings`, what is wrong with the file but forbids nothing.

A card is `path, name, label, predicted, confidence, loss, rank, action, new_label, reviewer, decided_at`; in a page
also `error`, why there is no thumbnail, or `buffer`, the number of its thumbnail among the buffers of the message.

A decision is refused where the page did not yet show what others decided on that card: nobody overrides what they have
not seen.
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

__all__ = ["STYLE", "Grid"]

_LONGEST_MESSAGE = 1000
_HERE = Path(__file__).parent
STYLE = _HERE / "grid.css"
"""The style sheet of all that is shown."""


class Grid(anywidget.AnyWidget):  # type: ignore[misc]
    """The grid of one session.

    Args:
        session: what is on screen.
        thumbnails: where the images come from.
        on_change: called after the page was turned or a decision was taken, to redraw what stands around the grid.

    Attributes:
        vocab: the labels to choose from.
        patience_ms: how long the page waits for a reply before it says that there is none.
    """

    _esm = _HERE / "grid.js"
    _css = STYLE
    vocab = traitlets.List(traitlets.Unicode()).tag(sync=True)
    patience_ms = traitlets.Int(10_000).tag(sync=True)

    def __init__(self, session: Session, thumbnails: Thumbnails, on_change: Callable[[], None] = lambda: None) -> None:
        super().__init__(vocab=list(session.scan.vocab))
        self._session = session
        self._thumbnails = thumbnails
        self._on_change = on_change
        # The cards of the page as it has them.
        self._shown: dict[str, Card] = {}
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ready": self._answer_ready,
            "turn": self._answer_turn,
            "decide": self._answer_decide,
        }
        self.on_msg(self._answer)

    def show(self, ask: int | None = None) -> None:
        """Send the page that is open; `ask` is the id of the message that this replies to."""
        session = self._session
        self._shown = {card.sample.path: card for card in session.cards()}
        cards = [_for_page(card) for card in self._shown.values()]
        found = self._thumbnails.get(card["path"] for card in cards)
        buffers: list[bytes] = []
        for card in cards:
            thumbnail = found[card["path"]]
            card["error"] = thumbnail.error
            if thumbnail.data:
                card["buffer"] = len(buffers)
                buffers.append(thumbnail.data)
        place = {name: getattr(session, name) for name in ("split", "label", "page", "pages", "unreadable")}
        self.send({"kind": "page", "id": ask, **place, "cards": cards, **self._news()}, buffers)
        if session.page + 1 < session.pages:
            self._thumbnails.prefetch(card.sample.path for card in session.cards(session.page + 1))

    def show_error(self, message: str, ask: int | None = None, path: str | None = None) -> None:
        """Show an error, and the card of `path` as it stands."""
        card = {} if path is None else {"card": self._told(self._session.card(path))}
        # What came may be quoted in the message, and may be of any length.
        self.send({"kind": "error", "id": ask, "message": message[:_LONGEST_MESSAGE], **card, **self._news()})

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        ask, path, not_saved = None, None, ""
        try:
            message = _checked(content)
            ask = message["id"]
            if "path" in message:
                path, not_saved = self._session.card(message["path"]).sample.path, "Not saved: "
            kind = message["kind"]
            if kind not in self._answers:
                raise CleanerError(f"there is no message {kind!r}; accepted are {', '.join(self._answers)}")
            self._answers[kind](message)
        except CleanerError as error:
            self.show_error(f"{not_saved}{error}", ask, path)
        except OSError as error:
            reason = f"{error.strerror or error} ({self._session.manifest.path.name})"
            self.show_error(f"{not_saved}{reason}", ask, path)
        except Exception as error:
            # What fails in a callback is otherwise seen by nobody; it goes on to the kernel's log as well.
            self.show_error(f"{type(error).__name__}: {error}", ask, path)
            raise

    def _answer_ready(self, message: dict[str, Any]) -> None:
        self._session.refresh()
        self.show(message["id"])

    def _answer_turn(self, message: dict[str, Any]) -> None:
        self._session.refresh()
        self._session.turn_to(message.get("page"))  # type: ignore[arg-type]  # which checks it
        self.show(message["id"])
        self._on_change()

    def _answer_decide(self, message: dict[str, Any]) -> None:
        new_label = message.get("new_label", "")
        if not isinstance(new_label, str) or not isinstance(message.get("path"), str):
            raise CleanerError("a decision needs a path, an action and, to relabel, a new_label, all of them text")
        path, action = message["path"], parse_action(message.get("action", ""))
        self._session.refresh()
        self._check_was_seen(path)
        card = self._session.decide(path, action, new_label)
        self.send({"kind": "card", "id": message["id"], "card": self._told(card), **self._news()})
        self._on_change()

    def _check_was_seen(self, path: str) -> None:
        card = self._session.card(path)
        if card.face != self._shown.get(path, card).face:
            action, new_label, reviewer, _ = card.face
            what = f"decided {f'{action} {new_label}'.strip()!r} for" if action else "took back the decision about"
            raise CleanerError(f"{reviewer or 'somebody'} {what} {path!r} meanwhile; decide again if you wish")

    def _told(self, card: Card) -> dict[str, Any]:
        """The card for a message; the page has it from then on."""
        if card.sample.path in self._shown:
            self._shown[card.sample.path] = card
        return _for_page(card)

    def _news(self) -> dict[str, Any]:
        now = [self._session.card(path) for path in self._shown]
        changed = [card for card in now if card.face != self._shown[card.sample.path].face]
        return {
            "counts": asdict(self._session.counts()),
            "changed": [self._told(card) for card in changed],
            "warnings": list(self._session.manifest.warnings),
        }


def _checked(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise CleanerError("a message without a kind came; it was left out")
    if isinstance(content.get("id"), bool) or not isinstance(content.get("id"), int):
        raise CleanerError(f"a message {content['kind']!r} without a number for an id came; it was left out")
    return content


def _for_page(card: Card) -> dict[str, Any]:
    sample = card.sample
    action, new_label, reviewer, decided_at = card.face
    return {
        "path": sample.path,
        "name": sample.path.rsplit("/", 1)[-1],
        "label": sample.label,
        "predicted": sample.predicted,
        # JSON has no NaN.
        "confidence": None if math.isnan(sample.confidence) else sample.confidence,
        "loss": f"{sample.loss:.3f}",
        "rank": sample.rank,
        "action": action,
        "new_label": new_label,
        "reviewer": reviewer,
        "decided_at": decided_at,
    }
