"""What each run of an apply, an undo or an emptying of the trash has: its places, its lock, its report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from cleaner.apply.plan import Conflict
from cleaner.core.carried_out import carried_out_note, of_journal
from cleaner.core.errors import CleanerError
from cleaner.core.journal import Journal, Operation, decision_key
from cleaner.core.manifest import Manifest
from cleaner.core.records import Decision
from cleaner.core.scan import Scan
from cleaner.core.table_journal import RowChange, TableJournal

__all__ = ["Report", "check_edits", "checked", "locked", "note_on_history", "notes_on", "warnings_of"]


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        journal: file from which it can be undone; None where nothing was to be done.
        done: the moves that were made, or the changes of rows of a label table; paths relative to the dataset's folder.
        conflicts: what was left alone, and why.
        warnings: what is wrong with the manifest or the journal, so that something was left out.
        notes: what people should know, though nothing is wrong.
    """

    journal: Path | None
    done: tuple[Operation, ...] | tuple[RowChange, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def checked(manifest: str | Path, data: str | Path) -> tuple[Path, Path]:
    """The manifest, and the dataset's folder itself, so that a journal says where that is when a link to it is gone.

    Raises:
        CleanerError: one of them is not there.
    """
    manifest, root = Path(os.path.abspath(manifest)), Path(os.path.realpath(data))
    if not manifest.is_file():
        raise CleanerError(f"there is no manifest {str(manifest)!r}; it is the decisions.csv in the scan folder")
    if not root.is_dir():
        raise CleanerError(
            f"{str(data)!r} is not a folder; give the dataset's folder, or, of images at an address, a copy or mount"
        )
    return manifest, root


@contextmanager
def locked(beside: Path) -> Iterator[None]:
    """One apply, undo or emptying of the trash at a time of what lies in this folder.

    Raises:
        CleanerError: the folder cannot be written; nothing was changed.
    """
    folder = Path(os.path.abspath(beside)).parent
    lock = FileLock(folder / "apply.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise CleanerError(
            f"the folder {str(folder)!r} cannot be written ({error.strerror}), and the journal has to lie there; "
            "make it writable, or use a copy of the folder that is; nothing was moved"
        ) from error
    try:
        yield
    finally:
        lock.release()


def warnings_of(manifest: Manifest) -> tuple[str, ...]:
    """Return what is wrong with a manifest: rows left out, and acknowledged ones removed or reordered."""
    return tuple(text for text in (*manifest.warnings, manifest.edited) if text)


def check_edits(path: Path, accept_edited: bool) -> None:
    """Check that a manifest still has all acknowledged decisions in their order; called with the lock held.

    Args:
        path: the manifest.
        accept_edited: acknowledge it as it is.

    Raises:
        CleanerError: it has not, and that is not accepted.
    """
    manifest = Manifest(path)
    if accept_edited:
        manifest.accept_edits()
    elif manifest.edits:
        raise CleanerError(f"{manifest.edited} (accept_edited=True). Nothing was changed")


def notes_on(scan: Scan | None, root: Path, unchecked: Sequence[str]) -> tuple[str, ...]:
    """Say where files are known by name alone, those in `unchecked`, and may be others."""
    if scan is None or not unchecked or os.path.realpath(scan.root) == str(root):
        return ()
    return (
        f"{str(root)!r} is not the folder that was scanned, {scan.place!r}, and {len(unchecked)} decisions have no "
        f"sha256, so that their files are known by name alone, such as {unchecked[0]!r}; is it the same dataset?",
    )


def note_on_history(journals: Iterable[Journal | TableJournal], decisions: Iterable[Decision]) -> tuple[str, ...]:
    """Say how many of the decisions earlier applies carried out, and when."""
    keys = set(map(decision_key, decisions))
    note = carried_out_note(each for journal in journals for each in of_journal(journal) if each.decision in keys)
    return (note,) if note else ()
