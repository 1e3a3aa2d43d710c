"""Shifted copies of images: a label that a model memorised does not survive a shift, so its mean loss is high."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from cleaner.core.errors import CleanerError

__all__ = ["MAX_VIEWS", "check_views", "mean", "shifted"]

# Directions down and to the right, in tenths of the side; the first view is the image itself. No flips, which would
# spoil digits and text.
_SHIFTS = ((0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1))
MAX_VIEWS = len(_SHIFTS)


def check_views(views: Any) -> None:
    """Check a number of views."""
    if isinstance(views, bool) or not isinstance(views, int) or not 1 <= views <= MAX_VIEWS:
        raise CleanerError(f"views is {views!r}; pass a whole number from 1, the image alone, to {MAX_VIEWS}")


def shifted(images: Any, view: int) -> Any:
    """Return images that are shifted by about a tenth of their side, and reflected at the border.

    Args:
        images: a tensor [n, channels, height, width] of any type and on any device, or a subclass of one.
        view: number of the view; 0 returns the images themselves.

    Raises:
        CleanerError: the images have another shape.
    """
    if view == 0:
        return images
    if not isinstance(images, Tensor) or images.dim() != 4:
        got = f"a tensor of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise CleanerError(f"views shift images [n, channels, height, width], and a batch is {got}; use views=1")
    down, right = _SHIFTS[view]
    rows = _reflected(images.shape[2], down, images.device)
    columns = _reflected(images.shape[3], right, images.device)
    plain = images.as_subclass(Tensor)
    return plain.index_select(2, rows).index_select(3, columns).as_subclass(type(images))


def mean(views: Iterable[Tensor]) -> Tensor:
    """Return the mean of what was computed from each view; of a single view, that itself."""
    tensors = list(views)
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


def _reflected(size: int, direction: int, device: torch.device) -> Tensor:
    """Return the positions along a side from which a shifted image takes its pixels."""
    positions = torch.arange(size, device=device) + direction * max(1, round(size / 10))
    last = max(1, size - 1)
    return (last - (positions.abs() - last).abs()).clamp(0, size - 1)
