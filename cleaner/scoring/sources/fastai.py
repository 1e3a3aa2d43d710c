"""A fastai `Learner` as a source: its own transforms, callbacks and loss, with the path of every sample beside it."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fastai.callback.progress import CSVLogger, ProgressCallback, ShowGraphCallback
from fastai.callback.tracker import TrackerCallback
from fastai.learner import Callback, Learner, Recorder
from fastai.losses import BaseLoss
from fastai.torch_core import to_detach, to_device
from torch import Tensor, nn

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.tasks import OTHER, SINGLE_LABEL, split_labels
from cleaner.scoring import precision
from cleaner.scoring.sources import Candidates, Wanted
from cleaner.scoring.sources.fastai_drawing import drawing
from cleaner.scoring.sources.fastai_loading import (
    SPLIT_FOLDERS,
    Files,
    FolderItems,
    Items,
    OwnItems,
    Traced,
    TracedLoader,
    again,
    every,
    with_copies,
)
from cleaner.scoring.sources.fastai_targets import Outcome, Targets, checked_learner, targets_of
from cleaner.scoring.sources.held import Held

__all__ = ["FastaiSource"]

# The learner's own loaders, by the names that people use.
_LOADERS = {"train": 0, "valid": 1}
# Callbacks that measure or steer training. A scan is no epoch: they would log it, stop it or keep every prediction.
_TRAINING_ONLY = (Recorder, ProgressCallback, ShowGraphCallback, CSVLogger, TrackerCallback)

# Bytes of inputs that a fast scan may hold on to, which is some hundred images of usual size.
_HELD = 128 * 2**20


class FastaiSource:
    """A learner and the items of each split; use `of_learner` or `of_folder`.

    Args:
        learn: a learner of images.
        items: the items of each split.
        root: the dataset's folder; None for the one that the items suggest.
        workers: processes that read images; None to choose.
        batch_size: images scored at once; None for that of the learner's validation loader.
        reduced: see `cleaner.scan`.

    Raises:
        CleanerError: the learner or an item cannot be used.
    """

    def __init__(
        self,
        learn: Learner,
        items: Mapping[str, Items],
        root: Path | None = None,
        workers: int | None = None,
        batch_size: int | None = None,
        reduced: bool = False,
    ) -> None:
        _check_number("workers", workers, at_least=0)
        _check_number("batch_size", batch_size, at_least=1)
        self._targets = targets_of(learn)
        self.vocab, self.task, self.label_delim = self._targets.vocab, self._targets.task, self._targets.label_delim
        if reduced and self.task == OTHER:
            raise CleanerError("reduced decoding is for learners that classify: a target has the size of its image")
        self.splits = tuple(items)
        self.ways: dict[str, str] = {}
        self._made: dict[str, nn.Module] = {}
        self._learn = learn
        # The learner's own 0 is kept: where worker processes do not work, that is how people say so.
        self._workers = 0 if workers is None and learn.dls.valid.fake_l.num_workers == 0 else workers
        options = {} if batch_size is None else {"bs": batch_size}
        self._files = {
            split: Files(_test_loader(learn, own.sample_items(), options), own, split, self._targets, reduced)
            for split, own in items.items()
        }
        surveys = {split: files.survey() for split, files in self._files.items()}
        self._held = {split: Held(_HELD // len(items)) for split in items}
        self._counts = {split: survey.n for split, survey in surveys.items()}
        self.labels_seen = {label for survey in surveys.values() for label in survey.labels}
        self.root = root or _root_of(learn, [folder for survey in surveys.values() for folder in survey.folders])
        for files in self._files.values():
            files.root = self.root
        self.settings: dict[str, Any] = {
            "source": "fastai",
            "loss": _name(learn.loss_func),
            "model": type(learn.model).__name__,
            "transforms": "validation",
            "reduced_decoding": reduced,
        }

    @classmethod
    def of_learner(
        cls, learn: Learner, splits: Sequence[str], root: str | Path | None, reduced: bool = False
    ) -> FastaiSource:
        """The splits of a learner's own data."""
        checked_learner(learn)
        items = {split: OwnItems(_items_of(learn, split)) for split in splits}
        folder = None if root is None else _checked_folder(Path(root))
        return cls(learn, items, folder, reduced=reduced)

    @classmethod
    def of_folder(
        cls,
        learn: Learner,
        data: Path,
        workers: int | None = None,
        batch_size: int | None = None,
        reduced: bool = False,
    ) -> FastaiSource:
        """The images below a folder, labelled as the learner labels paths."""
        checked_learner(learn)
        root = _checked_folder(data)
        candidates = {split: FolderItems(root, split) for split in (*SPLIT_FOLDERS, "all")}
        items = {split: some for split, some in candidates.items() if next(some.keys(), None) is not None}
        if not items:
            raise CleanerError(f"there is no image in {str(data)!r}; give the folder that holds the images")
        source = cls(learn, items, root, workers, batch_size, reduced)
        if source.task == SINGLE_LABEL and len(source.labels_seen) == 1:
            raise CleanerError(
                f"all images in {str(data)!r} have the label {source.labels_seen.pop()!r}; "
                "give the folder of the whole dataset, with at least two classes"
            )
        return source

    def identity(self) -> dict[str, Any]:
        """What must be the same for a scan to go on."""
        return {
            "learner": _digest(self._learn.model),
            "loss": self.settings["loss"],
            "vocabulary": list(self.vocab),
            "task": self.task,
            "reduced decoding": self.settings["reduced_decoding"],
            "number of samples": self._counts,
            "batch size": {split: files.dl.bs for split, files in self._files.items()},
        }

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""
        return self._counts[split]

    def paths(self, split: str) -> Iterator[str]:
        """The paths of the split's samples, in the order in which they are scored."""
        files = self._files[split]
        return map(files.name, files.items.keys())

    def given(self, split: str, paths: Container[str]) -> dict[str, tuple[str, ...]]:
        """All labels that each of these samples of the split carries, read anew without their images.

        Where a dataset names a file more than once, those of the first time.
        """
        files, found = self._files[split], dict[str, tuple[str, ...]]()
        for key in files.items.keys():  # noqa: SIM118 - not a dictionary
            if (name := files.name(key)) in paths and name not in found:
                found[name] = split_labels(files.label(key), self.label_delim)
        return found

    def drawn(self, split: str, paths: Container[str]) -> Iterator[tuple[str, bytes]]:
        """A JPEG of each of these samples with its target and what the model makes of it, read and drawn one by one."""
        files = self._files[split]
        files.dl.before_iter()  # no training
        with _as_found(self._learn):
            for key in files.items.keys():  # noqa: SIM118 - not a dictionary
                if (name := files.name(key)) in paths:
                    yield name, drawing(self._learn, files.dl, partial(files.sample, key))

    def score(
        self,
        split: str,
        consume: Callable[[ScoredBatch | ScoredLabels], None],
        *,
        skip: int = 0,
        fast: bool = False,
        only: Wanted | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Score the samples of the split once, in the learner's own validation loop; see `Source`.

        Raises:
            CleanerError: a label is not in the vocabulary, or the model's output does not fit it.
        """
        files, held, expected = self._files[split], self._held[split], self._counts[split] - skip
        batches = every(files, skip, self._workers) if only is None else again(files, only, held, self._workers)

        if fast:
            precision.load_compilers()  # while the workers read the first images

        def take(batch: ScoredBatch | ScoredLabels, traced: Traced) -> None:
            consume(batch)
            if candidates is not None and isinstance(batch, ScoredBatch) and traced.collated is not None:
                held.hold(batch, traced.collated, candidates)

        loader = TracedLoader(files, expected, batches if candidates is None else with_copies(batches), take)
        with _as_found(self._learn), self._learn.validation_context(), _unreduced(self._learn):
            quicken = _Quicken(self.ways, self._made, fast, files, self._targets)
            self._learn.add_cbs([quicken, _Gather(loader, self._targets)])
            self._learn._do_epoch_validate(dl=loader)
        if only is None and loader.seen != expected:
            raise CleanerError(
                f"{expected - loader.seen} of the {expected} samples of {split!r} were not scored: "
                "a callback of the learner cancels batches or validation; remove it with learn.remove_cb"
            )


class _Quicken(Callback):  # type: ignore[misc]
    """Runs the model in the quickest way, tried on the first batch as the other callbacks left it.

    Args:
        ways: where the name of the chosen way is kept, by `"exact"` and `"fast"`; one that is there is taken.
        made: where what was made of them is kept, for the next split.
        fast: take the quickest way, not the quickest one that gives the same losses.
        files: where images from all over the split come from.
        targets: what the targets of the learner are.
    """

    order = 1001
    _TRIED = 16  # images; enough to see in what ranges the values lie

    def __init__(
        self, ways: dict[str, str], made: dict[str, nn.Module], fast: bool, files: Files, targets: Targets
    ) -> None:
        self.ways, self.made, self.fast, self.files, self.chosen = ways, made, fast, files, False
        self.targets = targets

    def __call__(self, event_name: str) -> None:
        if event_name == "before_batch" and not self.chosen:
            self.chosen = True
            self.choose()

    def choose(self) -> None:
        model, kind = self.learn.model, "fast" if self.fast else "exact"
        # What is traced with one size of images may hold on to it, and only models that classify end in one anyway.
        if self.targets.task == OTHER:
            return
        if precision.has_hooks(model) or not all(isinstance(x, Tensor) for x in self.learn.xb):
            return
        some = [x[: self._TRIED].as_subclass(Tensor) for x in self.learn.xb]
        if kind in self.ways and kind not in self.made:
            inputs = self.spread() if self.ways[kind] in precision.FAST else some
            self.made[kind] = _Quickened(precision.make(self.ways[kind], model, inputs), model)
        if kind in self.made:
            self.learn.model = self.made[kind]
            return
        losses = partial(self._losses, self.learn.yb[0][: self._TRIED])
        try:
            ways = precision.choose(model, some, losses, precision.TOLERANCE, self.spread() if self.fast else None)
        except CleanerError:
            return  # what does not fit is said of the whole batch
        for name, way in zip(("exact", "fast") if self.fast else ("exact",), ways, strict=False):
            self.ways.setdefault(name, way.name)
            self.made.setdefault(name, _Quickened(way.model, model))
        self.learn.model = self.made[kind]

    def spread(self) -> list[Tensor]:
        """Inputs from all over the split; those of the batch at hand where none can be read."""
        batch = self.files.spread_batch()
        inputs = self.learn.xb if batch is None else batch[: len(self.learn.xb)]
        return [x.as_subclass(Tensor) for x in to_device(inputs, self.learn.xb[0].device)]

    def _losses(self, target: Tensor, prediction: Any) -> Tensor:
        loss_func, target = self.learn.loss_func, target[: len(prediction)]
        self.targets.check(prediction, [target], len(target))
        loss = loss_func(prediction, target)
        return self.targets.losses(Outcome(loss, prediction, [target], loss_func)).as_subclass(Tensor)


class _Quickened(nn.Module):
    """A quicker way in the place of a model, for whom callbacks may still ask the model."""

    def __init__(self, way: Callable[..., Any], model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._way = way

    def forward(self, *inputs: Tensor) -> Any:
        return self._way(*inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_model"), name)


class _Gather(Callback):  # type: ignore[misc]
    """Takes what a scan needs out of each batch of the learner's loop, and lets go of the batch.

    On a GPU the copy to the host is waited for one batch later, so that the GPU is never idle for it.
    """

    order = 1000  # after callbacks that change the prediction or the loss

    def __init__(self, loader: TracedLoader, targets: Targets) -> None:
        self.loader, self.targets = loader, targets
        self.waiting: Callable[[], tuple[ScoredBatch | ScoredLabels, Traced]] | None = None
        loader.settle = self.pass_on

    def __call__(self, event_name: str) -> None:
        # Not fastai's dispatch, which rewrites the message of whatever is raised here.
        if event_name == "after_pred":
            # Before the loss, which says less clearly what does not fit.
            self.targets.check(self.learn.pred, self.learn.yb, len(self.loader.current.paths))
        elif event_name == "after_loss":
            self.take()
        elif event_name == "after_validate":
            self.pass_on()

    def take(self) -> None:
        current, learn = self.loader.current, self.learn
        targets = [target.detach() if isinstance(target, Tensor) else target for target in learn.yb]
        outcome = Outcome(learn.loss.detach(), to_detach(learn.pred, cpu=False, gather=False), targets, learn.loss_func)
        taken = self.targets.taken(outcome, len(current.paths))
        on_host, copied = _copied([t.as_subclass(Tensor) for t in taken])

        def batch() -> tuple[ScoredBatch | ScoredLabels, Traced]:
            copied()
            return self.targets.batch(current.paths, [t.numpy() for t in on_host], current.unreadable), current

        self.pass_on()
        self.waiting = batch
        if not taken[0].is_cuda:
            self.pass_on()

    def pass_on(self) -> None:
        if self.waiting is not None:
            self.loader.take(*self.waiting())
            self.waiting = None


def _nothing() -> None:
    """What there is to wait for where nothing was begun."""


def _copied(tensors: list[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
    """The tensors on the host, and a function that waits until they are there."""
    if not tensors[0].is_cuda:
        return [t.cpu().float() if t.dtype in (torch.bfloat16, torch.float16) else t.cpu() for t in tensors], _nothing
    on_host = [torch.empty(t.shape, dtype=torch.float64, pin_memory=True) for t in tensors]
    for host, device in zip(on_host, tensors, strict=True):
        host.copy_(device.double(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))
    return on_host, event.synchronize


@contextmanager
def _as_found(learn: Learner) -> Iterator[None]:
    """Without the callbacks of training; afterwards, also after an error, the learner is as it was."""
    attributes = dict(learn.__dict__)
    modes = {module: module.training for module in learn.model.modules()}
    learn.cbs = type(learn.cbs)(cb for cb in learn.cbs if not isinstance(cb, _TRAINING_ONLY))
    try:
        yield
    finally:
        learn.__dict__.clear()
        learn.__dict__.update(attributes)
        for module, training in modes.items():
            module.training = training


@contextmanager
def _unreduced(learn: Learner) -> Iterator[None]:
    """With a loss function that gives one loss per sample, if it can."""
    loss_func = learn.loss_func
    if hasattr(loss_func, "reduction"):
        found = loss_func.reduction
        loss_func.reduction = "none"
        try:
            yield
        finally:
            loss_func.reduction = found
        return
    if isinstance(loss_func, BaseLoss) or "reduction" in inspect.signature(loss_func).parameters:
        learn.loss_func = _Unreduced(loss_func)
    yield  # `_as_found` puts the loss function back


class _Unreduced(partial):  # type: ignore[type-arg]
    """A loss function called with `reduction="none"`; it has the attributes of the one inside, such as `activation`."""

    def __new__(cls, loss_func: Callable[..., Tensor]) -> _Unreduced:
        return super().__new__(cls, loss_func, reduction="none")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)


def _digest(model: nn.Module) -> str:
    """SHA-256 of the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode("utf-8"))
        if isinstance(values, Tensor):
            digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _test_loader(learn: Learner, items: Any, options: dict[str, int]) -> Any:
    """fastai's loader of items with the validation transforms and labels."""
    try:
        return learn.dls.test_dl(items, with_labels=True, **options)
    except Exception as error:
        kind = type(items[0]).__name__ if isinstance(items, list) else type(items).__name__
        raise CleanerError(
            f"the learner's transforms take no {kind} ({type(error).__name__}: {error}); a learner made from a table "
            "reads labels from its rows and not from paths: scan it with cleaner.scan(learn, out) where it was trained"
        ) from error


