"""One apply, undo or emptying of the trash at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    """Hold the lock of the scan folder of `beside`, a manifest or journal, and that of the folder `changed`.

    The latter is the dataset's or the label table's, which several scan folders may share.
    """
    folder = Path(os.path.abspath(beside)).parent
    unwritable = (
        f"the folder {str(folder)!r} cannot be written, and the journal must lie there; make it writable, or use a "
        "copy of the folder"
    )
    with ExitStack() as stack:
        # Always in this order, so that no two runs wait for each other.
        _lock_file(stack, folder / "apply.lock", unwritable)
        if os.path.isdir(changed) and not _lock_folder(stack, changed):
            _lock_file(stack, changed / ".cleaner.lock", f"{str(changed)!r} cannot be locked; make it writable")
        yield


def _lock_folder(stack: ExitStack, folder: Path) -> bool:
    """Lock a folder without a file in it; return False if its system, as some over a network, locks no folders."""
    if fcntl is None:
        return False
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CleanerError(f"{str(folder)!r} cannot be locked ({error.strerror}); nothing was changed") from error
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _lock_file(stack: ExitStack, path: Path, message: str) -> None:
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        raise CleanerError(f"{message} ({error.strerror}); nothing was changed") from error
    stack.callback(lock.release)
