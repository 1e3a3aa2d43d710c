"""`Review`, the app in a notebook and on the web page: one widget that draws the page of a session."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from cleaner.core.dataset_check import check_has_images
from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan, scan_at
from cleaner.core.tasks import OTHER
from cleaner.review.cards import SentCards, card_content
from cleaner.review.channel import Channel
from cleaner.review.lists import Lists, figures
from cleaner.review.pages import Shape
from cleaner.review.session import Session
from cleaner.review.summary import summary
from cleaner.review.thumbnails import Thumbnails
from cleaner.review.view import (
    ALL,
    AUDIT,
    DISAGREEMENTS,
    GROUP_LISTS,
    ISSUE_LISTS,
    MAX_PAGE_SIZE,
    UNREADABLE,
    UNSURE,
)

__all__ = ["Notice", "Review"]

_STATIC = Path(__file__).parent / "static"
_LIST_KINDS = {
    ALL: "all",
    UNSURE: "unsure",
    DISAGREEMENTS: "disagreements",
    AUDIT: "audit",
    UNREADABLE: "unreadable",
    **{label: "groups" if label in GROUP_LISTS else "issue" for label in ISSUE_LISTS},
}
# Longest sides of thumbnails in pixels; a page gets the smallest that fills its cards.
_THUMBNAIL_SIZES = (192, 256, 384, 512, 768)
_LARGE_SIZE = 1600
_TYPICAL = 4  # images of a label beside the large one
_NEAREST = 8
_PREFETCH_DELAY = 0.25


class Review(Channel):
    """Review the samples with the highest losses; shown when it is the last line of a cell.

    A decision is in `decisions.csv` of the scan folder before its card shows it as saved, and the page is always drawn
    from that file. So nothing is lost when the list changes, the page is reloaded or the kernel restarts.

    It is one anywidget, so that it is shown by each host that shows those.

    Args:
        scan: a scan that was written or loaded, or the path of a scan folder.
        reviewer: who decides, for the manifest; by default the name of the user.
        page_size: thumbnails on a page, 1 to 200; by default as many as fill the screen.
        root: the dataset's folder, if it moved since the scan.
        blind: do not show what others decided; `scan.agreement()` compares afterwards.

    Attributes:
        session: the review, without widgets.
        vocab: the labels to choose from.
        task: the scan's task; it determines which actions the page offers.
        page_size: as given; 0 for as many as fill the screen.

    Raises:
        CleanerError: the scan or its manifest is invalid, the dataset is missing, or an argument is out of range.

    Examples:
        >>> cleaner.Review("scan").vocab  # the last line of a cell shows the page
        ['bear', 'cat', 'dog']
    """

    _esm = _STATIC / "review.js"
    _css = _STATIC / "review.css"
    vocab = traitlets.List(traitlets.Unicode()).tag(sync=True)
    task = traitlets.Unicode().tag(sync=True)
    page_size = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        scan: Scan | str | Path,
        *,
        reviewer: str | None = None,
        page_size: int | None = None,
        root: str | Path | None = None,
        blind: bool = False,
    ) -> None:
        placed = scan_at(scan, root)
        if root is not None and placed.root.is_dir():
            check_has_images(placed, placed.root)
        session = Session(placed, reviewer, page_size, blind)
        traits = {"vocab": list(session.scan.vocab), "task": session.scan.task, "page_size": page_size or 0}
        super().__init__(session, **traits)
        self._pixels = _THUMBNAIL_SIZES[0]
        self._thumbnails = _thumbnails(session.scan, self._pixels)
        self._large = Thumbnails(session.scan.root, size=_LARGE_SIZE, threads=2, drawn=self._thumbnails.drawn)
        self._cards = SentCards(session)
        self._sent_view = session.view
        self._lists = Lists(session)
        self._sent_progress: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        folder = str(self.session.scan.folder)
        how = f"a notebook shows it as the last line of a cell, a browser by: cleaner serve {shlex.quote(folder)}"
        return f"<Review of {folder!r} by {self.session.reviewer!r}: {how}>"

    # Messages of the page.

    def _on_ready(self, reply_to: int, page_size: int, columns: int, rows: int, pixels: int) -> None:
        self.session.refresh()
        self._fit(page_size, Shape(columns, rows), pixels, self.session.view.at)
        self._send_lists()
        self._show(reply_to)

    def _on_fit(self, reply_to: int, page_size: int, columns: int, rows: int, pixels: int, at: str) -> None:
        self.session.refresh()
        self._fit(page_size, Shape(columns, rows), pixels, at)
        self._show(reply_to)

    def _on_open(self, reply_to: int, label: str, split: str | None = None, predicted: str = "") -> None:
        self.session.refresh()
        self.session.open(label, split, predicted)
        self._show(reply_to)

    def _on_turn(self, reply_to: int, page: int) -> None:
        self.session.refresh()
        self.session.turn_to(page)
        self._show(reply_to)

    def _on_filter(self, reply_to: int, **changes: Any) -> None:
        self.session.refresh()
        self.session.filter(**changes)
        self._show(reply_to)

    def _on_decide(
        self, reply_to: int, version: int, until: int, paths: list[str], action: str, new_label: str = ""
    ) -> None:
        _check_in_time(until)
        self.session.refresh()
        self._cards.check_were_seen(paths, version)
        self.session.decide_all(paths, action, new_label)
        self._reply(reply_to, own=paths)

    def _on_resolve(self, reply_to: int, version: int, until: int, paths: list[str], kept: list[str]) -> None:
        _check_in_time(until)
        self.session.refresh()
        self._cards.check_were_seen(paths, version)
        self.session.resolve(paths, kept)
        self._reply(reply_to, own=paths)

    def _on_undo(self, reply_to: int, until: int) -> None:
        _check_in_time(until)
        self._reply(reply_to, *self.session.undo())

    def _on_redo(self, reply_to: int, until: int) -> None:
        _check_in_time(until)
        self._reply(reply_to, *self.session.redo())

    def _on_news(self, reply_to: int) -> None:
        self.session.refresh()
        self._reply(reply_to)

    def _on_place(self, reply_to: int, at: str) -> None:
        if at in self.session.paths:  # else the page was turned meanwhile
            self.session.place_cursor(at)
            self._sent_view = self.session.view
        self._reply(reply_to)

    def _on_large(self, reply_to: int, path: str) -> None:
        self.session.card(path)  # refuses a path outside the scan
        image = self._large.get([path])[path]
        content = {"kind": "large", "id": reply_to, "path": path, "error": image.error}
        self.send(content | self._state(), [image.data] if image.data else [])
        paths = self._cards.paths
        if path in paths:
            position = paths.index(path)
            self._large.prefetch(paths[position + 1 : position + 2] + paths[max(0, position - 1) : position])

    def _on_typical(self, reply_to: int, path: str) -> None:
        card = self.session.card(path)
        sample = card.sample
        # In the audit sample the prediction is empty: it would suggest an answer. Issues are not about it.
        labels = dict.fromkeys(filter(None, (sample.label, "" if card.issue else sample.predicted)))
        typical = ((label, self.session.typical(sample.split, label)[:_TYPICAL]) for label in labels)
        shown = [(other, f"typical {label}", "") for label, others in typical for other in others]
        # Those of an audited image would suggest an answer too.
        near = [] if card.is_blinded else self.session.nearest(path, _NEAREST)
        shown += [(other, "nearest images", label) for other, label in near]
        thumbnails = self._thumbnails.get(dict.fromkeys(other for other, *_ in shown))
        found = [each for each in shown if thumbnails[each[0]].data]
        images = [
            {"path": other, "title": title, "caption": caption, "buffer": number}
            for number, (other, title, caption) in enumerate(found)
        ]
        content = {"kind": "typical", "id": reply_to, "path": path, "images": images}
        self.send(content | self._state(), [thumbnails[other].data for other, *_ in found])

    def _on_figures(self, reply_to: int) -> None:
        self.send({"kind": "figures", "id": reply_to, **figures(self.session)})

    def _on_summary(self, reply_to: int) -> None:
        self.session.refresh()
        lines = summary(self.session, is_last=not self._lists.after(self.session.view.label))
        self.send({"kind": "summary", "id": reply_to, "lines": lines, **self._state()})

    def _on_reviewer(self, reply_to: int, name: str) -> None:
        self.session.set_reviewer(name)
        self._reply(reply_to)

    def _on_restore(self, reply_to: int) -> None:
        self.session.manifest.restore()
        self.session.refresh()
        self._reply(reply_to)

    def _on_accept(self, reply_to: int) -> None:
        self.session.manifest.accept_edits()
        self.session.refresh()
        self._reply(reply_to)

    # Messages to the page.

    def _fit(self, page_size: int, shape: Shape, pixels: int, at: str) -> None:
        """Take the number of cards that fit, unless the caller of `Review` chose one, and the size of thumbnails."""
        if not self.page_size:
            self.session.set_page_size(max(1, min(page_size, MAX_PAGE_SIZE)), at, _bounded(shape))
        size = next((size for size in _THUMBNAIL_SIZES if size >= pixels), _THUMBNAIL_SIZES[-1])
        if size != self._pixels:
            self._pixels = size
            self._thumbnails = _thumbnails(self.session.scan, size)

    def _show(self, reply_to: int, note: str = "") -> None:
        """Send the open page as the reply to a message."""
        session, view = self.session, self.session.view
        if view.split != self._lists.split:
            self._lists = Lists(session)
            self._send_lists()
        self._sent_view = view
        cards, buffers = self._page_cards()
        kind = _LIST_KINDS.get(view.label, "class")
        content = {
            "kind": "page",
            "id": reply_to,
            **asdict(view),
            "list": kind,
            "splits": session.scan.splits,
            "pages": session.pages,
            "first": session.first,
            "shown": len(session.shown),
            "predictions": session.predictions,
            "cards": cards,
        }
        self.send(content | self._state(note=note), buffers)
        # The delay leaves the cores to the browser while it draws the page.
        self._thumbnails.prefetch(session.paths_ahead(self._lists.after(view.label)), _PREFETCH_DELAY)

    def _reply(self, reply_to: int, at: str = "", note: str = "", own: list[str] | None = None) -> None:
        """Send the page if other cards or another view are open than were sent, else the state alone."""
        if self.session.view != self._sent_view or self.session.paths != self._cards.paths:
            self._show(reply_to, note)
        else:
            self.send({"kind": "done", "id": reply_to, "at": at, **self._state(own, note)})

    def _send_lists(self) -> None:
        self._sent_progress = self._lists.progress()
        self.send({"kind": "lists", "id": None, "split": self._lists.split, "rows": self._lists.rows()})

    def _page_cards(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Return the cards of a page, and their thumbnails."""
        sent = self._cards.open_page()
        thumbnails = self._thumbnails.get(card.sample.path for card in sent)
        cards: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        for card in sent:
            thumbnail = thumbnails[card.sample.path]
            content = card_content(card, self.session) | {"error": thumbnail.error, "size": thumbnail.size}
            if thumbnail.data:
                content["buffer"] = len(buffers)
                buffers.append(thumbnail.data)
            cards.append(content)
        return cards, buffers

    def _state(self, own: list[str] | None = None, note: str = "") -> dict[str, Any]:
        """Return what each reply carries; see `cleaner.review.protocol`."""
        session, since = self.session, self._cards.version
        changed = self._cards.changed(own=lambda path: path in (own or []))
        progress = self._lists.progress()
        news = {label: counts for label, counts in progress.items() if self._sent_progress.get(label) != counts}
        self._sent_progress = progress
        return {
            "clock": _clock(),
            "version": self._cards.version,
            "since": since,
            "can_undo": bool(session.undo_redo.done),
            "can_redo": bool(session.undo_redo.undone),
            "reviewer": session.reviewer,
            "counts": asdict(session.counts()),
            "seconds": session.pace.seconds,
            "changed": [card_content(card, session) for card in changed],
            "decided": news,
            "note": note,
            "warnings": session.warnings,
            "edited": session.edited,
            "history": session.standing.history,
        }

    def _error_details(self) -> dict[str, Any]:
        return self._state()


