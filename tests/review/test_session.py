"""Sessions without widgets, compared with the manifest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Typical, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.session import Counts, Session
from cleaner.review.view import ALL, AUDIT, UNREADABLE, UNSURE
from tests.support.images import make_image
from tests.support.review_page import names
from tests.support.scans import make_scan

ONE, TWO, THREE, SIX = (f"train/cat/cat_0{number}.png" for number in (1, 2, 3, 6))


def of_cats(scan: Scan, reviewer: str = "anna", page_size: int = 30) -> Session:
    """Return a session with the cats open."""
    session = Session(scan, reviewer, page_size)
    session.open("cat")
    return session


def decided(session: Session) -> dict[str, str]:
    return {card.sample.path: card.decision.action.value for card in session.cards() if card.decision}


def test_it_opens_all_classes_with_the_highest_loss_first(scan: Scan) -> None:
    session = Session(scan, page_size=5)
    assert (session.view.split, session.view.label, session.view.page, session.pages) == ("train", ALL, 0, 5)
    assert [(card.sample.label, card.sample.rank) for card in session.cards()] == [
        ("cat", 1),
        ("dog", 1),
        ("fox", 1),
        ("cat", 2),
        ("dog", 2),
    ]


def test_a_class_has_the_highest_loss_first(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    assert (session.view.label, session.view.page, session.pages) == ("cat", 0, 2)
    assert [card.sample.rank for card in session.cards()] == [1, 2, 3, 4, 5]
    session.turn_to(1)
    assert [card.sample.rank for card in session.cards()] == [6, 7, 8]


@pytest.mark.parametrize(
    ("vocab", "label", "opened"),
    [(("cat", "dog"), "cat", ALL), (("cat",), "cat", "cat"), (("cat", "dog"), "", UNREADABLE)],
)
def test_it_begins_with_all_classes_or_the_one_class_or_the_unreadable_files(
    vocab: tuple[str, ...], label: str, opened: str, scan: Scan
) -> None:
    samples = tuple(replace(sample, predicted="cat") for sample in scan.samples if sample.label == label)
    bad = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    cells = {split: {("cat", "cat"): 8} for split in scan.splits}
    session = Session(replace(scan, vocab=vocab, samples=samples, cells=cells, unreadable=bad))
    assert session.view.label == opened


def test_a_row_holds_the_sample_as_the_reviewer_saw_it(scan: Scan) -> None:
    session = of_cats(scan)
    sample = session.cards()[0].sample
    card = session.decide(sample.path, Action.RELABEL, "fox")
    (row,) = Manifest(scan.manifest_path).rows()
    assert card.decision == row
    assert (row.path, row.action, row.label, row.new_label) == (sample.path, Action.RELABEL, "cat", "fox")
    assert (row.split, row.loss, row.predicted, row.reviewer) == ("train", sample.loss, "dog", "anna")
    assert row.sha256 == sha256_of(scan.root / sample.path)
    assert row.decided_at.endswith("Z")


def test_a_new_session_shows_the_decisions_that_stand(scan: Scan) -> None:
    session = of_cats(scan)
    first, second, third = (card.sample.path for card in session.cards()[:3])
    session.decide(first, Action.KEEP)
    session.decide(second, Action.DELETE)
    session.decide(second, Action.UNSURE)
    session.decide(third, Action.DELETE)
    session.decide(third, Action.UNDO)
    for again in (session, of_cats(scan)):
        assert decided(again) == {first: "keep", second: "unsure"}
        assert again.counts() == Counts(decided=2, changed=0, kept=8, scan_decided=2, scan_kept=48)


def test_changing_class_and_split_loses_nothing(scan: Scan) -> None:
    session = of_cats(scan)
    session.decide(ONE, Action.KEEP)
    session.open("dog")
    assert decided(session) == {}
    session.open("dog", "valid")
    assert (session.view.split, session.view.label) == ("valid", "dog")
    session.open("cat", "train")
    assert decided(session) == {ONE: "keep"}


def test_a_list_opens_at_its_first_page_in_the_order_and_with_the_decisions_shown_before(scan: Scan) -> None:
    session = of_cats(scan, page_size=3)
    session.filter(show="undecided", text="cat", predicted="dog", order="name")
    session.turn_to(1)
    session.place_cursor(session.paths[1])
    session.open("dog")
    view = session.view
    assert (view.page, view.predicted, view.text, view.at) == (0, "", "", "")
    assert (view.show, view.order) == ("undecided", "name")


def test_in_a_split_without_the_open_list_all_classes_are_opened(scan: Scan) -> None:
    samples = tuple(sample for sample in scan.samples if sample.split == "train" or sample.label == "dog")
    bad = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    session = Session(replace(scan, samples=samples, unreadable=bad))
    for label, opened in (("cat", ALL), (UNREADABLE, ALL), (UNSURE, ALL), ("dog", "dog")):
        session.open(label, "train")
        session.open(label, "valid")
        assert (session.view.split, session.view.label) == ("valid", opened)


def test_in_a_split_without_the_open_list_the_one_class_is_opened(tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", ("cat",), per_class=1)
    session = Session(replace(scan, unreadable=(Unreadable("train", "cat", "train/cat/bad.png", "broken"),)))
    session.open(UNREADABLE)
    session.open(UNREADABLE, "valid")
    assert (session.view.split, session.view.label) == ("valid", "cat")


def test_decisions_of_others_are_shown_after_a_refresh(scan: Scan) -> None:
    session = of_cats(scan)
    path = session.cards()[2].sample.path
    Manifest(scan.manifest_path).append(Decision(path, Action.KEEP, reviewer="ben"))
    session.refresh()
    assert decided(session) == {path: "keep"}
    assert session.counts() == Counts(decided=1, changed=0, kept=8, scan_decided=1, scan_kept=48)


def test_a_deleted_file_can_still_be_decided(scan: Scan) -> None:
    session = Session(scan)
    path = session.cards()[0].sample.path
    (scan.root / path).unlink()
    assert session.decide(path, Action.DELETE).decision.sha256 == ""


def test_a_file_that_the_scan_names_twice_is_one_card_and_counts_once(scan: Scan) -> None:
    first, second, *others = scan.samples
    again = replace(second, rank=9, loss=0.1)
    in_other_class = replace(second, label="dog", rank=9)
    session = of_cats(replace(scan, samples=(first, second, *others, again, in_other_class)), page_size=5)
    assert session.pages == 2
    assert session.counts() == Counts(decided=0, changed=0, kept=8, scan_decided=0, scan_kept=48)
    session.decide(second.path, Action.KEEP)
    assert session.counts() == Counts(decided=1, changed=0, kept=8, scan_decided=1, scan_kept=48)
    assert [card.sample for card in session.cards()][:2] == [first, second]
    assert Manifest(scan.manifest_path).rows()[-1].loss == second.loss
    session.open("dog")
    assert session.counts() == Counts(decided=1, changed=0, kept=9, scan_decided=1, scan_kept=48)
    session.decide(second.path, Action.DELETE)
    assert Manifest(scan.manifest_path).rows()[-1].label == "dog"
    session.open(ALL)
    assert (session.counts().kept, len(session.shown)) == (24, 24)
    assert session.card(second.path).sample == second  # the one with the highest loss


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
        (lambda s: s.open("cat", "test"), "no split 'test'"),
        (lambda s: s.open("wolf"), "no label 'wolf'"),
        (lambda s: s.open("wolf", "valid"), "no label 'wolf'"),
        (lambda s: s.open("cat", predicted="wolf"), "predicted is 'wolf'"),
        (lambda s: s.filter(label="wolf"), "no label 'wolf'"),
        (lambda s: s.set_page_size(0), "page_size"),
        (lambda s: s.place_cursor("valid/cat/cat_v01.png"), "the open page has no card"),
        (lambda s: s.decide_all([], Action.KEEP), "at least one image"),
        (lambda s: s.decide_all([ONE, "nowhere.png"], Action.KEEP), "kept no sample"),
        (lambda s: s.decide_all([ONE, "train/dog/dog_01.png"], Action.RELABEL, "dog"), "already"),
        (lambda s: s.undo(), "Nothing to undo"),
        (lambda s: s.redo(), "Nothing to redo"),
    ],
)
def test_invalid_calls_are_refused_and_nothing_is_written(scan: Scan, call: object, match: str) -> None:
    session = Session(scan)
    view = session.view
    with pytest.raises(CleanerError, match=match):
        call(session)
    assert (session.view, scan.manifest_path.exists()) == (view, False)


@pytest.mark.parametrize("page_size", [0, -1, 201, 2.0, True, "30"])
def test_page_sizes_out_of_range_are_refused(scan: Scan, page_size: object) -> None:
    with pytest.raises(CleanerError, match="page_size"):
        Session(scan, page_size=page_size)


def test_a_scan_without_samples_is_refused(tmp_path: Path) -> None:
    empty = Scan(tmp_path, ("cat", "dog"), ("all",), 5, {"all": 0}, (), {"all": {}}).write(tmp_path / "scan")
    with pytest.raises(CleanerError, match="nothing to review"):
        Session(empty)


# Several images, and the cursor.


def test_each_page_begins_with_the_cursor_on_its_first_card(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    session.place_cursor(THREE)
    assert session.view.at == THREE
    session.turn_to(1)
    assert session.view.at == ""


def test_a_decision_about_many_images_is_one_append(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    session = of_cats(scan, page_size=5)
    appended: list[int] = []
    append = Manifest.append
    monkeypatch.setattr(
        Manifest, "append", lambda self, *rows, **more: (appended.append(len(rows)), append(self, *rows, **more))
    )
    session.decide_all(session.paths[:3], Action.DELETE)
    assert (appended, names(list(decided(session)))) == ([3], [1, 2, 3])
    session.decide_all(session.paths[3:4], Action.RELABEL, "fox")
    session.decide_all(session.paths[4:], "predicted")
    assert list(decided(session).values()) == ["delete"] * 3 + ["relabel"] * 2
    assert [card.decision.new_label for card in session.cards()[3:]] == ["fox", "dog"]


def test_taking_the_predicted_label_keeps_a_card_that_has_it_already(scan: Scan) -> None:
    same = replace(scan.samples[0], predicted="cat")
    session = of_cats(replace(scan, samples=(same, *scan.samples[1:])))
    session.decide_all([ONE, TWO], "predicted")
    assert list(decided(session).values()) == ["keep", "relabel"]


# Undo and redo.


def test_undo_and_redo_restore_decisions_by_new_rows(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    session.decide_all([ONE, TWO], Action.KEEP)
    session.decide_all([TWO], Action.DELETE)
    assert list(decided(session).values()) == ["keep", "delete"]
    assert session.undo() == (TWO, "")
    assert list(decided(session).values()) == ["keep", "keep"]
    assert session.undo() == (ONE, "")
    assert decided(session) == {}
    assert session.redo() == (ONE, "")
    assert session.redo() == (TWO, "")
    assert list(decided(session).values()) == ["keep", "delete"]
    rows = [(row.path[-6:-4], row.action.value) for row in Manifest(scan.manifest_path).rows()]
    assert rows == [
        ("01", "keep"),
        ("02", "keep"),
        ("02", "delete"),
        ("02", "keep"),
        ("01", "undo"),
        ("02", "undo"),
        ("01", "keep"),
        ("02", "keep"),
        ("02", "delete"),
    ]
    assert not session.undo_redo.undone
    with pytest.raises(CleanerError, match="Nothing to redo"):
        session.redo()


def test_undo_opens_the_page_of_the_action(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    session.turn_to(1)
    session.decide(SIX, Action.KEEP)
    session.open("fox", predicted="cat")
    assert session.undo() == (SIX, "")
    assert (session.view.label, session.view.page, session.view.at) == ("cat", 1, SIX)
    session.redo()
    session.filter(show="delete")
    session.undo()
    assert (session.view.show, session.view.page, session.view.at) == ("all", 1, SIX)


def test_undo_leaves_what_somebody_else_decided_since(scan: Scan) -> None:
    session = of_cats(scan)
    session.decide_all([ONE, TWO], Action.KEEP)
    Manifest(scan.manifest_path).append(Decision(TWO, Action.DELETE, reviewer="ben"))
    assert session.undo() == (ONE, f"Left unchanged, as others decided since: {TWO}")
    assert decided(session) == {TWO: "delete"}
    assert session.redo() == (ONE, "")
    assert decided(session) == {ONE: "keep", TWO: "delete"}


def test_undo_of_what_others_decided_since_changes_nothing_and_is_not_redone(scan: Scan) -> None:
    session = of_cats(scan)
    session.decide(ONE, Action.KEEP)
    Manifest(scan.manifest_path).append(Decision(ONE, Action.DELETE, reviewer="ben"))
    view = session.view
    assert session.undo() == ("", f"Left unchanged, as others decided since: {ONE}")
    assert (session.view, session.undo_redo.done, session.undo_redo.undone) == (view, [], [])
    assert len(Manifest(scan.manifest_path).rows()) == 2


def test_undo_restores_the_decision_of_another_reviewer_as_theirs(scan: Scan) -> None:
    path = scan.samples[0].path
    Manifest(scan.manifest_path).append(
        Decision(path, Action.DELETE, reviewer="ben", decided_at="2026-01-31T12:00:00Z")
    )
    session = Session(scan, "anna")
    before = session.card(path)
    session.decide(path, Action.KEEP)
    (other,) = session.card(path).others
    assert (other.reviewer, other.action) == ("ben", Action.DELETE)
    session.undo()
    assert session.card(path).revision == before.revision
    assert session.card(path).others == ()


def test_nothing_is_undone_when_the_disk_is_full(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(scan)
    session.decide(ONE, Action.KEEP)
    with monkeypatch.context() as context:
        context.setattr("cleaner.core.manifest.os.fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            session.undo()
    assert len(decided(session)) == 1
    session.undo()
    assert decided(session) == {}


# Filters, order, unreadable files.


def test_filters_select_cards(scan: Scan) -> None:
    session = of_cats(scan)
    session.decide_all([ONE, TWO], Action.KEEP)
    session.decide(THREE, Action.DELETE)
    shown = {}
    for show in ("all", "undecided", "decided", "keep", "delete", "unsure"):
        session.filter(show=show)
        shown[show] = names([card.sample.path for card in session.cards()])
    assert shown == {
        "all": [1, 2, 3, 4, 5, 6, 7, 8],
        "undecided": [4, 5, 6, 7, 8],
        "decided": [1, 2, 3],
        "keep": [1, 2],
        "delete": [3],
        "unsure": [],
    }
    session.filter(show="all", text=" CAT_03")
    assert names([card.sample.path for card in session.cards()]) == [3]
    session.filter(text="", predicted="fox")
    assert (session.cards(), session.paths, len(session.shown), session.pages) == ([], [], 0, 1)
    session.filter(predicted="dog")
    assert len(session.shown) == 8


def test_a_decided_card_stays_until_the_filter_is_applied_again(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    session.filter(show="undecided")
    session.decide(ONE, Action.KEEP)
    assert names([card.sample.path for card in session.cards()]) == [1, 2, 3, 4, 5]
    session.filter()
    assert names([card.sample.path for card in session.cards()]) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("change", [{"show": "x"}, {"order": "x"}, {"predicted": "x"}, {"label": "x"}, {"text": 5}])
def test_an_invalid_filter_changes_nothing(scan: Scan, change: dict[str, object]) -> None:
    session = Session(scan)
    before = session.view
    with pytest.raises(CleanerError):
        session.filter(**change)
    assert session.view == before


def test_the_page_with_a_card_stays_open_when_the_page_size_changes(scan: Scan) -> None:
    session = of_cats(scan, page_size=5)
    session.turn_to(1)
    session.set_page_size(3, "train/cat/cat_07.png")
    assert (session.view.page, session.view.at, names(session.paths)) == (2, "train/cat/cat_07.png", [7, 8])
    session.set_page_size(2)
    assert (session.view.page, session.view.at, names(session.paths)) == (3, "", [7, 8])


def test_unreadable_files_are_a_list_of_their_own(scan: Scan) -> None:
    (scan.root / "train/cat/bad.png").write_bytes(b"no image")
    bad = Unreadable("train", "cat", "train/cat/bad.png", "broken"), Unreadable("valid", "fox", "valid/x.png", "gone")
    session = Session(replace(scan, unreadable=bad))
    assert session.counts().scan_kept == 50
    session.open(UNREADABLE)
    (card,) = session.cards()
    assert (card.error, card.sample.label, card.sample.predicted) == ("broken", "cat", "")
    for wrong in ((Action.RELABEL, "dog"), ("predicted",)):
        with pytest.raises(CleanerError, match="could not be read"):
            session.decide(card.sample.path, *wrong)
    session.decide(card.sample.path, Action.DELETE)
    (row,) = Manifest(scan.manifest_path).rows()
    assert (row.path, row.label, row.split, row.action.value) == ("train/cat/bad.png", "cat", "train", "delete")
    assert row.sha256 == sha256_of(scan.root / "train/cat/bad.png")
    assert session.counts() == Counts(decided=1, changed=1, kept=1, scan_decided=1, scan_kept=50)
    assert Session(session.scan).view.label == UNREADABLE
    session.open(UNREADABLE, "valid")
    assert [card.error for card in session.cards()] == ["gone"]


def test_a_card_has_the_differing_decisions_of_others(scan: Scan) -> None:
    session = Session(scan, "anna")
    path = session.cards()[0].sample.path

    def said() -> list[str]:
        return [f"{other.reviewer} {other.action}" for other in Session(scan, "carl").card(path).others]

    by_ben = Manifest(scan.manifest_path)
    by_ben.append(Decision(path, Action.KEEP, reviewer="ben"))
    session.refresh()
    session.decide(path, Action.KEEP)
    assert said() == []
    session.decide(path, Action.DELETE)
    assert said() == ["ben keep"]
    by_ben.append(Decision(path, Action.UNSURE, reviewer="ben"))
    assert said() == ["anna delete"]
    by_ben.append(Decision(path, Action.UNDO, reviewer="ben"))
    assert said() == []


def quicker(session: Session, monkeypatch: pytest.MonkeyPatch, *decisions: Decision) -> None:
    """Append somebody else's decisions just before those of a session are written."""
    append = Manifest.append

    def append_after(self: Manifest, *rows: Decision, **more: object) -> None:
        monkeypatch.undo()
        Manifest(session.manifest.path).append(*decisions)
        append(self, *rows, **more)

    monkeypatch.setattr(Manifest, "append", append_after)


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.decide(s.paths[1], Action.DELETE),
        lambda s: s.decide_all(s.paths, Action.KEEP),
        lambda s: s.decide_all(s.paths, "predicted"),
    ],
)
def test_a_decision_taken_a_moment_before_is_not_overridden(
    act: Callable[[Session], object], scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = of_cats(scan, page_size=3)
    path = session.cards()[1].sample.path
    quicker(session, monkeypatch, Decision(path, Action.UNSURE, reviewer="ben"))
    with pytest.raises(CleanerError, match=f"ben decided 'unsure' for {path!r} meanwhile"):
        act(session)
    assert decided(session) == {path: "unsure"}
    assert [row.reviewer for row in Manifest(scan.manifest_path).rows()] == ["ben"]
    assert (session.undo_redo.done, session.counts().scan_decided) == ([], 1)
    act(session)  # now the session has seen it and may decide otherwise
    assert {row.reviewer for row in Manifest(scan.manifest_path).rows()} == {"ben", "anna"}


def test_undo_does_not_override_a_decision_taken_a_moment_before(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    session = of_cats(scan)
    session.decide_all([ONE, TWO], Action.KEEP)
    quicker(session, monkeypatch, Decision(TWO, Action.UNDO, reviewer="ben"))
    with pytest.raises(CleanerError, match=f"took back the decision about {TWO!r}"):
        session.undo()
    assert decided(session) == {ONE: "keep"}
    assert session.undo() == (ONE, f"Left unchanged, as others decided since: {TWO}")
    assert decided(session) == {}


def test_another_reviewer_has_nothing_to_undo(scan: Scan) -> None:
    session = Session(scan, reviewer=" anna ")
    session.decide(ONE, Action.KEEP)
    session.set_reviewer("ben")
    assert not session.undo_redo.done
    session.decide(ONE, Action.DELETE)
    assert [row.reviewer for row in session.manifest.rows()] == ["anna", "ben"]
    session.set_reviewer("ben")
    assert session.undo_redo.done


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "=1+1", "@x", "-", "a" * 81, None, 5, "\u202e"])
def test_an_invalid_reviewer_name_is_refused(scan: Scan, name: str) -> None:
    session = Session(scan, reviewer="anna")
    with pytest.raises(CleanerError, match="the reviewer's name is"):
        session.set_reviewer(name)
    assert session.reviewer == "anna"


