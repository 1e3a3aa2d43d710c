"""The identity of a file: only the file that was decided about is moved, and it is recognized wherever it lies."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cleaner.core.fields import check_sha256, check_whole
from cleaner.core.files import sha256_of

__all__ = ["Identity", "version_of"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Properties that tell a file from another one at the same path.

    Attributes:
        size, modified, inode: from the file system; a move inside it keeps all three.
        sha256: of the file's bytes, or of a link's target path; empty if the bytes could not be read.
    """

    size: int
    modified: int
    inode: int
    sha256: str

    def __post_init__(self) -> None:
        check_whole(self, "size", "inode")
        check_whole(self, "modified", minimum=-(2**63), maximum=2**63 - 1)
        if self.sha256 != "":
            check_sha256(self, "sha256")

    @classmethod
    def from_status(cls, path: Path, status: os.stat_result, sha256: str) -> Identity:
        """Return the identity of the file or link at `path` from its `os.lstat`, taken before its bytes were read."""
        digest = _digest(path, status) if stat.S_ISLNK(status.st_mode) else sha256
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, digest)

    def is_exactly_at(self, path: Path) -> bool:
        """Return whether this very file lies at `path`, unchanged; reads no bytes."""
        status = _status(path)
        return status is not None and (
            (status.st_size, status.st_mtime_ns, status.st_ino) == (self.size, self.modified, self.inode)
        )

    def is_at(self, path: Path) -> bool:
        """Return whether this file, or one with the same bytes (as after a copy and back), lies at `path`."""
        return self.is_exactly_at(path) or self.has_bytes_at(path)

    def has_bytes_at(self, path: Path) -> bool:
        """Return whether the file at `path` has this size and these bytes; always reads them."""
        status = _status(path)
        if status is None or status.st_size != self.size or not self.sha256:
            return False
        try:
            return _digest(path, status) == self.sha256
        except OSError:
            return False  # an unreadable file is not known to be the same


def version_of(status: os.stat_result) -> tuple[int, ...]:
    """Return numbers that change whenever a file is written to or replaced."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None  # a path that cannot be looked at counts as empty


def _digest(path: Path, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest()
    return sha256_of(path) if stat.S_ISREG(status.st_mode) else ""
