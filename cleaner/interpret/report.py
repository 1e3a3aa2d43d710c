"""The text of scikit-learn's `classification_report`, from sparse confusion counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cleaner.core.terminal import printable

__all__ = ["Cells", "ratio", "report"]


@dataclass(frozen=True)
class Cells:
    """The non-zero cells of a confusion matrix; int64 [n] each, labels as indices into the vocabulary."""

    label: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @classmethod
    def from_counts(cls, cells: Mapping[tuple[str, str], int], vocab: Sequence[str]) -> Cells:
        """Return the cells for counts as in `Scan.cells`, `(label, predicted) -> count`."""
        number = {label: n for n, label in enumerate(vocab)}
        rows = [(number[given], number[other], count) for (given, other), count in cells.items()]
        return cls(*np.array(rows, np.int64).reshape(-1, 3).T)


def report(cells: Cells, vocab: Sequence[str]) -> str:
    """Return precision, recall, F1 and support per class and their averages; a score divided by zero is 0.00.

    The scores are computed as in `sklearn.metrics.precision_recall_fscore_support`, so that the last digit agrees.
    """
    vocab = list(map(printable, vocab))
    n, is_right = len(vocab), cells.label == cells.predicted
    true, guessed = (np.bincount(side, cells.count, n) for side in (cells.label, cells.predicted))
    right = np.bincount(cells.label[is_right], cells.count[is_right], n)
    scores = np.stack([ratio(right, guessed), ratio(right, true), ratio(2 * right, true + guessed)])
    total, width = int(true.sum()), max(map(len, (*vocab, "weighted avg")))
    lines = [f"{'':>{width}}  " + " ".join(f"{head:>9}" for head in ("precision", "recall", "f1-score", "support")), ""]
    lines += [_line(width, *row) for row in zip(vocab, scores.T, true.astype(np.int64).tolist(), strict=True)]
    lines += ["", f"{'accuracy':>{width}}  {'':>9} {'':>9} {right.sum() / total:>9.2f} {total:>9}"]
    lines.append(_line(width, "macro avg", np.array([np.average(row) for row in scores]), total))
    lines.append(_line(width, "weighted avg", np.array([np.average(row, weights=true) for row in scores]), total))
    return "\n".join([*lines, ""])


def ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return `part / whole`, with 0 for a division by zero."""
    quotient: npt.NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)
    return quotient


def _line(width: int, name: str, scores: npt.NDArray[np.float64], support: int) -> str:
    return f"{name:>{width}}  " + " ".join(f"{score:>9.2f}" for score in scores) + f" {support:>9}"
