"""Find the files whose reading ends the process that reads them, and list them as unreadable.

Where memory runs out, the system ends a process without an error that could be caught. So each process that reads
images notes the keys of a batch in a small file before it reads the batch. When such a process was ended, the noted
files are read one at a time in a process of its own. A file at which that process is ended too is fatal: the scan goes
on without it, and `unreadable.csv` has it with the reason.

Notes are not synced to the disk. The system keeps what a process has written when it ends that process; only a power
cut loses notes, and then no file was at fault.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psutil

from cleaner.core.errors import CleanerError
from cleaner.core.records import Unreadable

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import Dataset, Key

__all__ = ["FatalFiles", "LostReaderError", "ReadingNotes", "warn_of_fatal"]

_REASON = "the process that read it was ended by the system"
# Why a system ends a process, by the number of the signal.
_CAUSES = {9: ", as happens where memory runs out", 7: ", as happens where a file gets shorter while it is read"}
# Signals by which people and schedulers stop a program; the file that is being read has no part in it.
_STOPPED = frozenset(-number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)))
# A file is fatal if everything was ended this many times while it was read alone: a container whose memory runs out may
# be ended as a whole, with the process that watches. Once could be somebody's kill -9.
_ENDED_ALONE = 2

_log = logging.getLogger("cleaner")
_Result = TypeVar("_Result")


class LostReaderError(CleanerError):
    """The system ended a process that reads images."""


class _Note(NamedTuple):
    """What a process is reading; `alone`: how many times these keys were read alone, this time included."""

    split: str
    keys: tuple[Key, ...]
    alone: int


_NOTE = "reading-"


@dataclass(frozen=True)
class ReadingNotes:
    """Which batch each process is reading: one small file a process, which the next batch replaces.

    Attributes:
        folder: holds the files; nothing is noted while it is missing.
    """

    folder: Path

    def write(self, split: str, keys: Iterable[Key], alone: int = 0) -> None:
        """Note what this process is going to read."""
        note = {"split": split, "keys": list(keys), "alone": alone}
        with suppress(FileNotFoundError):
            self._file(os.getpid()).write_text(json.dumps(note) + "\n", encoding="utf-8")

    def of_process(self, pid: int) -> _Note | None:
        """Return the note of a process, or None where there is none."""
        return next(_notes_in(self._file(pid)), None)

    def read(self) -> Iterator[_Note]:
        """Yield all notes; a process that outlived the one it read for has not been ended by its file."""
        for file in self._files():
            pid = file.name.removeprefix(_NOTE)
            is_running = pid.isdigit() and psutil.pid_exists(int(pid))
            for note in _notes_in(file):
                yield note._replace(alone=max(0, note.alone - 1)) if is_running else note

    def withdraw(self) -> None:
        """Remove the note of this process."""
        self._file(os.getpid()).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all notes, and the folder where nothing else is in it."""
        while True:
            for file in self._files():
                file.unlink(missing_ok=True)
            with suppress(OSError):  # it holds the checkpoint, or is gone
                self.folder.rmdir()
            if not self._files():  # else a worker that is about to end noted one batch more
                return

    def _file(self, pid: int) -> Path:
        return self.folder / f"{_NOTE}{pid}"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_NOTE}*"))


