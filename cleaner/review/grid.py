"""The thumbnail grid: a widget that draws the page of a session and passes the messages of the page on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import traitlets

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import overtaken
from cleaner.core.records import Decision
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review import protocol
from cleaner.review.channel import Channel
from cleaner.review.decisions import Card
from cleaner.review.session import Session
from cleaner.review.thumbnails import Thumbnails
from cleaner.review.view import AUDIT, UNREADABLE

__all__ = ["STYLE", "Grid"]

_LARGE_SIZE = 1600
_TYPICAL = 4  # images of a label beside the large one
_PREFETCH_DELAY = 0.25
_HERE = Path(__file__).parent
STYLE = _HERE / "grid.css"
"""Style sheet of all widgets."""


class Grid(Channel):
    """The grid of one session.

    Args:
        session: the review.
        thumbnails: the source of the images.
        on_change: called after a page was turned or a decision was taken, to redraw what surrounds the grid.

    Attributes:
        vocab: the labels to choose from.
        task: the scan's task; it determines which actions the page offers.
    """

    _esm = _HERE / "grid.js"
    _css = STYLE
    vocab = traitlets.List(traitlets.Unicode()).tag(sync=True)
    task = traitlets.Unicode().tag(sync=True)
    messages = protocol.GRID

    def __init__(self, session: Session, thumbnails: Thumbnails, on_change: Callable[[], None] = lambda: None) -> None:
        super().__init__(session, vocab=list(session.scan.vocab), task=session.scan.task)
        self._thumbnails = thumbnails
        self._on_change = on_change
        self._large = Thumbnails(thumbnails.root, size=_LARGE_SIZE, threads=2, drawn=thumbnails.drawn)
        self._sent: dict[str, Card] = {}  # the cards of the page as they were last sent
        self._sent_view = session.view
        self._serial = 0

    def show(self, reply_to: int | None = None, note: str = "") -> None:
        """Send the open page, as the reply to a message if `reply_to` is its id."""
        session, view = self._session, self._session.view
        self._sent = {card.sample.path: card for card in session.cards()}
        self._sent_view = view
        self._serial += 1
        other = {UNREADABLE: "unreadable", AUDIT: "audit"}.get(view.label)
        cards, buffers = self._page_cards()
        content = {
            "kind": "page",
            "id": reply_to,
            "note": note,
            **asdict(view),
            "label": view.label if other is None else "",
            "list": other or "class",
            "serial": self._serial,
            "pages": session.pages,
            "shown": len(session.shown),
            "predictions": session.predictions,
            "unreadable": len(session.samples_of(view.split, UNREADABLE)),
            "cards": cards,
        }
        self.send(content | self._state(), buffers)
        # The delay leaves the cores to the browser while it draws the page.
        self._thumbnails.prefetch(session.paths_ahead(), _PREFETCH_DELAY)

    def _error_details(self, path: str) -> dict[str, Any]:
        """Return the card of the path with the decision that stands, and the state."""
        card = {"card": self._card_message(self._session.card(path))} if path in self._session.files else {}
        return card | self._state()

    # Messages of the page.

    def _on_ready(self, reply_to: int) -> None:
        self._session.refresh()
        self.show(reply_to)

    def _on_turn(self, reply_to: int, page: int) -> None:
        self._session.refresh()
        self._session.turn_to(page)
        self.show(reply_to)
        self._on_change()

    def _on_filter(self, reply_to: int, **changes: Any) -> None:
        self._session.refresh()
        if set(changes) == {"page_size"}:
            self._session.set_page_size(**changes)
        else:
            self._session.filter(**changes)
        self.show(reply_to)

    def _on_move(self, reply_to: int, by: int, extend: bool = False) -> None:
        self._session.selection.move(by, extend)
        self._reply(reply_to)

    def _on_point(self, reply_to: int, path: str, extend: bool = False, toggle: bool = False) -> None:
        if toggle:
            self._session.selection.toggle_at(path)
        else:
            self._session.selection.point(path, extend)
        self._reply(reply_to)

    def _on_select(self, reply_to: int, what: str) -> None:
        selection = self._session.selection
        select = {"page": selection.toggle_all, "card": selection.toggle}
        if what not in select:
            raise CleanerError(f"{what!r} cannot be selected; expected one of {', '.join(select)}")
        select[what]()
        self._reply(reply_to)

    def _on_decide(self, reply_to: int, path: str, action: str, new_label: str = "") -> None:
        self._session.refresh()
        self._check_was_seen([path])
        card = self._session.decide(path, action, new_label)
        if path in self._sent:
            self._session.selection.point(path)
        self.send({"kind": "card", "id": reply_to, "card": self._card_message(card), **self._state()})
        self._on_change()

    def _on_act(self, reply_to: int, serial: int, action: str, new_label: str = "") -> None:
        self._check_page(serial, self._session.selection.targets)
        self._session.act(action, new_label)
        self._reply_and_redraw(reply_to)

    def _on_keep_rest(self, reply_to: int, serial: int) -> None:
        self._check_page(serial, list(self._sent))
        self._session.keep_rest()
        self._reply_and_redraw(reply_to)

    def _on_undo(self, reply_to: int) -> None:
        self._reply_and_redraw(reply_to, self._session.undo())

    def _on_redo(self, reply_to: int) -> None:
        self._reply_and_redraw(reply_to, self._session.redo())

    def _on_news(self, reply_to: int) -> None:
        before = self._session.counts()
        self._session.refresh()
        self._reply(reply_to)
        if self._session.counts() != before:
            self._on_change()

    def _on_large(self, reply_to: int, path: str) -> None:
        self._session.card(path)  # refuses a path outside the scan
        image = self._large.get([path])[path]
        content = {"kind": "large", "id": reply_to, "path": path, "error": image.error}
        self.send(content | self._state(), [image.data] if image.data else [])
        paths = list(self._sent)
        if path in paths:
            position = paths.index(path)
            self._large.prefetch(paths[position + 1 : position + 2] + paths[max(0, position - 1) : position])

    def _on_typical(self, reply_to: int, path: str) -> None:
        sample = self._session.card(path).sample
        # In the audit sample the prediction is empty: it would suggest an answer.
        labels = dict.fromkeys(filter(None, (sample.label, sample.predicted)))
        shown = [(label, other) for label in labels for other in self._session.typical(sample.split, label)[:_TYPICAL]]
        thumbnails = self._thumbnails.get(dict.fromkeys(other for _, other in shown))
        found = [(label, thumbnails[other].data) for label, other in shown if thumbnails[other].data]
        images = [{"label": label, "buffer": number} for number, (label, _) in enumerate(found)]
        content = {"kind": "typical", "id": reply_to, "path": path, "images": images}
        self.send(content | self._state(), [data for _, data in found])

    def _on_reviewer(self, reply_to: int, name: str) -> None:
        self._session.set_reviewer(name)
        self._reply(reply_to)

    def _on_restore(self, reply_to: int) -> None:
        self._session.manifest.restore()
        self._session.refresh()
        self._reply_and_redraw(reply_to)

    def _on_accept(self, reply_to: int) -> None:
        self._session.manifest.accept_edits()
        self._session.refresh()
        self._reply(reply_to)

    def _check_page(self, serial: int, paths: list[str]) -> None:
        if serial != self._serial:
            raise CleanerError("another page was opened before this key arrived; look at it and press the key again")
        self._session.refresh()
        self._check_was_seen(paths)

    def _check_was_seen(self, paths: list[str]) -> None:
        """Check that the page shows the decisions that stand: nobody overrides a decision they have not seen."""
        for path in paths:
            card = self._session.card(path)
            if card.revision != self._sent.get(path, card).revision:
                raise overtaken(path, card.decision)

    # Messages to the page.

    def _reply_and_redraw(self, reply_to: int, note: str = "") -> None:
        self._reply(reply_to, note)
        self._on_change()

    def _reply(self, reply_to: int, note: str = "") -> None:
        """Send the page if other cards or another view are open than were sent, else the state alone."""
        session = self._session
        if session.view != self._sent_view or list(session.selection.paths) != list(self._sent):
            self.show(reply_to, note)
        else:
            self.send({"kind": "here", "id": reply_to, "note": note, **self._state()})

    def _page_cards(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Return the cards of a page, and their thumbnails."""
        thumbnails = self._thumbnails.get(self._sent)
        cards: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        for path, card in list(self._sent.items()):
            content = self._card_message(card) | {"error": thumbnails[path].error}
            if thumbnails[path].data:
                content["buffer"] = len(buffers)
                buffers.append(thumbnails[path].data)
            cards.append(content)
        return cards, buffers

    def _state(self) -> dict[str, Any]:
        session = self._session
        cards = [(session.card(path), sent) for path, sent in self._sent.items()]
        return {
            "at": session.selection.path,
            "selected": sorted(session.selection.selected),
            "can_undo": bool(session.undo_redo.done),
            "can_redo": bool(session.undo_redo.undone),
            "reviewer": session.reviewer,
            "counts": asdict(session.counts()),
            "seconds": session.pace.seconds,
            "changed": [self._card_message(card) for card, sent in cards if _decided(card) != _decided(sent)],
            "warnings": session.warnings,
            "edited": session.edited,
            "history": session.standing.history,
        }

    def _card_message(self, card: Card) -> dict[str, Any]:
        """Return a card as it is sent, and note that the page has it."""
        if card.sample.path in self._sent:
            self._sent[card.sample.path] = card
        content = _card_content(card)
        if self._session.scan.task == MULTI_LABEL:
            labels_after = self._session.maker.labels_after
            content["given"] = list(card.sample.given)
            content["asked"] = list(card.asked)
            content["labels"] = card.decision and labels_after(card.decision)
            for opinion, decision in zip(content["others"], card.others, strict=True):
                opinion["labels"] = labels_after(decision)
        return content


def _decided(card: Card) -> tuple[object, ...]:
    """Return all of a card that decisions change."""
    return card.revision, card.note, [_opinion(decision) for decision in card.others]


def _opinion(decision: Decision) -> dict[str, Any]:
    return {"reviewer": decision.reviewer, "action": decision.action.value, "new_label": decision.new_label}


def _card_content(card: Card) -> dict[str, Any]:
    sample = card.sample
    action, new_label, reviewer, decided_at = card.revision
    return {
        "path": sample.path,
        "name": sample.path.rsplit("/", 1)[-1],
        "label": sample.label,
        "predicted": sample.predicted,
        "confidence": protocol.null_if_nan(sample.confidence),
        "alternatives": sample.alternatives,
        "loss": "" if card.error or card.is_blinded else f"{sample.loss:.3f}",
        "rank": sample.rank,
        "action": action,
        "new_label": new_label,
        "reviewer": reviewer,
        "decided_at": decided_at,
        "others": [_opinion(decision) for decision in card.others],
        "note": card.note,
    }
