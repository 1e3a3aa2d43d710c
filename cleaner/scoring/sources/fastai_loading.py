"""Reading the images of a fastai dataset, each with its path, as batches for the learner's own loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from fastai.torch_core import to_device
from fastai.vision.augment import Resize
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import image_files, relative_path
from cleaner.core.records import ScoredBatch, ScoredLabels, Unreadable
from cleaner.core.tasks import ALL_IMAGES, OTHER
from cleaner.scoring.sources import Wanted
from cleaner.scoring.sources.fastai_targets import Targets
from cleaner.scoring.sources.held import Held

__all__ = [
    "SPLIT_FOLDERS",
    "Files",
    "FolderItems",
    "Items",
    "OwnItems",
    "Traced",
    "TracedLoader",
    "again",
    "every",
    "with_copies",
]

SPLIT_FOLDERS = ("train", "valid", "test")

# Images from all over a split, to see in what ranges the values of a model lie.
_SPREAD = 16

Key = Any


class Items(Protocol):
    """The items of one split, in a fixed order. What names an item is its key, which goes to the worker processes."""

    def keys(self) -> Iterator[Key]:
        """The keys of all items, in order."""

    def sample_items(self) -> Any:
        """What fastai is to make its dataset of; for what is only walked, one item, to see of what type it is."""

    def item(self, key: Key) -> Any:
        """The item of a key, in the form that the learner's transforms take."""

    def file(self, key: Key) -> str:
        """The file of a key where that needs no look at the item; else an empty text."""

    def sample(self, dl: Any, key: Key) -> Any:
        """The item with its item transforms applied, as fastai's own dataset gives it."""


@dataclass(frozen=True)
class OwnItems:
    """The items of one of the learner's own datasets; a key is an index."""

    items: Any

    def keys(self) -> Iterator[Key]:
        return iter(range(len(self.items)))

    def sample_items(self) -> Any:
        return self.items

    def item(self, key: Key) -> Any:
        return getattr(self.items, "iloc", self.items)[key]

    def file(self, _key: Key) -> str:
        return ""

    def sample(self, dl: Any, key: Key) -> Any:
        return dl.create_item(key)


@dataclass(frozen=True)
class FolderItems:
    """The image files below a folder, walked each time, so that no list of them stands in memory; keys are paths.

    Attributes:
        root: the dataset's folder.
        split: the files below the folder of that name, or, for `all`, those below none of `SPLIT_FOLDERS`.
    """

    root: Path
    split: str

    def keys(self) -> Iterator[Key]:
        folder = self.root if self.split == "all" else self.root / self.split
        if not folder.is_dir():
            return iter(())
        return (path for path in image_files(folder) if split_of(path, self.root) == self.split)

    def sample_items(self) -> Any:
        return [self.item(key) for key in islice(self.keys(), 1)]

    def item(self, key: Key) -> Any:
        return Path(key)

    def file(self, key: Key) -> str:
        return str(key)

    def sample(self, dl: Any, key: Key) -> Any:
        return tuple(pipeline.tfms(self.item(key)) for pipeline in dl.dataset.tls)


def split_of(path: str, root: Path) -> str:
    """The split that an image belongs to by the name of the folder at the top."""
    parts = path[len(os.path.join(root, "")) :].split(os.sep)
    return parts[0] if len(parts) > 2 and parts[0] in SPLIT_FOLDERS else "all"


class Survey(NamedTuple):
    """What is known of a split before any image is read."""

    n: int
    folders: set[str]
    labels: set[str]


class _Loaded(NamedTuple):
    """An item as it comes out of a worker process."""

    path: str
    item: Any


class Traced(NamedTuple):
    """A collated batch and whose it is; `error` is what forbids to go on, `collated` a copy that nobody changes."""

    paths: list[str]
    unreadable: list[Unreadable]
    batch: Any
    error: CleanerError | None = None
    collated: tuple[Tensor, Tensor] | None = None


