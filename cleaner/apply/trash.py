"""The trash of one journal: its files, and their removal for good, which no other module does."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cleaner.apply.dataset_paths import remove_empty_folders, sync_folders, trash_folders
from cleaner.apply.execute import check_trust, doubt_text
from cleaner.apply.file_undo import reversed_move
from cleaner.apply.locks import locked
from cleaner.apply.plan import Conflict, Refusal, try_each
from cleaner.apply.report import Report
from cleaner.apply.sources import journal_of
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.identity import Identity
from cleaner.core.journal import AnyJournal, Journal, Operation, State, read, trash_path

__all__ = ["Trash", "doubt", "empty", "trash"]


@dataclass(frozen=True)
class Trash:
    """The files that a journal put into the trash.

    Attributes:
        journal: the journal.
        files: those that are there, or, after `empty`, those that were removed, each as its move out of the trash:
            `source` is in the trash, `target` is the path before, and `file` the current identity.
        left: what is left alone, and why.
        notes: information without a fault.
        elsewhere: the folder of a trash outside of the dataset; None for the hidden one in it.
    """

    journal: Path
    files: tuple[Operation, ...]
    left: tuple[Conflict, ...]
    notes: tuple[str, ...] = ()
    elsewhere: Path | None = None

    def shown_path(self, path: str) -> str:
        """Return the path of a file for people: in a trash outside of the dataset the whole path."""
        return str(trash_path(self.elsewhere, path) or path)

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(trashed.file.size for trashed in self.files)


def trash(journal: Report | str | Path) -> Trash:
    """List the files that a journal put into the trash and that are still there, unchanged; change nothing."""
    return _list(_usable(read(journal_of(journal))))


def empty(journal: Report | str | Path, trust: bool = False) -> Trash:
    """Remove for good the files that a journal put into the trash and that are still there, unchanged.

    The journal records what is about to be removed before it is, so that an undo can tell which files are gone for
    good, and restores those that an interrupted call left. A journal that may not be yours needs `trust`, as in
    `cleaner.apply.execute.undo`.
    """
    found = _usable(read(journal_of(journal)))  # before a lock is created beside a file that may be no journal
    with locked(found.path, found.data):
        found = _usable(read(found.path, known=found))
        check_trust(_doubt(found), trust)
        listed = _list(found)
        if not listed.files:
            return listed
        try:
            found.mark_removed(trashed.source for trashed in listed.files)
        except CleanerError as error:
            raise CleanerError(f"{error}; nothing was removed") from error
        removed, left = try_each(listed.files, partial(_remove, journal=found))
        folders = {trashed.source.rpartition("/")[0] for trashed in removed}
        notes = sync_folders(folders, found, "the removal of files")
        notes = (*notes, *remove_empty_folders(trash_folders(found), found))
    return Trash(listed.journal, removed, (*listed.left, *left), notes, found.trash)


def doubt(journal: Report | str | Path) -> str:
    """Say why a journal may not be yours, and what `empty` would remove; empty if it is yours."""
    return _doubt(read(journal_of(journal)))


def _doubt(journal: AnyJournal) -> str:
    trash = journal.file_at(TRASH) if isinstance(journal, Journal) else journal.data / TRASH
    return doubt_text(journal, f"remove files for good from {str(trash)!r}")


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
    deleted = [reversed_move(o) for o in journal.carried_out if o.action == "delete" and not _is_gone(o, journal)]
    return Trash(journal.path, *try_each(deleted, partial(_identified, journal=journal)), elsewhere=journal.trash)


def _is_gone(operation: Operation, journal: Journal) -> bool:
    return operation.target in journal.removed and not os.path.lexists(journal.file_at(operation.target))


def _identified(trashed: Operation, journal: Journal) -> Operation:
    """Return a file in the trash with its current identity; refuse one that may not be removed."""
    path = journal.file_at(trashed.source)
    try:
        # Taken before the bytes are read: a later change is noticed when the file is removed.
        file = Identity.from_status(path, os.lstat(path), trashed.file.sha256)
    except OSError as error:
        raise Refusal(f"it cannot be looked at: {error.strerror}") from error
    if not trashed.source.startswith(f"{TRASH}/"):
        raise Refusal(f"it is not in {TRASH!r}, so that it is not known to be trash")
    if journal.doubt and journal.trash is not None:
        raise Refusal("it is outside of the dataset, and the journal may not be yours; remove it by hand")
    top = journal.data if journal.trash is None else journal.trash
    if os.path.realpath(path.parent) != os.path.join(os.path.realpath(top), path.parent.relative_to(top)):
        raise Refusal(
            "its folder is reached through a link, so that it may be a file of somebody else; remove it by hand"
        )
    if not trashed.file.sha256:
        raise Refusal("it could not be read when it was deleted, so it may be another file")
    if not trashed.file.has_bytes_at(path):
        raise Refusal("it is not the file that was deleted, or its bytes changed since")
    return replace(trashed, file=file)


def _remove(trashed: Operation, journal: Journal) -> Operation:
    # Its bytes were read before the journal was written; nothing may have changed since.
    if not trashed.file.is_exactly_at(journal.file_at(trashed.source)):
        raise Refusal("it changed while the trash was emptied")
    try:
        os.unlink(journal.file_at(trashed.source))
    except OSError as error:
        raise Refusal(f"it could not be removed: {error.strerror}") from error
    return trashed
