"""The messages of the overview and their replies, without a browser."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from cleaner.core.confusion import most_confused_labels
from cleaner.core.records import LOSS_EDGES, Action, ClassLosses, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.app import Review
from cleaner.review.view import UNREADABLE


class Page:
    """The browser's side: sends messages to the overview and keeps the replies."""

    def __init__(self, scan: Scan) -> None:
        self.review = Review(scan, reviewer="anna", page_size=5)
        self.sent: list[dict[str, Any]] = []
        self.grid_sent: list[dict[str, Any]] = []
        self.review.overview.send = lambda content, buffers=None: self.sent.append(content)  # type: ignore[method-assign]
        self.review.grid.send = lambda content, buffers=None: self.grid_sent.append(content)  # type: ignore[method-assign]

    def say(self, message: Any) -> dict[str, Any]:
        self.review.overview._receive(None, message, [])
        return self.sent[-1]


@pytest.fixture
def known(scan: Scan) -> Scan:
    """A scan with losses per class and an unreadable file."""
    bins = (8,) + (0,) * len(LOSS_EDGES)
    losses = tuple(ClassLosses("train", label, 8, 8, 0.5, 0, bins) for label in ("cat", "dog"))
    unreadable = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    return replace(scan, losses=losses, unreadable=unreadable)


@pytest.fixture
def page(known: Scan) -> Page:
    return Page(known)


def test_ready_is_answered_by_classes_matrix_and_histogram(page: Page) -> None:
    reply = page.say({"kind": "ready", "id": 7})
    assert (reply["kind"], reply["id"], reply["split"], reply["label"]) == ("overview", 7, "train", "cat")
    cat = {"label": "cat", "name": "cat", "scored": 8, "otherwise": 8, "mean": 0.5, "kept": 8, "decided": 0}
    assert reply["classes"][0] == cat
    unreadable = reply["classes"][-1]
    assert (unreadable["label"], unreadable["scored"], unreadable["kept"]) == (UNREADABLE, None, 1)
    assert reply["matrix"]["labels"] == ["cat", "dog", "fox"]
    assert [0, 1, 8, 8] in reply["matrix"]["cells"]
    assert (sum(reply["histogram"]), len(reply["histogram"])) == (8, len(LOSS_EDGES) + 1)


def test_an_unknown_mean_is_null_and_not_nan(scan: Scan) -> None:
    reply = Page(scan).say({"kind": "ready", "id": 1})
    assert {row["mean"] for row in reply["classes"]} == {None}
    assert not any(isinstance(value, float) and math.isnan(value) for row in reply["classes"] for value in row.values())
    assert reply["histogram"] == ()


def test_open_shows_the_class_in_the_grid(page: Page) -> None:
    reply = page.say({"kind": "open", "id": 2, "label": "fox", "predicted": "cat"})
    assert (reply["kind"], reply["id"], reply["label"], reply["predicted"]) == ("news", 2, "fox", "cat")
    assert (page.grid_sent[-1]["kind"], page.grid_sent[-1]["label"]) == ("page", "fox")
    assert page.review._label.value == "fox"
    page.say({"kind": "open", "id": 3, "label": UNREADABLE})
    assert page.grid_sent[-1]["list"] == "unreadable"


def test_decided_files_are_counted_in_news(page: Page) -> None:
    page.say({"kind": "ready", "id": 1})
    page.review.session.act(Action.KEEP)
    page.review._draw()
    assert (page.sent[-1]["kind"], page.sent[-1]["decided"]) == ("news", {"cat": 1})
    page.sent.clear()
    page.review._draw()
    assert page.sent == []


def test_while_it_is_folded_nothing_is_counted(page: Page) -> None:
    page.say({"kind": "ready", "id": 1})
    page.review.overview.unfolded = False
    page.sent.clear()
    page.review.session.act(Action.KEEP)
    page.review._draw()
    assert page.sent == []
    assert page.say({"kind": "ready", "id": 2})["classes"][0]["decided"] == 1


def test_it_is_folded_once_the_review_has_begun(scan: Scan) -> None:
    page = Page(scan)
    assert page.review.overview.unfolded
    page.review.session.act(Action.KEEP)
    assert not Page(scan).review.overview.unfolded


WRONG: list[Any] = [
    None,
    {},
    {"kind": "ready"},
    {"kind": "ready", "id": True},
    {"kind": "nonsense", "id": 1},
    {"kind": "open", "id": 1},
    {"kind": "open", "id": 1, "label": 5},
    {"kind": "open", "id": 1, "label": "wolf"},
    {"kind": "open", "id": 1, "label": "cat", "predicted": ["dog"]},
    {"kind": "open", "id": 1, "label": "cat", "predicted": "wolf"},
    {"kind": "open", "id": 1, "label": "x" * 10**6},
]


@pytest.mark.parametrize("message", WRONG, ids=lambda m: repr(m)[:60])
def test_an_invalid_message_gets_an_error_and_opens_nothing(page: Page, message: Any) -> None:
    before = page.review.session.view
    reply = page.say(message)
    assert reply["kind"] == "error"
    assert 0 < len(reply["message"]) <= 1000
    assert page.review.session.view == before


def test_the_matrix_shows_the_most_confused_of_many_classes() -> None:
    cells = {("a", "b"): 5, ("b", "c"): 4, ("c", "d"): 3, ("a", "a"): 100}
    assert most_confused_labels(cells, "abcd", max_labels=4) == ["a", "b", "c", "d"]
    assert most_confused_labels(cells, "abcdefgh", max_labels=3) == ["a", "b", "c"]
    assert most_confused_labels({}, "abcdefgh", max_labels=3) == []


def opened(scan: Scan) -> tuple[Review, list[dict[str, Any]]]:
    review = Review(scan, reviewer="anna", page_size=5)
    sent: list[dict[str, Any]] = []
    review.overview.send = lambda content, buffers=None: sent.append(content)
    review.grid.send = lambda content, buffers=None: None
    review.overview._handle_custom_msg({"kind": "ready", "id": 1}, [])
    assert [message["kind"] for message in sent] == ["overview"]
    sent.clear()
    return review, sent


def test_a_turned_page_sends_no_news(scan: Scan) -> None:
    review, sent = opened(scan)
    review.grid._handle_custom_msg({"kind": "turn", "id": 1, "page": 1}, [])
    assert sent == []


def test_a_decision_and_another_class_send_news(scan: Scan) -> None:
    review, sent = opened(scan)
    message = {"kind": "decide", "path": "train/cat/cat_01.png"}
    review.grid._handle_custom_msg({**message, "id": 1, "action": "keep"}, [])
    review.grid._handle_custom_msg({**message, "id": 2, "action": "undo"}, [])
    assert [news["decided"] for news in sent] == [{"cat": 1}, {"cat": 0}]
    sent.clear()
    review._label.value = "dog"
    assert [(news["label"], news["decided"]) for news in sent] == [("dog", {})]


def test_a_file_of_two_classes_counts_in_both(scan: Scan) -> None:
    twice = scan.kept("train", "cat")[0]
    copy = replace(twice, label="dog", rank=9)
    both = replace(scan, samples=(*scan.samples, copy))
    review, sent = opened(both)
    review.grid._handle_custom_msg({"kind": "decide", "id": 1, "path": twice.path, "action": "keep"}, [])
    assert sent[0]["decided"] == {"cat": 1, "dog": 1}
