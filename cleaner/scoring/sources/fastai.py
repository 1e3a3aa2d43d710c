"""A fastai `Learner` as a source: its own transforms, callbacks and loss, with the path of every sample beside it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fastai.callback.progress import CSVLogger, ProgressCallback, ShowGraphCallback
from fastai.callback.tracker import TrackerCallback
from fastai.data.core import Datasets
from fastai.data.transforms import MultiCategorize, RegressionSetup
from fastai.learner import Callback, Learner, Recorder
from fastai.losses import BaseLoss
from fastai.torch_core import to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import image_files, relative_path
from cleaner.core.records import ScoredBatch, Unreadable

__all__ = ["FastaiSource"]

# The learner's own loaders, by the names that people use.
_LOADERS = {"train": 0, "valid": 1}
_SPLIT_FOLDERS = ("train", "valid", "test")
# Callbacks that measure or steer training. A scan is no epoch: they would log it, stop it or keep every prediction.
_TRAINING_ONLY = (Recorder, ProgressCallback, ShowGraphCallback, CSVLogger, TrackerCallback)


class FastaiSource:
    """A learner and the items of each split; use `of_learner` or `of_folder`.

    Args:
        learn: a learner that classifies images with one label each.
        items: for each split its items, in the form that the learner's own datasets take.
        root: the dataset's folder.
        workers: processes that read images; None for as many as the learner's validation loader has.
        batch_size: images scored at once; None for that of the learner's validation loader.

    Raises:
        CleanerError: the learner or an item cannot be used.
    """

    def __init__(
        self,
        learn: Learner,
        items: dict[str, Any],
        root: Path | None = None,
        workers: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        _check_number("workers", workers, at_least=0)
        _check_number("batch_size", batch_size, at_least=1)
        own = {"num_workers": workers, "bs": batch_size}
        options = {name: value for name, value in own.items() if value is not None}
        self.vocab = vocab_of(learn)
        self.splits = tuple(items)
        self._learn = learn
        files = {
            split: _Files(learn.dls.test_dl(some, with_labels=True, **options), split, self.vocab)
            for split, some in items.items()
        }
        folders = [folder for some in files.values() for folder in some.survey()]
        self.root = root or _root_of(learn, folders)
        for some in files.values():
            some.root = self.root
        self._files = files
        self.settings: dict[str, Any] = {
            "source": "fastai",
            "loss": _name(learn.loss_func),
            "model": type(learn.model).__name__,
            "transforms": "validation",
        }

    @classmethod
    def of_learner(cls, learn: Learner, splits: Sequence[str], root: str | Path | None) -> FastaiSource:
        """The splits of a learner's own data."""
        _check_learner(learn)
        items = {split: _items_of(learn, split) for split in splits}
        return cls(learn, items, None if root is None else _checked_folder(Path(root)))

    @classmethod
    def of_folder(
        cls, learn: Learner, data: Path, workers: int | None = None, batch_size: int | None = None
    ) -> FastaiSource:
        """The images below a folder, labelled as the learner labels paths."""
        _check_learner(learn)
        root = _checked_folder(data)
        items: dict[str, list[Path]] = {}
        for path in image_files(root):
            parts = path.relative_to(root).parts
            split = parts[0] if len(parts) > 2 and parts[0] in _SPLIT_FOLDERS else "all"
            items.setdefault(split, []).append(path)
        if not items:
            raise CleanerError(f"there is no image in {str(data)!r}; give the folder that holds the images")
        source = cls(learn, items, root, workers, batch_size)
        labels = {label for files in source._files.values() for label in files.labels_seen}
        if len(labels) == 1:
            raise CleanerError(
                f"all images in {str(data)!r} have the label {labels.pop()!r}; "
                "give the folder of the whole dataset, with at least two classes"
            )
        return source

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""
        return len(self._files[split])

    def score(self, split: str, consume: Callable[[ScoredBatch], None]) -> None:
        """Score every sample of the split once, in the learner's own validation loop.

        Raises:
            CleanerError: a label is not in the vocabulary, or the model's output does not fit it.
        """
        loader = _TracedLoader(self._files[split], consume)
        with _as_found(self._learn), self._learn.validation_context(), _unreduced(self._learn):
            self._learn.add_cb(_Gather(loader, len(self.vocab)))
            self._learn._do_epoch_validate(dl=loader)
        if loader.seen != self.count(split):
            raise CleanerError(
                f"{self.count(split) - loader.seen} of the {self.count(split)} samples of {split!r} were not scored: "
                "a callback of the learner cancels batches or validation; remove it with learn.remove_cb"
            )


class _Loaded(NamedTuple):
    """An item as it comes out of a worker process."""

    path: str
    item: Any


