"""What the model makes of a split, with the names and results of fastai's `ClassificationInterpretation`.

Nothing is scored again. Counts are those of the scan, of all samples; losses are those of the samples that were kept;
images are read when they are shown. Memory grows with the kept samples and the non-zero counts, and with the square of
the classes only where the whole confusion matrix is asked for.

Where an image carries several labels, pairs of an image and a label are ranked; where images carry none, there are
losses alone. In neither one label is taken for another, so that nothing is confused.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from cleaner.core.confusion import most_confused_labels
from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.records import Sample
from cleaner.core.scan import Scan, scan_at
from cleaner.core.tasks import MULTI_LABEL, OTHER, check_has_confusion, drawn_file
from cleaner.interpret.plots import draw_image, draw_matrix, draw_wrong, image_grid, title_of, why_unreadable
from cleaner.interpret.report import Cells, ratio, report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

__all__ = ["Interpretation", "Interpreted"]

_WITH_COUNTS = 30
"""So many classes can be named and counted in one picture."""
_BLOCK = 20
"""Classes in the picture of the most confused, where all are too many."""


@dataclass(frozen=True)
class Interpreted:
    """A kept sample, with its image.

    Attributes:
        input: the image, upright, in RGB; where images carry no labels the drawing of it with its target, if the scan
            has one.
        target: the label that the sample carries; in a multi-label scan all of them; None where images carry none.
        prediction: the label that the model gives. In a multi-label scan `label` where the model says that the image
            shows it, and the empty text where it says that it does not. None where images carry no labels.
        probability: that of `prediction`, 0..1, or NaN where the model gave none.
        loss: what the scan ranks by, the learner's own loss if not said otherwise; may be NaN or infinite.
        path: the image's file.
        label: the class that the sample is ranked in; in a multi-label scan the label that `loss` is about, carried or
            not.
    """

    input: Image.Image
    target: str | tuple[str, ...] | None
    prediction: str | None
    probability: float
    loss: float
    path: Path
    label: str


class Interpretation:
    """What the model makes of one split of a scan.

    `interp[i]` is the kept sample with the `i`-th highest loss as `Interpreted`, counted from 0. A list of numbers,
    such as the places that `top_losses` gives, or a slice gives a list of them. `len(interp)` is how many were kept.

    Args:
        scan: a scan, or the path of a scan folder.
        split: one of the scan's splits; by default `valid`, or the first where there is none of that name.
        root: the dataset's folder, where it is not at the place at which it was scanned.

    Raises:
        CleanerError: there is no such scan or split.
    """

    def __init__(self, scan: Scan | str | Path, split: str | None = None, root: str | Path | None = None) -> None:
        self.scan = scan_at(scan, root)
        if split is None:
            split = "valid" if "valid" in self.scan.splits else self.scan.splits[0]
        if split not in self.scan.splits:
            raise CleanerError(f"there is no split {split!r}; the scan has {list(self.scan.splits)}")
        self.split = split
        self.vocab = self.scan.vocab

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Interpreted: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[Interpreted]: ...
    def __getitem__(
        self, index: int | slice | Sequence[int] | npt.NDArray[np.integer[Any]]
    ) -> Interpreted | list[Interpreted]:
        """The kept samples at these places, highest loss first.

        Raises:
            IndexError: so many were not kept.
            CleanerError: an image cannot be read.
        """
        if isinstance(index, slice):
            return [self._interpreted(sample) for sample in self._samples[index]]
        if isinstance(index, (int, np.integer)):
            return self._interpreted(self._at(index))
        return [self._interpreted(self._at(each)) for each in index]

    @overload
    def top_losses(
        self, k: int | None = None, largest: bool = True, items: Literal[False] = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]: ...
    @overload
    def top_losses(
        self, k: int | None = None, largest: bool = True, *, items: Literal[True]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[Path]]: ...
    def top_losses(self, k: int | None = None, largest: bool = True, items: bool = False) -> tuple[Any, ...]:
        """The `k` highest losses of the split.

        In a multi-label scan they are the losses of pairs of an image and a label, so that an image may come more than
        once.

        A scan keeps the highest of each class. They are the highest of the split as far down as no class was cut off:
        at least to the scan's own `k`, and further where classes are small. A loss that is NaN or infinite ranks above
        every finite one; ties break by path.

        Args:
            k: how many; by default as many as are sure to be the highest.
            largest: False for the lowest first, where the scan kept every sample.
            items: whether to give the images' files too.

        Returns:
            the losses, float64 [k], in nats for cross-entropy; the places of their samples, int64 [k], for `interp[i]`;
            and with `items` their files.

        Raises:
            CleanerError: the scan cannot say.
        """
        places = self._places(k, largest)
        losses = np.array([self._samples[place].loss for place in places], np.float64)
        found = losses, np.array(places, np.int64)
        return (*found, [self._file(self._samples[place]) for place in places]) if items else found

    def plot_top_losses(
        self,
        k: int | Sequence[int] | npt.NDArray[np.integer[Any]],
        largest: bool = True,
        nrows: int | None = None,
        ncols: int | None = None,
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> tuple[Axes, ...]:
        """Draw the images with the highest losses, each with its prediction, its label, its loss and the probability.

        In a multi-label scan the prediction is a label or that it is not there, and beside it are all labels given;
        where images carry no labels there is the loss alone.

        Args:
            k: how many, or which of them by a range or list of places, 0 for the highest loss.
            largest: as in `top_losses`.
            nrows, ncols, figsize: of the grid; by default nearly as many rows as columns.
            **kwargs: for matplotlib's `imshow`.

        Returns:
            the axes, one an image. Where a file cannot be read they say why.

        Raises:
            CleanerError: as in `top_losses`, or the grid has too few places.
        """
        ranks = _ranks(k)
        ranked = self._places(max(ranks) + 1, largest)
        ranked_by = self.scan.ranked_by.capitalize()
        title = ranked_by if self.scan.task == OTHER else f"Prediction/Actual/{ranked_by}/Probability"
        axes = image_grid(len(ranks), nrows, ncols, figsize, title)
        for ax, rank in zip(axes, ranks, strict=True):
            sample = self._samples[ranked[rank]]
            draw_image(ax, self._picture(sample), self._file(sample).name, self._title(sample), kwargs)
        return axes

    def confusion_matrix(self) -> npt.NDArray[np.int64]:
        """How often samples of one label, the row, were predicted as another, the column; int64 [n labels, n labels].

        All samples of the split count. It takes `8 * n²` bytes; `scan.confusion(split)` has the non-zero cells only.

        Raises:
            CleanerError: the scan is not of one label an image.
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
        """Draw the confusion matrix, so that it can be read.

        Up to 30 classes it is the whole matrix with its counts. Beyond, it is a picture of where the wrong predictions
        are, without the right ones, in which one point may be several classes, and beside it the matrix of the most
        confused classes with their names and counts.

        Args:
            normalize: divide by the number of samples with the label of the row.
            title: of the plot.
            cmap: one of matplotlib's colormaps.
            norm_dec: digits behind the point where it is normalized.
            plot_txt: write the counts.
            **kwargs: for matplotlib's `figure`, such as `figsize` and `dpi`.

        Returns:
            the axes: one, or that of the picture and that of the most confused.

        Raises:
            CleanerError: the scan is not of one label an image.
        """
        import matplotlib.pyplot as plt

        check_has_confusion(self.scan.task)
        whole = len(self.vocab) <= _WITH_COUNTS
        labels = most_confused_labels(self.scan.cells[self.split], self.vocab, _WITH_COUNTS if whole else _BLOCK)
        # Where nothing is confused there is no block beside the picture.
        n_axes = 1 if whole or not labels else 2
        side = 3.0 + 0.42 * (len(labels) or _BLOCK)
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
        """The label, the prediction and the count of wrong predictions, highest count first.

        Args:
            min_val: lowest count to give, at least 1.

        Raises:
            CleanerError: `min_val` is below 1, or the scan is not of one label an image.
        """
        check_has_confusion(self.scan.task)
        if min_val < 1:
            raise CleanerError(f"min_val is {min_val!r}; at least 1 is accepted")
        number = {label: n for n, label in enumerate(self.vocab)}
        wrong = (
            (given, other, count)
            for (given, other), count in self.scan.cells[self.split].items()
            if given != other and count >= min_val
        )
        return sorted(wrong, key=lambda cell: (-cell[2], number[cell[0]], number[cell[1]]))

    def report(self) -> str:
        """Precision, recall, F1 and support of each class, as scikit-learn's `classification_report` writes them.

        Where there is nothing to divide by, as for a class that has no sample or is never predicted, there is 0.00.

        Raises:
            CleanerError: no sample of the split was scored, or the scan is not of one label an image.
        """
        if self.scan.task == MULTI_LABEL:
            raise CleanerError(
                "a scan of several labels an image does not count of each how often it is missed and how often it is "
                "seen where it is not, as a report has to; scan.classes(split) has both in one number"
            )
        check_has_confusion(self.scan.task)
        if not self.scan.cells[self.split]:
            raise CleanerError(f"no sample of {self.split!r} was scored; there is nothing to report on")
        return report(Cells.from_counts(self.scan.cells[self.split], self.vocab), self.vocab)

    def print_classification_report(self) -> None:
        """Print what `report` gives.

        Raises:
            CleanerError: as in `report`.
        """
        print(self.report())

    @cached_property
    def _samples(self) -> list[Sample]:
        """The kept samples, highest loss first."""
        return self.scan.worst(sys.maxsize, self.split)

    def _at(self, index: int | np.integer[Any]) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}; {len(self)} of {self.split!r} were kept")
        return self._samples[index]

    def _file(self, sample: Sample) -> Path:
        return self.scan.root / sample.path

    def _picture(self, sample: Sample) -> Path:
        """What is shown of a sample: its file, or the drawing of it with its target."""
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
            raise CleanerError(
                f"the images were scanned at {self.scan.address!r}; give a folder with a copy of them: root=DIR"
            )
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
        return {each.label: each.scored for each in self.scan.of_classes(self.split)}

    def _certain(self) -> int:
        """How many of the first samples are the highest of the split: none that was not kept is above one of them."""
        kept = Counter(sample.label for sample in self._samples)
        cut = {label for label, scored in self._scored().items() if scored > kept[label]}
        last = {sample.label: place for place, sample in enumerate(self._samples)}
        return min((last.get(label, -1) + 1 for label in cut), default=len(self._samples))

    def _places(self, k: int | None, largest: bool) -> list[int]:
        """The places of the samples with the `k` highest, or lowest, losses.

        Raises:
            CleanerError: the scan cannot say.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1):
            raise CleanerError(f"k is {k!r}; a whole number of at least 1 is accepted")
        scored, certain = sum(self._scored().values()), self._certain()
        what = "pairs of an image and a label" if self.scan.task == MULTI_LABEL else "samples"
        if not largest and certain < scored:
            raise CleanerError(
                f"a scan keeps the highest losses, here {len(self)} of {scored}, and not the lowest; largest=True is "
                "accepted, or a scan with a k of at least the size of the largest class"
            )
        wanted = certain if k is None else k
        if wanted > scored:
            raise CleanerError(f"k is {k}, and {self.split!r} has {scored} {what}; at most that many are accepted")
        if wanted > certain:
            raise CleanerError(
                f"k is {k}; the {self.scan.k} highest losses of each class were kept, so that only {certain} are sure "
                f"to be the highest of all {scored} {what} of {self.split!r}; give no more, or scan with k={k}"
            )
        return list(range(wanted)) if largest else list(range(scored))[::-1][:wanted]

    def _block(self, labels: Sequence[str], normalize: bool) -> npt.NDArray[Any]:
        """The cells of some labels, int64 or, normalized by all samples of each row, float64."""
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
    """The places that are asked for: the first `k`, or those in a list.

    Raises:
        CleanerError: there are none, or they are no places.
    """
    if isinstance(k, (int, np.integer)) and not isinstance(k, bool):
        ranks = list(range(k))
    elif isinstance(k, (Sequence, np.ndarray)) and all(isinstance(rank, (int, np.integer)) for rank in k):
        ranks = [int(rank) for rank in k]
    else:
        ranks = []
    if not ranks or min(ranks) < 0:
        raise CleanerError(f"k is {k!r}; a whole number of at least 1, or places from 0 up, are accepted")
    return ranks
