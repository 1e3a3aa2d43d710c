"""Apply and undo: move files as a journal says, never over another file, so that each step can be interrupted."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cleaner.apply import moves
from cleaner.apply.labels import FolderLabels, Labels, NameLabels, Refusal
from cleaner.apply.plan import Conflict, Done, Inside, Plan, folders_of, make_plan
from cleaner.apply.run import (
    Report,
    check_edits,
    check_trust,
    checked,
    doubt_about,
    locked,
    note_on_history,
    notes_on,
    notes_on_key,
    warnings_of,
)
from cleaner.apply.tables.execute import TableLabels, apply_to_table, doubt_about_table, plan_for_table, undo_in_table
from cleaner.apply.tables.plan import TablePlan
from cleaner.core import journal as journals
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH, remove_leftovers, sync_folder
from cleaner.core.journal import Journal, Operation, State
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import note_on_disagreement
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import MULTI_LABEL

__all__ = ["Report", "apply", "doubt", "plan", "undo"]

# What a system answers where a folder to be removed holds something, is gone, or is no folder: all is as it should be.
_STAYS = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR)


def apply(
    manifest: str | Path,
    data: str | Path,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    name_pattern: str | None = None,
    label_delim: str | None = None,
    accept_edited: bool = False,
) -> Report:
    """Carry out the decisions of a manifest on a dataset whose labels are in the names of its folders or files, or in a
    table.

    `delete` moves the file to a hidden trash folder inside the dataset, `relabel` to the folder of the other class.
    Nothing is overwritten: where the name is taken the file gets a free one. Nothing is removed. After a run that was
    interrupted, what it did not come to is planned again from the decisions and files as they are now, and goes to its
    journal. A decision that was carried out before is not carried out again. Where nothing could be moved no journal
    stays.

    With a name pattern the label stands in the name of the file: `relabel` writes the other one in its place, so that
    `Abyssinian_12.jpg` becomes `Bengal_12.jpg`. Where that name is taken the file gets another number, and only a name
    in which the pattern finds the new label.

    With a label table no file is moved: `delete` drops the row of the file, `relabel` changes its label, and all else
    in the table stays as it is. A copy of the old table is kept beside the journal.

    Args:
        manifest: the CSV of decisions.
        data: the dataset's folder.
        labels: the table with the labels, a `.csv`, `.tsv` or `.parquet` file; None where folders are the labels.
        path_column, label_column: the table's columns with the paths and the labels; by default those with usual names.
        name_pattern: the regular expression whose first group is the label in the name of a file, as it was given to
            fastai's `from_name_re` or `from_path_re`; None where the label does not stand there.
        label_delim: what joins the labels of an image in a cell of the table, such as `" "`; needed where the decisions
            are about images with several labels, and only there.
        accept_edited: carry out a manifest from which acknowledged decisions were removed, or in which they stand in
            another order; it is acknowledged as it is then.

    Raises:
        CleanerError: the manifest, the folder, the table or the pattern cannot be used, an undo was interrupted, or the
            manifest lost acknowledged decisions; nothing was changed.
    """
    table = _table_labels(labels, path_column, label_column, label_delim, name_pattern)
    if table:
        return apply_to_table(manifest, data, table, accept_edited)
    manifest, root = checked(manifest, data)
    with locked(manifest, root):
        check_edits(manifest, accept_edited)
        halves = [
            note
            for begun in journals.journals_beside(manifest, root)
            if begun.state is State.APPLYING
            for note in _take_back_halves(begun.operations, root)
        ]
        before, todo = _planned(manifest, root, name_pattern)
        if not todo.operations and not before.path.exists():
            return Report(None, (), todo.conflicts, todo.warnings, todo.notes)
        journal = replace(before, operations=(*before.operations, *todo.operations))
        _before_anything_moves(journal.write)
        done, conflicts = _each(todo.operations, root, _carry_out)
        notes = (*halves, *_sync(journal, root))
        failed = {conflict.path for conflict in conflicts}
        left = [o.target for o in todo.operations if o.source in failed and not o.file.is_at(root / o.target)]
        path, more, warnings = _end(journal, left, manifest)
    conflicts, warnings = (*todo.conflicts, *conflicts), (*todo.warnings, *warnings)
    key = notes_on_key() if path else ()
    return Report(path, done, conflicts, warnings, (*todo.notes, *notes, *more, *key), root if done else None)


def plan(
    manifest: str | Path,
    data: str | Path,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    name_pattern: str | None = None,
    label_delim: str | None = None,
) -> Plan | TablePlan:
    """What `apply` would do, also after a run that was interrupted; changes nothing.

    Raises:
        CleanerError: the manifest, the folder, the table or the pattern cannot be used, or an undo was interrupted.
    """
    table = _table_labels(labels, path_column, label_column, label_delim, name_pattern)
    if table:
        return plan_for_table(manifest, data, table)
    _, todo = _planned(*checked(manifest, data), name_pattern)
    return todo


def undo(journal: str | Path, trust: bool = False) -> Report:
    """Put everything back that an apply moved or changed, also one that was interrupted.

    What could not be put back is in the report's conflicts, and is tried again by another call; what is back already is
    left alone.

    Args:
        journal: the journal that the apply wrote.
        trust: whether to believe a journal that is not known to be written by you, because somebody else ran the apply,
            the journal was edited, or version 0.1 wrote it. `cleaner undo` shows what it would change, and asks.

    Raises:
        CleanerError: the journal cannot be used or is not known to be yours, or its dataset is gone; nothing was moved.
    """
    if journals.is_of_table(Path(journal)):
        return undo_in_table(journal, trust)
    found = _trusted(journal, trust)  # before a lock is made beside what may be no journal
    with locked(Path(journal), found.data):
        found = _trusted(journal, trust)
        root, inside = found.data, Inside(found.data)
        operations, halves = _to_undo(found, root)
        todo = [_reversed(operation) for operation in reversed(operations)]
        if not todo and found.state is State.UNDONE:
            return Report(found.path, (), ())
        other = {operation.target for operation in found.operations} - {operation.source for operation in todo}
        _before_anything_moves(found.mark, State.UNDOING, other)
        done, conflicts = _each(todo, root, partial(_take_back, journal=found, inside=inside))
        notes = (*halves, *_sync(found, root))
        notes = (*notes, *remove_if_empty({*found.folders, *trash_folders(found)}, root))
        warnings = _mark(found, State.UNDONE, [conflict.path for conflict in conflicts])
    return Report(found.path, done, conflicts, warnings, notes, root if done else None)


def doubt(journal: str | Path) -> str:
    """Say why a journal may not be written by this user, and what an undo of it would change; empty where it is theirs.

    Raises:
        CleanerError: the journal cannot be used.
    """
    if journals.is_of_table(Path(journal)):
        return doubt_about_table(journal)
    return _doubt(journals.read(journal))


def _doubt(journal: Journal) -> str:
    files = len(journal.carried_out)
    return doubt_about(journal.path, journal.doubt, f"move up to {files} files inside of {str(journal.data)!r}")


def _trusted(journal: str | Path, trust: bool) -> Journal:
    found = journals.read(journal)
    if not os.path.isdir(found.data):
        raise CleanerError(
            f"the journal's dataset {str(found.data)!r} is not there; put it back first; nothing was moved"
        )
    check_trust(_doubt(found), trust)
    return found


def _table_labels(
    labels: str | Path | None,
    path_column: str | None,
    label_column: str | None,
    label_delim: str | None,
    name_pattern: str | None,
) -> TableLabels | None:
    if labels is not None and name_pattern is not None:
        raise CleanerError("a label table and a name pattern came; labels are in the one or in the other: name one")
    if labels is None and (path_column or label_column or label_delim is not None):
        raise CleanerError(
            "a column or a delimiter of a label table was given, and no label table; name that too, with labels"
        )
    return None if labels is None else TableLabels(labels, path_column, label_column, label_delim)


def _labels(root: Path, name_pattern: str | None, vocab: Sequence[str] | None) -> Labels:
    return FolderLabels.of(root, vocab) if name_pattern is None else NameLabels.of(root, name_pattern, vocab)


def _planned(manifest: Path, root: Path, name_pattern: str | None) -> tuple[Journal, Plan]:
    """What is to be done, and the journal as it is before that: of a run that was interrupted, or a new one."""
    found = _settled(manifest, root)
    begun = [journal for journal in found if journal.state is State.APPLYING]
    journal = begun[-1] if begun else Journal(journals.new_name(manifest.parent), root, (), (), journals.now())
    decisions = Manifest(manifest)
    scan = load(manifest.parent) if (manifest.parent / "scan.json").is_file() else None
    latest, refused = _of_one_label(decisions.latest().values(), scan)
    todo = make_plan(
        latest,
        _labels(root, name_pattern, scan.vocab if scan else None),
        trash=f"{TRASH}/{journal.path.stem}",
        earlier=[Done(o, j.path, o.target in j.removed) for j in found for o in j.carried_out],
    )
    unchecked = [o.source for o in todo.operations if not decisions.standing()[o.source].sha256]
    todo = replace(
        todo,
        conflicts=(*(conflict for j in begun for conflict in _lost(j, root)), *todo.conflicts, *refused),
        warnings=warnings_of(decisions),
        notes=(
            *notes_on(scan, root, unchecked),
            *note_on_disagreement(decisions.standing()),
            *note_on_history(found, latest),
        ),
    )
    # A folder that an earlier apply made goes away with the last file that any of them moved there.
    shared = folders_of(todo.operations) & {path for j in found for path in j.folders}
    folders = dict.fromkeys((*journal.folders, *sorted(shared), *todo.folders))
    return replace(journal, data=root, folders=tuple(folders)), todo


def _of_one_label(decisions: Iterable[Decision], scan: Scan | None) -> tuple[list[Decision], list[Conflict]]:
    """The decisions that can be carried out by moving a file, and those about label sets, which cannot."""
    if scan is None or scan.task != MULTI_LABEL:
        return list(decisions), []
    every = list(decisions)
    reason = (
        "it has several labels, which the name of a folder cannot say; give the label table, with labels (--labels)"
    )
    sets = [decision for decision in every if decision.action is Action.RELABEL]
    refused = [Conflict(decision.path, decision.action.value, reason) for decision in sets]
    return [decision for decision in every if decision.action is not Action.RELABEL], refused


def _settled(manifest: Path, root: Path) -> list[Journal]:
    """The journals of a dataset; one that was interrupted has only the operations that were done.

    Raises:
        CleanerError: an undo was interrupted, so that nobody can say what is meant to be done.
    """
    found = journals.journals_beside(manifest, root)
    for journal in found:
        if journal.state is State.UNDOING:
            again = shlex.join(["cleaner", "undo", str(journal.path)])
            raise CleanerError(f"an undo was interrupted; `{again}` finishes it and comes first; nothing was moved")
    return [replace(j, operations=_moved(j, root)) if j.state is State.APPLYING else j for j in found]


def _moved(journal: Journal, root: Path) -> tuple[Operation, ...]:
    """Of a run that was interrupted the operations that were done, by where their files are."""
    return tuple(operation for operation in journal.operations if _was_moved(operation, root))


def _was_moved(operation: Operation, root: Path) -> bool:
    source, target = root / operation.source, root / operation.target
    if operation.file.is_exactly_at(source):
        return False
    if operation.file.is_at(target):
        return True
    if operation.file.is_at(source):
        return False
    # Another file, or none, is where it was: whatever may have been moved is not forgotten.
    return os.path.lexists(target) or not os.path.lexists(source)


def _lost(journal: Journal, root: Path) -> Iterator[Conflict]:
    for operation in journal.operations:
        if not os.path.lexists(root / operation.source) and not os.path.lexists(root / operation.target):
            reason = f"neither it nor {operation.target!r}, to where it was being moved, is there"
            yield Conflict(operation.source, operation.action, reason)


def _to_undo(journal: Journal, root: Path) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
    """The operations that were done, and notes on what an interruption left of one that was half done."""
    if journal.state is State.APPLYING:
        notes = _take_back_halves(journal.operations, root)
        return _moved(journal, root), notes
    if journal.state is State.UNDOING:
        return journal.carried_out, _take_back_halves(map(_reversed, journal.carried_out), root)
    return journal.carried_out, ()


def _take_back_halves(operations: Iterable[Operation], root: Path) -> tuple[str, ...]:
    """Remove what moves that were interrupted half way left; gives notes on what may be somebody else's and stays."""
    inside = Inside(root)
    checked = [o for o in operations if inside.holds(o.source) and inside.holds(o.target)]
    for folder in {(root / operation.target).parent for operation in checked}:
        remove_leftovers(folder)
    halves = [o for o in checked if o.file.is_at(root / o.source)]
    stays = [o.target for o in halves if not moves.take_back_half(root / o.source, root / o.target)]
    if not stays:
        return ()
    return (
        f"{len(stays)} files at which interrupted moves were to end may be yours, such as {stays[0]!r}; they were left "
        "as they are, and nothing is moved over them",
    )


