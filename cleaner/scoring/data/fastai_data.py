"""Reading the images of a fastai dataset, each with its path, as batches for the learner's own loop."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from fastai.torch_core import to_device
from fastai.vision import augment
from fastai.vision.augment import Resize
from PIL import Image

from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files
from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.safe_images import FORMATS
from cleaner.core.suffixes import SuffixCounts
from cleaner.core.tasks import ALL_IMAGES, OTHER
from cleaner.scoring.sources.fastai_targets import Targets
from cleaner.scoring.sources.loading import SPREAD, Key, Reader, Traced, guarded, nothing_scored

__all__ = [
    "SPLIT_FOLDERS",
    "Files",
    "FolderItems",
    "Items",
    "OwnItems",
    "TracedLoader",
    "leave_out_empty_padding",
]

SPLIT_FOLDERS = ("train", "valid", "test")


class Items(Protocol):
    """The items of one split, in a fixed order. What names an item is its key, which goes to the worker processes.

    Attributes:
        distinct: no file comes twice.
    """

    distinct: ClassVar[bool]

    def keys(self) -> Iterator[Key]:
        """The keys of all items, in order."""

    def listing(self) -> Callable[[], Iterator[Key]]:
        """What gives the keys of all items, in order; small enough to be sent to another machine."""

    def sample_items(self) -> Any:
        """What fastai is to make its dataset of; for what is only walked, one item, to see of what type it is."""

    def item(self, key: Key) -> Any:
        """The item of a key, in the form that the learner's transforms take."""

    def file(self, key: Key) -> str:
        """The file of a key where that needs no look at the item; else an empty text."""

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        """By what key to read the item; meanwhile its file is on this machine."""

    def target(self, dl: Any, key: Key) -> Any:
        """The target of the item, as fastai's own dataset gives it."""

    def sample(self, dl: Any, key: Key) -> Any:
        """The item with its item transforms applied, as fastai's own dataset gives it."""


@dataclass(frozen=True)
class OwnItems:
    """The items of one of the learner's own datasets; a key is an index."""

    items: Any
    distinct: ClassVar[bool] = False

    def keys(self) -> Iterator[Key]:
        return iter(range(len(self.items)))

    def listing(self) -> Callable[[], Iterator[Key]]:
        return partial(iter, range(len(self.items)))

    def sample_items(self) -> Any:
        return self.items

    def item(self, key: Key) -> Any:
        return getattr(self.items, "iloc", self.items)[key]

    def file(self, _key: Key) -> str:
        return ""

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        return nullcontext(key)

    def target(self, dl: Any, key: Key) -> Any:
        return dl.dataset.tls[1].tfms(self.item(key))

    def sample(self, dl: Any, key: Key) -> Any:
        return dl.create_item(key)


@dataclass(frozen=True)
class FolderItems:
    """The image files below a folder, walked each time, so that no list of them stands in memory; keys are paths.

    Attributes:
        root: the dataset's folder.
        split: the files below the folder of that name, or, for `all`, those below none of `SPLIT_FOLDERS`.
        left_out: how many files the last whole walk passed over, by suffix; see `image_files`.
    """

    root: Path
    split: str
    left_out: SuffixCounts = field(default_factory=SuffixCounts, compare=False, repr=False, kw_only=True)
    distinct: ClassVar[bool] = True

    def keys(self) -> Iterator[Key]:
        counts = SuffixCounts()

        def passed_over(path: str) -> None:
            if self._is_mine(path):
                counts.add(path)

        yield from filter(self._is_mine, self._walk(passed_over))
        self.left_out.clear()
        self.left_out.update(counts)

    def _walk(self, passed_over: Callable[[str], None]) -> Iterator[str]:
        """The image files below the folder of the split, and perhaps others; see `image_files`."""
        folder = self.root if self.split == "all" else self.root / self.split
        return image_files(folder, passed_over) if folder.is_dir() else iter(())

    def _is_mine(self, path: str) -> bool:
        return split_of(path, self.root) == self.split

    def listing(self) -> Callable[[], Iterator[Key]]:
        return self.keys

    def sample_items(self) -> Any:
        return [self.item(key) for key in islice(self.keys(), 1)]

    def item(self, key: Key) -> Any:
        return Path(key)

    def file(self, key: Key) -> str:
        return str(key)

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        return nullcontext(key)

    def target(self, dl: Any, key: Key) -> Any:
        return dl.dataset.tls[1].tfms(self.item(key))

    def sample(self, dl: Any, key: Key) -> Any:
        return tuple(pipeline.tfms(self.item(key)) for pipeline in dl.dataset.tls)


def split_of(path: str, root: Path) -> str:
    """The split that an image belongs to by the name of the folder at the top."""
    parts = path[len(os.path.join(root, "")) :].split(os.sep)
    return parts[0] if len(parts) > 2 and parts[0] in SPLIT_FOLDERS else "all"


class Survey(NamedTuple):
    """What is known of a split before any image is read; `repeated`: number of items with a file that came before."""

    n: int
    folders: set[str]
    labels: set[str]
    repeated: int


