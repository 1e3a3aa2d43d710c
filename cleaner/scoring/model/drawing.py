"""Render images with their targets, as fastai shows them: masks, points, numbers."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

from fastai.learner import Learner
from fastai.torch_core import TensorMask, to_device
from fastai.vision.core import TensorPoint
from torch import Tensor

from cleaner.core.terminal import printable

__all__ = ["draw_sample"]

_log = logging.getLogger(__name__)
_INCHES, _DPI, _QUALITY = 5.0, 100, 85  # width of a panel, and the JPEG
_TITLE, _FONT = 0.6, 28  # inches and points; legible in a thumbnail too
_WIDE = 1.3  # panels of images wider than this times their height are stacked


def draw_sample(learn: Learner, dl: Any, read: Callable[[], Any]) -> bytes:
    """Return a JPEG of a sample beside the model's prediction, or alone if that cannot be decoded; empty on failure.

    Args:
        learn: the learner, with the callbacks that run.
        dl: a loader of its validation data, which decodes inputs and targets.
        read: returns the sample with its item transforms applied.
    """
    try:
        batch = dl.after_batch(to_device(dl.do_batch([read()]), dl.device))
        return _jpeg({"given": _decoded(dl, batch), **_predicted(learn, dl, batch)})
    except Exception as error:  # noqa: BLE001 - files, transforms and types of users raise anything
        _log.warning("a sample cannot be drawn: %s: %s", type(error).__name__, printable(str(error)))
        return b""


def _predicted(learn: Learner, dl: Any, batch: Any) -> dict[str, tuple[Any, ...]]:
    """Return the decoded prediction of a batch of one; nothing if it cannot be decoded like a target."""
    try:
        _, _, decoded = learn.get_preds(dl=[batch], with_decoded=True, reorder=False)
        return {"predicted": _decoded(dl, (*batch[: dl.n_inp], decoded))} if isinstance(decoded, Tensor) else {}
    except Exception as error:  # noqa: BLE001 - transforms may not accept a prediction
        _log.info("a prediction cannot be drawn: %s: %s", type(error).__name__, printable(str(error)))
        return {}


def _decoded(dl: Any, batch: Any) -> tuple[Any, ...]:
    return tuple(dl.decode_batch(batch, max_n=1)[0])


def _jpeg(samples: dict[str, tuple[Any, ...]]) -> bytes:
    """Render each sample in a panel; samples with numbers for targets share one panel, with the numbers above it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = samples["given"][0].shape[-2:]
    numbers = [f"{title} {text}" for title, (_, *targets) in samples.items() if (text := _as_number(targets))]
    panels = {"\n".join(numbers): samples["given"][:1]} if numbers else samples
    rows, columns = (len(panels), 1) if width > _WIDE * height else (1, len(panels))
    panel_height = _INCHES * min(2.0, max(0.3, height / width)) + _TITLE * (1 + len(numbers) // 2)
    figure = Figure(figsize=(_INCHES * columns, panel_height * rows), dpi=_DPI, layout="tight")
    canvas = FigureCanvasAgg(figure)
    masks = [part for parts in panels.values() for part in parts if isinstance(part, TensorMask)]
    mask_options = {"vmin": 0, "vmax": max(1, *(int(mask.max()) for mask in masks))} if masks else {}
    for number, (title, parts) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for part in parts:
            # Points show in a thumbnail too, and a colour stands for the same class in all panels.
            options = {"s": 400, "edgecolors": "white"} if isinstance(part, TensorPoint) else {}
            part.show(ctx=axes, **(mask_options if isinstance(part, TensorMask) else options))
        axes.set_axis_off()
        axes.set_title(title, fontsize=_FONT)
    buffer = io.BytesIO()
    canvas.print_jpg(buffer, pil_kwargs={"quality": _QUALITY})  # type: ignore[no-untyped-call]
    figure.clear()  # its parts refer to each other, and there are many figures
    return buffer.getvalue()


def _as_number(targets: Iterable[Any]) -> str:
    """Return numbers as text; empty if targets are anything else."""
    flat = [value for target in targets for value in (target if isinstance(target, tuple) else [target])]
    return ", ".join(f"{value:.4g}" for value in flat) if all(isinstance(value, float) for value in flat) else ""
