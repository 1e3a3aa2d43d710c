"""The demo as a newcomer runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cleaner.cli import main
from cleaner.core.scan import load


@pytest.mark.notebook
def test_the_demo_finds_the_wrong_labels_and_the_broken_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    command = ["demo", "--no-serve", "--dir", str(folder)]
    assert main(command) == 0
    scan = load(folder / "scan")
    with open(folder / "wrong_labels.csv", newline="") as file:
        wrong = {row["path"] for row in csv.DictReader(file)}
    assert len(wrong) == 50  # 3 % of each class, rounded
    worst = {sample.path for sample in scan.samples if sample.rank <= 10}
    assert len(wrong & worst) >= 0.8 * len(wrong)
    assert f"{len(wrong & worst)} of the 50 wrong labels" in capsys.readouterr().out
    assert [item.path for item in scan.unreadable] == ["0/digit_broken.png"]

    assert main(command) == 2
    assert "may hold your decisions" in capsys.readouterr().err
    assert load(folder / "scan") == scan
