"""The session without a screen: what it shows is what the manifest says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from cleaner.review.session import Counts, Session


def decided(session: Session) -> dict[str, str]:
    return {card.sample.path: card.decision.action.value for card in session.cards() if card.decision}


def test_it_opens_the_first_class_worst_first(scan: Scan) -> None:
    session = Session(scan, page_size=5)
    assert (session.split, session.label, session.page, session.pages) == ("train", "cat", 0, 2)
    assert [card.sample.rank for card in session.cards()] == [1, 2, 3, 4, 5]
    session.turn_to(1)
    assert [card.sample.rank for card in session.cards()] == [6, 7, 8]


def test_a_decision_carries_what_the_reviewer_saw(scan: Scan) -> None:
    session = Session(scan, reviewer="anna")
    sample = session.cards()[0].sample
    card = session.decide(sample.path, Action.RELABEL, "fox")
    (row,) = Manifest(scan.manifest_path).rows()
    assert card.decision == row
    assert (row.path, row.action, row.label, row.new_label) == (sample.path, Action.RELABEL, "cat", "fox")
    assert (row.split, row.loss, row.predicted, row.reviewer) == ("train", sample.loss, "dog", "anna")
    assert row.sha256 == sha256_of(scan.root / sample.path)
    assert row.decided_at.endswith("Z")


def test_a_new_session_shows_what_stands(scan: Scan) -> None:
    session = Session(scan)
    first, second, third = (card.sample.path for card in session.cards()[:3])
    session.decide(first, Action.KEEP)
    session.decide(second, Action.DELETE)
    session.decide(second, Action.UNSURE)
    session.decide(third, Action.DELETE)
    session.decide(third, Action.UNDO)
    for again in (session, Session(scan)):
        assert decided(again) == {first: "keep", second: "unsure"}
        assert again.counts() == Counts(decided=2, kept=8, scan_decided=2, scan_kept=48)


def test_changing_class_and_split_loses_nothing(scan: Scan) -> None:
    session = Session(scan)
    path = session.cards()[0].sample.path
    session.decide(path, Action.KEEP)
    session.open_label("dog")
    assert decided(session) == {}
    session.open_split("valid")
    assert (session.split, session.label) == ("valid", "dog")
    session.open_split("train")
    session.open_label("cat")
    assert decided(session) == {path: "keep"}


def test_decisions_of_others_are_shown_after_a_refresh(scan: Scan) -> None:
    session = Session(scan)
    path = session.cards()[2].sample.path
    Manifest(scan.manifest_path).append(Decision(path, Action.KEEP, reviewer="ben"))
    session.refresh()
    assert decided(session) == {path: "keep"}
    assert session.counts() == Counts(decided=1, kept=8, scan_decided=1, scan_kept=48)


def test_a_deleted_file_can_still_be_decided(scan: Scan) -> None:
    session = Session(scan)
    path = session.cards()[0].sample.path
    (scan.root / path).unlink()
    assert session.decide(path, Action.DELETE).decision.sha256 == ""


def test_a_file_that_the_scan_names_twice_is_one_card_and_counts_once(scan: Scan) -> None:
    first, second, *others = scan.samples
    again = replace(second, rank=9, loss=0.1)
    in_other_class = replace(second, label="dog", rank=9)
    session = Session(replace(scan, samples=(first, second, *others, again, in_other_class)), page_size=5)
    assert (session.pages, session.counts()) == (2, Counts(decided=0, kept=8, scan_decided=0, scan_kept=48))
    session.decide(second.path, Action.KEEP)
    assert session.counts() == Counts(decided=1, kept=8, scan_decided=1, scan_kept=48)
    assert [card.sample for card in session.cards()][:2] == [first, second]
    assert Manifest(scan.manifest_path).rows()[-1].loss == second.loss
    session.open_label("dog")
    assert session.counts() == Counts(decided=1, kept=9, scan_decided=1, scan_kept=48)
    session.decide(second.path, Action.DELETE)
    assert Manifest(scan.manifest_path).rows()[-1].label == "dog"


def test_nothing_is_decided_when_the_disk_is_full(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(scan)
    path = session.cards()[0].sample.path

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.core.manifest.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        session.decide(path, Action.KEEP)
    assert decided(session) == {}
    assert session.counts().scan_decided == 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.decide("nowhere.png", Action.KEEP), "kept no sample"),
        (lambda s: s.decide("../../etc/passwd", Action.DELETE), "kept no sample"),
        (lambda s: s.decide(s.cards()[0].sample.path, Action.RELABEL, "wolf"), "no label 'wolf'"),
        (lambda s: s.decide(s.cards()[0].sample.path, Action.RELABEL, "cat"), "already"),
        (lambda s: s.decide(s.cards()[0].sample.path, Action.RELABEL), "no label ''"),
        (lambda s: s.decide(s.cards()[0].sample.path, Action.KEEP, "dog"), "new_label"),
        (lambda s: s.decide(s.cards()[0].sample.path, Action.UNDO), "nothing to undo"),
        (lambda s: s.turn_to(9), "no page 9"),
        (lambda s: s.turn_to(-1), "no page -1"),
        (lambda s: s.turn_to("1"), "no page '1'"),
        (lambda s: s.open_split("test"), "no split 'test'"),
        (lambda s: s.open_label("wolf"), "no label 'wolf'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(scan: Scan, call: object, match: str) -> None:
    session = Session(scan)
    with pytest.raises(CleanerError, match=match):
        call(session)
    assert not scan.manifest_path.exists()


@pytest.mark.parametrize("page_size", [0, -1, 201, 2.0, True, "30"])
def test_page_sizes(scan: Scan, page_size: object) -> None:
    with pytest.raises(CleanerError, match="page_size"):
        Session(scan, page_size=page_size)


def test_a_scan_without_samples_is_refused(tmp_path: Path) -> None:
    empty = Scan(tmp_path, ("cat", "dog"), ("all",), 5, {"all": 0}, (), {"all": {}}).write(tmp_path / "scan")
    with pytest.raises(CleanerError, match="nothing to review"):
        Session(empty)
