"""Each rule applies the decisions that it names, where three reviewers decided differently."""

from __future__ import annotations

from pathlib import Path

import pytest

import cleaner
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from tests.support.scans import make_scan

NAMES = ("ann", "ben", "cem")
DELETE, KEEP, DOG = (Action.DELETE, ""), (Action.KEEP, ""), (Action.RELABEL, "dog")
# What the three decided about the first, second, ... cat, and whether it is moved by each rule.
CASES = {
    "all delete": ((DELETE, DELETE, DELETE), ("trash", "trash", "trash")),
    "two delete, the last keeps": ((DELETE, DELETE, KEEP), ("", "trash", "")),
    "all differ, the last relabels": ((DELETE, KEEP, DOG), ("dog", "", "")),
    "two relabel, the first keeps": ((KEEP, DOG, DOG), ("dog", "dog", "")),
    "one alone relabels": ((DOG,), ("dog", "dog", "dog")),
}
RULES = ("last", "majority", "unanimous")


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    manifest = Manifest(scan.manifest_path)
    for number, (judgements, _) in enumerate(CASES.values(), start=1):
        for name, (action, new_label) in zip(NAMES, judgements, strict=False):
            path = f"train/cat/cat_{number:02d}.png"
            manifest.append(Decision(path, action, "cat", new_label, split="train", reviewer=name))
    return scan.manifest_path.parent


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_moves_what_it_lets_stand(rule: str, decided: Path) -> None:
    report = cleaner.apply(decided, rule=rule)
    moved = {change.source: "trash" if ".cleaner-trash" in change.target else "dog" for change in report.done}
    for number, (case, (_, expected)) in enumerate(CASES.items(), start=1):
        assert moved.get(f"train/cat/cat_{number:02d}.png", "") == expected[RULES.index(rule)], case
    left_out = {"last": 0, "majority": 1, "unanimous": 3}[rule]
    said = [each for each in report.conflicts if each.reason.startswith(f"no decision stands by the rule {rule!r}: ")]
    assert len(said) == len(report.conflicts) == left_out
    assert all("ann delete, ben keep, cem relabel to dog" in each.reason for each in said if "cat_03" in each.path)
    assert cleaner.apply(decided, rule=rule).done == ()  # again changes nothing
    assert len(cleaner.undo(report).done) == len(moved)


def test_the_command_takes_the_rule(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", str(decided), "--rule", "unanimous", "--dry-run"]) == 1
    moved, refused = capsys.readouterr().out.split("3 in conflict")
    assert ("cat_01.png" in moved, "cat_02.png" in moved) == (True, False)
    assert "no decision stands by the rule 'unanimous': ann delete, ben delete, cem keep" in refused


def test_an_unknown_rule_is_refused(decided: Path) -> None:
    with pytest.raises(CleanerError, match="rule is 'first'; expected one of last, majority, unanimous"):
        cleaner.apply(decided, rule="first")
