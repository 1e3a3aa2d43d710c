"""Checks that every dataset makes before any image is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cleaner.core.errors import CleanerError

__all__ = ["check_folder", "check_number", "common_root"]


def check_number(name: str, value: int | None, min_value: int) -> None:
    """Check that `value` is None or a whole number of at least `min_value`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < min_value):
        raise CleanerError(f"{name} is {value!r}; pass a whole number of at least {min_value}")


def check_folder(folder: Path) -> Path:
    """Return the absolute path of a folder."""
    if not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is not a folder; pass the folder that holds the images")
    return Path(os.path.abspath(folder))


def common_root(own: str | None, folders: Iterable[str]) -> Path:
    """Return `own` if all folders are below it and it is not the current folder, else their common folder."""
    folders = list(folders)
    if own is not None and own != os.getcwd() and all(Path(folder).is_relative_to(own) for folder in folders):
        return Path(own)
    return Path(os.path.commonpath(folders))
