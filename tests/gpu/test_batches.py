"""From batch to batch a scan keeps no memory and does not wait for the GPU, and its readers do not open the GPU."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from fastai.vision import all as fastai
from torch.utils.data import DataLoader, get_worker_info

import cleaner
from tests.support.gpu import (
    DEVICES,
    after_each_batch,
    live_memory,
    needs_cuda,
    on_device,
    processes_on_gpu,
    refused_synchronization,
)
from tests.support.learners import make_folder, make_learner


def make_normalized(data: Path, device: str) -> fastai.Learner:
    """Return a learner on a device whose batch transform holds tensors.

    It does not resize on the device: fastai's own transform for that waits for the GPU.
    """
    return on_device(make_learner(data, batch_tfms=fastai.Normalize.from_stats(*fastai.imagenet_stats)), device)


@pytest.mark.parametrize("device", DEVICES)
def test_memory_after_batch_ten_is_that_after_batch_one_hundred(device: str, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", per_class=35)
    learn = make_normalized(data, device)
    held: dict[int, int] = {}

    def act(progress: Any) -> None:
        if (seen := progress.splits[-1].seen) in (10, 100):  # to count takes a second
            held[seen] = live_memory(device)

    with after_each_batch(act):
        cleaner.scan_folder(learn, data, tmp_path / "scan", k=2, batch_size=1, workers=1, device=device, progress=False)
    assert held.keys() == {10, 100}
    assert held[10] == held[100]


@pytest.mark.parametrize("device", DEVICES)
def test_after_the_first_batch_a_scan_does_not_wait_for_the_gpu(device: str, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_normalized(data, device)
    seen: list[int] = []
    with ExitStack() as refused:

        def act(progress: Any) -> None:
            seen.append(progress.splits[-1].seen)
            if len(seen) == 1:
                refused.enter_context(refused_synchronization(device))
            if seen[-1] == 21:
                refused.close()

        with after_each_batch(act):
            cleaner.scan_folder(learn, data, tmp_path / "scan", workers=1, device=device, progress=False)
    assert seen == [4, 8, 12, 16, 20, 21]


@pytest.mark.parametrize("device", DEVICES)
def test_synchronization_is_noticed(device: str) -> None:
    loss = torch.ones(2, device=device)
    with refused_synchronization(device), pytest.raises(RuntimeError):
        loss.sum().item()
    assert loss.sum().item() == 2


def refuses_cuda(image: Any) -> Any:
    """Fail to read an image in a reader that has opened a GPU; the image is then listed as unreadable."""
    assert get_worker_info() is not None
    assert not torch.cuda.is_initialized(), "a reader has opened the GPU"
    return image


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("method", "device"),
    [("fork", "cpu"), *(pytest.param(method, "cuda", marks=needs_cuda) for method in ("fork", "spawn"))],
)
def test_readers_do_not_open_the_gpu(method: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data.DataLoader", partial(DataLoader, multiprocessing_context=method))
    data = make_folder(tmp_path / "data")
    learn = make_normalized(data, device)
    learn.dls.valid.after_item.fs.insert(0, fastai.Transform(refuses_cuda))
    readers, on_gpu = set[int | None](), set[int]()

    def act(_progress: Any) -> None:
        readers.update(process.pid for process in active_children())
        on_gpu.update(processes_on_gpu())

    with after_each_batch(act):
        scan = cleaner.scan_folder(learn, data, tmp_path / "scan", workers=2, device=device, progress=False)
    assert scan.unreadable == ()
    assert sum(scan.scored.values()) == 21
    assert len(readers) >= 2
    assert not readers & on_gpu