def _clock() -> int:
    return int(1000 * time.monotonic())


def _check_in_time(until: int) -> None:
    """Check that the page still waits for the answer."""
    if _clock() > until:
        raise CleanerError(
            "this arrived after the page had stopped waiting and called it not confirmed; look at the images and "
            "decide again"
        )


def _bounded(shape: Shape) -> Shape:
    """Return a shape with at least one card and at most `MAX_PAGE_SIZE`."""
    columns = max(1, min(shape.columns, MAX_PAGE_SIZE))
    return Shape(columns, max(1, min(shape.rows, MAX_PAGE_SIZE // columns)))


def _thumbnails(scan: Scan, size: int) -> Thumbnails:
    if scan.task == OTHER:
        return Thumbnails(scan.root, size=2 * size, drawn=scan.drawn_in)  # a drawing shows the image twice
    return Thumbnails(scan.root, size=size)


class Notice(anywidget.AnyWidget):  # type: ignore[misc]
    """The reason why the app cannot be shown, in its place; plain text, never HTML."""

    _esm = """
    export default {
      render({ model, el }) {
        el.classList.add("cleaner", "cleaner-alert");
        el.setAttribute("role", "alert");
        el.textContent = model.get("text");
      },
    };
    """
    _css = _STATIC / "review.css"
    text = traitlets.Unicode().tag(sync=True)
