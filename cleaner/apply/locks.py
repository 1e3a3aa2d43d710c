"""One apply, undo or emptying of the trash at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from cleaner.core.errors import CleanerError

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = ["locked"]


@contextmanager
def locked(beside: Path, changed: Path) -> Iterator[None]:
    """Hold the lock of a scan folder and that of the folder that changes, which several scan folders may share.

    Args:
        beside: the manifest or journal in whose folder journals are written.
        changed: the folder that changes: the dataset's, or that of the label table.

    Raises:
        CleanerError: the folder of journals is not writable, or `changed` cannot be locked; nothing was changed.
    """
    folder = Path(os.path.abspath(beside)).parent
    unwritable = (
        f"the folder {str(folder)!r} cannot be written, and the journal must lie there; make it writable, or use a "
        "copy of the folder"
    )
    held = _folder_lock(changed) if os.path.isdir(changed) else nullcontext()
    # Always in this order, so that no two runs wait for each other.
    with _file_lock(folder / "apply.lock", unwritable), held:
        yield


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder of the user's, without a file in it and also if it is read-only."""
    try:
        handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    except OSError as error:
        raise CleanerError(f"{str(folder)!r} cannot be locked ({error.strerror}); nothing was changed") from error
    try:
        with nullcontext() if handle is not None and _flock(handle) else _hidden_lock(folder):
            yield
    finally:
        if handle is not None:
            os.close(handle)


def _flock(handle: int) -> bool:
    """Wait for the lock on an open folder; return False if its file system locks no folders, as over a network."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


@contextmanager
def _hidden_lock(folder: Path) -> Iterator[None]:
    """Lock a folder by a hidden file in it, for systems that lock no folders."""
    with _file_lock(folder / ".cleaner.lock", f"{str(folder)!r} cannot be locked; make it writable"):
        yield


@contextmanager
def _file_lock(path: Path, message: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        raise CleanerError(f"{message} ({error.strerror}); nothing was changed") from error
    try:
        yield
    finally:
        lock.release()
