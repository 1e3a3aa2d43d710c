"""A fastai `Learner` as a source: its own transforms, callbacks and loss, with the path of every sample beside it."""

from __future__ import annotations

import logging
import os
from collections import Counter
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
from cleaner.core.label_table import LabelRows
from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.suffixes import as_text
from cleaner.core.tasks import OTHER, SINGLE_LABEL, split_labels
from cleaner.scoring import precision
from cleaner.scoring.sources import Candidates, Wanted
from cleaner.scoring.sources.addresses import Address
from cleaner.scoring.sources.checks import check_number, checked_folder, root_of
from cleaner.scoring.sources.fastai_addresses import AddressItems
from cleaner.scoring.sources.fastai_drawing import drawing
from cleaner.scoring.sources.fastai_loading import (
    SPLIT_FOLDERS,
    Files,
    FolderItems,
    Items,
    OwnItems,
    TracedLoader,
)
from cleaner.scoring.sources.fastai_table import Table, TableItems, check_one_label, opening_step
from cleaner.scoring.sources.fastai_targets import Outcome, Targets, checked_learner, targets_of
from cleaner.scoring.sources.held import LIMIT, Held
from cleaner.scoring.sources.loading import again, every, lost_workers, these, with_copies
from cleaner.scoring.sources.models import digest, modes_kept, name_of, takes_reduction
from cleaner.scoring.sources.transfers import Transfers, and_held

__all__ = ["FastaiSource"]

# The learner's own loaders, by the names that people use.
_LOADERS = {"train": 0, "valid": 1}
# Callbacks that measure or steer training. A scan is no epoch: they would log it, stop it or keep every prediction.
_TRAINING_ONLY = (Recorder, ProgressCallback, ShowGraphCallback, CSVLogger, TrackerCallback)

_log = logging.getLogger(__name__)
_ALONE = (
    "the loss function %s gives one number for a batch, also with reduction='none', so that it is evaluated for each "
    "sample alone, which is slower; one that takes `reduction` is quicker"
)
_REPEATED = (
    "some files come more than once in one split (%s): each is scored with each of its labels, of which one is wrong "
    "where they differ; a decision is about the file"
)