def test_the_pages_beside_and_the_next_list_are_prefetched(scan: Scan) -> None:
    session = of_cats(scan, page_size=3)
    dogs = [f"train/dog/dog_{rank:02d}.png" for rank in range(1, 4)]
    assert session.paths_ahead() == [f"train/cat/cat_{rank:02d}.png" for rank in range(4, 7)]
    assert session.paths_ahead("dog") == session.paths_ahead() + dogs
    session.turn_to(1)
    around = [f"train/cat/cat_{rank:02d}.png" for rank in (7, 8, 1, 2, 3)]
    assert session.paths_ahead("dog") == around + dogs
    session.filter(order="name", text="3", predicted="dog", show="undecided")
    session.decide("train/dog/dog_01.png", Action.KEEP)
    assert names(session.paths_ahead("dog")) == [2, 3, 4]  # the next list opens without text and prediction


def test_undo_of_a_decision_in_another_class_opens_that_class(scan: Scan) -> None:
    session = of_cats(scan)
    session.decide("train/fox/fox_03.png", Action.DELETE)
    assert session.undo() == ("train/fox/fox_03.png", "")
    assert (session.view.split, session.view.label) == ("train", "fox")
    assert session.view.at == "train/fox/fox_03.png"
    assert "train/fox/fox_03.png" not in session.standing


