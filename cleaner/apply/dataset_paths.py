"""The folders of a dataset: where they really are, which are empty, and free file names in them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath

from cleaner.apply.plan import Refusal
from cleaner.core.files import TRASH, sync_folder
from cleaner.core.journal import Journal, Operation, trash_path

__all__ = [
    "RealPaths",
    "numbered",
    "remove_empty_folders",
    "split_suffix",
    "sync_folders",
    "target_folders",
    "trash_folders",
]

# Errors of rmdir for a folder that is not empty, is gone, or is not a folder: nothing is wrong then.
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR)


class RealPaths:
    """Resolves the links of the folders of the dataset in `root`, each folder once; `trash` as in `Journal`."""

    def __init__(self, root: Path, trash: Path | None = None) -> None:
        self._root = root
        self._trash = trash
        self._folders: dict[str, tuple[str, bool]] = {}

    def resolve(self, path: str) -> str:
        """Return the absolute path of a file with all links of its folders resolved."""
        if path == TRASH and self._trash is not None:
            return os.path.realpath(self._trash)
        folder, _, name = path.rpartition("/")
        return os.path.join(self._resolved(folder)[0], name)

    def contains(self, path: str) -> bool:
        """Return whether the folder of a file lies in the dataset, or its trash, once links are resolved."""
        return self._resolved(path.rpartition("/")[0])[1]

    def check(self, path: str) -> None:
        """Refuse a move from or to `path` if its folder is a link that leads out of the dataset."""
        if not self.contains(path):
            folder = path.rpartition("/")[0]
            place = trash_path(self._trash, folder) or self._root / folder
            raise Refusal(f"the folder {str(place)!r} is a link that leads out of the dataset")

    def _resolved(self, folder: str) -> tuple[str, bool]:
        if folder not in self._folders:
            in_trash = trash_path(self._trash, folder)
            top = self._root if in_trash is None or self._trash is None else self._trash
            real = os.path.realpath(in_trash or self._root / folder)
            self._folders[folder] = real, Path(real).is_relative_to(os.path.realpath(top))
        return self._folders[folder]


def target_folders(operations: Iterable[Operation]) -> set[str]:
    """Return the folders that moves end in, and all folders above them below the dataset's folder."""
    return {str(folder) for o in operations for folder in PurePosixPath(o.target).parents} - {"."}


def trash_folders(journal: Journal) -> set[str]:
    """Return the folders of the trash that a journal's deleted files were moved to, whoever created them.

    A trash outside of the dataset is not among them: its folder may be the user's.
    """
    deleted = [o for o in journal.operations if o.action == "delete" and o.target.startswith(f"{TRASH}/")]
    folders = {TRASH, *target_folders(deleted)}
    return folders if journal.trash is None else folders - {TRASH}


def remove_empty_folders(folders: Iterable[str], journal: Journal) -> tuple[str, ...]:
    """Remove those of the folders that are empty, the deepest first; return notes on failures."""
    paths, stuck = RealPaths(journal.data, journal.trash), []
    for folder in sorted(folders, key=len, reverse=True):
        try:
            if paths.contains(f"{folder}/."):
                journal.file_at(folder).rmdir()
        except OSError as error:
            if error.errno not in _NOT_EMPTY and _is_empty(journal.file_at(folder)):
                stuck.append(f"{folder!r}: {error.strerror}")
    if not stuck:
        return ()
    return (f"{len(stuck)} empty folders could not be removed, such as {stuck[0]}; remove them by hand",)


def _is_empty(folder: Path) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def sync_folders(folders: Iterable[str], journal: Journal, what: str) -> tuple[str, ...]:
    """Make the changes `what` in those folders of a dataset that exist durable; return a note for each failure."""
    notes = []
    for folder in filter(os.path.isdir, map(journal.file_at, sorted(set(folders)))):
        try:
            sync_folder(folder)
        except OSError as error:
            notes.append(f"{what} in {str(folder)!r} may not survive a power cut: {error.strerror}")
    return tuple(notes)


def numbered(path: str) -> Iterator[str]:
    """Yield `name.jpg`, `name_1.jpg`, `name_2.jpg`, … without end."""
    yield path
    stem, suffix = split_suffix(path)
    for n in count(1):
        yield f"{stem}_{n}{suffix}"


def split_suffix(path: str) -> tuple[str, str]:
    """Split `folder/name.jpg` into `folder/name` and `.jpg`."""
    suffix = PurePosixPath(path).suffix
    return path[: len(path) - len(suffix)], suffix