class FastaiSource:
    """A learner and the items of each split; use `of_learner`, `of_folder` or `of_table`.

    Args:
        learn: a learner of images.
        items: the items of each split.
        root: the dataset's folder; None for the one that the items suggest.
        workers: processes that read images; None to choose.
        batch_size: images scored at once; None for that of the learner's validation loader.
        reduced: see `cleaner.scan`.
        opening: the step of the learner's transforms to begin with; None for the one that fastai takes for the items.

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
        opening: int | None = None,
    ) -> None:
        check_number("workers", workers, at_least=0)
        check_number("batch_size", batch_size, at_least=1)
        self._targets = targets_of(learn)
        self.vocab, self.task, self.label_delim = self._targets.vocab, self._targets.task, self._targets.label_delim
        if reduced and self.task == OTHER:
            raise CleanerError("reduced decoding is for learners that classify: a target has the size of its image")
        self.splits = tuple(items)
        self._chosen = precision.Chosen()
        self.ways = self._chosen.names
        self._learn = learn
        # The learner's own 0 is kept: where worker processes do not work, that is how people say so.
        self._workers = 0 if workers is None and learn.dls.valid.fake_l.num_workers == 0 else workers
        options: dict[str, Any] = {} if batch_size is None else {"bs": batch_size}
        if opening is not None:
            options["rm_type_tfms"] = (opening, 0)
        self._files = {
            split: Files(_test_loader(learn, own.sample_items(), options), own, split, self._targets, reduced)
            for split, own in items.items()
        }
        surveys = {split: files.survey() for split, files in self._files.items()}
        self._repeated = {split: survey.repeated for split, survey in surveys.items() if survey.repeated}
        self._held = {split: Held(LIMIT // len(items)) for split in items}
        self._counts = {split: survey.n for split, survey in surveys.items()}
        self.labels_seen = {label for survey in surveys.values() for label in survey.labels}
        self.root = root or root_of(
            os.path.abspath(learn.dls.path), (folder for survey in surveys.values() for folder in survey.folders)
        )
        self.address = ""
        self.left_out: Mapping[str, int] = {}
        for files in self._files.values():
            files.root = self.root
        self.settings: dict[str, Any] = {
            "source": "fastai",
            "loss": name_of(learn.loss_func),
            "model": type(learn.model).__name__,
            "transforms": "validation",
            "reduced_decoding": reduced,
        }
        if self._repeated:
            self.settings["repeated"] = self._repeated
            _log.warning(_REPEATED, ", ".join(f"{n} of {split!r}" for split, n in self._repeated.items()))

    @classmethod
    def of_learner(
        cls, learn: Learner, splits: Sequence[str], root: str | Path | None, reduced: bool = False
    ) -> FastaiSource:
        """The splits of a learner's own data."""
        checked_learner(learn)
        items = {split: OwnItems(_items_of(learn, split)) for split in splits}
        folder = None if root is None else checked_folder(Path(root))
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
        root = checked_folder(data)
        items = {split: FolderItems(root, split) for split in (*SPLIT_FOLDERS, "all")}
        source = cls(learn, _with_images(str(data), items), root, workers, batch_size, reduced)
        source._check_labels_differ(str(data))
        source.left_out = _left_out(items)
        return source

    @classmethod
    def of_address(
        cls,
        learn: Learner,
        data: str,
        workers: int | None = None,
        batch_size: int | None = None,
        reduced: bool = False,
    ) -> FastaiSource:
        """The images at an fsspec address, labelled as the learner labels paths."""
        checked_learner(learn)
        if targets_of(learn).task == OTHER:
            raise CleanerError(
                f"images at an address, as {data!r}, are for learners that classify; this one has other targets, which "
                "may be in files of their own: give a folder with a copy of the dataset"
            )
        address = Address.of(data)
        root = address.stand_in
        items = {split: AddressItems(root, split, address) for split in (*SPLIT_FOLDERS, "all")}
        source = cls(learn, _with_images(data, items), root, workers, batch_size, reduced)
        source._check_labels_differ(data)
        source.root, source.address, source.left_out = Path(address.text), address.text, _left_out(items)
        return source

    @classmethod
    def of_table(
        cls,
        learn: Learner,
        data: Path,
        rows: LabelRows,
        workers: int | None = None,
        batch_size: int | None = None,
        reduced: bool = False,
    ) -> FastaiSource:
        """The images that a label table names, with the labels that stand there."""
        checked_learner(learn)
        check_one_label(learn)
        root = checked_folder(data)
        table = Table(rows, root, {label: place for place, label in enumerate(targets_of(learn).vocab)})
        splits, fingerprint = table.check()
        items = {split: TableItems(table, split) for split in splits}
        source = cls(learn, items, root, workers, batch_size, reduced, opening_step(learn, table))
        columns = {"paths": rows.path_column, "labels": rows.label_column}
        source.settings["label_table"] = {"file": table.name, **columns, "fingerprint": fingerprint}
        return source

    def _check_labels_differ(self, data: str) -> None:
        if self.task == SINGLE_LABEL and len(self.labels_seen) == 1:
            raise CleanerError(
                f"all images in {data!r} have the label {self.labels_seen.pop()!r}; "
                "give the folder of the whole dataset, with at least two classes"
            )

    @property
    def readers(self) -> Mapping[str, Files]:
        """The reader of each split."""
        return self._files

    def identity(self) -> dict[str, Any]:
        """What must be the same for a scan to go on."""
        return {
            "learner": digest(self._learn.model),
            "loss": self.settings["loss"],
            "vocabulary": list(self.vocab),
            "task": self.task,
            "reduced decoding": self.settings["reduced_decoding"],
            "label table": self.settings.get("label_table", {}).get("fingerprint", ""),
            "number of samples": self._counts,
            "batch size": {split: files.batch_size for split, files in self._files.items()},
        }

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""
        return self._counts[split]

    def paths(self, split: str) -> Iterator[str]:
        """The paths of the split's samples, in the order in which they are scored."""
        files = self._files[split]
        return map(files.name, files.keys())

    def given(self, split: str, paths: Container[str]) -> dict[str, tuple[str, ...]]:
        """All labels that each of these samples of the split carries, read anew without their images.

        Where a dataset names a file more than once, those of the first time.
        """
        files, found = self._files[split], dict[str, tuple[str, ...]]()
        for key in files.wanted(None):
            if (name := files.name(key)) in paths and name not in found:
                found[name] = split_labels(files.label(key), self.label_delim)
        return found

    def drawn(self, split: str, paths: Container[str]) -> Iterator[tuple[str, bytes]]:
        """A JPEG of each of these samples with its target and what the model makes of it, read and drawn one by one."""
        files = self._files[split]
        files.dl.before_iter()  # no training
        with _as_found(self._learn):
            for key in files.wanted(None):
                if (name := files.name(key)) in paths:
                    yield name, drawing(self._learn, files.dl, partial(files.guarded_sample, key))

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
            CleanerError: a label is not in the vocabulary, or the model's output does not fit it, or in a fast pass
                files come more than once, or the system ended a process that reads images.
        """
        if fast and split in self._repeated:
            raise CleanerError(
                f"{self._repeated[split]} items of {split!r} have a file that came before, and a fast scan tells items "
                "by their files; leave out fast, or name each file once"
            )
        files, held, expected = self._files[split], self._held[split], self._counts[split] - skip
        batches = every(files, skip, self._workers) if only is None else again(files, only, held, self._workers)

        take = and_held(consume, held, candidates)
        loader = TracedLoader(files, expected, batches if candidates is None else with_copies(batches), take)
        self._run(loader, fast)
        if only is None:
            _check_all_came(loader, expected, split)

    def listing(self, split: str) -> Callable[[], Iterator[Any]]:
        """What gives the keys of the split's samples, in order."""
        return self._files[split].listing()

    def keys(self, split: str, only: Wanted | None = None) -> Iterator[Any]:
        """The keys of the samples that `only` asks for, by default of all."""
        return self._files[split].wanted(only)

    def settle_in(self, device: torch.device, workers: int) -> None:
        """Make ready to score on a device, with so many processes that read images."""
        self._workers = workers
        self._learn.dls.to(device)
        self._learn.model.to(device)
        for files in self._files.values():
            files.dl.to(device)

    def score_shard(
        self, split: str, keys: Sequence[Any], consume: Callable[[ScoredBatch | ScoredLabels], None], *, fast: bool
    ) -> None:
        """Score the samples of some keys; see `Spreadable`."""
        files = self._files[split]
        batches = these(files, keys, self._workers)
        loader = TracedLoader(files, len(keys), batches, lambda batch, _traced: consume(batch))
        self._run(loader, fast)
        _check_all_came(loader, len(keys), split)

    def _run(self, loader: TracedLoader, fast: bool) -> None:
        """Have the learner's own validation loop score what a loader gives."""
        if fast:
            precision.load_compilers()  # while the workers read the first images
        with lost_workers(), _as_found(self._learn), self._learn.validation_context(), _unreduced(self._learn):
            gather = _Gather(loader, self._targets)
            self._learn.add_cbs([_Quicken(self._chosen, fast, loader.files, self._targets), gather])
            self._learn._do_epoch_validate(dl=loader)
        if gather.alone:
            self.settings["loss_evaluated"] = "one sample at a time"


