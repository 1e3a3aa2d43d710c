"""Rounds: what a later scan knows of the decisions before it, and the history of a scan folder."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, ClassLosses, Sample
from cleaner.core.rounds import HISTORY, check_decisions_from, history, remember, take_over
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review.session import Session


def scanned(root: Path, out: Path, minutes: int = -5, mean_loss: float = 1.5) -> Scan:
    """Scan all files below `root`, whose folder is their label, so many minutes from now."""
    files = sorted(file.relative_to(root).as_posix() for file in root.glob("[!.]*/*"))
    samples = tuple(Sample("train", path[:3], n + 1, path, 2.0, "dog", 0.9) for n, path in enumerate(files))
    time = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    times = dict.fromkeys(("started", "finished"), time.isoformat())
    losses = (ClassLosses("train", "cat", 3, 1, mean_loss), ClassLosses("train", "dog", 1, 1, mean_loss))
    remember(out)
    return Scan(
        root, ("cat", "dog"), ("train",), 9, {"train": 4}, samples, {"train": {}}, losses=losses, **times
    ).write(out)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/2.png", "cat/3.png", "dog/4.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def decide_all(session: Session) -> None:
    session.decide("cat/1.png", Action.RELABEL, "dog")
    session.decide("cat/2.png", Action.DELETE)
    session.decide("cat/3.png", Action.KEEP)


@pytest.mark.parametrize("out", ["scan", "new"], ids=["the same folder", "another folder"])
def test_decided_images_are_not_asked_again_in_the_next_round(out: str, root: Path, tmp_path: Path) -> None:
    first = scanned(root, tmp_path / "scan")
    decide_all(Session(first, "anna"))
    report = apply(first.manifest_path, root)
    assert len(report.done) == 2
    (root / "cat/2.png").write_text("another file under an old path")

    second = scanned(root, tmp_path / out, 1)
    if out == "new":
        assert take_over(second, first.folder) == 2
        assert take_over(second, first.folder) == 0
    session = Session(second, "ben")
    cards = {path: session.card(path) for path in second.by_path()}
    assert {path: card.decision and card.decision.action for path, card in cards.items()} == {
        "dog/1.png": Action.KEEP,
        "cat/2.png": None,
        "cat/3.png": Action.KEEP,
        "dog/4.png": None,
    }
    if out == "scan":
        assert "about another file" in cards["cat/2.png"].note
    assert apply(second.manifest_path, root).done == ()
    assert apply(second.manifest_path, root).conflicts == ()

    (root / "cat/2.png").unlink()
    assert undo(report.journal).conflicts == ()
    assert sorted(file.read_text() for file in root.glob("*/*")) == ["cat/1.png", "cat/2.png", "cat/3.png", "dog/4.png"]


def test_decisions_that_were_not_applied_are_taken_over(root: Path, tmp_path: Path) -> None:
    first = scanned(root, tmp_path / "scan")
    decide_all(Session(first, "anna"))
    second = replace(scanned(root, tmp_path / "other", 1), samples=()).write(tmp_path / "new")
    assert take_over(second, first.folder) == 3
    assert dict(Manifest(second.manifest_path).standing()) == dict(Manifest(first.manifest_path).standing())


def test_a_relabelled_image_that_the_new_scan_did_not_keep_is_taken_over_as_kept(root: Path, tmp_path: Path) -> None:
    first = scanned(root, tmp_path / "scan")
    decide_all(Session(first, "anna"))
    apply(first.manifest_path, root)
    second = replace(scanned(root, tmp_path / "new", 1), samples=()).write(tmp_path / "new")
    assert take_over(second, first.folder) == 2
    third = scanned(root, tmp_path / "new", 2)
    session = Session(third, "ben")
    assert session.card("dog/1.png").decision.action is Action.KEEP
    session.decide("dog/1.png", Action.DELETE)
    session.undo()
    assert session.card("dog/1.png").decision.action is Action.KEEP


def test_undoing_a_second_decision_keeps_a_relabelled_image_again(root: Path, tmp_path: Path) -> None:
    first = scanned(root, tmp_path / "scan")
    decide_all(Session(first, "anna"))
    apply(first.manifest_path, root)
    session = Session(scanned(root, tmp_path / "scan", 1), "ben")
    before = session.card("dog/1.png").decision
    session.decide("dog/1.png", Action.DELETE)
    session.undo()
    assert session.card("dog/1.png").decision == before
    session.redo()
    assert session.card("dog/1.png").decision.action is Action.DELETE


def test_history_counts_what_each_round_found_and_changed(root: Path, tmp_path: Path) -> None:
    first = scanned(root, tmp_path / "scan", mean_loss=1.5)
    decide_all(Session(first, "anna"))
    journal = apply(first.manifest_path, root).journal
    second = scanned(root, tmp_path / "scan", 5, mean_loss=0.5)
    assert [(each.found, each.changed, each.mean_loss) for each in history(second)] == [(2, 2, 1.5), (0, 0, 0.5)]
    Session(second, "ben").decide("cat/3.png", Action.UNSURE)
    assert [each.found for each in history(second)] == [2, 0]
    undo(journal)
    assert [each.changed for each in history(second)] == [0, 0]

    third = scanned(root, tmp_path / "new", 10)
    take_over(third, second.folder)
    assert [(each.found, each.changed) for each in history(third)] == [(2, 0), (0, 0), (0, 0)]
    assert history(third)[0].predicted_otherwise == 0.5


def test_a_scan_remembered_twice_is_in_the_history_once(root: Path, tmp_path: Path) -> None:
    scan = scanned(root, tmp_path / "scan")
    for _ in range(2):
        remember(tmp_path / "scan")
        assert len(history(scan)) == 1


def test_the_command_prints_the_rounds(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scanned(root, tmp_path / "scan")
    scanned(root, tmp_path / "scan", 5)
    assert main(["history", str(tmp_path / "scan")]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "scanned on"
    assert [row.split()[2:] for row in rows] == [["4", "0", "0", "0", "1.5000", "50.0%"]] * 2


@pytest.mark.parametrize("line", ["[]", "{}", "nonsense", '{"started": 1}'])
def test_a_damaged_history_exits_with_2_and_advice(
    line: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scanned(root, tmp_path / "scan")
    (tmp_path / "scan" / HISTORY).write_text(line + "\n")
    assert main(["history", str(tmp_path / "scan")]) == 2
    assert "delete it to start a new one" in capsys.readouterr().err


@pytest.mark.parametrize("value", [[], {}, 0, None, False])
@pytest.mark.parametrize("field", ["started", "finished"])
def test_a_history_time_that_is_not_text_is_an_error(
    field: str, value: object, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scanned(root, tmp_path / "scan")
    remember(tmp_path / "scan")
    file = tmp_path / "scan" / HISTORY
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}) + "\n")
    assert main(["history", str(tmp_path / "scan")]) == 2
    assert "delete it to start a new one" in capsys.readouterr().err


def test_decisions_are_taken_over_from_another_scan_of_the_task_only(root: Path, tmp_path: Path) -> None:
    scanned(root, tmp_path / "scan")
    check_decisions_from(tmp_path / "scan", tmp_path / "new", "single-label")
    for old, task, message in (
        (tmp_path / "scan", MULTI_LABEL, "of the task"),
        (tmp_path / "none", "single-label", "not the folder of a finished scan"),
        (tmp_path / "new", "single-label", "the scan folder itself"),
    ):
        with pytest.raises(CleanerError, match=message):
            check_decisions_from(old, tmp_path / "new", task)


def test_a_scan_without_losses_has_a_round(root: Path, tmp_path: Path) -> None:
    scan = replace(scanned(root, tmp_path / "scan"), losses=()).write(tmp_path / "scan")
    (found,) = history(load(scan.folder))
    assert math.isnan(found.mean_loss)
    assert math.isnan(found.predicted_otherwise)