def _before_anything_moves(write: Callable[..., None], *arguments: object) -> None:
    try:
        write(*arguments)
    except CleanerError as error:
        raise CleanerError(f"{error}; nothing was moved") from error


def _mark(journal: Journal, state: State, left: Iterable[str]) -> tuple[str, ...]:
    """Mark the journal once all is done; returns what could not be written of it."""
    try:
        journal.mark(state, left)
    except CleanerError as error:
        return (f"all that is listed was done, but {error}; give the same command again",)
    return ()


def _end(journal: Journal, left: Sequence[str], manifest: Path) -> tuple[Path | None, tuple[str, ...], tuple[str, ...]]:
    """Mark the journal of an apply as finished, or remove it where nothing was moved.

    Returns:
        the journal, None if it was removed; notes; and what could not be written.
    """
    if len(left) == len(journal.operations):
        earlier = {
            f for j in journals.journals_beside(manifest, journal.data) if j.path != journal.path for f in j.folders
        }
        notes = remove_if_empty({*journal.folders} - earlier, journal.data)
        if journal.remove():
            return None, notes, ()
        return journal.path, notes, _mark(journal, State.FINISHED, left)
    return journal.path, (), _mark(journal, State.FINISHED, left)


def _each(
    operations: Iterable[Operation], root: Path, step: Callable[[Operation, Path], bool]
) -> tuple[tuple[Operation, ...], tuple[Conflict, ...]]:
    """Take a step for each operation, which says whether it moved the file; a step that fails is a conflict."""
    done: list[Operation] = []
    conflicts: list[Conflict] = []
    for operation in operations:
        try:
            if step(operation, root):
                done.append(operation)
        except Refusal as refusal:
            conflicts.append(Conflict(operation.source, operation.action, str(refusal)))
        except OSError as error:
            reason = f"it could not be moved to {operation.target!r}: {error.strerror}"
            conflicts.append(Conflict(operation.source, operation.action, reason))
    return tuple(done), tuple(conflicts)


