"""The objects that `apply`, `undo` and `cleaned` accept for a manifest or a journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cleaner.apply.report import Report
from cleaner.core.arguments import MANIFEST, described, manifest_path, unexpected
from cleaner.core.errors import CleanerError
from cleaner.core.journal import AnyJournal, Journal, State, TableJournal, journals_in
from cleaner.core.scan import Scan
from cleaner.core.scan_files import DESCRIPTION

__all__ = ["data_of", "journal_of", "manifest_of"]


def manifest_of(source: Any) -> Path:
    """Return the path of the manifest of a scan, a scan folder, a report of an apply, or a manifest's own path.

    Raises:
        CleanerError: it is something else, or nothing is decided yet.
    """
    if isinstance(source, Scan):
        path = source.manifest_path
    elif isinstance(source, Report):
        if source.manifest is None:
            raise CleanerError("this is the report of an undo, which applies nothing; pass the scan")
        path = source.manifest
    elif isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        path = Path(source) / MANIFEST
        if not path.is_file() and not (Path(source) / DESCRIPTION).exists():
            raise CleanerError(
                f"{described(source)} is neither a scan folder nor a manifest; pass the scan folder, or its {MANIFEST}"
            )
    elif source is None:
        raise CleanerError(f"got no decisions; pass the scan, its folder or its {MANIFEST}")
    else:
        path = manifest_path(source)
    if not path.is_file() and (path.parent / DESCRIPTION).exists():
        raise CleanerError(
            f"nothing is decided yet about the scan {str(path.parent)!r}; review it first: cleaner.Review(scan)"
        )
    if not path.is_file():
        raise CleanerError(f"there is no manifest {str(path)!r}; pass the scan folder, or its {MANIFEST}")
    return path


def data_of(source: Any, data: str | Path | None) -> str | Path | None:
    """Return the dataset's folder as given, or as a `Scan` has it; None for that of the scan beside the manifest."""
    if data is None and isinstance(source, Scan) and (not source.address or source.root.is_dir()):
        return source.root
    return data


def journal_of(source: Any) -> Path:
    """Return the path of a journal, from a report, that path, or a scan or scan folder with one apply to undo.

    Raises:
        CleanerError: it is something else, the report has no journal, or the folder has none or several.
    """
    if isinstance(source, Report):
        if source.journal is None:
            reason = "a dry run changes nothing" if source.is_dry_run else "nothing was changed"
            raise CleanerError(f"the report has no journal, as {reason}, so there is nothing to undo")
        return source.journal
    folder = source.folder if isinstance(source, Scan) else source
    if not isinstance(folder, (str, os.PathLike)):
        raise unexpected(
            "the report of an apply or the path of its journal", source, "pass what cleaner.apply returned"
        )
    path = Path(folder)
    if path.name in (MANIFEST, DESCRIPTION):
        path = path.parent
    return _only_journal(path, described(folder)) if path.is_dir() else path


def _only_journal(folder: Path, name: str) -> Path:
    """Return the journal of a folder's only apply that is not undone; the user called the folder `name`."""
    kinds: tuple[type[AnyJournal], ...] = (Journal, TableJournal)
    journals = [journal for kind in kinds for journal in journals_in(folder, kind)]
    if not journals:
        raise CleanerError(
            f"{name} is not a journal of an apply; no apply left a journal in {str(folder)!r}, so there is "
            "nothing to undo"
        )
    due = [journal for journal in journals if journal.state is not State.UNDONE]
    if len(due) == 1:
        return due[0].path
    last = max(due or journals, key=lambda journal: journal.written)
    each = f"{len(due)} applies that can be undone" if due else "no apply that is not undone already"
    raise CleanerError(f"{name} has {each}; pass the journal of one, such as the last, {str(last.path)!r}")
