"""Files and the names of files: whole-or-nothing writes, hashes, and paths relative to a dataset's root."""

from __future__ import annotations

import hashlib
import math
import mimetypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cleaner.core.errors import CleanerError, FieldError

__all__ = [
    "TRASH",
    "check_path",
    "image_files",
    "number_to_csv",
    "path_from_csv",
    "path_to_csv",
    "relative_path",
    "sha256_of",
    "sync_folder",
    "write_whole",
]

TRASH = ".cleaner-trash"
"""Name of the folder inside a dataset that holds what was deleted from it; hidden, so that fastai does not list it."""

_IMAGE_SUFFIXES = frozenset(suffix for suffix, kind in mimetypes.types_map.items() if kind.startswith("image/"))
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_whole(path: Path, data: str | bytes) -> None:
    """Write `data` to `path` so that the file is either the old one or the new one, also after a power cut."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; reviewers may be other people.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_path(path: str) -> str:
    """`path` itself if it is a plain path below a root, with forward slashes.

    Raises:
        FieldError: empty, absolute, with `.` or `..` or empty parts, with a NUL, or not encodable as UTF-8.
    """
    accepted = "a path relative to the dataset's folder, with forward slashes and without '.' or '..', is accepted"
    if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise FieldError("path", path, accepted)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FieldError("path", path, "a name in UTF-8 is accepted; rename the file") from error
    return path


def relative_path(path: str | os.PathLike[str], root: Path) -> str:
    """`path` below `root`, with forward slashes; links are not followed, so that a linked file keeps its own name.

    Raises:
        CleanerError: the path lies outside `root` or is not UTF-8.
    """
    absolute = os.path.abspath(path)
    try:
        relative = PurePosixPath(Path(absolute).relative_to(root)).as_posix()
    except ValueError as error:
        raise CleanerError(f"{absolute!r} is not inside the dataset's folder {str(root)!r}; pass root=...") from error
    return check_path(relative)


def path_to_csv(path: str) -> str:
    """The path as it stands in a CSV file: with a leading `./` where a spreadsheet would take it for a formula."""
    return f"./{path}" if path.startswith(_FORMULA_STARTS) else path


def path_from_csv(cell: str) -> str:
    """The inverse of `path_to_csv`; also accepts a `./` that people wrote themselves."""
    return cell[2:] if cell.startswith("./") else cell


def number_to_csv(value: float) -> str:
    """A float with the nine digits that give a float32 back; `nan` and `inf` by these names."""
    return f"{value:.9g}" if math.isfinite(value) else str(value)


def image_files(folder: Path) -> Iterator[Path]:
    """Walk `folder` and yield its image files, known by suffix as in fastai's `get_image_files`, sorted in each folder.

    Hidden files and folders, and with them the trash, are left out. Linked folders are followed, each folder once.
    """
    seen: set[tuple[int, int]] = set()
    for current, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in _IMAGE_SUFFIXES:
                yield Path(current, name)
