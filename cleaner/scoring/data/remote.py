"""Images at an fsspec address, such as `s3://bucket/images`: listed folder by folder, and copied here to be read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from cleaner.core.errors import CleanerError
from cleaner.core.files import MAX_BYTES, RefusedFile, regular_handle
from cleaner.core.suffixes import IMAGE_SUFFIXES, OTHER_SUFFIXES, suffix_of

__all__ = ["Address", "is_address", "local"]

_BLOCK = 1 << 20
# Packages with another name than their module, which fsspec imports.
_PACKAGES = {"smbclient": "smbprotocol", "libarchive": "libarchive-c"}


def is_address(data: str | os.PathLike[str]) -> bool:
    """Return whether this is an address, not a folder."""
    return "://" in str(data)


def local(data: str | Path) -> str | Path:
    """Return the folder of a `file://` address, which needs no copies of its files; anything else as it is."""
    text = str(data)
    if not text.startswith(("file://", "local://")) or "::" in text:
        return data
    from fsspec.core import url_to_fs

    return str(url_to_fs(text)[1])


@dataclass(frozen=True)
class Address:
    """An address, and its path in its file system, such as `bucket/images`. Each process connects to it by itself."""

    text: str
    path: str

    @classmethod
    def from_text(cls, text: str) -> Address:
        """Return the address that a user gave."""
        if any(urlsplit(part).password for part in text.split("::")):
            raise CleanerError(
                "the address holds a password, which the scan would save. Put it into the settings of fsspec"
            )
        # `memory://` and `file:///` are complete.
        text = text.rstrip("/") if is_address(text.rstrip("/")) else text
        return cls(text, _connected(text, os.getpid())[1])

    @property
    def stand_in(self) -> Path:
        """A path that ends in the names of the address, since labels are read from paths; it need not exist."""
        names = self.path.rpartition("://")[2].strip("/").replace(":", "_")  # Windows refuses `host:8000`
        return Path(os.path.abspath(f"/{names}"))

    def image_files(self, top: str, enter: Callable[[str], bool], passed_over: Callable[[str], None]) -> Iterator[str]:
        """Walk the folder `top` in sorted order and yield the paths of its image files, as `core.files.image_files`.

        All paths are relative to the address. `enter` decides by the path of a folder whether to walk it. Hidden files
        are left out, and links to folders are not followed. A missing `top` has no images.
        """
        left = [top]
        while left:
            current = left.pop()
            folders = []
            for name, is_folder in self._listed(current, may_be_missing=current == top):
                path = f"{current}/{name}" if current else name
                if is_folder:
                    folders.append(path)
                elif (suffix := suffix_of(name)) in IMAGE_SUFFIXES:
                    yield path
                elif suffix not in OTHER_SUFFIXES:
                    passed_over(path)
            left.extend(filter(enter, reversed(folders)))

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """Copy a file to a temporary path that ends in all its names, since labels are read from them."""
        from fsspec.implementations.local import LocalFileSystem

        files, source_path = self._at(path)
        with tempfile.TemporaryDirectory(prefix="cleaner-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / self.stand_in.relative_to(self.stand_in.anchor) / path
            copy.parent.mkdir(parents=True)
            if isinstance(files, LocalFileSystem):
                os.close(regular_handle(source_path)[0])  # refuses a named pipe, whose opening would block
            with files.open(source_path, "rb") as source, open(copy, "xb") as target:
                _copy(source, target)
            yield copy

    def _at(self, path: str) -> tuple[Any, str]:
        files, _ = _connected(self.text, os.getpid())
        # The root of an archive has an empty path, and no path there begins with a slash.
        top = f"{self.path.rstrip('/')}/" if self.path else ""
        return files, f"{top}{path}" if path else self.path

    def _listed(self, folder: str, may_be_missing: bool) -> list[tuple[str, bool]]:
        """Return the sorted names in a folder without hidden ones, and whether each is a folder."""
        files, folder_path = self._at(folder)
        files.invalidate_cache()  # else it keeps every listing, which grows with the dataset
        try:
            entries = files.ls(folder_path, detail=True)
        except Exception as error:
            if may_be_missing and isinstance(error, FileNotFoundError):
                return []
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CleanerError(
                f"the folder {folder or '.'!r} of {self.text!r} cannot be listed ({reason}). Check your access to it"
            ) from error
        found = {(entry["name"].strip("/"), entry["type"] == "directory") for entry in entries}
        # Object stores may list the folder itself, and list a file as its only entry.
        names = {(path.rpartition("/")[2], is_folder) for path, is_folder in found if path != folder_path.strip("/")}
        return sorted((name, is_folder) for name, is_folder in names if name and not name.startswith("."))


def _copy(source: Any, target: BinaryIO) -> None:
    size, copied = getattr(source, "size", None) or 0, 0  # not every file system knows the size
    while max(size, copied) <= MAX_BYTES and (block := source.read(_BLOCK)):
        copied += target.write(block)
    if max(size, copied) > MAX_BYTES:
        raise RefusedFile(f"it has {max(size, copied)} bytes or more; files of up to {MAX_BYTES} are read")


@lru_cache(maxsize=8)
def _connected(text: str, _process: int) -> tuple[Any, str]:
    """Return the file system of an address, and the path there; one per process, as few survive a fork."""
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(text)
    except ImportError as error:
        missing = str(getattr(error.__cause__ or error, "name", None) or "fsspec").partition(".")[0]
        raise CleanerError(
            f"the address {text!r} needs a package that is not installed here ({error}): "
            f"pip install {_PACKAGES.get(missing, missing)}"
        ) from error
    except Exception as error:
        raise CleanerError(
            f"the address {text!r} cannot be used ({type(error).__name__}: {error}). Pass a folder, or an address that "
            "fsspec knows, such as s3://bucket/images"
        ) from error
    return files, str(path)
