"""The messages of the page and their replies, without a browser."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jupyter_client.session import json_packer
from PIL import Image

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Typical, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.app import Review
from cleaner.review.view import ALL, AUDIT, UNREADABLE
from tests.support.images import make_image
from tests.support.odd_images import HARMFUL, write_harmful_image
from tests.support.review_page import FOREVER, Page, by_ben, names
from tests.support.scans import make_scan, with_features

ONE, TWO, THREE, FOUR = (f"train/cat/cat_0{number}.png" for number in (1, 2, 3, 4))


@pytest.fixture
def page(scan: Scan) -> Page:
    """A page with the first five of eight cats."""
    page = Page(scan)
    page.ask("open", label="cat")
    return page


def test_ready_is_answered_by_the_page_with_its_thumbnails(page: Page) -> None:
    reply = page.say({"kind": "ready", "id": 7, "page_size": 30, "columns": 6, "rows": 4, "pixels": 160})
    assert (reply["kind"], reply["id"], reply["split"], reply["label"]) == ("page", 7, "train", "cat")
    assert (reply["page"], reply["pages"], reply["page_size"], reply["shown"]) == (0, 2, 5, 8)
    assert (reply["list"], reply["splits"]) == ("class", ("train", "valid"))
    first = reply["cards"][0]
    assert first == {
        "path": "train/cat/cat_01.png",
        "name": "cat_01.png",
        "label": "cat",
        "predicted": "dog",
        "confidence": 0.9,
        "alternatives": (),
        "loss": "4.900",
        "action": "",
        "new_label": "",
        "reviewer": "",
        "decided_at": "",
        "others": [],
        "error": "",
        "size": "48 × 32 px",
        "buffer": 0,
        "note": "",
    }
    assert [card["buffer"] for card in reply["cards"]] == [0, 1, 2, 3, 4]
    assert all(data.startswith(b"\xff\xd8") for data in page.last[1])


def test_the_first_page_shows_all_classes_worst_first(scan: Scan) -> None:
    reply = Page(scan).ask("ready")
    assert (reply["list"], reply["label"], reply["split"], reply["shown"]) == ("all", ALL, "train", 24)
    assert [card["name"][:-4] for card in reply["cards"]] == ["cat_01", "dog_01", "fox_01", "cat_02", "dog_02"]


def test_a_broken_image_has_a_reason_and_no_buffer(scan: Scan) -> None:
    (scan.root / "train/cat/cat_02.png").write_bytes(b"no image")
    page = Page(scan)
    reply = page.ask("open", label="cat")
    assert "buffer" not in reply["cards"][1]
    assert "UnidentifiedImageError" in reply["cards"][1]["error"]
    assert [card.get("buffer") for card in reply["cards"]] == [0, None, 1, 2, 3]
    assert len(page.last[1]) == 4


@pytest.mark.timeout(60)
def test_pipes_devices_and_bombs_have_an_error_on_their_card_and_can_be_decided(scan: Scan) -> None:
    folder = scan.root / "train/cat"
    reasons = dict(zip(("pipe.png", "zero.png", "socket.png", "bomb.png", "sparse.tif"), range(1, 6), strict=True))
    for name, number in reasons.items():
        (folder / f"cat_0{number}.png").unlink()
        write_harmful_image(name, folder).rename(folder / f"cat_0{number}.png")
    page = Page(scan)
    reply = page.ask("open", label="cat")
    said = [HARMFUL[name] in card["error"] for name, card in zip(reasons, reply["cards"], strict=True)]
    assert (said, page.last[1]) == ([True, True, True, True, True], [])
    assert page.ask("large", path=ONE)["error"]
    page.ask("decide", paths=[card["path"] for card in reply["cards"]], action="delete")
    rows = Manifest(scan.manifest_path).rows()
    assert [(row.action, bool(row.sha256)) for row in rows] == [(Action.DELETE, n == 3) for n in range(5)]


def test_turn_is_answered_by_the_other_page(page: Page) -> None:
    reply = page.ask("turn", page=1)
    assert [card["name"] for card in reply["cards"]] == ["cat_06.png", "cat_07.png", "cat_08.png"]


def test_open_is_answered_by_the_first_page_of_the_list(page: Page) -> None:
    page.ask("turn", page=1)
    reply = page.ask("open", label="fox", split="valid", predicted="cat")
    assert (reply["kind"], reply["split"], reply["label"], reply["predicted"]) == ("page", "valid", "fox", "cat")
    assert (reply["page"], names(card["path"] for card in reply["cards"])) == (0, [1, 2, 3, 4, 5])
    reply = page.ask("open", label="dog")
    assert (reply["split"], reply["label"], reply["predicted"]) == ("valid", "dog", "")


def test_a_decision_is_on_the_disk_before_its_reply(scan: Scan, page: Page) -> None:
    on_disk: list[int] = []
    page.review.send = lambda *_: on_disk.append(len(Manifest(scan.manifest_path).rows()))
    for number, action in enumerate(("keep", "delete", "unsure"), start=1):
        message = {"kind": "decide", "id": number, "version": 1, "until": FOREVER, "paths": [ONE], "action": action}
        page.review._handle_custom_msg(message, [])
    assert on_disk == [1, 2, 3]


def test_the_reply_to_a_decision_has_the_card_with_that_decision(page: Page) -> None:
    reply = page.ask("decide", paths=[THREE], action="relabel", new_label="fox")
    (card,) = reply["changed"]
    assert (reply["kind"], reply["id"], reply["at"], card["path"]) == ("done", 1, "", THREE)
    assert (card["action"], card["new_label"], card["reviewer"]) == ("relabel", "fox", "anna")
    assert reply["counts"] == {"decided": 1, "changed": 1, "kept": 8, "scan_decided": 1, "scan_kept": 48}


def test_a_decision_about_several_images_is_undone_as_a_whole(page: Page) -> None:
    reply = page.ask("decide", paths=[ONE, TWO], action="predicted")
    assert [(card["path"], card["new_label"]) for card in reply["changed"]] == [(ONE, "dog"), (TWO, "dog")]
    assert (reply["kind"], reply["can_undo"], reply["can_redo"]) == ("done", True, False)
    reply = page.ask("undo")
    assert [card["action"] for card in reply["changed"]] == ["", ""]
    assert (reply["kind"], reply["at"], reply["can_undo"], reply["can_redo"]) == ("done", ONE, False, True)
    page.ask("turn", page=1)
    reply = page.ask("redo")
    assert (reply["kind"], reply["page"], reply["at"]) == ("page", 0, ONE)
    assert [card["action"] for card in reply["cards"]] == ["relabel", "relabel", "", "", ""]


def test_the_reply_to_undo_says_what_it_left_unchanged(scan: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE, TWO], action="keep")
    by_ben(scan, TWO, Action.DELETE)
    reply = page.ask("undo")
    assert (reply["note"], reply["at"]) == (f"Left unchanged, as others decided since: {TWO}", ONE)
    assert {card["path"]: card["action"] for card in reply["changed"]} == {ONE: "", TWO: "delete"}


HEADERS: list[Any] = [
    None,
    "ready",
    [],
    {},
    {"kind": 5, "id": 1},
    {"kind": "news"},
    {"kind": "news", "id": "1"},
    {"kind": "news", "id": True},
    {"kind": "explode", "id": 1},
    {"kind": "_answer", "id": 1},
]


@pytest.mark.parametrize("message", HEADERS, ids=lambda m: repr(m)[:60])
def test_what_is_no_message_gets_an_error(page: Page, message: Any) -> None:
    reply = page.say(message)
    assert (reply["kind"], bool(reply["message"])) == ("error", True)


DECISION = {"kind": "decide", "version": 1, "until": FOREVER, "paths": [ONE], "action": "keep"}
WRONG: list[dict[str, Any]] = [
    {"kind": "ready"},
    {"kind": "ready", "page_size": "30", "columns": 6, "rows": 4, "pixels": 160},
    {"kind": "ready", "page_size": 30, "columns": 6, "rows": 4, "pixels": 160.5},
    {"kind": "fit", "page_size": 30, "columns": 6, "rows": 4, "pixels": 160},
    {"kind": "fit", "page_size": 30, "columns": 6, "rows": 4, "pixels": 160, "at": 5},
    {"kind": "open"},
    {"kind": "open", "label": 5},
    {"kind": "open", "label": "wolf"},
    {"kind": "open", "label": "x" * 10**6},
    {"kind": "open", "label": "cat", "split": "test"},
    {"kind": "open", "label": "wolf", "split": "valid"},
    {"kind": "open", "label": "cat", "split": None},
    {"kind": "open", "label": "cat", "predicted": ["dog"]},
    {"kind": "open", "label": "cat", "predicted": "wolf"},
    {"kind": "turn"},
    {"kind": "turn", "page": 99},
    {"kind": "turn", "page": -1},
    {"kind": "turn", "page": 0.5},
    {"kind": "turn", "page": None},
    {"kind": "filter", "show": "x"},
    {"kind": "filter", "show": ["all"]},
    {"kind": "filter", "text": 5},
    {"kind": "filter", "order": {}},
    {"kind": "filter", "predicted": "wolf"},
    {"kind": "filter", "page_size": 30},
    {"kind": "decide"},
    *({name: value for name, value in DECISION.items() if name != left_out} for left_out in list(DECISION)[1:]),
    DECISION | {"action": "explode"},
    DECISION | {"action": ["keep"]},
    DECISION | {"action": "undo"},
    DECISION | {"action": "relabel"},
    DECISION | {"action": "relabel", "new_label": "wolf"},
    DECISION | {"action": "relabel", "new_label": "cat"},
    DECISION | {"action": "relabel", "new_label": 5},
    DECISION | {"new_label": "dog"},
    DECISION | {"paths": []},
    DECISION | {"paths": ONE},
    DECISION | {"paths": [ONE, 5]},
    DECISION | {"paths": ["../../etc/passwd"]},
    DECISION | {"paths": ["x" * 1_000_000]},
    DECISION | {"version": True},
    DECISION | {"version": "1"},
    DECISION | {"until": None},
    {"kind": "undo"},
    {"kind": "undo", "until": FOREVER},
    {"kind": "redo", "until": FOREVER},
    {"kind": "place"},
    {"kind": "place", "at": None},
    {"kind": "large"},
    {"kind": "large", "path": "../../etc/passwd"},
    {"kind": "large", "path": 5},
    {"kind": "typical", "path": "../secret.png"},
    {"kind": "reviewer"},
    {"kind": "reviewer", "name": "=1"},
    {"kind": "reviewer", "name": ["anna"]},
]


@pytest.mark.parametrize("message", WRONG, ids=lambda m: repr(m)[:80])
def test_an_invalid_message_gets_an_error_and_changes_nothing(scan: Scan, page: Page, message: dict[str, Any]) -> None:
    view = page.review.session.view
    reply = page.say(message | {"id": 2})
    assert (reply["kind"], reply["id"]) == ("error", 2)
    assert 0 < len(reply["message"]) <= 1000
    assert reply["message"].startswith("Not saved: ") == (message["kind"] in ("decide", "undo", "redo"))
    assert not scan.manifest_path.exists()
    assert (page.review.session.view, reply["reviewer"], reply["changed"]) == (view, "anna", [])


def test_a_full_disk_is_reported_on_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.core.manifest.os.fsync", full)
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert reply["message"].startswith("Not saved: No space left on device")
    assert (reply["changed"], reply["counts"]["decided"]) == ([], 0)


def test_an_unexpected_exception_is_shown_and_raised(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(page.review.session, "turn_to", fails)
    before = len(page.replies)
    with pytest.raises(ZeroDivisionError):
        page.review._receive(None, {"kind": "turn", "id": 1, "page": 1}, [])
    assert [reply["message"] for reply, _ in page.replies[before:]] == ["ZeroDivisionError: a fault"]


def test_each_reply_carries_the_decisions_of_others_on_the_page(scan: Scan, page: Page) -> None:
    assert page.ask("ready")["changed"] == []
    for path in (TWO, "train/cat/cat_07.png", "valid/fox/fox_v01.png"):
        by_ben(scan, path, Action.DELETE)
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert {card["path"]: (card["action"], card["reviewer"]) for card in reply["changed"]} == {
        ONE: ("keep", "anna"),
        TWO: ("delete", "ben"),
    }
    assert reply["counts"] == {"decided": 3, "changed": 2, "kept": 8, "scan_decided": 4, "scan_kept": 48}
    by_ben(scan, TWO, Action.UNDO)
    reply = page.ask("decide", paths=[THREE], action="relabel", new_label="wolf")
    assert reply["kind"] == "error"
    assert [(card["path"], card["action"]) for card in reply["changed"]] == [(TWO, "")]
    assert [card["path"] for card in page.ask("decide", paths=[THREE], action="keep")["changed"]] == [THREE]


@pytest.mark.parametrize("kind", ["ready", "turn"])
def test_a_page_shows_the_decisions_of_others(kind: str, scan: Scan, page: Page) -> None:
    by_ben(scan, TWO, Action.DELETE)
    reply = page.ask(kind, **({"page": 0} if kind == "turn" else {}))
    assert [card["reviewer"] for card in reply["cards"]] == ["", "ben", "", "", ""]
    assert (reply["changed"], reply["counts"]["scan_decided"]) == ([], 1)


def test_problems_with_the_manifest_are_warnings_on_the_page(scan: Scan, page: Page) -> None:
    assert page.ask("ready")["warnings"] == []
    by_ben(scan, TWO, Action.DELETE)
    with open(scan.manifest_path, "a") as file:
        file.write("train/cat/cat_0")
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert reply["kind"] == "done"
    assert "torn" in reply["warnings"][0]
    assert page.ask("turn", page=9)["warnings"] == reply["warnings"]


def test_a_file_in_two_splits_is_decided_in_the_one_that_is_open(scan: Scan) -> None:
    twice = replace(next(sample for sample in scan.samples if sample.path == ONE), split="valid", loss=9.5)
    page = Page(replace(scan, samples=(*scan.samples, twice)))
    for split in ("train", "valid"):
        page.ask("open", label="cat", split=split)
        page.ask("decide", paths=[ONE], action="keep")
        assert Manifest(scan.manifest_path).rows()[-1].split == split


def test_no_other_list_is_opened_if_the_manifest_is_invalid(scan: Scan, page: Page) -> None:
    scan.manifest_path.write_text("path,action\ntrain/cat/cat_01.png,nonsense\n")
    reply = page.ask("open", label="fox")
    assert (reply["kind"], "nonsense" in reply["message"]) == ("error", True)
    assert page.review.session.view.label == "cat"


def test_the_dataset_may_have_moved(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan.root.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for missing in (None, "nowhere", scan.folder / "scan.json"):
        with pytest.raises(CleanerError, match=r"no folder .* root=DIR"):
            Review(scan.folder, root=missing)
    review = Review(scan.folder, root="moved")
    assert review.session.scan.root == tmp_path / "moved"
    assert not any(thumbnail.error for thumbnail in review._thumbnails.get([ONE]).values())
    assert review.session.decide(ONE, Action.KEEP).decision.sha256


def test_news_carry_the_decisions_of_others_and_where_two_disagree(scan: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE], action="keep")
    assert page.ask("news")["changed"] == []
    by_ben(scan, ONE, Action.RELABEL, "fox")
    reply = page.ask("news")
    (card,) = reply["changed"]
    assert (reply["kind"], card["action"], card["reviewer"]) == ("done", "relabel", "ben")
    assert card["others"] == [{"reviewer": "anna", "action": "keep", "new_label": ""}]
    assert page.ask("news")["changed"] == []


def test_filters_and_the_order_can_be_changed(page: Page) -> None:
    page.ask("decide", paths=[ONE], action="keep")
    reply = page.ask("filter", show="undecided", order="name", text="cat", predicted="dog")
    assert (reply["kind"], reply["shown"], reply["page"], reply["predictions"]) == ("page", 7, 0, ["dog"])
    reply = page.ask("filter", text="08")
    assert (reply["shown"], reply["show"], reply["order"], reply["text"]) == (1, "undecided", "name", "08")


def test_the_reviewer_can_be_changed(scan: Scan, page: Page) -> None:
    assert page.ask("ready")["reviewer"] == "anna"
    reply = page.ask("reviewer", name="ben")
    assert (reply["kind"], reply["reviewer"]) == ("done", "ben")
    page.ask("decide", paths=[ONE], action="keep")
    assert [row.reviewer for row in Manifest(scan.manifest_path).rows()] == ["ben"]


@pytest.mark.parametrize(("kind", "stands"), [("restore", 2), ("accept", 1)])
def test_decisions_that_somebody_removed_are_restored_or_given_up(
    kind: str, stands: int, scan: Scan, page: Page
) -> None:
    for path in (ONE, TWO):
        page.ask("decide", paths=[path], action="keep")
    scan.manifest_path.write_bytes(b"".join(scan.manifest_path.read_bytes().splitlines(keepends=True)[:-1]))
    assert page.ask("news")["edited"]
    reply = page.ask(kind)
    assert (reply["kind"], reply["edited"], reply["counts"]["decided"]) == ("done", "", stands)


def test_unreadable_files_are_a_list_on_the_page(scan: Scan) -> None:
    page = Page(replace(scan, unreadable=(Unreadable("train", "cat", "train/cat/bad.png", "broken"),)))
    reply = page.ask("open", label=UNREADABLE)
    (card,) = reply["cards"]
    assert (reply["list"], reply["label"]) == ("unreadable", UNREADABLE)
    assert (card["predicted"], card["loss"], card["confidence"]) == ("", "", None)
    assert "not there any more" in card["error"]
    reply = page.ask("decide", paths=["train/cat/bad.png"], action="delete")
    assert reply["changed"][0]["action"] == "delete"


def test_audited_cards_are_sent_without_prediction_and_loss(scan: Scan) -> None:
    audited = replace(scan.kept("train", "cat")[0], path="train/cat/rest.png", alternatives_json='[["dog", 0.9]]')
    make_image(scan.root / audited.path)
    page = Page(replace(scan, audit=(audited,)))
    reply = page.ask("open", label=AUDIT)
    (card,) = reply["cards"]
    assert (reply["list"], reply["label"], card["label"]) == ("audit", AUDIT, "cat")
    hidden = {name: card[name] for name in ("predicted", "confidence", "alternatives", "loss")}
    assert hidden == {"predicted": "", "confidence": None, "alternatives": (), "loss": ""}
    reply = page.ask("decide", paths=[audited.path], action="predicted")
    assert (reply["kind"], reply["message"].startswith("Not saved")) == ("error", True)
    assert "without the model's prediction" in reply["message"]


def test_typical_images_of_the_given_and_the_predicted_label_are_sent(scan: Scan) -> None:
    typical = [Typical("train", label, 1, f"train/{label}/{label}_08.png", 0.1) for label in ("cat", "dog", "fox")]
    page = Page(replace(scan, typical=(*typical, Typical("train", "dog", 2, "train/dog/gone.png", 0.2))))
    reply = page.ask("typical", path=ONE)
    assert (reply["kind"], reply["path"]) == ("typical", ONE)
    assert reply["images"] == [
        {"path": f"train/{label}/{label}_08.png", "title": f"typical {label}", "caption": "", "buffer": number}
        for number, label in enumerate(("cat", "dog"))
    ]
    assert all(data.startswith(b"\xff\xd8") for data in page.last[1])


def test_the_nearest_images_are_sent_where_the_scan_kept_features(scan: Scan) -> None:
    paths = [ONE, "train/fox/new.png", "train/dog/gone.png", TWO, THREE]
    make_image(scan.root / paths[1])
    rows = np.array([[1, 0, 0], [1, 0.2, 0], [1, 0.1, 0], [1, 0.4, 0.1], [-1, 0, 1]], np.float32)
    page = Page(with_features(scan, paths, rows))
    images = page.ask("typical", path=ONE)["images"]
    near = [(image["path"], image["caption"]) for image in images if image["title"] == "nearest images"]
    # The label of a kept image, the folder of another; a file that is gone is left out.
    assert near == [
        ("train/fox/new.png", "fox"),
        (TWO, scan.by_path()[TWO].label),
        (THREE, scan.by_path()[THREE].label),
    ]


def test_the_large_view_is_up_to_1600_pixels(scan: Scan, page: Page) -> None:
    make_image(scan.root / ONE, size=(2400, 1200))
    reply = page.ask("large", path=ONE)
    assert (reply["kind"], reply["error"]) == ("large", "")
    assert Image.open(io.BytesIO(page.last[1][0])).size == (1600, 800)
    # Not the next image, which may be prefetched already.
    (scan.root / THREE).write_bytes(b"no image")
    reply = page.ask("large", path=THREE)
    assert ("cannot identify" in reply["error"], page.last[1]) == (True, [])


@pytest.mark.parametrize("field", ["text", "predicted"])
def test_a_text_that_cannot_be_sent_back_is_refused_and_the_page_still_works(field: str, page: Page) -> None:
    reply = page.ask("filter", **{field: "\ud800"})
    assert reply["kind"] == "error"
    assert "expected text in UTF-8" in reply["message"]
    json_packer(reply)
    json_packer(page.ask("ready"))


# What fits the screen.


def test_as_many_cards_are_shown_as_fit(scan: Scan) -> None:
    page = Page(scan, page_size=None)
    assert page.review.page_size == 0
    for fit, size, pages in ((7, 7, 4), (0, 1, 24), (-5, 1, 24), (10**9, 200, 1)):
        reply = page.ask("ready", page_size=fit)
        assert (reply["page_size"], reply["pages"], len(reply["cards"])) == (size, pages, min(size, 24))


def test_the_page_with_the_cursor_stays_open_when_other_numbers_of_cards_fit(scan: Scan) -> None:
    page = Page(scan, page_size=None)
    page.ask("ready", page_size=4)
    at = page.ask("turn", page=3)["cards"][2]["path"]
    for page_size, number in ((5, 2), (20, 0), (1, 14), (6, 2)):
        reply = page.ask("fit", page_size=page_size, pixels=160, at=at)
        assert (reply["kind"], reply["page"], reply["at"]) == ("page", number, at)
        assert at in [card["path"] for card in reply["cards"]]


def test_without_a_cursor_the_first_card_of_the_page_stays_on_it(scan: Scan) -> None:
    page = Page(scan, page_size=None)
    page.ask("ready", page_size=4)
    first = page.ask("turn", page=3)["cards"][0]["path"]
    reply = page.ask("fit", page_size=5, pixels=160, at="train/cat/of another page.png")
    assert (reply["page"], reply["at"]) == (2, "")
    assert first in [card["path"] for card in reply["cards"]]


def test_a_number_of_cards_that_was_given_is_kept(page: Page) -> None:
    assert page.review.page_size == 5
    page.ask("turn", page=1)
    assert (page.ask("ready", page_size=30)["page_size"], page.last[0]["page"]) == (5, 1)
    reply = page.ask("fit", page_size=2, pixels=160, at="train/cat/cat_07.png")
    assert (reply["page_size"], reply["page"]) == (5, 1)


def test_thumbnails_have_the_smallest_size_that_fills_their_cards(scan: Scan) -> None:
    make_image(scan.root / ONE, size=(1000, 500))
    page = Page(scan)
    sizes = {1: 192, 192: 192, 193: 256, 300: 384, 512: 512, 600: 768, 10**30: 768, -1: 192}
    for pixels, size in sizes.items():
        page.ask("fit", page_size=5, pixels=pixels, at="")
        assert Image.open(io.BytesIO(page.last[1][0])).size == (size, size // 2), pixels


# The place.


def test_a_reload_opens_where_the_cursor_was(scan: Scan) -> None:
    page = Page(scan, page_size=None)
    page.ask("ready", page_size=4)
    page.ask("open", label="dog", split="valid")
    at = page.ask("turn", page=1)["cards"][2]["path"]
    assert page.ask("place", at=at)["kind"] == "done"
    again = Page(scan, page_size=None)
    reply = again.ask("ready", page_size=3)
    assert (reply["split"], reply["label"], reply["page"], reply["at"]) == ("valid", "dog", 2, at)


def test_a_cursor_on_a_page_that_was_turned_meanwhile_is_not_noted(page: Page) -> None:
    view = page.review.session.view
    reply = page.ask("place", at="train/cat/cat_08.png")
    assert (reply["kind"], page.review.session.view) == ("done", view)


def test_messages_are_small_enough_for_hosts_that_pass_them_on(tmp_path: Path) -> None:
    """Colab and VS Code pass each message through their own channel; the worst pictures are noise."""
    scan = make_scan(tmp_path / "data", tmp_path / "scan", per_class=17)
    random = np.random.default_rng(0)
    for sample in scan.samples:
        Image.fromarray(random.integers(0, 256, (300, 300, 3), np.uint8)).save(scan.root / sample.path)
    large = scan.samples[0].path
    Image.fromarray(random.integers(0, 256, (1200, 1600, 3), np.uint8)).save(scan.root / large)
    page = Page(scan, page_size=50)
    page.ask("fit", page_size=50, columns=10, rows=5, pixels=256, at="")
    reply, buffers = page.last
    assert len(reply["cards"]) == 50
    assert sum(map(len, buffers)) + len(json_packer(reply)) < 4 * 2**20
    page.ask("large", path=large)
    assert sum(map(len, page.last[1])) < 4 * 2**20
