"""The image files that a label table names, with their labels and splits, checked before any image is read."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cleaner.core.duplicates import DuplicateFinder
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import LabelRows

__all__ = ["SPLIT_FOLDERS", "LabelledFiles", "split_of"]

SPLIT_FOLDERS = ("train", "valid", "test")
"""Names of topmost folders that are splits; all other images are in the split `all`."""

# Labels that a message names, and rows in a block.
_MAX_NAMED, _BLOCK = 5, 4096


def split_of(path: str, root: Path) -> str:
    """Return the split of an image, by the name of its topmost folder below the root."""
    parts = path[len(os.path.join(root, "")) :].split(os.sep)
    return parts[0] if len(parts) > 2 and parts[0] in SPLIT_FOLDERS else "all"


@dataclass(frozen=True)
class LabelledFiles:
    """A label table and the images that it names; read anew each time, so that memory does not grow with its rows.

    Attributes:
        rows: its rows.
        root: the dataset's folder.
        classes: index in the vocabulary of each label that the learner knows.
    """

    rows: LabelRows
    root: Path
    classes: Mapping[str, int] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.rows.file)

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the file and label of each row; paths are relative to the dataset's folder, or else to the table's."""
        beside = os.path.dirname(os.path.abspath(self.rows.file))
        for path, label in self.rows:
            file, other = (os.path.normpath(os.path.join(folder, path)) for folder in (self.root, beside))
            yield (other if not os.path.lexists(file) and os.path.lexists(other) else file), label

    def check(self) -> tuple[tuple[str, ...], str]:
        """Check every row before any image is read; return the splits of the files, and a fingerprint of the rows."""
        finder, rows = DuplicateFinder(), self.files()
        splits, unknown = set[str](), dict[str, str]()
        digest, first_file, is_there = 0, "", False
        while block := list(islice(rows, _BLOCK)):
            for file, label in block:
                self._check_row(file, label)
                if label not in self.classes and len(unknown) < _MAX_NAMED:
                    unknown.setdefault(label, file)
                splits.add(split_of(file, self.root))
                digest = zlib.crc32(f"{file}\0{label}\0".encode("utf-8", "surrogatepass"), digest)
                is_there = is_there or os.path.isfile(file)
            first_file = first_file or block[0][0]
            repeated = finder.update([file for file, _ in block])
            if repeated is not None:
                self._refuse_repeated(*block[repeated])
        self._check_labels(unknown)
        self._check_there(first_file, is_there)
        return tuple(split for split in (*SPLIT_FOLDERS, "all") if split in splits), f"{digest:08x}"

    def _check_row(self, file: str, label: str) -> None:
        inside = os.path.join(self.root, "")
        if not file.startswith(inside):
            what = "no path" if file == str(self.root) else f"the path {file!r}, which is not inside {inside!r}"
            raise CleanerError(f"{self.name!r} has a row with {what}; pass the folder that holds all its images")
        if not label:
            raise CleanerError(f"{self.name!r} has no label for {file!r}; add one, or remove the row")

    def _refuse_repeated(self, file: str, label: str) -> None:
        first = next(other for other_file, other in self.files() if other_file == file)
        both = " and ".join(map(repr, dict.fromkeys((first, label))))
        raise CleanerError(f"{self.name!r} has two rows for {file!r}, with the label {both}; keep one row per file")

    def _check_labels(self, unknown: Mapping[str, str]) -> None:
        if unknown:
            named = ", ".join(f"{label!r} (of {file!r})" for label, file in unknown.items())
            known = ", ".join(map(repr, list(self.classes)[:20]))
            raise CleanerError(
                f"{self.name!r} has labels that the learner does not know: {named}. It knows {known}, compared as "
                "text. Name the column with these labels, correct the rows, or train the learner with the new labels"
            )

    def _check_there(self, first_file: str, is_there: bool) -> None:
        if not first_file:
            raise CleanerError(f"{self.name!r} has no rows")
        if not is_there:
            raise CleanerError(
                f"none of the files that {self.name!r} names exists, such as {first_file!r}. Paths are relative to the "
                "dataset's folder or to that of the table; pass the folder that the paths begin in"
            )
