"""Which file of the dataset a path in a table means."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from cleaner.apply.plan import Refusal
from cleaner.core.files import image_files

__all__ = ["TablePathResolver"]


class TablePathResolver:
    """Resolves table paths: relative to the dataset's folder or the table's, absolute, or without their folders.

    Args:
        root: the dataset's folder, without links.
        folder: the table's folder, likewise.
        paths: the files to be found, relative to the dataset's folder.
    """

    def __init__(self, root: Path, folder: Path, paths: Iterable[str]) -> None:
        self._root = str(root)
        self._folder = str(folder)
        self._paths = frozenset(paths)

    def names(self, path: str) -> set[str]:
        """Return all names that a table may have for the file at `path`."""
        absolute = os.path.join(self._root, path)
        parts = path.split("/")
        shorter = ("/".join(parts[n:]) for n in range(len(parts)))
        return {absolute, os.path.relpath(absolute, self._folder).replace(os.sep, "/"), *shorter}

    def resolve(self, name: str) -> set[str]:
        """Return the files that a table may mean by a name, relative to the dataset's folder.

        A name is taken for one without its folders only if no file lies at the name itself.
        """
        absolute = {os.path.normpath(os.path.join(base, name)) for base in (self._root, self._folder)}
        beginning = os.path.join(self._root, "")
        existing = {path for path in absolute if path.startswith(beginning) and os.path.lexists(path)}
        if existing:
            return {path[len(beginning) :].replace(os.sep, "/") for path in existing}
        paths = self._by_file_name.get(name.rpartition("/")[2], ())
        return {path for path in paths if f"/{path}".endswith(f"/{name}")}

    def is_name_of(self, name: str, path: str) -> bool:
        """Return whether a table means the file at `path` by a name; refuse a name that may mean another file too."""
        files = self.resolve(name)
        if path in files and len(files) > 1:
            one, other, *_ = sorted(files)
            raise Refusal(f"the name {name!r} may be {one!r} or {other!r}; write the whole path")
        return path in files

    @cached_property
    def _by_file_name(self) -> dict[str, set[str]]:
        """All files of the dataset that share a file name with one to be found; the dataset is listed once."""
        by_name: dict[str, set[str]] = defaultdict(set)
        for path in self._paths:
            by_name[path.rpartition("/")[2]].add(path)
        for file in image_files(Path(self._root)):
            if (name := os.path.basename(file)) in by_name:
                by_name[name].add(os.path.relpath(file, self._root).replace(os.sep, "/"))
        return dict(by_name)