def _with_images(data: str, items: Mapping[str, FolderItems]) -> dict[str, FolderItems]:
    """The splits that hold images."""
    found = {split: some for split, some in items.items() if next(some.keys(), None) is not None}
    if not found:
        others = as_text(_left_out(items))
        there = f", but files that are not known to be images: {others}" if others else ""
        raise CleanerError(f"there is no image in {data!r}{there}; give the folder that holds the images")
    return found


def _left_out(items: Mapping[str, FolderItems]) -> dict[str, int]:
    """The number of files, by suffix, that the last whole walk of each split passed over."""
    total = Counter[str]()
    for each in items.values():
        total.update(each.left_out)
    return dict(total)


def _check_all_came(loader: TracedLoader, expected: int, split: str) -> None:
    if loader.seen != expected:
        raise CleanerError(
            f"{loader.seen} of the {expected} samples of {split!r} were scored: "
            "a callback of the learner cancels batches or validation; remove it with learn.remove_cb. "
            "Or files came or went meanwhile; scan again when they do not"
        )


class _Quicken(Callback):  # type: ignore[misc]
    """Runs the model in the quickest way, tried on the first batch as the other callbacks left it.

    Args:
        chosen: the ways that were chosen before.
        fast: take the quickest way, not the quickest one that gives the same losses.
        files: where images from all over the split come from.
        targets: what the targets of the learner are.
    """

    order = 1001

    def __init__(self, chosen: precision.Chosen, fast: bool, files: Files, targets: Targets) -> None:
        self.targets = targets
        self.chosen, self.fast, self.files, self.done = chosen, fast, files, False

    def __call__(self, event_name: str) -> None:
        if event_name == "before_batch" and not self.done:
            self.done = True
            self.choose()

    def choose(self) -> None:
        model = self.learn.model
        # What is traced with one size of images may hold on to it, and only models that classify end in one anyway.
        if self.targets.task == OTHER:
            return
        if precision.has_hooks(model) or not all(isinstance(x, Tensor) for x in self.learn.xb):
            return
        inputs = [x.as_subclass(Tensor) for x in self.learn.xb]
        losses = partial(self._losses, self.learn.yb[0])
        try:
            way = self.chosen.way(model, inputs, losses, self.spread, self.fast)
        except CleanerError:
            return  # what does not fit is said of the whole batch
        self.learn.model = _Quickened(way, model)

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

    Attributes:
        alone: the loss function gave one number for a batch, and was asked about each sample alone.
    """

    order = 1000  # after callbacks that change the prediction or the loss

    def __init__(self, loader: TracedLoader, targets: Targets) -> None:
        self.loader, self.targets, self.alone = loader, targets, False
        self.transfers = Transfers(loader.take)
        loader.settle = self.transfers.settle

    def __call__(self, event_name: str) -> None:
        # Not fastai's dispatch, which rewrites the message of whatever is raised here.
        if event_name == "after_pred":
            # Before the loss, which may fail at such an output with a message of its own.
            self.targets.check(self.learn.pred, self.learn.yb, len(self.loader.current.paths))
        elif event_name == "after_loss":
            self.take()
        elif event_name == "after_validate":
            self.transfers.settle()

    def take(self) -> None:
        current, learn = self.loader.current, self.learn
        targets = [target.detach() if isinstance(target, Tensor) else target for target in learn.yb]
        outcome = Outcome(learn.loss.detach(), to_detach(learn.pred, cpu=False, gather=False), targets, learn.loss_func)
        if outcome.loss.numel() < len(current.paths) and not self.alone:
            self.alone = True
            _log.warning(_ALONE, name_of(learn.loss_func))
        taken = self.targets.taken(outcome, len(current.paths))
        self.transfers.send(current, [t.as_subclass(Tensor) for t in taken], self.targets.batch)


@contextmanager
def _as_found(learn: Learner) -> Iterator[None]:
    """Without the callbacks of training; afterwards, also after an error, the learner is as it was."""
    attributes = dict(learn.__dict__)
    learn.cbs = type(learn.cbs)(cb for cb in learn.cbs if not isinstance(cb, _TRAINING_ONLY))
    with modes_kept(learn.model):
        try:
            yield
        finally:
            learn.__dict__.clear()
            learn.__dict__.update(attributes)


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
    if isinstance(loss_func, BaseLoss) or takes_reduction(loss_func):
        learn.loss_func = _Unreduced(loss_func)
    yield  # `_as_found` puts the loss function back


class _Unreduced(partial):  # type: ignore[type-arg]
    """A loss function called with `reduction="none"`; it has the attributes of the one inside, such as `activation`."""

    def __new__(cls, loss_func: Callable[..., Tensor]) -> _Unreduced:
        return super().__new__(cls, loss_func, reduction="none")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)


def _test_loader(learn: Learner, items: Any, options: dict[str, Any]) -> Any:
    """fastai's loader of items with the validation transforms and labels."""
    try:
        return learn.dls.test_dl(items, with_labels=True, **options)
    except Exception as error:
        kind = type(items[0]).__name__ if isinstance(items, list) else type(items).__name__
        raise CleanerError(
            f"the learner's transforms take no {kind} ({type(error).__name__}: {error}); a learner made from a table "
            "reads labels from its rows and not from paths: give the table, with cleaner.scan_table or --labels"
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
