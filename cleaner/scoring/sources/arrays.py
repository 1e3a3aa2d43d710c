"""Predictions made elsewhere: labels, probabilities and paths that are there already."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import check_path, relative_path
from cleaner.core.records import ScoredBatch
from cleaner.scoring.sources import Candidates, Wanted
from cleaner.scoring.sources.feeds import NO_COLUMN, Feed, Piece, Repeats, blocks

__all__ = ["RANKINGS", "ArraySource", "few", "text_vocab", "unknown_labels"]

_TOLERANCE = 1e-3
"""How far the sum of a row's probabilities may be from 1; those of a thousand classes in half precision are within."""
_NOTHING = "there are no samples; at least one is needed"

_Floats = npt.NDArray[np.float64]
_Labels = npt.NDArray[np.int64]


def cross_entropy(probs: _Floats, labels: _Labels) -> _Floats:
    """The cross-entropy of each sample, in nats: minus the logarithm of its label's probability, infinite for 0.

    Args:
        probs: float64 [n, n_classes], from 0 to 1.
        labels: int64 [n].
    """
    with np.errstate(divide="ignore"):
        return 0.0 - np.log(probs[np.arange(len(labels)), labels])  # 0 - 0 is no minus zero


def margin(probs: _Floats, labels: _Labels) -> _Floats:
    """By how much the highest other probability exceeds that of the label, from -1 to 1; higher is worse.

    This is the normalized margin of confident learning (Northcutt, Jiang and Chuang 2021, and cleanlab) with its sign
    turned. Arguments as in `cross_entropy`.
    """
    rows = np.arange(len(labels))
    others = probs.copy()
    others[rows, labels] = -1
    return np.asarray(others.max(axis=1) - probs[rows, labels])


RANKINGS: dict[str, Callable[[_Floats, _Labels], _Floats]] = {"loss": cross_entropy, "margin": margin}
"""What samples can be ranked by."""


