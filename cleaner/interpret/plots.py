"""The drawings: a grid of images, a confusion matrix that can be read, and a picture of a large one."""

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

_SIDE = 200
"""A picture of more classes than this has the sum of several in one point: a screen has no more points for it."""
_TICKS = 40
_LONGEST_NAME = 24
_SHOWN = 512  # pixels of the longest side of an image


def image_grid(
    n: int, nrows: int | None, ncols: int | None, figsize: tuple[float, float] | None, title: str
) -> tuple[Axes, ...]:
    """Axes for `n` images in a new figure; those of a grid that are left over stay empty.

    Raises:
        CleanerError: the grid has too few places.
    """
    import matplotlib.pyplot as plt

    if ncols is None:
        ncols = math.ceil(math.sqrt(n)) if nrows is None else -(-n // max(1, nrows))
    if nrows is None:
        nrows = -(-n // max(1, ncols))
    if nrows * ncols < n or nrows < 1:
        raise CleanerError(f"{nrows} rows of {ncols} came for {n} images; give one of nrows and ncols, at least 1")
    size = figsize or (3.4 * ncols, 3.4 * nrows + 0.4)
    figure, grid = plt.subplots(nrows, ncols, figsize=size, squeeze=False, layout="constrained")
    figure.suptitle(title, fontweight="bold", fontsize=14)
    axes = tuple(grid.flat)
    for ax in axes:
        ax.set_axis_off()
    return axes[:n]


def draw_image(ax: Axes, file: Path, name: str, title: str, options: Mapping[str, Any]) -> None:
    """Draw the image in a file with a name below, or why it cannot be read; `options` are for `imshow`."""
    ax.set_title(title)
    name = _name(name, 2 * _LONGEST_NAME)
    ax.text(0.5, -0.02, name, transform=ax.transAxes, ha="center", va="top", fontsize="x-small", color="0.4")
    try:
        image = read_image(file, _SHOWN)
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes a decoder raise stands in its place
        reason = _escaped(textwrap.fill(why_unreadable(error, file), 30))
        ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color="0.4")
        return
    ax.imshow(np.asarray(image), **options)


def title_of(predicted: str, actual: str, sample: Sample) -> str:
    """What fastai writes above an image, in lines where it would run into the next one."""
    predicted, actual = _name(predicted), _name(actual)
    numbers = f"{sample.loss:.2f} / {sample.confidence:.2f}"
    is_long = len(predicted) + len(actual) > _LONGEST_NAME
    return f"{predicted}/\n{actual} /\n{numbers}" if is_long else f"{predicted}/{actual} / {numbers}"


def why_unreadable(error: Exception, file: Path) -> str:
    """What to tell people about an image file that could not be read."""
    if isinstance(error, FileNotFoundError):
        return "The file is not there any more"
    return f"{type(error).__name__}: {str(error).replace(str(file), file.name)}"


def draw_matrix(ax: Axes, values: npt.NDArray[Any], labels: Sequence[str], cmap: str, form: str) -> None:
    """Draw a confusion matrix with all its names, and its values in the format `form` if that is not empty."""
    ax.imshow(values, interpolation="nearest", cmap=cmap)
    _name_axes(ax, labels, range(len(labels)))
    if not form:
        return
    dark = values.max(initial=0) / 2
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value > dark else "black" if value else "0.75"
        ax.text(column, row, format(value, form), ha="center", va="center", fontsize="small", color=color)


def draw_wrong(ax: Axes, cells: Cells, labels: Sequence[str], cmap: str) -> None:
    """Draw where the wrong predictions of many classes are; one point is one class or several that stand together."""
    from matplotlib.colors import LogNorm

    n, wrong = len(labels), cells.label != cells.predicted
    step = -(-n // _SIDE)
    side = -(-n // step)
    at = cells.label[wrong] // step * side + cells.predicted[wrong] // step
    counts = np.bincount(at, cells.count[wrong], side * side).reshape(side, side)
    first, last = -0.5, side * step - 0.5
    # The highest of several counts may be far above the rest, hence the logarithm.
    norm, points = LogNorm(1, max(2, counts.max())), np.ma.masked_equal(counts, 0)
    extent = (first, last, last, first)
    picture = ax.imshow(points, cmap=_visible(cmap), norm=norm, extent=extent, interpolation="nearest")
    ax.axline((0, 0), slope=1, color="0.8", linewidth=0.5)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    _name_axes(ax, labels, range(0, n, -(-n // _TICKS)))
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


def _name(text: str, longest: int = _LONGEST_NAME) -> str:
    return _escaped(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _escaped(text: str) -> str:
    """The text as it is: between two dollar signs matplotlib would read a formula."""
    return text.replace("$", r"\$")


def _visible(cmap: str) -> Any:
    """A colormap without its first colors, which nobody would see as a single point on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[cmap](np.linspace(0.35, 1, 256)))
