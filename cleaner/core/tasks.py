"""Tasks of models, their vocabularies, and label sets as text in one cell."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
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
"""Each image carries one label; also the task of scans that name none."""
MULTI_LABEL = "multi-label"
"""Each image carries any number of labels, and counts as a sample of every label, carried or not."""
OTHER = "other"
"""Images carry no labels: segmentation, keypoints, regression. All belong to one category."""
TASKS = (SINGLE_LABEL, MULTI_LABEL, OTHER)

ALL_IMAGES = "all images"
"""The one category of a task without labels."""

DELIMITERS = (";", "|", ",", " ")
"""Delimiters for the labels of an image in the files of a scan, in the order in which they are tried."""


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
    """Check that scans of a task have a confusion matrix.

    Raises:
        CleanerError: the task is not `single-label`.
    """
    if task == MULTI_LABEL:
        raise CleanerError(
            "a multi-label scan has no confusion matrix, since each label is predicted independently; "
            "scan.classes(split) counts the wrong predictions of each label"
        )
    if task == OTHER:
        raise CleanerError("a scan of images without labels has no confusion matrix; it has losses only")


def check_vocab(labels: Any, owner: str, min_labels: int = 2) -> tuple[str, ...]:
    """Return the labels of a vocabulary as text; whole numbers become text.

    Args:
        labels: a sequence of labels, in the order of the model's outputs.
        owner: subject of the error messages, such as `the learner` or `vocab`.
        min_labels: lowest number of labels accepted.

    Raises:
        CleanerError: `labels` is not a sequence of at least `min_labels` labels that differ as text.
    """
    if isinstance(labels, (str, bytes, Mapping, set, frozenset)) or not isinstance(labels, Iterable):
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
    """Return the first of `DELIMITERS` that no label contains.

    Raises:
        CleanerError: a label is empty, or the labels contain all delimiters.
    """
    names = list(labels)
    if "" in names:
        raise CleanerError("a label is empty and would look like a missing label; rename it")
    for delimiter in DELIMITERS:
        if not any(delimiter in name for name in names):
            return delimiter
    raise CleanerError(f"the labels contain all delimiters {list(DELIMITERS)}; rename labels so that one is free")


def join_labels(labels: Iterable[str], delimiter: str) -> str:
    """Return a label set as text, in the order given; no label gives the delimiter alone.

    The empty text is left to mean that the labels are unknown or unchanged.
    """
    return delimiter.join(labels) or delimiter


def split_labels(text: str, delimiter: str) -> tuple[str, ...]:
    """Return the labels in a text of `join_labels`; none for the empty text."""
    return () if text in ("", delimiter) else tuple(text.split(delimiter))


def drawn_file(folder: Path, path: str) -> Path:
    """Return the file in a scan folder with the drawing of an image and its target, for tasks without labels."""
    return folder / "drawn" / f"{hashlib.sha256(path.encode('utf-8')).hexdigest()}.jpg"
