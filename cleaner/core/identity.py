"""Which file it is, so that only the file that was meant is moved, and is known again wherever it lies."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cleaner.core.fields import check_sha256, check_whole
from cleaner.core.files import sha256_of

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one file from another that has its name.

    Attributes:
        size, modified, inode: as the file system has them; a move inside it keeps all three.
        sha256: of the file's bytes, of a link that of where it leads; empty where they could not be read.

    Raises:
        FieldError: a field makes no sense.
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
    def of(cls, path: Path, status: os.stat_result, sha256: str) -> Identity:
        """The identity of the file or link at `path`.

        Args:
            path: where it lies.
            status: its own, that of a link and not of what it leads to, taken before its bytes were read.
            sha256: that of its bytes.

        Raises:
            OSError: the link cannot be read.
        """
        digest = _digest(path, status) if stat.S_ISLNK(status.st_mode) else sha256
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, digest)

    def is_exactly_at(self, path: Path) -> bool:
        """Whether this very file lies at `path`, unchanged; needs no look at its bytes."""
        status = _status(path)
        return status is not None and self._fits(status)

    def is_at(self, path: Path) -> bool:
        """Whether this file lies at `path`, or one of the same bytes, as after a copy to another disk and back."""
        return self.is_exactly_at(path) or self.has_bytes_at(path)

    def has_bytes_at(self, path: Path) -> bool:
        """Whether what lies at `path` has this size and these bytes; looks at them whatever else fits."""
        status = _status(path)
        return status is not None and status.st_size == self.size and self._has_bytes_of(path, status)

    def _fits(self, status: os.stat_result) -> bool:
        return (status.st_size, status.st_mtime_ns, status.st_ino) == (self.size, self.modified, self.inode)

    def _has_bytes_of(self, path: Path, status: os.stat_result) -> bool:
        try:
            return bool(self.sha256) and _digest(path, status) == self.sha256
        except OSError:
            # Of what cannot be read nobody can say that it is the same file.
            return False


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None  # for us there is nothing at a place that cannot be looked at


def _digest(path: Path, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest()
    return sha256_of(path) if stat.S_ISREG(status.st_mode) else ""
