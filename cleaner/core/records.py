"""The records that pass between the stages: frozen dataclasses that validate themselves."""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import check_path

__all__ = [
    "ALTERNATIVES",
    "LOSS_EDGES",
    "Action",
    "Alternatives",
    "ClassLosses",
    "Decision",
    "Sample",
    "ScoredBatch",
    "ScoredLabels",
    "Typical",
    "Unreadable",
    "decision_revision",
    "joined",
    "now",
    "parse_action",
    "parse_time",
]

ALTERNATIVES = 5
"""Number of most probable labels that are kept of a sample."""

LOSS_EDGES = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2, 5)), 100.0)
"""Edges of the bins of a histogram of losses, about three per decade. The first bin counts all losses below the first
edge, the last bin all from the last edge up."""

_NO_OFFSET = timedelta(0)
_SHA256 = re.compile("[0-9a-f]{64}")


class Action(str, enum.Enum):
    """A reviewer's decision about one image."""

    KEEP = "keep"
    DELETE = "delete"
    RELABEL = "relabel"
    UNSURE = "unsure"
    UNDO = "undo"
    """Back to undecided."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Sample:
    """A kept sample: one with a high loss within its split and label.

    Attributes:
        split: name of the split, such as `train`.
        label: the current label of the sample. In a multi-label scan any label, carried or not.
        rank: 1 for the highest loss of its split and label.
        path: the image's file, relative to the dataset's root, with forward slashes.
        loss: the learner's own loss, in nats for cross-entropy, or another score to rank by; higher is worse; may be
            NaN or infinite.
        predicted: the label that the model predicts. In a multi-label scan `label` if the model predicts it, else
            empty.
        confidence: the model's probability of its prediction, 0..1, or NaN if unknown.
        given: in a multi-label scan all labels of the image.
        alternatives_json: `alternatives` as JSON, which takes a third of the memory.

    Raises:
        FieldError: a field has an invalid value.
    """

    split: str
    label: str
    rank: int
    path: str
    loss: float
    predicted: str
    confidence: float
    given: tuple[str, ...] = ()
    alternatives_json: str = field(default="[]", repr=False)

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.rank < 1:
            raise FieldError("rank", self.rank, "expected at least 1")
        # Rounding in float32 can give probabilities slightly above 1.
        if not (math.isnan(self.confidence) or -1e-6 <= self.confidence <= 1 + 1e-5):
            raise FieldError("confidence", self.confidence, "expected a probability (0..1) or nan")

    @property
    def alternatives(self) -> tuple[tuple[str, float], ...]:
        """The most probable labels with their probabilities, highest first; empty where they are unknown."""
        return tuple((label, probability) for label, probability in json.loads(self.alternatives_json))


@dataclass(frozen=True, slots=True)
class Typical:
    """A sample with one of the lowest losses of its split and label that is predicted as labelled.

    Attributes:
        split, label, path, loss: as in `Sample`.
        rank: 1 for the lowest loss of its split and label.

    Raises:
        FieldError: a field has an invalid value.
    """

    split: str
    label: str
    rank: int
    path: str
    loss: float

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.rank < 1:
            raise FieldError("rank", self.rank, "expected at least 1")
        if not math.isfinite(self.loss):
            raise FieldError("loss", self.loss, "expected a finite number")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be read, and the error.

    Raises:
        CleanerError: the path is not inside the dataset.
    """

    split: str
    label: str
    path: str
    error: str

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True)
class ClassLosses:
    """Counts and losses of all samples of one split and label, kept or not.

    Attributes:
        split: name of the split.
        label: the current label of the samples.
        scored: number of samples scored.
        predicted_otherwise: number of samples with another predicted label; in a multi-label scan, of those where the
            prediction contradicts whether they carry the label.
        mean_loss: mean of the finite losses; NaN if there are none or it is unknown.
        not_finite: number of losses that are NaN or infinite.
        histogram: number of finite losses in each bin of `LOSS_EDGES`; empty if unknown.

    Raises:
        FieldError: a field has an invalid value or contradicts another.
    """

    split: str
    label: str
    scored: int
    predicted_otherwise: int
    mean_loss: float = math.nan
    not_finite: int = 0
    histogram: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.predicted_otherwise <= self.scored:
            raise FieldError(
                "predicted_otherwise", self.predicted_otherwise, f"expected 0 to {self.scored}, the scored"
            )
        if math.isinf(self.mean_loss):
            raise FieldError("mean_loss", self.mean_loss, "expected a finite number or nan")
        if not 0 <= self.not_finite <= self.scored:
            raise FieldError("not_finite", self.not_finite, f"expected 0 to {self.scored}, the scored")
        if not self.histogram:
            return
        if len(self.histogram) != len(LOSS_EDGES) + 1 or min(self.histogram) < 0:
            raise FieldError("histogram", self.histogram, f"expected {len(LOSS_EDGES) + 1} counts")
        if sum(self.histogram) + self.not_finite != self.scored:
            raise FieldError("histogram", self.histogram, f"expected a sum of {self.scored - self.not_finite}")


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of the manifest: a decision about one image, with what the reviewer saw.

    Attributes:
        path: the image's file, relative to the dataset's root.
        action: see `Action`.
        label: the label of the image at that time. In a multi-label scan all its labels in the order of the vocabulary,
            joined by the scan's `label_delim`; `label_delim` alone for no label. Empty in a task without labels.
        new_label: the new label, or in a multi-label scan all new labels, written like `label`; required for `relabel`
            and empty otherwise.
        split, loss, predicted: as in `Sample`; `loss` is NaN if unknown.
        sha256: hash of the file's bytes at that time; empty if the file could not be read.
        reviewer: who decided.
        decided_at: UTC, ISO 8601; empty in a row that a person added.

    Raises:
        FieldError: a field has an invalid value.
    """

    path: str
    action: Action
    label: str = ""
    new_label: str = ""
    split: str = ""
    loss: float = math.nan
    predicted: str = ""
    sha256: str = ""
    reviewer: str = ""
    decided_at: str = ""

    def __post_init__(self) -> None:
        check_path(self.path)
        if not isinstance(self.action, Action):
            object.__setattr__(self, "action", parse_action(self.action))
        if self.action is Action.RELABEL and not self.new_label:
            raise FieldError("new_label", "", "'relabel' needs the new label of the image")
        if self.action is not Action.RELABEL and self.new_label:
            raise FieldError("new_label", self.new_label, "only 'relabel' has one; leave it empty")
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise FieldError("sha256", self.sha256, "expected 64 lower-case hexadecimal digits or nothing")
        if self.decided_at:
            check_utc(self.decided_at)


def decision_revision(decision: Decision | None) -> tuple[str, str, str, str]:
    """Return what identifies a decision about a path: action, new label, reviewer and time; empty texts for None."""
    if decision is None:
        return ("", "", "", "")
    return (decision.action.value, decision.new_label, decision.reviewer, decision.decided_at)


def parse_action(text: str) -> Action:
    """Return the action called `text`.

    Raises:
        FieldError: no action has that name.
    """
    try:
        return Action(text)
    except ValueError as error:
        accepted = ", ".join(action.value for action in Action)
        raise FieldError("action", text, f"expected one of {accepted}") from error


def now() -> str:
    """Return the time in UTC, ISO 8601, to the millisecond, for scans and decisions."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the moment given by a text in ISO 8601, with `Z` or an offset.

    Raises:
        ValueError: the text is no such time.
    """
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def check_utc(text: str) -> None:
    """Check that `text` is a time in UTC, ISO 8601.

    Raises:
        FieldError: it is not.
    """
    accepted = "expected a time in UTC such as 2026-01-31T12:00:00Z"
    try:
        moment = parse_time(text)
    except ValueError as error:
        raise FieldError("decided_at", text, accepted) from error
    if moment.utcoffset() != _NO_OFFSET:
        raise FieldError("decided_at", text, accepted)


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The most probable labels of samples; they are looked up for the few samples that are kept.

    Attributes:
        probabilities: float [N, m], those of a table of `N` samples, in which a sample may stand for several rows.
        labels: int [N, m], index of the label of each probability, or -1 for none, the most probable first; by default
            the columns are all labels, in the order of the vocabulary.
        rows: int64 [n], where each of the `n` samples is in the table; by default its rows in their order.
    """

    probabilities: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None = None
    rows: npt.NDArray[np.int64] | None = None

    @classmethod
    def of_images(cls, probabilities: npt.NDArray[Any], rows_per_image: int) -> Alternatives:
        """Return those of images [n, m] that stand for several rows each, one block of all images after the other."""
        labels, best = _highest(probabilities)
        return cls(best, labels, np.tile(np.arange(len(best)), rows_per_image))

    def select(self, at: npt.NDArray[np.intp]) -> Alternatives:
        """Return those of the samples at these positions."""
        return Alternatives(self.probabilities, self.labels, at if self.rows is None else self.rows[at])

    def most_probable(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return labels and probabilities [n, `ALTERNATIVES`], highest first; a label that is missing is -1."""
        probabilities = self.probabilities if self.rows is None else self.probabilities[self.rows]
        labels = self.labels if self.labels is None or self.rows is None else self.labels[self.rows]
        if labels is None:
            labels, probabilities = _highest(probabilities)
        filled = np.full((len(labels), ALTERNATIVES), -1, np.int32)
        filled[:, : labels.shape[1]] = labels
        of_filled = np.zeros(filled.shape, np.float32)
        of_filled[:, : labels.shape[1]] = probabilities
        return filled, of_filled


def _highest(probabilities: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return the columns of the highest `ALTERNATIVES` probabilities of each row, highest first, and these."""
    # Of equal ones the first comes first, as in argmax: the prediction is the first alternative.
    columns = np.argsort(-probabilities, axis=1, kind="stable")[:, :ALTERNATIVES]
    return columns, np.take_along_axis(probabilities, columns, axis=1)


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Scores of one batch of `n` samples on the host, and the unreadable files of that batch.

    Attributes:
        paths: `n` paths, relative to the dataset's root.
        labels: int64 [n], current label of each sample as index into the vocabulary.
        losses: float64 [n], the learner's own loss; higher is worse.
        predicted: int64 [n], index into the vocabulary.
        confidences: float64 [n], probability of `predicted`.
        unreadable: the files that could not be read; not counted in `n`.
        alternatives: the most probable labels of each sample; None where they are unknown.

    Raises:
        CleanerError: the lengths differ.
    """

    paths: Sequence[str]
    labels: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float64]
    unreadable: Sequence[Unreadable] = ()
    alternatives: Alternatives | None = None

    def __post_init__(self) -> None:
        lengths = {
            "paths": len(self.paths),
            "labels": len(self.labels),
            "losses": len(self.losses),
            "predicted": len(self.predicted),
            "confidences": len(self.confidences),
        }
        if len(set(lengths.values())) > 1:
            raise CleanerError(f"the columns of a batch must have the same length; got {lengths}")

    def select(self, positions: Sequence[int] | npt.NDArray[np.intp]) -> ScoredBatch:
        """Return the samples at these positions, with all unreadable files."""
        at = np.asarray(positions, np.intp)
        paths = [self.paths[i] for i in at.tolist()]
        columns = (self.labels[at], self.losses[at], self.predicted[at], self.confidences[at])
        alternatives = None if self.alternatives is None else self.alternatives.select(at)
        return ScoredBatch(paths, *columns, self.unreadable, alternatives)

    def to_rank(self) -> ScoredBatch:
        """Return the rows for the heaps: the batch itself."""
        return self

    def to_count(self) -> ScoredBatch:
        """Return the rows for the counts: the batch itself."""
        return self

    def predicted_as_labelled(self) -> npt.NDArray[np.intp]:
        """Return the positions in `to_rank()` of samples whose label is predicted."""
        return np.flatnonzero(self.predicted == self.labels)


def joined(batches: Sequence[ScoredBatch]) -> ScoredBatch:
    """Return the samples and unreadable files of several batches as one."""
    unreadable = [item for batch in batches for item in batch.unreadable]
    filled = [batch for batch in batches if batch.paths]
    if len(filled) < 2:
        empty = np.empty(0)
        one = filled[0] if filled else ScoredBatch((), empty.astype(np.int64), empty, empty.astype(np.int64), empty)
        return replace(one, unreadable=unreadable)
    paths = [path for batch in filled for path in batch.paths]
    columns = zip(*((b.labels, b.losses, b.predicted, b.confidences) for b in filled), strict=True)
    labels, losses, predicted, confidences = map(np.concatenate, columns)
    known = [batch.alternatives for batch in filled if batch.alternatives is not None]
    if len(known) < len(filled):
        return ScoredBatch(paths, labels, losses, predicted, confidences, unreadable)
    most_probable = (np.concatenate(arrays) for arrays in zip(*(each.most_probable() for each in known), strict=True))
    names, probabilities = most_probable
    return ScoredBatch(paths, labels, losses, predicted, confidences, unreadable, Alternatives(probabilities, names))


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """Scores of one batch of `n` multi-label samples with `c` labels on the host.

    Attributes:
        paths: `n` paths, relative to the dataset's root.
        carried: bool [n, c], the labels that each sample carries.
        losses: float64 [n, c], the learner's own loss of each label; higher is worse.
        predicted: bool [n, c], the labels that the model predicts.
        confidences: float64 [n, c], probability that each prediction, of a label or its absence, is right.
        unreadable: the files that could not be read; not counted in `n`.

    Raises:
        CleanerError: the shapes differ.
    """

    paths: Sequence[str]
    carried: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.bool_]
    confidences: npt.NDArray[np.float64]
    unreadable: Sequence[Unreadable] = ()

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.carried, self.losses, self.predicted, self.confidences)}
        if len(shapes) > 1 or self.losses.shape[:1] != (len(self.paths),):
            raise CleanerError(f"the columns of a batch must have the shape [paths, labels]; got {shapes}")

    def to_rank(self) -> ScoredBatch:
        """Return `n * c` rows for the heaps, one per sample and label; `predicted` is the label, or `c` if absent."""
        probabilities = np.where(self.predicted, self.confidences, 1 - self.confidences)
        return replace(
            self._rows(self.predicted), alternatives=Alternatives.of_images(probabilities, probabilities.shape[1])
        )

    def to_count(self) -> ScoredBatch:
        """Return `n * c` rows for the counts; `predicted` is the label if the model agrees, else `c`."""
        return self._rows(self.predicted == self.carried)

    def predicted_as_labelled(self) -> npt.NDArray[np.intp]:
        """Return the positions in `to_rank()` of labels that a sample carries and that are predicted."""
        return np.flatnonzero((self.carried & self.predicted).T.reshape(-1))

    def _rows(self, is_label: npt.NDArray[np.bool_]) -> ScoredBatch:
        """Return one row per label and sample, label by label."""
        n, c = self.losses.shape
        labels = np.repeat(np.arange(c, dtype=np.int64), n)
        predicted = np.where(is_label.T.reshape(-1), labels, c)
        losses, confidences = self.losses.T.reshape(-1), self.confidences.T.reshape(-1)
        return ScoredBatch(list(self.paths) * c, labels, losses, predicted, confidences, self.unreadable)
