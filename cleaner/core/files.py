"""Files and the names of files: whole-or-nothing writes, hashes, and paths relative to a dataset's root."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cleaner.core.errors import CleanerError, FieldError
from cleaner.core.suffixes import IMAGE_SUFFIXES, OTHER_SUFFIXES, suffix_of

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = [
    "MAX_BYTES",
    "TRASH",
    "RefusedFile",
    "cell_from_csv",
    "cell_to_csv",
    "check_path",
    "image_files",
    "number_to_csv",
    "path_from_csv",
    "path_to_csv",
    "regular_handle",
    "relative_path",
    "remove_leftovers",
    "sha256_of",
    "sync_folder",
    "temporary_beside",
    "write_whole",
]

TRASH = ".cleaner-trash"
"""Name of the folder inside a dataset that holds what was deleted from it; hidden, so that fastai does not list it."""

MAX_BYTES = 2**31
"""Bytes of the largest file of a dataset that is read: what the largest image takes, of eight bytes a pixel."""

_PART_SUFFIX = ".cleaner.part"
# What mkstemp puts between the name of the file and the suffix has eight characters.
_PART = re.compile(r"\..+\.[a-z0-9_]{8}" + re.escape(_PART_SUFFIX), re.DOTALL)
_NO_NAMES = frozenset(("", ".", ".."))
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# What a path may lead to beside a file or a folder. Reading one waits for whoever writes to it, or never ends.
_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
# What says that there is no folder behind a link, so that no image is missing where it is passed over.
_LEADS_NOWHERE = (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class RefusedFile(OSError):  # noqa: N818 - not an error of the system, but the reason why a file is not read
    """Why a file is not read to its end; `strerror` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)

    def __reduce__(self) -> tuple[type[RefusedFile], tuple[str]]:
        # Exceptions are pickled by their arguments, which are not what this one is made from.
        return type(self), (self.strerror or "",)


def write_whole(
    path: Path, data: str | bytes | Iterable[str], mode: int | None = None, modified: int | None = None
) -> None:
    """Write `data` to `path` so that the file is either the old one or the new one, also after a power cut.

    What a killed process leaves is for `remove_leftovers`; that lists the folder, too slow for each of many files.

    Args:
        path: the file.
        data: bytes, or text, which is written as UTF-8; an iterable of texts is written piece by piece, so that the
            whole need never be in memory.
        mode: the permissions that it gets; those of any new file by default.
        modified: the time of change that it gets, in nanoseconds; now by default.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    pieces: Iterable[str | bytes] = (data,) if isinstance(data, (str, bytes)) else data
    with temporary_beside(path) as (handle, part):
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; reviewers may be other people.
        os.chmod(part, 0o666 & ~_umask() if mode is None else mode)
        if modified is not None:
            os.utime(part, ns=(modified, modified))
        os.replace(part, path)
    sync_folder(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[tuple[int, Path]]:
    """Make a temporary file in the folder of `path`, for the caller to rename; it is removed where that fails.

    It is locked while it is in use, so that `remove_leftovers` tells it from one that a killed process left.

    Yields:
        its handle, which is for the caller to close, and its path.
    """
    handle, part = _new_part(path)
    # The lock lasts as long as one handle is open; Windows renames no file that is.
    kept = None if fcntl is None else os.dup(handle)
    try:
        yield handle, part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if kept is not None:
            os.close(kept)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `temporary_beside` in a folder that no process uses any more.

    Where the system or the file system has no locks, none is removed.
    """
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if _PART.fullmatch(entry.name)]
    except OSError:
        return  # what is wrong with the folder is for its user to meet
    for part in found:
        # One that another user left, or another process removed, is not ours to open.
        with suppress(OSError):
            _remove_if_unused(part)


def _remove_if_unused(part: Path) -> None:
    handle = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
            part.unlink()
    finally:
        os.close(handle)


def _new_part(path: Path) -> tuple[int, Path]:
    # A name may have 255 bytes on most systems.
    name = path.name.encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")
    while True:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.", suffix=_PART_SUFFIX)
        try:
            usable = _lock(handle) and os.fstat(handle).st_nlink > 0
        except OSError:
            usable = True  # a file system without locks
        if usable or fcntl is None:
            return handle, Path(part)
        # Another process took it for a leftover before it was locked, and removes it.
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file without waiting; false where another process has it, or the system has no such locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; a system without folder handles (Windows) does that by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def regular_handle(path: str | os.PathLike[str]) -> tuple[int, os.stat_result]:
    """Open a file to read its bytes; never waits, as `open` does for a named pipe.

    Returns:
        the handle, which is for the caller to close, and what the system knows of the file.

    Raises:
        RefusedFile: it is a named pipe, a socket or a device, or a link to one.
        OSError: it cannot be opened.
    """
    # A device is not even opened, which may do something. What it is can change between the two looks.
    _check_is_regular(os.stat(path))
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        _check_is_regular(status)
    except BaseException:
        os.close(handle)
        raise
    return handle, status


