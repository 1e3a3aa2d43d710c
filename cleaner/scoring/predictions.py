"""Scans of predictions made elsewhere, such as the out-of-fold predictions of a cross-validation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core import prediction_blocks
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import label_rows
from cleaner.core.prediction_blocks import Block, Column, Ranking, quoted
from cleaner.core.scan import Scan
from cleaner.core.tasks import check_vocab
from cleaner.scoring.engine import AUTO, DatasetInfo, ScanOptions, collect, finish, held_folder
from cleaner.scoring.progress import Checkpoint, ScanProgress

__all__ = ["agreeing", "missing_images", "scan_arrays", "scan_chunks", "scan_prediction_files"]


def scan_arrays(
    labels: Any,
    pred_probs: Any,
    paths: Any,
    vocab: Any,
    out: str | Path,
    *,
    k: int | str = AUTO,
    split: str = "all",
    root: str | Path | None = None,
    ranked_by: str = "loss",
    progress: bool = True,
    decisions_from: str | Path | None = None,
) -> Scan:
    """Rank samples by existing predictions and write the scan folder.

    Out-of-fold predictions, each from a model that was not trained on the sample, find label errors best. Images are
    not opened, and may be on another machine. A scan cannot be resumed: a million samples take seconds.
    Labels, probabilities and paths may each be an array, a list, or an iterable of pieces of any length, which are read
    one at a time. For a loop that produces all three, use `scan_chunks`.

    Args:
        labels: the current label of each sample, as text or as an index into `vocab`.
        pred_probs: floats [n, n_classes], the probabilities 0..1 of each label; rows sum to 1 within 0.001. A
            memory-mapped array is read block by block. Logits are refused.
        paths: the file of each sample, relative to `root` or absolute below it; no path may repeat.
        vocab: the labels in the order of the columns of `pred_probs`; whole numbers become text.
        out: the scan folder; created, or that of an earlier scan of the same dataset, whose decisions are kept.
        k: number of samples to keep per label; see `cleaner.scan`.
        split: name for the samples as a whole.
        root: the dataset's folder, which need not exist; by default the folder that all paths have in common, or the
            current folder if one of them is relative. Required if `paths` come in pieces.
        ranked_by: `loss`, the cross-entropy in nats, infinite for a probability of 0; or `margin`, the highest other
            probability minus that of the label, -1..1. Higher is worse. The column `loss` of `top_losses.csv` holds it.
        progress: show a progress bar.
        decisions_from: the scan folder of an earlier round whose decisions are taken over.

    Raises:
        CleanerError: an argument is invalid; a finished scan in `out` stays as it is.

    Examples:
        >>> scan = cleaner.scan_arrays(labels, pred_probs, paths, vocab, out="ranked", root="images", progress=False)
        >>> scan.worst(1)[0].loss == max(sample.loss for sample in scan.samples)
        True
    """
    inputs = Column("labels", labels), pred_probs, Column("paths", paths)
    count = prediction_blocks.count_rows(*inputs)
    folder = prediction_blocks.common_folder(inputs[2]) if root is None else Path(os.path.abspath(root))
    info = DatasetInfo(folder, check_vocab(vocab, "vocab"), (split,))
    options = ScanOptions(k=k, progress=progress, decisions_from=decisions_from, ranked_by=ranked_by)
    return _scan(prediction_blocks.column_blocks(*inputs, info.vocab), count, info, out, options)


def scan_chunks(
    chunks: Iterable[tuple[Any, Any, Any]],
    vocab: Any,
    out: str | Path,
    *,
    root: str | Path,
    k: int | str = AUTO,
    split: str = "all",
    ranked_by: str = "loss",
    progress: bool = True,
    decisions_from: str | Path | None = None,
) -> Scan:
    """Rank samples by predictions that a loop produces; memory does not grow with their number.

    Args:
        chunks: tuples of labels, probabilities and paths of some samples, each as in `scan_arrays`.
        vocab, out, root, k, split, ranked_by, progress, decisions_from: as in `scan_arrays`.

    Raises:
        CleanerError: an argument or a chunk is invalid; a finished scan in `out` stays as it is.

    Examples:
        >>> halves = slice(10), slice(10, None)
        >>> chunks = ((labels[half], pred_probs[half], paths[half]) for half in halves)
        >>> cleaner.scan_chunks(chunks, vocab, out="ranked", root="images", progress=False).scored
        {'all': 21}
    """
    if isinstance(chunks, (str, bytes, Mapping)) or not isinstance(chunks, Iterable):
        raise CleanerError(f"chunks is a {type(chunks).__name__}; pass an iterable of (labels, pred_probs, paths)")
    info = DatasetInfo(Path(os.path.abspath(root)), check_vocab(vocab, "vocab"), (split,))
    options = ScanOptions(k=k, progress=progress, decisions_from=decisions_from, ranked_by=ranked_by)
    return _scan(prediction_blocks.chunk_blocks(chunks, info.vocab), None, info, out, options)


def scan_prediction_files(
    pred_probs: str | Path,
    labels: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    k: int | str = AUTO,
    path_column: str | None = None,
    label_column: str | None = None,
    vocab: str | Path | None = None,
    split: str = "all",
    ranked_by: str = "loss",
    decisions_from: str | Path | None = None,
) -> Scan:
    """Rank the samples of a label table by the probabilities in an `.npy` file; see `scan_arrays`.

    Args:
        pred_probs: an array that `numpy.save` wrote; it is read block by block.
        labels: a `.csv`, `.tsv` or `.parquet` file with one row per row of `pred_probs`, in the same order.
        data: the dataset's folder, to which the paths in the table are relative.
        out, k, split, ranked_by, decisions_from: as in `scan_arrays`.
        path_column, label_column: names of columns of the table; by default recognized by common names.
        vocab: a text file with one label per line, in the order of the columns of `pred_probs`. By default the labels
            of the table in alphabetical order, as in scikit-learn and cleanlab.

    Raises:
        CleanerError: a file or an argument is invalid, or the order of the columns is unclear without `vocab`.
    """
    probs = _load_probs(Path(pred_probs))
    rows = label_rows(Path(labels), path_column, label_column)
    counts = Counter(label for _, label in rows)
    if "" in counts:
        row, path = next((row, path) for row, (path, label) in enumerate(rows, start=1) if not label)
        where = f"{str(labels)!r}: row {row} ({path!r}) has no label in column {rows.label_column!r}"
        raise CleanerError(f"{where}; fill it in, or remove the row from the table and from the predictions")
    if counts.total() != len(probs):
        found = f"{str(labels)!r} has {counts.total()} rows, but {str(pred_probs)!r} has {len(probs)}"
        raise CleanerError(f"{found}; pass files with the same rows in the same order")
    names = _sorted_vocab(set(counts), probs.shape[1]) if vocab is None else _read_vocab(Path(vocab), set(counts))
    for_labels, for_paths = tee(rows)
    inputs = (label for _, label in for_labels), probs, (path for path, _ in for_paths)
    options: dict[str, Any] = {"k": k, "split": split, "ranked_by": ranked_by, "decisions_from": decisions_from}
    return scan_arrays(*inputs, names, out, root=data, **options)


def agreeing(scan: Scan) -> int:
    """Return the number of samples that are predicted as labelled."""
    return sum(n for cells in scan.cells.values() for (label, predicted), n in cells.items() if label == predicted)


def missing_images(scan: Scan, n: int = 20) -> list[str]:
    """Return the paths of those of the `n` worst samples whose files do not exist."""
    return [sample.path for sample in scan.worst(n) if not os.path.lexists(scan.root / sample.path)]


def _cross_entropy(probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return 0.0 - np.log(probs[np.arange(len(labels)), labels])  # a plain minus would turn 0 into -0


def _margin(probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the normalized margin of confident learning (Northcutt, Jiang and Chuang 2021), with its sign turned."""
    rows = np.arange(len(labels))
    others = probs.copy()
    others[rows, labels] = -1
    return np.asarray(others.max(axis=1) - probs[rows, labels])