@pytest.mark.parametrize("action", [Action.UNSURE, Action.KEEP])
def test_undo_of_a_decision_in_a_list_that_decisions_fill_opens_the_class(action: Action, scan: Scan) -> None:
    """The image may have left that list."""
    session = of_cats(scan)
    session.decide(SIX, Action.UNSURE)
    session.open(UNSURE)
    session.decide(SIX, action)
    session.open("fox")
    session.undo()
    assert (session.view.label, session.view.at) == ("cat", SIX)


@pytest.mark.parametrize(("action", "label"), [("relabel", "kat"), ("relabel", ""), ("burn", ""), ("keep", "dog")])
def test_an_action_given_as_text_is_checked_too(scan: Scan, action: Any, label: str) -> None:
    session = Session(scan, "anna")
    with pytest.raises(CleanerError):
        session.decide("train/cat/cat_01.png", action, label)
    with pytest.raises(CleanerError):
        session.decide_all(["train/cat/cat_01.png", "train/cat/cat_02.png"], action, label)
    assert not Manifest(scan.manifest_path).rows()
    assert session.decide("train/cat/cat_01.png", "relabel", "dog").decision.new_label == "dog"  # type: ignore[arg-type]


@pytest.fixture
def audited(scan: Scan) -> Scan:
    """The scan with an audit sample of three cats and three dogs, and two typical cats."""
    samples = [
        replace(scan.kept("train", label)[0], rank=rank, path=f"train/{label}/rest_{rank}.png", loss=0.01)
        for label in ("cat", "dog")
        for rank in (1, 2, 3)
    ]
    typical = [Typical("train", "cat", rank, f"train/cat/easy_{rank}.png", 0.001) for rank in (1, 2)]
    for seed, path in enumerate([sample.path for sample in samples] + [each.path for each in typical]):
        make_image(scan.root / path, seed)
    return replace(scan, audit=tuple(samples), typical=tuple(typical)).write(scan.manifest_path.parent)


