"""The lists beside the grid, with their progress, and the figures of a split: confused labels and losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cleaner.core.confusion import most_confused_labels
from cleaner.core.records import LOSS_EDGES, ClassLosses
from cleaner.core.tasks import OTHER, SINGLE_LABEL
from cleaner.review.protocol import null_if_nan
from cleaner.review.session import Session
from cleaner.review.view import ALL, AUDIT, DISAGREEMENTS, LIST_NAMES, UNREADABLE, UNSURE

__all__ = ["Lists", "figures"]

_MATRIX_LABELS = 20


class Lists:
    """The lists of one split in the order of the page: all classes, the classes, what is no class, and the issues.

    Classes with the largest share of other predictions come first, as most of their samples are worth a look. The time
    for counting decided files grows with the decisions, not with the samples.

    Args:
        session: the review.

    Attributes:
        split: name of the split.
        labels: the lists, as `View.label` names them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.split = session.view.split
        losses = {each.label: each for each in session.scan.of_classes(self.split)}
        samples = {label: session.samples_of(self.split, label) for label in (*session.scan.vocab, AUDIT, UNREADABLE)}
        classes = [label for label in session.scan.vocab if samples[label] or label in losses]
        self._losses = {label: losses.get(label, ClassLosses(self.split, label, 0, 0)) for label in classes}
        classes.sort(key=self._worst_first)
        fixed = [label for label in (AUDIT, UNREADABLE) if samples[label]]
        samples |= {label: session.samples_of(self.split, label) for label in session.issues.labels}
        fixed += session.issues.labels
        self.labels = [*([ALL] if len(session.scan.vocab) > 1 else []), *classes, UNSURE, DISAGREEMENTS, *fixed]
        self._kept = {label: len(samples[label]) for label in (*classes, *fixed)}
        self._kept[ALL] = len(session.samples_of(self.split, ALL))
        # The lists of each file, all but the two that decisions fill.
        self._lists_of: dict[str, tuple[str, ...]] = {}
        for label in (*classes, *fixed):
            one = (label,)  # shared by the files of one class, to save memory
            for path in samples[label]:
                self._lists_of[path] = self._lists_of.get(path, ()) + one

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return the number of decided and of all files of each list."""
        session = self._session
        counts = dict.fromkeys(self.labels, 0)
        everything = session.samples_of(self.split, ALL)
        for path in session.standing:
            for label in self._lists_of.get(path, ()):
                counts[label] += 1
            if ALL in counts and path in everything:
                counts[ALL] += 1
        found = {label: (count, self._kept.get(label, 0)) for label, count in counts.items()}
        for label in (UNSURE, DISAGREEMENTS):
            kept = len(session.samples_of(self.split, label))
            found[label] = (kept, kept)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that the page shows."""
        return [self._row(label, *numbers) for label, numbers in self.progress().items()]

    def after(self, label: str) -> str:
        """Return the list that the page opens next; empty for none."""
        at = self.labels.index(label) + 1 if label in self.labels else 0
        progress = self.progress()
        open_ = [each for each in (*self.labels[at:], *self.labels[:at]) if progress[each][0] < progress[each][1]]
        return next((each for each in open_ if each != label), "")

    def _row(self, label: str, decided: int, kept: int) -> dict[str, Any]:
        losses = self._losses.get(label)
        has_predictions = losses is not None and self._session.scan.task != OTHER
        return {
            "label": label,
            "name": LIST_NAMES.get(label, label),
            "scored": losses.scored if losses else None,
            "otherwise": losses.predicted_otherwise if losses and has_predictions else None,
            "mean": null_if_nan(losses.mean_loss) if losses else None,
            "kept": kept,
            "decided": decided,
        }

    def _worst_first(self, label: str) -> tuple[float, float]:
        losses = self._losses[label]
        share = losses.predicted_otherwise / losses.scored if losses.scored else 0.0
        mean = null_if_nan(losses.mean_loss)
        return -share, 0.0 if mean is None else -mean


def figures(session: Session) -> dict[str, Any]:
    """Return the confused labels of the open split, and the losses of its open class; else of all its classes."""
    losses = session.scan.of_classes(session.view.split)
    label = session.view.label if session.view.label in session.scan.vocab else session.all_classes
    if label != ALL:
        losses = [each for each in losses if each.label == label]
    histograms = [each.histogram for each in losses if each.histogram]
    return {
        "split": session.view.split,
        "label": label,
        "matrix": _matrix(session),
        "edges": LOSS_EDGES,
        "histogram": [sum(counts) for counts in zip(*histograms, strict=True)],
        "not_finite": sum(each.not_finite for each in losses),
    }


def _matrix(session: Session) -> Mapping[str, Any] | None:
    scan, split = session.scan, session.view.split
    if scan.task != SINGLE_LABEL:
        return None
    labels = most_confused_labels(scan.cells[split], scan.vocab, _MATRIX_LABELS)
    position = {label: number for number, label in enumerate(labels)}
    kept: dict[tuple[str, str], int] = {}
    for label in labels:
        for sample in scan.kept(split, label):
            kept[label, sample.predicted] = kept.get((label, sample.predicted), 0) + 1
    cells, left_out = [], 0
    for (given, predicted), count in scan.cells[split].items():
        if given in position and predicted in position:
            cells.append([position[given], position[predicted], count, kept.get((given, predicted), 0)])
        elif given != predicted:
            left_out += count
    return {"labels": labels, "cells": cells, "left_out": left_out}
