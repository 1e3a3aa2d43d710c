"""What a model was trained for, and label sets as text: how the labels of one image are written into one cell."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.terminal import abbreviate

__all__ = [
    "ALL_IMAGES",
    "DELIMITERS",
    "MULTI_LABEL",
    "OTHER",
    "SINGLE_LABEL",
    "TASKS",
    "check_distinct",
    "check_has_confusion",
    "check_task",
    "check_vocab",
    "delimiter_for",
    "drawn_file",
    "join_labels",
    "split_labels",
]

SINGLE_LABEL = "single-label"
"""Each image carries one label; also what a scan is that does not say."""
MULTI_LABEL = "multi-label"
"""Each image carries any number of labels, and is in the category of every label, carried or not."""
OTHER = "other"
"""Images carry no labels: segmentation, keypoints, regression. All are in one category."""
TASKS = (SINGLE_LABEL, MULTI_LABEL, OTHER)

ALL_IMAGES = "all images"
"""The one category of a task without labels."""

DELIMITERS = (";", "|", ",", " ")
"""What may join the labels of an image in the files of a scan, in the order in which they are tried."""


def check_task(task: str, label_delim: str, vocab: Iterable[str]) -> None:
    """Check that a task, its label delimiter and its vocabulary fit each other.

    Raises:
        CleanerError: the task is unknown, the delimiter is not one of it, or a label contains the delimiter.
    """
    if task not in TASKS:
        raise CleanerError(f"the task is {task!r}; expected one of {', '.join(TASKS)}")
    accepted = DELIMITERS if task == MULTI_LABEL else ("",)
    if label_delim not in accepted:
        raise CleanerError(f"label_delim is {label_delim!r} for the task {task!r}; expected one of {list(accepted)}")
    bad = [label for label in vocab if label_delim and (label == "" or label_delim in label)]
    if bad:
        raise CleanerError(f"the label {bad[0]!r} is empty or contains {label_delim!r}, which joins labels")


def check_has_confusion(task: str) -> None:
    """Check that in scans of a task one label can be taken for another.

    Raises:
        CleanerError: it cannot.
    """
    if task == MULTI_LABEL:
        raise CleanerError(
            "nothing is confused in a scan of several labels an image: whether it carries one says nothing of the "
            "others; scan.classes(split) says how often the model says otherwise of each label"
        )
    if task == OTHER:
        raise CleanerError("nothing is confused in a scan whose images carry no labels; it has losses alone")


def check_vocab(labels: Any, owner: str, min_labels: int = 2) -> tuple[str, ...]:
    """Return the labels of a vocabulary as text; whole numbers become text.

    Args:
        labels: a sequence of labels, in the order of the model's outputs.
        owner: subject of the error messages, such as `the learner` or `vocab`.
        min_labels: lowest number of labels accepted.

    Raises:
        CleanerError: `labels` is not a sequence of at least `min_labels` labels that differ as text.
    """
    if isinstance(labels, (str, bytes, Mapping, Set)) or not isinstance(labels, Iterable):
        kind = type(labels).__name__
        raise CleanerError(f"{owner} must list its labels in the order of the model's outputs; got {kind}")
    texts = []
    for label in labels:
        if not isinstance(label, (str, Integral)) or isinstance(label, bool):
            kind = type(label).__name__
            raise CleanerError(f"{owner} has the label {label!r} of type {kind}; labels are text or whole numbers")
        texts.append(str(label))
    if "" in texts:
        raise CleanerError(f"{owner} has an empty label; give that class a name")
    check_distinct(texts, owner)
    if len(texts) < min_labels:
        reason = "; with one class every loss is 0" if min_labels == 2 else ""
        raise CleanerError(f"{owner} has the labels {texts}; expected at least {min_labels}{reason}")
    return tuple(texts)


def check_distinct(labels: Iterable[str], owner: str) -> None:
    """Check that no label comes twice; `owner` as in `check_vocab`.

    Raises:
        CleanerError: a label comes twice.
    """
    repeated = [repr(label) for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise CleanerError(f"{owner} has more than one label {abbreviate(repeated)}; labels must differ as text")


def delimiter_for(labels: Iterable[str]) -> str:
    """The first of `DELIMITERS` that no label contains.

    Raises:
        CleanerError: a label is empty, or they contain all of them.
    """
    names = list(labels)
    if "" in names:
        raise CleanerError("one of the labels is empty, so that no label and this one are the same text; rename it")
    for delimiter in DELIMITERS:
        if not any(delimiter in name for name in names):
            return delimiter
    raise CleanerError(f"the labels contain all of {list(DELIMITERS)}, one of which must join them; rename some labels")


def join_labels(labels: Iterable[str], delimiter: str) -> str:
    """A label set as text, its labels in the order given; that of no label is the delimiter alone.

    So the empty text goes on to say that nothing is known, or that nothing changes.
    """
    return delimiter.join(labels) or delimiter


def split_labels(text: str, delimiter: str) -> tuple[str, ...]:
    """The labels of a set that `join_labels` wrote; of the empty text there are none."""
    return () if text in ("", delimiter) else tuple(text.split(delimiter))


def drawn_file(folder: Path, path: str) -> Path:
    """Where in a scan folder the drawing of an image with its target lies, for tasks without labels."""
    return folder / "drawn" / f"{hashlib.sha256(path.encode('utf-8')).hexdigest()}.jpg"
