"""The rows of a label table as a dataset for a fastai learner, whatever its own items and labels were made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
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
from cleaner.core.labelled_files import LabelledFiles, split_of
from cleaner.scoring.data.checks import check_folder
from cleaner.scoring.data.fastai_data import FastaiData, FastaiDataset, surveyed
from cleaner.scoring.data.reader import guarded
from cleaner.scoring.model.targets import Targets

__all__ = ["from_table"]

# Files that are tried to find the step that opens images.
_MAX_TRIED = 64


def from_table(learn: Learner, targets: Targets, data: Path, rows: LabelRows, batch_size: int | None) -> FastaiData:
    """Return the images that a label table names, with the labels in its rows."""
    _check_single_label(learn)
    table = LabelledFiles(rows, check_folder(data), {label: index for index, label in enumerate(targets.vocab)})
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
class _TableListing:
    """The rows of a table whose files are of one split."""

    table: LabelledFiles
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


def _opening_step(learn: Learner, table: LabelledFiles) -> int:
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
