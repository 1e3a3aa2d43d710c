"""Find the files whose reading ends the process that reads them, and list them as unreadable.

Where memory runs out, the system ends a process without an error that could be caught. So each process notes the keys
of a batch before it reads the batch. After a process was ended, the noted files are read again, one at a time in a new
process. A file at which that process is ended too is fatal: the scan goes on without it, and lists it as unreadable.
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
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cleaner.core.errors import CleanerError
from cleaner.core.reading_notes import ReadingNotes, read_entries

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import Dataset, Key

__all__ = ["FatalFiles", "LostReaderError", "warn_if_fatal"]

_REASON = "the process that read it was ended by the system"
# Why a system ends a process, by the number of the signal.
_CAUSES = {9: ", as happens where memory runs out", 7: ", as happens where a file gets shorter while it is read"}
# People and schedulers stop a program by these; the file that is being read has no part in it.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
# A container that runs out of memory may be ended as a whole, also the process that watches the reader. A file that was
# being read alone so many times is fatal without another attempt. Once could be a user's kill -9.
_MAX_READS_ALONE = 2

_log = logging.getLogger("cleaner")
_Result = TypeVar("_Result")


class LostReaderError(CleanerError):
    """The system ended a process that reads images."""


class FatalFiles:
    """The fatal files of a scan: those of earlier runs, and those that `find` finds through the notes.

    Args:
        folder: holds the notes and the list of fatal files; the folder of the checkpoint.
        datasets: the samples of each split.
        keys: returns the keys of a split that may have been read; by default all.
    """

    def __init__(
        self, folder: Path, datasets: Mapping[str, Dataset], keys: Callable[[str], Iterable[Key]] | None = None
    ) -> None:
        self._notes, self._list = ReadingNotes(folder), folder / "fatal.jsonl"
        self._datasets = datasets
        self._keys = keys or (lambda split: datasets[split].keys())
        self._lost = ""

    def score_past(self, attempt: Callable[[bool], _Result], resume: bool) -> _Result:
        """Return `attempt(resume)`, which calls `find`; repeat it while it loses readers to fatal files.

        Torch may raise its error in the middle of any update, so each new attempt resumes from the disk.
        """
        while True:
            with suppress(LostReaderError):
                return attempt(resume)
            resume = True
            gc.collect()  # the traceback held the other workers of the loader; they end with it

    def find(self, resume: bool = True) -> None:
        """Find the fatal files among the noted ones; unless `resume`, those found earlier are read again too."""
        if self._list.exists() and not resume:
            os.replace(self._list, self._list.with_name("reading-again"))  # which makes it a note
        self._recall()
        suspects = {split: self._suspects(split) for split in self._datasets}
        n = sum(map(len, suspects.values()))
        if n:
            _log.warning("%d images were being read when a process was ended. They are read again one at a time.", n)
        n_fatal = sum(self._isolate(self._datasets[split], reads) for split, reads in suspects.items())
        self._notes.remove()
        lost, self._lost = self._lost, ""
        if lost and not n_fatal:
            raise CleanerError(f"{lost}. Each of the {n} images that were being read can be read alone" if n else lost)
        if n and not n_fatal:
            _log.warning(
                "Each of them can be read alone. If the scan is ended here again, its memory is too small for a whole "
                "batch: use a smaller batch_size=N or fewer workers=N."
            )

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Have each process note what it reads; the notes stay only if the system ends a process."""
        self._notes.folder.mkdir(parents=True, exist_ok=True)
        for dataset in self._datasets.values():
            dataset.notes = self._notes
        try:
            yield
        except LostReaderError as error:
            self._lost = str(error)
            raise
        finally:
            for dataset in self._datasets.values():
                dataset.notes = None
            if not self._lost:
                self._notes.remove()

    def _recall(self) -> None:
        """Mark the listed files as fatal, unless they changed since."""
        for entry in read_entries(self._list):
            dataset = self._datasets.get(entry["split"])
            if dataset is not None and _stamp(dataset.root / entry["path"]) == entry["stamp"]:
                dataset.fatal[entry["path"]] = entry["error"]

    def _suspects(self, split: str) -> dict[Key, int]:
        """Return the noted keys of a split, and how often each was read alone."""
        dataset = self._datasets[split]
        reads = {key: note.alone for note in self._notes.read() if note.split == split for key in note.keys}
        present = (key for key in self._keys(split) if key in reads) if reads else ()
        return {key: reads[key] for key in present if dataset.name(key) not in dataset.fatal}

    def _isolate(self, dataset: Dataset, suspects: Mapping[Key, int]) -> int:
        """Read each suspect alone, and return how many of them are fatal."""
        fatal = [key for key, reads in suspects.items() if reads >= _MAX_READS_ALONE]
        for key in fatal:
            self._add(dataset, key, -9)
        left = [(key, reads) for key, reads in suspects.items() if reads < _MAX_READS_ALONE]
        while left:
            key, code = self._read_alone(dataset, left)
            if -code in _STOP_SIGNALS:
                raise CleanerError(
                    f"the process that reads images one at a time was stopped (signal {-code}). Run the same command "
                    "again to resume"
                )
            if key is None:
                break
            self._add(dataset, key, code)
            fatal.append(key)
            left = list(dropwhile(lambda suspect: suspect[0] != fatal[-1], left))[1:]
        return len(fatal)

    def _read_alone(self, dataset: Dataset, suspects: list[tuple[Key, int]]) -> tuple[Key | None, int]:
        """Read files in a new process; return the key at which it ended, or None, and its exit code."""
        from cleaner.scoring.data.reader import no_collection_in_forks

        dataset.prepare_reading()
        arguments = (dataset.for_readers(), suspects, self._notes)
        process = multiprocessing.Process(target=_read_each, args=arguments, daemon=True, name="cleaner-reader")
        try:
            with no_collection_in_forks():
                process.start()
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            # A spawned process is sent the dataset, and this one cannot be sent.
            _log.warning("The images cannot be read by another process (%s). The scan goes on with all of them.", error)
            return None, 0
        process.join()
        return next(iter(self._notes.keys_noted_by(process.pid or 0)), None), process.exitcode or 0

    def _add(self, dataset: Dataset, key: Key, code: int) -> None:
        """List a file as fatal; `code` is the exit code of the process that read it."""
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        path, error = dataset.name(key), f"{_REASON} ({ending}){_CAUSES.get(-code, '')}"
        dataset.fatal[path] = error
        stamp = _stamp(dataset.root / path)
        entry = {"split": dataset.split, "keys": [key], "path": path, "error": error, "stamp": stamp}
        with open(self._list, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        warn_if_fatal(path, error)


def warn_if_fatal(path: str, error: str) -> None:
    """Warn of an unreadable file if the system ended the process that read it."""
    if error.startswith(_REASON):
        _log.warning("%r cannot be read: %s. It is listed as unreadable, and the scan goes on without it.", path, error)


def _read_each(dataset: Dataset, suspects: list[tuple[Key, int]], notes: ReadingNotes) -> None:
    """Note and read files one at a time; runs in a process of its own."""
    import torch

    from cleaner.scoring.data.reader import prepare_worker

    torch.set_num_threads(1)  # torch's threads do not survive a fork
    # Where memory runs out, the system ends this process and not the one that waits for it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    prepare_worker(dataset, "cpu", 0)
    parent = multiprocessing.parent_process()
    for key, reads in suspects:
        if parent is not None and not parent.is_alive():
            break
        notes.write(dataset.split, [key], reads + 1)
        with suppress(Exception):  # raised again when the scan reads it
            dataset.__getitems__([key])
    notes.write(dataset.split, [])


def _stamp(file: Path) -> list[int] | None:
    """Return the size and time of change of a file, or None if it is not on this machine."""
    with suppress(OSError):
        status = file.stat()
        return [status.st_size, status.st_mtime_ns]
    return None
