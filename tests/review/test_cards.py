"""Decisions about what the reviewer looked at: the versions of a page, and messages that arrive too late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from cleaner.review.cards import SentCards
from cleaner.review.session import Session
from tests.support.review_page import Page, by_ben

ONE, TWO, THREE, FOUR = (f"train/cat/cat_0{number}.png" for number in (1, 2, 3, 4))


@pytest.fixture
def page(scan: Scan) -> Page:
    """A page with the first five of eight cats."""
    page = Page(scan)
    page.ask("open", label="cat")
    return page


def rows_of(scan: Scan) -> list[tuple[str, str, str]]:
    return [(row.path, row.action.value, row.reviewer) for row in Manifest(scan.manifest_path).rows()]


def test_a_decision_about_an_earlier_page_is_refused(scan: Scan, page: Page) -> None:
    version = page.version
    page.ask("turn", page=1)
    page.ask("turn", page=0)
    reply = page.ask("decide", version=version, paths=[ONE], action="keep")
    assert reply["message"].startswith("Not saved: another page was opened before this decision arrived")
    assert rows_of(scan) == []
    assert page.ask("decide", paths=[ONE], action="keep")["kind"] == "done"


@pytest.mark.parametrize("beyond", [1, 1000])
def test_a_version_that_was_never_sent_is_refused(beyond: int, scan: Scan, page: Page) -> None:
    reply = page.ask("decide", version=page.version + beyond, paths=[ONE], action="keep")
    assert (reply["kind"], rows_of(scan)) == ("error", [])


@pytest.mark.parametrize("path", ["train/cat/cat_08.png", "train/dog/dog_01.png", "nowhere.png"])
def test_a_decision_about_an_image_that_the_page_does_not_show_is_refused(path: str, scan: Scan, page: Page) -> None:
    reply = page.ask("decide", paths=[ONE, path], action="keep")
    assert reply["message"] == f"Not saved: the open page has no image {path!r}"
    assert rows_of(scan) == []


@pytest.mark.parametrize(
    ("action", "new_label", "said"),
    [
        (Action.DELETE, "", f"ben decided 'delete' for {ONE!r} meanwhile"),
        (Action.RELABEL, "fox", "ben decided 'relabel fox' for"),
    ],
)
def test_nobody_overrides_a_decision_they_have_not_seen(
    scan: Scan, page: Page, action: Action, new_label: str, said: str
) -> None:
    by_ben(scan, ONE, action, new_label)
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert (reply["kind"], reply["message"].startswith(f"Not saved: {said}")) == ("error", True)
    (card,) = reply["changed"]
    assert (card["action"], card["reviewer"]) == (action.value, "ben")
    assert len(rows_of(scan)) == 1
    assert page.ask("decide", paths=[ONE], action="keep")["kind"] == "done"
    by_ben(scan, ONE, Action.UNDO)
    assert "took back" in page.ask("decide", paths=[ONE], action="delete")["message"]


def test_a_decision_sent_before_the_reply_with_a_change_arrived_is_refused(scan: Scan, page: Page) -> None:
    version = page.version
    by_ben(scan, ONE, Action.DELETE)
    assert page.ask("news")["version"] == version + 1
    reply = page.ask("decide", version=version, paths=[TWO, ONE], action="keep")
    assert "ben decided 'delete'" in reply["message"]
    assert rows_of(scan) == [(ONE, "delete", "ben")]
    assert page.ask("decide", version=version + 1, paths=[TWO, ONE], action="keep")["kind"] == "done"


def test_a_change_that_came_with_the_reply_to_an_own_decision_is_not_overridden_unseen(scan: Scan, page: Page) -> None:
    version = page.version
    by_ben(scan, TWO, Action.DELETE)
    assert page.ask("decide", version=version, paths=[ONE], action="keep")["version"] == version + 1
    assert page.ask("decide", version=version, paths=[TWO], action="keep")["kind"] == "error"
    assert page.ask("decide", version=version, paths=[THREE], action="keep")["kind"] == "done"
    assert rows_of(scan) == [(TWO, "delete", "ben"), (ONE, "keep", "anna"), (THREE, "keep", "anna")]


def test_changes_of_other_images_block_no_decision(scan: Scan, page: Page) -> None:
    version = page.version
    by_ben(scan, TWO, Action.DELETE)
    page.ask("news")
    by_ben(scan, THREE, Action.DELETE)
    for path in (ONE, FOUR):
        assert page.ask("decide", version=version, paths=[path], action="keep")["kind"] == "done"


def test_own_decisions_do_not_block_the_next_ones(scan: Scan, page: Page) -> None:
    version = page.version
    for paths, action in (([ONE], "keep"), ([ONE, TWO], "delete"), ([TWO], "unsure"), ([TWO], "undo")):
        reply = page.ask("decide", version=version, paths=paths, action=action)
        assert (reply["kind"], reply["version"]) == ("done", version)
    assert [action for _, action, _ in rows_of(scan)] == ["keep", "delete", "delete", "unsure", "undo"]


def test_a_decision_about_several_images_is_taken_for_all_or_none(scan: Scan, page: Page) -> None:
    by_ben(scan, FOUR, Action.DELETE)
    paths = [ONE, TWO, THREE, FOUR]
    reply = page.ask("decide", paths=paths, action="keep")
    assert "ben decided 'delete'" in reply["message"]
    assert [(card["path"], card["reviewer"]) for card in reply["changed"]] == [(FOUR, "ben")]
    assert rows_of(scan) == [(FOUR, "delete", "ben")]
    assert page.ask("decide", paths=paths, action="keep")["counts"]["decided"] == 4
    assert len(rows_of(scan)) == 5


def test_an_image_that_is_named_twice_is_decided_once(scan: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE, TWO, ONE], action="keep")
    assert rows_of(scan) == [(ONE, "keep", "anna"), (TWO, "keep", "anna")]


def test_a_decision_that_another_takes_during_a_write_is_not_overridden(
    scan: Scan, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashed(_: Path) -> str:
        by_ben(scan, ONE, Action.DELETE)
        return ""

    monkeypatch.setattr("cleaner.core.decision_rules.sha256_of", hashed)
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert reply["message"] == f"Not saved: ben decided 'delete' for {ONE!r} meanwhile; decide again if you wish"
    assert [(card["action"], card["reviewer"]) for card in reply["changed"]] == [("delete", "ben")]
    assert [reviewer for _, _, reviewer in rows_of(scan)] == ["ben"]


@pytest.mark.parametrize(
    "late",
    [
        lambda page: page.ask("decide", until=0, paths=[TWO], action="delete"),
        lambda page: page.ask("decide", until=page.last[0]["clock"] - 1, paths=[TWO], action="delete"),
        lambda page: page.ask("undo", until=0),
        lambda page: page.ask("redo", until=-1),
    ],
)
def test_what_arrives_after_the_page_stopped_waiting_is_refused(
    late: Callable[[Page], dict[str, object]], scan: Scan, page: Page
) -> None:
    for path in (ONE, THREE):
        page.ask("decide", paths=[path], action="keep")
    page.ask("undo")
    before = rows_of(scan)
    reply = late(page)
    assert str(reply["message"]).startswith("Not saved: this arrived after the page had stopped waiting")
    assert (rows_of(scan), reply["can_undo"], reply["can_redo"]) == (before, True, True)


def test_a_message_in_time_by_the_clock_of_a_reply_is_carried_out(page: Page) -> None:
    until = page.last[0]["clock"] + 600_000
    assert page.ask("decide", until=until, paths=[ONE], action="keep")["kind"] == "done"
    assert page.ask("undo", until=until)["kind"] == "done"
    assert page.ask("redo", until=until)["kind"] == "done"


def test_only_what_decisions_changed_is_sent_again(scan: Scan) -> None:
    session = Session(scan, "anna", page_size=5)
    session.open("cat")
    cards = SentCards(session)
    assert [card.sample.path for card in cards.open_page()] == cards.paths == session.paths
    assert (cards.version, cards.changed()) == (1, [])
    session.decide(ONE, Action.KEEP)
    assert [card.sample.path for card in cards.changed(own=lambda path: path == ONE)] == [ONE]
    assert (cards.version, cards.changed()) == (1, [])
    Manifest(scan.manifest_path).append(Decision(TWO, Action.KEEP, reviewer="ben"))
    session.refresh()
    assert [card.sample.path for card in cards.changed()] == [TWO]
    assert (cards.version, cards.changed()) == (2, [])


def test_a_card_is_sent_again_when_another_reviewer_disagrees_or_no_longer_does(scan: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE], action="keep")
    for action, others in ((Action.DELETE, ["keep"]), (Action.KEEP, [])):
        by_ben(scan, ONE, action)
        (card,) = page.ask("news")["changed"]
        assert [other["action"] for other in card["others"]] == others
