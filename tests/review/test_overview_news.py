"""What the overview sends when something changed elsewhere, with a list in the place of the comm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cleaner.core.scan import Scan
from cleaner.review.app import Review


def opened(scan: Scan) -> tuple[Review, list[dict[str, Any]]]:
    review = Review(scan, reviewer="anna", page_size=5)
    sent: list[dict[str, Any]] = []
    review.overview.send = lambda content, buffers=None: sent.append(content)
    review.grid.send = lambda content, buffers=None: None
    review.overview._handle_custom_msg({"kind": "ready", "id": 1}, [])
    assert [message["kind"] for message in sent] == ["overview"]
    sent.clear()
    return review, sent


def test_a_page_that_is_turned_is_no_news(scan: Scan) -> None:
    review, sent = opened(scan)
    review.grid._handle_custom_msg({"kind": "turn", "id": 1, "page": 1}, [])
    assert sent == []


def test_a_decision_and_another_class_are_news(scan: Scan) -> None:
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
