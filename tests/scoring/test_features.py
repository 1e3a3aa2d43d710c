"""A scan keeps the features of each sample beside its path, wherever it was stopped, and leaves the model as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.features import FEATURE_FILES
from cleaner.core.scan import Scan, load
from cleaner.scoring import engine
from cleaner.scoring.model.backends import has_hooks
from cleaner.scoring.model.views import shifted
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, make_model, scan_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def folder_of(data: Path) -> ImageFolder:
    return ImageFolder(data, TRANSFORM)


@torch.no_grad()
def expected_features(folder: ImageFolder, model: nn.Module) -> dict[str, np.ndarray]:
    """Return the last feature map, which is 2 x 2, of each image alone."""
    body = model.eval()[:4]
    names = [Path(path).relative_to(folder.root).as_posix() for path, _ in folder.samples]
    maps = [body(image[None]).flatten().numpy() for image, _ in folder]
    return dict(zip(names, maps, strict=True))


def features_by_path(scan: Scan) -> dict[str, np.ndarray]:
    assert scan.features is not None
    return {scan.features.path(at): scan.features.rows[at].astype(np.float32) for at in range(len(scan.features))}


def check_features(scan: Scan, data: Path, model: nn.Module | None = None) -> None:
    found, expected = features_by_path(scan), expected_features(folder_of(data), model or make_model())
    assert set(found) == set(expected)
    for path, row in found.items():
        assert row == pytest.approx(expected[path], abs=2e-3, rel=2e-3), path


def test_features_are_those_of_each_image_alone(data: Path, tmp_path: Path) -> None:
    model = make_model()
    scan = scan_model(folder_of(data), tmp_path / "scan", model, features=True)
    check_features(scan, data)
    check_features(load(tmp_path / "scan"), data)
    assert scan.settings["features"] == 8 * 2 * 2
    assert scan.settings["ways"] == {}
    assert not has_hooks(model)


def test_losses_are_those_of_a_scan_without_features(data: Path, tmp_path: Path) -> None:
    plain = scan_model(folder_of(data), tmp_path / "plain")
    assert plain.features is None
    kept = scan_model(folder_of(data), tmp_path / "scan", features=True)
    assert {s.path: s.loss for s in kept.samples} == pytest.approx({s.path: s.loss for s in plain.samples}, abs=1e-5)


def test_with_views_the_features_are_those_of_the_image_as_it_is(data: Path, tmp_path: Path) -> None:
    first = next(iter(folder_of(data)))[0][None]
    assert torch.equal(shifted(first, 0), first)
    check_features(scan_model(folder_of(data), tmp_path / "scan", features=True, views=3), data)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_resumed_scan_has_the_features_of_an_unbroken_one(
    stop_after: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    update, count = engine.SplitProgress.update, 0

    def update_or_stop(self: Any, batch: Any) -> None:
        nonlocal count
        count += 1
        if count > stop_after:
            raise StoppedError
        update(self, batch)

    monkeypatch.setattr(engine.Checkpoint, "save_if_due", engine.Checkpoint.save)
    monkeypatch.setattr(engine.SplitProgress, "update", update_or_stop)
    with pytest.raises(StoppedError):
        scan_model(folder_of(data), tmp_path / "scan", features=True)
    monkeypatch.setattr(engine.SplitProgress, "update", update)
    check_features(scan_model(folder_of(data), tmp_path / "scan", features=True), data)
    assert not (tmp_path / "scan/checkpoint").exists()


def test_a_scan_resumed_without_features_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.Checkpoint, "save_if_due", engine.Checkpoint.save)
    monkeypatch.setattr(engine, "finish", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        scan_model(folder_of(data), tmp_path / "scan", features=True)
    monkeypatch.undo()
    with pytest.raises(CleanerError, match="an unfinished scan with another features"):
        scan_model(folder_of(data), tmp_path / "scan")
    # What was linked into the scan that was never committed is still there.
    check_features(scan_model(folder_of(data), tmp_path / "scan", features=True), data)


def test_unreadable_images_have_no_features(data: Path, tmp_path: Path) -> None:
    (data / "cat/broken.png").write_bytes(b"broken")
    scan = scan_model(folder_of(data), tmp_path / "scan", features=True)
    assert [each.path for each in scan.unreadable] == ["cat/broken.png"]
    assert "cat/broken.png" not in features_by_path(scan)
    assert len(features_by_path(scan)) == scan.scored["all"]


def test_a_later_scan_without_features_removes_them(data: Path, tmp_path: Path) -> None:
    scan_model(folder_of(data), tmp_path / "scan", features=True)
    later = scan_model(folder_of(data), tmp_path / "scan")
    assert later.features is None
    assert not [name for name in FEATURE_FILES if (tmp_path / "scan" / name).exists()]


def test_a_learner_keeps_the_features_of_both_splits_and_stays_as_it_was(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    scan = cleaner.scan(learn, tmp_path / "scan", features=True, progress=False, workers=0)
    names = [Path(item).relative_to(data).as_posix() for dl in learn.dls for item in dl.items]
    assert sorted(features_by_path(scan)) == sorted(names)
    assert not has_hooks(learn.model)


class Tokens(nn.Module):
    """A model without any feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 16 * 16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def test_a_model_without_feature_maps_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"no layer of the model returns a feature map .*leave out features"):
        scan_model(folder_of(data), tmp_path / "scan", Tokens(), features=True)


class OneOfMany(nn.Module):
    """Its last feature map has one pixel; the one before has more."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool, self.head = nn.Conv2d(3, 4, 3, 4), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.body(images)).flatten(1))


def test_the_last_map_of_several_pixels_is_kept(data: Path, tmp_path: Path) -> None:
    scan = scan_model(folder_of(data), tmp_path / "scan", OneOfMany(), features=True)
    assert scan.features is not None
    assert scan.features.rows.shape[1] == 4 * 4 * 4


class AnySize(nn.Module):
    """A model for images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 2, 1), nn.Linear(2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean(dim=(2, 3)))


def test_images_of_different_sizes_have_features_of_one_length(data: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 9)).save(data / "cat/wide.png")
    from torchvision.transforms import ToTensor

    dataset = ImageFolder(data, ToTensor())
    scan = scan_model(dataset, tmp_path / "scan", AnySize(), features=True, batch_size=1)
    assert scan.features is not None
    assert scan.features.rows.shape[1] == 2 * 4 * 4


def test_features_are_refused_where_they_cannot_be_kept(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"leave out fast=True or features=True"):
        scan_model(folder_of(data), tmp_path / "scan", features=True, fast=True)
    with pytest.raises(CleanerError, match="features are kept by a scan in this process only"):
        scan_model(folder_of(data), tmp_path / "scan", features=True, engine="ray")
    assert not (tmp_path / "scan").exists()
