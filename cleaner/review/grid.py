"""The thumbnail grid: one anywidget, which shows a page of a session and hands its messages on.

Messages are dictionaries with a `kind`. What the page asks carries an `id`, and every one of them gets a reply with
the same `id`: what it asked for, or an `error`.

    from the page
    kind       fields                                             reply
    ready      id                                                 page
    turn       id, page                                           page
    filter     id, any of show, predicted, text, order, page_size page
    move       id, by, extend                                     here
    point      id, path, extend, toggle                           here
    select     id, what (`page` or `card`)                        here
    decide     id, path, action (also `toggle`), new_label        card
    act        id, serial, action (also `predicted`, `toggle`), new_label   here
    keep_rest  id, serial                                         page, or here where there is nothing to go on to
    undo       id                                                 page, or here where that is in sight
    redo       id                                                 page, or here where that is in sight
    news       id                                                 here
    large      id, path                                           large
    reviewer   id, name                                           here
    restore    id                                                 here
    accept     id                                                 here

    to the page
    kind       fields
    page       id, serial, split, label, unreadable_class, page, pages, page_size, show, predicted, text, order,
               predictions, shown, unreadable, cards, note, and one buffer (JPEG) for each card with a `buffer`
    here       id, note
    card       id, card
    large      id, path, error, and one buffer (JPEG) unless there is an error
    error      id, message, and the card as it stands on the disk where the message was about one

Each message to the page also carries the news: `at`, the path of the card with the cursor; `selected`, paths;
`can_undo`, `can_redo`; `reviewer`, who decides; `counts`; `seconds` per decision, or null; `changed`, the other cards
of the page whose decision is not the one that the page has; `warnings`, what is wrong with the manifest but forbids
nothing; `edited`, which acknowledged decisions somebody removed from the manifest or reordered, which `restore` puts
back and `accept` leaves so; and `history`, how many decisions were carried out, and when.

A card is `path, name, label, predicted, confidence, loss, rank, action, new_label, reviewer, decided_at`, and `others`,
what other reviewers decided where that is something else; `note` says why an earlier decision does not stand for this
file, or where the one that stands comes from. Where images carry several labels it also has `given`, all
that this one carries, and, as each of the `others`, `labels`, all that it shall carry, or null where that does not
change; `toggle` adds the label `new_label` or removes it. In a page a card also has `error`, why there is no thumbnail,
or `buffer`, the number of its thumbnail among the buffers of the message.

`serial` is the number of the page that the browser shows: an action on what is selected is refused where that is not
the page that is open, as nobody may decide on a page they have not seen.

A decision is refused where the page did not yet show what others decided on that card: nobody overrides what they have
not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import overtaken
from cleaner.core.records import Decision, parse_action
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review.messages import check_fields, checked_message, flag_of, shortened
from cleaner.review.session import UNREADABLE, Card, Session, check_page_size
from cleaner.review.thumbnails import Thumbnails

__all__ = ["STYLE", "Grid"]

_LARGE = 1600
_PREFETCH_AFTER = 0.25
_DECIDING = ("decide", "act", "keep_rest", "undo", "redo")
# The fields of each kind of message, as in the table above.
_FIELDS = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "ready": "",
        "turn": "page",
        "filter": "show predicted text order page_size",
        "move": "by extend",
        "point": "path extend toggle",
        "select": "what",
        "decide": "path action new_label",
        "act": "serial action new_label",
        "keep_rest": "serial",
        "undo": "",
        "redo": "",
        "news": "",
        "large": "path",
        "reviewer": "name",
        "restore": "",
        "accept": "",
    }.items()
}
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
        ranked_by: what the page calls the number that the samples are ranked by.
        task: that of the scan, by which the page offers what there is to decide.
        patience_ms: how long the page waits for a reply before it says that there is none.
    """

    _esm = _HERE / "grid.js"
    _css = STYLE
    vocab = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ranked_by = traitlets.Unicode("loss").tag(sync=True)
    task = traitlets.Unicode().tag(sync=True)
    patience_ms = traitlets.Int(10_000).tag(sync=True)

    def __init__(self, session: Session, thumbnails: Thumbnails, on_change: Callable[[], None] = lambda: None) -> None:
        scan = session.scan
        super().__init__(vocab=list(scan.vocab), ranked_by=scan.ranked_by, task=scan.task)
        self._session = session
        self._thumbnails = thumbnails
        self._on_change = on_change
        self._large = Thumbnails(thumbnails.root, size=_LARGE, threads=2, drawn=thumbnails.drawn)
        # The cards of the page as it has them.
        self._shown: dict[str, Card] = {}
        self._place = session.place
        self._serial = 0
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ready": self._answer_ready,
            "turn": self._answer_turn,
            "filter": self._answer_filter,
            "move": self._answer_move,
            "point": self._answer_point,
            "select": self._answer_select,
            "decide": self._answer_decide,
            "act": self._answer_act,
            "keep_rest": self._answer_keep_rest,
            "undo": self._answer_undo,
            "redo": self._answer_redo,
            "news": self._answer_news,
            "large": self._answer_large,
            "reviewer": self._answer_reviewer,
            "restore": self._answer_restore,
            "accept": self._answer_accept,
        }
        self.on_msg(self._answer)

    def show(self, ask: int | None = None, note: str = "") -> None:
        """Send the page that is open; `ask` is the id of the message that this replies to."""
        session = self._session
        self._shown = {card.sample.path: card for card in session.cards()}
        self._place = session.place
        self._serial += 1
        cards, buffers = self._cards_for_page()
        self.send(
            {"kind": "page", "id": ask, "note": note, **self._about_page(), "cards": cards, **self._news()}, buffers
        )
        # The browser is to have the cores until it has drawn what it just got.
        self._thumbnails.prefetch(session.ahead(), _PREFETCH_AFTER)

    def _cards_for_page(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        cards = [self._for_page(card) for card in self._shown.values()]
        found = self._thumbnails.get(card["path"] for card in cards)
        buffers: list[bytes] = []
        for card in cards:
            thumbnail = found[card["path"]]
            card["error"] = thumbnail.error
            if thumbnail.data:
                card["buffer"] = len(buffers)
                buffers.append(thumbnail.data)
        return cards, buffers

    def _about_page(self) -> dict[str, Any]:
        session = self._session
        is_unreadable = session.label == UNREADABLE
        return {
            **asdict(session.place),
            "label": "" if is_unreadable else session.label,
            "unreadable_class": is_unreadable,
            "serial": self._serial,
            **{name: getattr(session, name) for name in ("pages", "shown", "predictions", "unreadable")},
        }

    def show_error(self, message: str, ask: int | None = None, path: str | None = None) -> None:
        """Show an error, and the card of `path` as it stands."""
        card = {} if path is None else {"card": self._told(self._session.card(path))}
        self.send({"kind": "error", "id": ask, "message": shortened(message), **card, **self._news()})

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        ask, path, not_saved = None, None, ""
        try:
            message = checked_message(content)
            ask = message["id"]
            kind = message["kind"]
            not_saved = "Not saved: " if kind in _DECIDING else ""
            check_fields(message, _FIELDS)
            if "path" in message:
                path = self._session.card(message["path"]).sample.path
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

    def _answer_filter(self, message: dict[str, Any]) -> None:
        changes = {name: message[name] for name in ("show", "predicted", "text", "order") if name in message}
        if None in changes.values():
            raise CleanerError("a filter is null; one that is to stay as it is is left out")
        self._session.refresh()
        if "page_size" in message:
            check_page_size(message["page_size"])  # before the rest is done
        if changes or "page_size" not in message:
            self._session.filter(**changes)
        if "page_size" in message:
            self._session.set_page_size(message["page_size"])
        self.show(message["id"])

    def _answer_move(self, message: dict[str, Any]) -> None:
        self._session.move(message.get("by"), flag_of(message, "extend"))  # type: ignore[arg-type]  # which checks it
        self._tell(message["id"])

    def _answer_point(self, message: dict[str, Any]) -> None:
        path, selected = message.get("path"), self._session.selected
        if not isinstance(path, str):
            raise CleanerError(f"the path of a card is {path!r}; a text is accepted")
        extend, toggle = flag_of(message, "extend"), flag_of(message, "toggle")
        self._session.point(path, extend)
        if toggle:
            # What was selected stays so.
            self._session.selected = selected
            self._session.toggle()
        self._tell(message["id"])

    def _answer_select(self, message: dict[str, Any]) -> None:
        choices = {"page": self._session.select_page, "card": self._session.toggle}
        if not isinstance(message.get("what"), str) or message["what"] not in choices:
            raise CleanerError(f"{message.get('what')!r} cannot be selected; accepted are {', '.join(choices)}")
        choices[message["what"]]()
        self._tell(message["id"])

    def _answer_decide(self, message: dict[str, Any]) -> None:
        path, new_label = message.get("path"), _new_label(message)
        if not isinstance(path, str):
            raise CleanerError("a decision needs a path, an action and, to relabel, a new_label, all of them text")
        action = None if message.get("action") == "toggle" else parse_action(message.get("action", ""))
        self._session.refresh()
        self._check_was_seen(path)
        session = self._session
        card = session.decide(path, action, new_label) if action else session.toggle_label(path, new_label)
        if path in self._shown:
            self._session.point(path)
        self.send({"kind": "card", "id": message["id"], "card": self._told(card), **self._news()})
        self._on_change()

    def _answer_act(self, message: dict[str, Any]) -> None:
        new_label = _new_label(message)
        name, act = message.get("action", ""), self._session.take_predicted
        if name == "toggle":
            act = partial(self._session.toggle_labels, new_label)
        elif name != "predicted":
            act = partial(self._session.act, parse_action(name), new_label)
        self._check_page(message, self._session.targets)
        act()
        self._tell(message["id"])
        self._on_change()

    def _answer_keep_rest(self, message: dict[str, Any]) -> None:
        self._check_page(message, list(self._shown))
        self._session.keep_rest()
        self._tell(message["id"])
        self._on_change()

    def _answer_undo(self, message: dict[str, Any]) -> None:
        self._tell(message["id"], self._session.undo())
        self._on_change()

    def _answer_redo(self, message: dict[str, Any]) -> None:
        self._tell(message["id"], self._session.redo())
        self._on_change()

    def _answer_news(self, message: dict[str, Any]) -> None:
        before = self._session.counts()
        self._session.refresh()
        self._tell(message["id"])
        if self._session.counts() != before:
            self._on_change()

    def _answer_large(self, message: dict[str, Any]) -> None:
        path = message.get("path")
        if not isinstance(path, str):
            raise CleanerError(f"the path of an image is {path!r}; a text is accepted")
        image = self._large.get([path])[path]
        buffers = [image.data] if image.data else []
        self.send({"kind": "large", "id": message["id"], "path": path, "error": image.error, **self._news()}, buffers)
        paths = list(self._shown)
        if path in paths:
            at = paths.index(path)
            self._large.prefetch(paths[at + 1 : at + 2] + paths[max(0, at - 1) : at])

    def _answer_reviewer(self, message: dict[str, Any]) -> None:
        self._session.set_reviewer(message.get("name"))  # type: ignore[arg-type]  # which checks it
        self._tell(message["id"])

    def _answer_restore(self, message: dict[str, Any]) -> None:
        self._session.restore_decisions()
        self._tell(message["id"])
        self._on_change()

    def _answer_accept(self, message: dict[str, Any]) -> None:
        self._session.accept_edits()
        self._tell(message["id"])

    def _tell(self, ask: int, note: str = "") -> None:
        """Reply with the page where it is another one than was sent, and else only with the news."""
        paths = [card.sample.path for card in self._session.cards()]
        if paths != list(self._shown) or self._session.place != self._place:
            self.show(ask, note)
        else:
            self.send({"kind": "here", "id": ask, "note": note, **self._news()})

    def _check_page(self, message: dict[str, Any], paths: list[str]) -> None:
        if message.get("serial") is True or message.get("serial") != self._serial:
            raise CleanerError("another page was opened before this key came; look at it and press the key again")
        self._session.refresh()
        for path in paths:
            self._check_was_seen(path)

    def _check_was_seen(self, path: str) -> None:
        card = self._session.card(path)
        if card.face != self._shown.get(path, card).face:
            raise overtaken(path, card.decision)

    def _told(self, card: Card) -> dict[str, Any]:
        """The card for a message; the page has it from then on."""
        if card.sample.path in self._shown:
            self._shown[card.sample.path] = card
        return self._for_page(card)

    def _for_page(self, card: Card) -> dict[str, Any]:
        about = _about(card)
        if self._session.scan.task == MULTI_LABEL:
            about["given"] = list(card.sample.given)
            about["labels"] = card.decision and self._session.labels_after(card.decision)
            for told, other in zip(about["others"], card.others, strict=True):
                told["labels"] = self._session.labels_after(other)
        return about

    def _news(self) -> dict[str, Any]:
        session = self._session
        now = [session.card(path) for path in self._shown]
        changed = [card for card in now if not _is_same(card, self._shown[card.sample.path])]
        paths = list(self._shown)
        troubles = [f"Your place in the scan cannot be remembered: {session.trouble}"] if session.trouble else []
        troubles += filter(None, [session.standing.trouble, session.ledger_trouble])
        return {
            "at": paths[session.cursor] if session.cursor < len(paths) else "",
            "selected": sorted(session.selected),
            "can_undo": session.can_undo,
            "can_redo": session.can_redo,
            "reviewer": session.reviewer,
            "counts": asdict(session.counts()),
            "seconds": session.pace.seconds,
            "changed": [self._told(card) for card in changed],
            "warnings": [*session.manifest.warnings, *troubles],
            "edited": session.edited,
            "history": session.standing.history,
        }


def _is_same(card: Card, shown: Card) -> bool:
    """Whether the page has what was decided, and what others decided otherwise."""
    return card.face == shown.face and card.note == shown.note and _others(card) == _others(shown)


def _others(card: Card) -> list[dict[str, Any]]:
    return [_opinion(decision) for decision in card.others]


def _opinion(decision: Decision) -> dict[str, Any]:
    return {"reviewer": decision.reviewer, "action": decision.action.value, "new_label": decision.new_label}


def _new_label(message: dict[str, Any]) -> str:
    new_label = message.get("new_label", "")
    if not isinstance(new_label, str):
        raise CleanerError(f"new_label is {new_label!r}; a label of the scan is accepted")
    return new_label


def _about(card: Card) -> dict[str, Any]:
    sample = card.sample
    action, new_label, reviewer, decided_at = card.face
    return {
        "path": sample.path,
        "name": sample.path.rsplit("/", 1)[-1],
        "label": sample.label,
        "predicted": sample.predicted,
        # JSON has no NaN.
        "confidence": None if math.isnan(sample.confidence) else sample.confidence,
        "loss": "" if card.error else f"{sample.loss:.3f}",
        "rank": sample.rank,
        "action": action,
        "new_label": new_label,
        "reviewer": reviewer,
        "decided_at": decided_at,
        "others": _others(card),
        "note": card.note,
    }
