"""Reading the samples of a split in worker processes, each with its path, whatever kind of dataset they are of."""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from itertools import chain, islice
from multiprocessing import active_children
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import RefusedFile, relative_path
from cleaner.core.records import ScoredBatch, Unreadable
from cleaner.core.safe_images import check_image, within_bounds
from cleaner.scoring.fatal_files import LostReaderError, ReadingNotes
from cleaner.scoring.sources import Wanted
from cleaner.scoring.sources.held import Held

__all__ = [
    "SPREAD",
    "Key",
    "Loaded",
    "Reader",
    "Traced",
    "again",
    "every",
    "guarded",
    "lost_workers",
    "nothing_scored",
    "prepare_worker",
    "read_ahead",
    "these",
    "with_copies",
]

SPREAD = 16
"""Images from all over a split, to see in what ranges the values of a model lie."""

# Where Linux keeps what passes between processes.
_SHARED = "/dev/shm"  # noqa: S108 - it is only measured
# Batches that all workers together read ahead at least, and that each of them does by default.
_AHEAD, _AHEAD_EACH = 8, 2
# Bytes of an image that is large for a model; what is read without being resized may be larger.
_LARGE_IMAGE = 3 * 512 * 512 * 4

Key = Any


class Loaded(NamedTuple):
    """A sample as it comes out of a worker process."""

    path: str
    item: Any


class Traced(NamedTuple):
    """A collated batch and whose it is; `error` is what forbids to go on, `collated` a copy that nobody changes."""

    paths: list[str]
    unreadable: list[Unreadable]
    batch: Any
    error: CleanerError | None = None
    collated: tuple[Tensor, Tensor] | None = None


