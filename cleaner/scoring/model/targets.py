"""What the targets of a fastai learner are, and with that what is taken from its predictions and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize, EncodedMultiCategorize, MultiCategorize, RegressionSetup
from fastai.learner import Learner
from fastai.torch_core import apply
from fastai.vision.core import AddMaskCodes
from torch import Tensor

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, OTHER, SINGLE_LABEL, delimiter_for, join_labels
from cleaner.scoring.sources.checks import check_labels
from cleaner.scoring.sources.models import per_sample
from cleaner.scoring.sources.transfers import Arrays, scored_batch

__all__ = ["LabelSets", "NoLabels", "Outcome", "SingleLabels", "Targets", "checked_learner", "targets_of"]


class Outcome(NamedTuple):
    """What the learner's loop has of a batch: the unreduced loss, the prediction, the targets and the loss function."""

    loss: Tensor
    prediction: Any
    targets: Sequence[Any]
    loss_func: Callable[..., Tensor]


class Targets(Protocol):
    """What one kind of target means for a scan.

    Attributes:
        task: as in `Scan`.
        vocab: the labels as text, in the order of the model's outputs.
        label_delim: as in `Scan`.
    """

    task: str
    vocab: tuple[str, ...]
    label_delim: str

    def label_of(self, target: Any) -> str:
        """What a target, as the dataset gives it, stands for in a file of the scan."""

    def losses(self, of: Outcome) -> Tensor:
        """What ranks the samples, out of an unreduced loss: [n], or [n, c] where each label has a loss of its own.

        Raises:
            CleanerError: it cannot be told from this loss.
        """

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        """Check, before there is a loss, that the model's output and the target of `n` samples fit the vocabulary.

        Raises:
            CleanerError: they do not.
        """

    def taken(self, of: Outcome, n: int) -> list[Tensor]:
        """What goes to the host of a batch of `n` samples, on the device still.

        Raises:
            CleanerError: it cannot be told from this loss.
        """

    def batch(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        """The record of a batch, out of what `taken` gave."""


class SingleLabels:
    """One label an image: the target is the index of a class."""

    task, label_delim = SINGLE_LABEL, ""

    def __init__(self, vocab: tuple[str, ...]) -> None:
        self.vocab = vocab

    def label_of(self, target: Any) -> str:
        return self.vocab[int(target)]

    def losses(self, of: Outcome) -> Tensor:
        return _per_sample(of, len(of.targets[0]))

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        _check_shapes(prediction, targets[0], (n, len(self.vocab)), (n,), "a target of one label an image")

    def taken(self, of: Outcome, n: int) -> list[Tensor]:  # noqa: ARG002 - as long as the target
        confidences, predicted = _probabilities(of, _softmax).as_subclass(Tensor).max(dim=-1)
        return [of.targets[0], self.losses(of), predicted, confidences]

    def batch(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        return scored_batch(paths, arrays, unreadable)


class LabelSets:
    """Several labels an image: the target says of each label, one-hot, whether the image carries it."""

    task = MULTI_LABEL

    def __init__(self, vocab: tuple[str, ...], thresh: float) -> None:
        self.vocab = vocab
        self.label_delim = delimiter_for(vocab)
        self._thresh = thresh

    def label_of(self, target: Any) -> str:
        return join_labels(self.labels_of(target), self.label_delim)

    def labels_of(self, target: Any) -> tuple[str, ...]:
        """All labels of a target, in the order of the vocabulary."""
        return tuple(label for label, on in zip(self.vocab, target.tolist(), strict=True) if on > 0.5)

    def losses(self, of: Outcome) -> Tensor:
        if of.loss.numel() != of.targets[0].numel():
            raise CleanerError(
                f"the loss gives {of.loss.numel()} numbers for {len(of.targets[0])} images and "
                f"{len(self.vocab)} labels; with several labels an image one loss a label is "
                "needed, as fastai's BCEWithLogitsLossFlat gives it with reduction='none'"
            )
        return of.loss.reshape(of.targets[0].shape)

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        shape = (n, len(self.vocab))
        _check_shapes(prediction, targets[0], shape, shape, "a target that is one-hot")

    def taken(self, of: Outcome, n: int) -> list[Tensor]:  # noqa: ARG002 - as long as the target
        probabilities = _probabilities(of, torch.sigmoid)
        return [of.targets[0], self.losses(of), probabilities]

    def batch(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        carried, losses, probabilities = (array.astype(np.float64) for array in arrays)
        # As fastai's own losses decode: above, not at.
        predicted = probabilities > self._thresh
        confidences = np.where(predicted, probabilities, 1 - probabilities)
        return ScoredLabels(paths, carried > 0.5, losses, predicted, confidences, unreadable)


class NoLabels:
    """Any other target: a mask, points, a number. All images are of one category."""

    task, label_delim = OTHER, ""
    vocab: tuple[str, ...] = (ALL_IMAGES,)

    def label_of(self, target: Any) -> str:  # noqa: ARG002 - whatever it is
        return ALL_IMAGES

    def losses(self, of: Outcome) -> Tensor:
        return _per_sample(of, len(of.targets[0]))

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:  # noqa: ARG002 - it may be anything
        if len(targets[0]) != n:
            raise CleanerError(f"the target has {len(targets[0])} rows for {n} images; one an image is accepted")

    def taken(self, of: Outcome, n: int) -> list[Tensor]:
        return [_per_sample(of, n)]

    def batch(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        same = np.zeros(len(paths), np.int64)
        return ScoredBatch(paths, same, arrays[0].astype(np.float64), same, np.full(len(paths), np.nan), unreadable)


def targets_of(learn: Learner) -> Targets:
    """What the targets of a learner are.

    Raises:
        CleanerError: the vocabulary makes no sense.
    """
    dls = learn.dls
    lists = dls.valid_ds.tls
    steps = [step for pipeline in lists[1:] for step in pipeline.tfms.fs]
    if len(lists) == 2 and any(isinstance(step, (MultiCategorize, EncodedMultiCategorize)) for step in steps):
        return LabelSets(_labels(dls.vocab, at_least=1), float(getattr(learn.loss_func, "thresh", 0.5)))
    vocab = getattr(dls, "vocab", None)
    is_single = vocab is not None and not any(isinstance(each, (list, tuple)) or hasattr(each, "o2i") for each in vocab)
    is_image = any(isinstance(step, (RegressionSetup, AddMaskCodes)) for step in (*steps, *dls.valid.after_item.fs))
    if len(lists) == 2 and is_single and not is_image:
        return SingleLabels(_labels(vocab, at_least=2))
    if len(lists) == 2 and any(isinstance(step, Categorize) for step in steps):
        raise CleanerError("the learner has no single vocabulary; learners that classify images are accepted")
    return NoLabels()


def checked_learner(learn: Any) -> Learner:
    """The learner, whose data has images and targets.

    Raises:
        CleanerError: it has not, or it is no learner.
    """
    if not isinstance(learn, Learner):
        raise CleanerError(f"a {type(learn).__name__} came; a fastai Learner is accepted")
    dataset = getattr(getattr(learn, "dls", None), "valid_ds", None)
    if not isinstance(dataset, Datasets) or len(dataset.tls) < 2 or learn.dls.n_inp != 1:
        raise CleanerError(
            f"the learner's data is a {type(dataset).__name__}; data loaders made with fastai's ImageDataLoaders or "
            "DataBlock, of one image and its target, are accepted"
        )
    return learn


def _labels(vocab: Any, at_least: int) -> tuple[str, ...]:
    """The labels of a vocabulary as text."""
    labels = tuple(str(label) for label in vocab)
    check_labels(labels, "the learner", at_least)
    return labels


def _softmax(prediction: Tensor) -> Tensor:
    """Probabilities out of logits, along the last dimension."""
    return torch.softmax(prediction, dim=-1)


def _probabilities(of: Outcome, otherwise: Callable[[Tensor], Tensor]) -> Tensor:
    """Probabilities: by the loss's own activation as in `get_preds`, or by another where it has none."""
    activation = getattr(of.loss_func, "activation", None)
    found: Tensor = otherwise(of.prediction.float()) if activation is None else activation(of.prediction)
    return found


def _per_sample(of: Outcome, n: int) -> Tensor:
    """One loss per sample, [n]; a function that reduces whatever it is told is asked about each sample alone."""
    return per_sample(
        of.loss, n, lambda i: of.loss_func(_one(of.prediction, i), *(_one(target, i) for target in of.targets))
    )


def _one(value: Any, i: int) -> Any:
    """The i-th sample of a batch, as a batch of its own, also where that is several tensors."""
    return apply(lambda tensor: tensor[i : i + 1], value)


def _check_shapes(
    prediction: Any, target: Tensor, outputs: tuple[int, int], targets: tuple[int, ...], accepted: str
) -> None:
    got, found = tuple(getattr(prediction, "shape", ())), tuple(target.shape)
    if got != outputs or found != targets:
        raise CleanerError(
            f"the model's output has shape {got} and the target {found} for {outputs[0]} images and {outputs[1]} "
            f"classes; a model with one output a class and {accepted} is accepted"
        )
