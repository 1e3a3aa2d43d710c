"""Devices that run a model: which one to use, its name, and the state that work on it must leave as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from cleaner.core.errors import CleanerError

__all__ = [
    "AUTO",
    "accelerator",
    "copied_to",
    "describe",
    "find_device",
    "is_out_of_memory",
    "kept_autocast",
    "made_current",
    "memory_explained",
    "synchronize",
]

AUTO = "auto"
"""Name of the accelerator of this machine, or of the CPU where there is none."""


def accelerator() -> torch.device | None:
    """Return the accelerator that torch finds on this machine: CUDA, MPS or XPU."""
    if hasattr(torch, "accelerator"):
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    # torch < 2.6
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return next((torch.device(kind) for kind, is_there in available.items() if is_there), None)


def find_device(device: str | torch.device | None, own: torch.device) -> torch.device:
    """Return the device that is meant by an argument.

    Args:
        device: a device; None for `own`; `auto` for the accelerator, unless the model is on one.
        own: where the model is.

    Raises:
        CleanerError: torch cannot use the device.
    """
    if device is None:
        return own
    if device == AUTO:
        device = own if own.type != "cpu" else accelerator() or own
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CleanerError(
            f"torch cannot use the device {str(device)!r} ({type(error).__name__}: {reason}). Pass 'cpu', 'auto', or "
            "the name of a device of this machine, such as 'cuda:0' or 'mps'"
        ) from error


def copied_to(device: torch.device, part: Any) -> Any:
    """Return a copy of a model or loss function on a device; what cannot be moved stays as it is.

    Raises:
        CleanerError: the device cannot take it.
    """
    try:
        copied = copy.deepcopy(part)
        if hasattr(copied, "to"):
            copied.to(device)  # fastai's losses return nothing here
        if isinstance(copied, partial):
            return partial(copied.func, *copied.args, **{k: _moved(device, v) for k, v in copied.keywords.items()})
        # Weights of classes that are no buffers, as in fastai's losses.
        for owner in (copied, getattr(copied, "func", None)):
            for name, value in list(getattr(owner, "__dict__", {}).items()):
                if isinstance(value, torch.Tensor):
                    setattr(owner, name, _moved(device, value))
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CleanerError(
            f"the {type(part).__name__} cannot be copied to the device {str(device)!r} ({type(error).__name__}: "
            f"{reason}). Pass another device, or move the model yourself and pass none"
        ) from error
    return copied


def _moved(device: torch.device, value: Any) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value


def describe(device: torch.device) -> str:
    """Return the name of a device, for people."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu" and hasattr(torch, "accelerator"):
        torch.accelerator.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is that of a device whose memory is full; that of MPS has no type of its own."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error)


@contextmanager
def memory_explained(device: torch.device, batch_size: int) -> Iterator[None]:
    """Turn a device's error about full memory into one that says what to do, and free what the batch took."""
    try:
        yield
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).strip().split("\n")[0].split(". ")[0]
    # Outside of the handler, where the error and the tensors in its frames are gone.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise CleanerError(
        f"{describe(device)} has too little memory for a batch of {batch_size} images ({reason}). Run the same scan "
        "again with smaller batches: batch_size=N. It resumes where it stopped"
    )


def made_current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one: pinning memory for `cuda:1` would otherwise open a context on GPU 0."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def kept_autocast(device: torch.device) -> Iterator[None]:
    """Restore the autocast state afterwards: a batch that fails within a half-precision learner leaves it on."""
    # torch < 2.4 asks and sets the state of CUDA without an argument. fastai always enters that of CUDA.
    kinds: list[Any] = [()]
    if _AUTOCAST_TAKES_KIND:
        kinds = [(kind,) for kind in {"cuda", "cpu", device.type} if torch.amp.is_autocast_available(kind)]
    before = [(kind, torch.is_autocast_enabled(*kind), _autocast_dtype(*kind)) for kind in kinds]
    cached, depth = torch.is_autocast_cache_enabled(), _autocast_depth()
    try:
        yield
    finally:
        for kind, enabled, dtype in before:
            _set_autocast(*kind, enabled)
            _set_autocast_dtype(*kind, dtype)
        torch.set_autocast_cache_enabled(cached)
        while _autocast_depth() > depth:
            torch.autocast_decrement_nesting()
        if depth == 0:
            torch.clear_autocast_cache()


_AUTOCAST_TAKES_KIND = hasattr(torch, "get_autocast_dtype")
_autocast_dtype: Any = torch.get_autocast_dtype if _AUTOCAST_TAKES_KIND else torch.get_autocast_gpu_dtype
_set_autocast: Any = torch.set_autocast_enabled
_set_autocast_dtype: Any = torch.set_autocast_dtype if _AUTOCAST_TAKES_KIND else torch.set_autocast_gpu_dtype


def _autocast_depth() -> int:
    """Return how many autocast contexts are open; torch gives the number only where it changes it."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()
