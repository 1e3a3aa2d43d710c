"""The check that a manifest can be about a folder: otherwise each of its decisions would be a conflict."""

from __future__ import annotations

import os
from pathlib import Path

from cleaner.apply.plan import PlanContext, asks_for_change
from cleaner.core.dataset_check import check_has_images, has_any
from cleaner.core.errors import CleanerError
from cleaner.core.scan import load

__all__ = ["check_is_dataset"]


def check_is_dataset(context: PlanContext, root: Path) -> None:
    """Check that one of the files decided about is below `root`, or an image of the scan beside the manifest.

    Raises:
        CleanerError: none is.
    """
    paths = [path for path, decision in context.decisions.items() if asks_for_change(decision)]
    is_known = any(os.path.realpath(journal.data) == str(root) for journal in context.journals)
    if not paths or is_known or has_any(root, paths):
        return
    if context.header is not None:
        try:
            scan = load(context.manifest.path.parent)
        except CleanerError:
            return  # its tables are not needed for an apply
        check_has_images(scan, root)
    elif len(paths) > 1:
        raise CleanerError(
            f"none of the {len(paths)} files to delete or relabel is in {str(root)!r}, such as {paths[0]!r}; give the "
            "folder that their paths begin in"
        )
