"""Notes of what each process is about to read, to find the file at fault when the system ends a process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import psutil

__all__ = ["Note", "ReadingNotes", "read_entries"]

_PREFIX = "reading-"


class Note(NamedTuple):
    """The keys that a process is about to read; `alone` counts their reads one at a time, including this one."""

    split: str
    keys: tuple[Any, ...]
    alone: int


@dataclass(frozen=True)
class ReadingNotes:
    """One small file per process, which names the batch that it is reading. Without the folder nothing is noted.

    Notes are not synced to the disk: only a power cut loses them, and then no file was at fault.
    """

    folder: Path

    def write(self, split: str, keys: Iterable[Any], alone: int = 0) -> None:
        """Note what this process is about to read, in place of what it read before."""
        note = json.dumps({"split": split, "keys": list(keys), "alone": alone})
        with suppress(FileNotFoundError):
            (self.folder / f"{_PREFIX}{os.getpid()}").write_text(f"{note}\n", encoding="utf-8")

    def keys_noted_by(self, pid: int) -> tuple[Any, ...]:
        """Return the keys that a process noted last."""
        return next((note.keys for note in _notes_in(self.folder / f"{_PREFIX}{pid}")), ())

    def read(self) -> list[Note]:
        """Return all notes, sorted by `alone`. A read does not count if its process still runs."""
        notes = list[Note]()
        for file in self._files():
            pid = file.name.removeprefix(_PREFIX)
            is_running = pid.isdigit() and psutil.pid_exists(int(pid))
            notes.extend(note._replace(alone=max(0, note.alone - is_running)) for note in _notes_in(file))
        return sorted(notes, key=attrgetter("alone"))

    def remove(self) -> None:
        """Remove all notes, and the folder if nothing else is in it."""
        while True:
            for file in self._files():
                file.unlink(missing_ok=True)
            with suppress(OSError):  # it holds the checkpoint, or is gone
                self.folder.rmdir()
            if not self._files():  # else a worker that is about to end noted one more batch
                return

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"{_PREFIX}*"))


def read_entries(file: Path) -> Iterator[Any]:
    """Yield the JSON objects in the lines of a file; torn lines are passed over."""
    with suppress(FileNotFoundError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def _notes_in(file: Path) -> Iterator[Note]:
    for entry in read_entries(file):
        # Some datasets have tuples as keys, which are lists in the file.
        keys = tuple(tuple(key) if isinstance(key, list) else key for key in entry["keys"])
        yield Note(entry["split"], keys, entry.get("alone", 0))
