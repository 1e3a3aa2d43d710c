"""Scans of predictions that were made elsewhere, such as the out-of-fold predictions of a cross-validation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError
from cleaner.core.label_table import LabelRows, label_rows
from cleaner.core.scan import Scan
from cleaner.scoring.engine import run
from cleaner.scoring.sources.arrays import ArraySource, few, text_vocab, unknown_labels
from cleaner.scoring.sources.feeds import by_column

__all__ = ["agreeing", "missing_images", "scan_arrays", "scan_chunks", "scan_prediction_files"]


def scan_arrays(
    labels: Any,
    pred_probs: Any,
    paths: Any,
    vocab: Any,
    out: str | Path,
    *,
    k: int = 100,
    split: str = "all",
    root: str | Path | None = None,
    ranked_by: str = "loss",
    progress: bool = True,
    decisions_from: str | Path | None = None,
) -> Scan:
    """Rank samples by predictions that are there already, and write the scan folder.

    The best predictions to find label errors with are out-of-fold ones: each sample's by a model that was not trained
    on it. No image is opened, and neither torch nor fastai is needed: the images may be on another machine, and the
    review shows a message in the place of one that it does not find.

    Each of the first three may be an array or a list, or an iterable of any number of pieces, of any length, of which
    one is held at a time. Where one loop makes all three, see `scan_chunks`.

    Args:
        labels: the label that each sample carries: indices into the vocabulary, or labels of it as text.
        pred_probs: floats [n, n_classes], the probabilities of each label, 0 to 1, in rows that add up to 1 within
            0.001. A memory-mapped array is read piece by piece. Scores of a model before its softmax are refused.
        paths: the file of each sample, relative to `root` or absolute below it; none may come twice.
        vocab: the labels in the order of the columns of `pred_probs`; whole numbers become text.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: how many samples to keep of each label.
        split: what to call the samples as a whole.
        root: the dataset's folder, which need not be there; by default the folder that all paths have in common, or
            the current folder where one of them is relative. Needed where `paths` come in pieces.
        ranked_by: `loss`, the cross-entropy in nats, infinite where the label's probability is 0; or `margin`, by how
            much the highest other probability exceeds that of the label, from -1 to 1. Either way higher is worse. In
            `top_losses.csv` the column `loss` has what was asked for, and `scan.json` says what that is.
        progress: show a progress bar.
        decisions_from: the scan folder of an earlier round whose decisions are taken over.

    A stopped scan starts over, which takes some seconds for a million samples of 100 classes. Beside what is kept,
    eight bytes of each path are held, to find those that come twice.

    Raises:
        CleanerError: an argument makes no sense; a finished scan in `out` is as it was.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise CleanerError(f"k is {k!r}; a whole number of at least 1 is accepted")
    if not isinstance(split, str) or not split:
        raise CleanerError(f"split is {split!r}; a name such as 'all' is accepted")
    source = ArraySource(labels, pred_probs, paths, vocab, split=split, root=root, ranked_by=ranked_by)
    options: dict[str, Any] = {"k": k, "fast": False, "resume": False, "progress": progress, "ranked_by": ranked_by}
    return run(source, Path(out), **options, decisions_from=decisions_from)


def scan_chunks(
    chunks: Iterable[tuple[Any, Any, Any]],
    vocab: Any,
    out: str | Path,
    *,
    root: str | Path,
    k: int = 100,
    split: str = "all",
    ranked_by: str = "loss",
    progress: bool = True,
    decisions_from: str | Path | None = None,
) -> Scan:
    """`scan_arrays` of what a loop makes piece by piece, so that memory does not grow with the number of samples.

    Args:
        chunks: tuples of labels, probabilities and paths of some samples, each as in `scan_arrays`.
        vocab, out, root, k, split, ranked_by, progress, decisions_from: as in `scan_arrays`; `root` is needed.

    Raises:
        CleanerError: an argument or a chunk makes no sense; a finished scan in `out` is as it was.
    """
    if isinstance(chunks, (str, bytes, Mapping)) or not isinstance(chunks, Iterable):
        raise CleanerError(f"chunks is a {type(chunks).__name__}; an iterable of tuples is accepted")
    labels, pred_probs, paths = by_column(chunks, ("labels", "pred_probs", "paths"))
    options: dict[str, Any] = {"k": k, "split": split, "ranked_by": ranked_by, "progress": progress}
    return scan_arrays(labels, pred_probs, paths, vocab, out, root=root, **options, decisions_from=decisions_from)


