"""The records that pass between the stages: frozen dataclasses that validate themselves."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import check_path

__all__ = [
    "LOSS_EDGES",
    "Action",
    "ClassLosses",
    "Decision",
    "Sample",
    "ScoredBatch",
    "ScoredLabels",
    "Unreadable",
    "decision_revision",
    "now",
    "parse_action",
    "parse_time",
]

LOSS_EDGES = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2, 5)), 100.0)
"""Where the bins of a histogram of losses meet: about three a decade, so that each can be named in a few digits. The
first bin is for all below, the last for all from the last edge up."""

_NO_OFFSET = timedelta(0)
_SHA256 = re.compile("[0-9a-f]{64}")


class Action(str, enum.Enum):
    """What a reviewer decided about one image."""

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
    """One of the samples with the highest losses of its split and label.

    Attributes:
        split: name of the split, such as `train`.
        label: the label that the sample carries today.
        rank: 1 for the highest loss of its split and label.
        path: the image's file, relative to the dataset's root, with forward slashes.
        loss: the learner's own loss, in nats for cross-entropy, or what else the scan is ranked by; higher is worse;
            may be NaN or infinite.
        predicted: the label that the model gives. In a multi-label scan `label` where the model says that the image
            shows it, and the empty text where it says that it does not.
        confidence: the model's probability of `predicted`, 0..1, or NaN where the model gave none. In a multi-label
            scan that of what it says.
        given: in a multi-label scan all the labels that the image carries, of which `label` need not be one.

    Raises:
        FieldError: a field has a value that makes no sense.
    """

    split: str
    label: str
    rank: int
    path: str
    loss: float
    predicted: str
    confidence: float
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.rank < 1:
            raise FieldError("rank", self.rank, "ranks begin at 1")
        # A probability computed in float32 may exceed 1 by rounding.
        if not (math.isnan(self.confidence) or -1e-6 <= self.confidence <= 1 + 1e-5):
            raise FieldError("confidence", self.confidence, "a probability (0..1) or nan is accepted")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be read, and why.

    Raises:
        CleanerError: the path is not one inside the dataset.
    """

    split: str
    label: str
    path: str
    error: str

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True)
class ClassLosses:
    """What a scan says of all the samples of one split and label, kept or not.

    Attributes:
        split: name of the split.
        label: the label that the samples carry today.
        scored: number of samples scored.
        predicted_otherwise: number of those that the model gives another label; in a multi-label scan, of which the
            model says that they show the label though they do not carry it, or the other way round.
        mean_loss: of the losses that are finite; NaN where there is none, or where the scan does not say.
        not_finite: number of losses that are NaN or infinite.
        histogram: number of finite losses in each bin of `LOSS_EDGES`; empty where the scan does not say.

    Raises:
        FieldError: a field has a value that makes no sense, or contradicts another.
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
            raise FieldError("predicted_otherwise", self.predicted_otherwise, f"0 to {self.scored}, the scored, fit")
        if math.isinf(self.mean_loss):
            raise FieldError("mean_loss", self.mean_loss, "a finite number or nan is accepted")
        if not 0 <= self.not_finite <= self.scored:
            raise FieldError("not_finite", self.not_finite, f"0 to {self.scored}, the scored, fit")
        if not self.histogram:
            return
        if len(self.histogram) != len(LOSS_EDGES) + 1 or min(self.histogram) < 0:
            raise FieldError("histogram", self.histogram, f"{len(LOSS_EDGES) + 1} counts are accepted")
        if sum(self.histogram) + self.not_finite != self.scored:
            raise FieldError("histogram", self.histogram, f"its counts must add up to {self.scored - self.not_finite}")


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of the manifest: what was decided about one image, and what the reviewer saw when deciding.

    Attributes:
        path: the image's file, relative to the dataset's root.
        action: see `Action`.
        label: the label that the image carried. In a multi-label scan all of its labels, joined by the scan's
            `label_delim`, in the order of the vocabulary; where it carried none, `label_delim` alone. Empty in a scan
            of a task without labels.
        new_label: the label it gets, or in a multi-label scan all of them, written like `label`; only with `relabel`,
            and only there required.
        split, loss, predicted: as in `Sample`; `loss` is NaN where unknown.
        sha256: of the file's bytes when the decision was taken; empty where the file could not be read.
        reviewer: who decided.
        decided_at: UTC, ISO 8601; empty in a row that a person added.

    Raises:
        FieldError: a field has a value that makes no sense.
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
            raise FieldError("new_label", "", "'relabel' needs the label that the image gets")
        if self.action is not Action.RELABEL and self.new_label:
            raise FieldError("new_label", self.new_label, "only 'relabel' takes one; leave it empty")
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise FieldError("sha256", self.sha256, "64 lower-case hexadecimal digits or nothing is accepted")
        if self.decided_at:
            check_utc(self.decided_at)


def decision_revision(decision: Decision | None) -> tuple[str, str, str, str]:
    """What tells a decision from another one: what was decided, by whom and when; empty texts for none."""
    if decision is None:
        return ("", "", "", "")
    return (decision.action.value, decision.new_label, decision.reviewer, decision.decided_at)


def parse_action(text: str) -> Action:
    """The action called `text`.

    Raises:
        FieldError: there is none of that name.
    """
    try:
        return Action(text)
    except ValueError as error:
        accepted = ", ".join(action.value for action in Action)
        raise FieldError("action", text, f"accepted are {accepted}") from error


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond: that of scans and decisions, which are held against each other."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The moment that a text in ISO 8601 names, with `Z` or an offset.

    Raises:
        ValueError: it names none.
    """
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def check_utc(text: str) -> None:
    """Check that `text` is a time in UTC, ISO 8601.

    Raises:
        FieldError: it is not.
    """
    accepted = "a time in UTC such as 2026-01-31T12:00:00Z is accepted"
    try:
        moment = parse_time(text)
    except ValueError as error:
        raise FieldError("decided_at", text, accepted) from error
    if moment.utcoffset() != _NO_OFFSET:
        raise FieldError("decided_at", text, accepted)


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """What leaves the device for one batch of `n` samples, and the files of that batch that could not be read.

    Attributes:
        paths: `n` paths, relative to the dataset's root.
        labels: int64 [n], index into the vocabulary of the label that each sample carries.
        losses: float64 [n], the learner's own loss; higher is worse.
        predicted: int64 [n], index into the vocabulary.
        confidences: float64 [n], probability of `predicted`.
        unreadable: the files that could not be read; not counted in `n`.

    Raises:
        CleanerError: the lengths differ.
    """

    paths: Sequence[str]
    labels: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.int64]
    confidences: npt.NDArray[np.float64]
    unreadable: Sequence[Unreadable] = ()

    def __post_init__(self) -> None:
        lengths = {
            "paths": len(self.paths),
            "labels": len(self.labels),
            "losses": len(self.losses),
            "predicted": len(self.predicted),
            "confidences": len(self.confidences),
        }
        if len(set(lengths.values())) > 1:
            raise CleanerError(f"a batch needs as many values of each kind as paths; got {lengths}")

    def select(self, positions: Sequence[int] | npt.NDArray[np.intp]) -> ScoredBatch:
        """The samples at some positions, and all that could not be read."""
        at = np.asarray(positions, np.intp)
        return ScoredBatch(
            [self.paths[i] for i in at.tolist()],
            self.labels[at],
            self.losses[at],
            self.predicted[at],
            self.confidences[at],
            self.unreadable,
        )

    def to_rank(self) -> ScoredBatch:
        """The rows for the heaps: the samples themselves."""
        return self

    def to_count(self) -> ScoredBatch:
        """The rows for the counts: the samples themselves."""
        return self


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """What leaves the device for one batch of `n` samples that may each carry any of `c` labels.

    Attributes:
        paths: `n` paths, relative to the dataset's root.
        carried: bool [n, c], which labels each sample carries.
        losses: float64 [n, c], the learner's own loss of each label; higher is worse.
        predicted: bool [n, c], which labels the model says that each sample shows.
        confidences: float64 [n, c], probability of what the model says.
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
            raise CleanerError(f"a batch needs a value of each kind for each path and label; got {shapes}")

    def to_rank(self) -> ScoredBatch:
        """`n * c` rows for the heaps, each sample in the class of each label.

        `predicted` is the label where the model says that it is there, else `c`.
        """
        return self._rows(self.predicted)

    def to_count(self) -> ScoredBatch:
        """`n * c` rows for the counts; `predicted` is the label where the model says what the sample carries, else `c`.

        So what is counted as predicted otherwise is how often the two disagree.
        """
        return self._rows(self.predicted == self.carried)

    def _rows(self, is_label: npt.NDArray[np.bool_]) -> ScoredBatch:
        """The rows label by label."""
        n, c = self.losses.shape
        labels = np.repeat(np.arange(c, dtype=np.int64), n)
        predicted = np.where(is_label.T.reshape(-1), labels, c)
        losses, confidences = self.losses.T.reshape(-1), self.confidences.T.reshape(-1)
        return ScoredBatch(list(self.paths) * c, labels, losses, predicted, confidences, self.unreadable)
