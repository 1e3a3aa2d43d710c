"""A fastai `Learner` as a scorer: its own batch transforms, callbacks and loss, one public `one_batch` at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import torch
from fastai.callback.core import CancelEpochException, CancelFitException, CancelValidException
from fastai.callback.progress import CSVLogger, ProgressCallback, ShowGraphCallback
from fastai.callback.tracker import TrackerCallback
from fastai.learner import Learner, Recorder
from fastai.losses import BaseLoss
from fastai.torch_core import to_detach, to_device
from torch import Tensor, nn

from cleaner.core.errors import CleanerError
from cleaner.core.tasks import OTHER
from cleaner.scoring.data.checks import check_number
from cleaner.scoring.data.fastai_data import FastaiData, FastaiDataset
from cleaner.scoring.data.reader import Dataset, Key, PathBatch, guarded
from cleaner.scoring.engine import DatasetInfo, ScanJob
from cleaner.scoring.model.backends import has_hooks, load_compilers
from cleaner.scoring.model.drawing import draw_sample
from cleaner.scoring.model.scorer import (
    Pending,
    Scored,
    Scorer,
    kept_modes,
    loss_name,
    takes_reduction,
    to_host,
    weights_digest,
)
from cleaner.scoring.model.targets import BatchOutput, Targets, check_learner, targets_of

__all__ = ["FastaiScorer", "fastai_job"]

# Callbacks that measure or steer training: a scan is no epoch that they should log or stop.
_TRAINING_ONLY = (Recorder, ProgressCallback, ShowGraphCallback, CSVLogger, TrackerCallback)
_CANCELLED = "a callback of the learner cancels batches or validation; remove it with learn.remove_cb"
_REPEATED = (
    "some files are listed more than once in a split (%s): each is scored with each of its labels, of which one is "
    "wrong where they differ; a decision is about the file"
)

_log = logging.getLogger(__name__)


def fastai_job(learn: Any, open_data: Callable[[Learner, Targets], FastaiData], workers: int | None = None) -> ScanJob:
    """Return the job that scans a learner's images.

    Args:
        learn: the learner.
        open_data: returns the datasets for a learner and the meaning of its targets.
        workers: number of processes that read images; None to choose.
    """
    check_number("workers", workers, min_value=0)
    targets = targets_of(check_learner(learn))
    data = open_data(learn, targets)
    if repeated := data.settings.get("repeated"):
        _log.warning(_REPEATED, ", ".join(f"{n} of {split!r}" for split, n in repeated.items()))
    # Where worker processes do not work, people say so by num_workers=0 in their loaders.
    if workers is None and learn.dls.valid.fake_l.num_workers == 0:
        workers = 0
    return ScanJob(
        info=DatasetInfo(
            root=data.root,
            vocab=targets.vocab,
            splits=tuple(data.datasets),
            address=data.address,
            task=targets.task,
            label_delim=targets.label_delim,
            left_out=data.left_out,
        ),
        datasets=data.datasets,
        scorer=FastaiScorer(learn, targets),
        workers=workers,
        settings={"source": "fastai", "transforms": "validation", **data.settings},
        identity=data.identity,
    )


class FastaiScorer(Scorer):
    """A learner; its losses are those of `get_preds`.

    Args:
        learn: the learner.
        targets: what its targets mean.
    """

    def __init__(self, learn: Learner, targets: Targets) -> None:
        settings = {"loss": loss_name(learn.loss_func), "model": type(learn.model).__name__}
        super().__init__(targets.vocab, settings)
        self.task, self.label_delim = targets.task, targets.label_delim
        self._learn, self._targets = learn, targets

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self._learn.dls.device is None else self._learn.dls.device)

    def to(self, device: torch.device) -> None:
        self._learn.dls.to(device)
        self._learn.model.to(device)

    def identity(self) -> dict[str, Any]:
        return {"learner": weights_digest(self._learn.model), "loss": self.settings["loss"]}

    @contextmanager
    def session(self, dataset: Dataset, fast: bool) -> Iterator[Callable[[PathBatch], Pending]]:
        """Validate batch by batch, with the learner's own events; see `Scorer`."""
        if not isinstance(dataset, FastaiDataset):
            raise TypeError(f"a learner scores a FastaiDataset, not a {type(dataset).__name__}")
        if fast:
            load_compilers()  # while the workers read the first images
        learn = self._learn
        with _without_training(learn), learn.validation_context(), _unreduced_loss(learn), torch.no_grad():
            if dataset.dl.device != self.device:
                dataset.dl.to(self.device)
            learn.dl, learn.n_iter = dataset.dl, -(-dataset.count // dataset.batch_size)
            with _refused_cancellation():
                learn("before_validate")
            learn.model = _BackendModel(learn.model, partial(self._backend, dataset, fast))
            yield partial(self._start, dataset.dl, count())
            with _refused_cancellation():
                learn("after_validate")
            dataset.dl.after_iter()

    def draw(self, dataset: Dataset, key: Key) -> bytes:
        """Render a sample beside the model's prediction; see `Scorer`."""
        dl = dataset.dl  # type: ignore[attr-defined]
        dl.before_iter()  # switches its transforms to validation

        def read() -> Any:
            with guarded(dataset.file(key)):
                return dataset.sample(key)

        with _without_training(self._learn):
            return draw_sample(self._learn, dl, read)

    def _start(self, dl: Any, numbers: Iterator[int], batch: PathBatch) -> Pending:
        """Run `one_batch`, and start to copy the results to the host."""
        learn, n = self._learn, len(batch.paths)
        learn.pred = learn.loss = None
        # From pinned memory the copy to a GPU runs beside the computation of the batch before.
        data = dl.after_batch(to_device(batch.data, self.device, non_blocking=True))
        try:
            with _refused_cancellation():
                learn.one_batch(next(numbers), data)
        except CleanerError:
            raise
        except Exception:
            if learn.pred is not None:  # the loss failed, perhaps at an output that does not fit
                self._targets.check(learn.pred, learn.yb, n)
            raise
        if learn.loss is None:
            raise CleanerError(_CANCELLED)
        self._targets.check(learn.pred, learn.yb, n)
        results = self._targets.results(self._output(n), n)
        arrays = to_host([t.as_subclass(Tensor) for t in results])
        return partial(self._record, batch, arrays)

    def _output(self, n: int) -> BatchOutput:
        learn = self._learn
        targets = [target.detach() if isinstance(target, Tensor) else target for target in learn.yb]
        output = BatchOutput(
            learn.loss.detach(), to_detach(learn.pred, cpu=False, gather=False), targets, learn.loss_func
        )
        if output.loss.numel() < n and "loss_evaluated" not in self.settings:
            self.settings["loss_evaluated"] = "one sample at a time"
            _log.warning(
                "the loss %s returns one number per batch, even with reduction='none', so it is evaluated one sample "
                "at a time; one that takes `reduction` is faster",
                loss_name(learn.loss_func),
            )
        return output

    def _record(self, batch: PathBatch, arrays: Callable[[], Any]) -> Scored:
        return self._targets.record(batch.paths, arrays(), batch.unreadable)

    def _backend(self, dataset: FastaiDataset, fast: bool, model: nn.Module, inputs: tuple[Any, ...]) -> Any:
        """Select the backend on the first batch, as the callbacks left it; None for the model as it is."""
        # A traced model may hold on to the size of its example; only models that classify end in one size anyway.
        if self.task == OTHER or has_hooks(model) or not all(isinstance(x, Tensor) for x in inputs):
            return None
        plain = [x.as_subclass(Tensor) for x in inputs]
        losses = partial(self._trial_losses, self._learn.yb[0])
        try:
            return self.selector.select(model, plain, losses, partial(self._spread, dataset, plain), fast)
        except CleanerError:
            return None  # an output that does not fit is reported for the whole batch

    def _spread(self, dataset: FastaiDataset, inputs: list[Tensor]) -> list[Tensor]:
        """Return inputs from all over the split, or those at hand if none is readable."""
        data = dataset.spread_data()
        if data is None:
            return inputs
        spread = dataset.dl.after_batch(to_device(data, self.device))[: len(inputs)]
        return [x.as_subclass(Tensor) for x in to_device(spread, inputs[0].device)]

    def _trial_losses(self, target: Tensor, prediction: Any) -> Tensor:
        loss_func, target = self._learn.loss_func, target[: len(prediction)]
        self._targets.check(prediction, [target], len(target))
        output = BatchOutput(loss_func(prediction, target), prediction, [target], loss_func)
        return self._targets.losses(output).as_subclass(Tensor)


class _BackendModel(nn.Module):
    """A model that is run by a backend, selected on its first batch; callbacks may ask it for the model's attributes.

    Args:
        model: the model.
        select: returns the backend for the model and its first inputs; None for the model as it is.
    """

    def __init__(self, model: nn.Module, select: Callable[[nn.Module, tuple[Any, ...]], Any]) -> None:
        super().__init__()
        self._model, self._select = model, select
        self._backend: Any = None

    def forward(self, *inputs: Any) -> Any:
        if self._backend is None:
            self._backend = self._select(self._model, inputs) or self._model
        return self._backend(*inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_model"), name)


@contextmanager
def _refused_cancellation() -> Iterator[None]:
    """Refuse a callback that cancels more than a batch; fastai itself would end validation without a word."""
    try:
        yield
    except (CancelValidException, CancelEpochException, CancelFitException) as error:
        raise CleanerError(_CANCELLED) from error


@contextmanager
def _without_training(learn: Learner) -> Iterator[None]:
    """Remove the callbacks of training; afterwards, also after an error, the learner is as it was."""
    attributes = dict(learn.__dict__)
    learn.cbs = type(learn.cbs)(cb for cb in learn.cbs if not isinstance(cb, _TRAINING_ONLY))
    with kept_modes(learn.model):
        try:
            yield
        finally:
            learn.__dict__.clear()
            learn.__dict__.update(attributes)


@contextmanager
def _unreduced_loss(learn: Learner) -> Iterator[None]:
    """Make the loss function return one loss per sample, if it can."""
    loss_func = learn.loss_func
    if hasattr(loss_func, "reduction"):
        reduction = loss_func.reduction
        loss_func.reduction = "none"
        try:
            yield
        finally:
            loss_func.reduction = reduction
        return
    if isinstance(loss_func, BaseLoss) or takes_reduction(loss_func):
        learn.loss_func = _Unreduced(loss_func)
    yield  # `_without_training` puts the loss function back


class _Unreduced(partial):  # type: ignore[type-arg]
    """A loss function called with `reduction="none"`; it keeps the function's attributes, such as `activation`."""

    def __new__(cls, loss_func: Callable[..., Tensor]) -> _Unreduced:
        return super().__new__(cls, loss_func, reduction="none")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)
