"""The trash of one journal: what lies there, and removing it for good, which nothing else here does with any file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.execute import remove_if_empty, trash_folders
from cleaner.apply.plan import Conflict
from cleaner.apply.run import check_trust, doubt_about, locked
from cleaner.core import journal as journals
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sync_folder
from cleaner.core.identity import Identity
from cleaner.core.journal import Journal, Operation, State

__all__ = ["Trash", "Trashed", "doubt", "empty", "trash"]


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash.

    Attributes:
        path: where it lies, relative to the dataset's folder.
        source: where it came from.
        file: what tells it from others, as it lies there now.
    """

    path: str
    source: str
    file: Identity


@dataclass(frozen=True)
class Trash:
    """What a journal put into the trash.

    Attributes:
        journal: the journal.
        files: those that are there, or, after they were removed, were.
        left: what is left alone, and why.
        notes: what people should know, though nothing is wrong.
    """

    journal: Path
    files: tuple[Trashed, ...]
    left: tuple[Conflict, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(each.file.size for each in self.files)


def trash(journal: str | Path) -> Trash:
    """What a journal put into the trash and is still there with the bytes that it had; changes nothing.

    What was removed for good before is not listed.

    Raises:
        CleanerError: the journal cannot be used: its apply or its undo was interrupted, or its dataset is gone.
    """
    return _found(_settled(journal))


def empty(journal: str | Path, trust: bool = False) -> Trash:
    """Remove for good what a journal put into the trash and is still there with the bytes that it had.

    The journal says what is about to be removed before it is, so that an undo can tell what is gone for good, and
    puts back what an interrupted call did not come to.

    Args:
        journal: the journal of the apply.
        trust: as in `cleaner.apply.execute.undo`.

    Raises:
        CleanerError: the journal cannot be used or written, or is not known to be yours; nothing was removed.
    """
    found = _settled(journal)  # before a lock is made beside what may be no journal
    with locked(Path(journal), found.data):
        found = _settled(journal)
        check_trust(_doubt(found), trust)
        there = _found(found)
        if not there.files:
            return there
        try:
            found.mark_removed(each.path for each in there.files)
        except CleanerError as error:
            raise CleanerError(f"{error}; nothing was removed") from error
        removed, left = _remove(there.files, found.data)
        notes = _sync({each.path.rpartition("/")[0] for each in removed}, found.data)
        notes = (*notes, *remove_if_empty(trash_folders(found), found.data))
    return Trash(there.journal, removed, (*there.left, *left), notes)


def doubt(journal: str | Path) -> str:
    """Say why a journal may not be written by this user, and what `empty` would remove; empty where it is theirs.

    Raises:
        CleanerError: the journal cannot be used.
    """
    return _doubt(journals.read(journal))


def _doubt(journal: Journal) -> str:
    return doubt_about(journal.path, journal.doubt, f"remove files for good from {str(journal.data / TRASH)!r}")


def _settled(path: str | Path) -> Journal:
    found = journals.read(path)
    if found.state is State.APPLYING:
        raise CleanerError(f"the apply of {str(path)!r} was interrupted; give that command again first, or undo it")
    if found.state is State.UNDOING:
        raise CleanerError(f"an undo of {str(path)!r} was interrupted; give that command again first")
    if not os.path.isdir(found.data):
        raise CleanerError(f"the journal's dataset {str(found.data)!r} is not there; put it back first")
    return found


def _found(journal: Journal) -> Trash:
    files: list[Trashed] = []
    left: list[Conflict] = []
    for operation in journal.carried_out:
        if operation.action != "delete" or _is_gone(operation, journal):
            continue
        path = journal.data / operation.target
        try:
            # As it is before its bytes are looked at: what changes after that is seen when it is removed.
            file = Identity.of(path, os.lstat(path), operation.file.sha256)
            reason = _reason_to_leave(operation, journal.data)
        except OSError as error:
            left.append(Conflict(operation.target, operation.action, f"it cannot be looked at: {error.strerror}"))
            continue
        if reason:
            left.append(Conflict(operation.target, operation.action, reason))
        else:
            files.append(Trashed(operation.target, operation.source, file))
    return Trash(journal.path, tuple(files), tuple(left))


def _is_gone(operation: Operation, journal: Journal) -> bool:
    return operation.target in journal.removed and not os.path.lexists(journal.data / operation.target)


def _reason_to_leave(operation: Operation, root: Path) -> str:
    """Why the file at an operation's target may not be removed; empty where it may."""
    path = root / operation.target
    if not operation.target.startswith(f"{TRASH}/"):
        return f"it is not in {TRASH!r}, so that it is not known to be trash"
    if os.path.realpath(path.parent) != os.path.join(os.path.realpath(root), *operation.target.split("/")[:-1]):
        return "its folder is reached through a link, so that it may be a file of somebody else; remove it by hand"
    if not operation.file.sha256:
        return "it could not be read when it was deleted, so that nobody can say that it is that file"
    if not operation.file.has_bytes_at(path):
        return "it is not the file that was deleted, or its bytes changed since"
    return ""


def _remove(files: Iterable[Trashed], root: Path) -> tuple[tuple[Trashed, ...], tuple[Conflict, ...]]:
    removed: list[Trashed] = []
    left: list[Conflict] = []
    for each in files:
        path = root / each.path
        try:
            # Its bytes were looked at before the journal was written; nothing may have changed since.
            if not each.file.is_exactly_at(path):
                left.append(Conflict(each.path, "delete", "it changed while the trash was emptied"))
                continue
            os.unlink(path)
            removed.append(each)
        except OSError as error:
            left.append(Conflict(each.path, "delete", f"it could not be removed: {error.strerror}"))
    return tuple(removed), tuple(left)


def _sync(folders: Iterable[str], root: Path) -> tuple[str, ...]:
    notes = []
    for folder in sorted(folders):
        try:
            sync_folder(root / folder)
        except OSError as error:
            notes.append(f"whether it is removed after a power cut is unknown for {folder!r}: {error.strerror}")
    return tuple(notes)
