"""Plots: a grid of images, a confusion matrix with counts, and a map of a large one."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.records import Sample
from cleaner.interpret.report import Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_image", "draw_matrix", "draw_wrong", "image_grid", "title_of", "why_unreadable"]

# Points per side of a map; more classes share points, since a screen cannot show more.
_MAX_POINTS = 200
_MAX_TICKS = 40
_MAX_NAME = 24
_MAX_SIDE = 512  # pixels


def image_grid(
    n: int, nrows: int | None, ncols: int | None, figsize: tuple[float, float] | None, title: str
) -> tuple[Axes, ...]:
    """Return axes for `n` images in a new figure; the other axes of the grid stay empty.

    Raises:
        CleanerError: the grid is too small.
    """
    import matplotlib.pyplot as plt

    if ncols is None:
        ncols = math.ceil(math.sqrt(n)) if nrows is None else -(-n // max(1, nrows))
    if nrows is None:
        nrows = -(-n // max(1, ncols))
    if nrows * ncols < n or nrows < 1:
        raise CleanerError(f"{n} images do not fit {nrows} rows of {ncols}; pass one of nrows and ncols, at least 1")
    size = figsize or (3.4 * ncols, 3.4 * nrows + 0.4)
    figure, grid = plt.subplots(nrows, ncols, figsize=size, squeeze=False, layout="constrained")
    figure.suptitle(title, fontweight="bold", fontsize=14)
    axes = tuple(grid.flat)
    for ax in axes:
        ax.set_axis_off()
    return axes[:n]


def draw_image(ax: Axes, file: Path, name: str, title: str, options: Mapping[str, Any]) -> None:
    """Draw the image in a file with a name below, or the error if it is unreadable; `options` go to `imshow`."""
    ax.set_title(title)
    name = _name(name, 2 * _MAX_NAME)
    ax.text(0.5, -0.02, name, transform=ax.transAxes, ha="center", va="top", fontsize="x-small", color="0.4")
    try:
        image = read_image(file, _MAX_SIDE)
    except Exception as error:  # noqa: BLE001 - decoders raise anything for broken files
        reason = _escaped(textwrap.fill(why_unreadable(error, file), 30))
        ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color="0.4")
        return
    ax.imshow(np.asarray(image), **options)


def title_of(predicted: str, actual: str, sample: Sample) -> str:
    """Return fastai's title of an image, broken into lines if it is long."""
    predicted, actual = _name(predicted), _name(actual)
    numbers = f"{sample.loss:.2f} / {sample.confidence:.2f}"
    is_long = len(predicted) + len(actual) > _MAX_NAME
    return f"{predicted}/\n{actual} /\n{numbers}" if is_long else f"{predicted}/{actual} / {numbers}"


def why_unreadable(error: Exception, file: Path) -> str:
    """Return why an image file could not be read, for people."""
    if isinstance(error, FileNotFoundError):
        return "The file does not exist any more"
    return f"{type(error).__name__}: {str(error).replace(str(file), file.name)}"


def draw_matrix(ax: Axes, values: npt.NDArray[Any], labels: Sequence[str], cmap: str, form: str) -> None:
    """Draw a confusion matrix with all its names, and its values in the format `form` unless that is empty."""
    ax.imshow(values, interpolation="nearest", cmap=cmap)
    _name_axes(ax, labels, range(len(labels)))
    if not form:
        return
    dark = values.max(initial=0) / 2
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value > dark else "black" if value else "0.75"
        ax.text(column, row, format(value, form), ha="center", va="center", fontsize="small", color=color)


def draw_wrong(ax: Axes, cells: Cells, labels: Sequence[str], cmap: str) -> None:
    """Draw a map of the wrong predictions of many classes; a point is one class or several neighbors."""
    from matplotlib.colors import LogNorm

    n, wrong = len(labels), cells.label != cells.predicted
    step = -(-n // _MAX_POINTS)
    side = -(-n // step)
    at = cells.label[wrong] // step * side + cells.predicted[wrong] // step
    counts = np.bincount(at, cells.count[wrong], side * side).reshape(side, side)
    first, last = -0.5, side * step - 0.5
    # A logarithmic scale, since few counts can be far above the rest.
    norm, points = LogNorm(1, max(2, counts.max())), np.ma.masked_equal(counts, 0)
    extent = (first, last, last, first)
    picture = ax.imshow(points, cmap=_visible(cmap), norm=norm, extent=extent, interpolation="nearest")
    ax.axline((0, 0), slope=1, color="0.8", linewidth=0.5)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    _name_axes(ax, labels, range(0, n, -(-n // _MAX_TICKS)))
    per_point = "samples" if step == 1 else f"samples; a point is {step} x {step} classes"
    ticks = [digit * 10**power for power in range(19) for digit in (1, 2, 5) if digit * 10**power <= counts.max()]
    colors = ax.figure.colorbar(picture, ax=ax, label=per_point, shrink=0.6, ticks=ticks, format="{x:g}")
    colors.ax.minorticks_off()


def _name_axes(ax: Axes, labels: Sequence[str], places: range) -> None:
    names = [_name(labels[place]) for place in places]
    ax.set_xticks(places, names, rotation=90, fontsize="small")
    ax.set_yticks(places, names, fontsize="small")
    ax.set(xlabel="Predicted", ylabel="Actual")
    ax.grid(visible=False)


def _name(text: str, longest: int = _MAX_NAME) -> str:
    return _escaped(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _escaped(text: str) -> str:
    """Escape dollar signs, between which matplotlib reads a formula."""
    return text.replace("$", r"\$")


def _visible(cmap: str) -> Any:
    """Return a colormap without its first colors, which are invisible as single points on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[cmap](np.linspace(0.35, 1, 256)))
