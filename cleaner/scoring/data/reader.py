"""The `Dataset` contract, and reading its samples in worker processes: each sample travels with its path."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import pickle
import shutil
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from multiprocessing import active_children
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from PIL import Image

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.files import RefusedFile, relative_path
from cleaner.core.reading_notes import ReadingNotes
from cleaner.core.records import Unreadable
from cleaner.core.safe_images import check_image, within_bounds
from cleaner.core.terminal import printable
from cleaner.core.workers import cores, processes_fork
from cleaner.scoring.fatal_files import LostReaderError

__all__ = [
    "SPREAD",
    "Dataset",
    "Key",
    "LoadedSample",
    "PathBatch",
    "SampleFilter",
    "default_workers",
    "guarded",
    "lost_workers",
    "no_collection_in_forks",
    "prefetch_factor",
    "prepare_worker",
    "read",
]

SPREAD = 16
"""Number of samples from all over a split that show the value ranges inside a model."""

# Where Linux keeps what passes between processes.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only its free space is read
# Batches that all workers together read ahead at least; torch's default for one worker.
_MIN_BATCHES_AHEAD, _BATCHES_AHEAD_PER_WORKER = 8, 2
# Bytes of a large model input; images that are not resized may be larger.
_LARGE_IMAGE = 3 * 512 * 512 * 4

_log = logging.getLogger("cleaner")

Key = Any
SampleFilter = Callable[[str, Callable[[], str]], bool]
"""Decides whether to score a sample, by its path and a function that looks up its label. The lookup takes time."""


class LoadedSample(NamedTuple):
    path: str
    sample: Any


@dataclass(frozen=True)
class PathBatch:
    """A batch as it was read.

    Attributes:
        paths: the paths of its samples, in order.
        unreadable: the samples that could not be read.
        data: what `Dataset.collate` returned; None if no sample could be read.
        seconds: time for an image, by all readers together.
    """

    paths: list[str]
    unreadable: list[Unreadable]
    data: Any
    seconds: float = 0.0

    def pin_memory(self) -> PathBatch:
        """Return the batch in memory from which a GPU copies asynchronously; torch's loader calls this.

        Tuples stay tuples, which fastai's batch transforms ask for; the loader of torch < 2.10 makes lists of them.
        """
        return replace(self, data=_pinned(self.data))


class Dataset(ABC):
    """The samples of one split, each named by a key that survives JSON. Worker processes get a copy.

    Args:
        split: name of the split.
        vocab: labels in the order of the model's outputs.
        batch_size: samples in a batch.

    Attributes:
        root: the dataset's folder; paths are relative to it.
        count: number of samples, readable or not.
        repeated: number of samples whose file an earlier sample has.
        spread: keys from all over the split, at most `SPREAD`.
        fatal: paths that are not read, with the reason: reading them ends the process.
        notes: where each process notes the batch that it is about to read; None for no notes.
        collate_advice: what to do about images of different shapes, for the error message.
    """

    collate_advice: str

    def __init__(self, split: str, vocab: tuple[str, ...], batch_size: int) -> None:
        self.split, self.vocab, self.batch_size = split, vocab, batch_size
        self.root = Path()
        self.count = 0
        self.repeated = 0
        self.spread: list[Key] = []
        self.fatal: dict[str, str] = {}
        self.notes: ReadingNotes | None = None

    @abstractmethod
    def listing(self) -> Callable[[], Iterator[Key]]:
        """Return a function that yields all keys in order; it is small when pickled."""

    @abstractmethod
    def file(self, key: Key) -> str:
        """Return the absolute path of a sample's file."""

    @abstractmethod
    def label(self, key: Key) -> str:
        """Return the label of a sample, without its image where possible; several labels are joined."""

    @abstractmethod
    def sample(self, key: Key) -> Any:
        """Read a sample, ready to be collated: input and target."""

    @abstractmethod
    def collate(self, samples: list[Any]) -> Any:
        """Collate samples: inputs [n, ...] and targets [n, ...]."""

    def keys(self) -> Iterator[Key]:
        """Yield all keys, in a fixed order."""
        return self.listing()()

    def prepare_reading(self) -> None:  # noqa: B027 - most kinds need none
        """Prepare for validation; called before workers get their copies."""

    def for_readers(self) -> Dataset:
        """Return the dataset as reader processes need it, without tensors on a device: each would start a GPU."""
        return self

    def prepare_worker(self) -> None:  # noqa: B027 - as above
        """Prepare a worker process; nothing outside that process changes."""

    def fetched(self, key: Key) -> AbstractContextManager[Key]:
        """Bring a sample's file to this machine; gives the key by which to read it."""
        return nullcontext(key)

    def label_if_unreadable(self, key: Key) -> str:
        """Return the label of a sample whose file cannot be read."""
        return self.label(key)

    def listed_label(self, key: Key) -> str:
        """Return the label of a sample if that is known without reading it, else an empty text."""
        return self.label(key)

    def path(self, key: Key) -> str:
        """Return a sample's path relative to the root.

        Raises:
            FieldError: the file is outside of the root, or its name cannot be written to a scan.
        """
        return relative_path(self.file(key), self.root)

    def name(self, key: Key) -> str:
        """Return a sample's path, or a readable stand-in if the path is not valid in a scan."""
        try:
            return self.path(key)
        except FieldError:
            relative = os.path.relpath(self.file(key), self.root)
            return relative.encode("utf-8", "backslashreplace").decode()

    def filtered_keys(self, wanted: SampleFilter) -> Iterator[Key]:
        """Yield the keys of the samples that a filter accepts."""
        return (key for key in self.keys() if wanted(self.name(key), partial(self.label, key)))

    def spread_data(self) -> Any:
        """Read a collated batch of samples from all over the split; None if none of them is readable.

        The first batch of a folder holds a single class, which does not show the value ranges inside a model.
        """
        batch = self._batch([self.load(key) for key in self.spread])
        return batch.data if isinstance(batch, PathBatch) else None

    def load(self, key: Key) -> LoadedSample | Unreadable | CleanerError:
        """Read a sample, or return why that failed. In a worker an exception would lose its message in a traceback."""
        try:
            file = self.file(key)
            try:
                path = relative_path(file, self.root)
            except FieldError as error:
                return Unreadable(self.split, self.label_if_unreadable(key), self.name(key), str(error))
            if path in self.fatal:
                return Unreadable(self.split, self.label_if_unreadable(key), path, self.fatal[path])
            return self._load_file(key, file, path)
        except CleanerError as error:
            return error

    def __getitems__(self, keys: list[Key]) -> PathBatch | CleanerError:
        """Read a batch; torch's loader calls this."""
        if self.notes is not None:
            self.notes.write(self.split, keys)
        start = time.perf_counter()
        batch = self._batch([self.load(key) for key in keys])
        if isinstance(batch, CleanerError):
            return batch
        return replace(batch, seconds=(time.perf_counter() - start) / len(keys) / _number_of_readers())

    def _load_file(self, key: Key, file: str, path: str) -> LoadedSample | Unreadable:
        local_file = file
        try:
            with self.fetched(key) as local_key:
                local_file = file if local_key is key else self.file(local_key)
                with guarded(local_file):
                    return LoadedSample(path, self.sample(local_key))
        except RefusedFile as error:
            return Unreadable(self.split, self.label_if_unreadable(key), path, error.strerror or "")
        except CleanerError:
            raise  # not the fault of one file
        except Exception as error:  # noqa: BLE001 - a broken file makes decoders and transforms raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split()).replace(local_file, file)
            return Unreadable(self.split, self.label_if_unreadable(key), path, reason)

    def _batch(self, items: list[LoadedSample | Unreadable | CleanerError]) -> PathBatch | CleanerError:
        loaded = [item for item in items if isinstance(item, LoadedSample)]
        for item in items:
            if isinstance(item, CleanerError):
                return item
        unreadable = [item for item in items if isinstance(item, Unreadable)]
        try:
            data = self.collate([item.sample for item in loaded]) if loaded else None
        except Exception as error:  # noqa: BLE001 - raised in the main process, with this message
            shapes = sorted({str(tuple(getattr(item.sample[0], "shape", ()))) for item in loaded})
            return CleanerError(
                f"the images of a batch cannot be collated: {loaded[0].path!r} and others have the shapes "
                f"{', '.join(shapes[:5])}. {self.collate_advice}, "
                f"or use a batch size of 1 ({type(error).__name__})"
            )
        return PathBatch([item.path for item in loaded], unreadable, data)