class Files(Dataset[Any]):
    """The items of a split with their files; what is pickled into worker processes.

    Args:
        dl: a fastai loader with the validation transforms.
        items: the items.
        split: name of the split.
        targets: what the targets of the items are.
        reduced: decode JPEG files at 1/2, 1/4 or 1/8 of their size where that leaves the pixels that the learner needs.
    """

    def __init__(self, dl: Any, items: Items, split: str, targets: Targets, reduced: bool = False) -> None:
        self.dl = dl
        self.items = items
        self._least = _pixels_needed(dl) if reduced else 0
        self.root = Path()
        self._split = split
        self._targets = targets
        self._steps = list(dl.dataset.tls[0].tfms.fs)
        self._opener: tuple[int, Any] | None = None
        self._spread: list[Key] = []

    def __getitem__(self, key: Key) -> _Loaded | Unreadable | CleanerError:
        try:
            try:
                path = self.path(key)
            except FieldError as error:
                return Unreadable(self._split, self.label(key), self.name(key), str(error))
            return self._read(key, path)
        except CleanerError as error:
            # Raised in a worker process it would come out with a traceback for a message.
            return error

    def collate(self, items: list[_Loaded | Unreadable | CleanerError]) -> Traced:
        """A batch of those that could be read, beside their paths, and those that could not."""
        loaded = [item for item in items if isinstance(item, _Loaded)]
        return Traced(
            [item.path for item in loaded],
            [item for item in items if isinstance(item, Unreadable)],
            *self._collated([item for item in items if not isinstance(item, Unreadable)]),
        )

    def _collated(self, items: list[_Loaded | CleanerError]) -> tuple[Any, CleanerError | None]:
        """The batch, if there is anything to make it of, and what forbids to go on."""
        loaded = []
        for item in items:
            if isinstance(item, CleanerError):
                return None, item
            loaded.append(item)
        try:
            return (self.dl.do_batch([item.item for item in loaded]) if loaded else None), None
        except Exception as error:  # noqa: BLE001 - it is raised in the main process, with a message
            shapes = sorted({str(tuple(getattr(item.item[0], "shape", ()))) for item in loaded})
            return None, CleanerError(
                f"the images of a batch cannot be put together, {loaded[0].path!r} and others: their shapes are "
                f"{', '.join(shapes[:5])}. Train the learner with item_tfms=Resize(...), which makes them equal, "
                f"or score one at a time with a batch size of 1 ({type(error).__name__})"
            )

    def survey(self) -> Survey:
        """Count the items and look up one label of each folder, so that a wrong class is found at once.

        Raises:
            CleanerError: an item has no file, or a label is not in the vocabulary.
        """
        count, folders, labels = 0, set[str](), set[str]()
        random = Random(0)  # noqa: S311 - which images are looked at is no secret
        for key in self.items.keys():  # noqa: SIM118 - not a dictionary
            count += 1
            place = count - 1 if count <= _SPREAD else random.randrange(count)
            if place < _SPREAD:
                self._spread[place:] = [key, *self._spread[place + 1 :]]
            folder = os.path.dirname(self._file(key))
            if folder not in folders:
                folders.add(folder)
                labels.add(self.label(key))
        return Survey(count, {os.path.abspath(folder) for folder in folders}, labels)

    def spread_batch(self) -> Any:
        """A batch of images from all over the split, as `survey` came by them; None if none can be read.

        The first batch of a folder is all of one class, which is not what the values of a model look like.
        """
        batch = self.collate([self[key] for key in self._spread]).batch
        if batch is None:
            return None
        return self.dl.after_batch(to_device(batch, self.dl.device or torch.device("cpu")))

    def path(self, key: Key) -> str:
        """The path of an item's file, relative to the dataset's folder.

        Raises:
            CleanerError: there is none, or it is outside of the folder.
        """
        return relative_path(self._file(key), self.root)

    def name(self, key: Key) -> str:
        """The path of an item's file, or, where that cannot be written down, something like its name."""
        try:
            return self.path(key)
        except FieldError:
            relative = os.path.relpath(self._file(key), self.root)
            return relative.encode("utf-8", "backslashreplace").decode()

    def sample(self, key: Key) -> Any:
        """The input and the target of an item, with the item transforms applied."""
        # The two steps of fastai's `do_item`, which hides what it drops.
        sample = self._reduced_sample(key) if self._least else self.items.sample(self.dl, key)
        return self.dl.after_item(sample)

    def _read(self, key: Key, path: str) -> _Loaded | Unreadable:
        try:
            return _Loaded(path, self.sample(key))
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a decoder or a transform raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return Unreadable(self._split, self.label(key), path, reason)

    def _reduced_sample(self, key: Key) -> Any:
        """As `Items.sample` gives it, but for the number of pixels."""
        opening, image_type = self._opening(key)
        with Image.open(self._file(key)) as file:
            file.draft("RGB", (self._least, self._least))
            value = image_type(file.convert(image_type._open_args["mode"]))
        for step in self._steps[opening + 1 :]:
            value = step(value, split_idx=1)
        return value, self.dl.dataset.tls[1].tfms(self.items.item(key))

    def _opening(self, key: Key) -> tuple[int, Any]:
        """Which of the steps opens the image, and as what; the same for all items."""
        if self._opener is None:
            value = self.items.item(key)
            for number, step in enumerate(self._steps):
                value = step(value)
                if isinstance(value, Image.Image):
                    self._opener = number, type(value)
                    break
            else:
                raise CleanerError("reduced decoding is for learners whose items are images that Pillow opens")
        return self._opener

    def _file(self, key: Key) -> str:
        """The file of an item: the first path of an existing file on the way from the item to the image."""
        if known := self.items.file(key):
            return known
        value = self.items.item(key)
        found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
        for step in self._steps:
            if found and os.path.isfile(found):
                break
            try:
                value = step(value)
            except OSError:
                break  # a file that is gone: the step was the one that opens it
            if not isinstance(value, (str, os.PathLike)):
                break
            found = os.fspath(value)
        if not found:
            raise CleanerError(
                f"an item of {self._split!r} is a {type(value).__name__} and no file; "
                "items that are paths, and rows from which get_x makes a path, are accepted"
            )
        return found

    def label(self, key: Key) -> str:
        """The label of an item; with several labels all of them, joined."""
        if self._targets.task == OTHER:
            return ALL_IMAGES  # a target that cannot be read is no label either
        try:
            return self.label_of_target(self.dl.dataset.tls[1].tfms(self.items.item(key)))
        except Exception as error:
            reason = " ".join(str(part) for part in error.args)
            raise CleanerError(
                f"the label of {self._file(key)!r} cannot be used: {reason}; "
                f"the learner knows {', '.join(self._targets.vocab[:20])}. Move the file to one of these classes, "
                "or train the learner with the new one"
            ) from error

    def label_of_target(self, target: Any) -> str:
        """The label, or the labels joined, that a target stands for."""
        return self._targets.label_of(target)


