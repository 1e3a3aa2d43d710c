"""The scan folder's files: replaced all together, by one process at a time.

The files of a new scan are written to a hidden folder inside the scan folder. `scan.json` then names them, which
commits the scan; before that the old scan is the one that is read. The files are moved into place last. A process that
is killed on the way leaves either the old scan or the new one: readers take each file from the hidden folder while it
is there, and the next writer finishes the move.
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
# A folder of old drawings, before it is removed.
_REPLACED = ".replaced"


class ReplacedScanError(CleanerError):
    """The scan in a folder was replaced by a later one."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one generation of a scan folder.

    Attributes:
        folder: the scan folder.
        generation: a random number in hexadecimal digits, which `scan.json` names; empty in a folder of version 0.1.
    """

    folder: Path
    generation: str

    @property
    def stage(self) -> Path:
        """The hidden folder that holds the files until they are moved into place."""
        return self.folder / f"{_STAGE}{self.generation}"

    @property
    def drawn_in(self) -> Path:
        """The folder in which the folder of drawings is, for `drawn_file`."""
        return self.stage if (self.stage / "drawn").is_dir() else self.folder

    def open(self, name: str) -> TextIO:
        """Open a CSV file to read it.

        Raises:
            OSError: it cannot be opened.
        """
        try:
            return open(self.stage / name, encoding="utf-8", newline="")
        except (FileNotFoundError, NotADirectoryError):
            return open(self.folder / name, encoding="utf-8", newline="")

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        # In this order, since a file can be moved between the two looks.
        return (self.stage / name).exists() or (self.folder / name).exists()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read several files that must belong together.

        Raises:
            ReplacedScanError: another scan was committed before the end.
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
        """Make a folder in a scan that is not committed yet, to replace the one of this name."""
        (self.stage / name).mkdir(parents=True)

    def write(self, name: str, data: str | bytes | Iterable[str]) -> None:
        """Write a file of a scan that is not committed yet.

        Raises:
            OSError: it cannot be written.
        """
        path = self.stage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)

    def commit(self, description: str) -> None:
        """Make this the scan of the folder.

        Args:
            description: the text of `scan.json`, which names this generation.

        Raises:
            OSError: it cannot be written. The folder holds the old scan or the new one.
        """
        sync_folder(self.folder)  # the hidden folder must be there after a power cut if scan.json names it
        write_whole(self.folder / DESCRIPTION, description)
        self.move()
        _discard(self.folder, self.generation)

    def move(self) -> None:
        """Move the files of a committed scan into place, as far as that is not done.

        Raises:
            OSError: one cannot be moved. It can still be read where it is.
        """
        if not self.stage.is_dir():
            return
        for staged in sorted(self.stage.iterdir()):
            if staged.name.startswith("."):
                continue
            place = self.folder / staged.name
            if place.is_dir():  # the drawings; a folder cannot replace one that holds something
                os.replace(place, self.stage / _REPLACED)
            os.replace(staged, place)
        sync_folder(self.folder)
        shutil.rmtree(self.stage)

    def _is_committed(self) -> bool:
        return _generation_of(self.folder) == self.generation


@contextmanager
def writing(folder: Path) -> Iterator[ScanFiles]:
    """Hold a scan folder for a new scan, and give the place for its files.

    The lock ends with the process. What an earlier process left half done is finished or removed.

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
            shutil.rmtree(files.stage, ignore_errors=True)  # the next writer would remove it as well
        (folder / _HOLDER).unlink(missing_ok=True)
        if is_new and os.listdir(folder) == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
        lock.release()


def _locked(folder: Path) -> FileLock:
    """The lock of a scan folder, acquired.

    Raises:
        CleanerError: another process or thread has it.
    """
    lock = FileLock(folder / _LOCK)
    refusal = CleanerError(
        f"another scan is being written to {str(folder)!r}{_holder(folder)}; wait until it has finished, or give "
        "another folder"
    )
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise refusal from error
    if not (folder / _LOCK).exists():  # a scan that failed has just removed its new folder
        lock.release()
        raise refusal
    return lock


def is_work_file(name: str) -> bool:
    """Whether a name in a scan folder is one of those that writing a scan needs for a while."""
    return name.startswith(_STAGE) or name in (_LOCK, _HOLDER)


def _recover(folder: Path) -> None:
    """Finish what a killed process had committed, and remove what it had not."""
    generation = _generation_of(folder)
    if generation is None and (folder / DESCRIPTION).exists():
        return  # it is damaged, and may be mended: it could name any of the hidden folders
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
    """The generation that `scan.json` names; None where that cannot be told."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return str(description.get("generation", ""))
    except (OSError, ValueError, RecursionError, AttributeError):
        return None  # `load` says what is wrong with the file


def _holder(folder: Path) -> str:
    """Who writes to the folder, for a message; empty where that is not known."""
    try:
        with open(folder / _HOLDER, encoding="utf-8", errors="replace") as file:
            text = file.read(200)
    except OSError:
        return ""  # it has just begun, or has just ended
    return f" by {text}" if text else ""