@contextmanager
def guarded(file: str) -> Iterator[None]:
    """Check a file and keep Pillow from opening anything harmful while code of others reads it.

    Raises:
        RefusedFile: see `check_image`.
    """
    check_image(file)
    with within_bounds():
        yield


def read(
    dataset: Dataset, keys: Iterable[Key], workers: int | None, device_type: str = "cpu"
) -> Generator[PathBatch, None, None]:
    """Yield batches of the samples of `keys`, in order. Workers start at once, and end when this is closed.

    Args:
        dataset: the samples.
        keys: which samples; taken as they are needed, so that memory does not grow with their number.
        workers: number of processes; None for as many as there are cores, 0 to read in this process.
        device_type: type of the device that runs the model. Batches for `cuda` are read into pinned memory.

    Raises:
        LostReaderError: while iterating: the system ended a worker.
    """
    dataset.prepare_reading()
    failures: list[Exception] = []
    key_batches = _key_batches(iter(keys), dataset.batch_size, failures)
    copied = dataset.for_readers()
    loader = partial(_loader, copied, key_batches, device_type)
    try:
        with no_collection_in_forks():
            return _received(iter(loader(default_workers(copied) if workers is None else workers)), failures)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        # Spawned workers are sent the dataset; each library says in its own way that this fails.
        if "pickle" not in str(error).lower():
            raise
        reason = f"the dataset cannot be sent to worker processes ({error})"
        if workers is None:
            _warn_once(f"{reason}, so images are read in this one; functions at module level can be sent")
            return _received(iter(loader(0)), failures)
        raise CleanerError(
            f"{reason}. Move functions and classes that are defined inside others to module level, or read without "
            "workers: workers=0"
        ) from error


