"""A fastai callback that collects losses from the batches that a learner is trained on anyway."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastai.callback.core import Callback
from fastai.callback.mixup import MixHandler
from fastai.data.core import TfmdDL
from fastcore import basics
from fastcore.foundation import L

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.core.tasks import OTHER
from cleaner.scoring.data.fastai_data import from_learner
from cleaner.scoring.engine import DatasetInfo
from cleaner.scoring.model.targets import Targets, targets_of
from cleaner.scoring.training import RANKINGS, TrainingRecord

__all__ = ["ScanCallback"]

# From this share on a sample dominates what MixUp or CutMix made of it, and its logits tell about its own label.
_DOMINATES = 0.8


class ScanCallback(Callback):  # type: ignore[misc]
    """Collects the losses of a learner's images in each epoch, and writes a scan of them when the training ends.

    A label that the model memorised has a low loss in the end, but had a high one in early epochs. Each sample is
    ranked by its mean loss over the epochs, seen in the batches that are trained on, with their augmentation; those of
    the validation split in the validation passes. Later trainings with the same folder add their epochs.

    Under MixUp and CutMix a sample counts where it makes up at least 0.8 of its mixture. `learn.lr_find` and
    `get_preds` are left out.

    Args:
        out: the scan folder.
        ranked_by: `mean training loss`, or `margin`, the mean over the epochs of the highest other logit less that of
            the given label.
        k: number of samples to keep per split and label.
        root: the dataset's folder, as in `cleaner.scan`.
        reset: start over instead of adding to the losses in the folder.

    Raises:
        CleanerError: an argument is invalid; when a training begins: its data cannot be followed.
    """

    order = -1000  # before callbacks that change the batch

    def __init__(
        self,
        out: str | Path,
        *,
        ranked_by: str = "mean training loss",
        k: int = 100,
        root: str | Path | None = None,
        reset: bool = False,
    ) -> None:
        if ranked_by not in RANKINGS:
            raise CleanerError(f"ranked_by is {ranked_by!r}; pass {' or '.join(map(repr, RANKINGS))}")
        super().__init__()
        self.out, self.ranked_by, self.k, self.root, self.reset = Path(out), ranked_by, k, root, reset
        self.result: Scan | None = None
        self.run = True
        self._record: TrainingRecord | None = None
        self._arrived = deque[list[str]]()
        self._current, self._samples = "", np.empty(0, np.int64)
        self._given: Any = None

    def __call__(self, event_name: str) -> None:  # fastai's own would rewrite the messages of errors
        handler = getattr(self, f"_{event_name}", None)
        if handler is not None and self.run:
            handler()
        if event_name == "after_fit":
            self.run = True

    def _before_fit(self) -> None:
        self.run = not hasattr(self.learn, "lr_finder")
        self._record = None  # of a training that was interrupted

    def _begin(self) -> None:
        learn = self.learn
        targets = targets_of(learn)
        _check_followed(learn, targets)
        splits = tuple(name for name, loader in zip(("train", "valid"), learn.dls.loaders, strict=False) if loader.n)
        data = from_learner(learn, targets, splits, self.root, None)
        info = DatasetInfo(data.root, targets.vocab, splits, task=targets.task, label_delim=targets.label_delim)
        choices = self.ranked_by, self.k, self.reset
        self._record = TrainingRecord(self.out, info, data.datasets, *choices, targets.record)
        self.reset = False  # a later training with this callback adds to this one

    def _before_train(self) -> None:
        if self._record is None:
            self._begin()  # not in before_fit, which fastai calls for validation and predictions too
        self._follow("train")

    def _before_validate(self) -> None:
        self._follow("valid")

    def _before_batch(self) -> None:
        if not self._current:
            return
        given = self.learn.yb[0]
        if len(self._arrived) != 1 or len(self._arrived[0]) != len(given):
            raise CleanerError(
                f"{sum(map(len, self._arrived))} samples came from the loader and {len(given)} are in the batch, so it "
                "is unknown which sample is which. A callback reads ahead or changes the loader; remove it, or remove "
                "ScanCallback"
            )
        self._samples = np.array(self._arrived.popleft(), np.int64)
        self._given = given.detach().clone()

    def _after_pred(self) -> None:
        if not self._current or self._record is None:
            return
        samples, logits, given = self._samples, self.learn.pred, self._given
        mixed = self._mixed() if self._current == "train" else None
        if mixed is not None:
            samples, logits, given = samples[mixed.cpu().numpy()], logits[mixed], given[mixed]
        self._record.update(self._current, samples, logits, given)

    def _after_train(self) -> None:
        self._leave()

    def _after_validate(self) -> None:
        self._leave()

    def _after_epoch(self) -> None:
        if self._record is not None:
            self._record.end_epoch()

    def _after_fit(self) -> None:
        if self._record is not None:
            self.result = self._record.finish()
            self._record = None  # validation outside of a training is not part of it

    def _follow(self, split: str) -> None:
        """Let the loader of a pass name the samples of its batches."""
        position = ("train", "valid").index(split)
        is_own = position < len(self.learn.dls.loaders) and self.learn.dl is self.learn.dls[position]
        self._current = split if is_own and self._record is not None else ""
        self._arrived.clear()
        if self._current:
            _name_samples(self.learn.dl, self._arrived)

    def _leave(self) -> None:
        """Leave the loader of a pass as it was."""
        if self._current:
            _forget_samples(self.learn.dls[("train", "valid").index(self._current)])
        self._current = ""

    def _mixed(self) -> Any:
        """Return which samples dominate their mixtures, bool [n]; None if nothing was mixed."""
        mixers = [callback for callback in self.learn.cbs if isinstance(callback, MixHandler)]
        if not mixers:
            return None
        share = mixers[0].lam
        return (share >= _DOMINATES).reshape(-1).expand(len(self._given))


def _check_followed(learn: Any, targets: Targets) -> None:
    """Refuse a training whose samples cannot be told apart."""
    problem = ""
    if targets.task == OTHER:
        problem = f"the task is {targets.task!r}, and losses are collected for images with labels"
    for loader in learn.dls.loaders:
        if not isinstance(loader, TfmdDL) or hasattr(loader, "dl"):
            problem = f"a loader is a {type(loader).__name__}; only fastai's own, in one process, can be followed"
        elif loader.bs is None or not loader.indexed:
            problem = "a loader has no batch size or no positions (bs=None or indexed=False)"
        elif len(loader.before_batch.fs):
            problem = "a loader changes lists of samples (before_batch), which then cannot be told apart"
    if problem:
        raise CleanerError(f"{problem}. Train without ScanCallback, and use cleaner.scan afterwards")


def _name_samples(loader: Any, arrived: deque[list[str]]) -> None:
    """Let a loader append the positions of each batch's samples to `arrived`.

    They travel as text beside image and target, which fastai neither collates nor moves to a device. A loader that is
    left so, as after Ctrl-C, works as before.
    """
    _forget_samples(loader)
    loader.do_item = partial(_named_item, type(loader).do_item, loader)
    loader.after_batch.fs = L([_TakeNames(arrived), *loader.after_batch.fs])


def _forget_samples(loader: Any) -> None:
    """Undo `_name_samples`."""
    loader.__dict__.pop("do_item", None)
    loader.after_batch.fs = L(step for step in loader.after_batch.fs if not isinstance(step, _TakeNames))


def _named_item(do_item: Any, loader: Any, sample: int) -> Any:
    item = do_item(loader, sample)
    return None if item is None else (*item, str(sample))  # fastai leaves out items without a word


class _TakeNames:
    """The first batch transform: takes the positions off a batch."""

    order = 0

    def __init__(self, arrived: deque[list[str]]) -> None:
        self._arrived = arrived

    def __reduce__(self) -> str | tuple[Any, ...]:
        return partial, (basics.noop,)  # a learner that is exported after Ctrl-C does not need this package

    def __call__(self, batch: Any, **_options: Any) -> Any:
        if isinstance(batch, (tuple, list)) and len(batch) == 3:
            *batch, names = batch
            self._arrived.append(list(names))
        return tuple(batch)
