"""The ledger notices acknowledged decisions that left the manifest or changed their order."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision


def decided(path: str, action: str, second: int, reviewer: str = "anna") -> Decision:
    new_label = "dog" if action == "relabel" else ""
    return Decision(
        path, Action(action), "cat", new_label, reviewer=reviewer, decided_at=f"2026-01-31T12:00:{second:02d}.000Z"
    )


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def save_as_a_spreadsheet(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> None:
    """Write rows as spreadsheets do, by putting another file in the place of the old one."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    part = path.with_name("part.csv")
    part.write_bytes(text.getvalue().encode(encoding))
    part.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.csv"


def test_a_spreadsheet_that_saves_its_old_copy_is_noticed_and_taken_back(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 0))
    old = rows_of(path)
    later = [decided(f"{n}.png", "delete", n) for n in range(1, 11)]
    for decision in later:
        Manifest(path).append(decision)
    save_as_a_spreadsheet(path, old)

    manifest = Manifest(path)
    assert len(manifest.standing()) == 1
    assert manifest.edits.lost == tuple(later)
    assert "10 decisions are missing: '1.png' (delete by anna)" in manifest.edited
    manifest.restore()
    assert list(Manifest(path).rows()) == [decided("a.png", "keep", 0), *later]
    assert not Manifest(path).edits
    assert [file.name for file in path.parent.glob("*.edited*")] == ["decisions.csv.edited"]


def test_rows_sorted_newest_first_are_noticed_and_put_back_in_order(path: Path) -> None:
    rows = [decided("a.png", "delete", 1), decided("b.png", "keep", 2), decided("a.png", "keep", 3)]
    Manifest(path).append(*rows)
    header, *lines = rows_of(path)
    save_as_a_spreadsheet(path, [header, *sorted(lines, key=lambda line: line[-1], reverse=True)])

    manifest = Manifest(path)
    assert manifest.standing()["a.png"].action is Action.DELETE
    assert manifest.edits.reordered == ("a.png",)
    manifest.restore()
    assert Manifest(path).standing()["a.png"].action is Action.KEEP
    assert not Manifest(path).edits


def test_without_a_ledger_the_order_is_checked_by_the_times(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 3), decided("a.png", "delete", 1), decided("b.png", "keep", 2))
    Manifest(path).accept_edits()
    assert not Manifest(path).edits
    path.with_name("decisions.csv.ledger").unlink()
    assert Manifest(path).edits.reordered == ("a.png",)


def test_a_row_that_an_undo_repeats_is_no_wrong_order(path: Path) -> None:
    first, second = decided("a.png", "keep", 1), decided("a.png", "delete", 2)
    Manifest(path).append(first, second)
    Manifest(path).append(first)
    assert not Manifest(path).edits
    path.with_name("decisions.csv.ledger").unlink()
    assert not Manifest(path).edits


def test_added_rows_and_reordered_columns_are_no_lost_decisions(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 1), decided("b.png", "relabel", 2))
    header, *lines = rows_of(path)
    turned = [[*row[::-1], note] for row, note in zip([header, *lines], ["note", "x", "y"], strict=True)]
    turned.append(["", "", "", "", "", "", "", "", "delete", "c.png", "by hand"])
    save_as_a_spreadsheet(path, turned, "utf-8-sig")

    assert not Manifest(path).edits
    Manifest(path).append(decided("d.png", "keep", 3))
    assert not Manifest(path).edits
    # From then on the row that was added by hand is one that is known.
    header, *lines = rows_of(path)
    save_as_a_spreadsheet(path, [header, *(row for row in lines if "c.png" not in row)])
    assert [decision.path for decision in Manifest(path).edits.lost] == ["c.png"]


def test_decisions_taken_after_an_edit_are_protected_too(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 1), decided("b.png", "keep", 2))
    header, first, _ = rows_of(path)
    save_as_a_spreadsheet(path, [header, first])
    Manifest(path).append(decided("c.png", "keep", 3))
    Manifest(path).append(decided("d.png", "keep", 4))
    assert [decision.path for decision in Manifest(path).edits.lost] == ["b.png"]
    save_as_a_spreadsheet(path, [header, first])
    assert [decision.path for decision in Manifest(path).edits.lost] == ["b.png", "c.png", "d.png"]


def test_accepted_edits_are_not_reported_again(path: Path) -> None:
    manifest, other = Manifest(path), Manifest(path)
    manifest.append(decided("a.png", "keep", 1), decided("b.png", "keep", 2))
    save_as_a_spreadsheet(path, rows_of(path)[:2])
    other.refresh()
    manifest.refresh()
    assert manifest.edits == other.edits
    assert manifest.edits
    manifest.accept_edits()
    assert not manifest.edits
    assert not other.edits


