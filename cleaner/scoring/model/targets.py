"""What the targets of a fastai learner mean: its task and vocabulary, and how outputs become losses and predictions."""

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
from cleaner.core.tasks import (
    ALL_IMAGES,
    MULTI_LABEL,
    OTHER,
    SINGLE_LABEL,
    check_vocab,
    delimiter_for,
    join_labels,
)
from cleaner.scoring.model.scorer import Arrays, per_sample, scored_batch

__all__ = ["BatchOutput", "Targets", "check_learner", "targets_of"]


class BatchOutput(NamedTuple):
    """What the learner computed for a batch: unreduced loss, prediction, targets and loss function."""

    loss: Tensor
    prediction: Any
    targets: Sequence[Any]
    loss_func: Callable[..., Tensor]


class Targets(Protocol):
    """What one kind of target means for a scan.

    Attributes:
        task, label_delim: as in `Scan`.
        vocab: labels as text, in the order of the model's outputs.
    """

    task: str
    vocab: tuple[str, ...]
    label_delim: str

    def label_of(self, target: Any) -> str:
        """Return the label of a target, as the dataset gives it; several labels are joined."""

    def losses(self, output: BatchOutput) -> Tensor:
        """Return the losses that rank samples: [n], or [n, c] where each label has a loss of its own."""

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        """Check that the model's output and targets of `n` samples fit the vocabulary."""

    def results(self, output: BatchOutput, n: int) -> list[Tensor]:
        """Return what `record` needs of a batch of `n` samples, still on the device."""

    def record(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        """Return the record of a batch from the arrays of its `results`."""


class SingleLabelTargets:
    """One label per image: the target is the index of a class."""

    task, label_delim = SINGLE_LABEL, ""

    def __init__(self, vocab: tuple[str, ...]) -> None:
        self.vocab = vocab

    def label_of(self, target: Any) -> str:
        return self.vocab[int(target)]

    def losses(self, output: BatchOutput) -> Tensor:
        return _per_sample(output, len(output.targets[0]))

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        _check_shapes(prediction, targets[0], (n, len(self.vocab)), (n,), "one label per image")

    def results(self, output: BatchOutput, n: int) -> list[Tensor]:  # noqa: ARG002
        confidences, predicted = _probabilities(output, _softmax).as_subclass(Tensor).max(dim=-1)
        return [output.targets[0], self.losses(output), predicted, confidences]

    def record(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        return scored_batch(paths, arrays, unreadable)


class MultiLabelTargets:
    """Several labels per image: the target is one-hot.

    Args:
        vocab: the labels.
        threshold: a label is predicted if its probability is above this.
    """

    task = MULTI_LABEL

    def __init__(self, vocab: tuple[str, ...], threshold: float) -> None:
        self.vocab = vocab
        self.label_delim = delimiter_for(vocab)
        self._threshold = threshold

    def label_of(self, target: Any) -> str:
        labels = [label for label, on in zip(self.vocab, target.tolist(), strict=True) if on > 0.5]
        return join_labels(labels, self.label_delim)

    def losses(self, output: BatchOutput) -> Tensor:
        targets = output.targets[0]
        if output.loss.numel() != targets.numel():
            raise CleanerError(
                f"the loss has {output.loss.numel()} values for {len(targets)} images and {len(self.vocab)} labels; "
                "expected one per image and label, as fastai's BCEWithLogitsLossFlat gives with reduction='none'"
            )
        return output.loss.reshape(targets.shape)

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        shape = (n, len(self.vocab))
        _check_shapes(prediction, targets[0], shape, shape, "one-hot targets")

    def results(self, output: BatchOutput, n: int) -> list[Tensor]:  # noqa: ARG002
        return [output.targets[0], self.losses(output), _probabilities(output, torch.sigmoid)]

    def record(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        carried, losses, probabilities = (array.astype(np.float64) for array in arrays)
        predicted = probabilities > self._threshold  # above, not at: as fastai's losses decode
        confidences = np.where(predicted, probabilities, 1 - probabilities)
        return ScoredLabels(paths, carried > 0.5, losses, predicted, confidences, unreadable)


class OtherTargets:
    """Any other target: a mask, points, a number. All images are in one category."""

    task, label_delim = OTHER, ""
    vocab: tuple[str, ...] = (ALL_IMAGES,)

    def label_of(self, target: Any) -> str:  # noqa: ARG002
        return ALL_IMAGES

    def losses(self, output: BatchOutput) -> Tensor:
        return _per_sample(output, len(output.targets[0]))

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:  # noqa: ARG002
        if len(targets[0]) != n:
            raise CleanerError(
                f"the target of a batch of {n} images has the length {len(targets[0])}; expected one target per image, "
                "in tensors whose first axis is the batch"
            )

    def results(self, output: BatchOutput, n: int) -> list[Tensor]:
        return [_per_sample(output, n)]

    def record(
        self, paths: Sequence[str], arrays: Arrays, unreadable: Sequence[Unreadable]
    ) -> ScoredBatch | ScoredLabels:
        zeros = np.zeros(len(paths))
        return scored_batch(paths, [zeros, arrays[0], zeros, np.full(len(paths), np.nan)], unreadable)


def targets_of(learn: Learner) -> Targets:
    """Return what the targets of a learner mean."""
    dls = learn.dls
    lists = dls.valid_ds.tls
    steps = [step for pipeline in lists[1:] for step in pipeline.tfms.fs]
    if len(lists) == 2 and any(isinstance(step, (MultiCategorize, EncodedMultiCategorize)) for step in steps):
        threshold = float(getattr(learn.loss_func, "thresh", 0.5))
        return MultiLabelTargets(check_vocab(map(str, dls.vocab), "the learner", min_labels=1), threshold)
    vocab = getattr(dls, "vocab", None)
    is_single = vocab is not None and not any(isinstance(v, (list, tuple)) or hasattr(v, "o2i") for v in vocab)
    is_image = any(isinstance(step, (RegressionSetup, AddMaskCodes)) for step in (*steps, *dls.valid.after_item.fs))
    if len(lists) == 2 and is_single and not is_image:
        return SingleLabelTargets(check_vocab(map(str, vocab or ()), "the learner"))
    if len(lists) == 2 and any(isinstance(step, Categorize) for step in steps):
        raise CleanerError("the learner has no single vocabulary; pass a learner that classifies images")
    return OtherTargets()


def check_learner(learn: Any) -> Learner:
    """Return a learner whose data has images and targets."""
    if not isinstance(learn, Learner):
        raise CleanerError(
            f"expected a fastai Learner, got {type(learn).__name__}; pass the object that `vision_learner` returned"
        )
    dataset = getattr(getattr(learn, "dls", None), "valid_ds", None)
    if not isinstance(dataset, Datasets) or len(dataset.tls) < 2 or learn.dls.n_inp != 1:
        raise CleanerError(
            f"the learner's data is a {type(dataset).__name__}; expected data loaders of one image and its target, "
            "made with fastai's ImageDataLoaders or DataBlock"
        )
    return learn


def _softmax(prediction: Tensor) -> Tensor:
    return torch.softmax(prediction, dim=-1)


def _probabilities(output: BatchOutput, default: Callable[[Tensor], Tensor]) -> Tensor:
    """Return probabilities by the loss's own activation, as `get_preds` does, or by a default."""
    activation = getattr(output.loss_func, "activation", None)
    probabilities: Tensor = default(output.prediction.float()) if activation is None else activation(output.prediction)
    return probabilities


def _per_sample(output: BatchOutput, n: int) -> Tensor:
    """Return one loss per sample, [n]; a function that always reduces is evaluated one sample at a time."""

    def evaluate_one(i: int) -> Tensor:
        prediction, *targets = (
            apply(lambda tensor: tensor[i : i + 1], v) for v in (output.prediction, *output.targets)
        )
        return output.loss_func(prediction, *targets)

    return per_sample(output.loss, n, evaluate_one)


def _check_shapes(
    prediction: Any, target: Tensor, outputs: tuple[int, int], targets: tuple[int, ...], expected: str
) -> None:
    got, found = tuple(getattr(prediction, "shape", ())), tuple(target.shape)
    if got != outputs or found != targets:
        raise CleanerError(
            f"the model's output has the shape {got} and the target {found} for {outputs[0]} images and {outputs[1]} "
            f"classes; expected one output per class and {expected}"
        )
