"""Which file of the dataset a table means by what stands in its column of paths."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cleaner.core.files import image_files, path_from_csv

__all__ = ["Naming"]


class Naming:
    """How tables name files: relative to the dataset's folder or to that of the table, or without their folders.

    Args:
        root: the dataset's folder, with no link on the way.
        folder: the table's folder, the same.
        paths: the files that are asked about, relative to the dataset's folder.
    """

    def __init__(self, root: Path, folder: Path, paths: Iterable[str]) -> None:
        self._root = str(root)
        self._folder = str(folder)
        self._paths = frozenset(paths)
        self._called: dict[str, list[str]] | None = None

    def names(self, path: str) -> set[str]:
        """All that a table may call the file at `path`."""
        absolute = os.path.join(self._root, path)
        parts = path.split("/")
        shorter = ("/".join(parts[n:]) for n in range(len(parts)))
        return {absolute, os.path.relpath(absolute, self._folder).replace(os.sep, "/"), *shorter}

    def meant(self, name: str) -> set[str]:
        """The files, relative to the dataset's folder, that a table may mean by a name.

        Only where no file lies at the name itself, it is taken for one without its folders.

        Raises:
            CleanerError: a folder of the dataset cannot be listed.
        """
        places = {os.path.normpath(os.path.join(base, name)) for base in (self._root, self._folder)}
        beginning = os.path.join(self._root, "")
        found = {place for place in places if place.startswith(beginning) and os.path.lexists(place)}
        if found:
            return {place[len(beginning) :].replace(os.sep, "/") for place in found}
        return {path for path in self._of_name(name.rpartition("/")[2]) if f"/{path}".endswith(f"/{name}")}

    def _of_name(self, name: str) -> list[str]:
        """The dataset's files with one of the names that are asked about; the dataset is listed once."""
        if self._called is None:
            called: dict[str, set[str]] = defaultdict(set)
            for path in self._paths:
                called[path.rpartition("/")[2]].add(path)
            for file in image_files(Path(self._root)):
                own = os.path.basename(file)
                if own in called:
                    called[own].add(os.path.relpath(file, self._root).replace(os.sep, "/"))
            self._called = {own: sorted(paths) for own, paths in called.items()}
        return self._called.get(name, [])

    @staticmethod
    def name_in(cell: str) -> str:
        """The name that a cell has, without the leading `./` that guards it from spreadsheets."""
        return path_from_csv(cell)
