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
from cleaner.core.records import Alternatives, ScoredBatch
from cleaner.core.terminal import abbreviate

__all__ = ["Column", "chunk_blocks", "column_blocks", "common_folder", "count_rows", "quoted", "score_blocks"]

Block: TypeAlias = tuple[Sequence[Any], npt.NDArray[Any], Sequence[Any]]
"""Labels, probabilities [n, n_classes] and paths of consecutive rows, not checked yet."""

Ranking: TypeAlias = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""Computes losses [n] from probabilities [n, n_classes] and the indices of the labels [n]."""

_NameRow: TypeAlias = Callable[[int], str]

_NOT_COLUMNS = (str, bytes, set, frozenset, Mapping)  # iterables that are single values or have no order
_NUMBERS_PER_BLOCK = 1 << 20  # 8 MiB as float64
_MAX_ROWS_PER_BLOCK = 1 << 16
_TOLERANCE = 1e-3  # the sum of a thousand probabilities in half precision is closer to 1


class Column:
    """One value per sample: a list, a tuple or an array with one axis; or an iterable of values, or of pieces.

    Attributes:
        values: all values; None if they come in pieces, which may be read only once.

    Raises:
        CleanerError: `values` is none of these; the message calls it `name`.
    """

    def __init__(self, name: str, values: Any) -> None:
        if isinstance(values, _NOT_COLUMNS) or not isinstance(values, Iterable):
            raise CleanerError(f"{name} is a {type(values).__name__}; pass a list, an array or an iterable")
        if _is_array(values):
            values = _as_array(name, values, n_axes=1)
        elif hasattr(values, "__len__") and not isinstance(values, (list, tuple)):
            values = list(values)
        is_whole = _is_piece(values) and not (len(values) and _is_piece(values[0]))
        self._name = name
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
                array = _as_array(self._name, value, n_axes=1)
                for at in range(
                    0, len(array), _MAX_ROWS_PER_BLOCK
                ):  # a list of all values takes several times the memory
                    yield from array[at : at + _MAX_ROWS_PER_BLOCK].tolist()
            else:
                yield value


def count_rows(labels: Column, pred_probs: Any, paths: Column) -> int | None:
    """Return the number of samples; None if all three come in pieces.

    Raises:
        CleanerError: the numbers of labels, rows and paths differ.
    """
    n_labels, n_paths = (None if column.values is None else len(column.values) for column in (labels, paths))
    n_rows = pred_probs.shape[0] if _is_array(pred_probs) else None
    return _check_counts("there are", n_labels, n_rows, n_paths)


def _check_counts(subject: str, n_labels: int | None, n_rows: int | None, n_paths: int | None) -> int | None:
    """Check that the counts that are known are equal; return the count."""
    counts = {"labels": n_labels, "rows of pred_probs": n_rows, "paths": n_paths}
    if len(set(counts.values()) - {None}) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count is not None)
        raise CleanerError(f"{subject} {listed}; pass the same number of each")
    return next((count for count in counts.values() if count is not None), None)


def common_folder(paths: Column) -> Path:
    """Return the folder that all paths have in common, or the current folder if one of them is relative.

    Raises:
        CleanerError: the paths come in pieces, or have no folder in common.
    """
    if paths.values is None:
        raise CleanerError("root is not given; pass the dataset's folder, because the paths come in pieces")
    if not all(isinstance(path, (str, os.PathLike)) and os.path.isabs(path) for path in paths.values):
        return Path.cwd()
    folders = {os.path.join(os.path.dirname(os.path.abspath(path)), "") for path in paths.values}
    prefix = os.path.commonprefix(list(folders))  # noqa: RUF071 - cut at a separator in the next line
    common = os.path.dirname(prefix) if folders else os.getcwd()
    if common == os.path.dirname(common):
        raise CleanerError(f"{min(folders)!r} and {max(folders)!r} share no folder; pass the dataset's folder as root")
    return Path(common)


def column_blocks(labels: Column, pred_probs: Any, paths: Column, vocab: Sequence[str]) -> Iterator[Block]:
    """Cut labels, probabilities (an array [n, n_classes], or an iterable of such arrays) and paths into blocks.

    Raises:
        CleanerError: `pred_probs` is neither, or the numbers of labels, rows and paths differ.
    """
    seen = 0
    for probs in _row_arrays(pred_probs, vocab):
        n = len(probs)
        block = (labels.take(n), probs, paths.take(n))
        _check_counts("there are at least", seen + len(block[0]), seen + n, seen + len(block[2]))
        yield block
        seen += n
    _check_counts("there are at least", seen + len(labels.take(1)), seen, seen + len(paths.take(1)))


def chunk_blocks(chunks: Iterable[Any], vocab: Sequence[str]) -> Iterator[Block]:
    """Cut tuples of labels, probabilities and paths into blocks.

    Raises:
        CleanerError: a chunk is no such tuple, or its numbers of labels, rows and paths differ.
    """
    for number, chunk in enumerate(chunks):
        is_sequence = isinstance(chunk, (tuple, list))
        if not is_sequence or len(chunk) != 3 or not all(map(_is_piece, chunk)):
            kind = f"({', '.join(type(part).__name__ for part in chunk)})" if is_sequence else type(chunk).__name__
            raise CleanerError(f"chunk {number} is {kind}; pass tuples (labels, pred_probs, paths) of lists or arrays")
        labels, pred_probs, paths = chunk
        _check_counts(f"chunk {number} has", len(labels), len(pred_probs), len(paths))
        yield from column_blocks(Column("labels", labels), pred_probs, Column("paths", paths), vocab)


def score_blocks(blocks: Iterable[Block], vocab: Sequence[str], root: Path, ranking: Ranking) -> Iterator[ScoredBatch]:
    """Check blocks, make their paths relative to `root`, which need not exist, and compute their losses.

    Raises:
        CleanerError: a label, a path or a row of probabilities is invalid, or there are no rows.
    """
    index, duplicates, seen = _label_index(vocab), DuplicateFinder(), 0
    for labels, probs, given_paths in blocks:
        paths = [_relative(path, root, number) for number, path in enumerate(given_paths, seen)]
        name_row = partial(_name_row, paths, seen)
        repeated = duplicates.update(paths)
        if repeated is not None:
            raise CleanerError(f"{name_row(repeated)} has the path of an earlier row; pass each path once")
        checked = _check_probs(probs, name_row)
        indices = _find_labels(labels, index, name_row)
        columns = (indices, ranking(checked, indices), checked.argmax(axis=1), checked.max(axis=1))
        yield ScoredBatch(paths, *columns, (), Alternatives(checked))
        seen += len(paths)
    if seen == 0:
        raise CleanerError("there are no samples; pass at least one")


def quoted(labels: Iterable[str]) -> str:
    """Return labels in quotes for a message, the first five of many."""
    return abbreviate(map(repr, labels))


def _label_index(vocab: Sequence[str]) -> dict[Any, int]:
    """Return the index of each label, and of each index itself unless it may be mistaken for a label."""
    index: dict[Any, int] = {label: number for number, label in enumerate(vocab)}
    if not all(map(str.isdecimal, vocab)) or all(str(number) == label for label, number in index.items()):
        index.update({number: number for number in range(len(vocab))})
    return index


def _find_labels(labels: Sequence[Any], index: dict[Any, int], name_row: _NameRow) -> npt.NDArray[np.int64]:
    types = set(map(type, labels))  # True and 1.0 would be found as 1
    refused = {kind for kind in types if issubclass(kind, bool) or not issubclass(kind, (str, Integral))}
    found = [-1 if type(label) in refused else index.get(label, -1) for label in labels]
    if -1 in found:
        at = found.index(-1)
        raise CleanerError(_label_problem(labels[at], name_row(at), labels, index))
    return np.array(found, np.int64)


def _label_problem(label: Any, row: str, labels: Sequence[Any], index: dict[Any, int]) -> str:
    if label is None or (isinstance(label, float) and math.isnan(label)) or (isinstance(label, str) and not label):
        return f"{row} has no label; pass its label, or leave it out"
    vocab = [key for key in index if isinstance(key, str)]
    if isinstance(label, str):
        unknown = {other for other in labels if isinstance(other, str) and other and other not in index}
        return f"vocab is {quoted(vocab)}, without the labels {quoted(sorted(unknown))}; pass all labels"
    found = f"the label of {row} is {label!r}"
    if isinstance(label, bool) or not isinstance(label, Integral):
        return f"{found} of type {type(label).__name__}; pass labels as text, or their indices in vocab"
    if 0 in index:
        return f"{found}; pass indices from 0 to {len(vocab) - 1}, or labels as text"
    return f"{found}, which may be an index in vocab or one of the labels {quoted(vocab)}; pass labels as text"


def _row_arrays(pred_probs: Any, vocab: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    """Yield the rows in arrays of bounded size; tables are only sliced, because they may be memory-mapped files."""
    max_rows = max(1, min(_MAX_ROWS_PER_BLOCK, _NUMBERS_PER_BLOCK // len(vocab)))
    for piece in _tables(pred_probs):
        table = piece if _is_array(piece) else _as_array("pred_probs", piece, n_axes=2)
        shape = tuple(table.shape)
        if len(shape) != 2 or shape[1] != len(vocab):
            raise CleanerError(f"pred_probs has the shape {shape}; pass one column for each of {len(vocab)} labels")
        names = list(map(str, getattr(table, "columns", vocab)))
        if names != list(vocab) and names != list(map(str, range(len(vocab)))):
            name, label = next(pair for pair in zip(names, vocab, strict=True) if pair[0] != pair[1])
            raise CleanerError(f"pred_probs has column {name!r} where vocab has {label!r}; pass vocab in that order")
        rows = getattr(table, "iloc", table)  # of a DataFrame
        for begin in range(0, shape[0], max_rows):
            yield _as_array("pred_probs", rows[begin : begin + max_rows], n_axes=2)
            _release_pages(table)


def _tables(pred_probs: Any) -> Iterable[Any]:
    if isinstance(pred_probs, _NOT_COLUMNS) or not (isinstance(pred_probs, Iterable) or _is_array(pred_probs)):
        raise CleanerError(f"pred_probs is a {type(pred_probs).__name__}; pass an array or an iterable of arrays")
    is_list = isinstance(pred_probs, (list, tuple)) and len(pred_probs) > 0
    is_table = _is_array(pred_probs) or (is_list and len(getattr(pred_probs[0], "shape", ())) < 2)
    return [pred_probs] if is_table else pred_probs


def _release_pages(table: Any) -> None:
    """Release the pages of a mapped file that were read and count as our memory; a private copy would lose changes."""
    is_file = isinstance(table, np.memmap) and table.mode in ("r", "r+") and isinstance(table.base, mmap.mmap)
    if is_file and hasattr(mmap, "MADV_DONTNEED"):
        table.base.madvise(mmap.MADV_DONTNEED)


def _check_probs(block: npt.NDArray[Any], name_row: _NameRow) -> npt.NDArray[np.float64]:
    """Return a copy of the probabilities as float64, from 0 to 1."""
    if block.dtype.kind != "f":
        raise CleanerError(f"pred_probs is of type {block.dtype}; pass probabilities as floats")
    probs = np.array(block, dtype=np.float64, order="C")
    with np.errstate(invalid="ignore"):
        sums, low, high = probs.sum(axis=1), probs.min(axis=1), probs.max(axis=1)
        valid = (np.abs(sums - 1) <= _TOLERANCE) & (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE)
    if not valid.all():
        at = int(np.argmin(valid))
        found = f"range from {low[at]:g} to {high[at]:g} and sum to {sums[at]:g}"
        advice = "pass numbers from 0 to 1 that sum to 1. If they are logits, apply softmax to each row"
        raise CleanerError(f"the probabilities of {name_row(at)} {found}; {advice}")
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


def _is_array(values: Any) -> bool:
    return hasattr(values, "shape") and hasattr(values, "__getitem__") and len(values.shape) > 0


def _is_piece(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or _is_array(value)


def _as_array(name: str, values: Any, n_axes: int) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # Rows of several lengths; a tensor on a GPU, with a gradient, or in a type that NumPy does not have.
        raise CleanerError(f"NumPy cannot convert {name} to an array: {error}") from error
    if array.ndim != n_axes:
        raise CleanerError(f"{name} has the shape {array.shape}; pass an array with {n_axes} dimensions")
    return array
