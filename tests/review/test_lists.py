"""The lists beside the grid with their progress, and the figures of a split, without a browser."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.confusion import most_confused_labels
from cleaner.core.records import LOSS_EDGES, Action, ClassLosses, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.lists import Lists
from cleaner.review.session import Session
from cleaner.review.view import ALL, AUDIT, DISAGREEMENTS, UNREADABLE, UNSURE
from tests.support.images import make_image
from tests.support.review_page import Page, by_ben
from tests.support.scans import make_label_scan, make_scan

ONE, TWO, DOG = "train/cat/cat_01.png", "train/cat/cat_02.png", "train/dog/dog_01.png"


@pytest.fixture
def known(scan: Scan) -> Scan:
    """A scan with losses per class, two audited images and an unreadable file."""
    bins = (8,) + (0,) * len(LOSS_EDGES)
    losses = tuple(
        ClassLosses("train", label, 8, otherwise, mean, 0, bins)
        for label, otherwise, mean in (("cat", 2, 0.9), ("dog", 6, 0.5), ("fox", 6, 0.7))
    )
    audit = [replace(scan.kept("train", label)[0], path=f"train/{label}/rest.png") for label in ("cat", "dog")]
    for sample in audit:
        make_image(scan.root / sample.path)
    unreadable = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    return replace(scan, losses=losses, audit=tuple(audit), unreadable=unreadable)


@pytest.fixture
def page(known: Scan) -> Page:
    page = Page(known)
    page.ask("ready")
    return page


def rows_of(page: Page) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in page.lists[-1]["rows"]}


# Which lists there are.


def test_the_largest_share_of_other_predictions_is_first_and_of_equal_ones_the_larger_mean_loss(page: Page) -> None:
    assert list(rows_of(page)) == [ALL, "fox", "dog", "cat", UNSURE, DISAGREEMENTS, AUDIT, UNREADABLE]


def test_a_row_has_the_numbers_of_its_list(page: Page) -> None:
    rows = rows_of(page)
    cat = {"label": "cat", "name": "cat", "scored": 8, "otherwise": 2, "mean": 0.9, "kept": 8, "decided": 0}
    assert rows["cat"] == cat
    unknown = {"scored": None, "otherwise": None, "mean": None}
    assert rows[ALL] == unknown | {"label": ALL, "name": "All classes, worst first", "kept": 24, "decided": 0}
    assert rows[AUDIT] == unknown | {"label": AUDIT, "name": "Audit sample", "kept": 2, "decided": 0}
    assert [rows[label]["kept"] for label in (UNREADABLE, UNSURE, DISAGREEMENTS)] == [1, 0, 0]


def test_a_scan_of_one_class_has_no_list_of_all(tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", ("cat",), per_class=2)
    page = Page(scan)
    reply = page.ask("ready")
    assert (list(rows_of(page)), reply["label"], reply["shown"]) == (["cat", UNSURE, DISAGREEMENTS], "cat", 2)


def test_a_split_has_the_list_of_all_though_it_has_one_class(scan: Scan) -> None:
    only = tuple(sample for sample in scan.samples if sample.split == "train" or sample.label == "dog")
    cells = {"train": scan.cells["train"], "valid": {("dog", "fox"): 8}}
    page = Page(replace(scan, samples=only, cells=cells))
    page.ask("ready")
    assert page.ask("open", label="cat", split="valid")["label"] == ALL
    assert list(rows_of(page)) == [ALL, "dog", UNSURE, DISAGREEMENTS]


def test_a_class_of_which_no_sample_was_kept_is_listed(scan: Scan) -> None:
    page = Page(replace(scan, samples=tuple(sample for sample in scan.samples if sample.label != "dog")))
    page.ask("ready")
    assert (rows_of(page)["dog"]["scored"], rows_of(page)["dog"]["kept"]) == (8, 0)


def test_an_unknown_mean_is_null_and_not_nan(scan: Scan) -> None:
    page = Page(scan)
    page.ask("ready")
    rows = rows_of(page).values()
    assert {row["mean"] for row in rows} == {None}
    assert not any(isinstance(value, float) and math.isnan(value) for row in rows for value in row.values())


def test_lists_are_sent_at_ready_and_before_a_page_of_another_split(known: Scan) -> None:
    page, sent = Page(known), []
    page.review.send = lambda content, buffers=None: sent.append((content["kind"], content["id"], content["split"]))
    page.review._handle_custom_msg(
        {"kind": "ready", "id": 1, "page_size": 5, "columns": 6, "rows": 4, "pixels": 160}, []
    )
    for number, (label, split) in enumerate((("cat", "train"), ("dog", "valid"), (ALL, "valid")), start=2):
        page.review._handle_custom_msg({"kind": "open", "id": number, "label": label, "split": split}, [])
    assert sent == [
        ("lists", None, "train"),
        ("page", 1, "train"),
        ("page", 2, "train"),
        ("lists", None, "valid"),
        ("page", 3, "valid"),
        ("page", 4, "valid"),
    ]


def test_undo_in_another_split_sends_its_lists(page: Page) -> None:
    page.ask("decide", paths=[ONE], action="keep")
    page.ask("open", label="dog", split="valid")
    page.lists.clear()
    reply = page.ask("undo")
    assert (reply["kind"], reply["split"], reply["at"]) == ("page", "train", ONE)
    assert [(lists["split"], lists["rows"][0]["decided"]) for lists in page.lists] == [("train", 0)]


# Progress.


def test_replies_have_the_progress_of_the_lists_that_changed(page: Page) -> None:
    assert page.ask("decide", paths=[ONE, DOG], action="keep")["decided"] == {
        ALL: (2, 24),
        "cat": (1, 8),
        "dog": (1, 8),
    }
    assert page.ask("news")["decided"] == {}
    assert page.ask("undo")["decided"] == {ALL: (0, 24), "cat": (0, 8), "dog": (0, 8)}
    assert page.ask("redo")["decided"] == {ALL: (2, 24), "cat": (1, 8), "dog": (1, 8)}
    assert page.ask("decide", paths=[ONE], action="delete")["decided"] == {}
    assert page.ask("turn", page=1)["decided"] == {}


def test_progress_counts_the_decisions_of_others(known: Scan, page: Page) -> None:
    for path in (TWO, "valid/cat/cat_v01.png"):
        by_ben(known, path, Action.DELETE)
    assert page.ask("news")["decided"] == {ALL: (1, 24), "cat": (1, 8)}


def test_a_refused_decision_is_no_progress(page: Page) -> None:
    assert page.ask("decide", paths=[ONE], action="relabel", new_label="wolf")["decided"] == {}
    assert page.ask("decide", paths=[ONE], action="keep")["decided"] == {ALL: (1, 24), "cat": (1, 8)}


def test_rows_have_the_decisions_of_an_earlier_session(known: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE], action="unsure")
    again = Page(known)
    assert again.ask("ready")["decided"] == {}
    assert {label: row["decided"] for label, row in rows_of(again).items() if row["decided"]} == {
        ALL: 1,
        "cat": 1,
        UNSURE: 1,
    }


def test_audited_and_unreadable_files_count_in_their_own_lists(page: Page) -> None:
    for label, path, numbers in ((AUDIT, "train/cat/rest.png", (1, 2)), (UNREADABLE, "train/cat/bad.png", (1, 1))):
        page.ask("open", label=label)
        assert page.ask("decide", paths=[path], action="delete")["decided"] == {label: numbers}


def test_a_file_of_two_classes_counts_in_both_and_once_in_all(scan: Scan) -> None:
    twice = scan.kept("train", "cat")[0]
    page = Page(replace(scan, samples=(*scan.samples, replace(twice, label="dog", rank=9))))
    assert page.ask("ready")["shown"] == 24
    decided = page.ask("decide", paths=[twice.path], action="keep")["decided"]
    assert decided == {ALL: (1, 24), "cat": (1, 8), "dog": (1, 9)}


def test_unsure_images_are_a_list_from_which_a_card_goes_when_it_is_opened_again(page: Page) -> None:
    assert page.ask("decide", paths=[ONE, DOG], action="unsure")["decided"][UNSURE] == (2, 2)
    reply = page.ask("open", label=UNSURE)
    assert (reply["list"], [card["path"] for card in reply["cards"]]) == ("unsure", [ONE, DOG])
    reply = page.ask("decide", paths=[ONE], action="keep")
    assert (reply["kind"], reply["decided"]) == ("done", {UNSURE: (1, 1)})
    assert [card["path"] for card in page.ask("turn", page=0)["cards"]] == [ONE, DOG]
    assert [card["path"] for card in page.ask("open", label=UNSURE)["cards"]] == [DOG]
    assert page.ask("open", label=UNSURE, split="valid")["label"] == ALL


def test_audited_and_unreadable_images_can_be_unsure(page: Page) -> None:
    for label, path in ((AUDIT, "train/cat/rest.png"), (UNREADABLE, "train/cat/bad.png")):
        page.ask("open", label=label)
        page.ask("decide", paths=[path], action="unsure")
    cards = {card["path"]: card for card in page.ask("open", label=UNSURE)["cards"]}
    assert list(cards) == ["train/cat/rest.png", "train/cat/bad.png"]
    assert {(card["predicted"], card["loss"]) for card in cards.values()} == {("", "")}


def test_images_about_which_two_reviewers_decided_differently_are_a_list(known: Scan, page: Page) -> None:
    page.ask("decide", paths=[ONE, TWO], action="keep")
    by_ben(known, ONE, Action.DELETE)
    by_ben(known, TWO, Action.KEEP)
    by_ben(known, "train/fox/fox_01.png", Action.DELETE)
    assert page.ask("news")["decided"] == {DISAGREEMENTS: (1, 1), ALL: (3, 24), "fox": (1, 8)}
    reply = page.ask("open", label=DISAGREEMENTS)
    assert (reply["list"], [card["path"] for card in reply["cards"]]) == ("disagreements", [ONE])
    assert page.ask("decide", paths=[ONE], action="delete")["decided"] == {DISAGREEMENTS: (0, 0)}
    assert page.ask("open", label=DISAGREEMENTS)["cards"] == []


def test_the_list_of_all_shows_each_image_with_several_labels_once_as_its_worst_label(tmp_path: Path) -> None:
    scan = make_label_scan(tmp_path / "data", tmp_path / "scan")
    worst = [replace(each, loss=9.0) if (each.path, each.label) == ("2.png", "dog") else each for each in scan.samples]
    page = Page(replace(scan, samples=tuple(worst)))
    reply = page.ask("ready")
    assert (reply["list"], reply["counts"]["kept"]) == ("all", 4)
    cards = [(card["path"], card["label"], card["loss"]) for card in reply["cards"]]
    assert cards == [
        ("2.png", "dog", "9.000"),
        ("0.png", "cat", "2.000"),
        ("1.png", "cat", "1.900"),
        ("3.png", "cat", "1.700"),
    ]
    decided = page.ask("decide", paths=["2.png"], action="toggle", new_label="fox")["decided"]
    assert decided == {ALL: (1, 4), "cat": (1, 4), "dog": (1, 4), "fox": (1, 4)}


# The list after a list.


def test_the_next_list_is_the_next_one_that_has_undecided_images(known: Scan) -> None:
    session = Session(known, "anna")
    lists = Lists(session)
    assert [lists.after(label) for label in (ALL, "fox", "dog", "cat")] == ["fox", "dog", "cat", AUDIT]
    assert [lists.after(label) for label in (AUDIT, UNREADABLE, UNSURE)] == [UNREADABLE, ALL, AUDIT]
    session.decide_all(list(session.samples_of("train", "dog")), Action.UNSURE)
    assert [lists.after(label) for label in ("fox", UNREADABLE)] == ["cat", ALL]
    for label in (ALL, AUDIT):
        session.decide_all(list(session.samples_of("train", label)), Action.KEEP)
    assert [lists.after(label) for label in (ALL, "cat", UNREADABLE)] == [UNREADABLE, UNREADABLE, ""]


def test_the_first_page_of_the_next_list_is_prefetched(known: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    page, ahead = Page(known), []
    monkeypatch.setattr(page.review._thumbnails, "prefetch", lambda paths, after: ahead.append(paths))
    page.ask("open", label="fox")
    assert ahead == [
        [f"train/fox/fox_0{number}.png" for number in (6, 7, 8)]
        + [f"train/dog/dog_0{number}.png" for number in (1, 2, 3, 4, 5)]
    ]


# Figures.


def test_figures_are_those_of_the_open_list_and_of_its_split(page: Page) -> None:
    page.ask("open", label="cat")
    reply = page.say({"kind": "figures", "id": 7})
    assert (reply["kind"], reply["id"], reply["split"], reply["label"]) == ("figures", 7, "train", "cat")
    assert reply["matrix"]["labels"] == ["cat", "dog", "fox"]
    assert [0, 1, 8, 8] in reply["matrix"]["cells"]
    assert (reply["matrix"]["left_out"], reply["edges"]) == (0, LOSS_EDGES)
    assert (sum(reply["histogram"]), len(reply["histogram"])) == (8, len(LOSS_EDGES) + 1)


@pytest.mark.parametrize("label", [ALL, UNSURE, AUDIT, UNREADABLE])
def test_the_losses_of_all_classes_are_added_where_no_class_is_open(label: str, page: Page) -> None:
    page.ask("open", label=label)
    reply = page.ask("figures")
    assert (reply["label"], sum(reply["histogram"])) == (ALL, 24)


def test_losses_that_are_not_finite_are_counted(known: Scan) -> None:
    cat, dog, fox = known.losses
    some = (replace(cat, not_finite=2, histogram=()), replace(dog, not_finite=3, histogram=()), fox)
    page = Page(replace(known, losses=some))
    assert page.ask("figures")["not_finite"] == 5
    page.ask("open", label="dog")
    assert page.ask("figures")["not_finite"] == 3


def test_a_scan_without_histograms_has_none(scan: Scan) -> None:
    assert Page(scan).ask("figures")["histogram"] == []


def test_the_matrix_shows_the_most_confused_of_many_classes() -> None:
    cells = {("a", "b"): 5, ("b", "c"): 4, ("c", "d"): 3, ("a", "a"): 100}
    assert most_confused_labels(cells, "abcd", max_labels=4) == ["a", "b", "c", "d"]
    assert most_confused_labels(cells, "abcdefgh", max_labels=3) == ["a", "b", "c"]
    assert most_confused_labels({}, "abcdefgh", max_labels=3) == []
