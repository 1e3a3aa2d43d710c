"""The files of a scan folder, replaced as a whole, by one process at a time.

The files of a new scan are written to a hidden folder inside the scan folder. Writing `scan.json`, which names that
folder, commits the scan; then the files are moved into place. A process that is killed leaves either the old scan or
the new one: readers look into the hidden folder first, and the next writer finishes the move.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout

from cleaner.core.errors import CleanerError
from cleaner.core.files import sync_folder, write_whole
from cleaner.core.records import now

__all__ = ["DESCRIPTION", "ReplacedScanError", "ScanFiles", "is_work_file", "now", "writing"]

DESCRIPTION = "scan.json"
_STAGE = ".scan-"
_LOCK = ".scan.lock"
_HOLDER = ".scan.holder"
# Old drawings, until they are removed.
_REPLACED = ".replaced"


class ReplacedScanError(CleanerError):
    """The scan in a folder was replaced by a later one."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one generation of a scan folder.

    Attributes:
        folder: the scan folder.
        generation: a random number in hexadecimal digits, stored in `scan.json`; empty in a folder of version 0.1.
    """

    folder: Path
    generation: str

    @property
    def stage(self) -> Path:
        """The hidden folder that holds the files until they are moved into place."""
        return self.folder / f"{_STAGE}{self.generation}"

    @property
    def drawn_in(self) -> Path:
        """The folder to pass to `drawn_file`."""
        return self.stage if (self.stage / "drawn").is_dir() else self.folder

    def path(self, name: str) -> Path:
        """Return where a file is now."""
        staged = self.stage / name
        return staged if staged.exists() else self.folder / name

    def open(self, name: str) -> TextIO:
        """Open a CSV file for reading.

        Raises:
            OSError: it cannot be opened.
        """
        try:
            return open(self.stage / name, encoding="utf-8", newline="")
        except (FileNotFoundError, NotADirectoryError):
            return open(self.folder / name, encoding="utf-8", newline="")

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        # In this order, since the file can be moved between the two checks.
        return (self.stage / name).exists() or (self.folder / name).exists()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Check that files read in this context belong to the same scan.

        Raises:
            ReplacedScanError: another scan was committed meanwhile.
        """
        try:
            yield
        except CleanerError:
            if self._is_committed():
                raise
        if not self._is_committed():
            raise ReplacedScanError(
                f"the scan in {str(self.folder)!r} was replaced by a later one while it was read; load it again"
            )

    def make(self, name: str) -> None:
        """Make a folder in a scan that is not committed yet."""
        (self.stage / name).mkdir(parents=True)

    def write(self, name: str, data: str | bytes | Iterable[str]) -> None:
        """Write a file of a scan that is not committed yet.

        Raises:
            OSError: it cannot be written.
        """
        path = self.stage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)

    def add(self, file: Path) -> None:
        """Add a file to a scan that is not committed yet, without a copy where the file system has hard links.

        Raises:
            OSError: it cannot be written.
        """
        self.stage.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, self.stage / file.name)
        except OSError:
            shutil.copyfile(file, self.stage / file.name)

    def commit(self, description: str) -> None:
        """Make this the scan of the folder.

        Args:
            description: the text of `scan.json`, with this generation.

        Raises:
            OSError: it cannot be written; the folder holds the old scan or the new one.
        """
        sync_folder(self.folder)  # after a power cut, scan.json must not name a missing folder
        write_whole(self.folder / DESCRIPTION, description)
        self.move()
        _discard(self.folder, self.generation)

    def move(self) -> None:
        """Move the remaining files of a committed scan into place.

        Raises:
            OSError: a file cannot be moved; it stays readable.
        """
        if not self.stage.is_dir():
            return
        for staged in sorted(self.stage.iterdir()):
            if staged.name.startswith("."):
                continue
            place = self.folder / staged.name
            if place.is_dir():  # the drawings; a rename cannot replace a folder with files
                os.replace(place, self.stage / _REPLACED)
            os.replace(staged, place)
        sync_folder(self.folder)
        shutil.rmtree(self.stage)

    def _is_committed(self) -> bool:
        return _generation_of(self.folder) == self.generation


@contextmanager
def writing(folder: Path) -> Iterator[ScanFiles]:
    """Lock a scan folder for a new scan, and yield the new scan's files.

    The lock ends with the process. An unfinished write of an earlier process is completed or removed.

    Raises:
        CleanerError: another scan is being written to the folder.
        OSError: the folder cannot be written to.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder)
    files = ScanFiles(folder, secrets.token_hex(16))
    try:
        (folder / _HOLDER).write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}", "utf-8")
        _recover(folder)
        yield files
    finally:
        if not files._is_committed():
            shutil.rmtree(files.stage, ignore_errors=True)  # else the next writer removes it
        (folder / _HOLDER).unlink(missing_ok=True)
        if is_new and os.listdir(folder) == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
        lock.release()


def _locked(folder: Path) -> FileLock:
    """Return the acquired lock of a scan folder; raises `CleanerError` if another process or thread has it."""
    lock = FileLock(folder / _LOCK)
    holder = f"another scan is being written to {str(folder)!r}{_holder(folder)}"
    refusal = CleanerError(f"{holder}; wait until it has finished, or give another folder")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise refusal from error
    if not (folder / _LOCK).exists():  # a failed scan has just removed its new folder
        lock.release()
        raise refusal
    return lock


def is_work_file(name: str) -> bool:
    """Return whether a name in a scan folder is that of a temporary file of a writer."""
    return name.startswith(_STAGE) or name in (_LOCK, _HOLDER)


def _recover(folder: Path) -> None:
    """Complete the scan that a killed process had committed, and remove one that it had not."""
    generation = _generation_of(folder)
    if generation is None and (folder / DESCRIPTION).exists():
        return  # a damaged scan.json can be repaired, and could name any of the hidden folders
    if generation:
        ScanFiles(folder, generation).move()
    _discard(folder, generation)


def _discard(folder: Path, generation: str | None) -> None:
    """Remove the hidden folders of all generations but one, and a half-written `scan.json`."""
    for stage in folder.glob(f"{_STAGE}*"):
        if stage.name != f"{_STAGE}{generation}":
            shutil.rmtree(stage)
    for part in folder.glob(f".{DESCRIPTION}.*.part"):
        part.unlink()


def _generation_of(folder: Path) -> str | None:
    """Return the generation in `scan.json`; None if it cannot be read."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return str(description.get("generation", ""))
    except (OSError, ValueError, RecursionError, AttributeError):
        return None  # `load` reports the error


def _holder(folder: Path) -> str:
    """Return who writes to the folder, for a message; empty if unknown."""
    try:
        with open(folder / _HOLDER, encoding="utf-8", errors="replace") as file:
            text = file.read(200)
    except OSError:
        return ""  # the writer has just started or ended
    return f" by {text}" if text else ""