def _pixels_needed(dl: Any) -> int:
    """The longer side, in pixels, of what the learner makes of an image."""
    sizes = [step.size for step in dl.after_item.fs if isinstance(step, Resize)]
    if not sizes:
        raise CleanerError(
            "reduced decoding needs a learner with item_tfms=Resize(...), to know how many pixels it needs"
        )
    return int(max(sizes[0]))


class TracedLoader:
    """A fastai loader as the learner's loop iterates it, with the paths of the batch that it yielded last.

    Reading and collating are fastai's own (`after_item`, `do_batch`, `after_batch`); what differs is that the path
    travels with the item, so that an unreadable item takes its path along and is reported.

    Args:
        files: the split.
        count: number of samples that will come, for those who ask for the length.
        batches: what to iterate, as `every` and `again` give it.
        take: takes each scored batch, and what it was made of.

    Attributes:
        settle: called before a batch without any image is taken, so that batches are taken in order.
    """

    def __init__(
        self,
        files: Files,
        count: int,
        batches: Iterable[Traced],
        take: Callable[[ScoredBatch | ScoredLabels, Traced], None],
    ) -> None:
        self.files = files
        self.current = Traced([], [], None)
        self.seen = 0
        self._count = count
        self._batches = batches
        self._take = take
        self.settle: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        # Callbacks may ask the loader of their learner for whatever a fastai loader has.
        if name == "files":
            raise AttributeError(name)
        return getattr(self.files.dl, name)

    def __len__(self) -> int:
        batch_size: int = self.files.dl.bs
        return -(-self._count // batch_size)

    def __iter__(self) -> Iterator[Any]:
        dl = self.files.dl
        for traced in self._batches:
            self.current = traced
            if traced.error:
                raise traced.error
            if traced.batch is None:
                self.settle()
                nothing = np.empty(0)
                integers = nothing.astype(np.int64)
                self.take(ScoredBatch([], integers, nothing, integers, nothing, traced.unreadable), traced)
                continue
            # Out of pinned memory the copy to a GPU goes on while the one before is scored.
            device = torch.device("cpu") if dl.device is None else dl.device
            yield dl.after_batch(to_device(traced.batch, device, non_blocking=True))
        dl.after_iter()

    def take(self, batch: ScoredBatch | ScoredLabels, traced: Traced) -> None:
        """Count a scored batch and pass it on."""
        self.seen += len(batch.paths) + len(batch.unreadable)
        self._take(batch, traced)


def every(files: Files, skip: int, workers: int | None) -> Iterator[Traced]:
    """All samples but the first `skip`, read by `workers` processes, by default as many as there are cores.

    The keys are handed out as they are needed: nothing here grows with the number of samples. Where the model is what
    takes time, the workers mostly wait, and fewer were measured to be no quicker.
    """
    return _read(files, islice(files.items.keys(), skip, None), workers)


def again(files: Files, only: Wanted, held: Held, workers: int | None) -> Iterator[Traced]:
    """The samples that `only` asks for: those that are held as they are, the others read."""
    for paths, batch in held.batches(only, files.dl.bs, files.label_of_target):
        yield Traced(paths, [], batch)

    def is_wanted(key: Key) -> bool:
        name = files.name(key)
        return name not in held and only(name, lambda: files.label(key))

    rest = filter(is_wanted, files.items.keys())
    first = list(islice(rest, 1))
    if first:  # workers are started for something only
        yield from _read(files, chain(first, rest), workers)


def with_copies(batches: Iterable[Traced]) -> Iterator[Traced]:
    """Beside each batch a copy of what was collated, since a transform may change it in place."""
    for traced in batches:
        batch = traced.batch
        if isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
            yield traced._replace(collated=(batch[0].clone(), batch[1].clone()))
        else:
            yield traced


def _read(files: Files, keys: Iterator[Key], workers: int | None) -> Iterator[Traced]:
    """Batches of the items of `keys`; the workers begin at once, not when the first batch is asked for."""
    files.dl.before_iter()  # tells the transforms, of which the workers get copies, that this is no training
    loader = DataLoader(
        files,
        batch_sampler=_Batches(keys, files.dl.bs),
        num_workers=_cores() if workers is None else workers,
        collate_fn=files.collate,
        worker_init_fn=_yield_to_model,
        pin_memory=getattr(files.dl.device, "type", "cpu") == "cuda",
    )
    return iter(loader)


def _yield_to_model(_worker: int) -> None:
    """Let the threads of the model go first: those of one layer wait for each other, images are read ahead."""
    if hasattr(os, "nice"):
        os.nice(10)


def _cores() -> int:
    """Cores that this process may use, at most as many as fastai takes."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class _Batches:
    """Keys in lists of `size`, taken from an iterator as they are asked for."""

    def __init__(self, keys: Iterator[Key], size: int) -> None:
        self._keys, self._size = keys, size

    def __iter__(self) -> Iterator[list[Key]]:
        while batch := list(islice(self._keys, self._size)):
            yield batch