_RANKINGS: dict[str, Ranking] = {"loss": _cross_entropy, "margin": _margin}


def _scan(blocks: Iterable[Block], count: int | None, info: DatasetInfo, out: str | Path, options: ScanOptions) -> Scan:
    """Score blocks and write the scan folder; `count` is the number of rows, None if unknown."""
    (name,) = info.splits
    if not isinstance(name, str) or not name:
        raise CleanerError(f"split is {name!r}; pass a name such as 'all'")
    if options.ranked_by not in tuple(_RANKINGS):
        raise CleanerError(f"ranked_by is {options.ranked_by!r}; pass {' or '.join(map(repr, _RANKINGS))}")
    progress = ScanProgress([options.empty_split(name, info, Path(out), count)])
    scored = prediction_blocks.score_blocks(blocks, info.vocab, info.root, _RANKINGS[options.ranked_by])
    with held_folder(Path(out), info, options) as files:
        collect(scored, progress.splits[0], count, options.progress)
        scan = finish(info, progress, files, options, {"source": "arrays", "ways": {}})
        Checkpoint(files.folder, {}, info, 1).remove()  # of an unfinished scan with a model
    return scan


def _load_probs(file: Path) -> npt.NDArray[Any]:
    try:
        probs = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(probs, np.ndarray) and probs.ndim == 2:
            return probs
        problem = f"has an array of shape {probs.shape}" if isinstance(probs, np.ndarray) else "has several arrays"
    except (OSError, ValueError, EOFError) as error:
        problem = f"cannot be read ({error})"
    raise CleanerError(f"{str(file)!r} {problem}; pass an .npy file with one array [n, n_classes], from numpy.save")


def _sorted_vocab(labels: set[str], n_classes: int) -> list[str]:
    """Return the labels in alphabetical order, if that is clearly the order of the columns."""
    names = by_value = sorted(labels)
    with suppress(ValueError):  # not numbers
        by_value = sorted(names, key=float)
    if len(names) != n_classes:
        problem = f"the table has {len(names)} different labels ({quoted(names)}), the predictions {n_classes} columns"
    elif by_value != names:
        problem = f"labels that are numbers may be sorted as text ({quoted(names)}) or by value ({quoted(by_value)})"
    else:
        return names
    raise CleanerError(f"{problem}; list the labels in the order of the columns in a file, with vocab=FILE")


def _read_vocab(file: Path, labels: set[str]) -> tuple[str, ...]:
    try:
        names = file.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CleanerError(f"{str(file)!r} cannot be read ({error}); pass a text file in UTF-8") from error
    vocab = check_vocab(names, repr(str(file)))
    if unknown := quoted(sorted(labels.difference(vocab))):
        unused = quoted(sorted(set(vocab) - labels)) or "none"
        raise CleanerError(f"labels only in the table: {unknown}; only in {str(file)!r}: {unused}; correct the file")
    return vocab
