"""The view that a reviewer had last: remembered, and ignored if it cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cleaner.core.records import Action
from cleaner.core.scan import Scan
from cleaner.review.saved_view import read_view, write_view
from cleaner.review.session import Session
from cleaner.review.view import View


def test_the_view_is_remembered_for_each_reviewer(scan: Scan) -> None:
    session = Session(scan, "anna")
    session.set_page_size(3)
    session.open_split("valid")
    session.filter(label="fox", order="name", text="FOX")
    session.turn_to(2)
    again = Session(scan, "anna")
    assert again.view == View("valid", "fox", 2, 3, order="name", text="FOX")
    assert Session(scan, "ben").view == View("train", "cat")
    assert (scan.folder / "decisions.csv.place-anna.json").is_file()


def test_a_filtered_view_opens_at_its_first_page_as_its_cards_may_have_changed(scan: Scan) -> None:
    session = Session(scan, "anna", page_size=3)
    session.filter(show="undecided")
    session.turn_to(1)
    session.decide(session.cards()[0].sample.path, Action.KEEP)
    assert Session(scan, "anna").view == View("train", "cat", 0, 3, "undecided")


@pytest.mark.parametrize("page_size", [None, 4])
def test_a_page_size_that_is_given_wins_over_the_remembered_one(scan: Scan, page_size: int | None) -> None:
    Session(scan, "anna", page_size=3).turn_to(2)
    assert Session(scan, "anna", page_size).view == View("train", "cat", *((2, 3) if page_size is None else (0, 4)))


NONSENSE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    json.dumps({"split": "train"}).encode(),
    *(
        json.dumps(
            {
                "split": "train",
                "label": "cat",
                "page": 0,
                "page_size": 30,
                "show": "all",
                "predicted": "",
                "text": "",
                "order": "loss",
            }
            | change
        ).encode()
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
        )
    ),
]


@pytest.mark.parametrize("data", NONSENSE, ids=lambda data: repr(data[:60]))
def test_an_invalid_saved_view_is_ignored(scan: Scan, data: bytes) -> None:
    (scan.folder / "decisions.csv.place-anna.json").write_bytes(data)
    session = Session(scan, "anna")
    assert session.view == View("train", "cat")
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
