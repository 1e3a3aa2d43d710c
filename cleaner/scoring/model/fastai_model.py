"""A fastai `Learner` as a scorer: its own batch transforms, callbacks and loss, one public `one_batch` at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import torch
from fastai.callback.core import (
    Callback,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelValidException,
)
from fastai.callback.progress import CSVLogger, ProgressCallback, ShowGraphCallback
from fastai.callback.tracker import TrackerCallback
from fastai.learner import Learner, Recorder
from fastai.torch_core import defaults, to_detach, to_device
from torch import Tensor, nn

from cleaner.core.errors import CleanerError
from cleaner.core.tasks import OTHER
from cleaner.scoring.data.checks import check_number
from cleaner.scoring.data.fastai_data import FastaiData
from cleaner.scoring.data.reader import Dataset, Key, PathBatch, guarded
from cleaner.scoring.engine import DatasetInfo, ScanJob
from cleaner.scoring.model.backends import Model, has_hooks
from cleaner.scoring.model.devices import AUTO, copied_to, find_device, kept_autocast
from cleaner.scoring.model.drawing import draw_sample
from cleaner.scoring.model.losses import loss_name, unreduced, warn_if_reduced
from cleaner.scoring.model.scorer import Scorer, Started, kept_modes, weights_digest
from cleaner.scoring.model.targets import BatchOutput, Targets, targets_of
from cleaner.scoring.model.views import check_views, shifted

__all__ = ["FastaiScorer", "fastai_job"]

# Callbacks that measure or steer training: a scan is no epoch that they should log or stop.
_TRAINING_ONLY = (Recorder, ProgressCallback, ShowGraphCallback, CSVLogger, TrackerCallback)
_CANCELLED = "a callback of the learner cancels batches or validation; remove it with learn.remove_cb"
_REPEATED = (
    "some files are listed more than once in a split (%s): each is scored with each of its labels, of which one is "
    "wrong where they differ; a decision is about the file"
)

_log = logging.getLogger(__name__)


def fastai_job(
    learn: Any,
    open_data: Callable[[Learner, Targets], FastaiData],
    workers: int | None = None,
    device: str | torch.device | None = None,
    views: int = 1,
) -> ScanJob:
    """Return the job that scans a learner's images; `open_data` returns their datasets. See `cleaner.scan_folder`."""
    check_number("workers", workers, min_value=0)
    check_views(views)
    targets = targets_of(learn)
    scorer = FastaiScorer(learn, targets, device, views)
    data = open_data(learn, targets)
    if repeated := data.settings.get("repeated"):
        _log.warning(_REPEATED, ", ".join(f"{n} of {split!r}" for split, n in repeated.items()))
    if workers is None and learn.dls.valid.fake_l.num_workers == 0:
        _log.info("the learner's loaders have num_workers=0; the scan reads with a process per core, or workers=0")
    splits, meaning = tuple(data.datasets), (targets.task, targets.label_delim)
    info = DatasetInfo(data.root, targets.vocab, splits, data.address, *meaning, data.left_out)
    settings = {"source": "fastai", "transforms": "validation", **data.settings}
    return ScanJob(info, data.datasets, scorer, workers, settings, data.identity)


