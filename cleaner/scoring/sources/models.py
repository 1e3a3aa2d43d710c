"""A model and its loss, whoever trained it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["digest", "modes_kept", "name_of", "per_sample", "takes_reduction"]


def digest(model: nn.Module) -> str:
    """SHA-256 of the names and values of a model's weights."""
    found = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        found.update(name.encode("utf-8"))
        if isinstance(values, Tensor):
            found.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards, also after an error, every layer is in the mode, training or evaluation, in which it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def name_of(loss_func: Any) -> str:
    """What a loss is called, for people and for comparison."""
    return getattr(loss_func, "__name__", None) or type(loss_func).__name__


def takes_reduction(loss_func: Callable[..., Any]) -> bool:
    """Whether a function can be called with `reduction="none"`."""
    return "reduction" in inspect.signature(loss_func).parameters


def per_sample(loss: Tensor, n: int, alone: Callable[[int], Tensor]) -> Tensor:
    """One loss per sample, [n], out of an unreduced loss.

    Args:
        loss: what the loss function gave for a batch.
        n: samples in the batch.
        alone: gives the loss of the sample of a number, asked where a function reduces whatever it is told.
    """
    if loss.numel() == n:
        return loss.reshape(n)
    if loss.numel() > n and loss.numel() % n == 0:
        return loss.reshape(n, -1).mean(dim=1)
    return torch.stack([alone(i).mean() for i in range(n)])
