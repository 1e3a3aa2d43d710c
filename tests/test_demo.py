"""The demo as a newcomer runs it."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest

from cleaner.cli import main
from cleaner.core.scan import load
from cleaner.demo.photos import _CLASSES
from tests.support.images import make_image


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


@pytest.mark.notebook
def test_the_demo_of_photos_swaps_labels_of_look_alikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastai.data import external
    from fastai.vision import all as fastai

    for number, identifier in enumerate(_CLASSES):
        for at in range(20):
            make_image(tmp_path / "imagenette" / "train" / identifier / f"{identifier}_{at}.jpg", 100 * number + at)
    monkeypatch.setattr(external, "untar_data", lambda _url: tmp_path / "imagenette")
    monkeypatch.setattr(fastai, "vision_learner", partial(fastai.vision_learner, pretrained=False))
    folder = tmp_path / "demo"
    assert main(["demo", "--photos", "--no-serve", "--dir", str(folder)]) == 0
    with open(folder / "wrong_labels.csv", newline="") as file:
        wrong = {row["path"]: row["true_label"] for row in csv.DictReader(file)}
    assert len(wrong) == 10
    assert {(path.split("/")[0], true) for path, true in wrong.items()} >= {
        ("English springer", "tench"),
        ("parachute", "golf ball"),
    }
    assert load(folder / "scan").scored == {"all": 200}
    assert "100%" in capsys.readouterr().err  # the bar of the training


def test_the_demo_of_photos_says_that_it_needs_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastai.data import external

    def fails(_url: str) -> Path:
        raise OSError("no route to host")

    monkeypatch.setattr(external, "untar_data", fails)
    assert main(["demo", "--photos", "--no-serve", "--dir", str(tmp_path / "demo")]) == 2
    assert "the photos cannot be downloaded (OSError: no route to host)" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