class _Traced(NamedTuple):
    """A collated batch and whose it is; `error` is what forbids to go on."""

    paths: list[str]
    unreadable: list[Unreadable]
    batch: Any
    error: CleanerError | None = None


class _Files(Dataset[Any]):
    """The items of a fastai loader with their files; what is pickled into worker processes."""

    def __init__(self, dl: Any, split: str, vocab: tuple[str, ...]) -> None:
        self.dl = dl
        self.root = Path()
        self.labels_seen: set[str] = set()
        self._split = split
        self._vocab = vocab
        self._items, self._steps = dl.dataset.tls[0].items, list(dl.dataset.tls[0].tfms.fs)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> _Loaded | Unreadable | CleanerError:
        try:
            label = self._vocab[self._target(index)]
            file = self._file(index)
            try:
                path = relative_path(file, self.root)
            except FieldError as error:
                readable_name = os.path.basename(file).encode("utf-8", "backslashreplace").decode()
                return Unreadable(self._split, label, readable_name, str(error))
        except CleanerError as error:
            # Raised in a worker process it would come out with a traceback for a message.
            return error
        try:
            # The two steps of fastai's `do_item`, which hides what it drops.
            return _Loaded(path, self.dl.after_item(self.dl.create_item(index)))
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a decoder or a transform raise
            return Unreadable(self._split, label, path, " ".join(f"{type(error).__name__}: {error}".split()))

    def collate(self, items: list[_Loaded | Unreadable | CleanerError]) -> _Traced:
        """A batch of those that could be read, beside their paths, and those that could not."""
        loaded = [item for item in items if isinstance(item, _Loaded)]
        return _Traced(
            paths=[item.path for item in loaded],
            unreadable=[item for item in items if isinstance(item, Unreadable)],
            batch=self.dl.do_batch([item.item for item in loaded]) if loaded else None,
            error=next((item for item in items if isinstance(item, CleanerError)), None),
        )

    def survey(self) -> set[str]:
        """The folders of the files. One label of each folder is looked up, so that a wrong class is found at once.

        Raises:
            CleanerError: an item has no file, or a label is not in the vocabulary.
        """
        folders: set[str] = set()
        for index in range(len(self)):
            folder = os.path.dirname(self._file(index))
            if folder not in folders:
                folders.add(folder)
                self.labels_seen.add(self._vocab[self._target(index)])
        return {os.path.abspath(folder) for folder in folders}

    def _file(self, index: int) -> str:
        """The file of a sample: the first path of an existing file on the way from the item to the image."""
        value = getattr(self._items, "iloc", self._items)[index]
        found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
        for step in self._steps:
            if found and os.path.isfile(found):
                break
            value = step(value)
            if not isinstance(value, (str, os.PathLike)):
                break
            found = os.fspath(value)
        if not found:
            raise CleanerError(
                f"item {index} of {self._split!r} is a {type(value).__name__} and no file; "
                "items that are paths, and rows from which get_x makes a path, are accepted"
            )
        return found

    def _target(self, index: int) -> int:
        """The index of a sample's label in the vocabulary."""
        try:
            return int(self.dl.dataset.tls[1][index])
        except Exception as error:
            reason = " ".join(str(part) for part in error.args)
            raise CleanerError(
                f"the label of {self._file(index)!r} cannot be used: {reason}; "
                f"the learner knows {', '.join(self._vocab[:20])}. Move the file to one of these classes, "
                "or train the learner with the new one"
            ) from error


