"""Targets of a fastai learner: its task and vocabulary, and how outputs become losses and predictions."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize, EncodedMultiCategorize, MultiCategorize, RegressionSetup
from fastai.learner import Learner
from fastai.torch_core import apply
from fastai.vision.core import AddMaskCodes
from torch import Tensor, nn

from cleaner.core.arguments import described
from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredLabels, Unreadable
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, OTHER, SINGLE_LABEL, check_vocab, delimiter_for, join_labels
from cleaner.scoring.model.losses import loss_name, per_sample, warn_if_probabilities
from cleaner.scoring.model.scorer import Arrays, Scored, most_probable, scored_batch
from cleaner.scoring.model.views import mean

__all__ = ["BatchOutput", "Targets", "targets_of"]


class BatchOutput(NamedTuple):
    """Output of the learner for a batch: unreduced loss, prediction, targets and loss function."""

    loss: Tensor
    prediction: Any
    targets: Sequence[Any]
    loss_func: Callable[..., Tensor]


class Targets(ABC):
    """Meaning of one kind of target for a scan.

    Attributes:
        task, label_delim: as in `Scan`.
        vocab: labels as text, in the order of the model's outputs.
    """

    task: str
    label_delim = ""

    def __init__(self, vocab: tuple[str, ...]) -> None:
        self.vocab = vocab

    @abstractmethod
    def label_of(self, target: Any) -> str:
        """Return the label of a target, as the dataset gives it; several labels are joined."""

    @abstractmethod
    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        """Check that the model's output and targets of `n` samples fit the vocabulary."""

    @abstractmethod
    def results(self, views: Sequence[BatchOutput]) -> list[Tensor]:
        """Return what `record` needs of a batch, still on the device: the mean over its views."""

    def losses(self, output: BatchOutput) -> Tensor:
        """Return the losses that rank samples: [n], or [n, c] where each label has a loss of its own."""

        def evaluate_one(i: int) -> Tensor:
            return output.loss_func(*apply(lambda tensor: tensor[i : i + 1], (output.prediction, *output.targets)))

        return per_sample(output.loss, len(output.targets[0]), evaluate_one)

    def record(self, paths: Sequence[str], unreadable: Sequence[Unreadable], arrays: Arrays) -> Scored:
        """Return the record of a batch from the arrays of its `results`."""
        return scored_batch(paths, unreadable, arrays)


class SingleLabelTargets(Targets):
    """One label per image: the target is the index of a class."""

    task = SINGLE_LABEL

    def __init__(self, vocab: tuple[str, ...]) -> None:
        super().__init__(vocab)
        self._has_scored = False

    def label_of(self, target: Any) -> str:
        return self.vocab[int(target)]

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:
        _check_shapes(prediction, targets[0], [(n, len(self.vocab)), (n,)], "one label per image")

    def results(self, views: Sequence[BatchOutput]) -> list[Tensor]:
        if not self._has_scored:
            warn_if_probabilities(views[0].prediction, loss_name(views[0].loss_func))
            self._has_scored = True
        softmax = partial(torch.softmax, dim=-1)
        probabilities = mean([_probabilities(view, softmax).as_subclass(Tensor) for view in views])
        return [views[0].targets[0], mean(map(self.losses, views)), *most_probable(probabilities)]


class MultiLabelTargets(Targets):
    """Several labels per image: the target is one-hot. A label is predicted if its probability is above a threshold."""

    task = MULTI_LABEL

    def __init__(self, vocab: tuple[str, ...], threshold: float) -> None:
        super().__init__(vocab)
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
        _check_shapes(prediction, targets[0], [(n, len(self.vocab))] * 2, "one-hot targets")

    def results(self, views: Sequence[BatchOutput]) -> list[Tensor]:
        probabilities = mean(_probabilities(view, torch.sigmoid) for view in views)
        return [views[0].targets[0], mean(map(self.losses, views)), probabilities]

    def record(self, paths: Sequence[str], unreadable: Sequence[Unreadable], arrays: Arrays) -> Scored:
        carried, losses, probabilities = (array.astype(np.float64) for array in arrays)
        predicted = probabilities > self._threshold  # above, not at: as fastai's losses decode
        confidences = np.where(predicted, probabilities, 1 - probabilities)
        return ScoredLabels(paths, carried > 0.5, losses, predicted, confidences, unreadable)


