"""Checks before a scan: whether a folder may hold it, and how it differs from the scan that is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cleaner.core.errors import CleanerError
from cleaner.core.features import FEATURE_FILES
from cleaner.core.scan_files import DESCRIPTION, is_work_file
from cleaner.core.scan_json import read_description
from cleaner.core.tasks import SINGLE_LABEL
from cleaner.core.terminal import abbreviate

__all__ = ["check_out", "inside_dataset", "vocab_change"]

# Without `scan.json`, a scan that was stopped can have left these.
_SCAN_FILES = frozenset(
    (
        "top_losses.csv",
        "confusion.csv",
        "unreadable.csv",
        "classes.csv",
        "checkpoint",
        "drawn",
        "history.jsonl",
        "issues.csv",
        "checking",
        *FEATURE_FILES,
    )
)


def check_out(folder: Path, root: str | Path, vocab: Iterable[str], task: str = SINGLE_LABEL) -> None:
    """Check that a scan of the dataset at `root`, a folder or an address, may be written to `folder`.

    Raises:
        CleanerError: the folder holds the scan of another dataset or other files, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise CleanerError(f"{str(folder)!r} is a file; the scan needs a folder of its own")
    if not folder.exists():
        _check_can_be_made(folder)
        return
    if not os.access(folder, os.W_OK):
        raise CleanerError(f"{str(folder)!r} is not writable; give another folder")
    if (folder / DESCRIPTION).exists():
        _check_is_same_dataset(folder, root, vocab, task)
        return
    strangers = sorted(entry.name for entry in folder.iterdir() if not _is_own(entry.name))
    if strangers:
        raise CleanerError(
            f"{str(folder)!r} is not a scan folder: it holds {strangers[:3]}; give a new or empty folder"
        )


def vocab_change(folder: Path, vocab: Iterable[str]) -> str:
    """Describe which labels of the scan in `folder` the vocabulary lacks or adds; empty for the same labels."""
    if not (folder / DESCRIPTION).exists():
        return ""
    before, now = set(read_description(folder)["vocab"]), set(vocab)
    changes = (("lost", before - now), ("gained", now - before))
    parts = [f"{verb} {abbreviate(map(repr, sorted(labels)))}" for verb, labels in changes if labels]
    return f"since the last scan in {str(folder)!r} the vocabulary {' and '.join(parts)}" if parts else ""


def inside_dataset(folder: Path, root: str | Path) -> str:
    """Say if a scan folder lies in the dataset's folder; empty if not."""
    if not os.path.realpath(folder).startswith(os.path.join(os.path.realpath(root), "")):
        return ""
    return (
        f"the scan folder {str(folder)!r} lies in the dataset {str(root)!r}: torchvision's ImageFolder takes it for a "
        "class, and its images may be listed as the dataset's; put it elsewhere"
    )


def _check_is_same_dataset(folder: Path, root: str | Path, vocab: Iterable[str], task: str) -> None:
    scan = read_description(folder)
    difference = ""
    if Path(scan["root"]) != Path(root):
        difference = f"of another dataset, {scan['root']!r}; this one is {str(root)!r}"
    elif not set(scan["vocab"]) & set(vocab):
        difference = f"with other labels ({abbreviate(scan['vocab'])}); this one has {abbreviate(vocab)}"
    elif scan["task"] != task:
        difference = f"of the task {scan['task']!r}; this one is {task!r}"
    if difference:
        raise CleanerError(f"{str(folder)!r} holds a scan {difference}. Give another folder")


def _check_can_be_made(folder: Path) -> None:
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise CleanerError(f"{str(folder)!r} cannot be made: {str(parent)!r} is not a writable folder")


def _is_own(name: str) -> bool:
    """Return whether scanning, reviewing or applying can have left a file of this name."""
    suffixes, prefixes = (".part", ".lock"), ("journal-", "decisions.csv")
    return name in _SCAN_FILES or is_work_file(name) or name.endswith(suffixes) or name.startswith(prefixes)
