"""Outliers: far from all others of their class in the features of a scan, and in no other place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.checks import outliers
from cleaner.checks.outliers import find_outliers
from cleaner.checks.records import RECORD
from cleaner.cli import main
from cleaner.core.issues import Issue
from tests.support.torch_models import TRANSFORM, make_model, scan_model

N, WIDTH = 300, 16
STRANGE = {7: 0, 150: 1, 151: 2}


def made(strange: dict[int, int] = STRANGE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return records, classes and features of three classes around a direction each; strange ones look elsewhere."""
    random = np.random.default_rng(0)
    classes = (np.arange(N) % 3).astype(np.uint32)
    features = np.eye(WIDTH)[classes] * 2 + random.normal(0, 0.3, (N, WIDTH))
    for at, direction in strange.items():
        features[at] = np.eye(WIDTH)[10 + direction] * 2
    records = np.zeros(N, RECORD)
    pictures = random.integers(0, 256, (3, 192))[classes] + random.normal(0, 20, (N, 192))
    records["descriptor"] = pictures.clip(0, 255)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return records, classes, unit.astype(np.float32)


def found_in(records: np.ndarray, classes: np.ndarray, features: np.ndarray) -> list[int]:
    found = find_outliers(records, classes, 3, lambda at: features[at])
    counted = sum(int(counts.sum()) for counts in found.by_class.values())
    assert counted == len(found.findings)
    assert all(0 <= each.score <= 1 for each in found.findings)
    scores = [each.score for each in found.findings]
    assert scores == sorted(scores, reverse=True)
    return [each.at for each in found.findings]


def test_the_strange_ones_are_the_worst() -> None:
    found = found_in(*made())
    assert set(found[:3]) == set(STRANGE)
    assert len(found) <= 0.03 * N


def test_an_image_without_features_is_no_outlier() -> None:
    records, classes, features = made()
    features[7] = 0
    found = found_in(records, classes, features)
    assert 7 not in found
    assert {150, 151} <= set(found)


def test_a_small_class_has_no_outliers() -> None:
    records, classes, features = made()
    classes[:] = 0
    classes[:5] = 1
    features[:5] = np.eye(WIDTH)[:5]
    assert not set(found_in(records, classes, features)) & set(range(5))


def test_equal_images_are_no_outliers() -> None:
    records, classes, features = made({})
    features[:] = features[0]
    records[:] = records[0]
    assert found_in(records, classes, features) == []


def test_images_of_a_large_class_are_compared_with_some_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "_COMPARED", 40)
    assert set(found_in(*made())[:3]) == set(STRANGE)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_outliers_do_not_depend_on_blocks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found_in(*made())
    monkeypatch.setattr(outliers, "_QUERIES", size)
    monkeypatch.setattr(outliers, "_VECTORS", max(size, 5))
    assert found_in(*made()) == whole


def test_no_images_have_no_outliers() -> None:
    records, classes, features = (each[:0] for each in made())
    assert found_in(records, classes, features) == []


@pytest.fixture
def striped(tmp_path: Path) -> Path:
    """Forty images of horizontal stripes, and one of vertical ones, in each of three classes."""
    random = np.random.default_rng(0)
    for number, label in enumerate(("bear", "cat", "dog")):
        for at in range(41):
            pixels = random.integers(0, 60, (16, 16, 3)) + 40 * number
            stripes = pixels[:, 4 * (at % 4) % 8 :: 8] if at == 40 else pixels[at % 2 :: 2]
            stripes += 90
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "data" / label / f"{at:02d}.png")
    return tmp_path / "data"


def test_a_check_of_a_scan_with_features_lists_outliers(striped: Path, tmp_path: Path) -> None:
    scan_model(ImageFolder(striped, TRANSFORM), tmp_path / "scan", make_model(), features=True)
    report = cleaner.check(striped, tmp_path / "scan", workers=0, progress=False)
    rows = [row for row in report.issues if row.issue == "outlier"]
    assert {"bear/40.png", "cat/40.png", "dog/40.png"} <= {row.path for row in rows}
    assert all(isinstance(row, Issue) and "nearest images of its label" in row.detail for row in rows)
    assert report.counts["outlier"] == len(rows)
    assert not any("Outliers were not looked for" in note for note in report.notes())


def test_without_features_it_is_said_that_there_are_no_outliers(
    striped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--data", str(striped), "--out", str(tmp_path / "scan"), "--workers", "0"]) == 0
    assert "Outliers were not looked for: that needs a scan with --features in this folder" in capsys.readouterr().out