def _carry_out(operation: Operation, root: Path) -> bool:
    if not operation.file.is_at(root / operation.source):
        raise Refusal("it is gone or its bytes changed since this began; look at it again")
    return _move(operation, root)


def _take_back(operation: Operation, root: Path, journal: Journal, inside: Inside) -> bool:
    """Put a file back; `operation` is the reverse of the one in the journal."""
    inside.check(operation.target)
    # People may keep their trash on another disk, behind a link. What lies there is known by their own journal.
    if journal.doubt or operation.action != "delete":
        inside.check(operation.source)
    source, target = root / operation.source, root / operation.target
    if not operation.file.is_exactly_at(source) and operation.file.is_exactly_at(target):
        return False  # by an undo that was interrupted, or by hand
    if operation.file.is_at(source):
        return _move(operation, root)
    if operation.file.is_at(target):
        return False
    if os.path.lexists(source):
        raise Refusal("it is not the file that was moved here, or its bytes changed since; put it back by hand")
    if operation.source in journal.removed:
        raise Refusal("it is gone for good: `cleaner trash --empty` removed it")
    raise Refusal(f"it is no longer here, nor is it at {operation.target!r}")


def _move(operation: Operation, root: Path) -> bool:
    source, target = root / operation.source, root / operation.target
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
    moves.move(source, target)
    return True