@contextmanager
def no_collection_in_forks() -> Iterator[None]:
    """Keep processes that are forked meanwhile from collecting the garbage of this one, until `prepare_worker`.

    Where it holds references to objects of Ray, their end is sent through connections that the fork shares with this
    process, and Ray's next task waits for ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _loader(dataset: Dataset, key_batches: Iterator[list[Key]], device_type: str, workers: int) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,  # type: ignore[arg-type]  # it has __getitems__, all that torch needs with a batch sampler
        batch_sampler=key_batches,  # an iterator, as it is used once
        num_workers=workers,
        prefetch_factor=prefetch_factor(workers, dataset.batch_size),
        collate_fn=_unchanged,
        worker_init_fn=partial(prepare_worker, dataset, device_type),
        pin_memory=device_type == "cuda",
    )


def default_workers(dataset: Dataset) -> int:
    """Return the number of processes that read images by default: one per core, none where they cannot start.

    Where processes are not forked they import the user's script again, which would start the scan again, and lack what
    was defined in a notebook.
    """
    if not processes_fork() and not _can_be_sent(dataset, sys.modules["__main__"]):
        _warn_once(
            "images are read in this process: others would run this script again, or lack what this notebook defines. "
            'Put the code of a script under `if __name__ == "__main__":`, and functions of a notebook into a module, '
            "to read in a process per core"
        )
        return 0
    return cores()


def _can_be_sent(dataset: Dataset, main: ModuleType) -> bool:
    """Return whether a process that is not forked can read a dataset."""
    script = getattr(main, "__file__", None)
    if script is not None and os.path.isfile(script):
        return getattr(main, "__spec__", None) is not None or b"__main__" in Path(script).read_bytes()
    try:
        return b"__main__" not in pickle.dumps(dataset)
    except (AttributeError, TypeError, pickle.PicklingError):
        return True  # `read` says what cannot be sent


@cache
def _warn_once(message: str) -> None:
    _log.warning("%s", printable(message))


def prefetch_factor(workers: int, batch_size: int) -> int | None:
    """Return the number of batches that each worker reads ahead; None without workers.

    Few workers read as many in all as four would: otherwise they wait while backends are tried, which took 4 % of a
    scan of 1,000 photos. They keep to torch's default where shared memory is small, as in containers, or unknown.
    """
    if not workers:
        return None
    free = shutil.disk_usage(_SHARED_MEMORY).free if os.path.isdir(_SHARED_MEMORY) else 0
    fits = 2 * _MIN_BATCHES_AHEAD * batch_size * _LARGE_IMAGE < free  # twice, as other programs use it too
    return max(_BATCHES_AHEAD_PER_WORKER, _MIN_BATCHES_AHEAD // workers) if fits else _BATCHES_AHEAD_PER_WORKER


def prepare_worker(dataset: Dataset, device_type: str, _worker: int) -> None:
    """Prepare a worker process for reading."""
    if not gc.isenabled():
        gc.freeze()  # what it got by the fork; see `no_collection_in_forks`
        gc.enable()
    if device_type == "cpu" and hasattr(os, "nice"):
        os.nice(10)  # the model's threads wait for each other, so they go first
    # Pillow warns at half the number of pixels that are accepted.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # Held for the life of the process; each image then pays next to nothing for its own guard.
    guards = ExitStack()
    guards.enter_context(within_bounds())
    atexit.register(guards.close)
    dataset.prepare_worker()


@contextmanager
def lost_workers() -> Iterator[None]:
    """Turn torch's error about an ended worker, raised at any moment, into `LostReaderError`."""
    try:
        yield
    except RuntimeError as error:
        if not any(name in str(error) for name in ("DataLoader worker", "Pin memory thread")):
            raise
        raise _lost_reader(error) from error


