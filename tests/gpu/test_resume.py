"""A scan that was stopped, or that ran out of memory, is resumed with another device or batch size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.scoring.model.backends import BackendSelector
from tests.support.gpu import DEVICES, after_each_batch, needs_cuda, on_device
from tests.support.learners import make_folder, make_learner, plain_losses


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data", per_class=14)


@contextmanager
def selected(name: str, fast: bool) -> Iterator[None]:
    """Let every scan run a backend, however quick it is."""
    init = BackendSelector.__init__

    def with_name(selector: BackendSelector, *args: Any, **options: Any) -> None:
        init(selector, *args, **options)
        selector.names["fast" if fast else "exact"] = name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackendSelector, "__init__", with_name)
        yield


class Stops:
    """Stops a scan after a number of batches."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, _progress: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("first", "second", "backend", "fast"),
    [
        ("cpu", "cpu", "fused", False),
        ("cpu", "cpu", "int8", True),
        pytest.param("cpu", "cuda", "fused", False, marks=needs_cuda),
        pytest.param("cpu", "cuda", "int8", True, marks=needs_cuda),
        pytest.param("cuda", "cpu", "traced", False, marks=needs_cuda),
        pytest.param("cuda", "cpu", "float16", True, marks=needs_cuda),
    ],
)
def test_a_scan_that_began_on_one_device_is_resumed_on_another(
    first: str, second: str, backend: str, fast: bool, data: Path, tmp_path: Path
) -> None:
    learn = on_device(make_learner(data), "cpu")
    options = {"fast": fast, "workers": 0, "progress": False}
    with selected(backend, fast), after_each_batch(Stops(after=3)), pytest.raises(KeyboardInterrupt):
        cleaner.scan_folder(learn, data, tmp_path / "scan", device=first, **options)
    seen: list[int] = []
    with after_each_batch(lambda progress: seen.append(progress.splits[-1].seen)):
        scan = cleaner.scan_folder(learn, data, tmp_path / "scan", device=second, **options)
    assert seen == [16, 20, 24, 28, 32, 36, 40, 42]  # 12 images were scored before
    expected = plain_losses(on_device(learn, "cpu"), sorted(data.rglob("*.png")))
    # On a GPU convolutions are computed in TF32.
    tolerance = 1e-4 if first == second == "cpu" else 5e-3
    assert {Path(s.path).name: s.loss for s in scan.samples} == pytest.approx(expected, abs=tolerance)
    assert second in scan.settings["device"]


class Greedy(nn.Module):
    """A model that, while `active`, needs more memory than there is for more than four images."""

    active = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if Greedy.active and len(x) > 4:
            if not x.is_cuda:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            torch.empty(2 * torch.cuda.get_device_properties(x.device).total_memory, dtype=torch.uint8, device=x.device)
        return self.model(x)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_that_does_not_fit_into_memory_is_told_and_a_smaller_one_resumes(
    device: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = make_learner(data)
    learn.model = Greedy(learn.model)
    on_device(learn, "cpu")

    def scan(batch_size: int) -> Scan:
        options = {"workers": 0, "progress": False, "device": device}
        return cleaner.scan_folder(learn, data, tmp_path / "scan", batch_size=batch_size, **options)

    with (
        monkeypatch.context() as patch,
        after_each_batch(lambda _: patch.setattr(Greedy, "active", True)),
        pytest.raises(CleanerError, match="memory") as told,
    ):
        scan(8)
    assert "8" in str(told.value)
    assert "batch_size=N" in str(told.value)
    monkeypatch.setattr(Greedy, "active", True)
    seen: list[int] = []
    with after_each_batch(lambda progress: seen.append(progress.splits[-1].seen)):
        result = scan(4)
    assert seen == [*range(12, 42, 4), 42]  # the first batch of 8 was saved
    expected = plain_losses(on_device(learn, "cpu"), sorted(data.rglob("*.png")))
    assert {Path(s.path).name: s.loss for s in result.samples} == pytest.approx(expected, abs=5e-3)
