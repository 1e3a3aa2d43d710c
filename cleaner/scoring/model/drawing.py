"""Images with their targets drawn on them, by what a fastai learner itself shows: masks, points, numbers."""

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
_INCHES, _DPI = 5.0, 100  # width of a panel
_TITLE, _FONT = 0.6, 28  # inches and points; to be read in a thumbnail too
_WIDE = 1.3  # images wider than this times their height stand above each other
_QUALITY = 85


def draw_sample(learn: Learner, dl: Any, read: Callable[[], Any]) -> bytes:
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
        given = _decoded(dl, batch)
        return _jpeg({"given": given, **_predicted(learn, dl, batch)})
    except Exception as error:  # noqa: BLE001 - whatever a file, a transform or a type of its own raises
        _log.warning("a sample cannot be drawn: %s: %s", type(error).__name__, printable(str(error)))
        return b""


def _predicted(learn: Learner, dl: Any, batch: Any) -> dict[str, tuple[Any, ...]]:
    """What the model makes of a batch of one, to be drawn; nothing where that cannot be decoded like a target."""
    try:
        _, _, decoded = learn.get_preds(dl=[batch], with_decoded=True, reorder=False)
        return {"predicted": _decoded(dl, (*batch[: dl.n_inp], decoded))} if isinstance(decoded, Tensor) else {}
    except Exception as error:  # noqa: BLE001 - a prediction need not be what the transforms can take back
        _log.info("a prediction cannot be drawn: %s: %s", type(error).__name__, printable(str(error)))
        return {}


def _decoded(dl: Any, batch: Any) -> tuple[Any, ...]:
    """The first sample of a batch with all transforms taken back, as fastai shows it."""
    return tuple(dl.decode_batch(batch, max_n=1)[0])


def _jpeg(samples: dict[str, tuple[Any, ...]]) -> bytes:
    """The samples in panels that make the image as large as they can; numbers stand together above one image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = samples["given"][0].shape[-2:]
    numbers = {title: text for title, (_, *targets) in samples.items() if (text := _as_number(targets))}
    panels = {"\n".join(f"{title} {text}" for title, text in numbers.items()): samples["given"][:1]}
    if not numbers:
        panels = samples
    rows, columns = (len(panels), 1) if width > _WIDE * height else (1, len(panels))
    tall = _INCHES * min(2.0, max(0.3, height / width)) + _TITLE * (1 + len(numbers) // 2)
    figure = Figure(figsize=(_INCHES * columns, tall * rows), dpi=_DPI, layout="tight")
    canvas = FigureCanvasAgg(figure)
    most = max(
        (int(part.max()) for parts in panels.values() for part in parts if isinstance(part, TensorMask)), default=1
    )
    for number, (title, parts) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for part in parts:
            part.show(ctx=axes, **_options(part, most))
        axes.set_axis_off()
        axes.set_title(title, fontsize=_FONT)
    buffer = io.BytesIO()
    canvas.print_jpg(buffer, pil_kwargs={"quality": _QUALITY})  # type: ignore[no-untyped-call]
    figure.clear()  # its parts hold each other, and there are many figures
    return buffer.getvalue()


def _as_number(targets: Iterable[Any]) -> str:
    """Numbers as text, where targets are nothing else."""
    flat = [each for target in targets for each in (target if isinstance(target, tuple) else [target])]
    return ", ".join(f"{each:.4g}" for each in flat) if flat and all(isinstance(each, float) for each in flat) else ""


def _options(part: Any, most: int) -> dict[str, Any]:
    """How a part is shown, so that it is seen in a thumbnail; a colour means the same class in all panels."""
    if isinstance(part, TensorPoint):
        return {"s": 400, "edgecolors": "white"}
    return {"vmin": 0, "vmax": max(1, most)} if isinstance(part, TensorMask) else {}
