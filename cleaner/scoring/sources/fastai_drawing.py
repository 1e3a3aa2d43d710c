"""Images with their targets drawn on them, by what a fastai learner itself shows: masks, points, numbers."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

from fastai.learner import Learner
from fastai.torch_core import to_device
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["drawing"]

_log = logging.getLogger(__name__)
_INCHES, _DPI = 5.0, 100  # of each panel
_QUALITY = 85


def drawing(learn: Learner, dl: Any, read: Callable[[], Any]) -> bytes:
    """A JPEG of one sample beside what the model makes of it, or of the sample alone where that cannot be shown.

    Args:
        learn: the learner, whose callbacks are as they are to be.
        dl: a loader of its validation data, by which inputs and targets are decoded.
        read: gives the sample with its item transforms applied.

    Returns:
        the bytes; none where the sample cannot be read or shown, which then is shown as its file is.
    """
    try:
        batch = dl.after_batch(to_device(dl.do_batch([read()]), dl.device))
        panels = [("given", _decoded(dl, batch))]
    except Exception as error:  # noqa: BLE001 - whatever a file or a transform raises; the file itself is shown then
        _log.warning("a sample cannot be drawn: %s: %s", type(error).__name__, error)
        return b""
    try:
        _, _, decoded = learn.get_preds(dl=[batch], with_decoded=True, reorder=False)
        if isinstance(decoded, Tensor):
            panels.append(("predicted", _decoded(dl, (*batch[: dl.n_inp], decoded))))
        return _jpeg(panels)
    except Exception as error:  # noqa: BLE001 - a prediction need not be what the transforms can decode
        _log.info("a prediction cannot be drawn: %s: %s", type(error).__name__, error)
    try:
        return _jpeg(panels[:1])
    except Exception as error:  # noqa: BLE001 - whatever shows a type of its own raises
        _log.warning("a sample cannot be drawn: %s: %s", type(error).__name__, error)
        return b""


def _decoded(dl: Any, batch: Any) -> tuple[Any, ...]:
    """The first sample of a batch with all transforms taken back, as fastai shows it."""
    return tuple(dl.decode_batch(batch, max_n=1)[0])


def _jpeg(panels: Iterable[tuple[str, tuple[Any, ...]]]) -> bytes:
    shown = list(panels)
    height, width = shown[0][1][0].shape[-2:]
    tall = _INCHES * min(2.0, max(0.5, height / width))
    figure = Figure(figsize=(_INCHES * len(shown), tall + 0.4), dpi=_DPI, layout="tight")
    canvas = FigureCanvasAgg(figure)
    for number, (title, parts) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), number)
        axes.set_axis_off()
        for part in parts:
            part.show(ctx=axes)
        # A number is its own title.
        own = axes.get_title()
        axes.set_title(f"{title}: {own}" if own else title)
    buffer = io.BytesIO()
    canvas.print_jpg(buffer, pil_kwargs={"quality": _QUALITY})
    return buffer.getvalue()