class ArraySource:
    """Predictions that are there already, as a source for the engine; arguments as in `cleaner.scan_arrays`.

    It can be gone through once, and a scan of it neither goes on where another one stopped nor has a fast way.

    Raises:
        CleanerError: an argument cannot be used.
    """

    def __init__(
        self,
        labels: Any,
        pred_probs: Any,
        paths: Any,
        vocab: Any,
        *,
        split: str,
        root: str | Path | None,
        ranked_by: str,
    ) -> None:
        if ranked_by not in tuple(RANKINGS):
            raise CleanerError(f"ranked_by is {ranked_by!r}; accepted are {', '.join(map(repr, RANKINGS))}")
        self.vocab = text_vocab(vocab)
        self.splits: tuple[str, ...] = (split,)
        self.settings: dict[str, Any] = {"source": "arrays"}
        self.ways: dict[str, str] = {}
        self._rank = RANKINGS[ranked_by]
        self._labels, self._paths = Feed("labels", labels), Feed("paths", paths)
        self._pred_probs = pred_probs
        self._index = {label: index for index, label in enumerate(self.vocab)}
        numbered = tuple(map(str, range(len(self.vocab))))
        self._is_of_numbers = self.vocab != numbered and all(label.isdecimal() for label in self.vocab)
        self._count = _checked_count(pred_probs, self._labels, self._paths)
        self.root = _root_of(self._paths) if root is None else Path(os.path.abspath(root))

    def identity(self) -> dict[str, Any]:
        """What tells this scan from those of models."""
        return dict(self.settings)

    def count(self, split: str) -> int:  # noqa: ARG002 - there is one
        """Number of samples; `sys.maxsize` where all columns come in pieces."""
        return self._count

    def paths(self, split: str) -> Iterator[str]:  # noqa: ARG002 - there is one
        """The paths, relative to the root; none where they come in pieces."""
        return (_relative(path, self.root, row) for row, path in enumerate(_listed(self._paths.whole or ())))

    def score(
        self,
        split: str,  # noqa: ARG002 - there is one
        consume: Callable[[ScoredBatch], None],
        *,
        skip: int = 0,  # noqa: ARG002 - this and all that follow are for models
        fast: bool = False,  # noqa: ARG002
        only: Wanted | None = None,  # noqa: ARG002
        candidates: Candidates | None = None,  # noqa: ARG002
    ) -> None:
        """Check all samples and hand them to `consume`.

        Raises:
            CleanerError: a label, a path or a row of probabilities makes no sense, there are more of one than of
                another, or there is none.
        """
        seen, repeats = 0, Repeats()
        for block in blocks("pred_probs", self._pred_probs, self.vocab):
            labels, files = (self._taken(feed, len(block), seen) for feed in (self._labels, self._paths))
            given = (path for piece in files for path in _listed(piece))
            paths = [_relative(path, self.root, row) for row, path in enumerate(given, seen)]
            _check_new(paths, repeats, seen)
            probs = _checked_probs(block, paths, seen)
            consume(self._scored(probs, self._indices(labels, paths, seen), paths))
            seen += len(block)
        for feed in (self._labels, self._paths):
            if feed.take(1):
                raise CleanerError(f"pred_probs ends after {seen} rows, and {feed.name} has more: at least {seen + 1}")
        if seen == 0:
            raise CleanerError(_NOTHING)

    def _taken(self, feed: Feed, n: int, seen: int) -> list[Piece]:
        pieces = feed.take(n)
        found = sum(map(len, pieces))
        if found < n:
            raise CleanerError(
                f"{feed.name} ends after {seen + found}, and pred_probs has at least {seen + n} rows; "
                "one for each row is needed"
            )
        return pieces

    def _scored(self, probs: _Floats, labels: _Labels, paths: Sequence[str]) -> ScoredBatch:
        predicted = probs.argmax(axis=1)
        return ScoredBatch(paths, labels, self._rank(probs, labels), predicted, probs.max(axis=1))

    def _indices(self, pieces: Sequence[Piece], paths: Sequence[str], first: int) -> _Labels:
        """Where in the vocabulary the labels of a block are; `first` is the number of its first row."""
        found, at = [np.empty(0, np.int64)], 0
        for piece in pieces:
            end = at + len(piece)
            found.append(self._indices_of(piece, paths[at:end], first + at))
            at = end
        return np.concatenate(found)

    def _indices_of(self, piece: Piece, paths: Sequence[str], first: int) -> _Labels:
        if isinstance(piece, np.ndarray) and piece.dtype.kind in "iu":
            # The first that is outside of the vocabulary, or just the first.
            at = int(np.argmax((piece < 0) | (piece >= len(self.vocab))))
            self._index_of_number(int(piece[at]), _row(first + at, paths[at]))
            return piece.astype(np.int64)
        values = _listed(piece)
        strangers = {value for value in values if isinstance(value, str) and value and value not in self._index}
        if strangers:
            raise CleanerError(f"{unknown_labels(strangers, self.vocab)}; give the vocabulary that the labels are of")
        numbers = (self._index_of(value, first + at, paths[at]) for at, value in enumerate(values))
        return np.fromiter(numbers, np.int64, len(values))

    def _index_of(self, value: Any, row: int, path: str) -> int:
        if isinstance(value, str) and value:
            return self._index[value]
        if isinstance(value, Integral) and not isinstance(value, bool):
            return self._index_of_number(int(value), _row(row, path))
        if value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value)):
            raise CleanerError(f"{_row(row, path)} has no label; leave it out, or give it one")
        raise CleanerError(
            f"the label of {_row(row, path)} is {value!r}, a {type(value).__name__}; an index into the vocabulary, "
            "which is a whole number, or a label of it as text is accepted"
        )

    def _index_of_number(self, number: int, row: str) -> int:
        if self._is_of_numbers:
            raise CleanerError(
                f"the label of {row} is the number {number}, and the vocabulary is of numbers too ({few(self.vocab)}), "
                "so that an index into it or a label of it could be meant; give the labels as text"
            )
        if not 0 <= number < len(self.vocab):
            raise CleanerError(
                f"the label of {row} is {number}; an index into the {len(self.vocab)} labels of the vocabulary, from 0 "
                f"to {len(self.vocab) - 1}, or a label of it as text is accepted"
            )
        return number


def text_vocab(vocab: Any) -> tuple[str, ...]:
    """The labels of a vocabulary, as text; whole numbers become text.

    Raises:
        CleanerError: it is no list of two or more different labels.
    """
    if isinstance(vocab, NO_COLUMN) or not isinstance(vocab, Iterable):
        raise CleanerError(
            f"vocab is {vocab!r}; a list of labels, in the order of the columns of pred_probs, is accepted"
        )
    labels = []
    for label in vocab:
        is_number = isinstance(label, Integral) and not isinstance(label, bool)
        if not (is_number or (isinstance(label, str) and label)):
            raise CleanerError(
                f"vocab has {label!r} in it, a {type(label).__name__}; texts and whole numbers, which become text, are "
                "accepted"
            )
        labels.append(str(label))
    if len(labels) < 2:
        raise CleanerError(f"vocab is {labels}; two labels or more are accepted")
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise CleanerError(f"vocab names {few(twice)} more than once; labels must differ as text")
    return tuple(labels)


