"""The images to check, each with its split and label: of class folders, or of a label table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cleaner.core.files import image_files
from cleaner.core.label_table import LabelRows
from cleaner.core.labelled_files import SPLIT_FOLDERS, LabelledFiles, split_of

__all__ = ["Listed", "Listing", "listed_in_folder", "listed_in_table"]


@dataclass(frozen=True, slots=True)
class Listed:
    """An image file of the dataset.

    Attributes:
        file: its absolute path.
        split: name of its topmost folder if that is a split, else `all`.
        label: its label; empty if it has none.
    """

    file: str
    split: str
    label: str


Listing = Callable[[], Iterator[Listed]]
"""Lists all images anew each time, so that memory does not grow with their number."""


def listed_in_folder(root: Path, passed_over: Callable[[str], None] | None = None) -> Iterator[Listed]:
    """Yield the images below a folder; the label of each is the name of its folder, as fastai's `parent_label` has it.

    Images that lie in the root or in the folder of a split have no label.

    Args:
        root: the dataset's folder, absolute.
        passed_over: as in `image_files`.

    Raises:
        CleanerError: a folder cannot be listed.
    """
    unlabelled = {str(root), *(os.path.join(root, split) for split in SPLIT_FOLDERS)}
    # Sorted by folder, so that the same files give the same result on any file system.
    folders = groupby(image_files(root, passed_over), key=os.path.dirname)
    for file in (file for _, files in folders for file in sorted(files)):
        folder = os.path.dirname(file)
        # An image in `train` itself has two parts, which `split_of` takes for a class called train.
        split = os.path.basename(folder) if folder in unlabelled and folder != str(root) else split_of(file, root)
        yield Listed(file, split, "" if folder in unlabelled else os.path.basename(folder))


def listed_in_table(root: Path, rows: LabelRows) -> Iterator[Listed]:
    """Yield the images that a label table names.

    Raises:
        CleanerError: a row is invalid.
    """
    for file, label in LabelledFiles(rows, root, {}).files():
        yield Listed(file, split_of(file, root), label)