class Reader(Dataset[Any]):
    """The samples of a split with their files; what is pickled into worker processes.

    What names a sample is its key, which goes to the worker processes. A kind of dataset says what its samples are.

    Args:
        split: name of the split.
        vocab: the labels.

    Attributes:
        root: the dataset's folder, to which paths are relative.
        spread: keys from all over the split, at most `SPREAD`.
        advice: what to do about images of different shapes, for people.
        fatal: why the files of these paths are not read: reading them ends the process.
        notes: where each process notes the batch that it is going to read; None for nowhere.
    """

    advice: str

    def __init__(self, split: str, vocab: tuple[str, ...]) -> None:
        self.root = Path()
        self.spread: list[Key] = []
        self.fatal: dict[str, str] = {}
        self.notes: ReadingNotes | None = None
        self._split = split
        self._vocab = vocab

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Samples in a batch."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the batches will go."""

    @abstractmethod
    def keys(self) -> Iterator[Key]:
        """The keys of all samples, in order."""

    @abstractmethod
    def listing(self) -> Callable[[], Iterator[Key]]:
        """What gives the keys of all samples, in order; small enough to be sent to another machine."""

    @abstractmethod
    def file(self, key: Key) -> str:
        """The file of a sample, as it is opened."""

    @abstractmethod
    def label(self, key: Key) -> str:
        """The label of a sample, by the quickest way to know it."""

    @abstractmethod
    def sample(self, key: Key) -> Any:
        """The sample, ready to be put into a batch: inputs and target."""

    @abstractmethod
    def put_together(self, samples: list[Any]) -> Any:
        """Samples as a batch: inputs [n, ...] and targets [n]."""

    def before_reading(self) -> None:
        """Called before workers get their copies."""

    def begin_work(self) -> None:
        """Called in each worker before it reads; what is changed there is seen by nobody else."""

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        """By what key to read the sample; meanwhile its file is on this machine."""
        return nullcontext(key)

    def label_of_unreadable(self, key: Key) -> str:
        """The label of a sample whose file cannot be read."""
        return self.label(key)

    def label_of_target(self, target: Any) -> str:
        """The label that a target, the index of a class, stands for."""
        return self._vocab[int(target)]

    def __getitems__(self, keys: list[Key]) -> list[Loaded | Unreadable | CleanerError]:
        """Read the samples of a batch; torch's loader calls this where a dataset has it."""
        if self.notes is not None:
            self.notes.write(self._split, keys)
        return [self[key] for key in keys]

    def __getitem__(self, key: Key) -> Loaded | Unreadable | CleanerError:
        try:
            file = self.file(key)
            try:
                path = relative_path(file, self.root)
            except FieldError as error:
                return Unreadable(self._split, self.label_of_unreadable(key), self.name(key), str(error))
            if path in self.fatal:
                return Unreadable(self._split, self.label_of_unreadable(key), path, self.fatal[path])
            return self._read(key, file, path)
        except CleanerError as error:
            # Raised in a worker process it would come out with a traceback for a message.
            return error

    def collate(self, items: list[Loaded | Unreadable | CleanerError]) -> Traced:
        """A batch of those that could be read, beside their paths, and those that could not."""
        loaded = [item for item in items if isinstance(item, Loaded)]
        return Traced(
            [item.path for item in loaded],
            [item for item in items if isinstance(item, Unreadable)],
            *self._collated([item for item in items if not isinstance(item, Unreadable)]),
        )

    def path(self, key: Key) -> str:
        """The path of a sample's file, relative to the dataset's folder.

        Raises:
            CleanerError: there is none, or it is outside of the folder.
        """
        return relative_path(self.file(key), self.root)

    def name(self, key: Key) -> str:
        """The path of a sample's file, or, where that cannot be written down, something like its name."""
        try:
            return self.path(key)
        except FieldError:
            relative = os.path.relpath(self.file(key), self.root)
            return relative.encode("utf-8", "backslashreplace").decode()

    def wanted(self, only: Wanted | None) -> Iterator[Key]:
        """The keys of the samples that `only` asks for, by default of all."""
        return (key for key in self.keys() if only is None or only(self.name(key), partial(self.label, key)))

    def spread_batch(self) -> Any:
        """A batch of images from all over the split; None if none can be read.

        The first batch of a folder is all of one class, which is not what the values of a model look like.
        """
        return self.collate(self.__getitems__(self.spread)).batch

    def _read(self, key: Key, file: str, path: str) -> Loaded | Unreadable:
        copy = file
        try:
            with self.fetched(key) as here:
                copy = file if here is key else self.file(here)
                with guarded(copy):
                    return Loaded(path, self.sample(here))
        except RefusedFile as error:
            return Unreadable(self._split, self.label_of_unreadable(key), path, error.strerror or "")
        except CleanerError:
            raise  # not the fault of a file
        except Exception as error:  # noqa: BLE001 - whatever a broken file makes a decoder or a transform raise
            reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(copy, file)
            return Unreadable(self._split, self.label_of_unreadable(key), path, reason)

    def _collated(self, items: list[Loaded | CleanerError]) -> tuple[Any, CleanerError | None]:
        """The batch, if there is anything to make it of, and what forbids to go on."""
        loaded = []
        for item in items:
            if isinstance(item, CleanerError):
                return None, item
            loaded.append(item)
        try:
            return (self.put_together([item.item for item in loaded]) if loaded else None), None
        except Exception as error:  # noqa: BLE001 - it is raised in the main process, with a message
            shapes = sorted({str(tuple(getattr(item.item[0], "shape", ()))) for item in loaded})
            return None, CleanerError(
                f"the images of a batch cannot be put together, {loaded[0].path!r} and others: their shapes are "
                f"{', '.join(shapes[:5])}. {self.advice}, "
                f"or score one at a time with a batch size of 1 ({type(error).__name__})"
            )


@contextmanager
def guarded(file: str) -> Iterator[None]:
    """With a file checked, and Pillow opening nothing that may do harm, for code of others that reads the file.

    Raises:
        RefusedFile: see `check_image`.
    """
    check_image(file)
    with within_bounds():
        yield


def every(reader: Reader, skip: int, workers: int | None) -> Iterator[Traced]:
    """All samples but the first `skip`, read by `workers` processes, by default as many as there are cores.

    The keys are handed out as they are needed: nothing here grows with the number of samples. Where the model is what
    takes time, the workers mostly wait, and fewer were measured to be no quicker.
    """
    return _read(reader, islice(reader.keys(), skip, None), workers)


def these(reader: Reader, keys: Iterable[Key], workers: int | None) -> Iterator[Traced]:
    """The samples of some keys."""
    return _read(reader, iter(keys), workers)