def _received(batches: Iterator[Any], failures: Sequence[Exception]) -> Generator[PathBatch, None, None]:
    """Report a worker that dies mid-transfer like any other, and then what ended the keys."""
    refused: Sequence[Exception] = failures
    try:
        for batch in batches:
            if isinstance(batch, CleanerError):
                refused = [batch]
                break
            yield batch
    except (ConnectionError, EOFError) as error:
        # A tensor's connection breaks before torch has noticed that the worker ended. Wait for its error here: later
        # it would interrupt the shutdown of the loader.
        with suppress(RuntimeError):
            wait([child.sentinel for child in active_children()], timeout=1)
        # Let go of the loader first: its other workers then end now, not when the error is dropped.
        error.with_traceback(None)
        del batches
        raise _lost_reader(error) from error
    del batches  # as above: the traceback of what is raised would keep the workers
    if refused:
        raise refused[0]


def _lost_reader(error: Exception) -> LostReaderError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return LostReaderError(
        f"the system ended a process that reads images ({reason}), as it does where memory runs out or where a file "
        "gets shorter while it is read. Run the same command again to resume; fewer workers=N need less memory"
    )


def _pinned(data: Any) -> Any:
    """Return collated tensors in pinned memory, in the tuples and lists that they came in."""
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (tuple, list)):
        parts = map(_pinned, data)
        return type(data)(*parts) if hasattr(data, "_fields") else type(data)(parts)
    return {key: _pinned(part) for key, part in data.items()} if isinstance(data, dict) else data


def _number_of_readers() -> int:
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return 1 if info is None else info.num_workers


def _unchanged(batch: Any) -> Any:
    return batch  # `__getitems__` has collated it


def _key_batches(keys: Iterator[Key], size: int, failures: list[Exception]) -> Iterator[list[Key]]:
    """Yield the keys of each batch; an error that ends them goes to `failures`.

    Raised here, while torch starts its workers, it would keep them for as long as somebody holds its traceback.
    """
    try:
        while batch := list(islice(keys, size)):
            yield batch
    except Exception as error:  # noqa: BLE001 - raised again where the batches are taken
        failures.append(error)