def _items_of(learn: Learner, split: str) -> Any:
    if split not in _LOADERS:
        raise CleanerError(f"there is no split {split!r}; a learner has {list(_LOADERS)}")
    items = learn.dls[_LOADERS[split]].dataset.items
    if len(items) == 0 and any(len(loader.dataset.items) for loader in learn.dls.loaders):
        raise CleanerError(
            f"the learner has no items in {split!r}; name the splits that it has, as in splits=('train',)"
        )
    if len(items) == 0:
        raise CleanerError(
            f"the learner has no items in {split!r}; a learner that was loaded from a file holds none: "
            "use cleaner.scan_folder(learn, data, out), or `cleaner scan --learner FILE --data DIR`"
        )
    return items


def _root_of(learn: Learner, folders: Sequence[str]) -> Path:
    own = os.path.abspath(learn.dls.path)
    if own != os.getcwd() and all(Path(folder).is_relative_to(own) for folder in folders):
        return Path(own)
    return Path(os.path.commonpath(folders))


def _checked_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is not a folder; give the folder that holds the images")
    return Path(os.path.abspath(folder))


def _check_number(name: str, value: int | None, at_least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < at_least):
        raise CleanerError(f"{name} is {value!r}; a whole number of at least {at_least} is accepted")


def _name(loss_func: Any) -> str:
    return getattr(loss_func, "__name__", None) or type(loss_func).__name__
