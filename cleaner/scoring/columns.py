"""Labels, probabilities and paths of predictions made elsewhere: cut into blocks of rows, checked and scored."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cleaner.core.duplicates import DuplicateFinder
from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import check_path, relative_path
from cleaner.core.records import ScoredBatch
from cleaner.core.terminal import abbreviate

__all__ = ["Block", "Column", "Ranking", "chunk_blocks", "column_blocks", "common_folder", "count_rows", "score_blocks"]

Block: TypeAlias = tuple[Sequence[Any], npt.NDArray[Any], Sequence[Any]]
"""Labels, probabilities [n, n_classes] and paths of consecutive rows, not checked yet."""

Ranking: TypeAlias = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""Computes losses [n] from probabilities [n, n_classes] and the indices of the labels [n]."""

# Iterables that are single values or have no order.
_NOT_COLUMNS = (str, bytes, set, frozenset, Mapping)
_VALUES_AT_ONCE = 4096
_NUMBERS_PER_BLOCK = 1 << 20  # 8 MiB as float64
_MAX_ROWS_PER_BLOCK = 1 << 16
# The sum of a thousand probabilities in half precision is closer to 1.
_TOLERANCE = 1e-3


class Column:
    """One value per sample.

    Args:
        name: the name of the values in messages.
        values: a list, a tuple or an array with one axis; or an iterable of values, or of pieces of any length.

    Attributes:
        values: all values; None if they come in pieces, which may be read only once.
    """

    def __init__(self, name: str, values: Any) -> None:
        if isinstance(values, _NOT_COLUMNS) or not isinstance(values, Iterable):
            raise CleanerError(f"{name} is a {type(values).__name__}; pass a list, an array or an iterable")
        self.name = name
        if _is_array(values):
            values = self._vector(values)
        elif hasattr(values, "__len__") and not isinstance(values, (list, tuple)):
            values = list(values)
        is_whole = _is_piece(values) and not (len(values) and _is_piece(values[0]))
        self.values = values if is_whole else None
        self._iterator = self._iter_values([values] if is_whole else values)

    def take(self, n: int) -> list[Any]:
        """Return the next `n` values, or as many as are left."""
        return list(islice(self._iterator, n))

    def _iter_values(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, (list, tuple)):
                yield from value
            elif _is_array(value):
                vector = self._vector(value)
                for at in range(0, len(vector), _VALUES_AT_ONCE):  # as objects of Python, all would take much memory
                    yield from vector[at : at + _VALUES_AT_ONCE].tolist()
            else:
                yield value

    def _vector(self, values: Any) -> npt.NDArray[Any]:
        array = _as_array(self.name, values)
        if array.ndim != 1:
            raise CleanerError(f"{self.name} has the shape {array.shape}; pass one value per sample")
        return array


def count_rows(labels: Column, pred_probs: Any, paths: Column) -> int | None:
    """Return the number of samples; None if all three come in pieces."""
    n_labels, n_paths = (None if column.values is None else len(column.values) for column in (labels, paths))
    n_rows = pred_probs.shape[0] if _is_array(pred_probs) else None
    return _check_counts("there are", n_labels, n_rows, n_paths)