def test_a_deleted_manifest_is_restored(path: Path) -> None:
    rows = (decided("a.png", "keep", 1), decided("b.png", "keep", 2))
    Manifest(path).append(*rows)
    before = path.read_bytes()
    path.unlink()
    assert Manifest(path).edits.lost == rows
    Manifest(path).restore()
    assert path.read_bytes() == before


def test_a_damaged_ledger_says_what_to_do(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 1))
    path.with_name("decisions.csv.ledger").write_text("nothing,of,sense\n")
    with pytest.raises(CleanerError, match="delete that file to continue"):
        _ = Manifest(path).edits


def test_a_ledger_that_cannot_be_written_is_a_warning_and_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cleaner.core.ledger.Ledger._append", full)
    manifest.append(decided("a.png", "keep", 1))
    assert "a.png" in Manifest(path).standing()
    assert "cannot be written (No space left on device)" in manifest.warnings[0]


def test_rows_that_another_reviewer_just_added_are_no_edits(path: Path) -> None:
    ann, bob = Manifest(path), Manifest(path)
    ann.append(decided("a.png", "keep", 1))
    for second in range(2, 6):
        bob.append(decided(f"{second}.png", "keep", second))
        assert not ann.edits  # without a refresh


def test_rows_found_out_of_order_are_not_acknowledged_by_the_next_decision(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 3), decided("a.png", "delete", 1))
    path.with_name("decisions.csv.ledger").unlink()  # as in a manifest of version 0.1 that was sorted
    for second in (4, 5):
        Manifest(path).append(decided(f"{second}.png", "keep", second))
        assert Manifest(path).edits.reordered == ("a.png",)
    Manifest(path).restore()
    assert Manifest(path).standing()["a.png"].action is Action.KEEP
    assert not Manifest(path).edits
    assert len(Manifest(path).rows()) == 4


def test_restoring_lost_rows_changes_no_other_decision(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 1), decided("b.png", "keep", 2))
    header, *lines = rows_of(path)
    by_hand = ["x.png", "delete", *[""] * 7, "2026-01-31T12:00:10Z"]
    save_as_a_spreadsheet(path, [header, *lines[1:], by_hand])
    Manifest(path).append(decided("x.png", "keep", 20))
    Manifest(path).restore()
    found = Manifest(path)
    assert {name: decision.action for name, decision in found.standing().items()} == dict.fromkeys(
        ("a.png", "b.png", "x.png"), Action.KEEP
    )
    assert not found.edits


def test_the_next_decision_repairs_a_torn_ledger(path: Path) -> None:
    Manifest(path).append(decided("a.png", "keep", 1), decided("b.png", "keep", 2))
    ledger = path.with_name("decisions.csv.ledger")
    ledger.write_bytes(ledger.read_bytes()[:-20])
    header, *lines = rows_of(path)
    save_as_a_spreadsheet(path, [header, *lines[1:]])
    Manifest(path).append(decided("c.png", "keep", 3))
    assert [decision.path for decision in Manifest(path).edits.lost] == ["a.png"]


def test_decisions_are_possible_with_a_damaged_ledger(path: Path) -> None:
    manifest = Manifest(path)
    manifest.append(decided("a.png", "keep", 1))
    path.with_name("decisions.csv.ledger").write_text("path,action\na.png,burn\n")
    manifest.append(decided("b.png", "keep", 2))
    assert set(Manifest(path).standing()) == {"a.png", "b.png"}
    assert "delete that file to continue" in manifest.warnings[0]


decisions = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["keep", "delete", "unsure", "undo"])), min_size=1, max_size=9
)


@settings(max_examples=60)
@given(taken=decisions, removed=st.sets(st.integers(0, 8)), seed=st.none() | st.integers(0, 99))
def test_removed_and_shuffled_rows_are_restored(
    taken: list[tuple[str, str]], removed: set[int], seed: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "decisions.csv"
    for second, (name, action) in enumerate(taken):
        Manifest(path).append(decided(f"{name}.png", action, second))
    before = Manifest(path).rows()
    header, *lines = rows_of(path)
    left = [line for number, line in enumerate(lines) if number not in removed]
    if seed is not None:
        random.Random(seed).shuffle(left)
    save_as_a_spreadsheet(path, [header, *left])

    manifest = Manifest(path)
    assert len(manifest.edits.lost) == len(lines) - len(left)
    if not manifest.edits:
        assert dict(manifest.standing()) == dict(_stand(before))
    manifest.restore()
    restored = Manifest(path)
    for name in ("a.png", "b.png", "c.png"):
        assert restored.standing().get(name) == dict(_stand(before)).get(name)
    assert not restored.edits


def _stand(rows: list[Decision]) -> list[tuple[str, Decision]]:
    last = {decision.path: decision for decision in rows}
    return [(path, decision) for path, decision in last.items() if decision.action is not Action.UNDO]
