"""Sentences about arguments of a wrong type: what is accepted, what came, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.scan_files import DESCRIPTION

__all__ = [
    "MANIFEST",
    "as_path",
    "check_scan_folder",
    "described",
    "is_learner",
    "manifest_path",
    "table_path",
    "unexpected",
]

MANIFEST = "decisions.csv"
"""Name of the manifest in a scan folder."""

_FILE_SUFFIXES = (".csv", ".json", ".jsonl", ".pkl", ".pth")

# What to do with an object of a class, by the name of the class or of one that it is derived from.
_ADVICE = {
    "Scan": "it is a scan already",
    "Learner": "scan it first: scan = cleaner.scan(learn, out='scan')",
    "DataLoaders": "pass the learner that was trained on them: scan = cleaner.scan(learn, out='scan')",
    "DataLoader": "pass the learner that was trained on it: scan = cleaner.scan(learn, out='scan')",
    "Module": "scan it first: scan = cleaner.scan_model(model, dataset, out='scan')",
    "Review": "pass its scan: review.session.scan",
    "Interpretation": "pass its scan: interp.scan",
    "CheckReport": "pass the scan folder that `cleaner.check` wrote",
    "Report": "pass the scan that was applied",
    "Manifest": "pass the scan folder that holds it",
    "DataFrame": "pass the scan that it is of",
}


def described(value: Any) -> str:
    """Return what a value is, for a message: a path as it is written, else its type."""
    if isinstance(value, (str, os.PathLike)):
        return repr(os.fspath(value))
    return "None" if value is None else type(value).__name__


def unexpected(accepted: str, value: Any, advice: str) -> CleanerError:
    """Return the error for an argument of a wrong type."""
    return CleanerError(f"expected {accepted}, got {described(value)}; {advice}")


def is_learner(value: Any) -> bool:
    """Return whether a value is a fastai `Learner`, without an import of fastai."""
    return "Learner" in _class_names(value)


def as_path(name: str, value: Any, accepted: str) -> Path:
    """Return a path argument; `name` and `accepted` are for the error.

    Raises:
        CleanerError: the value is neither text nor a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise unexpected(f"{accepted} as {name}", value, "pass its path")
    return Path(value)


def table_path(labels: Any) -> Path:
    """Return the path of a label table.

    Raises:
        CleanerError: the value is no path, such as a DataFrame.
    """
    if hasattr(labels, "to_csv"):
        raise unexpected(
            "the path of a label table as labels", labels, "write it: df.to_csv('labels.csv', index=False)"
        )
    return as_path("labels", labels, "the path of a label table")


def check_scan_folder(value: Any) -> Path:
    """Return the path of a scan folder; of something else say what to pass.

    Raises:
        CleanerError: the value is no path, or that of a file or of a folder without a scan.
    """
    if not isinstance(value, (str, os.PathLike)):
        accepted = (
            "the path of a scan folder" if "Scan" in _class_names(value) else "a scan or the path of a scan folder"
        )
        raise unexpected(accepted, value, _advice_for(value))
    path = Path(value)
    if path.is_file() or (path.suffix in _FILE_SUFFIXES and not path.is_dir()):
        is_inside = (path.parent / DESCRIPTION).exists()
        advice = f"pass the folder itself: {str(path.parent)!r}" if is_inside else _advice_for_file(path)
        raise CleanerError(f"{described(value)} is not the folder of a finished scan; {advice}")
    return path


def manifest_path(value: Any) -> Path:
    """Return the path of a manifest, from that path.

    Raises:
        CleanerError: the value is no path, or that of a folder or of another file of a scan.
    """
    accepted = f"the path of a {MANIFEST}"
    if not isinstance(value, (str, os.PathLike)):
        advice = "pass scan.manifest_path" if hasattr(value, "manifest_path") else _advice_for(value)
        raise unexpected(accepted, value, advice)
    path = Path(value)
    if path.is_dir():
        raise unexpected(accepted, value, f"that is a folder; pass the manifest of a scan: {str(path / MANIFEST)!r}")
    if path.suffix in (".json", ".pkl") or path.name == "top_losses.csv":
        raise unexpected(accepted, value, f"pass the manifest of a scan, such as {str(path.parent / MANIFEST)!r}")
    return path


def _advice_for(value: Any) -> str:
    return next((_ADVICE[name] for name in _class_names(value) if name in _ADVICE), "make one with cleaner.scan")


def _advice_for_file(path: Path) -> str:
    if path.suffix == ".pkl":
        return "a learner file is scanned first: cleaner.scan_folder(load_learner(file), data, out='scan')"
    return "a scan writes one: cleaner.scan(learn, out='scan')"


def _class_names(value: Any) -> Iterator[str]:
    return (kind.__name__ for kind in type(value).__mro__)
