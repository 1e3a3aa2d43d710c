"""Files and their names: atomic writes, hashes, paths relative to a dataset's root, and cells of CSV files."""

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
"""Name of the folder inside a dataset that holds its deleted files; hidden, so that fastai does not list it."""

MAX_BYTES = 2**31
"""Maximum size of a file that is read: that of the largest image, at eight bytes per pixel."""

_PART_SUFFIX = ".cleaner.part"
# mkstemp puts eight characters between the file's name and the suffix.
_PART = re.compile(r"\..+\.[a-z0-9_]{8}" + re.escape(_PART_SUFFIX), re.DOTALL)
_NO_NAMES = ("//", "/./", "/../")
# Spreadsheets read a cell that begins with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# Reading one of these can wait or run forever.
_SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Errors of a link without a folder behind it, which is safe to skip.
_LEADS_NOWHERE = (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class RefusedFile(OSError):  # noqa: N818 - a decision of ours, not an error of the system
    """A file that is not read, or not to its end; `strerror` gives the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)

    def __reduce__(self) -> tuple[type[RefusedFile], tuple[str]]:
        # Exceptions are pickled by their `args`, but this one takes other arguments.
        return type(self), (self.strerror or "",)


def write_whole(
    path: Path, data: str | bytes | Iterable[str], mode: int | None = None, modified: int | None = None
) -> None:
    """Replace the file `path` atomically: even after a power cut it is either the old file or the new one.

    A killed process leaves a temporary file, which `remove_leftovers` removes.

    Args:
        path: the file.
        data: bytes, or text to write as UTF-8; an iterable of texts is written piece by piece.
        mode: permissions of the file; those of any new file by default.
        modified: time of change in nanoseconds; now by default.

    Raises:
        OSError: the file cannot be written; it is unchanged.
    """
    pieces: Iterable[str | bytes] = (data,) if isinstance(data, (str, bytes)) else data
    with temporary_beside(path) as (handle, part):
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read, but other reviewers may need to.
        os.chmod(part, 0o666 & ~_umask() if mode is None else mode)
        if modified is not None:
            os.utime(part, ns=(modified, modified))
        os.replace(part, path)
    sync_folder(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[tuple[int, Path]]:
    """Make a temporary file in the folder of `path`; the caller renames it, and an error removes it.

    A lock marks it as in use for `remove_leftovers`.

    Yields:
        its handle, which the caller closes, and its path.
    """
    handle, part = _new_part(path)
    # The lock lasts while one handle is open. Windows cannot rename an open file, and has no such lock.
    lock = None if fcntl is None else os.dup(handle)
    try:
        yield handle, part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes in a folder; without file locks none is removed."""
    try:
        parts = [Path(entry.path) for entry in os.scandir(folder) if _PART.fullmatch(entry.name)]
    except OSError:
        return  # the next use of the folder reports the error
    for part in parts:
        # Another user may own the file, or another process may have removed it.
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
    # Most systems allow names of 255 bytes.
    name = path.name.encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")
    while True:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.", suffix=_PART_SUFFIX)
        try:
            usable = _lock(handle) and os.fstat(handle).st_nlink > 0
        except OSError:
            usable = True  # a file system without locks
        if usable or fcntl is None:
            return handle, Path(part)
        # Another process removed the file as a leftover before it was locked.
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file without waiting; return whether that worked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk; Windows has no folder handles and needs no flush."""
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
    """Open a regular file for reading; unlike `open`, this never waits for a named pipe.

    Returns:
        the handle, which the caller closes, and its status.

    Raises:
        RefusedFile: the path leads to a named pipe, a socket or a device.
        OSError: the file cannot be opened.
    """
    # Checked twice: opening a device can have effects, and the file can change before it is opened.
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
        raise RefusedFile(f"it is {_SPECIAL_FILES.get(stat.S_IFMT(status.st_mode), 'something')} and no regular file")


def sha256_of(path: Path, max_bytes: int | None = MAX_BYTES) -> str:
    """Return the SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Args:
        path: the file.
        max_bytes: maximum size of the file; None for no maximum.

    Raises:
        RefusedFile: the file is not regular, is larger than `max_bytes`, or changed its size while it was read.
        OSError: the file cannot be read.
    """
    handle, status = regular_handle(path)
    with os.fdopen(handle, "rb") as file:
        if max_bytes is not None and status.st_size > max_bytes:
            raise RefusedFile(f"it has {status.st_size} bytes; files of up to {max_bytes} are read")
        digest, left = hashlib.sha256(), status.st_size
        # Stops at the first size: another process may write as fast as this one reads.
        while left >= 0 and (block := file.read(1 << 20)):
            digest.update(block)
            left -= len(block)
    if left:
        raise RefusedFile("its size changed while it was read")
    return digest.hexdigest()


def check_path(path: str, field: str = "path") -> str:
    """Return `path` if it is a plain relative path with forward slashes; `field` names it in the error.

    Raises:
        FieldError: it is no text, absolute, has `.`, `..` or empty parts or a NUL, or cannot be encoded as UTF-8.
    """
    accepted = "expected a path relative to the dataset's folder, with forward slashes and without '.' or '..'"
    enclosed = f"/{path}/"
    if not isinstance(path, str) or "\0" in path or any(map(enclosed.__contains__, _NO_NAMES)):
        raise FieldError(field, path, accepted)
    if path.isascii():
        return path
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FieldError(field, path, "expected a name in UTF-8; rename the file") from error
    return path


def relative_path(path: str | os.PathLike[str], root: Path) -> str:
    """Return `path` relative to `root`, with forward slashes; links are not followed.

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
    """Return a path for a CSV file: with a leading `./` if a spreadsheet would read it as a formula."""
    return f"./{path}" if path.startswith(_FORMULA_STARTS) else path


def path_from_csv(cell: str) -> str:
    """Invert `path_to_csv`; a `./` that a person wrote is accepted too."""
    return cell[2:] if cell.startswith("./") else cell


def cell_to_csv(text: str) -> str:
    """Return a text for a CSV file: with a leading `'` if a spreadsheet would read it as a formula.

    A formula behind apostrophes gets one more, so that `cell_from_csv` inverts this. Paths use `path_to_csv`.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def cell_from_csv(cell: str) -> str:
    """Invert `cell_to_csv`; a cell without the apostrophe is returned unchanged."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def number_to_csv(value: float) -> str:
    """Return a float as text with nine digits, enough to restore a float32; or `nan`, `inf`, `-inf`."""
    return f"{value:.9g}" if math.isfinite(value) else str(value)


def image_files(folder: Path, passed_over: Callable[[str], None] | None = None) -> Iterator[str]:
    """Walk `folder` and yield the paths of its image files, those with a suffix in `IMAGE_SUFFIXES`.

    Files are yielded as the system lists them, in the same order while nothing changes. Hidden files and folders,
    such as the trash, are skipped; each linked folder is followed once. Anything with the name of an image is yielded,
    even a named pipe or a circular link, so that its reader reports it.

    Args:
        folder: the folder.
        passed_over: called with the path of each file whose suffix is unknown.

    Raises:
        CleanerError: a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    pending = [os.fspath(folder)]
    while pending:
        current = pending.pop()
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
        pending.extend(sorted(folders, reverse=True))


def _is_folder(entry: os.DirEntry[str], is_image: bool) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # The reader of an image reports a broken link; a folder behind it would be missed silently.
        if is_image or error.errno in _LEADS_NOWHERE:
            return False
        raise
