"""The images at an fsspec address as items for a fastai learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cleaner.scoring.sources.addresses import Address
from cleaner.scoring.sources.fastai_loading import FolderItems
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

    def _walk(self, passed_over: Callable[[str], None]) -> Iterator[str]:
        below = "" if self.split == "all" else self.split
        # If any file in a folder is of another split, all below it are.
        enter = lambda folder: self._is_mine(str(self.root / folder / "any"))  # noqa: E731
        found = self.address.image_files(below, enter, lambda path: passed_over(str(self.root / path)))
        return (str(self.root / path) for path in found)

    @contextmanager
    def fetched(self, key: Key) -> Iterator[Key]:
        with self.address.fetched(Path(key).relative_to(self.root).as_posix()) as copy:
            yield str(copy)