def test_the_audit_sample_is_a_list_of_its_own_without_what_the_model_says(audited: Scan) -> None:
    session = Session(audited, page_size=4)
    session.open(AUDIT)
    session.filter(order="confidence")
    listed = [card.sample.path.split("/", 1)[1] for page in range(2) for card in turned(session, page)]
    assert listed == [
        "cat/rest_1.png",
        "dog/rest_1.png",
        "cat/rest_2.png",
        "dog/rest_2.png",
        "cat/rest_3.png",
        "dog/rest_3.png",
    ]
    for card in session.cards():
        assert (card.sample.predicted, card.sample.alternatives) == ("", ())
        assert math.isnan(card.sample.loss)
        assert math.isnan(card.sample.confidence)
        assert card.is_blinded
    assert session.predictions == []
    assert session.counts() == Counts(decided=0, changed=0, kept=6, scan_decided=0, scan_kept=54)


def turned(session: Session, page: int) -> list[Any]:
    session.turn_to(page)
    return session.cards()


def test_an_audited_image_is_decided_like_any_other(audited: Scan) -> None:
    session = Session(audited, reviewer="anna")
    session.open(AUDIT)
    path = "train/cat/rest_1.png"
    with pytest.raises(CleanerError, match="without the model's prediction"):
        session.decide(path, "predicted")
    session.decide(path, Action.RELABEL, "fox")
    (row,) = Manifest(audited.manifest_path).rows()
    assert (row.label, row.new_label, row.predicted) == ("cat", "fox", "")
    assert math.isnan(row.loss)
    assert audited.estimate().audited[0].audited_wrong == 1
    session.open("dog")
    session.undo()  # opens the list where the decision was taken
    assert (session.view.label, session.view.at) == (AUDIT, path)


def test_a_label_is_not_shown_with_images_that_were_decided_to_be_wrong(audited: Scan) -> None:
    session = Session(audited)
    assert session.typical("train", "cat") == ["train/cat/easy_1.png", "train/cat/easy_2.png"]
    Manifest(audited.manifest_path).append(
        Decision("train/cat/easy_1.png", Action.UNSURE), Decision("train/cat/easy_2.png", Action.KEEP)
    )
    session.refresh()
    assert session.typical("train", "cat") == ["train/cat/easy_2.png"]
    assert session.typical("train", "fox") == []


@pytest.mark.parametrize(("show", "after"), [("all", "all"), ("undecided", "undecided"), ("keep", "all")])
def test_another_list_opens_with_all_images_or_the_undecided_ones(scan: Scan, show: str, after: str) -> None:
    session = Session(scan, "anna")
    session.filter(show=show)
    session.open("dog")
    assert session.view.show == after