class Files(Reader):
    """The items of a split with their files.

    Args:
        dl: a fastai loader with the validation transforms.
        items: the items.
        split: name of the split.
        targets: what the targets of the items are.
        reduced: decode JPEG files at 1/2, 1/4 or 1/8 of their size where that leaves the pixels that the learner needs.
    """

    advice = "Train the learner with item_tfms=Resize(...), which makes them equal"

    def __init__(self, dl: Any, items: Items, split: str, targets: Targets, reduced: bool = False) -> None:
        super().__init__(split, targets.vocab)
        self._targets = targets
        self.dl = dl
        self.items = items
        self._least = _pixels_needed(dl) if reduced else 0
        self._steps = list(dl.dataset.tls[0].tfms.fs)
        self._opener: tuple[int, Any] | None = None

    @property
    def batch_size(self) -> int:
        return int(self.dl.bs)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dl.device is None else self.dl.device)

    def keys(self) -> Iterator[Key]:
        return self.items.keys()

    def listing(self) -> Callable[[], Iterator[Key]]:
        return self.items.listing()

    def before_reading(self) -> None:
        self.dl.before_iter()  # tells the transforms, of which the workers get copies, that this is no training

    def begin_work(self) -> None:
        leave_out_empty_padding()

    def put_together(self, samples: list[Any]) -> Any:
        return self.dl.do_batch(samples)

    def survey(self) -> Survey:
        """Count the items and look up a label of each folder, so that a wrong class is found at once.

        Raises:
            CleanerError: an item has no file, or a label is not in the vocabulary.
        """
        count, folders, labels = 0, set[str](), set[str]()
        hashes = array("q")
        random = Random(0)  # noqa: S311 - which images are looked at is no secret
        for key in self.keys():
            count += 1
            place = count - 1 if count <= SPREAD else random.randrange(count)
            if place < SPREAD:
                self.spread[place:] = [key, *self.spread[place + 1 :]]
            file = self.file(key)
            if not self.items.distinct:
                hashes.append(hash(file))
            folder = os.path.dirname(file)
            # Until there are two, since labels in the names of files are many in one folder.
            if folder not in folders or len(labels) < 2:
                folders.add(folder)
                labels.add(self.label(key))
        repeated = len(hashes) - len(np.unique(np.frombuffer(hashes, np.int64))) if hashes else 0
        return Survey(count, {os.path.abspath(folder) for folder in folders}, labels, repeated)

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        return self.items.fetched(key)

    def spread_batch(self) -> Any:
        batch = super().spread_batch()
        return None if batch is None else self.dl.after_batch(to_device(batch, self.device))

    def sample(self, key: Key) -> Any:
        # The two steps of fastai's `do_item`, which hides what it drops.
        return self.dl.after_item(self._reduced_sample(key) if self._least else self.items.sample(self.dl, key))

    def guarded_sample(self, key: Key) -> Any:
        """The sample of a file that is here, with what may do harm refused."""
        with guarded(self.file(key)):
            return self.sample(key)

    def label_of_target(self, target: Any) -> str:
        """The label, or the labels joined, that a target stands for."""
        return self._targets.label_of(target)

    def _reduced_sample(self, key: Key) -> Any:
        """As `Items.sample` gives it, but for the number of pixels."""
        opening, image_type = self._opening(key)
        with Image.open(self.file(key), formats=FORMATS) as file:
            file.draft("RGB", (self._least, self._least))
            value = image_type(file.convert(image_type._open_args["mode"]))
        for step in self._steps[opening + 1 :]:
            value = step(value, split_idx=1)
        return value, self.items.target(self.dl, key)

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

    def file(self, key: Key) -> str:
        """The file of an item: the first path on the way from the item to the image where there is one.

        That may be a named pipe, which the next step would open.
        """
        if known := self.items.file(key):
            return known
        value = self.items.item(key)
        found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
        for step in self._steps:
            if found and os.path.exists(found) and not os.path.isdir(found):
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
                "items that are paths, and rows from which get_x makes a path, are accepted. The review shows files, "
                "and decisions are about files: write the images to files, and make the learner's data of these"
            )
        return found

    def label(self, key: Key) -> str:
        """The label of an item; with several labels all of them, joined."""
        if self._targets.task == OTHER:
            return ALL_IMAGES  # a target that cannot be read is no label either
        try:
            return self.label_of_target(self.items.target(self.dl, key))
        except Exception as error:
            reason = " ".join(str(part) for part in error.args)
            raise CleanerError(
                f"the label of {self.file(key)!r} cannot be used: {reason}; "
                f"the learner knows {', '.join(self._vocab[:20])}. Move the file to one of these classes, "
                "or train the learner with the new one"
            ) from error


def leave_out_empty_padding() -> None:
    """Have fastai's `Resize` not pad an image by nothing, as it does with each that it crops or squishes.

    That copies the image up to three times, which was measured to take 0.9 of the 5.4 ms of reading a photo of
    500 x 375 pixels. It replaces a function of fastai's, and is for processes of our own.
    """
    pad = getattr(augment, "tvpad", None)
    if pad is not None:  # else another version of fastai pads in another way
        augment.tvpad = partial(_padded, pad)


def _padded(pad: Callable[..., Any], image: Any, padding: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    plain = isinstance(image, Image.Image) and image.mode in ("L", "RGB") and "transparency" not in image.info
    if plain and not any(padding):
        image.info = {}  # which padding would drop; the image is a part that was cut out for it
        return image
    return pad(image, padding, *args, **kwargs)


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
    travels with the item, so that an unreadable item takes its path along and is reported, and that worker processes
    leave out padding by nothing.

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
        return -(-self._count // self.files.batch_size)

    def __iter__(self) -> Iterator[Any]:
        dl = self.files.dl
        for traced in self._batches:
            self.current = traced
            if traced.error:
                raise traced.error
            if traced.batch is None:
                self.settle()
                self.take(nothing_scored(traced.unreadable), traced)
                continue
            # Out of pinned memory the copy to a GPU goes on while the one before is scored.
            yield dl.after_batch(to_device(traced.batch, self.files.device, non_blocking=True))
        dl.after_iter()

    def take(self, batch: ScoredBatch | ScoredLabels, traced: Traced) -> None:
        """Count a scored batch and pass it on."""
        self.seen += len(batch.paths) + len(batch.unreadable)
        self._take(batch, traced)
