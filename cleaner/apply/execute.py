"""Apply and undo: move files as a journal says, never over another file, so that each step can be interrupted."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from cleaner.apply import journal as journals
from cleaner.apply.journal import Journal, Operation
from cleaner.apply.labels import FolderLabels
from cleaner.apply.plan import Conflict, Plan, make_plan
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, sync_folder
from cleaner.core.manifest import Manifest
from cleaner.core.scan import load

__all__ = ["Report", "apply", "plan", "undo"]


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        journal: file from which it can be undone; None where nothing was to be done.
        done: the moves that were made, paths relative to the dataset's folder.
        conflicts: what was left alone, and why.
        warnings: what was found wrong with the manifest and mended.
    """

    journal: Path | None
    done: tuple[Operation, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()


def apply(manifest: str | Path, data: str | Path) -> Report:
    """Carry out the decisions of a manifest on a dataset whose labels are the names of its folders.

    `delete` moves the file to a hidden trash folder inside the dataset, `relabel` to the folder of the other class.
    Nothing is overwritten: where the name is taken the file gets a free one. Nothing is removed. A run that was
    interrupted is finished first; a decision that was carried out before is not carried out again.

    Args:
        manifest: the CSV of decisions.
        data: the dataset's folder.

    Raises:
        CleanerError: the manifest or the folder cannot be used; nothing was moved.
    """
    manifest, root = _checked(manifest, data)
    with _lock(manifest):
        resumed = [_run(j) for j in _journals(manifest, root) if j.interrupted]
        path = journals.new_name(manifest.parent)
        todo = _plan(manifest, root, path)
        reports = list(resumed)
        if todo.operations:
            journal = Journal(path, root, todo.operations, todo.folders)
            _write_first(journal)
            reports.append(_run(journal))
    return Report(
        journal=reports[-1].journal if reports else None,
        done=tuple(operation for report in reports for operation in report.done),
        conflicts=(*todo.conflicts, *(conflict for report in reports for conflict in report.conflicts)),
        warnings=todo.warnings,
    )


def plan(manifest: str | Path, data: str | Path) -> Plan:
    """What `apply` would do, the rest of a run that was interrupted first; changes nothing in the dataset.

    Raises:
        CleanerError: the manifest or the folder cannot be used.
    """
    manifest, root = _checked(manifest, data)
    interrupted = [operation for j in _journals(manifest, root) if j.interrupted for operation in j.operations]
    rest = tuple(operation for operation in interrupted if os.path.lexists(root / operation.source))
    todo = _plan(manifest, root, journals.new_name(manifest.parent), {operation.target for operation in rest})
    return replace(todo, operations=(*rest, *todo.operations))


def undo(journal: str | Path) -> Report:
    """Put everything back that an apply moved, also one that was interrupted.

    Args:
        journal: the journal that the apply wrote.

    Raises:
        CleanerError: the journal cannot be read, or its dataset is gone; nothing was moved.
    """
    found = journals.read(journal)
    if not found.data.is_dir():
        raise CleanerError(f"the dataset {str(found.data)!r} of this journal is not there; nothing was moved")
    with _lock(found.path):
        done, conflicts = _move_all([_reversed(operation) for operation in reversed(found.operations)], found.data)
        if not conflicts:
            for folder in sorted([*found.folders, *_trash_folders(found)], key=len, reverse=True):
                _remove_if_empty(found.data / folder)
            if not found.undone:
                found.mark("undone")
    return Report(found.path, done, conflicts)


def _checked(manifest: str | Path, data: str | Path) -> tuple[Path, Path]:
    manifest, root = Path(os.path.abspath(manifest)), Path(os.path.abspath(data))
    if not manifest.is_file():
        raise CleanerError(f"there is no manifest {str(manifest)!r}; it is the decisions.csv in the scan folder")
    if not root.is_dir():
        raise CleanerError(f"{str(data)!r} is not a folder; give the dataset's folder")
    return manifest, root


def _journals(manifest: Path, root: Path) -> Iterable[Journal]:
    return list(journals.journals_beside(manifest, root))


def _plan(manifest: Path, root: Path, journal: Path, taken: Collection[str] = ()) -> Plan:
    done = {o.decision for j in _journals(manifest, root) if not j.undone for o in j.operations}
    labels = FolderLabels.of(root, _vocab_beside(manifest))
    decisions = Manifest(manifest)
    todo = make_plan(decisions.standing().values(), labels, f"{TRASH}/{journal.stem}", done, taken)
    return replace(todo, warnings=tuple(decisions.warnings))


def _vocab_beside(manifest: Path) -> tuple[str, ...] | None:
    return load(manifest.parent).vocab if (manifest.parent / "scan.json").is_file() else None


def _lock(path: Path) -> FileLock:
    # One apply or undo at a time of what lies in this folder.
    return FileLock(path.parent / "apply.lock")


def _write_first(journal: Journal) -> None:
    try:
        journal.write()
    except OSError as error:
        raise CleanerError(f"{str(journal.path)!r} cannot be written ({error}); nothing was moved") from error


def _run(journal: Journal) -> Report:
    done, conflicts = _move_all(journal.operations, journal.data)
    sources = {conflict.path for conflict in conflicts}
    journal.mark("finished", failed=[operation for operation in journal.operations if operation.source in sources])
    return Report(journal.path, done, conflicts)


def _move_all(operations: Sequence[Operation], root: Path) -> tuple[tuple[Operation, ...], tuple[Conflict, ...]]:
    """Make the moves that are not made yet, and the folders that they need; then they are on the disk."""
    done: list[Operation] = []
    conflicts: list[Conflict] = []
    for operation in operations:
        source, target = root / operation.source, root / operation.target
        if not os.path.lexists(source):
            if not os.path.lexists(target):
                conflicts.append(Conflict(operation.source, operation.action, f"neither it nor {target} is there"))
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)
        except OSError as error:
            reason = f"it could not be moved to {operation.target!r}: {error.strerror}"
            conflicts.append(Conflict(operation.source, operation.action, reason))
        else:
            done.append(operation)
    # All of them: what was moved before an interruption may not be on the disk yet.
    for folder in {(root / path).parent for operation in operations for path in (operation.source, operation.target)}:
        if folder.is_dir():
            sync_folder(folder)
    return tuple(done), tuple(conflicts)


