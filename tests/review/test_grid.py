"""The messages of the grid and their replies, without a browser."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.session import json_packer
from PIL import Image

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Typical, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.app import Review
from cleaner.review.view import AUDIT, UNREADABLE
from tests.support.images import make_image
from tests.support.odd_images import HARMFUL, write_harmful_image
from tests.support.review_page import Page


@pytest.fixture
def page(scan: Scan) -> Page:
    return Page(scan)


def test_ready_is_answered_by_the_page_with_its_thumbnails(page: Page) -> None:
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
        "alternatives": (),
        "loss": "4.900",
        "rank": 1,
        "action": "",
        "new_label": "",
        "reviewer": "",
        "decided_at": "",
        "others": [],
        "error": "",
        "buffer": 0,
        "note": "",
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


@pytest.mark.timeout(60)
def test_pipes_devices_and_bombs_have_an_error_on_their_card_and_can_be_decided(scan: Scan, page: Page) -> None:
    folder = scan.root / "train/cat"
    reasons = dict(zip(("pipe.png", "zero.png", "socket.png", "bomb.png", "sparse.tif"), range(1, 6), strict=True))
    for name, number in reasons.items():
        (folder / f"cat_0{number}.png").unlink()
        write_harmful_image(name, folder).rename(folder / f"cat_0{number}.png")
    reply = page.say({"kind": "ready", "id": 1})
    said = [HARMFUL[name] in card["error"] for name, card in zip(reasons, reply["cards"], strict=True)]
    assert (said, page.last[1]) == ([True, True, True, True, True], [])
    assert page.say({"kind": "large", "id": 2, "path": "train/cat/cat_01.png"})["error"]
    page.say({"kind": "select", "id": 3, "what": "page"})
    page.say({"kind": "act", "id": 4, "serial": reply["serial"], "action": "delete"})
    rows = Manifest(scan.manifest_path).rows()
    assert [(row.action, bool(row.sha256)) for row in rows] == [(Action.DELETE, n == 3) for n in range(5)]


def test_turn_is_answered_by_the_other_page(page: Page) -> None:
    reply = page.say({"kind": "turn", "id": 1, "page": 1})
    assert [card["name"] for card in reply["cards"]] == ["cat_06.png", "cat_07.png", "cat_08.png"]


def test_a_decision_is_on_the_disk_before_its_reply(scan: Scan, page: Page) -> None:
    on_disk: list[int] = []
    page.review.grid.send = lambda *_: on_disk.append(len(Manifest(scan.manifest_path).rows()))
    for number, action in enumerate(("keep", "delete", "unsure"), start=1):
        message = {"kind": "decide", "id": number, "path": "train/cat/cat_01.png", "action": action}
        page.review.grid._handle_custom_msg(message, [])
    assert on_disk == [1, 2, 3]


def test_the_reply_to_a_decision_is_the_card_with_that_decision(page: Page) -> None:
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
def test_an_invalid_message_gets_an_error_and_changes_nothing(scan: Scan, message: Any) -> None:
    page = Page(scan)
    reply = page.say(message)
    assert reply["kind"] == "error"
    assert reply["message"]
    assert len(reply["message"]) < 2000
    assert not scan.manifest_path.exists()
    assert page.review.session.view.page == 0


def test_an_error_carries_the_card_with_the_decision_that_stands(page: Page) -> None:
    path = "train/cat/cat_01.png"
    page.say({"kind": "decide", "id": 1, "path": path, "action": "keep"})
    reply = page.say({"kind": "decide", "id": 2, "path": path, "action": "relabel", "new_label": "wolf"})
    assert (reply["kind"], reply["id"]) == ("error", 2)
    assert reply["card"]["action"] == "keep"


def test_a_full_disk_is_reported_on_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.core.manifest.os.fsync", full)
    reply = page.say({"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "keep"})
    assert reply["message"].startswith("Not saved: No space left on device")
    assert reply["card"]["action"] == ""


def test_an_unexpected_exception_is_shown_and_raised(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(page.review.session, "turn_to", fails)
    before = len(page.replies)
    with pytest.raises(ZeroDivisionError):
        page.review.grid._receive(None, {"kind": "turn", "id": 1, "page": 1}, [])
    assert [reply["message"] for reply, _ in page.replies[before:]] == ["ZeroDivisionError: a fault"]


def by_ben(scan: Scan, path: str, action: Action, new_label: str = "") -> None:
    """Append a decision of another reviewer, as from another process."""
    decided_at = "2026-01-31T12:00:00Z"
    sha256 = sha256_of(scan.root / path)
    Manifest(scan.manifest_path).append(
        Decision(path, action, new_label=new_label, sha256=sha256, reviewer="ben", decided_at=decided_at)
    )


def test_each_reply_carries_the_decisions_of_others_on_the_page(scan: Scan, page: Page) -> None:
    one, two, three, beyond = (f"train/cat/cat_0{number}.png" for number in (1, 2, 3, 7))
    assert page.say({"kind": "ready", "id": 1})["changed"] == []
    for path in (two, beyond, "valid/fox/fox_v01.png"):
        by_ben(scan, path, Action.DELETE)
    reply = page.say({"kind": "decide", "id": 2, "path": one, "action": "keep"})
    assert [(card["path"], card["action"], card["reviewer"]) for card in reply["changed"]] == [(two, "delete", "ben")]
    assert reply["counts"] == {"decided": 3, "kept": 8, "scan_decided": 4, "scan_kept": 48}
    by_ben(scan, two, Action.UNDO)
    reply = page.say({"kind": "decide", "id": 3, "path": three, "action": "relabel", "new_label": "wolf"})
    assert reply["kind"] == "error"
    assert [(card["path"], card["action"]) for card in reply["changed"]] == [(two, "")]
    assert page.say({"kind": "decide", "id": 4, "path": three, "action": "keep"})["changed"] == []


def test_a_decision_that_another_takes_during_a_write_is_not_overridden(
    scan: Scan, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "train/cat/cat_01.png"
    page.say({"kind": "ready", "id": 1})

    def hashed(_: Path) -> str:
        by_ben(scan, path, Action.DELETE)
        return ""

    monkeypatch.setattr("cleaner.review.decisions.sha256_of", hashed)
    reply = page.say({"kind": "decide", "id": 2, "path": path, "action": "keep"})
    assert (reply["kind"], reply["card"]["action"], reply["card"]["reviewer"]) == ("error", "delete", "ben")
    assert reply["message"] == f"Not saved: ben decided 'delete' for {path!r} meanwhile; decide again if you wish"
    assert [row.reviewer for row in Manifest(scan.manifest_path).rows()] == ["ben"]


@pytest.mark.parametrize(
    ("action", "new_label", "said"),
    [
        (Action.DELETE, "", "ben decided 'delete' for 'train/cat/cat_01.png' meanwhile"),
        (Action.RELABEL, "fox", "ben decided 'relabel fox' for"),
    ],
)
def test_nobody_overrides_a_decision_they_have_not_seen(
    scan: Scan, page: Page, action: Action, new_label: str, said: str
) -> None:
    path = "train/cat/cat_01.png"
    page.say({"kind": "ready", "id": 1})
    by_ben(scan, path, action, new_label)
    reply = page.say({"kind": "decide", "id": 2, "path": path, "action": "keep"})
    assert (reply["kind"], reply["message"].startswith(f"Not saved: {said}")) == ("error", True)
    assert (reply["card"]["action"], reply["card"]["reviewer"]) == (action.value, "ben")
    assert reply["changed"] == []
    assert len(Manifest(scan.manifest_path).rows()) == 1
    assert page.say({"kind": "decide", "id": 3, "path": path, "action": "keep"})["kind"] == "card"
    by_ben(scan, path, Action.UNDO)
    assert "took back" in page.say({"kind": "decide", "id": 4, "path": path, "action": "delete"})["message"]


@pytest.mark.parametrize("message", [{"kind": "ready"}, {"kind": "turn", "page": 0}])
def test_a_page_shows_the_decisions_of_others(scan: Scan, page: Page, message: dict[str, Any]) -> None:
    by_ben(scan, "train/cat/cat_02.png", Action.DELETE)
    reply = page.say(message | {"id": 1})
    assert [card["reviewer"] for card in reply["cards"]] == ["", "ben", "", "", ""]
    assert reply["counts"]["scan_decided"] == 1


def test_problems_with_the_manifest_are_warnings_on_the_page(scan: Scan, page: Page) -> None:
    assert page.say({"kind": "ready", "id": 1})["warnings"] == []
    by_ben(scan, "train/cat/cat_02.png", Action.DELETE)
    with open(scan.manifest_path, "a") as file:
        file.write("train/cat/cat_0")
    reply = page.say({"kind": "decide", "id": 2, "path": "train/cat/cat_01.png", "action": "keep"})
    assert reply["kind"] == "card"
    assert "torn" in reply["warnings"][0]
    assert page.say({"kind": "turn", "id": 3, "page": 9})["warnings"] == reply["warnings"]


def test_a_page_says_how_many_files_of_its_split_could_not_be_read(scan: Scan) -> None:
    unreadable = tuple(Unreadable("train", "cat", f"train/cat/bad_{number}.png", "broken") for number in range(3))
    page = Page(replace(scan, unreadable=unreadable))
    assert page.say({"kind": "ready", "id": 1})["unreadable"] == 3
    page.review._split.value = "valid"
    assert page.last[0]["unreadable"] == 0


def test_a_file_in_two_splits_is_decided_in_the_one_that_is_open(scan: Scan) -> None:
    path = "train/cat/cat_01.png"
    twice = replace(next(sample for sample in scan.samples if sample.path == path), split="valid", loss=1.5)
    page = Page(replace(scan, samples=(*scan.samples, twice)))
    for split, label in (("train", "cat"), ("valid", "cat")):
        page.review._split.value = split
        page.review._label.value = label
        page.say({"kind": "decide", "id": 1, "path": path, "action": "keep"})
        assert Manifest(scan.manifest_path).rows()[-1].split == split


def test_the_dropdowns_go_back_if_the_manifest_is_invalid(scan: Scan, page: Page) -> None:
    page.say({"kind": "ready", "id": 1})
    scan.manifest_path.write_text("path,action\ntrain/cat/cat_01.png,nonsense\n")
    page.review._label.value = "fox"
    assert (page.last[0]["kind"], "nonsense" in page.last[0]["message"]) == ("error", True)
    assert (page.review._label.value, page.review.session.view.label) == ("cat", "cat")


def test_the_dataset_may_have_moved(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan.root.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for missing in (None, "nowhere", scan.folder / "scan.json"):
        with pytest.raises(CleanerError, match=r"no folder .* --data DIR"):
            Review(scan.folder, root=missing)
    review = Review(scan.folder, root="moved")
    assert review.session.scan.root == tmp_path / "moved"
    assert not any(thumbnail.error for thumbnail in review.grid._thumbnails.get(["train/cat/cat_01.png"]).values())
    assert review.session.decide("train/cat/cat_01.png", Action.KEEP).decision.sha256


def test_the_dropdowns_follow_the_session(page: Page) -> None:
    split, label = page.review._split, page.review._label
    assert (split._options_labels, split.value) == (("train", "valid"), "train")
    assert (label._options_labels, label.value) == (("cat", "dog", "fox"), "cat")
    label.value = "fox"
    assert page.last[0]["label"] == "fox"
    split.value = "valid"
    assert (page.last[0]["split"], page.last[0]["label"]) == ("valid", "fox")


# Cursor, selection and actions on it.


def test_each_reply_says_where_the_cursor_is_and_what_is_selected(page: Page) -> None:
    one, two, three = (f"train/cat/cat_0{number}.png" for number in (1, 2, 3))
    assert (page.say({"kind": "ready", "id": 1})["at"], page.last[0]["selected"]) == (one, [])
    reply = page.say({"kind": "move", "id": 2, "by": 1})
    assert (reply["kind"], reply["at"], reply["selected"]) == ("here", two, [])
    reply = page.say({"kind": "point", "id": 3, "path": three, "extend": True})
    assert (reply["at"], reply["selected"]) == (three, [two, three])
    assert page.say({"kind": "point", "id": 4, "path": one, "toggle": True})["selected"] == [one, two, three]
    assert page.say({"kind": "select", "id": 5, "what": "card"})["selected"] == [two, three]
    assert len(page.say({"kind": "select", "id": 6, "what": "page"})["selected"]) == 5


def test_an_action_applies_to_the_selected_cards(page: Page) -> None:
    serial = page.say({"kind": "ready", "id": 1})["serial"]
    page.say({"kind": "move", "id": 2, "by": 1, "extend": True})
    reply = page.say({"kind": "act", "id": 3, "serial": serial, "action": "predicted"})
    assert [(card["path"][-6:-4], card["new_label"]) for card in reply["changed"]] == [("01", "dog"), ("02", "dog")]
    assert (reply["kind"], reply["at"][-6:-4], reply["can_undo"], reply["can_redo"]) == ("here", "03", True, False)
    reply = page.say({"kind": "undo", "id": 4})
    assert [card["action"] for card in reply["changed"]] == ["", ""]
    assert (reply["kind"], reply["can_undo"], reply["can_redo"]) == ("here", False, True)
    reply = page.say({"kind": "keep_rest", "id": 5, "serial": serial})
    assert (reply["kind"], reply["page"], reply["counts"]["decided"]) == ("page", 1, 5)
    reply = page.say({"kind": "undo", "id": 6})
    assert (reply["kind"], reply["page"], reply["counts"]["decided"]) == ("page", 0, 0)


@pytest.mark.parametrize("message", [{"kind": "act", "action": "keep"}, {"kind": "keep_rest"}])
def test_nothing_is_decided_on_a_page_that_the_reviewer_has_not_seen(
    scan: Scan, page: Page, message: dict[str, Any]
) -> None:
    serial = page.say({"kind": "ready", "id": 1})["serial"]
    page.say({"kind": "turn", "id": 2, "page": 1})
    reply = page.say({**message, "id": 3, "serial": serial})
    assert reply["message"].startswith("Not saved: another page was opened")
    assert not scan.manifest_path.exists()


def test_an_action_on_the_selection_does_not_override_an_unseen_decision(scan: Scan, page: Page) -> None:
    serial = page.say({"kind": "ready", "id": 1})["serial"]
    page.say({"kind": "select", "id": 2, "what": "page"})
    by_ben(scan, "train/cat/cat_04.png", Action.DELETE)
    reply = page.say({"kind": "act", "id": 3, "serial": serial, "action": "keep"})
    assert "ben decided 'delete'" in reply["message"]
    assert [card["reviewer"] for card in reply["changed"]] == ["ben"]
    assert page.say({"kind": "act", "id": 4, "serial": serial, "action": "keep"})["counts"]["decided"] == 5


def test_news_carry_the_decisions_of_others_and_where_two_disagree(scan: Scan, page: Page) -> None:
    path = "train/cat/cat_01.png"
    page.say({"kind": "ready", "id": 1})
    page.say({"kind": "decide", "id": 2, "path": path, "action": "keep"})
    assert page.say({"kind": "news", "id": 3})["changed"] == []
    by_ben(scan, path, Action.RELABEL, "fox")
    reply = page.say({"kind": "news", "id": 4})
    (card,) = reply["changed"]
    assert (reply["kind"], card["action"], card["reviewer"]) == ("here", "relabel", "ben")
    assert card["others"] == [{"reviewer": "anna", "action": "keep", "new_label": ""}]
    assert page.say({"kind": "news", "id": 5})["changed"] == []


def test_filters_and_the_page_size_can_be_changed(page: Page) -> None:
    page.say({"kind": "decide", "id": 1, "path": "train/cat/cat_01.png", "action": "keep"})
    reply = page.say(
        {"kind": "filter", "id": 2, "show": "undecided", "order": "name", "text": "cat", "predicted": "dog"}
    )
    assert (reply["kind"], reply["shown"], reply["page"], reply["predictions"]) == ("page", 7, 0, ["dog"])
    reply = page.say({"kind": "filter", "id": 3, "page_size": 3})
    assert (reply["pages"], len(reply["cards"]), reply["show"], reply["order"]) == (3, 3, "undecided", "name")


def test_the_reviewer_can_be_changed(scan: Scan, page: Page) -> None:
    assert page.say({"kind": "ready", "id": 1})["reviewer"] == "anna"
    reply = page.say({"kind": "reviewer", "id": 2, "name": "ben"})
    assert (reply["kind"], reply["reviewer"]) == ("here", "ben")
    page.say({"kind": "decide", "id": 3, "path": "train/cat/cat_01.png", "action": "keep"})
    assert [row.reviewer for row in Manifest(scan.manifest_path).rows()] == ["ben"]


def test_unreadable_files_are_a_class_on_the_page(scan: Scan) -> None:
    unreadable = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    page = Page(replace(scan, unreadable=unreadable))
    page.review.session.filter(label=UNREADABLE)
    reply = page.say({"kind": "ready", "id": 1})
    (card,) = reply["cards"]
    assert (reply["list"], reply["label"]) == ("unreadable", "")
    assert (card["predicted"], card["loss"], card["confidence"]) == ("", "", None)
    assert "not there any more" in card["error"]
    reply = page.say({"kind": "act", "id": 2, "serial": reply["serial"], "action": "delete"})
    assert reply["changed"][0]["action"] == "delete"


def test_audited_cards_are_sent_without_prediction_and_loss(scan: Scan) -> None:
    audited = replace(scan.kept("train", "cat")[0], path="train/cat/rest.png", alternatives_json='[["dog", 0.9]]')
    make_image(scan.root / audited.path)
    page = Page(replace(scan, audit=(audited,)))
    page.review._open_class(AUDIT, "")
    reply = page.say({"kind": "ready", "id": 1})
    (card,) = reply["cards"]
    assert (reply["list"], reply["label"], card["label"]) == ("audit", "", "cat")
    hidden = {name: card[name] for name in ("predicted", "confidence", "alternatives", "loss")}
    assert hidden == {"predicted": "", "confidence": None, "alternatives": (), "loss": ""}
    assert page.review._label.value == AUDIT
    reply = page.say({"kind": "act", "id": 2, "serial": reply["serial"], "action": "predicted"})
    assert (reply["kind"], reply["message"].startswith("Not saved")) == ("error", True)
    assert "without the model's prediction" in reply["message"]


def test_typical_images_of_the_given_and_the_predicted_label_are_sent(scan: Scan) -> None:
    typical = [Typical("train", label, 1, f"train/{label}/{label}_08.png", 0.1) for label in ("cat", "dog", "fox")]
    page = Page(replace(scan, typical=(*typical, Typical("train", "dog", 2, "train/dog/gone.png", 0.2))))
    page.say({"kind": "ready", "id": 1})
    reply = page.say({"kind": "typical", "id": 2, "path": "train/cat/cat_01.png"})
    assert (reply["kind"], reply["path"]) == ("typical", "train/cat/cat_01.png")
    assert reply["images"] == [{"label": "cat", "buffer": 0}, {"label": "dog", "buffer": 1}]
    assert all(data.startswith(b"\xff\xd8") for data in page.last[1])
    assert page.say({"kind": "typical", "id": 3, "path": "../secret.png"})["kind"] == "error"


def test_the_large_view_is_up_to_1600_pixels(scan: Scan, page: Page) -> None:
    make_image(scan.root / "train/cat/cat_01.png", size=(2400, 1200))
    page.say({"kind": "ready", "id": 1})
    reply = page.say({"kind": "large", "id": 2, "path": "train/cat/cat_01.png"})
    assert (reply["kind"], reply["error"]) == ("large", "")
    assert Image.open(io.BytesIO(page.last[1][0])).size == (1600, 800)
    # Not the next image, which may be prefetched already.
    (scan.root / "train/cat/cat_03.png").write_bytes(b"no image")
    reply = page.say({"kind": "large", "id": 3, "path": "train/cat/cat_03.png"})
    assert ("cannot identify" in reply["error"], page.last[1]) == (True, [])


WRONG: list[dict[str, Any]] = [
    {"kind": "move"},
    {"kind": "move", "by": "1"},
    {"kind": "move", "by": True},
    {"kind": "move", "by": 10**9},
    {"kind": "point"},
    {"kind": "point", "path": 5},
    {"kind": "point", "path": "train/dog/dog_01.png"},
    {"kind": "select"},
    {"kind": "select", "what": []},
    {"kind": "act", "serial": 1},
    {"kind": "act", "serial": 1, "action": "undo"},
    {"kind": "act", "serial": 1, "action": ["keep"]},
    {"kind": "act", "serial": 1, "action": "relabel", "new_label": "cat"},
    {"kind": "act", "serial": 1, "action": "relabel", "new_label": None},
    {"kind": "act", "action": "keep"},
    {"kind": "act", "serial": True, "action": "keep"},
    {"kind": "keep_rest"},
    {"kind": "undo"},
    {"kind": "redo"},
    {"kind": "filter", "show": "x"},
    {"kind": "filter", "show": ["all"]},
    {"kind": "filter", "text": 5},
    {"kind": "filter", "order": {}},
    {"kind": "filter", "predicted": "wolf"},
    {"kind": "filter", "page_size": "30"},
    {"kind": "large"},
    {"kind": "large", "path": "../../etc/passwd"},
    {"kind": "large", "path": 5},
    {"kind": "reviewer"},
    {"kind": "reviewer", "name": "=1"},
    {"kind": "reviewer", "name": ["anna"]},
]


@pytest.mark.parametrize("message", WRONG, ids=lambda m: repr(m)[:60])
def test_an_invalid_message_gets_an_error_and_moves_nothing(scan: Scan, page: Page, message: dict[str, Any]) -> None:
    page.say({"kind": "ready", "id": 1})
    view = page.review.session.view
    reply = page.say(message | {"id": 2})
    assert (reply["kind"], reply["id"], bool(reply["message"])) == ("error", 2, True)
    assert not scan.manifest_path.exists()
    assert (page.review.session.view, reply["at"]) == (view, "train/cat/cat_01.png")


@pytest.mark.parametrize("field", ["text", "predicted"])
def test_a_text_that_cannot_be_sent_back_is_refused_and_the_page_still_works(field: str, page: Page) -> None:
    page.say({"kind": "ready", "id": 1})
    reply = page.say({"kind": "filter", "id": 2, field: "\ud800"})
    assert (reply["kind"], reply["id"]) == ("error", 2)
    assert "expected text in UTF-8" in reply["message"]
    json_packer(reply)
    json_packer(page.say({"kind": "ready", "id": 3}))
