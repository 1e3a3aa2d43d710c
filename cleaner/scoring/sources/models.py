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


def per_sample(loss: Tensor, prediction: Tensor, target: Tensor, loss_func: Callable[..., Tensor]) -> Tensor:
    """One loss per sample, [n]; a function that reduces whatever it is told is asked about each sample alone."""
    n = len(target)
    if loss.numel() == n:
        return loss.reshape(n)
    if loss.numel() > n and loss.numel() % n == 0:
        return loss.reshape(n, -1).mean(dim=1)
    return torch.stack([loss_func(prediction[i : i + 1], target[i : i + 1]).reshape(()) for i in range(n)])
