"""The images at an fsspec address as items for a fastai learner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cleaner.scoring.sources.addresses import Address
from cleaner.scoring.sources.fastai_loading import FolderItems, split_of
from cleaner.scoring.sources.loading import Key

__all__ = ["AddressItems"]


@dataclass(frozen=True)
class AddressItems(FolderItems):
    """The image files at an address; a key is the path that a file would have below `root`, and then of its copy.

    Attributes:
        root: the folder that stands for the address.
        split: as in `FolderItems`.
        address: where the files are.
    """

    address: Address

    def keys(self) -> Iterator[Key]:
        below = "" if self.split == "all" else self.split
        # Where any file in a folder is of another split, all below it is.
        found = self.address.image_files(below, lambda folder: self._is_mine(f"{folder}/any"))
        return (str(self.root / path) for path in found if self._is_mine(path))

    @contextmanager
    def fetched(self, key: Key) -> Iterator[Key]:
        with self.address.fetched(Path(key).relative_to(self.root).as_posix()) as copy:
            yield str(copy)

    def _is_mine(self, path: str) -> bool:
        return split_of(str(self.root / path), self.root) == self.split
