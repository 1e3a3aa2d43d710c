"""Devices for tests, what is measured on them, and what must not happen there."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import torch
from fastai.callback import fp16
from fastai.vision import all as fastai
from torch.utils._python_dispatch import TorchDispatchMode

from cleaner.scoring.progress import Checkpoint, ScanProgress

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU, which torch does not find on this machine"
)
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]
"""Values of a test's parameter: the CPU, and CUDA where there is a GPU."""

PRECISIONS: dict[str, Callable[[fastai.Learner], Any]] = {
    "fp32": lambda learn: learn,
    "fp16": lambda learn: learn.to_fp16(),
    "bf16": lambda learn: learn.to_bf16(),
}


def on_device(learn: fastai.Learner, device: str) -> fastai.Learner:
    """Move a learner: its model, and its loaders with the statistics of their transforms."""
    learn.dls.to(torch.device(device))
    learn.model.to(device)
    return learn


def allow_autocast(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fastai's mixed precision, which is for CUDA alone, lower the precision on this device too."""
    monkeypatch.setattr(fp16, "autocast", lambda *_cuda, **options: torch.autocast(device, **options))


@contextmanager
def after_each_batch(act: Callable[[ScanProgress], object]) -> Iterator[None]:
    """Call a function after the results of each batch are counted and saved."""

    def saved(checkpoint: Checkpoint, progress: ScanProgress) -> None:
        checkpoint.save(progress)
        act(progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save_if_due", saved)
        yield


@contextmanager
def refused_synchronization(device: str) -> Iterator[None]:
    """Raise an error where the host waits for the device; on the CPU, at operations that would wait on a GPU."""
    if device == "cpu":
        with _NoSynchronization():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class _NoSynchronization(TorchDispatchMode):
    """Refuses the operations whose result or shape the host needs."""

    refused: ClassVar = {
        torch.ops.aten._local_scalar_dense.default,  # item(), float(), bool()
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
        torch.ops.aten.equal.default,
        torch.ops.aten._unique2.default,
    }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.refused:
            raise RuntimeError(f"{func} would wait for the GPU")
        return func(*args, **(kwargs or {}))


def live_memory(device: str) -> int:
    """Return the bytes that tensors hold on a GPU; for the CPU the number of tensors, as it does not count bytes."""
    if device == "cpu":
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    return torch.cuda.memory_allocated()


def processes_on_gpu() -> set[int]:
    """Return the ids of the processes that hold a CUDA context, as `nvidia-smi` sees them; none without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return set()
    command = [program, "--query-compute-apps=pid", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {int(pid) for pid in found if pid.isdigit()}
