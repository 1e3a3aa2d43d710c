"""Rows of a manifest that are as this program writes them, checked many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import FieldError
from cleaner.core.files import path_from_csv
from cleaner.core.records import Action, check_utc

__all__ = ["PlainRows", "plain_rows"]

_COMMA, _LINE_END, _CARRIAGE_RETURN, _ZERO = b",\n\r0"
_ACTIONS = frozenset(action.value.encode() for action in Action)
_HEXADECIMAL = b"0123456789abcdef"
_TIMES = (b"0000-00-00T00:00:00Z", b"0000-00-00T00:00:00.000Z")


@dataclass(frozen=True)
class PlainRows:
    """What an index of decisions needs of `n` rows.

    Attributes:
        paths: `n` paths, as `Decision` has them.
        undone: the numbers of the rows, from 0, that take a path back to undecided.
        starts: int64 [n], where each row begins, in bytes.
    """

    paths: list[str]
    undone: list[int]
    starts: npt.NDArray[np.int64]


def plain_rows(block: bytes, columns: Sequence[str]) -> PlainRows | None:
    """The rows in whole lines of UTF-8, where each of them for sure makes a `Decision`.

    Quotes, NULs, cells left out, and values that are accepted but unusual are not plain. Rows that are not have to be
    read one by one, which also tells what is wrong with them.

    Args:
        block: lines, the last one with its end.
        columns: the header, with all the columns of a manifest.

    Returns:
        None where a row is not plain.
    """
    if not block.endswith(b"\n") or b'"' in block or b"\0" in block:
        return None
    cells = _Cells.from_block(block, columns)
    if cells is None or not (_actions_are_plain(cells) and _texts_are_plain(cells) and _times_are_plain(cells)):
        return None
    try:
        block.decode()
    except UnicodeDecodeError:
        return None
    paths = b"\n".join(cells.texts("path")).decode().split("\n")
    if b"./" in block:
        paths = list(map(path_from_csv, paths))
    # The rules of `check_path`, for all at once.
    parts = f"/{'/'.join(paths)}/"
    if "//" in parts or "/./" in parts or "/../" in parts:
        return None
    undone = [n for n, action in enumerate(cells.texts("action")) if action == b"undo"] if b"undo" in block else []
    return PlainRows(paths, undone, cells.begins[:, 0])


@dataclass(frozen=True)
class _Cells:
    """Where the cells of `n` rows are: `begins` and `ends` are int64 [n, columns], in bytes."""

    block: bytes
    codes: npt.NDArray[np.uint8]
    columns: Sequence[str]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def from_block(cls, block: bytes, columns: Sequence[str]) -> _Cells | None:
        """None where the rows have not as many cells as there are columns."""
        codes = np.frombuffer(block, np.uint8)
        flat = np.flatnonzero((codes == _COMMA) | (codes == _LINE_END))
        if flat.size % len(columns):
            return None
        begins = np.concatenate([[0], flat[:-1] + 1]).reshape(-1, len(columns))
        ends = flat.reshape(-1, len(columns))
        is_last = codes[ends] == _LINE_END
        if is_last[:, :-1].any() or not is_last[:, -1].all():
            return None
        has_return = codes[ends[:, -1] - 1] == _CARRIAGE_RETURN
        if np.count_nonzero(has_return) != block.count(b"\r"):
            return None
        ends[:, -1] -= has_return
        return cls(block, codes, columns, begins, ends)

    def texts(self, name: str) -> list[bytes]:
        """The cells of a column."""
        at = self.columns.index(name)
        pairs = zip(self.begins[:, at].tolist(), self.ends[:, at].tolist(), strict=True)
        return [self.block[begin:end] for begin, end in pairs]

    def widths(self, name: str) -> npt.NDArray[np.int64]:
        """int64 [n], the sizes of the cells of a column, in bytes."""
        at = self.columns.index(name)
        widths: npt.NDArray[np.int64] = self.ends[:, at] - self.begins[:, at]
        return widths

    def with_width(self, name: str, width: int) -> npt.NDArray[np.uint8]:
        """uint8 [m, width], the cells of a column that have this size."""
        at = self.columns.index(name)
        begins = self.begins[self.widths(name) == width, at]
        if not begins.size:
            return np.empty((0, width), np.uint8)
        found: npt.NDArray[np.uint8] = np.lib.stride_tricks.sliding_window_view(self.codes, width)[begins]
        return found


def _actions_are_plain(cells: _Cells) -> bool:
    # Of the actions, 'relabel' alone has seven letters.
    is_relabel = cells.widths("action") == len(Action.RELABEL.value)
    return set(cells.texts("action")) <= _ACTIONS and bool((is_relabel == (cells.widths("new_label") > 0)).all())


def _texts_are_plain(cells: _Cells) -> bool:
    try:
        list(map(float, filter(None, cells.texts("loss"))))
    except ValueError:
        return False
    digests = cells.with_width("sha256", 64)
    known = len(digests) + np.count_nonzero(cells.widths("sha256") == 0)
    return known == len(cells.begins) and not digests.tobytes().translate(None, _HEXADECIMAL)


def _times_are_plain(cells: _Cells) -> bool:
    times = [(shape, cells.with_width("decided_at", len(shape))) for shape in _TIMES]
    known = sum(len(found) for _, found in times) + np.count_nonzero(cells.widths("decided_at") == 0)
    return known == len(cells.begins) and all(_are_times(found, shape) for shape, found in times)


def _are_times(found: npt.NDArray[np.uint8], shape: bytes) -> bool:
    pattern = np.frombuffer(shape, np.uint8)
    is_digit = pattern == _ZERO
    digits = found[:, is_digit] - _ZERO  # what is less than '0' wraps around
    if (found[:, ~is_digit] != pattern[~is_digit]).any() or (digits > 9).any():
        return False
    pairs = digits[:, 0:14:2] * 10 + digits[:, 1:14:2]
    if (pairs[:, 4] > 23).any() or (pairs[:, 5:] > 59).any():
        return False
    text = found.tobytes()
    try:
        for day in {text[at : at + 10] for at in range(0, len(text), len(shape))}:
            check_utc(f"{day.decode()}T00:00:00Z")
    except FieldError:
        return False
    return True
