"""Review of images with several labels, and of images without labels."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, ClassLosses, Decision, Sample, Unreadable
from cleaner.core.scan import Scan
from cleaner.core.tasks import ALL_IMAGES, OTHER, drawn_file
from cleaner.review.session import Session
from cleaner.review.view import ABSENT, ALL, AUDIT, DISAGREEMENTS, UNREADABLE, UNSURE
from tests.support.images import make_image
from tests.support.review_page import Page
from tests.support.scans import make_label_scan


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return make_label_scan(tmp_path / "data", tmp_path / "scan")


@pytest.fixture
def session(scan: Scan) -> Session:
    return Session(scan, reviewer="anna")


def standing(scan: Scan) -> dict[str, tuple[str, str, str]]:
    decisions = Manifest(scan.manifest_path).standing()
    return {path: (d.action.value, d.label, d.new_label) for path, d in decisions.items()}


@pytest.mark.parametrize("label", ["cat", "dog", "fox", ALL])
def test_an_image_is_in_the_class_of_each_label(label: str, session: Session) -> None:
    session.open(label)
    assert [card.sample.path for card in session.cards()] == ["0.png", "1.png", "2.png", "3.png"]
    assert [card.sample.given for card in session.cards()] == [(), ("cat",), ("dog",), ("cat", "dog")]
    assert session.counts().scan_kept == 4


def test_toggles_in_several_classes_add_up(session: Session, scan: Scan) -> None:
    session.decide("3.png", "toggle", "cat")
    assert standing(scan) == {"3.png": ("relabel", "cat;dog", "dog")}
    session.filter(label="fox")
    session.decide("3.png", "toggle", "fox")
    assert standing(scan) == {"3.png": ("relabel", "cat;dog", "dog;fox")}
    session.filter(label="dog")
    session.decide("3.png", "toggle", "dog")
    session.decide("3.png", "toggle", "fox")
    assert standing(scan) == {"3.png": ("relabel", "cat;dog", ";")}
    assert session.maker.labels_after(session.card("3.png").decision) == ()
    session.undo()
    session.undo()
    assert standing(scan) == {"3.png": ("relabel", "cat;dog", "dog;fox")}


def test_an_image_with_its_original_labels_again_is_undecided(session: Session, scan: Scan) -> None:
    session.decide("0.png", "toggle", "fox")
    assert standing(scan) == {"0.png": ("relabel", ";", "fox")}
    session.decide("0.png", "toggle", "fox")
    assert standing(scan) == {}
    session.undo()
    assert standing(scan) == {"0.png": ("relabel", ";", "fox")}


def test_keep_does_not_take_back_a_change_made_in_another_class(session: Session, scan: Scan) -> None:
    session.decide("1.png", Action.KEEP)
    assert standing(scan) == {"1.png": ("keep", "cat", "")}
    session.decide("1.png", "toggle", "cat")
    session.filter(label="dog")
    session.decide("1.png", Action.KEEP)
    assert standing(scan) == {"1.png": ("relabel", "cat", ";")}
    session.decide("1.png", Action.DELETE)
    session.decide("1.png", "toggle", "dog")
    assert standing(scan) == {"1.png": ("relabel", "cat", "cat;dog")}


@given(st.lists(st.tuples(st.sampled_from(["cat", "dog", "fox"]), st.booleans()), max_size=8))
@settings(max_examples=25, deadline=None)
def test_undo_goes_back_through_every_set(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("sets")
    scan = make_label_scan(folder / "data", folder / "scan")
    session, seen = Session(scan, reviewer="anna"), [standing(scan)]
    for label, keeps in steps:
        session.decide("3.png", Action.KEEP) if keeps else session.decide("3.png", "toggle", label)
        seen.append(standing(scan))
    for before in seen[-2::-1]:
        session.undo()
        assert standing(scan) == before


def test_a_toggle_of_several_images_toggles_each_of_them(session: Session, scan: Scan) -> None:
    session.decide_all(session.paths, "toggle", "dog")
    assert {path: new for path, (_, _, new) in standing(scan).items()} == {
        "0.png": "dog",
        "1.png": "cat;dog",
        "2.png": ";",
        "3.png": "cat",
    }


def test_a_toggle_adds_to_the_decision_of_somebody_else(session: Session, scan: Scan) -> None:
    Session(scan, reviewer="ben").decide("3.png", "toggle", "fox")
    session.decide("3.png", "toggle", "cat")
    assert standing(scan) == {"3.png": ("relabel", "cat;dog", "dog;fox")}


def test_cards_can_be_filtered_by_prediction(session: Session) -> None:
    session.open("cat")
    assert session.predictions == ["cat", ABSENT]
    session.filter(predicted="cat")
    assert [card.sample.path for card in session.cards()] == ["0.png", "2.png"]
    session.filter(predicted=ABSENT)
    assert [card.sample.path for card in session.cards()] == ["1.png", "3.png"]


REFUSED = [
    (lambda s: s.decide("0.png", "toggle", "cow"), "label is 'cow'; expected one of cat, dog, fox"),
    (lambda s: s.decide("0.png", "toggle", ""), "label is ''"),
    (lambda s: s.decide("9.png", "toggle", "cat"), "the scan kept no sample"),
    (lambda s: s.decide("0.png", Action.RELABEL, "cow"), "there is no label 'cow'"),
    (lambda s: s.decide("0.png", Action.RELABEL, ""), "there is no label ''"),
    (lambda s: s.decide("3.png", Action.RELABEL, "dog;cat"), "has the label 'cat;dog' already"),
    (lambda s: s.decide("0.png", Action.RELABEL, ";"), "has the label ';' already"),
    (lambda s: s.decide("0.png", "predicted"), "images with several labels have no predicted one"),
    (lambda s: s.filter(predicted="cow"), "predicted is 'cow'"),
    (lambda s: s.decide("broken.png", "toggle", "cat"), "could not be read"),
]


@pytest.mark.parametrize(("do", "message"), REFUSED)
def test_invalid_decisions_about_label_sets_are_refused(do: Any, message: str, scan: Scan) -> None:
    scan = replace(scan, unreadable=(Unreadable("train", "cat;fox", "broken.png", "OSError: broken"),))
    session = Session(scan, reviewer="anna")
    with pytest.raises(CleanerError, match=message):
        do(session)
    assert not scan.manifest_path.exists()


def test_a_label_set_may_be_given_as_a_whole_and_is_put_in_order(session: Session, scan: Scan) -> None:
    session.decide("0.png", Action.RELABEL, "fox;cat")
    assert standing(scan) == {"0.png": ("relabel", ";", "cat;fox")}


def test_an_unreadable_file_with_several_labels_is_deleted(scan: Scan) -> None:
    broken = Unreadable("train", "cat;fox", "broken.png", "OSError: broken")
    session = Session(replace(scan, unreadable=(broken,)), reviewer="anna")
    session.filter(label=UNREADABLE)
    (card,) = session.cards()
    assert card.error == "OSError: broken"
    session.decide("broken.png", Action.DELETE)
    assert standing(scan) == {"broken.png": ("delete", "cat;fox", "")}


def test_the_page_gets_the_labels_before_and_after_a_decision(scan: Scan) -> None:
    page = Page(scan)
    cards = {card["path"]: card for card in page.ask("open", label="cat")["cards"]}
    assert (cards["3.png"]["given"], cards["3.png"]["labels"]) == (["cat", "dog"], None)
    assert (cards["3.png"]["predicted"], cards["3.png"]["loss"]) == ("", "1.700")
    (changed,) = page.ask("decide", paths=["3.png"], action="toggle", new_label="cat")["changed"]
    assert (changed["given"], changed["labels"], changed["action"]) == (["cat", "dog"], ("dog",), "relabel")
    Session(scan, reviewer="ben").decide("3.png", "toggle", "fox")
    (changed,) = page.ask("news")["changed"]
    assert changed["labels"] == ("dog", "fox")
    assert changed["others"] == [{"reviewer": "anna", "action": "relabel", "new_label": "dog", "labels": ("dog",)}]
    error = page.ask("decide", paths=["0.png"], action="toggle")
    assert error["kind"] == "error"
    assert "Not saved: label is ''" in error["message"]


def test_images_with_several_labels_have_no_confusion_matrix(scan: Scan) -> None:
    page = Page(scan)
    page.ask("ready")
    assert page.ask("figures")["matrix"] is None
    assert [(row["label"], row["scored"], row["otherwise"]) for row in page.lists[0]["rows"]] == [
        (ALL, None, None),
        ("cat", 4, 3),
        ("dog", 4, 0),
        ("fox", 4, 0),
        (UNSURE, None, None),
        (DISAGREEMENTS, None, None),
    ]


@pytest.fixture
def drawn(tmp_path: Path) -> Scan:
    """A scan of a task without labels; one image of two has a drawing."""
    names = ["0.png", "1.png"]
    for number, name in enumerate(names):
        make_image(tmp_path / "data" / name, seed=number)
    samples = [
        Sample("train", ALL_IMAGES, rank, name, 3.0 - rank, ALL_IMAGES, math.nan) for rank, name in enumerate(names, 1)
    ]
    file = drawn_file(tmp_path / "scan", "0.png")
    file.parent.mkdir(parents=True)
    Image.new("RGB", (90, 30), "lime").save(file)
    losses = (ClassLosses("train", ALL_IMAGES, 2, 0),)
    return Scan(
        tmp_path / "data", (ALL_IMAGES,), ("train",), 2, {"train": 2}, tuple(samples), {"train": {}}, (), losses,
        task=OTHER,
    ).write(tmp_path / "scan")  # fmt: skip


def test_images_without_labels_can_be_kept_deleted_or_unsure(drawn: Scan) -> None:
    session = Session(drawn, reviewer="anna")
    for action in (Action.KEEP, Action.UNSURE, Action.DELETE):
        session.decide("0.png", action)
        assert standing(drawn) == {"0.png": (action.value, "", "")}
    for refused in (
        lambda: session.decide("0.png", Action.RELABEL, ALL_IMAGES),
        lambda: session.decide("0.png", "predicted"),
        lambda: session.decide("0.png", "toggle", ALL_IMAGES),
    ):
        with pytest.raises(CleanerError, match=r"carry no labels|only where images carry several labels"):
            refused()
    session.undo()
    assert standing(drawn) == {"0.png": ("unsure", "", "")}


def test_the_drawing_is_shown_or_else_the_file(drawn: Scan) -> None:
    page = Page(drawn)
    page.ask("ready")
    first, second = (Image.open(io.BytesIO(data)) for data in page.last[1])
    assert first.getpixel((5, 5))[1] > 240
    assert (first.size, second.size) == ((90, 30), (48, 32))
    page.ask("large", path="0.png")
    assert Image.open(io.BytesIO(page.last[1][0])).size == (90, 30)


def test_a_drawing_that_shows_the_image_twice_gets_twice_the_pixels(drawn: Scan) -> None:
    Image.new("RGB", (2000, 1000)).save(drawn_file(drawn.folder, "0.png"))
    page = Page(drawn)
    for pixels, width in ((160, 384), (200, 512)):
        page.ask("ready", pixels=pixels)
        assert Image.open(io.BytesIO(page.last[1][0])).size == (width, width // 2)


def test_the_decision_is_about_the_file_and_not_its_drawing(drawn: Scan) -> None:
    from cleaner.core.files import sha256_of

    Session(drawn, reviewer="anna").decide("0.png", Action.DELETE)
    (row,) = Manifest(drawn.manifest_path).rows()
    assert row.sha256 == sha256_of(drawn.root / "0.png")


def test_images_without_labels_are_one_list_without_predictions(drawn: Scan) -> None:
    page = Page(drawn)
    assert page.ask("ready")["label"] == ALL_IMAGES
    assert page.ask("figures")["matrix"] is None
    assert [(row["label"], row["scored"], row["otherwise"]) for row in page.lists[0]["rows"]] == [
        (ALL_IMAGES, 2, None),
        (UNSURE, None, None),
        (DISAGREEMENTS, None, None),
    ]


def test_a_toggle_starts_from_a_label_set_written_by_hand(session: Session, scan: Scan) -> None:
    Manifest(scan.manifest_path).append(Decision("3.png", Action.RELABEL, new_label="fox;dog"))
    session.refresh()
    session.decide("3.png", "toggle", "cat")
    assert standing(scan)["3.png"] == ("relabel", "cat;dog", "cat;dog;fox")


def test_an_audit_card_asks_about_the_labels_that_were_drawn(scan: Scan) -> None:
    """One card for an image that was drawn for two labels; those that it lacks are asked too."""
    drawn = [replace(scan.samples[0], label=label, path="rest.png", given=("cat",)) for label in ("cat", "fox")]
    make_image(scan.root / "rest.png")
    page = Page(replace(scan, audit=tuple(drawn)).write(scan.manifest_path.parent))
    (card,) = page.ask("open", label=AUDIT)["cards"]
    assert (card["asked"], card["given"], card["predicted"]) == (["cat", "fox"], ["cat"], "")
    page.ask("decide", paths=["rest.png"], action="toggle", new_label="fox")
    assert standing(scan) == {"rest.png": ("relabel", "cat", "cat;fox")}
    found = {each.label: (each.audited, each.audited_wrong) for each in page.review.session.scan.estimate().classes}
    assert found == {"cat": (1, 0), "dog": (0, 0), "fox": (1, 1)}
    assert page.review.session.scan.estimate().unit == "label"
