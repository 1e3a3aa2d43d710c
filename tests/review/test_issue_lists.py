"""The lists of issues: which there are, what their cards say, how groups are decided about, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.issues import Issue
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Unreadable
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, OTHER, SINGLE_LABEL
from cleaner.review.lists import Lists
from cleaner.review.pages import Shape
from cleaner.review.session import Session
from cleaner.review.summary import summary
from cleaner.review.view import ALL, AUDIT, UNREADABLE, UNSURE, issue_list
from tests.support.images import make_image
from tests.support.issue_rows import checked_scan, group, quality, with_issues
from tests.support.review_page import Page, by_ben
from tests.support.scans import make_label_scan

CATS = [f"train/cat/cat_{number:02d}.png" for number in range(1, 9)]
DOGS = [f"train/dog/dog_{number:02d}.png" for number in range(1, 9)]
VALID = [f"valid/cat/cat_v{number:02d}.png" for number in range(1, 9)]
NEW = "train/cat/new.png"  # an image that the scan did not keep
CONFLICT, LEAK, COPY, DARK = map(issue_list, ("label-conflict", "leak", "copy", "dark"))

ISSUES = [
    *group("label-conflict", 1, [CATS[0], DOGS[0], CATS[1]]),
    *group("leak", 2, [CATS[2], VALID[0]]),
    *group("copy", 3, [CATS[3], CATS[4]]),
    *group("copy", 4, [DOGS[3], NEW]),
    *group("copy", 5, DOGS[4:7]),
    *quality("dark", [CATS[5], VALID[1], NEW], "99 % of it is black"),
]


@pytest.fixture
def checked(scan: Scan) -> Scan:
    """A scan with groups of each kind and dark images; one image is in no other list."""
    make_image(scan.root / NEW, seed=77)
    return with_issues(scan, ISSUES)


@pytest.fixture
def session(checked: Scan) -> Session:
    return Session(checked, "anna", page_size=30)


@pytest.fixture
def page(checked: Scan) -> Page:
    page = Page(checked, page_size=None)
    page.ask("ready")
    return page


def opened(session: Session, label: str) -> list[str]:
    session.open(label)
    return session.paths


def decisions(session: Session) -> dict[str, str]:
    return {path: str(decision.action) for path, decision in session.standing.items()}


# Which lists there are.


def test_each_issue_with_images_has_a_list_after_the_others_in_the_order_of_the_page(session: Session) -> None:
    lists = Lists(session)
    assert lists.labels[-4:] == [CONFLICT, LEAK, COPY, DARK]
    names = [(row["name"], row["kept"], row["decided"]) for row in lists.rows()[-4:]]
    assert names == [
        ("Copies with different labels", 3, 0),
        ("Copies across splits", 2, 0),
        ("Copies within a class", 7, 0),
        ("Dark", 3, 0),
    ]


def test_files_that_are_gone_since_the_check_are_in_no_list(checked: Scan) -> None:
    for path in (CATS[5], CATS[2], DOGS[4]):
        (checked.root / path).unlink()
    session = Session(checked, "anna", page_size=30)
    assert opened(session, DARK) == [VALID[1], NEW]
    assert LEAK not in session.issues.labels  # VALID[0] is alone there
    assert [session.issues.members(COPY, path) for path in opened(session, COPY)][-1] == DOGS[5:7]


def test_a_list_of_issues_is_of_all_splits_whichever_is_open(session: Session) -> None:
    before = opened(session, LEAK)
    session.open(LEAK, "valid")
    assert (session.view.split, session.paths) == ("valid", before)
    assert before == [CATS[2], VALID[0]]
    assert Lists(session).progress()[DARK] == (0, 3)


def test_a_decision_counts_in_every_list_of_the_image(session: Session) -> None:
    session.open(DARK)
    session.decide(CATS[5], Action.KEEP)
    progress = Lists(session).progress()
    assert (progress[DARK], progress["cat"], progress[ALL]) == ((1, 3), (1, 8), (1, 24))
    session.decide(NEW, Action.DELETE)
    progress = Lists(session).progress()
    assert (progress[DARK], progress[COPY], progress["cat"]) == ((2, 3), (1, 7), (1, 8))


def test_the_next_list_is_one_of_issues_after_the_others(session: Session) -> None:
    lists = Lists(session)
    assert [lists.after(label) for label in ("fox", CONFLICT, COPY)] == [CONFLICT, LEAK, DARK]
    assert lists.after(DARK) == ALL


def test_issues_are_worst_first_or_by_path(session: Session) -> None:
    assert opened(session, DARK) == [CATS[5], VALID[1], NEW]
    session.filter(order="confidence")
    assert session.paths == [CATS[5], VALID[1], NEW]
    session.filter(order="name")
    assert session.paths == [CATS[5], NEW, VALID[1]]
    session.filter(text="_V")
    assert session.paths == [VALID[1]]


def test_the_list_of_issues_is_opened_again(checked: Scan, session: Session) -> None:
    opened(session, COPY)
    session.place_cursor(DOGS[5])
    again = Session(checked, "anna")
    assert (again.view.label, again.view.at) == (COPY, DOGS[5])


# A folder of `cleaner check` alone.


@pytest.mark.parametrize(
    ("vocab", "task", "label"), [(("cat", "dog"), SINGLE_LABEL, "cat"), ((ALL_IMAGES,), OTHER, "")]
)
def test_a_folder_without_scored_samples_opens_with_its_first_issue(
    vocab: tuple[str, ...], task: str, label: str, tmp_path: Path
) -> None:
    paths = ["train/a.png", "valid/b.png"]
    for seed, path in enumerate(paths):
        make_image(tmp_path / "data" / path, seed=seed)
    rows = [Issue("leak", 1, 1.0, path.split("/")[0], label, path) for path in paths]
    rows += [Issue("dark", 0, 0.9, "train", label, paths[0], "too dark")]
    scan = checked_scan(tmp_path / "data", tmp_path / "scan", rows, vocab, task)
    session = Session(scan, "anna")
    assert (session.view.label, session.paths) == (LEAK, paths)
    session.resolve(paths, paths[:1])
    assert decisions(session) == {paths[0]: "keep", paths[1]: "delete"}
    rows_of = Manifest(scan.manifest_path).rows()
    assert [(row.path, row.label, row.split) for row in rows_of] == [
        (paths[0], label, "train"),
        (paths[1], label, "valid"),
    ]
    counted, how = summary(session, is_last=True)  # nothing was scored, so there is nothing to estimate
    assert (counted, how.split(":")[0]) == ("1 changed, 1 kept.", "To change the dataset, run")
    page = Page(load(scan.folder))
    assert page.ask("ready")["list"] == "groups"
    assert page.ask("figures")["histogram"] == []


def test_a_folder_begins_with_its_unreadable_files(tmp_path: Path) -> None:
    make_image(tmp_path / "data" / "train" / "cat" / "a.png")
    rows = quality("dark", ["train/cat/a.png"])
    scan = checked_scan(tmp_path / "data", tmp_path / "scan", rows, ("cat",), SINGLE_LABEL)
    bad = (Unreadable("valid", "cat", "valid/cat/bad.png", "broken"),)
    session = Session(replace(scan, unreadable=bad), "anna")
    assert (session.view.split, session.view.label) == ("valid", UNREADABLE)


def test_a_folder_with_nothing_to_review_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    scan = checked_scan(tmp_path / "data", tmp_path / "scan", [], ("cat",), SINGLE_LABEL)
    with pytest.raises(CleanerError, match="kept no sample and found no issue"):
        Session(scan)


def test_an_issue_of_an_unknown_split_and_label_can_be_decided_and_undone(scan: Scan) -> None:
    make_image(scan.root / "other/wolf/a.png")
    session = Session(with_issues(scan, quality("dark", ["other/wolf/a.png"])), "anna")
    session.decide("other/wolf/a.png", Action.UNSURE)  # while another list is open
    assert session.undo() == ("other/wolf/a.png", "")
    assert (session.view.label, session.standing.get("other/wolf/a.png")) == (DARK, None)


# What a card says.


def test_a_card_shows_score_and_reason_and_no_prediction(page: Page) -> None:
    card = page.ask("open", label=DARK)["cards"][0]
    assert (card["score"], card["reason"], card["split"], card["label"]) == (
        0.95,
        "99 % of it is black",
        "train",
        "cat",
    )
    assert (card["predicted"], card["confidence"], card["alternatives"], card["loss"]) == ("", None, [], "")
    assert (card["group"], card["members"], card["is_first"]) == (0, 0, False)
    assert page.last[0]["predictions"] == []
    assert "score" not in page.ask("open", label="cat")["cards"][0]


def test_a_card_of_a_group_says_which_is_suggested(page: Page) -> None:
    reply = page.ask("open", label=CONFLICT)
    assert reply["list"] == "groups"
    assert [(card["group"], card["members"], card["is_first"]) for card in reply["cards"]] == [
        (1, 3, True),
        (1, 3, False),
        (1, 3, False),
    ]
    assert [card["label"] for card in reply["cards"]] == ["cat", "dog", "cat"]
    assert all(card["size"] == "48 × 32 px" for card in reply["cards"])


def test_a_card_that_others_decide_about_still_says_what_is_wrong(checked: Scan, page: Page) -> None:
    page.ask("open", label=DARK)
    by_ben(checked, NEW, Action.DELETE)
    (card,) = page.ask("news")["changed"]
    assert (card["action"], card["reason"]) == ("delete", "99 % of it is black")


def test_the_row_of_a_kept_sample_holds_its_loss_and_prediction(session: Session) -> None:
    session.open(DARK)
    session.decide(CATS[5], Action.KEEP)
    session.decide(NEW, Action.KEEP)
    kept, new = Manifest(session.scan.manifest_path).rows()
    sample = session.scan.by_path()[CATS[5]]
    assert (kept.predicted, round(kept.loss, 3), kept.label) == (sample.predicted, round(sample.loss, 3), "cat")
    assert (new.predicted, math.isnan(new.loss), new.label) == ("", True, "cat")


def test_an_issue_has_no_predicted_label_to_take(session: Session) -> None:
    session.open(DARK)
    with pytest.raises(CleanerError, match="judged without the model's prediction"):
        session.decide(CATS[5], "predicted")


def test_typical_images_are_of_the_given_label_alone(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.ask("open", label=DARK)
    asked: list[str] = []
    monkeypatch.setattr(page.review.session, "typical", lambda _split, label: asked.append(label) or [])
    page.ask("typical", path=CATS[5])
    assert asked == ["cat"]


def test_audited_images_stay_blind_in_the_audit_list(checked: Scan) -> None:
    audit = (replace(checked.kept("train", "cat")[5], path=NEW),)
    page = Page(replace(checked, audit=audit))
    page.ask("open", label=DARK)
    page.ask("decide", paths=[NEW], action="keep")
    card = page.ask("open", label=AUDIT)["cards"][0]
    assert (card["path"], card["predicted"], card["action"]) == (NEW, "", "keep")


# Pages of groups.


def test_a_page_has_whole_groups(session: Session) -> None:
    session.open(COPY)
    session.set_page_size(4)
    assert session.pages == 2
    assert session.paths == [CATS[3], CATS[4], DOGS[3], NEW]
    session.turn_to(1)
    assert (session.paths, session.first) == (DOGS[4:7], 4)
    session.set_page_size(5, DOGS[5])
    assert (session.view.page, session.view.at, session.paths) == (1, DOGS[5], DOGS[4:7])


def test_a_page_is_as_large_as_the_screen_says(session: Session) -> None:
    session.open(COPY)
    session.set_page_size(30, shape=Shape(3, 2))
    assert [len(page) for page in pages_of(session)] == [4, 3]  # a pair a row: two pairs do not fit beside each other
    session.set_page_size(30, shape=Shape(4, 2))
    assert [len(page) for page in pages_of(session)] == [7]
    session.open(DARK)
    session.set_page_size(30, shape=Shape(2, 1))
    assert [len(page) for page in pages_of(session)] == [2, 1]
    session.open("cat")
    assert session.pages == 1


def pages_of(session: Session) -> list[list[str]]:
    found = []
    for number in range(session.pages):
        session.turn_to(number)
        found.append(session.paths)
    return found


def test_a_filter_shows_a_group_whole(session: Session) -> None:
    session.open(COPY)
    session.decide(DOGS[4], Action.DELETE)
    session.filter(show="undecided", text="dog_07")
    assert session.paths == DOGS[4:7]
    session.filter(show="decided", text="")
    assert session.paths == DOGS[4:7]
    session.resolve(DOGS[4:7], DOGS[4:7])
    session.filter(show="undecided")
    assert session.paths == [CATS[3], CATS[4], DOGS[3], NEW]


# Decisions about groups.


def test_one_is_kept_and_the_rest_deleted_in_one_step(session: Session) -> None:
    session.open(CONFLICT)
    session.resolve([CATS[0], DOGS[0], CATS[1]], [DOGS[0]])
    assert decisions(session) == {DOGS[0]: "keep", CATS[0]: "delete", CATS[1]: "delete"}
    assert session.undo() == (DOGS[0], "")
    assert decisions(session) == {}
    session.redo()
    assert decisions(session) == {DOGS[0]: "keep", CATS[0]: "delete", CATS[1]: "delete"}


def test_a_group_is_one_append(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[int] = []
    append = session.manifest.append
    monkeypatch.setattr(
        session.manifest, "append", lambda *rows, **options: appended.append(len(rows)) or append(*rows, **options)
    )
    session.open(COPY)
    session.resolve(DOGS[4:7], [DOGS[5]])
    session.undo()
    assert appended == [3, 3]


def test_all_are_fine_is_not_asked_again_for_the_same_bytes(checked: Scan, session: Session) -> None:
    session.open(COPY)
    session.resolve(DOGS[4:7], DOGS[4:7])
    again = Session(load(checked.folder), "ben")
    assert decisions(again) == dict.fromkeys(DOGS[4:7], "keep")
    assert Lists(again).progress()[COPY] == (3, 7)
    make_image(checked.root / DOGS[4], seed=1234)
    again.refresh()
    again.open(COPY)
    assert again.card(DOGS[4]).decision is None


def test_an_image_with_a_new_label_keeps_it(session: Session) -> None:
    session.open(CONFLICT)
    session.decide(DOGS[0], Action.RELABEL, "cat")
    session.resolve([CATS[0], DOGS[0], CATS[1]], [DOGS[0]])
    assert decisions(session) == {DOGS[0]: "relabel", CATS[0]: "delete", CATS[1]: "delete"}
    assert session.standing[DOGS[0]].new_label == "cat"


@pytest.mark.parametrize(
    ("paths", "kept", "error"),
    [
        ([], [], "expected all images"),
        ([CATS[0], DOGS[0]], [CATS[0]], "expected all images"),
        ([CATS[0], DOGS[0], CATS[1], CATS[2]], [CATS[0]], "expected all images"),
        ([CATS[3], CATS[4]], [CATS[3]], "expected all images"),  # of another list
        ([CATS[0], DOGS[0], CATS[1]], [], "at least one image"),
        ([CATS[0], DOGS[0], CATS[1]], [CATS[2]], "at least one image"),
    ],
)
def test_what_is_no_whole_group_of_the_open_list_is_refused(
    paths: list[str], kept: list[str], error: str, session: Session
) -> None:
    session.open(CONFLICT)
    with pytest.raises(CleanerError, match=error):
        session.resolve(paths, kept)
    assert Manifest(session.scan.manifest_path).rows() == []


def test_nobody_decides_about_a_group_that_they_have_not_seen(checked: Scan, page: Page) -> None:
    trio = [CATS[0], DOGS[0], CATS[1]]
    old = page.ask("open", label=CONFLICT)["version"]
    page.ask("open", label=DARK)
    assert "the open page has no image" in page.ask("resolve", paths=trio, kept=trio)["message"]
    page.ask("open", label=CONFLICT)
    assert "another page was opened" in page.ask("resolve", paths=trio, kept=trio, version=old)["message"]
    assert "this arrived after" in page.ask("resolve", paths=trio, kept=trio, until=1)["message"]
    by_ben(checked, DOGS[0], Action.DELETE)
    refused = page.ask("resolve", paths=trio, kept=trio)
    assert refused["message"].startswith("Not saved: ")
    assert [row.reviewer for row in Manifest(checked.manifest_path).rows()] == ["ben"]
    reply = page.ask("resolve", paths=trio, kept=[DOGS[0]])
    assert (reply["kind"], reply["decided"][CONFLICT]) == ("done", (3, 3))


def test_a_group_that_is_cut_over_pages_is_not_decided_as_a_whole(page: Page) -> None:
    page.ask("fit", page_size=30, columns=2, rows=1, pixels=160, at="")
    page.ask("open", label=CONFLICT)
    assert [card["path"] for card in page.last[0]["cards"]] == [CATS[0], DOGS[0]]
    reply = page.ask("resolve", paths=[CATS[0], DOGS[0], CATS[1]], kept=[CATS[0]])
    assert "the open page has no image" in reply["message"]


def test_undo_goes_back_to_the_group(page: Page) -> None:
    page.ask("open", label=COPY)
    page.ask("resolve", paths=DOGS[4:7], kept=[DOGS[6]])
    page.ask("open", label="cat")
    reply = page.ask("undo")
    assert (reply["label"], reply["at"]) == (COPY, DOGS[6])


def test_an_unsure_image_of_a_group_is_in_the_unsure_list_of_its_split(session: Session) -> None:
    session.open(COPY)
    session.decide(NEW, Action.UNSURE)
    assert opened(session, UNSURE) == [NEW]
    session.decide(NEW, Action.KEEP)
    session.open("fox")
    assert session.undo()[0] == NEW
    assert session.view.label == COPY


def test_images_with_several_labels_have_their_issues(tmp_path: Path) -> None:
    scan = make_label_scan(tmp_path / "data", tmp_path / "scan")
    make_image(scan.root / "new.png", seed=9)
    rows = [Issue("copy", 1, 1.0, "train", labels, path) for path, labels in (("3.png", "cat;dog"), ("new.png", "dog"))]
    session = Session(with_issues(scan, rows), "anna")
    assert session.scan.task == MULTI_LABEL
    session.open(COPY)
    assert [card.sample.given for card in session.cards()] == [("cat", "dog"), ("dog",)]
    session.resolve(["3.png", "new.png"], ["new.png"])
    assert decisions(session) == {"new.png": "keep", "3.png": "delete"}
    assert session.undo()[0] == "new.png"
