"""The losses of a scan on a GPU are those of fastai or torch there, in each precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fastai.vision import all as fastai
from torch import nn
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.scan import Scan
from tests.support.gpu import DEVICES, PRECISIONS, allow_autocast, needs_cuda, on_device
from tests.support.learners import make_folder, make_learner, plain_losses
from tests.support.torch_models import TRANSFORM, losses_by_path, make_model, scan_model

READERS = 4
# On a GPU convolutions are computed in TF32.
TOLERANCES = {"cpu": 1e-4, "cuda": 1e-3}


def scan_own_data(learn: fastai.Learner, _data: Path, out: Path, device: str) -> Scan:
    return cleaner.scan(on_device(learn, device), out, workers=READERS, progress=False)


def scan_folder(learn: fastai.Learner, data: Path, out: Path, device: str) -> Scan:
    """Scan with a learner that is on the CPU, as `load_learner` leaves it."""
    return cleaner.scan_folder(learn, data, out, workers=READERS, device=device, progress=False)


@pytest.mark.parametrize("scan", [scan_own_data, scan_folder])
@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "fp32"),
        ("cpu", "bf16"),
        *[pytest.param("cuda", precision, marks=needs_cuda) for precision in PRECISIONS],
    ],
)
def test_losses_are_those_of_get_preds_with_batch_transforms_and_four_readers(
    device: str, precision: str, scan: Callable[..., Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_autocast(device, monkeypatch)
    data = make_folder(tmp_path / "data")
    files = sorted(data.rglob("*.png"))
    transforms = [*fastai.aug_transforms(size=12), fastai.Normalize.from_stats(*fastai.imagenet_stats)]
    learn = on_device(make_learner(data, batch_tfms=transforms), "cpu")
    single = plain_losses(learn, files)
    PRECISIONS[precision](learn)
    result = scan(learn, data, tmp_path / "scan", device)
    expected = plain_losses(on_device(learn, device), files)
    tolerance = TOLERANCES[device]
    if precision != "fp32":
        # What is the same up to rounding may be rounded to another number, but lies nearer than what is not rounded.
        tolerance = max(abs(expected[name] - single[name]) for name in single) / 2
        assert tolerance > 1e-5
    assert {Path(s.path).name: s.loss for s in result.samples} == pytest.approx(expected, abs=tolerance)
    assert device in result.settings["device"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"fast": True}])
def test_a_copy_of_a_torch_model_runs_on_the_device(options: dict[str, Any], device: str, tmp_path: Path) -> None:
    model, loss = make_model(), nn.CrossEntropyLoss(weight=torch.ones(3))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    folder = ImageFolder(make_folder(tmp_path / "data"), TRANSFORM)
    scan = scan_model(folder, tmp_path / "scan", model, device=device, loss_fn=loss, **options)
    assert losses_by_path(scan) == pytest.approx(losses_by_path(scan_model(folder, tmp_path / "own")), abs=1e-3)
    after = model.state_dict()
    assert all(torch.equal(values, after[name]) for name, values in before.items())
    assert {values.device.type for values in (*after.values(), loss.weight)} == {"cpu"}
