"""A fastai callback that collects losses from the batches that a learner is trained on anyway."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import MixHandler
from fastai.data.core import TfmdDL
from fastcore import basics
from fastcore.foundation import L

from cleaner.core.arguments import as_path
from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.core.tasks import OTHER
from cleaner.core.terminal import printable
from cleaner.scoring.data.fastai_data import from_learner
from cleaner.scoring.engine import AUTO, DatasetInfo, ScanOptions
from cleaner.scoring.model.targets import Targets, targets_of
from cleaner.scoring.training import RANKINGS, TrainingRecord

__all__ = ["ScanCallback"]

_SPLITS = ("train", "valid")
# What turns positions into batches.
_OVERRIDABLE = ("create_item", "create_batch", "create_batches", "do_item", "do_batch")
# From this share on a sample dominates what MixUp or CutMix made of it, and its logits tell about its own label.
_DOMINATES = 0.8

_log = logging.getLogger("cleaner")


class _Pass(NamedTuple):
    """A pass over a loader; `arrived` holds the positions of the samples of batches that are still to be seen."""

    split: str
    loader: Any
    arrived: deque[list[str]]


_UNFOLLOWED = _Pass("", None, deque())


class ScanCallback(Callback):  # type: ignore[misc]
    """A callback that collects the losses of each epoch, and writes a scan of them when the training ends.

    A label that the model memorised has a low loss in the end, but had a high one in early epochs. Each sample is
    ranked by how much of the training another label won, seen in the batches that are trained on, with their
    augmentation; those of the validation split in the validation passes. Later trainings with the same folder add their
    epochs.

    Under MixUp and CutMix a sample counts where it makes up at least 0.8 of its mixture. `learn.lr_find` and
    `get_preds` are left out.

    Args:
        out: the scan folder.
        ranked_by: `training error`, the share of the training in which another label won, 0..1; `mean training loss`;
            or `margin`, the mean over the epochs of the highest other logit less that of the given label.
        k: number of samples to keep per split and label; see `cleaner.scan`.
        root: the dataset's folder, as in `cleaner.scan`.
        reset: start over instead of adding to the losses in the folder.

    Raises:
        CleanerError: an argument is invalid; when a training begins: its data cannot be followed.

    Examples:
        >>> with learn.no_logging():
        ...     learn.fit_one_cycle(2, cbs=cleaner.ScanCallback("trained"))
        >>> cleaner.load("trained").ranked_by
        'training error'
    """

    order = -1000  # before callbacks that change the batch

    def __init__(
        self,
        out: str | Path,
        *,
        ranked_by: str = "training error",
        k: int | str = AUTO,
        root: str | Path | None = None,
        reset: bool = False,
    ) -> None:
        if ranked_by not in RANKINGS:
            raise CleanerError(f"ranked_by is {ranked_by!r}; pass one of {', '.join(map(repr, RANKINGS))}")
        folder = as_path("out", out, "the path of a scan folder")
        super().__init__()
        ScanOptions(k=k)  # refuses an invalid number before anything is trained
        self.out, self.ranked_by, self.k, self.root, self.reset = folder, ranked_by, k, root, reset
        self.result: Scan | None = None
        self.run = True
        self._record: TrainingRecord | None = None
        self._targets: Targets | None = None
        self._is_training = False
        self._passes = list[_Pass]()
        self._samples = np.empty(0, np.int64)
        self._given: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what refers to the data, for a learner that is exported with this callback."""
        emptied = dict.fromkeys(("result", "_record", "_targets", "_given"))
        return {**self.__dict__, **emptied, "_is_training": False, "_passes": []}

    def __call__(self, event_name: str) -> None:  # fastai's own would rewrite the messages of errors
        if event_name == "before_fit":
            self.run = not hasattr(self.learn, "lr_finder")
        handler = getattr(self, f"_{event_name}", None)
        if handler is not None and self.run:
            handler()

    def _begin(self) -> None:
        learn = self.learn
        with _in_one_process(learn):
            targets = targets_of(learn)
            for loader in filter(lambda each: isinstance(each, TfmdDL), learn.dls.loaders):
                _forget_samples(loader)  # of a training that was interrupted
            _check_followed(learn, targets)
            splits = tuple(name for name, loader in zip(_SPLITS, learn.dls.loaders, strict=False) if loader.n)
            data = from_learner(learn, targets, splits, self.root, None)
        info = DatasetInfo(data.root, targets.vocab, splits, task=targets.task, label_delim=targets.label_delim)
        choices = self.ranked_by, self.k, self.reset
        self._record = TrainingRecord(self.out, info, data.datasets, *choices, targets.record)
        self._targets, self.result = targets, None
        self.reset = False  # a later training with this callback adds to this one

    def _before_train(self) -> None:
        # Not in before_fit, which fastai calls for validation and predictions too, also within a training.
        if self._record is None or self.learn.epoch == 0:
            self._leave_all()
            self._begin()
        self._is_training = True
        self._follow("train")

    def _before_validate(self) -> None:
        self._follow("valid")

    def _before_batch(self) -> None:
        current = self._passes[-1] if self._passes else _UNFOLLOWED
        if not current.split:
            return
        given, arrived = self.learn.yb[0], current.arrived
        if len(arrived) != 1 or len(arrived[0]) != len(given):
            raise CleanerError(
                f"{sum(map(len, arrived))} samples came from the loader and {len(given)} are in the batch, so it is "
                "unknown which sample is which. A callback reads ahead or changes the loader; remove it, or remove "
                "ScanCallback"
            )
        self._samples = np.array(arrived.popleft(), np.int64)
        self._given = given.detach().clone()

    def _after_pred(self) -> None:
        current = self._passes[-1] if self._passes else _UNFOLLOWED
        if not current.split or self._record is None or self._targets is None:
            return
        samples, logits, given = self._samples, self.learn.pred, self._given
        self._targets.check(logits, [given], len(given))
        mixed = self._mixed() if current.split == "train" else None
        if mixed is not None:
            samples, logits, given = samples[mixed.cpu().numpy()], logits[mixed], given[mixed]
        self._record.update(current.split, samples, logits, given)

    def _after_train(self) -> None:
        self._leave()

    def _after_validate(self) -> None:
        self._leave()

    def _after_epoch(self) -> None:
        if self._record is not None and self._is_training:
            self._leave_all()  # a cancelled pass has no end
            self._record.end_epoch()
        self._is_training = False

    def _after_fit(self) -> None:
        record = self._record
        if record is None or (self.result is not None and self.result.settings["epochs"]["train"] == record.epochs):
            return  # validation within or after the training
        try:
            self.result = record.finish()
        except (CleanerError, OSError) as error:  # other callbacks have still to put the learner in order
            _log.error("the training has ended, but its scan was not written: %s", printable(str(error)))

    def _follow(self, split: str) -> None:
        """Let the loader of a pass name the samples of its batches; a pass within a pass is not followed."""
        position, loaders = _SPLITS.index(split), self.learn.dls.loaders
        is_own = position < len(loaders) and self.learn.dl is loaders[position]
        if not (is_own and self._is_training and self._record is not None) or any(each.split for each in self._passes):
            self._passes.append(_UNFOLLOWED)
            return
        loader = _of_one_process(self.learn.dl)
        self._passes.append(_Pass(split, loader, deque()))
        _name_samples(loader, self._passes[-1].arrived)

    def _leave(self) -> None:
        """Leave the loader of a pass as it was."""
        if self._passes and (left := self._passes.pop()).split:
            _forget_samples(left.loader)

    def _leave_all(self) -> None:
        while self._passes:
            self._leave()

    def _mixed(self) -> Any:
        """Return which samples dominate their mixtures, bool [n]; None if nothing was mixed."""
        mixers = [each for each in self.learn.cbs if isinstance(each, MixHandler) and each.run and hasattr(each, "lam")]
        if not mixers:
            return None
        shares = [mixer.lam.reshape(-1).expand(len(self._given)) for mixer in mixers]
        return torch.stack(shares).prod(dim=0) >= _DOMINATES