def _checked_count(pred_probs: Any, *feeds: Feed) -> int:
    """How many samples there are.

    Raises:
        CleanerError: there are not as many of each, or none.
    """
    counts = {feed.name: len(feed.whole) for feed in feeds if feed.whole is not None}
    if hasattr(pred_probs, "shape") and len(pred_probs.shape) == 2:
        counts["pred_probs"] = pred_probs.shape[0]
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
        raise CleanerError(f"there are {told}; as many of each are needed")
    count = next(iter(counts.values()), sys.maxsize)
    if count == 0:
        raise CleanerError(_NOTHING)
    return count


def _checked_probs(block: npt.NDArray[Any], paths: Sequence[str], first: int) -> _Floats:
    """The probabilities as float64, from 0 to 1; a copy.

    Raises:
        CleanerError: a row is none of probabilities.
    """
    if block.dtype.kind != "f":
        raise CleanerError(f"pred_probs is of type {block.dtype}; probabilities as floats are accepted")
    probs = np.array(block, dtype=np.float64, order="C")
    with np.errstate(invalid="ignore"):
        sums, low, high = probs.sum(axis=1), probs.min(axis=1), probs.max(axis=1)
        fits = (np.abs(sums - 1) <= _TOLERANCE) & (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE)
    if not fits.all():
        at = int(np.argmin(fits))
        raise CleanerError(
            f"the probabilities of {_row(first + at, paths[at])} are from {low[at]:g} to {high[at]:g} and add up to "
            f"{sums[at]:g}; numbers from 0 to 1 that add up to 1 are accepted. Of logits take the softmax of each row"
        )
    return probs.clip(0, 1, out=probs)


def _check_new(paths: Sequence[str], repeats: Repeats, first: int) -> None:
    at = repeats.first_in(paths)
    if at is not None:
        raise CleanerError(
            f"{_row(first + at, paths[at])} has a path that an earlier row has; a path may come once, as decisions are "
            "about paths"
        )


def _relative(path: Any, root: Path, row: int) -> str:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise CleanerError(f"the path of row {row} is {path!r}; the path of a file is accepted")
    text = str(path)
    if _is_plain(text):
        return text
    try:
        return relative_path(os.path.join(root, text), root)
    except CleanerError as error:
        raise CleanerError(f"the path of row {row}: {error}") from error


def _is_plain(path: str) -> bool:
    """Whether a path is as it stands in a scan, as most are: quicker to tell than to make it so."""
    if os.sep != "/" or path.startswith("/"):
        return False
    try:
        return bool(check_path(path))
    except FieldError:
        return False


def _root_of(paths: Feed) -> Path:
    """The folder that all paths have in common, or the current one where one of them is relative.

    Raises:
        CleanerError: the paths can be gone through only once, or have no folder in common.
    """
    if paths.whole is None:
        raise CleanerError("root is not given; it is needed where the paths come in pieces: give the dataset's folder")
    # As text, all paths begin with what the first and the last of them in alphabetical order begin with.
    low = high = None
    for path in _listed(paths.whole):
        if not isinstance(path, (str, os.PathLike)) or not os.path.isabs(path):
            return Path.cwd()
        folder = os.path.join(os.path.dirname(os.path.abspath(path)), "")
        low = folder if low is None else min(low, folder)
        high = folder if high is None else max(high, folder)
    if low is None or high is None:
        return Path.cwd()
    try:
        common = os.path.commonpath([low, high])
    except ValueError:  # on different drives
        common = os.sep
    if common == os.path.dirname(common):
        raise CleanerError(f"{low!r} and {high!r} have no folder in common; give the dataset's folder as root")
    return Path(common)


def _listed(piece: Piece) -> Sequence[Any]:
    return piece.tolist() if isinstance(piece, np.ndarray) else piece


def _row(row: int, path: str) -> str:
    return f"row {row} ({path!r})"


def unknown_labels(strangers: Iterable[str], vocab: Sequence[str]) -> str:
    """What to say of labels that are not in the vocabulary."""
    found = sorted(strangers)
    verb = "is not a label" if len(found) == 1 else "are not labels"
    return f"{few(found)} {verb} of the vocabulary, which is {few(vocab)}"


def few(labels: Sequence[str]) -> str:
    """The first of some labels, and how many more there are."""
    shown = ", ".join(map(repr, labels[:5]))
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown
