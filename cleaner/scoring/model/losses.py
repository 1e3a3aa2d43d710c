"""Loss functions that give one loss per sample."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["loss_name", "per_sample", "unreduced", "warn_if_probabilities", "warn_if_reduced"]

_log = logging.getLogger("cleaner")

# Parts of the names of losses that take logits.
_WITH_SOFTMAX = ("crossentropy", "focal")
_TOLERANCE = 1e-3


def loss_name(loss_func: Any) -> str:
    """Return the name of a loss function, for people and for comparison."""
    return getattr(loss_func, "__name__", None) or type(loss_func).__name__


@contextmanager
def unreduced(loss_func: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Give a loss function that returns one loss per sample if it can; afterwards the original is as it was."""
    if not hasattr(loss_func, "reduction"):
        yield _Unreduced(loss_func, reduction="none") if _takes_reduction(loss_func) else loss_func
        return
    reduction = loss_func.reduction
    loss_func.reduction = "none"
    try:
        yield loss_func
    finally:
        loss_func.reduction = reduction


class _Unreduced(partial):  # type: ignore[type-arg]
    """A loss function with arguments; it keeps the function's attributes, such as `activation`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)


def _takes_reduction(loss_func: Callable[..., Any]) -> bool:
    try:
        function = inspect.unwrap(loss_func)  # fastai's losses wrap a module
        return "reduction" in inspect.signature(getattr(function, "forward", function)).parameters
    except ValueError:  # a function written in C has no signature
        return False


def per_sample(loss: Tensor, n: int, evaluate_one: Callable[[int], Tensor]) -> Tensor:
    """Return one loss per sample, [n], from an unreduced loss; evaluate one at a time if it is reduced all the same."""
    if loss.numel() == n:
        return loss.reshape(n)
    if loss.numel() > n and loss.numel() % n == 0:
        return loss.reshape(n, -1).mean(dim=1)
    return torch.stack([evaluate_one(i).mean() for i in range(n)])


def warn_if_reduced(loss: Tensor, n: int, settings: dict[str, Any]) -> None:
    """Warn once, and note in the settings of a scan, that a loss function returned one number for `n` samples."""
    if loss.numel() < n and "loss_evaluated" not in settings:
        settings["loss_evaluated"] = "one sample at a time"
        _log.warning(
            "the loss %s returns one number per batch, even with reduction='none', so it is evaluated one sample at a "
            "time; one that takes `reduction` is faster",
            settings["loss"],
        )


def warn_if_probabilities(output: Tensor, loss: str) -> None:
    """Warn if the outputs [n, c] of a model for cross-entropy are probabilities already, as after a softmax layer.

    Args:
        output: the model's outputs for a batch.
        loss: name of the loss function.
    """
    if not any(name in loss.lower().replace("_", "") for name in _WITH_SOFTMAX) or output.shape[-1] < 2:
        return
    values = output.detach().float()
    is_probability = (values >= 0).all() & (values <= 1 + _TOLERANCE).all()
    if bool(is_probability & ((values.sum(dim=-1) - 1).abs() <= _TOLERANCE).all()):
        _log.warning(
            "the model's outputs are probabilities, as after a softmax layer, and %s applies a softmax itself: losses "
            "and confidences are too flat, and the ranking is worse. Remove the last layer, or pass a model that "
            "returns logits",
            loss,
        )