def again(reader: Reader, only: Wanted, held: Held, workers: int | None) -> Iterator[Traced]:
    """The samples that `only` asks for: those that are held as they are, the others read."""
    for paths, batch in held.batches(only, reader.batch_size, reader.label_of_target):
        yield Traced(paths, [], batch)

    def is_wanted(key: Key) -> bool:
        name = reader.name(key)
        return name not in held and only(name, lambda: reader.label(key))

    rest = filter(is_wanted, reader.keys())
    first = list(islice(rest, 1))
    if first:  # workers are started for something only
        yield from _read(reader, chain(first, rest), workers)


def with_copies(batches: Iterable[Traced]) -> Iterator[Traced]:
    """Beside each batch a copy of what was collated, since a transform may change it in place."""
    for traced in batches:
        batch = traced.batch
        if isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
            yield traced._replace(collated=(batch[0].clone(), batch[1].clone()))
        else:
            yield traced


def read_ahead(workers: int, batch_size: int) -> int | None:
    """Batches that each worker reads ahead; None where there are no workers.

    Few workers read as many in all as four would, lest they wait while ways to run the model are tried, which took 4 %
    of the time of a scan of 1,000 photos. They read no further ahead than torch's do by default where what passes
    between processes may not fit, as in a container, or where nothing is known of how much does.
    """
    if not workers:
        return None
    room = shutil.disk_usage(_SHARED).free if os.path.isdir(_SHARED) else 0
    fits = 2 * _AHEAD * batch_size * _LARGE_IMAGE < room  # others put something there as well
    return max(_AHEAD_EACH, _AHEAD // workers) if fits else _AHEAD_EACH


def nothing_scored(unreadable: list[Unreadable]) -> ScoredBatch:
    """What is known of a batch of which no image could be read."""
    nothing = np.empty(0)
    integers = nothing.astype(np.int64)
    return ScoredBatch([], integers, nothing, integers, nothing, unreadable)


def _read(reader: Reader, keys: Iterator[Key], workers: int | None) -> Iterator[Traced]:
    """Batches of the samples of `keys`; the workers begin at once, not when the first batch is asked for."""
    reader.before_reading()
    workers = _cores() if workers is None else workers
    loader = DataLoader(
        reader,
        batch_sampler=_Batches(keys, reader.batch_size),
        num_workers=workers,
        prefetch_factor=read_ahead(workers, reader.batch_size),
        collate_fn=reader.collate,
        worker_init_fn=partial(prepare_worker, reader),
        pin_memory=reader.device.type == "cuda",
    )
    try:
        return _received(iter(loader))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        # Processes that are no copies of this one are sent the dataset, and each says in another way that it cannot be.
        if "pickle" not in str(error).lower():
            raise
        raise CleanerError(
            f"the dataset cannot be sent to the processes that read images ({error}); give it functions and "
            "classes of a module, none that are written within others, or read without such processes: workers=0"
        ) from error


def _received(batches: Iterator[Traced]) -> Iterator[Traced]:
    """The batches of workers; one that dies while it hands over a batch is told as one that dies at any other moment.

    A tensor comes by a connection to its worker, which breaks before torch has seen that the worker is gone.
    """
    try:
        yield from batches
    except (ConnectionError, EOFError) as error:
        # Torch raises an error when the worker is seen to have ended. It is let happen here: while the loader goes, as
        # below, it would break off halfway.
        with suppress(RuntimeError):
            wait([child.sentinel for child in active_children()], timeout=1)
        # What holds on to the loader goes first, so that the other workers end now and not when somebody lets go of
        # the error.
        error.with_traceback(None)
        del batches
        raise _lost(error) from error


def prepare_worker(reader: Reader, _worker: int) -> None:
    """Make a worker process ready to read."""
    if hasattr(os, "nice"):
        os.nice(10)  # the threads of the model go first: they wait for each other, and images are read ahead
    # Pillow's about images of half the pixels that are accepted.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # For as long as the process lives; around each image it then costs next to nothing.
    guards = ExitStack()
    guards.enter_context(within_bounds())
    atexit.register(guards.close)
    reader.begin_work()


@contextmanager
def lost_workers() -> Iterator[None]:
    """With an error for people where the system ends a worker process; torch raises its own at any moment."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _lost(error) from error


def _lost(error: Exception) -> LostReaderError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return LostReaderError(
        f"the system ended a process that reads images ({reason}), as it does where memory runs out or where a file "
        "gets shorter while it is read. The same command goes on with the scan; fewer --workers need less memory"
    )


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
