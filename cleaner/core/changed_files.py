"""Which files changed since a moment, by their times in the file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["ChangedFiles"]


class ChangedFiles:
    """Tells which files changed since a moment, by their times in the file system.

    A file also counts as changed if it may be another one: its name or permissions changed, or those of a folder above.

    Args:
        root: the dataset's folder.
        since: nanoseconds since the epoch.
    """

    def __init__(self, root: Path, since: int) -> None:
        self._root = root
        self._since = since
        self._moved: dict[str, bool] = {}

    def has(self, path: str) -> bool:
        """Return whether the file changed; False if there is none, as in datasets whose samples are no files."""
        file = os.path.join(self._root, path)
        try:
            status = os.lstat(file)
            new = self._is_new(status) or (stat.S_ISLNK(status.st_mode) and self._is_new(os.stat(file)))
        except OSError:
            return False
        return new or self._was_moved(os.path.dirname(path))

    def _is_new(self, status: os.stat_result) -> bool:
        # The inode's time is also new for a file that was copied or moved with its old times.
        return max(status.st_mtime_ns, status.st_ctime_ns) > self._since

    def _was_moved(self, folder: str) -> bool:
        """Return whether a folder was moved to its place, with its contents."""
        if folder not in self._moved:
            status = os.stat(os.path.join(self._root, folder))
            # Adding or removing a name in a folder also renews its time of modification; moving it does not.
            own = status.st_ctime_ns > self._since >= status.st_mtime_ns
            self._moved[folder] = own or (folder != "" and self._was_moved(os.path.dirname(folder)))
        return self._moved[folder]