@contextmanager
def _in_one_process(learn: Any) -> Iterator[None]:
    """Give a learner that several processes train the loaders of one process."""
    before = learn.dls.loaders
    learn.dls.loaders = list(map(_of_one_process, before))
    try:
        yield
    finally:
        learn.dls.loaders = before


def _of_one_process(loader: Any) -> Any:
    """Return the loader that makes the items and batches of fastai's loader of one process among several."""
    kind = type(loader)
    is_distributed = (kind.__module__, kind.__name__) == ("fastai.distributed", "DistributedDL")
    return loader.dl if is_distributed else loader  # that module needs a library of its own, so it is not imported


def _check_followed(learn: Any, targets: Targets) -> None:
    """Refuse a training whose samples cannot be told apart."""
    problem = ""
    if targets.task == OTHER:
        problem = f"the task is {targets.task!r}, and losses are collected for images with labels"
    for loader in learn.dls.loaders:
        own = {name for name in _OVERRIDABLE if _is_overridden(loader, name)}
        if not isinstance(loader, TfmdDL) or hasattr(loader, "dl"):
            problem = f"a loader is a {type(loader).__name__}; only fastai's own can be followed"
        elif loader.bs is None or not loader.indexed:
            problem = "a loader has no batch size or no positions (bs=None or indexed=False)"
        elif own:
            problem = f"a loader has its own {', '.join(sorted(own))}, so it is unknown which sample is which"
        elif len(loader.before_batch.fs):
            problem = "a loader changes lists of samples (before_batch), which then cannot be told apart"
    if problem:
        raise CleanerError(f"{problem}. Train without ScanCallback, and use cleaner.scan afterwards")


def _is_overridden(loader: Any, name: str) -> bool:
    """Return whether a loader makes items or batches in a way of its own."""
    return name in loader.__dict__ or getattr(type(loader), name) is not getattr(TfmdDL, name)


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
    if getattr(loader.__dict__.get("do_item"), "func", None) is _named_item:
        del loader.do_item
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
