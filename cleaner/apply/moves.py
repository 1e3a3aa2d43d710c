"""Move one file without overwriting another, on every system and file system."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cleaner.core.files import temporary_beside

__all__ = ["move", "take_back_half"]

# Errors of file systems without hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target`; fail if there is a file at `target`.

    On systems that cannot do this in one step, an interruption leaves a placeholder for `take_back_half`.
    """
    if os.name == "nt":
        os.rename(source, target)  # which on Windows refuses to overwrite
    elif not (_rename_noreplace is not None and _rename_noreplace(source, target)):
        _replace_placeholder(source, target)


def take_back_half(source: Path, target: Path) -> bool:
    """Remove the placeholder of an interrupted move, known by its bytes; return whether `target` is free now.

    The file is still at `source`. Any other file at `target`, also an empty one, may be the user's and stays.
    """
    if os.path.lexists(source) and _is_placeholder(target):
        os.unlink(target)
    return not os.path.lexists(target)


def _replace_placeholder(source: Path, target: Path) -> None:
    """Reserve the name with a placeholder, then rename the file over it."""
    with temporary_beside(target) as (handle, part):
        with os.fdopen(handle, "wb") as file:
            file.write(_placeholder(target))
        taken = _take_name(part, target)
        try:
            os.rename(source, target)
        except BaseException:
            if os.path.samestat(taken, os.lstat(target)):
                os.unlink(target)
            raise
        # The file is moved already; if this fails, the next run removes the temporary file.
        with suppress(OSError):
            os.unlink(part)


def _take_name(part: Path, target: Path) -> os.stat_result:
    """Create a placeholder at `target`, in one step if the file system can."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # An interruption between the two steps leaves an empty file, which may be the user's: it stays.
        _create(target, _placeholder(target))
    return os.lstat(target)


def _create(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        try:
            file.write(data)
            file.flush()
        except BaseException:
            os.unlink(path)
            raise


def _placeholder(target: Path) -> bytes:
    return b"placeholder of `cleaner apply`, which is moving a file here: " + os.fsencode(target.name) + b"\n"


def _is_placeholder(path: Path) -> bool:
    expected = _placeholder(path)
    try:
        status = os.lstat(path)
        return stat.S_ISREG(status.st_mode) and status.st_size == len(expected) and path.read_bytes() == expected
    except OSError:
        return False  # an unreadable file may be the user's


def _find_rename_noreplace() -> Callable[[Path, Path], bool] | None:
    """Return Linux's renameat2 with RENAME_NOREPLACE, which the standard library lacks; None elsewhere."""
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
            return False  # not supported by this file system
        raise OSError(code, os.strerror(code), str(target))

    return rename


_rename_noreplace = _find_rename_noreplace()
