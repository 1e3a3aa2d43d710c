"""What is said at the end of a list."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from cleaner.cli import main
from cleaner.core.records import Action, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.session import Session
from cleaner.review.summary import summary
from cleaner.review.view import ALL, AUDIT, UNREADABLE, UNSURE
from tests.support.images import make_image
from tests.support.review_page import Page
from tests.support.scans import make_label_scan, make_scan


def audited(scan: Scan, count: int) -> Scan:
    """Return the scan with an audit sample of some cats."""
    cat = scan.kept("train", "cat")[0]
    audit = [replace(cat, rank=rank, path=f"train/cat/rest_{rank}.png", loss=0.01) for rank in range(1, count + 1)]
    for sample in audit:
        make_image(scan.root / sample.path)
    return replace(scan, audit=tuple(audit))


def decide_cats(session: Session, *actions: Action) -> None:
    for number, action in enumerate(actions, start=1):
        session.decide(f"train/cat/cat_0{number}.png", action, "dog" if action is Action.RELABEL else "")


def decide_audited(session: Session, *actions: Action) -> None:
    for number, action in enumerate(actions, start=1):
        session.decide(f"train/cat/rest_{number}.png", action)


KEEP, DELETE, RELABEL, WONDER = Action.KEEP, Action.DELETE, Action.RELABEL, Action.UNSURE


@pytest.mark.parametrize(
    ("actions", "line"),
    [
        ((), "0 changed, 8 undecided."),
        ((KEEP,), "0 changed, 1 kept, 7 undecided."),
        ((DELETE, RELABEL, WONDER, KEEP, KEEP), "2 changed, 1 unsure, 2 kept, 3 undecided."),
        ((KEEP,) * 8, "0 changed, 8 kept."),
    ],
)
def test_the_first_line_counts_the_decisions_in_the_list(actions: tuple[Action, ...], line: str, scan: Scan) -> None:
    session = Session(scan, "anna")
    session.open("cat")
    decide_cats(session, *actions)
    session.decide("train/dog/dog_01.png", DELETE)
    assert summary(session, is_last=False)[0] == line


def test_the_filter_changes_no_count(scan: Scan) -> None:
    session = Session(scan, "anna")
    session.open("cat")
    decide_cats(session, DELETE)
    session.filter(show="undecided", text="08")
    assert summary(session, is_last=False)[0] == "1 changed, 7 undecided."


def test_a_class_of_which_all_is_listed_has_its_share_of_errors_alone(scan: Scan) -> None:
    session = Session(scan, "anna")
    session.open("cat")
    assert summary(session, is_last=False) == ["0 changed, 8 undecided."]
    decide_cats(session, DELETE, KEEP, WONDER)
    assert summary(session, is_last=False)[1:] == ["1 of the last 2 by rank were wrong."]


@pytest.mark.parametrize(
    ("decided", "line"),
    [
        ((), "10 are not listed; the audit sample shows how many of them are wrong."),
        ((KEEP,), "In the 10 that are not listed, hardly any more images are likely to be wrong (0 of 1 audited)."),
        ((DELETE,), "In the 10 that are not listed, about 9 more images are likely to be wrong (1 of 1 audited)."),
        ((DELETE,) * 9, "In the 10 that are not listed, about 1 more image is likely to be wrong (9 of 9 audited)."),
        (
            (DELETE, *(KEEP,) * 4, *(WONDER,) * 5),
            "In the 10 that are not listed, about 1 more image is likely to be wrong (1 of 5 audited).",
        ),
        (
            (DELETE, *(KEEP,) * 8),
            "In the 10 that are not listed, hardly any more images are likely to be wrong (1 of 9 audited).",
        ),
    ],
)
def test_a_class_says_how_many_errors_are_likely_in_what_is_not_listed(
    decided: tuple[Action, ...], line: str, scan: Scan
) -> None:
    session = Session(audited(scan, 10), "anna")
    session.open("cat")
    decide_audited(session, *decided)
    assert summary(session, is_last=False)[1:] == [line]
    decide_cats(session, DELETE, KEEP, KEEP)
    assert summary(session, is_last=False)[1:] == [f"1 of the last 3 by rank were wrong. {line}"]


@pytest.mark.parametrize("label", [ALL, AUDIT, UNREADABLE, UNSURE])
def test_other_lists_than_classes_have_the_counts_alone(label: str, scan: Scan) -> None:
    scan = replace(audited(scan, 2), unreadable=(Unreadable("train", "cat", "train/cat/bad.png", "broken"),))
    session = Session(scan, "anna")
    session.decide_all(["train/cat/cat_01.png", "train/cat/rest_1.png", "train/cat/bad.png"], WONDER)
    session.open(label)
    undecided = {ALL: ", 23 undecided", AUDIT: ", 1 undecided"}.get(label, "")
    count = 3 if label == UNSURE else 1
    assert summary(session, is_last=False) == [f"0 changed, {count} unsure{undecided}."]


def test_labels_are_counted_where_images_carry_several(tmp_path: Path) -> None:
    scan = make_label_scan(tmp_path / "data", tmp_path / "scan")
    rest = replace(scan.samples[0], path="rest.png", given=("cat",))
    make_image(scan.root / "rest.png")
    session = Session(replace(scan, audit=(rest, replace(rest, path="other.png"))), "anna")
    session.open("cat")
    session.decide("rest.png", "toggle", "cat")
    line = "In the 2 that are not listed, about 1 more label is likely to be wrong (1 of 1 audited)."
    assert summary(session, is_last=False) == ["0 changed, 4 undecided.", line]


def test_the_end_of_the_last_list_has_the_totals_and_the_command_that_applies(
    tmp_path: Path,
) -> None:
    scan = make_scan(tmp_path / "the data", tmp_path / "a scan's folder", ("cat", "dog"), per_class=2)
    page = Page(scan)
    cards = page.ask("ready")["cards"]
    page.ask("decide", paths=[card["path"] for card in cards[:2]], action="delete")
    assert page.ask("summary")["lines"] == ["2 changed, 2 undecided."]
    page.ask("decide", paths=[card["path"] for card in cards[2:]], action="keep")
    reply = page.ask("summary")
    counted, total, others, how = reply["lines"]
    assert (reply["kind"], reply["version"], counted) == ("summary", page.version, "2 changed, 2 kept.")
    assert total == f"In the whole scan: {scan.estimate().summary()}"
    assert others == "4 of other splits are undecided."
    before, command = how.split(": ", 1)
    assert before == "To change the dataset, run"
    program, *arguments = shlex.split(command)
    assert (program, main(arguments)) == ("cleaner", 0)
    assert [(scan.root / card["path"]).exists() for card in cards] == [False, False, True, True]


def test_the_summary_counts_what_others_decided_meanwhile(scan: Scan) -> None:
    page = Page(scan)
    page.ask("open", label="cat")
    Session(scan, "ben").decide("train/cat/cat_07.png", DELETE)
    reply = page.ask("summary")
    assert reply["lines"] == ["1 changed, 7 undecided."]
    assert reply["decided"] == {ALL: (1, 24), "cat": (1, 8)}
