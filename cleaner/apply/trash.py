"""The trash of one journal: its files, and their removal for good, which no other module does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.dataset_paths import remove_empty_folders, sync_folders, trash_folders
from cleaner.apply.execute import check_trust, doubt_text
from cleaner.apply.locks import locked
from cleaner.apply.plan import Conflict
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.identity import Identity
from cleaner.core.journal import AnyJournal, Journal, Operation, State, read

__all__ = ["Trash", "Trashed", "doubt", "empty", "trash"]


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash.

    Attributes:
        path: its path in the trash, relative to the dataset's folder.
        source: its path before.
        file: its current identity.
    """

    path: str
    source: str
    file: Identity


@dataclass(frozen=True)
class Trash:
    """The files that a journal put into the trash.

    Attributes:
        journal: the journal.
        files: the files that are there, or, after `empty`, those that were removed.
        left: what is left alone, and why.
        notes: information without a fault.
    """

    journal: Path
    files: tuple[Trashed, ...]
    left: tuple[Conflict, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(trashed.file.size for trashed in self.files)


def trash(journal: str | Path) -> Trash:
    """List the files that a journal put into the trash and that are still there, unchanged; change nothing.

    Files that were removed for good before are not listed.

    Raises:
        CleanerError: the journal cannot be used: its apply or its undo was interrupted, or its dataset is gone.
    """
    return _list(_usable(read(journal)))


def empty(journal: str | Path, trust: bool = False) -> Trash:
    """Remove for good the files that a journal put into the trash and that are still there, unchanged.

    The journal records what is about to be removed before it is, so that an undo can tell which files are gone for
    good, and restores those that an interrupted call left.

    Args:
        journal: the journal of the apply.
        trust: as in `cleaner.apply.execute.undo`.

    Raises:
        CleanerError: the journal cannot be used or written, or may not be yours; nothing was removed.
    """
    found = _usable(read(journal))  # before a lock is created beside a file that may be no journal
    with locked(found.path, found.data):
        found = _usable(read(journal, known=found))
        check_trust(_doubt(found), trust)
        listed = _list(found)
        if not listed.files:
            return listed
        try:
            found.mark_removed(trashed.path for trashed in listed.files)
        except CleanerError as error:
            raise CleanerError(f"{error}; nothing was removed") from error
        removed, left = _remove(listed.files, found.data)
        folders = {trashed.path.rpartition("/")[0] for trashed in removed}
        notes = sync_folders(folders, found.data, "the removal of files")
        notes = (*notes, *remove_empty_folders(trash_folders(found), found.data))
    return Trash(listed.journal, removed, (*listed.left, *left), notes)


def doubt(journal: str | Path) -> str:
    """Say why a journal may not be yours, and what `empty` would remove; empty if it is yours.

    Raises:
        CleanerError: the journal cannot be used.
    """
    return _doubt(read(journal))


def _doubt(journal: AnyJournal) -> str:
    return doubt_text(journal, f"remove files for good from {str(journal.data / TRASH)!r}")


def _usable(journal: AnyJournal) -> Journal:
    """Return a journal of moves that is at rest and whose dataset is there."""
    name = repr(str(journal.path))
    if not isinstance(journal, Journal):
        raise CleanerError(f"{name} is the journal of a label table, which has no trash; no file was moved")
    if journal.state is State.APPLYING:
        raise CleanerError(f"the apply of {name} was interrupted; give that command again first, or undo it")
    if journal.state is State.UNDOING:
        raise CleanerError(f"an undo of {name} was interrupted; give that command again first")
    if not os.path.isdir(journal.data):
        raise CleanerError(f"the journal's dataset {str(journal.data)!r} is not there; put it back first")
    return journal


def _list(journal: Journal) -> Trash:
    files: list[Trashed] = []
    left: list[Conflict] = []
    for operation in journal.carried_out:
        if operation.action != "delete" or _is_gone(operation, journal):
            continue
        path = journal.data / operation.target
        try:
            # Taken before the bytes are read: a later change is noticed when the file is removed.
            file = Identity.from_status(path, os.lstat(path), operation.file.sha256)
            reason = _reason_to_leave(operation, journal.data)
        except OSError as error:
            reason = f"it cannot be looked at: {error.strerror}"
        if reason:
            left.append(Conflict(operation.target, operation.action, reason))
        else:
            files.append(Trashed(operation.target, operation.source, file))
    return Trash(journal.path, tuple(files), tuple(left))


def _is_gone(operation: Operation, journal: Journal) -> bool:
    return operation.target in journal.removed and not os.path.lexists(journal.data / operation.target)


def _reason_to_leave(operation: Operation, root: Path) -> str:
    """Say why the file at an operation's target may not be removed; empty if it may."""
    path = root / operation.target
    if not operation.target.startswith(f"{TRASH}/"):
        return f"it is not in {TRASH!r}, so that it is not known to be trash"
    if os.path.realpath(path.parent) != os.path.join(os.path.realpath(root), *operation.target.split("/")[:-1]):
        return "its folder is reached through a link, so that it may be a file of somebody else; remove it by hand"
    if not operation.file.sha256:
        return "it could not be read when it was deleted, so it may be another file"
    if not operation.file.has_bytes_at(path):
        return "it is not the file that was deleted, or its bytes changed since"
    return ""


def _remove(files: Iterable[Trashed], root: Path) -> tuple[tuple[Trashed, ...], tuple[Conflict, ...]]:
    removed: list[Trashed] = []
    left: list[Conflict] = []
    for trashed in files:
        path = root / trashed.path
        try:
            # Its bytes were read before the journal was written; nothing may have changed since.
            if not trashed.file.is_exactly_at(path):
                left.append(Conflict(trashed.path, "delete", "it changed while the trash was emptied"))
                continue
            os.unlink(path)
            removed.append(trashed)
        except OSError as error:
            left.append(Conflict(trashed.path, "delete", f"it could not be removed: {error.strerror}"))
    return tuple(removed), tuple(left)
