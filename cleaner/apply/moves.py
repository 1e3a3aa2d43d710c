"""Moving one file so that nothing is ever overwritten, on every system and file system."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

__all__ = ["move", "take_back_half"]

# What file systems answer that have no second name for a file.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target`; fails if there is a file at `target`.

    Where the system has no step that does this at once, an end in the middle leaves what `take_back_half` mends.

    Raises:
        FileExistsError: the target is taken.
        OSError: the move is not possible; nothing was changed.
    """
    if os.name == "nt":
        os.rename(source, target)  # which on Windows refuses to overwrite
    elif not (_rename_noreplace is not None and _rename_noreplace(source, target)) and not _link(source, target):
        _replace_own(source, target)


def take_back_half(source: Path, target: Path) -> None:
    """Take away what a move that was interrupted between its two steps left at `target`; the file is at `source`.

    That is either a second name of the file, or an empty file.
    """
    try:
        file, left = os.lstat(source), os.lstat(target)
    except OSError:
        return  # not both of them are there
    # Only one of several names: the two may also be one name, seen through a folder that is a link.
    second_name = os.path.samestat(file, left) and file.st_nlink > 1
    if second_name or (stat.S_ISREG(left.st_mode) and left.st_size == 0 and file.st_size > 0):
        os.unlink(target)


def _link(source: Path, target: Path) -> bool:
    """Give the file its new name, then take the old one away; false on a file system that cannot."""
    try:
        os.link(source, target, follow_symlinks=False)
    except NotImplementedError:
        return False
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    try:
        os.unlink(source)
    except BaseException:
        if os.path.lexists(source):
            os.unlink(target)
        raise
    return True


def _replace_own(source: Path, target: Path) -> None:
    """Take the name with an empty file first, then replace what we took."""
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        empty = os.fstat(handle)
    finally:
        os.close(handle)
    try:
        os.replace(source, target)
    except BaseException:
        if os.path.samestat(empty, os.lstat(target)):
            os.unlink(target)
        raise


def _find_rename_noreplace() -> Callable[[Path, Path], bool] | None:
    """Linux's renameat2 with RENAME_NOREPLACE, which the standard library does not offer; None elsewhere."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    at_cwd, noreplace = -100, 1

    def rename(source: Path, target: Path) -> bool:
        if renameat2(at_cwd, os.fsencode(source), at_cwd, os.fsencode(target), noreplace) == 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS):
            return False  # not on this file system
        raise OSError(code, os.strerror(code), str(target))

    return rename


_rename_noreplace = _find_rename_noreplace()
