"""What each run of an apply, an undo or an emptying of the trash has: its places, its lock, its report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from cleaner.core.settings import journal_key
from cleaner.core.table_journal import RowChange, TableJournal

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

__all__ = [
    "Report",
    "check_edits",
    "check_trust",
    "checked",
    "doubt_about",
    "locked",
    "note_on_history",
    "notes_on",
    "notes_on_key",
    "warnings_of",
]


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        journal: file from which it can be undone; None where nothing was to be done.
        done: the moves that were made, or the changes of rows of a label table; paths relative to the dataset's folder.
        conflicts: what was left alone, and why.
        warnings: what is wrong with the manifest or the journal, so that something was left out.
        notes: what people should know, though nothing is wrong.
        changed: the dataset's folder in which files were moved, or the label table; None where nothing was done.
    """

    journal: Path | None
    done: tuple[Operation, ...] | tuple[RowChange, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: Path | None = None


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
def locked(beside: Path, changed: Path) -> Iterator[None]:
    """Run one apply, undo or emptying of the trash at a time, also of those that belong to other scan folders.

    Args:
        beside: the manifest or journal in whose folder journals are written.
        changed: the folder that changes: the dataset's, or that of the label table.

    Raises:
        CleanerError: the folder of journals cannot be written, or `changed` not be locked; nothing was changed.
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
        # Always in this order, so that no two runs wait for each other.
        with _held(changed) if os.path.isdir(changed) else nullcontext():
            yield
    finally:
        lock.release()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder that is the user's: it gets no file for that, and needs not be writable."""
    try:
        handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    except OSError as error:
        raise CleanerError(f"{str(folder)!r} cannot be locked ({error.strerror}); nothing was changed") from error
    try:
        with nullcontext() if handle is not None and _lock(handle) else _hidden_lock(folder):
            yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Wait for the lock on an open folder; false where its file system locks no folders, as over a network."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


@contextmanager
def _hidden_lock(folder: Path) -> Iterator[None]:
    """Lock a folder by a hidden file in it, where the folder itself cannot be locked."""
    lock = FileLock(folder / ".cleaner.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise CleanerError(
            f"{str(folder)!r} cannot be locked ({error.strerror}); make it writable; nothing was changed"
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


def check_trust(doubt: str, trust: bool) -> None:
    """Refuse a journal that this user may not have written, unless they trust it.

    Args:
        doubt: why it may be somebody else's, and what it would change; empty where it is this user's.
        trust: whether the user trusts it whoever wrote it.

    Raises:
        CleanerError: it is not known to be theirs and they did not say that they trust it; nothing was changed.
    """
    if doubt and not trust:
        raise CleanerError(f"{doubt}; give --yes (in Python trust=True) if that is what you want; nothing was changed")


def doubt_about(path: Path, doubt: str, would: str) -> str:
    """Say why a journal may be somebody else's, and what would be done; empty where there is no doubt."""
    return doubt and f"{str(path)!r} is not known to be a journal that you wrote ({doubt}). This would {would}"


def notes_on_key() -> tuple[str, ...]:
    """What keeps journals from being known as this user's; empty where nothing does."""
    try:
        journal_key(make=True)
    except (OSError, ValueError) as error:
        return (f"this apply cannot be known as yours, so that an undo of it asks first: {error}",)
    return ()


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