def _reversed(operation: Operation) -> Operation:
    return replace(operation, source=operation.target, target=operation.source)


def _trash_folders(journal: Journal) -> set[str]:
    """The folders that the journal's deleted files lay in; they are ours whoever made them."""
    folders = {TRASH}
    for operation in journal.operations:
        if operation.action == "delete":
            parts = operation.target.split("/")[:-1]
            folders.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
    return folders


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _move(source: Path, target: Path) -> None:
    """Rename `source` to `target` in one step that fails if there is a file at `target`.

    Raises:
        FileExistsError: the target is taken.
        OSError: the move is not possible.
    """
    if _rename_noreplace is not None:
        if _rename_noreplace(source, target):
            return
    elif os.name == "nt":
        os.rename(source, target)  # which on Windows refuses to overwrite
        return
    # A file system that cannot do it in one step: take the name first, then replace what we took.
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        empty = os.fstat(handle)
    finally:
        os.close(handle)
    try:
        os.replace(source, target)
    except BaseException:
        if os.path.samestat(empty, os.lstat(target)):
            os.unlink(target)
        raise


def _find_rename_noreplace() -> Callable[[Path, Path], bool] | None:
    """Linux's renameat2 with RENAME_NOREPLACE, which the standard library does not offer; None elsewhere."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return None
    at_cwd, noreplace = -100, 1

    def rename(source: Path, target: Path) -> bool:
        if renameat2(at_cwd, os.fsencode(source), at_cwd, os.fsencode(target), noreplace) == 0:
            return True
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS):
            return False  # not on this file system
        raise OSError(code, os.strerror(code), str(target))

    return rename


_rename_noreplace = _find_rename_noreplace()
