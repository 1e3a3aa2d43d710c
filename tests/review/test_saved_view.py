"""The view that a reviewer had last: remembered, and ignored if it cannot be used."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from cleaner.core.records import Action
from cleaner.core.scan import Scan
from cleaner.review.saved_view import read_view, write_view
from cleaner.review.session import Session
from cleaner.review.view import ALL, UNSURE, View


def test_the_view_is_remembered_for_each_reviewer(scan: Scan) -> None:
    session = Session(scan, "anna")
    session.set_page_size(3)
    session.open("fox", "valid")
    session.filter(order="name", text="FOX")
    session.turn_to(2)
    session.place_cursor("valid/fox/fox_v08.png")
    again = Session(scan, "anna")
    assert again.view == View("valid", "fox", 2, 3, order="name", text="FOX", at="valid/fox/fox_v08.png")
    assert Session(scan, "ben").view == View("train", ALL)
    assert (scan.folder / "decisions.csv.place-anna.json").is_file()


@pytest.mark.parametrize("page_size", [None, 4, 7])
def test_the_page_of_the_cursor_opens_whatever_the_page_size(page_size: int | None, scan: Scan) -> None:
    session = Session(scan, "anna", page_size=3)
    session.turn_to(2)
    session.place_cursor(session.paths[1])
    again = Session(scan, "anna", page_size)
    assert (again.view.page_size, again.view.at) == (page_size or 3, session.paths[1])
    assert again.view.at in again.paths


@pytest.mark.parametrize("page_size", [None, 4])
def test_without_a_cursor_the_page_with_the_first_card_of_the_last_one_opens(page_size: int | None, scan: Scan) -> None:
    session = Session(scan, "anna", page_size=3)
    session.turn_to(2)
    again = Session(scan, "anna", page_size)
    assert (again.view.page, again.view.at) == (2 if page_size is None else 1, session.paths[0])


def test_a_filtered_view_opens_at_its_first_page_if_the_cursors_card_no_longer_fits(scan: Scan) -> None:
    session = Session(scan, "anna", page_size=3)
    session.open("cat")
    session.filter(show="undecided")
    session.turn_to(1)
    first, second, _ = session.paths
    session.decide(first, Action.KEEP)
    again = Session(scan, "anna")
    assert (again.view.label, again.view.page, again.view.show, again.view.at) == ("cat", 0, "undecided", "")
    session.place_cursor(second)
    assert (Session(scan, "anna").view.page, Session(scan, "anna").view.at) == (1, second)


@pytest.mark.parametrize(
    "filters", [{"text": "none"}, {"predicted": "fox"}, {"show": "unsure"}, {"show": "decided", "text": "none"}]
)
def test_a_filter_that_shows_nothing_is_dropped(filters: dict[str, str], scan: Scan) -> None:
    session = Session(scan, "anna", page_size=3)
    session.open("cat")
    session.filter(order="name", **filters)
    assert session.paths == []
    again = Session(scan, "anna")
    assert (again.view.show, again.view.text, again.view.predicted, again.view.order) == ("all", "", "", "name")
    assert (again.view.label, len(again.shown)) == ("cat", 8)


def test_a_list_that_is_empty_now_is_not_opened_again(scan: Scan) -> None:
    session = Session(scan, "anna")
    session.decide("train/cat/cat_01.png", Action.UNSURE)
    session.open(UNSURE)
    assert Session(scan, "anna").view.label == UNSURE
    session.undo()
    assert Session(scan, "anna").view == View("train", ALL)


NONSENSE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    json.dumps({"split": "train"}).encode(),
    *(
        json.dumps(asdict(View("train", "cat")) | change).encode()
        for change in (
            {"split": "gone"},
            {"label": "gone"},
            {"label": "\0unreadable"},
            {"label": 5},
            {"page": 10**30},
            {"page": -1},
            {"page": True},
            {"page_size": 0},
            {"page_size": 10**9},
            {"show": "nonsense"},
            {"predicted": "gone"},
            {"order": []},
            {"at": 5},
        )
    ),
]


@pytest.mark.parametrize("data", NONSENSE, ids=lambda data: repr(data[:60]))
def test_an_invalid_saved_view_is_ignored(scan: Scan, data: bytes) -> None:
    (scan.folder / "decisions.csv.place-anna.json").write_bytes(data)
    session = Session(scan, "anna")
    assert session.view == View("train", ALL)
    assert session.warnings == []


def test_the_view_of_a_read_only_scan_is_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    manifest, view = tmp_path / "no folder" / "decisions.csv", View("train", "cat", 5)
    assert write_view(manifest, "anna", view) == ""
    assert read_view(manifest, "anna") == view
    assert read_view(manifest, "ben") is None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    assert "decisions.csv.place-anna.json" in write_view(manifest, "anna", view)
    assert read_view(manifest, "anna") is None


def test_a_view_that_cannot_be_written_is_a_warning_and_stops_nothing(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.review.saved_view.os.replace", full)
    session = Session(scan, "anna", page_size=3)
    session.turn_to(1)
    assert session.view.page == 1
    assert "No space left on device" in session.warnings[0]


@pytest.mark.parametrize("reviewer", ["", "../../x", "a/b", "..", "naïve 🐻", "x" * 500, "\udcff", "a\0b", "CON"])
def test_any_reviewer_name_gives_a_file_in_the_folder(tmp_path: Path, reviewer: str) -> None:
    view = View("train", "cat", 5)
    assert write_view(tmp_path / "decisions.csv", reviewer, view) == ""
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("decisions.csv.place-")
    assert read_view(tmp_path / "decisions.csv", reviewer) == view