def _check_counts(subject: str, n_labels: int | None, n_rows: int | None, n_paths: int | None) -> int | None:
    """Check that the counts that are known are equal; return the count."""
    counts = {"labels": n_labels, "rows of pred_probs": n_rows, "paths": n_paths}
    known = {name: count for name, count in counts.items() if count is not None}
    if len(set(known.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in known.items())
        raise CleanerError(f"{subject} {listed}; pass the same number of each")
    return next(iter(known.values()), None)


def common_folder(paths: Column) -> Path:
    """Return the folder that all paths have in common, or the current folder if one of them is relative."""
    if paths.values is None:
        raise CleanerError("root is not given; pass the dataset's folder, because the paths come in pieces")
    are_absolute = all(isinstance(path, (str, os.PathLike)) and os.path.isabs(path) for path in paths.values)
    if not are_absolute or not len(paths.values):
        return Path.cwd()
    folders = {os.path.join(os.path.dirname(os.path.abspath(path)), "") for path in paths.values}
    # What the first and the last in alphabetical order begin with, all begin with.
    low, high = min(folders), max(folders)
    common = ""
    with suppress(ValueError):  # on different drives
        common = os.path.commonpath([low, high])
    if common == os.path.dirname(common):
        raise CleanerError(f"{low!r} and {high!r} have no folder in common; pass the dataset's folder as root")
    return Path(common)


def column_blocks(labels: Column, pred_probs: Any, paths: Column, vocab: Sequence[str]) -> Iterator[Block]:
    """Cut labels, probabilities (an array [n, n_classes], or an iterable of such arrays) and paths into blocks."""
    seen = 0
    for probs in _row_arrays(pred_probs, vocab):
        n = len(probs)
        block = (labels.take(n), probs, paths.take(n))
        _check_counts("there are at least", seen + len(block[0]), seen + n, seen + len(block[2]))
        yield block
        seen += n
    _check_counts("there are at least", seen + len(labels.take(1)), seen, seen + len(paths.take(1)))


def chunk_blocks(chunks: Iterable[Any], vocab: Sequence[str]) -> Iterator[Block]:
    """Cut tuples of labels, probabilities and paths into blocks."""
    for number, chunk in enumerate(chunks):
        is_sequence = isinstance(chunk, (tuple, list))
        if not is_sequence or len(chunk) != 3 or not all(map(_is_piece, chunk)):
            kind = f"({', '.join(type(part).__name__ for part in chunk)})" if is_sequence else type(chunk).__name__
            raise CleanerError(f"chunk {number} is {kind}; pass tuples (labels, pred_probs, paths) of lists or arrays")
        labels, pred_probs, paths = chunk
        _check_counts(f"chunk {number} has", len(labels), len(pred_probs), len(paths))
        yield from column_blocks(Column("labels", labels), pred_probs, Column("paths", paths), vocab)


def score_blocks(blocks: Iterable[Block], vocab: Sequence[str], root: Path, ranking: Ranking) -> Iterator[ScoredBatch]:
    """Check blocks and compute their losses.

    Paths become relative to `root`, which need not exist.
    """
    find_labels, duplicates, seen = _LabelFinder(vocab), DuplicateFinder(), 0
    for labels, probs, given_paths in blocks:
        paths = [_relative(path, root, number) for number, path in enumerate(given_paths, seen)]
        name_row = partial(_name_row, paths, seen)
        repeated = duplicates.update(paths)
        if repeated is not None:
            raise CleanerError(f"{name_row(repeated)} has the path of an earlier row; pass each path once")
        checked = _check_probs(probs, name_row)
        indices = find_labels(labels, name_row)
        losses = ranking(checked, indices)
        yield ScoredBatch(paths, indices, losses, checked.argmax(axis=1), checked.max(axis=1))
        seen += len(paths)
    if seen == 0:
        raise CleanerError("there are no samples; pass at least one")


class _LabelFinder:
    """Finds the indices of labels that are text or indices; `name_row` names the row of a label in messages."""

    def __init__(self, vocab: Sequence[str]) -> None:
        self._vocab = vocab
        self._index: dict[Any, int] = {label: index for index, label in enumerate(vocab)}
        indices = range(len(vocab))
        self._ambiguous = all(label.isdecimal() for label in vocab) and list(vocab) != list(map(str, indices))
        if not self._ambiguous:
            self._index.update(zip(indices, indices, strict=True))

    def __call__(self, labels: Sequence[Any], name_row: Callable[[int], str]) -> npt.NDArray[np.int64]:
        found = [self._index.get(label, -1) if _is_label(label) else -1 for label in labels]
        if -1 in found:
            at = found.index(-1)
            raise CleanerError(self._problem(labels[at], name_row(at), labels))
        return np.array(found, np.int64)

    def _problem(self, label: Any, row: str, labels: Sequence[Any]) -> str:
        is_missing = label is None or (isinstance(label, float) and math.isnan(label))
        if is_missing or (isinstance(label, str) and not label):
            return f"{row} has no label; pass its label, or leave it out"
        if isinstance(label, str):
            unknown = {other for other in labels if isinstance(other, str) and other and other not in self._index}
            return f"vocab is {quoted(self._vocab)}, without the labels {quoted(sorted(unknown))}; pass all labels"
        if not _is_label(label):
            kind = type(label).__name__
            return f"the label of {row} is {label!r} of type {kind}; pass labels as text, or their indices in vocab"
        if not self._ambiguous:
            return f"the label of {row} is {label}; pass indices from 0 to {len(self._vocab) - 1}, or labels as text"
        named = f"one of the labels {quoted(self._vocab)}"
        return f"the label of {row} is {label}, which may be an index in vocab or {named}; pass labels as text"


def _row_arrays(pred_probs: Any, vocab: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    """Yield the rows in arrays of bounded size; tables are only sliced, because they may be memory-mapped files."""
    max_rows = max(1, min(_MAX_ROWS_PER_BLOCK, _NUMBERS_PER_BLOCK // len(vocab)))
    for piece in _tables(pred_probs):
        table = piece if _is_array(piece) else _as_array("pred_probs", piece)
        shape = tuple(table.shape)
        if len(shape) != 2 or shape[1] != len(vocab):
            raise CleanerError(f"pred_probs has the shape {shape}; pass one column for each of {len(vocab)} labels")
        _check_column_names(table, vocab)
        rows = getattr(table, "iloc", table)  # of a DataFrame
        for begin in range(0, shape[0], max_rows):
            yield _as_array("pred_probs", rows[begin : begin + max_rows])
            _release_pages(table)


def _tables(pred_probs: Any) -> Iterable[Any]:
    if isinstance(pred_probs, _NOT_COLUMNS) or not (isinstance(pred_probs, Iterable) or _is_array(pred_probs)):
        raise CleanerError(f"pred_probs is a {type(pred_probs).__name__}; pass an array or an iterable of arrays")
    first = pred_probs[0] if isinstance(pred_probs, (list, tuple)) and pred_probs else None
    is_list_of_rows = first is not None and len(getattr(first, "shape", ())) < 2
    return [pred_probs] if is_list_of_rows or _is_array(pred_probs) else pred_probs


def _check_column_names(table: Any, vocab: Sequence[str]) -> None:
    names = [str(name) for name in getattr(table, "columns", ())]
    other = [(name, label) for name, label in zip(names, vocab, strict=False) if name != label]
    if other and names != list(map(str, range(len(names)))):
        found, expected = map(quoted, zip(*other, strict=True))
        raise CleanerError(f"pred_probs has the columns {found} where vocab has {expected}; pass vocab in their order")


def _release_pages(table: Any) -> None:
    """Release the pages that were read of a memory-mapped file; they count as memory of this process."""
    # A private copy (mode "c") would lose what was written to it.
    is_file = isinstance(table, np.memmap) and table.mode in ("r", "r+") and isinstance(table.base, mmap.mmap)
    if is_file and hasattr(mmap, "MADV_DONTNEED"):
        table.base.madvise(mmap.MADV_DONTNEED)


def _check_probs(block: npt.NDArray[Any], name_row: Callable[[int], str]) -> npt.NDArray[np.float64]:
    """Return a copy of the probabilities as float64, from 0 to 1."""
    if block.dtype.kind != "f":
        raise CleanerError(f"pred_probs is of type {block.dtype}; pass probabilities as floats")
    probs = np.array(block, dtype=np.float64, order="C")
    with np.errstate(invalid="ignore"):
        sums, low, high = probs.sum(axis=1), probs.min(axis=1), probs.max(axis=1)
        valid = (np.abs(sums - 1) <= _TOLERANCE) & (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE)
    if not valid.all():
        at = int(np.argmin(valid))
        raise CleanerError(
            f"the probabilities of {name_row(at)} range from {low[at]:g} to {high[at]:g} and sum to {sums[at]:g}; pass "
            "numbers from 0 to 1 that sum to 1. If they are logits, apply softmax to each row"
        )
    return probs.clip(0, 1, out=probs)


def _relative(path: Any, root: Path, number: int) -> str:
    """Return the path relative to the root, as it is written in a scan."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise CleanerError(f"the path of row {number} is {path!r}; pass the path of a file")
    text = str(path)
    if os.sep == "/" and not text.startswith("/"):
        with suppress(FieldError):
            return check_path(text)  # much faster; most paths need no more
    try:
        return relative_path(os.path.join(root, text), root)
    except CleanerError as error:
        raise CleanerError(f"the path of row {number}: {error}") from error


def _name_row(paths: Sequence[str], first: int, at: int) -> str:
    return f"row {first + at} ({paths[at]!r})"


def quoted(labels: Iterable[str]) -> str:
    """Return labels in quotes for a message, the first five of many."""
    return abbreviate(map(repr, labels))


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, Integral)) and not isinstance(value, bool)


def _is_array(values: Any) -> bool:
    return hasattr(values, "shape") and hasattr(values, "__getitem__") and len(values.shape) > 0


def _is_piece(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or _is_array(value)


def _as_array(name: str, values: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # Rows of several lengths; a tensor on a GPU, with a gradient, or in a type that NumPy does not have.
        raise CleanerError(f"NumPy cannot convert {name} to an array: {error}") from error
