"""What every source checks before any image is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cleaner.core.errors import CleanerError

__all__ = ["check_labels", "check_number", "checked_folder", "root_of"]


def check_number(name: str, value: int | None, at_least: int) -> None:
    """Check that `value` is None or a whole number that is not too small.

    Raises:
        CleanerError: it is not.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < at_least):
        raise CleanerError(f"{name} is {value!r}; a whole number of at least {at_least} is accepted")


def check_labels(labels: tuple[str, ...], whose: str, at_least: int = 2) -> None:
    """Check that a classifier can have these labels; `whose` they are, such as `the learner`, is for people.

    Raises:
        CleanerError: two labels are the same text, or one is empty, or there are fewer than `at_least`.
    """
    if len(set(labels)) != len(labels):
        raise CleanerError(f"{whose}'s labels {labels} are not different as text; rename one")
    if "" in labels:
        raise CleanerError(f"one of {whose}'s labels {labels} is empty; give that class a name")
    if len(labels) < at_least:
        raise CleanerError(f"{whose} knows one class, {list(labels)}; with fewer than two every loss is 0")


def checked_folder(folder: Path) -> Path:
    """The absolute path of a folder.

    Raises:
        CleanerError: it is none.
    """
    if not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is not a folder; give the folder that holds the images")
    return Path(os.path.abspath(folder))


def root_of(own: str | None, folders: Iterable[str]) -> Path:
    """`own` where all folders are below it and it is not the current one; else the folder that they have in common."""
    folders = list(folders)
    if own is not None and own != os.getcwd() and all(Path(folder).is_relative_to(own) for folder in folders):
        return Path(own)
    return Path(os.path.commonpath(folders))
