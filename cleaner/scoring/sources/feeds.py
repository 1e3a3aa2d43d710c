"""Columns of values that come whole or in pieces, handed out so many at a time."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError

__all__ = ["NO_COLUMN", "Feed", "Piece", "Repeats", "blocks", "by_column"]

Piece: TypeAlias = Sequence[Any] | npt.NDArray[Any]
"""A list, a tuple or an array with one axis."""

NO_COLUMN = (str, bytes, set, frozenset, Mapping)
"""What can be iterated over and is no column: it is one value, or has no order."""

_AT_ONCE = 4096
# Numbers in a block: 8 MiB as float64.
_BLOCK = 1 << 20
_MOST_ROWS = 1 << 16


class Feed:
    """One value for each sample.

    Args:
        name: what the values are called in messages.
        values: a list, a tuple or an array with one axis; or an iterable of values, or of pieces of any length.

    Attributes:
        whole: all values; None where they come in pieces, and can be gone through only once.

    Raises:
        CleanerError: it is none of these.
    """

    def __init__(self, name: str, values: Any) -> None:
        self.name = name
        if isinstance(values, NO_COLUMN) or not isinstance(values, Iterable):
            raise CleanerError(f"{name} is a {type(values).__name__}; a list, an array or an iterable is accepted")
        self.whole = self._whole(values)
        self._pieces = iter([self.whole]) if self.whole is not None else self._in_pieces(iter(values))
        self._piece: Piece = ()
        self._at = 0

    def take(self, n: int) -> list[Piece]:
        """The next `n` values, or those that are left, in pieces.

        Raises:
            CleanerError: a piece is none.
        """
        found: list[Piece] = []
        while n > 0:
            if self._at >= len(self._piece):
                following = next(self._pieces, None)
                if following is None:
                    break
                self._piece, self._at = following, 0
                continue
            some = self._piece[self._at : self._at + n]
            self._at += len(some)
            n -= len(some)
            found.append(some)
        return found

    def _whole(self, values: Iterable[Any]) -> Piece | None:
        if _is_array(values):
            return self._checked(values)
        if not hasattr(values, "__len__"):
            return None
        listed = values if isinstance(values, (list, tuple)) else list(values)
        return None if listed and _is_piece(listed[0]) else listed

    def _in_pieces(self, values: Iterator[Any]) -> Iterator[Piece]:
        for first in values:
            if _is_piece(first):
                yield self._checked(first)
                continue
            rest = chain([first], values)
            while some := list(islice(rest, _AT_ONCE)):
                yield some

    def _checked(self, piece: Any) -> Piece:
        if isinstance(piece, (list, tuple)):
            return piece
        array = _as_array(self.name, piece)
        if array.ndim != 1:
            raise CleanerError(f"{self.name} has the shape {array.shape}; one value for each sample is accepted")
        return array


def by_column(chunks: Iterable[Any], names: Sequence[str]) -> tuple[Iterator[Any], ...]:
    """Of chunks, each a piece of every column, the pieces of each; those that all have taken are let go of.

    Args:
        chunks: tuples of as many pieces as there are names, all of the same length.
        names: what the columns are called in messages.

    Raises:
        CleanerError: while the pieces are taken: a chunk is none.
    """
    numbered = enumerate(chunks)
    waiting: list[deque[Any]] = [deque() for _ in names]

    def column(own: deque[Any]) -> Iterator[Any]:
        while True:
            for number, chunk in () if own else islice(numbered, 1):
                _check_chunk(number, chunk, names)
                for pieces, piece in zip(waiting, chunk, strict=True):
                    pieces.append(piece)
            if not own:
                return
            yield own.popleft()

    return tuple(column(own) for own in waiting)


def _check_chunk(number: int, chunk: Any, names: Sequence[str]) -> None:
    if not isinstance(chunk, (tuple, list)) or len(chunk) != len(names) or not all(map(_is_piece, chunk)):
        raise CleanerError(
            f"chunk {number} is a {type(chunk).__name__}, no tuple of {', '.join(names)}, each a list or an array"
        )
    lengths = [len(piece) for piece in chunk]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{length} {name}" for name, length in zip(names, lengths, strict=True))
        raise CleanerError(f"chunk {number} has {told}; as many of each are needed")


class Repeats:
    """Finds the texts that came before; eight bytes are kept of each, so that ten million take 80 MB.

    What is kept is a 64-bit hash: that two of ten million different texts share one is as likely as 1 in 300,000.
    """

    def __init__(self) -> None:
        # Sorted, and each longer than all after it together: a text is looked up in few, and merged rarely.
        self._runs: list[npt.NDArray[np.int64]] = []

    def first_in(self, texts: Sequence[str]) -> int | None:
        """Take in some texts; the position of the first that came before, among them or earlier, or None."""
        hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
        order = np.argsort(hashes, kind="stable")
        run = hashes[order]
        again = np.zeros(len(run), np.bool_)
        again[1:] = run[1:] == run[:-1]
        for known in self._runs:
            at = np.minimum(np.searchsorted(known, run), len(known) - 1)
            again |= known[at] == run
        found = order[again]
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        if len(run):
            self._runs.append(run)
        return int(found.min()) if len(found) else None


def blocks(name: str, values: Any, columns: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    """The rows of a table of numbers, so many at a time that memory does not grow with them.

    Args:
        name: what the table is called in messages.
        values: an array with two axes, or an iterable of such arrays; they are only sliced, so that one on the disk
            is not read as a whole.
        columns: what each column is of; a table may name its columns, as a DataFrame does, and then so.

    Raises:
        CleanerError: it is none of these, or has other columns.
    """
    rows = max(1, min(_MOST_ROWS, _BLOCK // len(columns)))
    for piece in [values] if _is_array(values) else _tables(name, values):
        shape = tuple(piece.shape)
        if len(shape) != 2 or shape[1] != len(columns):
            raise CleanerError(
                f"{name} has the shape {shape}; a row for each sample, and in it a number for each of the "
                f"{len(columns)} labels of the vocabulary, is accepted"
            )
        _check_names(name, piece, columns)
        # A DataFrame gives rows only so.
        sliced = getattr(piece, "iloc", piece)
        for begin in range(0, shape[0], rows):
            yield _as_array(name, sliced[begin : begin + rows])
            _let_go(piece)


def _check_names(name: str, table: Any, columns: Sequence[str]) -> None:
    names = [str(each) for each in getattr(table, "columns", ())]
    if names and names != [str(n) for n in range(len(names))] and names != list(columns):
        other = next(at for at, (found, wanted) in enumerate(zip(names, columns, strict=True)) if found != wanted)
        raise CleanerError(
            f"{name} calls its column {other} {names[other]!r}, where the vocabulary has {columns[other]!r}; give the "
            "vocabulary in the order of the columns"
        )


def _tables(name: str, values: Any) -> Iterator[Any]:
    if isinstance(values, NO_COLUMN) or not isinstance(values, Iterable):
        raise CleanerError(f"{name} is a {type(values).__name__}; an array, or an iterable of arrays, is accepted")
    if isinstance(values, (list, tuple)) and values and len(getattr(values[0], "shape", ())) < 2:
        yield _as_array(name, values)
        return
    for piece in values:
        yield piece if _is_array(piece) else _as_array(name, piece)


def _let_go(piece: Any) -> None:
    """Tell the system that the pages of a memory-mapped file that were read are not needed; else they count as ours.

    Not where they are a private copy that somebody may have written to: that would be lost.
    """
    if not isinstance(piece, np.memmap) or piece.mode not in ("r", "r+") or not hasattr(mmap, "MADV_DONTNEED"):
        return
    if isinstance(piece.base, mmap.mmap):
        piece.base.madvise(mmap.MADV_DONTNEED)


def _is_array(values: Any) -> bool:
    return hasattr(values, "shape") and hasattr(values, "__getitem__") and len(values.shape) > 0


def _is_piece(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or _is_array(value)


def _as_array(name: str, values: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # Rows of several lengths; a tensor on a GPU, or in a type that numpy does not have.
        raise CleanerError(f"{name} cannot be made an array of numpy: {error}") from error