class FatalFiles:
    """The fatal files of a dataset: those found before, and those that `find` finds in the notes.

    Args:
        folder: where the notes are, and what was found; the folder of the checkpoint.
        datasets: the samples of each split.
        keys: gives the keys of a split among which to look; by default all.

    Attributes:
        folder: as above.
    """

    def __init__(
        self, folder: Path, datasets: Mapping[str, Dataset], keys: Callable[[str], Iterable[Key]] | None = None
    ) -> None:
        self.folder = folder
        self._datasets = datasets
        self._keys = keys or (lambda split: datasets[split].keys())
        self._notes = ReadingNotes(folder)
        self._lost = ""

    def score_past(self, attempt: Callable[[bool], _Result], resume: bool) -> _Result:
        """Return `attempt(resume)`; resume it for as long as it loses readers and `find`, called in it, finds why.

        What an attempt that lost a reader has taken in may be torn, since torch raises in the middle of anything. So
        each attempt begins with what is on the disk.
        """
        while True:
            try:
                return attempt(resume)
            except LostReaderError as error:
                self._lost, resume = str(error), True
            gc.collect()  # the traceback held the other workers of the loader; they end with it

    def find(self, resume: bool = True) -> None:
        """Find the fatal files among those that were being read when a process was ended.

        Args:
            resume: trust what was found before; otherwise those files are read again, too.
        """
        found = self.folder / "fatal.jsonl"
        if found.exists() and not resume:
            os.replace(found, self.folder / "reading-again")
        self._recall(found)
        suspects = self._suspects()
        n = sum(map(len, suspects.values()))
        if n:
            _log.warning("%d images were being read when a process was ended. They are read again one at a time.", n)
        fatal = sum(self._isolate(split, keys) for split, keys in suspects.items())
        self._notes.remove()
        if self._lost and not fatal:
            alone = f". Each of the {n} images that were being read can be read alone" if n else ""
            raise CleanerError(f"{self._lost}{alone}")
        if n and not fatal:
            _log.warning(
                "Each of them can be read alone. If the scan is ended here again, its memory is too small for a whole "
                "batch: use a smaller --batch-size or fewer --workers."
            )
        self._lost = ""

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is being read; the notes are removed, unless a process is ended."""
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        for dataset in self._datasets.values():
            dataset.notes = self._notes
        is_lost = False
        try:
            yield
        except LostReaderError:
            is_lost = True
            raise
        finally:
            for dataset in self._datasets.values():
                dataset.notes = None
            if not is_lost:
                self._notes.remove()
                for folder in missing:
                    with suppress(OSError):  # the checkpoint is in it, or it is gone
                        folder.rmdir()

    def _recall(self, found: Path) -> None:
        """Pass over the files found before, but those that were changed since."""
        for entry in _lines_of(found):
            dataset = self._datasets.get(entry["split"])
            if dataset is not None and _stamp(dataset.root / entry["path"]) == entry["stamp"]:
                dataset.fatal[entry["path"]] = entry["error"]

    def _suspects(self) -> dict[str, dict[Key, int]]:
        """The keys that were noted, by split, each with how many times it was read alone."""
        noted = dict[str, dict[Any, int]]()
        for note in self._notes.read():
            of_split = noted.setdefault(note.split, {})
            of_split.update((key, max(note.alone, of_split.get(key, 0))) for key in note.keys)
        suspects = {}
        for split, dataset in self._datasets.items():
            if of_split := noted.get(split, {}):
                there = (key for key in self._keys(split) if key in of_split)
                suspects[split] = {key: of_split[key] for key in there if dataset.name(key) not in dataset.fatal}
        return suspects

    def _isolate(self, split: str, suspects: Mapping[Key, int]) -> int:
        """Read each suspect alone, and return how many of them are fatal."""
        fatal = 0
        for key in [key for key, alone in suspects.items() if alone >= _ENDED_ALONE]:
            self._add(split, key, -9)
            fatal += 1
        left = [(key, alone) for key, alone in suspects.items() if alone < _ENDED_ALONE]
        while left:
            key, code = self._read_alone(split, left)
            if code in _STOPPED:
                raise CleanerError(
                    f"the process that reads images one at a time was stopped (signal {-code}); the same command goes "
                    "on with the scan"
                )
            if key is None:
                break
            self._add(split, key, code)
            fatal += 1
            left = left[[k for k, _ in left].index(key) + 1 :]
        return fatal

    def _read_alone(self, split: str, suspects: list[tuple[Key, int]]) -> tuple[Key | None, int]:
        """Read files in a new process; return the key at which it ended, or None, and its exit code."""
        dataset = self._datasets[split]
        dataset.prepare_reading()
        process = multiprocessing.Process(
            target=_read_each, args=(dataset, split, suspects, self._notes), daemon=True, name="cleaner-reader"
        )
        try:
            process.start()
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            # Where processes are no copies of this one, and the dataset cannot be sent to them.
            _log.warning("The images cannot be read by another process (%s). The scan goes on with all of them.", error)
            return None, 0
        process.join()
        note = self._notes.of_process(process.pid or 0)
        return (note.keys[0] if note else None), process.exitcode or 0

    def _add(self, split: str, key: Key, code: int) -> None:
        dataset = self._datasets[split]
        path, error = dataset.name(key), _reason(code)
        dataset.fatal[path] = error
        entry = {"split": split, "keys": [key], "path": path, "error": error, "stamp": _stamp(dataset.root / path)}
        with open(self.folder / "fatal.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        _warn(path, error)


def warn_of_fatal(unreadable: Iterable[Unreadable]) -> None:
    """Name the fatal files among some that could not be read; for those that were found on another machine."""
    for item in unreadable:
        if item.error.startswith(_REASON):
            _warn(item.path, item.error)


def _warn(path: str, error: str) -> None:
    _log.warning("%r cannot be read: %s. It is listed as unreadable, and the scan goes on without it.", path, error)


def _reason(code: int) -> str:
    if code < 0:
        return f"{_REASON} (signal {-code}){_CAUSES.get(-code, '')}"
    return f"{_REASON} (exit code {code})"


def _read_each(dataset: Dataset, split: str, suspects: list[tuple[Key, int]], notes: ReadingNotes) -> None:
    """Read files one at a time, each noted before; runs in a process of its own."""
    import torch

    from cleaner.scoring.data.reader import prepare_worker

    torch.set_num_threads(1)  # the others stayed with the process that this one is a copy of
    # Of all processes this one is to be ended where memory runs out, and not the one that waits for it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    prepare_worker(dataset, 0)
    parent = multiprocessing.parent_process()
    for key, alone in suspects:
        if parent is not None and not parent.is_alive():
            break
        notes.write(split, [key], alone + 1)
        with suppress(Exception):  # raised again, and told, when the scan reads it
            dataset.__getitems__([key])
    notes.withdraw()


def _notes_in(file: Path) -> Iterator[_Note]:
    for entry in _lines_of(file):
        # Keys are tuples in some datasets, and lists in the file.
        keys = tuple(tuple(key) if isinstance(key, list) else key for key in entry["keys"])
        yield _Note(entry["split"], keys, entry.get("alone", 0))


def _lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file, but one that a process was ended in the middle of writing."""
    with suppress(FileNotFoundError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def _stamp(file: Path) -> list[int] | None:
    """Return what tells a file from a later one at its place; None for one that is not on this machine."""
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
