"""Interpretation of a scan, with the names and results of fastai's `ClassificationInterpretation`.

Nothing is scored again: counts cover all samples of the scan, losses the kept ones, and images are read when shown.
Memory grows with the kept samples and the non-zero counts; only `confusion_matrix` needs the square of the classes.

A multi-label scan ranks pairs of an image and a label, and images without labels have losses only. Neither has a
confusion matrix.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from cleaner.core.confusion import most_confused_labels
from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.markup import lines, table, thumbnails
from cleaner.core.records import Sample
from cleaner.core.scan import Scan, scan_at
from cleaner.core.tasks import MULTI_LABEL, OTHER, SINGLE_LABEL, check_has_confusion, drawn_file
from cleaner.interpret.plots import draw_image, draw_matrix, draw_wrong, image_grid, title_of, why_unreadable
from cleaner.interpret.report import Cells, ratio, report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

__all__ = ["Interpretation", "Interpreted"]

# Maximum number of classes in a plot with names and counts, and number of classes in the plot of the most confused.
_MAX_WITH_COUNTS, _MOST_CONFUSED = 30, 20
# Number of images and of confused labels in the summary for a notebook.
_SHOWN = 10


@dataclass(frozen=True)
class Interpreted:
    """A kept sample, with its image.

    Attributes:
        input: the image, upright, in RGB; for images without labels the drawing with the target, if the scan has one.
        target: the label of the sample; in a multi-label scan all its labels; None without labels.
        prediction: the predicted label. In a multi-label scan `label` if the model predicts it, else empty. None
            without labels.
        probability: the model's probability of its prediction, 0..1, or NaN if unknown.
        loss: the score that the scan ranks by, by default the learner's own loss; may be NaN or infinite.
        path: the image's file.
        label: the class that the sample is ranked in; in a multi-label scan the label that `loss` belongs to.
    """

    input: Image.Image
    target: str | tuple[str, ...] | None
    prediction: str | None
    probability: float
    loss: float
    path: Path
    label: str


class Interpretation:
    """The interpretation of one split of a scan.

    `interp[i]` is the kept sample with the `i`-th highest loss as `Interpreted`, counted from 0. A slice or a list of
    numbers, such as those of `top_losses`, gives a list. `len(interp)` is the number of kept samples.

    Args:
        scan: a scan, or the path of a scan folder.
        split: one of the scan's splits; by default `valid`, or the first split without one of that name.
        root: the dataset's folder, if it was moved since the scan.

    Raises:
        CleanerError: the scan or split does not exist.

    Examples:
        >>> interp = cleaner.Interpretation("scan")
        >>> interp.split, interp.vocab
        ('valid', ('bear', 'cat', 'dog'))
        >>> interp.confusion_matrix().shape
        (3, 3)
        >>> interp[0].loss >= interp[1].loss
        True
    """

    def __init__(self, scan: Scan | str | Path, split: str | None = None, root: str | Path | None = None) -> None:
        self.scan = scan_at(scan, root)
        if split is None:
            split = "valid" if "valid" in self.scan.splits else self.scan.splits[0]
        if split not in self.scan.splits:
            raise CleanerError(f"there is no split {split!r}; the scan has {list(self.scan.splits)}")
        self.split = split
        self.vocab = self.scan.vocab

    def __repr__(self) -> str:
        return f"<Interpretation of the split {self.split!r}: {len(self):,} kept samples of {self.scan!r}>"

    def _repr_html_(self) -> str:
        worst = [(self.scan.root / sample.path, f"{sample.path}: {sample.label}") for sample in self._samples[:_SHOWN]]
        about = [f"{self.split}: {self.scan.scored[self.split]:,} images, {len(self):,} of them kept"]
        confused = [] if self.scan.task != SINGLE_LABEL else self.most_confused()[:_SHOWN]
        found = table(("label", "predicted", "images"), confused)
        return lines(about) + found + thumbnails(worst) + lines(["Next: plot_top_losses(9), plot_confusion_matrix()"])

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Interpreted: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[Interpreted]: ...
    def __getitem__(
        self, index: int | slice | Sequence[int] | npt.NDArray[np.integer[Any]]
    ) -> Interpreted | list[Interpreted]:
        """Return the kept samples at these positions, counted from the highest loss.

        Raises:
            IndexError: the split has fewer kept samples.
            CleanerError: an image cannot be read.
        """
        if isinstance(index, slice):
            return [self._interpreted(sample) for sample in self._samples[index]]
        if isinstance(index, (int, np.integer)):
            return self._interpreted(self._at(index))
        return [self._interpreted(self._at(i)) for i in index]

    @overload
    def top_losses(
        self, k: int | None = None, largest: bool = True, items: Literal[False] = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]: ...
    @overload
    def top_losses(
        self, k: int | None = None, largest: bool = True, *, items: Literal[True]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[Path]]: ...
    def top_losses(self, k: int | None = None, largest: bool = True, items: bool = False) -> tuple[Any, ...]:
        """Return the `k` highest losses of the split.

        In a multi-label scan these are losses of pairs of an image and a label, so an image may occur several times.
        A scan keeps the highest losses per class, so only a part of the ranking over all classes is certain: at least
        the scan's own `k`, more for small classes. NaN and infinite losses rank highest; ties break by path.

        Args:
            k: number of losses; by default as many as are certain.
            largest: False for the lowest losses first, if the scan kept every sample.
            items: also return the images' files.

        Returns:
            the losses, float64 [k], in nats for cross-entropy; the positions of their samples, int64 [k], for
            `interp[i]`; and with `items` their files.

        Raises:
            CleanerError: `k` is invalid, or the scan kept too few samples.

        Examples:
            >>> losses, positions = interp.top_losses(3)
            >>> len(losses), positions.tolist()
            (3, [0, 1, 2])
        """
        positions = self._positions(k, largest)
        losses = np.array([self._samples[i].loss for i in positions], np.float64)
        arrays = losses, np.array(positions, np.int64)
        return (*arrays, [self._file(self._samples[i]) for i in positions]) if items else arrays

    def plot_top_losses(
        self,
        k: int | Sequence[int] | npt.NDArray[np.integer[Any]],
        largest: bool = True,
        nrows: int | None = None,
        ncols: int | None = None,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> tuple[Axes, ...]:
        """Draw the images with the highest losses, with prediction, label, loss and probability.

        In a multi-label scan the title has the label or its absence as prediction, and all labels of the image. Images
        without labels have the loss only.

        Args:
            k: number of images, or a range or list of positions, 0 for the highest loss.
            largest: as in `top_losses`.
            nrows, ncols, figsize: of the grid; by default about as many rows as columns.
            **kwargs: for matplotlib's `imshow`.

        Returns:
            the axes, one per image; those of unreadable files show the error.

        Raises:
            CleanerError: as in `top_losses`, or the grid is too small.

        Examples:
            >>> len(interp.plot_top_losses(2, figsize=(6, 3)))  # the axes
            2
        """
        ranks = _ranks(k)
        ranked = self._positions(max(ranks) + 1, largest)
        ranked_by = self.scan.ranked_by.capitalize()
        title = ranked_by if self.scan.task == OTHER else f"Prediction/Actual/{ranked_by}/Probability"
        axes = image_grid(len(ranks), nrows, ncols, figsize, title)
        for ax, rank in zip(axes, ranks, strict=True):
            sample = self._samples[ranked[rank]]
            draw_image(ax, self._picture(sample), self._file(sample).name, self._title(sample), kwargs)
        return axes

    def confusion_matrix(self) -> npt.NDArray[np.int64]:
        """Return the counts of all samples by label (row) and prediction (column), int64 [n labels, n labels].

        The matrix takes `8 * n²` bytes; `scan.confusion(split)` returns the non-zero cells only.

        Raises:
            CleanerError: the task of the scan is not `single-label`.

        Examples:
            >>> int(interp.confusion_matrix().sum()) == scan.scored["valid"]
            True
        """
        check_has_confusion(self.scan.task)
        cells = Cells.from_counts(self.scan.cells[self.split], self.vocab)
        matrix = np.zeros((len(self.vocab), len(self.vocab)), np.int64)
        matrix[cells.label, cells.predicted] = cells.count
        return matrix

    def plot_confusion_matrix(
        self,
        normalize: bool = False,
        title: str = "Confusion matrix",
        cmap: str = "Blues",
        norm_dec: int = 2,
        plot_txt: bool = True,
        **kwargs: Any,
    ) -> tuple[Axes, ...]:
        """Draw the confusion matrix in a readable size.

        For up to 30 classes this draws the whole matrix with its counts. For more it draws a map of the wrong
        predictions, in which a point may stand for several classes, and the matrix of the most confused classes.

        Args:
            normalize: divide each row by its number of samples.
            title: title of the plot.
            cmap: one of matplotlib's colormaps.
            norm_dec: number of decimals of normalized values.
            plot_txt: write the counts.
            **kwargs: for matplotlib's `figure`, such as `figsize` and `dpi`.

        Returns:
            the axes: one, or those of the map and of the most confused classes.

        Raises:
            CleanerError: the task of the scan is not `single-label`.

        Examples:
            >>> len(interp.plot_confusion_matrix())  # the axes
            1
        """
        import matplotlib.pyplot as plt

        check_has_confusion(self.scan.task)
        whole = len(self.vocab) <= _MAX_WITH_COUNTS
        labels = most_confused_labels(
            self.scan.cells[self.split], self.vocab, _MAX_WITH_COUNTS if whole else _MOST_CONFUSED
        )
        # Without wrong predictions there is only the map.
        n_axes = 1 if whole or not labels else 2
        side = 3.0 + 0.42 * (len(labels) or _MOST_CONFUSED)
        figure = plt.figure(**{"figsize": (n_axes * side, side), "layout": "constrained", **kwargs})
        axes = tuple(figure.subplots(1, n_axes, squeeze=False).flat)
        if not whole:
            draw_wrong(axes[0], Cells.from_counts(self.scan.cells[self.split], self.vocab), self.vocab, cmap)
        if labels:
            values = self._block(labels, normalize)
            form = f".{norm_dec}f" if normalize else "d"
            draw_matrix(axes[-1], values, labels, cmap, form if plot_txt else "")
            axes[-1].set_title(f"The {len(labels)} most confused classes")
        axes[0].set_title(title if whole else f"{title}: wrong predictions")
        return axes

    def most_confused(self, min_val: int = 1) -> list[tuple[str, str, int]]:
        """Return label, prediction and count of the wrong predictions, highest count first.

        Args:
            min_val: lowest count to return, at least 1.

        Raises:
            CleanerError: `min_val` is below 1, or the task of the scan is not `single-label`.

        Examples:
            >>> all(label != predicted for label, predicted, count in interp.most_confused())
            True
        """
        check_has_confusion(self.scan.task)
        if not isinstance(min_val, Integral) or min_val < 1:
            raise CleanerError(f"min_val is {min_val!r}; expected a whole number of at least 1")
        number = {label: n for n, label in enumerate(self.vocab)}
        wrong = (
            (given, other, count)
            for (given, other), count in self.scan.cells[self.split].items()
            if given != other and count >= min_val
        )
        return sorted(wrong, key=lambda cell: (-cell[2], number[cell[0]], number[cell[1]]))

    def report(self) -> str:
        """Return precision, recall, F1 and support per class, in the format of scikit-learn's `classification_report`.

        A score without samples, or without predictions, is 0.00.

        Raises:
            CleanerError: no sample of the split was scored, or the task of the scan is not `single-label`.

        Examples:
            >>> interp.report().split()[:4]
            ['precision', 'recall', 'f1-score', 'support']
        """
        if self.scan.task == MULTI_LABEL:
            raise CleanerError(
                "a multi-label scan counts missed and wrongly predicted labels together, but a report needs both "
                "counts; scan.classes(split) returns their sum"
            )
        check_has_confusion(self.scan.task)
        if not self.scan.cells[self.split]:
            raise CleanerError(f"no sample of {self.split!r} was scored; there is nothing to report")
        return report(Cells.from_counts(self.scan.cells[self.split], self.vocab), self.vocab)

    def print_classification_report(self) -> None:
        """Print `report()`; errors as there."""
        print(self.report())

    @cached_property
    def _samples(self) -> list[Sample]:
        """All kept samples of the split, highest loss first."""
        return self.scan.worst(sys.maxsize, self.split)

    def _at(self, index: int | np.integer[Any]) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}; the scan kept {len(self)} of {self.split!r}")
        return self._samples[index]

    def _file(self, sample: Sample) -> Path:
        return self.scan.root / sample.path

    def _picture(self, sample: Sample) -> Path:
        """Return the file to show for a sample: its drawing with the target if there is one, else the image."""
        folder = self.scan.drawn_in
        drawing = drawn_file(folder, sample.path) if folder else None
        return drawing if drawing and drawing.is_file() else self._file(sample)

    def _title(self, sample: Sample) -> str:
        if self.scan.task == OTHER:
            return f"{sample.loss:.2f}"
        if self.scan.task == MULTI_LABEL:
            return title_of(sample.predicted or f"not {sample.label}", ", ".join(sample.given) or "none", sample)
        return title_of(sample.predicted, sample.label, sample)

    def _interpreted(self, sample: Sample) -> Interpreted:
        file = self._picture(sample)
        if self.scan.address and not self.scan.root.is_dir():
            raise CleanerError(f"the images were scanned at {self.scan.address!r}; pass root=, a folder with a copy")
        try:
            image = read_image(file)
        except Exception as error:
            raise CleanerError(f"the image {str(file)!r} cannot be read: {why_unreadable(error, file)}") from error
        target: str | tuple[str, ...] | None = sample.given if self.scan.task == MULTI_LABEL else sample.label
        prediction: str | None = sample.predicted
        if self.scan.task == OTHER:
            target = prediction = None
        about = (sample.confidence, sample.loss, self._file(sample), sample.label)
        return Interpreted(image, target, prediction, *about)

    def _scored(self) -> dict[str, int]:
        return {losses.label: losses.scored for losses in self.scan.of_classes(self.split)}

    def _certain(self) -> int:
        """Return how many of the first samples are certainly the highest of all samples of the split."""
        kept = Counter(sample.label for sample in self._samples)
        cut = {label for label, scored in self._scored().items() if scored > kept[label]}
        last = {sample.label: position for position, sample in enumerate(self._samples)}
        return min((last.get(label, -1) + 1 for label in cut), default=len(self._samples))

    def _positions(self, k: int | None, largest: bool) -> list[int]:
        """Return the positions of the samples with the `k` highest, or lowest, losses."""
        if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1):
            raise CleanerError(f"k is {k!r}; expected a whole number of at least 1")
        scored, certain = sum(self._scored().values()), self._certain()
        rows = "pairs of an image and a label" if self.scan.task == MULTI_LABEL else "samples"
        if not largest and certain < scored:
            raise CleanerError(
                f"the scan kept only the highest losses, {len(self)} of {scored}; pass largest=True, or scan with a k "
                "of at least the size of the largest class"
            )
        count = certain if k is None else k
        if count > scored:
            raise CleanerError(f"k is {k}, but {self.split!r} has {scored} {rows}; pass at most that many")
        if count > certain:
            raise CleanerError(
                f"k is {k}, but with {self.scan.k} kept losses per class only {certain} are certain to be the highest "
                f"of all {scored} {rows} of {self.split!r}; pass a smaller k, or scan with k={k}"
            )
        return list(range(count)) if largest else list(range(scored))[::-1][:count]

    def _block(self, labels: Sequence[str], normalize: bool) -> npt.NDArray[Any]:
        """Return the cells of these labels, int64, or float64 if normalized by all samples of each row."""
        number = {label: n for n, label in enumerate(labels)}
        values = np.zeros((len(labels), len(labels)), np.int64)
        for (given, other), count in self.scan.cells[self.split].items():
            if given in number and other in number:
                values[number[given], number[other]] = count
        if not normalize:
            return values
        scored = self._scored()
        return ratio(values, np.array([[scored.get(label, 0)] for label in labels]))


def _ranks(k: int | Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[int]:
    """Return the positions given by `k`: the first `k`, or those in a list."""
    if isinstance(k, (int, np.integer)) and not isinstance(k, bool):
        ranks = list(range(k))
    elif isinstance(k, (Sequence, np.ndarray)) and all(isinstance(rank, (int, np.integer)) for rank in k):
        ranks = [int(rank) for rank in k]
    else:
        ranks = []
    if not ranks or min(ranks) < 0:
        raise CleanerError(f"k is {k!r}; expected a whole number of at least 1, or positions from 0 up")
    return ranks