def _check_is_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFile(f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'something')} and no regular file")


def sha256_of(path: Path, max_bytes: int | None = MAX_BYTES) -> str:
    """SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Args:
        path: the file.
        most: size in bytes above which it is not read; None for a file of any size.

    Raises:
        RefusedFile: it is no regular file, or larger than `most`, or its size changed while it was read.
        OSError: it cannot be read.
    """
    handle, status = regular_handle(path)
    with os.fdopen(handle, "rb") as file:
        if max_bytes is not None and status.st_size > max_bytes:
            raise RefusedFile(f"it has {status.st_size} bytes; files of up to {max_bytes} are read")
        digest, left = hashlib.sha256(), status.st_size
        # Not to the end of the file, which somebody may write to as fast as it is read here.
        while left >= 0 and (block := file.read(1 << 20)):
            digest.update(block)
            left -= len(block)
    if left:
        raise RefusedFile("its size changed while it was read")
    return digest.hexdigest()


def check_path(path: str, field: str = "path") -> str:
    """`path` itself if it is a plain path below a root, with forward slashes; `field` names it in the error.

    Raises:
        FieldError: no text, empty, absolute, with `.` or `..` or empty parts, with a NUL, or not encodable as UTF-8.
    """
    accepted = "a path relative to the dataset's folder, with forward slashes and without '.' or '..', is accepted"
    if not isinstance(path, str) or "\0" in path or not _NO_NAMES.isdisjoint(path.split("/")):
        raise FieldError(field, path, accepted)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FieldError(field, path, "a name in UTF-8 is accepted; rename the file") from error
    return path


def relative_path(path: str | os.PathLike[str], root: Path) -> str:
    """`path` below `root`, with forward slashes; links are not followed, so that a linked file keeps its own name.

    Raises:
        CleanerError: the path lies outside `root` or is not UTF-8.
    """
    absolute = os.path.abspath(path)
    beginning = os.path.join(root, "")
    if not absolute.startswith(beginning):
        raise CleanerError(f"{absolute!r} is not inside the dataset's folder {str(root)!r}; pass root=...")
    relative = absolute[len(beginning) :]
    return check_path(relative if os.sep == "/" else relative.replace(os.sep, "/"))


def path_to_csv(path: str) -> str:
    """The path as it stands in a CSV file: with a leading `./` where a spreadsheet would take it for a formula."""
    return f"./{path}" if path.startswith(_FORMULA_STARTS) else path


def path_from_csv(cell: str) -> str:
    """The inverse of `path_to_csv`; also accepts a `./` that people wrote themselves."""
    return cell[2:] if cell.startswith("./") else cell


def cell_to_csv(text: str) -> str:
    """A text as it stands in a CSV file: with a leading `'` where a spreadsheet would take it for a formula.

    So has a text that would be one without the apostrophes at its beginning, so that `cell_from_csv` is the inverse.
    Paths have a form of their own; see `path_to_csv`.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def cell_from_csv(cell: str) -> str:
    """The inverse of `cell_to_csv`; a cell that somebody else wrote unguarded is taken as it is."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def number_to_csv(value: float) -> str:
    """A float with the nine digits that give a float32 back; `nan` and `inf` by these names."""
    return f"{value:.9g}" if math.isfinite(value) else str(value)


def image_files(folder: Path, passed_over: Callable[[str], None] | None = None) -> Iterator[str]:
    """Walk `folder` and yield the paths of its image files, known by their suffix, one of `IMAGE_SUFFIXES`.

    The files come as the system lists them, which is the same order each time as long as nothing changes; no list of
    them is made. Hidden files and folders, and with them the trash, are left out. Linked folders are followed, each
    folder once. What has the name of an image and is none, such as a named pipe or a link in a circle, is yielded too:
    it is for the reader to say so.

    Args:
        folder: the folder.
        passed_over: called with the path of each file that is neither an image by its suffix nor of another known kind.

    Raises:
        CleanerError: a folder cannot be listed; its images would be missing without a word.
    """
    seen: set[tuple[int, int]] = set()
    left = [os.fspath(folder)]
    while left:
        current = left.pop()
        folders = []
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    suffix = suffix_of(entry.name)
                    is_image = suffix in IMAGE_SUFFIXES
                    if _is_folder(entry, is_image):
                        folders.append(entry.path)
                    elif is_image:
                        yield entry.path
                    elif passed_over is not None and suffix not in OTHER_SUFFIXES:
                        passed_over(entry.path)
        except OSError as error:
            raise CleanerError(
                f"the folder {(error.filename or current)!r} cannot be listed ({error.strerror}); "
                "make it readable, or move it out"
            ) from error
        left.extend(sorted(folders, reverse=True))


def _is_folder(entry: os.DirEntry[str], is_image: bool) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # The reader of an image will say what is wrong with the link; of a folder nobody else would.
        if is_image or error.errno in _LEADS_NOWHERE:
            return False
        raise
