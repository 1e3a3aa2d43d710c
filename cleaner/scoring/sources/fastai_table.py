"""The rows of a label table as items for a fastai learner, whatever its own items and labels were made of."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from fastai.data.transforms import Categorize, MultiCategorize
from fastai.learner import Learner
from fastai.torch_core import TensorCategory
from PIL import Image
from torch import Tensor

from cleaner.core.errors import CleanerError
from cleaner.core.label_table import LabelRows
from cleaner.scoring.sources.fastai_loading import SPLIT_FOLDERS, split_of
from cleaner.scoring.sources.loading import guarded

__all__ = ["Table", "TableItems", "check_one_label", "opening_step"]

# How many files are tried, to see by which step a learner opens them, and how many labels a message names.
_TRIED, _NAMED = 64, 5


@dataclass(frozen=True)
class Table:
    """A label table beside the images that it names; read anew each time, so that no list of them stands in memory.

    Attributes:
        rows: its rows.
        root: the dataset's folder.
        places: of each label that the learner knows the place in its vocabulary.
    """

    rows: LabelRows
    root: Path
    places: Mapping[str, int] = field(repr=False)

    @property
    def name(self) -> str:
        """The table's file, for messages."""
        return str(self.rows.file)

    def files(self) -> Iterator[tuple[str, str]]:
        """Of each row the file and the label; its path is relative to the dataset's folder, or else to the table's."""
        beside = os.path.dirname(os.path.abspath(self.rows.file))
        for path, label in self.rows:
            file, other = (os.path.normpath(os.path.join(folder, path)) for folder in (self.root, beside))
            yield (other if not os.path.lexists(file) and os.path.lexists(other) else file), label

    def check(self) -> tuple[tuple[str, ...], str]:
        """Check every row, before any image is read.

        Returns:
            the splits that the files are of, and a fingerprint of files and labels.

        Raises:
            CleanerError: a row has no path or no label, or a label that the learner does not know, or a path outside
                the dataset's folder; two rows name one file; or no file is there.
        """
        seen = _Seen(self)
        for file, label in self.files():
            seen.update(file, label)
        return seen.result()


class _Seen:
    """What was seen of the rows of a table; eight bytes are kept of each."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._inside = os.path.join(table.root, "")
        self._splits = set[str]()
        self._unknown = dict[str, str]()
        self._hashes = array("q")
        self._digest = 0
        self._first, self._is_there = "", False

    def update(self, file: str, label: str) -> None:
        """Take in a row.

        Raises:
            CleanerError: it has no path or label, or a path outside the dataset's folder.
        """
        table = self._table
        if not file.startswith(self._inside):
            what = "no path" if file == str(table.root) else f"the path {file!r}, which is not inside {self._inside!r}"
            raise CleanerError(f"{table.name!r} has a row with {what}; give the folder that holds all its images")
        if not label:
            raise CleanerError(f"{table.name!r} has no label for {file!r}; give it one, or take the row out")
        if label not in table.places and len(self._unknown) < _NAMED:
            self._unknown.setdefault(label, file)
        self._splits.add(split_of(file, table.root))
        self._hashes.append(hash(file))
        self._digest = zlib.crc32(f"{file}\0{label}\0".encode("utf-8", "surrogatepass"), self._digest)
        if not self._is_there:
            self._first, self._is_there = self._first or file, os.path.isfile(file)

    def result(self) -> tuple[tuple[str, ...], str]:
        """See `Table.check`."""
        name = self._table.name
        if not self._hashes:
            raise CleanerError(f"{name!r} has no rows")
        if self._unknown:
            found = ", ".join(f"{label!r} (of {file!r})" for label, file in self._unknown.items())
            known = ", ".join(map(repr, list(self._table.places)[:20]))
            raise CleanerError(
                f"{name!r} has labels that the learner does not know: {found}; it knows {known}, compared as text. "
                "Name the column with these labels, correct the rows, or train the learner with the new labels"
            )
        if not self._is_there:
            raise CleanerError(
                f"none of the {len(self._hashes)} files that {name!r} names is there, such as {self._first!r}; "
                "paths relative to the dataset's folder, or to that of the table, are accepted; give the folder that "
                "the paths begin in"
            )
        hashes = np.sort(np.frombuffer(self._hashes, np.int64))
        self._check_different(set(hashes[1:][hashes[1:] == hashes[:-1]].tolist()))
        return tuple(split for split in (*SPLIT_FOLDERS, "all") if split in self._splits), f"{self._digest:08x}"

    def _check_different(self, suspects: set[int]) -> None:
        """Check that the files with these hashes, which more than one row has, are different ones."""
        labels = dict[str, str]()
        for file, label in self._table.files() if suspects else ():
            if file in labels:
                both = " and ".join(map(repr, dict.fromkeys((labels[file], label))))
                raise CleanerError(
                    f"{self._table.name!r} has two rows for {file!r}, with the label {both}; leave one row of each file"
                )
            if hash(file) in suspects:
                labels[file] = label


@dataclass(frozen=True)
class TableItems:
    """The rows of a table whose files are of one split; a key is a file and its label."""

    table: Table
    split: str
    distinct: ClassVar[bool] = True

    def keys(self) -> Iterator[tuple[str, str]]:
        return (key for key in self.table.files() if split_of(key[0], self.table.root) == self.split)

    def listing(self) -> Callable[[], Iterator[tuple[str, str]]]:
        return self.keys

    def sample_items(self) -> Any:
        return [self.item(key) for key in islice(self.keys(), 1)]

    def item(self, key: tuple[str, str]) -> Any:
        return Path(key[0])

    def file(self, key: tuple[str, str]) -> str:
        return key[0]

    def fetched(self, key: tuple[str, str]) -> AbstractContextManager[tuple[str, str]]:
        return nullcontext(key)

    def target(self, _dl: Any, key: tuple[str, str]) -> Any:
        return TensorCategory(self.table.places[key[1]])

    def sample(self, dl: Any, key: tuple[str, str]) -> Any:
        return dl.dataset.tls[0].tfms(self.item(key)), self.target(dl, key)


def opening_step(learn: Learner, table: Table) -> int:
    """Which step of a learner's transforms makes an image of a file; those before it make a file of its own items.

    Raises:
        CleanerError: none does.
    """
    steps, reason = learn.dls.valid_ds.tls[0].tfms.fs, ""
    there = (file for file, _ in table.files() if os.path.isfile(file))
    for file in islice(there, _TRIED):
        for number, step in enumerate(steps):
            try:
                with guarded(file):
                    value = step(Path(file), split_idx=1)
            except Exception as error:  # noqa: BLE001 - whatever a step that takes something else makes of a path
                reason = f"{type(error).__name__}: {error}"
                continue
            if isinstance(value, (Image.Image, Tensor)):
                return number
    raise CleanerError(
        f"none of the learner's transforms makes an image of the files that {table.name!r} names ({reason or 'none'}); "
        "learners whose inputs are opened from image files are accepted"
    )


def check_one_label(learn: Learner) -> None:
    """Check that a learner gives each image one label.

    Raises:
        CleanerError: it does not.
    """
    steps = learn.dls.valid_ds.tls[1].tfms.fs
    if not any(isinstance(step, Categorize) for step in steps) or any(isinstance(s, MultiCategorize) for s in steps):
        raise CleanerError(
            "a label table is for learners that give each image one label; scan this one with cleaner.scan(learn, out)"
        )