class FastaiScorer(Scorer):
    """A learner; its losses are those of `get_preds`.

    Args:
        learn: the learner.
        targets: what its targets mean.
        device: where to run a copy of its model; see `find_device`.
        views: as in `Scorer`.
    """

    def __init__(
        self, learn: Learner, targets: Targets, device: str | torch.device | None = None, views: int = 1
    ) -> None:
        if views > 1 and targets.task == OTHER:
            raise CleanerError(f"views shift images, and with them a target of the task {targets.task!r}; use views=1")
        own = torch.device("cpu" if learn.dls.device is None else learn.dls.device)
        # fastai moves batches to the CPU if it was told to use no accelerator.
        self._device = own if defaults.use_cuda is False and device == AUTO else find_device(device, own)
        self._model: nn.Module = learn.model
        self._loss_func = learn.loss_func
        if self._device != find_device(own, own):
            self._model, self._loss_func = (copied_to(self._device, part) for part in (learn.model, learn.loss_func))
        settings = {"loss": loss_name(learn.loss_func), "model": type(learn.model).__name__}
        super().__init__(targets.vocab, settings, views)
        self.task, self.label_delim = targets.task, targets.label_delim
        self._learn, self._targets = learn, targets

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def model(self) -> nn.Module:
        return self._model

    def to(self, device: torch.device) -> None:
        self._device = device
        self._learn.dls.to(device)
        self._model, self._loss_func = (copied_to(device, part) for part in (self._model, self._loss_func))

    def identity(self) -> dict[str, Any]:
        return {
            "learner": weights_digest(self._learn.model),
            "loss": self.settings["loss"],
            "number of views": self.views,
        }

    @contextmanager
    def session(self, dataset: Dataset, fast: bool) -> Iterator[Callable[[PathBatch], Started]]:
        """Validate batch by batch, with the learner's own events; see `Scorer`."""
        learn, dl = self._learn, dataset.dl  # type: ignore[attr-defined]
        with (
            _without_training(learn),
            self._placed(dl),
            kept_autocast(self._device),
            learn.validation_context(),
            unreduced(learn.loss_func) as learn.loss_func,
            torch.no_grad(),
        ):
            dl.n = dataset.count  # of a folder it holds one item
            learn.dl, learn.n_iter = dl, len(dl)
            outputs = _BatchOutputs(self._targets)
            learn.add_cb(outputs)
            with _refused_cancellation():
                learn("before_validate")
            # A traced model may hold on to the size of its example; only models that classify end in one size anyway.
            if self.task != OTHER and not has_hooks(learn.model):
                learn.model = _BackendModel(learn.model, partial(self._select, dataset, outputs, fast))
            yield partial(self._start, dl, outputs, count())
            with _refused_cancellation():
                learn("after_validate")
            dl.after_iter()

    def draw(self, dataset: Dataset, key: Key) -> bytes:
        """Render a sample beside the model's prediction; see `Scorer`."""
        dl = dataset.dl  # type: ignore[attr-defined]
        dl.before_iter()  # switches its transforms to validation

        def read() -> Any:
            with guarded(dataset.file(key)):
                return dataset.sample(key)

        with _without_training(self._learn), self._placed(dl):
            return draw_sample(self._learn, dl, read)

    @contextmanager
    def _placed(self, dl: Any) -> Iterator[None]:
        """Give the learner the model and loss on the scan's device; the loaders, which share transforms, move along."""
        learn, before = self._learn, self._learn.dls.device
        learn.model, learn.loss_func = self._model, self._loss_func
        try:
            if before not in (None, self._device):
                learn.dls.to(self._device)
            dl.to(self._device)
            yield
        finally:
            if before not in (None, self._device):
                learn.dls.to(before)

    def _start(self, dl: Any, outputs: _BatchOutputs, numbers: Iterator[int], batch: PathBatch) -> Started:
        """Run `one_batch`, and return its results."""
        outputs.n, outputs.reading = len(batch.paths), batch.seconds / self.views
        # fastai's transforms leave each batch in a reference cycle: an error that they caught, and its traceback.
        gc.collect(1)
        images, *targets = self._transformed(dl, batch.data)
        number, views = next(numbers), list[BatchOutput]()
        for view in range(self.views):
            outputs.held = None
            with _refused_cancellation():
                self._learn.one_batch(number, (shifted(images, view), *targets))
            if outputs.held is None:
                raise CleanerError(_CANCELLED)
            views.append(outputs.held)
        warn_if_reduced(views[0].loss, outputs.n, self.settings)
        results = self._targets.results(views)
        record = partial(self._targets.record, batch.paths, batch.unreadable)
        return Started([t.as_subclass(Tensor) for t in results], record)

    def _transformed(self, dl: Any, data: Any) -> Any:
        """Apply the batch transforms. From pinned memory the copy to a GPU runs beside the batch before."""
        is_pinned = self._device.type == "cuda"  # other memory may be freed before it is copied
        return dl.after_batch(to_device(data, self._device, non_blocking=is_pinned))

    def _select(
        self, dataset: Dataset, outputs: _BatchOutputs, fast: bool, model: nn.Module, inputs: tuple[Any, ...]
    ) -> Model:
        """Return the backend for a model and a batch, as the callbacks left them."""
        if not all(isinstance(x, Tensor) for x in inputs):
            return model
        plain = [x.as_subclass(Tensor) for x in inputs]
        to_inputs = partial(self._transformed, dataset.dl)  # type: ignore[attr-defined]
        return self.selector.select(model, plain, self._trial_losses, dataset, to_inputs, fast, outputs.reading)

    def _trial_losses(self, prediction: Any, n: int) -> Tensor:
        loss_func, target = self._learn.loss_func, self._learn.yb[0][:n]
        self._targets.check(prediction, [target], n)
        output = BatchOutput(loss_func(prediction, target), prediction, [target], loss_func)
        return self._targets.losses(output).as_subclass(Tensor)


class _BatchOutputs(Callback):  # type: ignore[misc]
    """Checks and holds the outputs of a batch; when the batch ends, other callbacks may change or free them."""

    order = 1000  # after callbacks that change the prediction or the loss

    def __init__(self, targets: Targets) -> None:
        self.targets, self.n, self.reading = targets, 0, 0.0
        self.held: BatchOutput | None = None

    def __call__(self, event_name: str) -> None:  # fastai's own would rewrite the messages of errors
        learn = self.learn
        if event_name == "after_pred":  # before the loss, which may fail at an output that does not fit
            self.targets.check(learn.pred, learn.yb, self.n)
        elif event_name == "after_loss":
            loss, prediction, targets = to_detach((learn.loss, learn.pred, learn.yb), cpu=False, gather=False)
            self.held = BatchOutput(loss, prediction, targets, learn.loss_func)


class _BackendModel(nn.Module):
    """A model that is run by a backend; callbacks may ask it for the model's attributes."""

    def __init__(self, model: nn.Module, select: Callable[[nn.Module, tuple[Any, ...]], Model]) -> None:
        super().__init__()
        self._model, self._select = model, select

    def forward(self, *inputs: Any) -> Any:
        return self._select(self._model, inputs)(*inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_model"), name)


@contextmanager
def _refused_cancellation() -> Iterator[None]:
    """Refuse a callback that cancels; fastai itself would end validation without a word."""
    try:
        yield
    except (CancelBatchException, CancelValidException, CancelEpochException, CancelFitException) as error:
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