def scan_prediction_files(
    pred_probs: str | Path,
    labels: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    k: int = 100,
    path_column: str | None = None,
    label_column: str | None = None,
    vocab: str | Path | None = None,
    split: str = "all",
    ranked_by: str = "loss",
    decisions_from: str | Path | None = None,
) -> Scan:
    """`scan_arrays` with probabilities in an `.npy` file and labels in a table with a row for each of theirs.

    Args:
        pred_probs: what `numpy.save` wrote; it is not read as a whole.
        labels: a `.csv`, `.tsv` or `.parquet` file, with its rows in the order of the predictions.
        data: the dataset's folder, to which the paths in the table are relative.
        out, k, split, ranked_by, decisions_from: as in `scan_arrays`.
        path_column, label_column: names of columns of the table; by default told by usual names.
        vocab: a text file with a label a line, in the order of the columns of `pred_probs`; by default they are taken
            to be the labels of the table in alphabetical order, as scikit-learn and cleanlab have it, which is refused
            where their number is another or where numbers could be meant to stand in the order of numbers.

    Raises:
        CleanerError: a file or an argument makes no sense; a finished scan in `out` is as it was.
    """
    probs = _loaded(Path(pred_probs))
    rows = label_rows(Path(labels), path_column, label_column)
    count, found = _survey(rows)
    if count != len(probs):
        raise CleanerError(
            f"{str(labels)!r} has {count} rows and {str(pred_probs)!r} {len(probs)}; a row of each for each image, in "
            "the same order, is accepted"
        )
    names = _read_vocab(Path(vocab), found) if vocab is not None else _usual_vocab(found, probs.shape[1])
    one, other = tee(rows)
    its_labels, its_paths = (label for _, label in one), (path for path, _ in other)
    options: dict[str, Any] = {"k": k, "split": split, "ranked_by": ranked_by, "decisions_from": decisions_from}
    return scan_arrays(its_labels, probs, its_paths, names, out, root=data, **options)


def agreeing(scan: Scan) -> int:
    """How many of all samples are predicted as what they are labelled."""
    return sum(n for cells in scan.cells.values() for (label, predicted), n in cells.items() if label == predicted)


def missing_images(scan: Scan, n: int = 20) -> list[str]:
    """The paths of those of the `n` worst samples whose files are not there."""
    return [each.path for each in scan.worst(n) if not os.path.lexists(scan.root / each.path)]


def _loaded(file: Path) -> npt.NDArray[Any]:
    accepted = "the file that numpy.save makes of an array [n, n_classes] of probabilities, an .npy, is accepted"
    if not file.is_file():
        raise CleanerError(f"there is no file {str(file)!r}; {accepted}")
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CleanerError(f"{str(file)!r} cannot be read: {error}; {accepted}") from error
    if not isinstance(found, np.ndarray):
        raise CleanerError(f"{str(file)!r} holds several arrays; {accepted}")
    if found.ndim != 2:
        raise CleanerError(f"{str(file)!r} holds an array of the shape {found.shape}; {accepted}")
    return found


def _survey(rows: LabelRows) -> tuple[int, set[str]]:
    """How many rows there are, and their labels.

    Raises:
        CleanerError: a row has no label.
    """
    count, found = 0, set[str]()
    for path, label in rows:
        count += 1
        if not label:
            raise CleanerError(
                f"{str(rows.file)!r}: row {count} ({path!r}) has no label in the column {rows.label_column!r}; give it "
                "one, or leave it out of the table and of the predictions"
            )
        found.add(label)
    return count, found


def _usual_vocab(labels: set[str], n_classes: int) -> tuple[str, ...]:
    """The labels in alphabetical order.

    Raises:
        CleanerError: they may not be those of the columns.
    """
    names = tuple(sorted(labels))
    advice = "say with --vocab FILE, a label a line, what each column is of"
    if len(names) != n_classes:
        raise CleanerError(
            f"the table has {len(names)} different labels ({few(names)}), and the predictions have {n_classes} "
            f"columns; {advice}"
        )
    try:
        by_number = sorted(names, key=float)
    except ValueError:
        return names  # they are no numbers
    if by_number != list(names):
        raise CleanerError(
            f"the labels are numbers, which could be meant to stand as text ({few(names)}) or by their value "
            f"({few(by_number)}); {advice}"
        )
    return names


def _read_vocab(file: Path, labels: set[str]) -> Sequence[str]:
    """The vocabulary in a file.

    Raises:
        CleanerError: it cannot be read, or a label of the table is not in it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CleanerError(
            f"the vocabulary {str(file)!r} cannot be read: {error}; text in UTF-8 is accepted"
        ) from error
    names = text_vocab(line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1]))
    if strangers := labels.difference(names):
        unused = sorted(set(names) - labels)
        hint = f"; no row has {few(unused)}" if unused else ""
        raise CleanerError(f"in the table {unknown_labels(strangers, names)}{hint}. Make {str(file)!r} fit the table")
    return names
