"""Images at an fsspec address, such as `s3://bucket/images`: listed folder by folder, each copied here to be read."""

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

__all__ = ["Address", "is_address"]

_BLOCK = 1 << 20
# Where a module that fsspec misses is called otherwise than the package that has it.
_PACKAGES = {"smbclient": "smbprotocol", "libarchive": "libarchive-c"}


def is_address(data: str | os.PathLike[str]) -> bool:
    """Whether this is an address and no folder."""
    return "://" in str(data)


@dataclass(frozen=True)
class Address:
    """The address of a dataset; small enough to be sent to another machine, where it is connected to anew.

    Attributes:
        text: the address, without slashes at its end.
        path: the same as its file system calls it, such as `bucket/images`.
    """

    text: str
    path: str

    @classmethod
    def from_text(cls, text: str) -> Address:
        """The address that a user gave."""
        if any(urlsplit(part).password for part in text.split("::")):
            raise CleanerError(
                "the address holds a password, which would stand in the scan; give it where fsspec reads its settings: "
                "in ~/.config/fsspec, or the environment"
            )
        short = text.rstrip("/")
        text = short if is_address(short) else text  # `memory://` and `file:///` are whole
        return cls(text, _connected(text, os.getpid())[1])

    @property
    def stand_in(self) -> Path:
        """A folder by whose path labels are read, with the names of the address; nothing need be there."""
        # Windows takes no colon in a name, as in `host:8000`.
        names = self.path.rpartition("://")[2].strip("/").replace(":", "_")
        return Path(os.path.abspath(f"/{names}"))

    def image_files(
        self, below: str, enter: Callable[[str], bool], passed_over: Callable[[str], None] | None = None
    ) -> Iterator[str]:
        """Walk a folder and yield the paths of its image files, relative to the address, as `core.files.image_files`.

        A folder is listed at once and sorted, so that the order is the same each time. What is hidden is left out, and
        links to folders are not followed.

        Args:
            below: the folder, relative to the address; nothing is yielded where it is not there.
            enter: tells by the relative path of a folder whether to walk it.
            passed_over: as in `core.files.image_files`, with a relative path.
        """
        left = [below]
        while left:
            current = left.pop()
            folders = []
            for name, is_folder in self._listed(current, may_be_missing=current == below):
                path = f"{current}/{name}" if current else name
                if is_folder:
                    folders.extend([path] if enter(path) else [])
                elif (suffix := suffix_of(name)) in IMAGE_SUFFIXES:
                    yield path
                elif passed_over is not None and suffix not in OTHER_SUFFIXES:
                    passed_over(path)
            left.extend(reversed(folders))

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """A copy of a file, given by its path relative to the address, that is gone afterwards.

        Its path ends in all names of the address and of the file, since labels are read from them.

        Raises:
            RefusedFile: it has more than `MAX_BYTES`, or is no regular file.
            Exception: whatever the file system raises where it cannot be read.
        """
        from fsspec.implementations.local import LocalFileSystem

        files, _ = _connected(self.text, os.getpid())
        with tempfile.TemporaryDirectory(prefix="cleaner-", ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / self.stand_in.relative_to(self.stand_in.anchor) / path
            copy.parent.mkdir(parents=True)
            if isinstance(files, LocalFileSystem):
                os.close(regular_handle(self._below(path))[0])  # to open a named pipe is to wait
            with files.open(self._below(path), "rb") as source, open(copy, "xb") as target:
                _copy(source, target)
            yield copy

    def _below(self, path: str) -> str:
        return f"{self.path.rstrip('/')}/{path}" if path else self.path

    def _listed(self, folder: str, may_be_missing: bool) -> list[tuple[str, bool]]:
        """The names in a folder, sorted, and whether each is a folder, without hidden ones."""
        files, _ = _connected(self.text, os.getpid())
        whole = self._below(folder)
        # Else it keeps every listing, which grows with the dataset.
        files.invalidate_cache()
        try:
            entries = files.ls(whole, detail=True)
        except FileNotFoundError as error:
            if may_be_missing:
                return []
            raise _not_listed(self.text, folder, error) from error
        except Exception as error:
            raise _not_listed(self.text, folder, error) from error
        found = set()
        for entry in entries:
            at = entry["name"].rstrip("/")
            name = at.rpartition("/")[2]
            # Object stores may have an object for the folder itself, which is all that the listing of a file has.
            if at.lstrip("/") != whole.strip("/") and name and not name.startswith("."):
                found.add((name, entry["type"] == "directory"))
        return sorted(found)


def _copy(source: Any, target: BinaryIO) -> None:
    copied = getattr(source, "size", None) or 0  # not every file system knows
    if copied <= MAX_BYTES:
        copied = 0
        while copied <= MAX_BYTES and (block := source.read(_BLOCK)):
            copied += target.write(block)
    if copied > MAX_BYTES:
        raise RefusedFile(f"it has {copied} bytes or more; files of up to {MAX_BYTES} are read")


@lru_cache(maxsize=8)
def _connected(text: str, _process: int) -> tuple[Any, str]:
    """The file system of an address, and the path there; one for each process, since few survive a fork."""
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
            f"the address {text!r} cannot be used ({type(error).__name__}: {error}); a folder, or an address that "
            "fsspec knows, such as s3://bucket/images, is accepted"
        ) from error
    return files, str(path)


def _not_listed(address: str, folder: str, error: Exception) -> CleanerError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return CleanerError(
        f"the folder {folder or '.'!r} of {address!r} cannot be listed ({reason}); check the address and its access"
    )