def _sync(journal: Journal, root: Path) -> tuple[str, ...]:
    """Bring the moves to the disk; returns of which folders that cannot be said.

    Those of all operations: what was moved before an interruption may not be on the disk yet.
    """
    paths = (path for o in journal.operations for path in (o.source, o.target))
    folders = {path.rpartition("/")[0] for path in (*paths, *journal.folders)}
    notes = []
    for folder in filter(os.path.isdir, [root / folder for folder in sorted(folders)]):
        try:
            sync_folder(folder)
        except OSError as error:
            notes.append(f"whether the moves in {str(folder)!r} would survive a power cut is unknown: {error.strerror}")
    return tuple(notes)


def _reversed(operation: Operation) -> Operation:
    return replace(operation, source=operation.target, target=operation.source)


def trash_folders(journal: Journal) -> set[str]:
    """The folders in the trash that the journal's deleted files lay in; they are ours whoever made them."""
    folders = {TRASH}
    for operation in journal.operations:
        parts = operation.target.split("/")[:-1]
        if operation.action == "delete" and parts[:1] == [TRASH]:
            folders.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
    return folders


def remove_if_empty(folders: Iterable[str], root: Path) -> tuple[str, ...]:
    """Remove those of the folders that hold nothing, the deepest first; gives notes on those that could not be."""
    inside, stuck = Inside(root), []
    for folder in sorted(folders, key=len, reverse=True):
        try:
            if inside.holds(f"{folder}/."):
                (root / folder).rmdir()
        except OSError as error:
            if error.errno not in _STAYS and _is_empty(root / folder):
                stuck.append(f"{folder!r}: {error.strerror}")
    if not stuck:
        return ()
    return (f"{len(stuck)} empty folders could not be removed, such as {stuck[0]}; remove them by hand",)


def _is_empty(folder: Path) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False  # whether it should go nobody can say
