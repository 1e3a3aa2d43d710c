"""A blind review shows a reviewer their own decisions only, and refuses none because of another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cleaner.cli import main
from cleaner.core.scan import Scan
from cleaner.review.session import Session
from cleaner.review.view import ALL, DISAGREEMENTS, UNSURE
from tests.support.review_page import Page
from tests.support.scans import make_scan

ONE, TWO = "train/cat/cat_01.png", "train/cat/cat_02.png"


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return make_scan(tmp_path / "data", tmp_path / "scan")


def session(scan: Scan, reviewer: str, is_blind: bool = True) -> Session:
    return Session(scan, reviewer, is_blind=is_blind)


def shown(of: Session, path: str = ONE) -> str:
    of.refresh()
    decision = of.card(path).decision
    return decision.action.value if decision else ""


def test_each_sees_and_changes_their_own_decision(scan: Scan) -> None:
    ann, ben, eve = session(scan, "ann"), session(scan, "ben"), session(scan, "eve", is_blind=False)
    ann.decide(ONE, "delete")
    assert (shown(ann), shown(ben), shown(eve)) == ("delete", "", "delete")
    ben.decide(ONE, "keep")
    assert (shown(ann), shown(ben), shown(eve)) == ("delete", "keep", "keep")
    assert ann.card(ONE).others == ben.card(ONE).others == ()
    assert [other.reviewer for other in eve.card(ONE).others] == ["ann"]
    ann.decide(ONE, "unsure")
    ben.undo()
    assert (shown(ann), shown(ben)) == ("unsure", "")


def test_counts_and_lists_are_the_reviewers_own(scan: Scan) -> None:
    ann, ben = session(scan, "ann"), session(scan, "ben")
    ann.decide(ONE, "unsure")
    ben.decide(TWO, "keep")
    ben.refresh()
    assert ben.counts().scan_decided == 1
    assert ben.samples_of("train", UNSURE) == {}
    assert ben.samples_of("train", DISAGREEMENTS) == {}


def test_who_takes_another_name_sees_the_decisions_of_that_name(scan: Scan) -> None:
    ann, other = session(scan, "ann"), session(scan, "ben")
    ann.decide(ONE, "delete")
    other.set_reviewer("ann")
    assert shown(other) == "delete"


def test_an_edited_manifest_is_read_again(scan: Scan) -> None:
    ann, ben = session(scan, "ann"), session(scan, "ben")
    ann.decide(ONE, "delete")
    ben.decide(ONE, "keep")
    header, *rows = scan.manifest_path.read_text().splitlines(keepends=True)
    scan.manifest_path.write_text(header + rows[1])
    assert (shown(ann), shown(ben)) == ("", "keep")


def test_the_agreement_of_two_blind_reviewers_is_printed(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    ann, ben = session(scan, "ann"), session(scan, "ben")
    for each in (ann, ben):
        each.decide(TWO, "keep")
    ann.decide(ONE, "delete")
    ben.decide(ONE, "relabel", "fox")
    assert main(["agreement", str(scan.folder)]) == 0
    said = capsys.readouterr().out
    assert "train/cat/cat_01.png  delete  relabel to fox" in said
    assert "2 by at least two, who agree in 50.0% of the pairs, Cohen's kappa 0.333" in said


def test_the_page_of_a_blind_review_does_not_show_what_others_decided(scan: Scan) -> None:
    session(scan, "ann").decide(ONE, "delete")
    page = Page(scan, blind=True)
    cards = {card["path"]: card for card in page.ask("open", label=ALL)["cards"]}
    assert (cards[ONE]["action"], cards[ONE]["others"]) == ("", [])
