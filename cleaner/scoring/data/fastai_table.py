"""The rows of a label table as a dataset for a fastai learner, whatever its own items and labels were made of."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fastai.data.transforms import Categorize, MultiCategorize
from fastai.learner import Learner
from fastai.torch_core import TensorCategory
from PIL import Image
from torch import Tensor

from cleaner.core.errors import CleanerError
from cleaner.core.label_table import LabelRows
from cleaner.scoring.data.checks import DuplicateFinder, check_folder
from cleaner.scoring.data.fastai_data import SPLIT_FOLDERS, FastaiData, FastaiDataset, split_of, surveyed
from cleaner.scoring.data.reader import guarded
from cleaner.scoring.model.targets import Targets

__all__ = ["from_table"]

# Files that are tried to find the step that opens images; labels that a message names; rows in a block.
_MAX_TRIED, _MAX_NAMED, _BLOCK = 64, 5, 4096


def from_table(learn: Learner, targets: Targets, data: Path, rows: LabelRows, batch_size: int | None) -> FastaiData:
    """Return the images that a label table names, with the labels in its rows.

    Raises:
        CleanerError: the learner does not give each image one label, or a row of the table makes no sense.
    """
    _check_single_label(learn)
    table = _FileTable(rows, check_folder(data), {label: index for index, label in enumerate(targets.vocab)})
    splits, fingerprint = table.check()
    options: dict[str, Any] = {"rm_type_tfms": (_opening_step(learn, table), 0)}
    if batch_size is not None:
        options["bs"] = batch_size
    datasets = {split: TableImages(learn, _TableListing(table, split), targets, options) for split in splits}
    found = surveyed(datasets, table.root)
    columns = {"paths": rows.path_column, "labels": rows.label_column}
    settings = {**found.settings, "label_table": {"file": table.name, **columns, "fingerprint": fingerprint}}
    return replace(found, settings=settings, identity={"label table": fingerprint})


@dataclass(frozen=True)
class _FileTable:
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


@dataclass(frozen=True)
class _TableListing:
    """The rows of a table whose files are of one split."""

    table: _FileTable
    split: str

    def __call__(self) -> Iterator[tuple[str, str]]:
        return (row for row in self.table.files() if split_of(row[0], self.table.root) == self.split)


class TableImages(FastaiDataset):
    """The rows of one split of a label table; a key is a file and its label."""

    def __init__(self, learn: Learner, listing: _TableListing, targets: Targets, options: Mapping[str, Any]) -> None:
        first = [Path(file) for file, _ in islice(listing(), 1)]
        super().__init__(learn, listing.split, targets, first, options)
        self._listing = listing

    def listing(self) -> Callable[[], Iterator[tuple[str, str]]]:
        return self._listing

    def file(self, key: tuple[str, str]) -> str:
        return key[0]

    def item(self, key: tuple[str, str]) -> Any:
        return Path(key[0])

    def target(self, key: tuple[str, str]) -> Any:
        return TensorCategory(self._listing.table.classes[key[1]])

    def transformed(self, key: tuple[str, str]) -> Any:
        return self.dl.dataset.tls[0].tfms(self.item(key)), self.target(key)


def _opening_step(learn: Learner, table: _FileTable) -> int:
    """Return the index of the learner's transform that makes an image of a file; earlier ones take its own items."""
    steps, reason = learn.dls.valid_ds.tls[0].tfms.fs, "none"
    existing = (file for file, _ in table.files() if os.path.isfile(file))
    for file in islice(existing, _MAX_TRIED):
        for number, step in enumerate(steps):
            try:
                with guarded(file):
                    value = step(Path(file), split_idx=1)
            except Exception as error:  # noqa: BLE001 - a step for other items raises anything
                reason = f"{type(error).__name__}: {error}"
                continue
            if isinstance(value, (Image.Image, Tensor)):
                return number
    raise CleanerError(
        f"none of the learner's transforms makes an image of the files that {table.name!r} names ({reason}). "
        "Pass a learner whose inputs are opened from image files"
    )


def _check_single_label(learn: Learner) -> None:
    steps = learn.dls.valid_ds.tls[1].tfms.fs
    if not any(isinstance(step, Categorize) for step in steps) or any(isinstance(s, MultiCategorize) for s in steps):
        raise CleanerError(
            "a label table needs a learner that gives each image one label; scan this one with cleaner.scan(learn, out)"
        )
