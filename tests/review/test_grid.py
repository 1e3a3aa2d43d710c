"""The grid's messages, with a list in the place of the comm: every message gets its reply."""

from __future__ import annotations

from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from cleaner.review.app import Review


class Page:
    """The side of the browser: sends messages, and has what came back."""

    def __init__(self, scan: Scan) -> None:
        self.review = Review(scan, reviewer="anna", page_size=5)
        self.replies: list[tuple[dict[str, Any], list[bytes]]] = []
        self.review.grid.send = lambda content, buffers=None: self.replies.append((content, buffers or []))

    def say(self, content: object) -> dict[str, Any]:
        """Send a message and return the one reply to it."""
        before = len(self.replies)
        self.review.grid._handle_custom_msg(content, [])
        (reply,) = self.replies[before:]
        return reply[0]

    @property
    def last(self) -> tuple[dict[str, Any], list[bytes]]:
        return self.replies[-1]


@pytest.fixture
def page(scan: Scan) -> Page:
    return Page(scan)


def test_ready_brings_the_page_with_its_thumbnails(page: Page) -> None:
    reply = page.say({"kind": "ready", "id": 7})
    assert (reply["kind"], reply["id"], reply["split"], reply["label"]) == ("page", 7, "train", "cat")
    assert (reply["page"], reply["pages"]) == (0, 2)
    first = reply["cards"][0]
    assert first == {
        "path": "train/cat/cat_01.png",
        "name": "cat_01.png",
        "label": "cat",
        "predicted": "dog",
        "confidence": 0.9,
        "loss": "4.900",
        "rank": 1,
        "action": "",
        "new_label": "",
        "reviewer": "",
        "error": "",
        "buffer": 0,
    }
    assert [card["buffer"] for card in reply["cards"]] == [0, 1, 2, 3, 4]
    assert all(data.startswith(b"\xff\xd8") for data in page.last[1])


def test_a_broken_image_has_a_reason_and_no_buffer(scan: Scan, page: Page) -> None:
    (scan.root / "train/cat/cat_02.png").write_bytes(b"no image")
    reply = page.say({"kind": "ready", "id": 1})
    assert "buffer" not in reply["cards"][1]
    assert "UnidentifiedImageError" in reply["cards"][1]["error"]
    assert [card.get("buffer") for card in reply["cards"]] == [0, None, 1, 2, 3]
    assert len(page.last[1]) == 4


def test_turn(page: Page) -> None:
    reply = page.say({"kind": "turn", "id": 1, "page": 1})
    assert [card["name"] for card in reply["cards"]] == ["cat_06.png", "cat_07.png", "cat_08.png"]


def test_a_decision_is_on_the_disk_before_its_reply(scan: Scan, page: Page) -> None:
    on_disk: list[int] = []
    page.review.grid.send = lambda *_: on_disk.append(len(Manifest(scan.manifest_path).rows()))
    for number, action in enumerate(("keep", "delete", "unsure"), start=1):
        message = {"kind": "decide", "id": number, "path": "train/cat/cat_01.png", "action": action}
        page.review.grid._handle_custom_msg(message, [])
    assert on_disk == [1, 2, 3]


def test_the_reply_to_a_decision_is_the_card_as_it_stands(page: Page) -> None:
    path = "train/cat/cat_03.png"
    reply = page.say({"kind": "decide", "id": 5, "path": path, "action": "relabel", "new_label": "fox"})
    assert (reply["kind"], reply["id"], reply["card"]["path"]) == ("card", 5, path)
    assert (reply["card"]["action"], reply["card"]["new_label"], reply["card"]["reviewer"]) == (
        "relabel",
        "fox",
        "anna",
    )
    assert reply["counts"] == {"decided": 1, "kept": 8, "scan_decided": 1, "scan_kept": 48}


MESSAGES: list[Any] = [
    None,
    "ready",
    [],
    {},
    {"kind": 5, "id": 1},
    {"kind": "ready"},
    {"kind": "ready", "id": "1"},
    {"kind": "ready", "id": True},
    {"kind": "explode", "id": 1},
    {"kind": "_answer", "id": 1},
    {"kind": "turn", "id": 1},
    {"kind": "turn", "id": 1, "page": 99},
    {"kind": "turn", "id": 1, "page": -1},
    {"kind": "turn", "id": 1, "page": 0.5},
    {"kind": "turn", "id": 1, "page": None},
    {"kind": "decide", "id": 1},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png"},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "explode"},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": ["keep"]},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "relabel"},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "relabel", "new_label": "wolf"},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "relabel", "new_label": 5},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "keep", "new_label": "dog"},
    {"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "undo"},
    {"kind": "decide", "id": 1, "path": "../../etc/passwd", "action": "delete"},
    {"kind": "decide", "id": 1, "path": ["train/cat/cat_01.png"], "action": "delete"},
    {"kind": "decide", "id": 1, "path": "x" * 1_000_000, "action": "delete"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: repr(m)[:60])
def test_a_message_that_makes_no_sense_gets_an_error_and_changes_nothing(scan: Scan, message: Any) -> None:
    page = Page(scan)
    reply = page.say(message)
    assert reply["kind"] == "error"
    assert reply["message"]
    assert len(reply["message"]) < 2000
    assert not scan.manifest_path.exists()
    assert page.review.session.page == 0


def test_an_error_brings_the_card_as_it_stands(page: Page) -> None:
    path = "train/cat/cat_01.png"
    page.say({"kind": "decide", "id": 1, "path": path, "action": "keep"})
    reply = page.say({"kind": "decide", "id": 2, "path": path, "action": "relabel", "new_label": "wolf"})
    assert (reply["kind"], reply["id"]) == ("error", 2)
    assert reply["card"]["action"] == "keep"


def test_a_full_disk_is_shown(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.core.manifest.os.fsync", full)
    reply = page.say({"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "keep"})
    assert reply["message"].startswith("Not saved: No space left on device")
    assert reply["card"]["action"] == ""


def test_a_fault_of_the_program_is_shown_and_raised(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(page.review.session, "turn_to", fails)
    before = len(page.replies)
    with pytest.raises(ZeroDivisionError):
        page.review.grid._answer(None, {"kind": "turn", "id": 1, "page": 1}, [])
    assert [reply["message"] for reply, _ in page.replies[before:]] == ["ZeroDivisionError: a fault"]


def test_the_choices_follow_the_session(page: Page) -> None:
    split, label = page.review._split, page.review._label
    assert (split.options, split.value) == (("train", "valid"), "train")
    assert (label.options, label.value) == (("cat", "dog", "fox"), "cat")
    label.value = "fox"
    assert page.last[0]["label"] == "fox"
    split.value = "valid"
    assert (page.last[0]["split"], page.last[0]["label"]) == ("valid", "fox")