class OtherTargets(Targets):
    """Any other target: a mask, points, a number. All images are in one category."""

    task = OTHER

    def label_of(self, target: Any) -> str:  # noqa: ARG002
        return ALL_IMAGES

    def check(self, prediction: Any, targets: Sequence[Any], n: int) -> None:  # noqa: ARG002
        if len(targets[0]) != n:
            raise CleanerError(
                f"the target of a batch of {n} images has the length {len(targets[0])}; expected one target per image, "
                "in tensors whose first axis is the batch"
            )

    def results(self, views: Sequence[BatchOutput]) -> list[Tensor]:
        losses = mean(map(self.losses, views))
        only = losses[:, None]
        return [torch.zeros_like(losses), losses, torch.zeros_like(only), torch.full_like(only, torch.nan)]


def targets_of(learn: Any) -> Targets:
    """Return what the targets of a learner mean; its data must have images and targets."""
    if not isinstance(learn, Learner):
        raise CleanerError(f"expected a fastai Learner, got {described(learn)}; {_advice_for(learn)}")
    dls: Any = getattr(learn, "dls", None)
    dataset = getattr(dls, "valid_ds", None)
    if not isinstance(dataset, Datasets) or len(dataset.tls) < 2 or dls.n_inp != 1:
        raise CleanerError(
            f"the learner's data is a {type(dataset).__name__}; expected data loaders of one image and its target, "
            "made with fastai's ImageDataLoaders or DataBlock"
        )
    if len(dataset.tls) > 2:
        return OtherTargets((ALL_IMAGES,))
    steps = dataset.tls[1].tfms.fs
    if any(isinstance(step, (MultiCategorize, EncodedMultiCategorize)) for step in steps):
        threshold = float(getattr(learn.loss_func, "thresh", 0.5))
        return MultiLabelTargets(check_vocab(map(str, dls.vocab), "the learner", min_labels=1), threshold)
    vocab: Any = getattr(dls, "vocab", None)
    is_single = vocab is not None and not any(isinstance(v, (list, tuple)) or hasattr(v, "o2i") for v in vocab)
    is_image = any(isinstance(step, (RegressionSetup, AddMaskCodes)) for step in (*steps, *dls.valid.after_item.fs))
    if is_single and not is_image:
        return SingleLabelTargets(check_vocab(map(str, vocab), "the learner"))
    if any(isinstance(step, Categorize) for step in steps):
        raise CleanerError("the learner has no single vocabulary; pass a learner that classifies images")
    return OtherTargets((ALL_IMAGES,))


def _advice_for(value: Any) -> str:
    """Say what to pass instead of a value that is no learner."""
    if isinstance(value, (str, os.PathLike)):
        return "load the learner first: learn = load_learner(file)"
    if isinstance(value, nn.Module):
        return "scan a torch model with cleaner.scan_model(model, dataset, out)"
    return "pass the object that `vision_learner` returned"


def _probabilities(output: BatchOutput, default: Callable[[Tensor], Any]) -> Any:
    """Return probabilities by the loss's own activation, as `get_preds` does, or by a default."""
    activation = getattr(output.loss_func, "activation", None)
    return default(output.prediction.float()) if activation is None else activation(output.prediction)


def _check_shapes(prediction: Any, target: Tensor, expected: list[tuple[int, ...]], meaning: str) -> None:
    shapes = [tuple(getattr(value, "shape", ())) for value in (prediction, target)]
    if shapes != expected:
        n, n_classes = expected[0]
        raise CleanerError(
            f"the model's output has the shape {shapes[0]} and the target {shapes[1]} for {n} images and {n_classes} "
            f"classes; expected one output per class and {meaning}"
        )
