"""The check that a folder can be the dataset of a scan: at least one of its images is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cleaner.core.errors import CleanerError
from cleaner.core.journal import Journal, journals_in
from cleaner.core.scan import Scan

__all__ = ["check_has_images", "has_any"]


def check_has_images(scan: Scan, root: Path) -> None:
    """Check that a folder holds at least one image of a scan, where it was or where an apply moved it.

    Raises:
        CleanerError: none is there.
    """
    first = next(_paths(scan), None)
    if first is None or has_any(root, _paths(scan)) or has_any(root, _moved(scan)):
        return
    raise CleanerError(
        f"none of the images of the scan is in {str(root)!r}, such as {first!r}; pass the folder that this path begins "
        "in"
    )


def has_any(root: Path, paths: Iterable[str]) -> bool:
    """Return whether one of some files is below a folder."""
    return any(os.path.lexists(os.path.join(root, path)) for path in paths)


def _paths(scan: Scan) -> Iterator[str]:
    for listed in (scan.samples, scan.audit, scan.typical, scan.issues):
        yield from (each.path for each in listed)


def _moved(scan: Scan) -> Iterator[str]:
    folder = scan.folder
    try:
        journals = journals_in(folder, Journal) if folder else []
    except CleanerError:
        return  # a damaged journal is reported where it matters
    for journal in journals:
        yield from (operation.target for operation in journal.operations)