class _TracedLoader:
    """A fastai loader as the learner's loop iterates it, with the paths of the batch that it yielded last.

    Reading and collating are fastai's own (`after_item`, `do_batch`, `after_batch`); what differs is that the path
    travels with the item, so that an unreadable item takes its path along and is reported.
    """

    def __init__(self, files: _Files, consume: Callable[[ScoredBatch], None]) -> None:
        self.files = files
        self.current = _Traced([], [], None)
        self.seen = 0
        self._consume = consume

    def take(self, batch: ScoredBatch) -> None:
        """Count a scored batch and pass it on."""
        self.seen += len(batch.paths) + len(batch.unreadable)
        self._consume(batch)

    def __getattr__(self, name: str) -> Any:
        # Callbacks may ask the loader of their learner for whatever a fastai loader has.
        if name == "files":
            raise AttributeError(name)
        return getattr(self.files.dl, name)

    def __len__(self) -> int:
        batch_size: int = self.files.dl.bs
        return -(-len(self.files) // batch_size)

    def __iter__(self) -> Iterator[Any]:
        dl = self.files.dl
        dl.before_iter()
        workers = dl.fake_l.num_workers
        batches = DataLoader(self.files, dl.bs, num_workers=workers, collate_fn=self.files.collate)
        for self.current in batches:
            if self.current.error:
                raise self.current.error
            if self.current.batch is None:
                nothing = np.empty(0)
                integers = nothing.astype(np.int64)
                self.take(ScoredBatch([], integers, nothing, integers, nothing, self.current.unreadable))
                continue
            batch = self.current.batch if dl.device is None else to_device(self.current.batch, dl.device)
            yield dl.after_batch(batch)
        dl.after_iter()


class _Gather(Callback):  # type: ignore[misc]
    """Takes what a scan needs out of each batch of the learner's loop, and lets go of the batch."""

    order = 1000  # after callbacks that change the prediction or the loss

    def __init__(self, loader: _TracedLoader, n_classes: int) -> None:
        self.loader, self.n_classes = loader, n_classes

    def __call__(self, event_name: str) -> None:
        # Not fastai's dispatch, which rewrites the message of whatever is raised here.
        if event_name == "after_loss":
            self.take()

    def take(self) -> None:
        current, loss_func = self.loader.current, self.learn.loss_func
        prediction, target = self.learn.pred.detach(), self.learn.yb[0].detach()
        _check_shapes(prediction, target, len(current.paths), self.n_classes)
        confidences, predicted = _probabilities(prediction, loss_func).max(dim=-1)
        losses = _per_sample(self.learn.loss.detach(), prediction, target, loss_func)
        self.loader.take(
            ScoredBatch(
                current.paths,
                _to_numpy(target, np.int64),
                _to_numpy(losses, np.float64),
                _to_numpy(predicted, np.int64),
                _to_numpy(confidences, np.float64),
                current.unreadable,
            )
        )


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


def _per_sample(loss: Tensor, prediction: Tensor, target: Tensor, loss_func: Callable[..., Tensor]) -> Tensor:
    """One loss per sample, [n]; a function that reduces whatever it is told is asked about each sample alone."""
    n = len(target)
    if loss.numel() == n:
        return loss.reshape(n)
    if loss.numel() > n and loss.numel() % n == 0:
        return loss.reshape(n, -1).mean(dim=1)
    return torch.stack([loss_func(prediction[i : i + 1], target[i : i + 1]).reshape(()) for i in range(n)])


def _probabilities(prediction: Tensor, loss_func: Callable[..., Tensor]) -> Tensor:
    """Probabilities [n, n_classes]: by the loss's own activation as in `get_preds`, or softmax where it has none."""
    activation = getattr(loss_func, "activation", None)
    return torch.softmax(prediction.float(), dim=-1) if activation is None else activation(prediction)


def _to_numpy(values: Tensor, dtype: type) -> Any:
    # `as_subclass`: fastai's tensor types would dispatch every operation.
    return values.as_subclass(Tensor).cpu().numpy().astype(dtype)


def _check_shapes(prediction: Any, target: Any, n: int, n_classes: int) -> None:
    got = tuple(getattr(prediction, "shape", ()))
    if got != (n, n_classes) or tuple(target.shape) != (n,):
        raise CleanerError(
            f"the model's output has shape {got} and the target {tuple(target.shape)} for {n} images and {n_classes} "
            "classes; a model with one output a class and a target of one label an image is accepted"
        )


def vocab_of(learn: Learner) -> tuple[str, ...]:
    """The labels of a learner as text, in the order of the model's outputs.

    Raises:
        CleanerError: there is none, or two labels are the same text, or there is but one.
    """
    vocab = getattr(learn.dls, "vocab", None)
    if vocab is None or any(isinstance(label, (list, tuple)) or hasattr(label, "o2i") for label in vocab):
        raise CleanerError("the learner has no single vocabulary; learners that classify images are accepted")
    labels = tuple(str(label) for label in vocab)
    if len(set(labels)) != len(labels):
        raise CleanerError(f"the learner's labels {labels} are not different as text; rename one")
    if len(labels) < 2:
        raise CleanerError(f"the learner knows one class, {list(labels)}; with fewer than two every loss is 0")
    return labels


def _check_learner(learn: Any) -> None:
    if not isinstance(learn, Learner):
        raise CleanerError(f"a {type(learn).__name__} came; a fastai Learner is accepted")
    dataset = getattr(getattr(learn, "dls", None), "valid_ds", None)
    if not isinstance(dataset, Datasets) or len(dataset.tls) != 2:
        raise CleanerError(
            f"the learner's data is a {type(dataset).__name__}; data loaders made with fastai's ImageDataLoaders or "
            "DataBlock, of images with one label each, are accepted"
        )
    if any(isinstance(step, (MultiCategorize, RegressionSetup)) for step in dataset.tls[1].tfms.fs):
        raise CleanerError("the learner gives several labels or a number to an image; one label an image is accepted")


def _items_of(learn: Learner, split: str) -> Any:
    if split not in _LOADERS:
        raise CleanerError(f"there is no split {split!r}; a learner has {list(_LOADERS)}")
    items = learn.dls[_LOADERS[split]].dataset.items
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
