"""Cleaned training data: the items of a dataset without deleted images and with their new labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cleaner.apply.item_labels import ItemLabels, is_left_to_do, known_labels, labels_of_items, to_value
from cleaner.apply.plan import Refusal, asks_for_change, identify, manifest_warnings
from cleaner.apply.sources import data_of, manifest_of
from cleaner.apply.table.path_resolver import TablePathResolver
from cleaner.core.arguments import unexpected
from cleaner.core.carried_out import carried_out
from cleaner.core.errors import CleanerError
from cleaner.core.files import path_from_csv
from cleaner.core.journal import decision_key
from cleaner.core.label_table import choose_columns, choose_path_column
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from cleaner.core.scan_header import ScanHeader, read_scan_header
from cleaner.core.standing import has_bytes_of
from cleaner.core.tasks import OTHER
from cleaner.core.terminal import abbreviate, printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cleaned"]

_MAX_LISTED = 5


@overload
def cleaned(
    items: pd.DataFrame,
    manifest: Scan | str | Path,
    *,
    data: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_delim: str | None = None,
) -> pd.DataFrame: ...
@overload
def cleaned(
    items: Iterable[Any], manifest: Scan | str | Path, *, data: str | Path | None = None, labels: None = None
) -> list[Any]: ...
@overload
def cleaned(
    items: Iterable[Any],
    manifest: Scan | str | Path,
    *,
    data: str | Path | None = None,
    labels: Iterable[Any],
    label_delim: str | None = None,
) -> tuple[list[Any], list[Any]]: ...
def cleaned(
    items: Any,
    manifest: Scan | str | Path | None = None,
    *,
    data: str | Path | None = None,
    labels: Iterable[Any] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_delim: str | None = None,
) -> Any:
    """Return the items of a dataset without deleted images and with new labels; change no file and no table.

    All other items stay as they are, in their order; `keep` and `unsure` change nothing. As with `cleaner.apply`, a
    decision is left alone if the image was changed since, or has another label here than it had then. A file that is
    listed several times is changed each time. Warnings list decisions that were left alone, and decisions about files
    that no item names. If an item has several labels, those that stay keep their order, and new ones come last.

    Args:
        items: a DataFrame with columns of paths and labels; or the paths alone, such as those from fastai's
            `get_image_files`. Paths are absolute, or relative to the dataset's folder or the current one; if there is
            no such file, the end of a path that only one file has is accepted too. For images without labels, as in
            segmentation or regression, a DataFrame needs no column of labels.
        manifest: whose decisions: a scan, a scan folder, or the path of a `decisions.csv`.
        data: the dataset's folder; by default that of the scan.
        labels: with a list of paths, the label of each; several labels are a list, a tuple, or text in which
            `label_delim` joins them. New values have the same type.
        path_column, label_column: columns of a DataFrame; by default those with usual names, such as `fname`.
        label_delim: delimiter of several labels in text, such as `" "`; required if the decisions are about images
            with several labels and these are text, and only then.

    Returns:
        a new DataFrame with the same columns, types and index, in which a categorical column may have new categories;
        or the list of remaining paths; or, with `labels`, that list and the list of their labels.

    Raises:
        CleanerError: the manifest, the folder or the items cannot be used, or an item to relabel has no label.

    Examples:
        >>> files, new = cleaner.cleaned(paths, "scan", labels=labels)
        >>> len(paths) - len(files)
        1
        >>> new[files.index("dog/dog_1.png")]
        'bear'
    """
    _check_items(items)
    decided = _DecidedDataset.from_manifest(manifest_of(manifest), data_of(manifest, data), label_delim)
    result: Any
    if hasattr(items, "columns") and hasattr(items, "iloc"):
        if labels is not None:
            raise CleanerError("got labels with a DataFrame, which has its own; name their column with label_column")
        result, edits = _cleaned_frame(items, decided, path_column, label_column)
    else:
        if path_column is not None or label_column is not None:
            raise CleanerError("path_column and label_column are for a DataFrame; with a list of paths pass labels=")
        result, edits = _cleaned_lists(items, labels, decided)
    for text in (*decided.warnings, *edits.warnings(decided)):
        warnings.warn(printable(text), stacklevel=2)
    return result


def _check_items(items: Any) -> None:
    if hasattr(items, "dls") or hasattr(items, "valid_ds"):
        raise unexpected("a DataFrame or a list of paths", items, "pass the items that the data is made from")
    if isinstance(items, Scan):
        raise unexpected("a DataFrame or a list of paths", items, "pass the items first, then the scan")


def _to_list(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping, os.PathLike)) or not isinstance(values, Iterable):
        accepted = "a DataFrame or a list of paths" if name == "items" else "one for each path, in a list,"
        raise CleanerError(f"{name} is {values!r}; {accepted} is accepted")
    return list(values)


def _cleaned_lists(items: Any, values: Any, decided: _DecidedDataset) -> tuple[Any, _Edits]:
    if values is None and decided.label_delim is not None:
        raise CleanerError("got label_delim, but no labels that it could join; pass labels= too, or leave it out")
    paths, labels = _to_list("items", items), None if values is None else _to_list("labels", values)
    if labels is not None and len(labels) != len(paths):
        raise CleanerError(f"got {len(paths)} paths and {len(labels)} labels; one label for each path is accepted")
    kind = labels_of_items(decided.header, decided.label_delim, labels)
    edits = _find_edits(paths, labels, kind, decided)
    kept = [index for index in range(len(paths)) if index not in edits.dropped]
    if labels is not None:
        new = edits.new_values(labels, kind, partial(to_value, known=kind.known(labels)))
        return ([paths[index] for index in kept], [new.get(index, labels[index]) for index in kept]), edits
    if edits.relabelled:
        index, decision = next(iter(edits.relabelled.items()))
        raise CleanerError(
            f"{len(edits.relabelled)} of the paths get another label, such as {str(paths[index])!r}, which gets "
            f"{decision.new_label!r}; a list of paths has no labels: pass labels=, one for each path, or a DataFrame"
        )
    return [paths[index] for index in kept], edits


def _cleaned_frame(
    frame: pd.DataFrame, decided: _DecidedDataset, path_column: str | None, label_column: str | None
) -> tuple[pd.DataFrame, _Edits]:
    import numpy as np

    result = frame.copy()
    columns = [str(name) for name in frame.columns]
    if decided.header and decided.header.task == OTHER and label_column is None:
        path = columns.index(choose_path_column("the DataFrame", columns, path_column))
        kind = labels_of_items(decided.header, decided.label_delim, None)
        edits = _find_edits(frame.iloc[:, path], None, kind, decided)
    else:
        path, label = map(columns.index, choose_columns("the DataFrame", columns, path_column, label_column))
        column, edits = _cleaned_column(frame.iloc[:, path], frame.iloc[:, label].copy(), decided)
        if edits.relabelled:
            result.isetitem(label, column)
    kept = np.ones(len(frame), bool)
    kept[list(edits.dropped)] = False
    return result[kept].copy(), edits


def _cleaned_column(paths: pd.Series, column: pd.Series, decided: _DecidedDataset) -> tuple[pd.Series, _Edits]:
    cells = ["" if missing else cell for cell, missing in zip(column, column.isna(), strict=True)]
    kind = labels_of_items(decided.header, decided.label_delim, cells)
    edits = _find_edits(paths, cells, kind, decided)
    new = edits.new_values(cells, kind, partial(_to_cell, known=kind.known(column.dropna()), column=column))
    if new:
        if hasattr(column, "cat"):
            added = [value for value in dict.fromkeys(new.values()) if value not in column.cat.categories]
            column = column.cat.add_categories(added)
        column.iloc[list(new)] = list(new.values())
    return column, edits


def _to_cell(label: str, known: Mapping[str, Any], column: pd.Series) -> Any:
    """Return a label as a value of a column, or refuse a label that the column cannot hold."""
    if column.dtype == object or label in known:
        return to_value(label, known)
    if hasattr(column, "cat"):
        return to_value(label, {str(value): value for value in column.cat.categories})
    try:
        value = column.dtype.type(label)
    except (ValueError, TypeError, OverflowError):
        value = None
    if str(value) != label:
        raise Refusal(f"the column of labels, of the type {column.dtype}, cannot hold {label!r}")
    return value


@dataclass(frozen=True)
class _DecidedDataset:
    """A dataset and the decisions about it.

    Attributes:
        decisions: those that ask for a change, by path.
        root: the dataset's folder, without links.
        given: the folder as it was given, perhaps with links.
        header: of the scan beside the manifest; None without a scan.
        label_delim: delimiter of several labels in text; None if not given.
        warnings: faults of the manifest.
        history: paths whose decisions an apply carried out already.
        returned: paths of files that an apply moved away and that are there again.
    """

    decisions: Mapping[str, Decision]
    root: Path
    given: str
    header: ScanHeader | None
    label_delim: str | None
    warnings: tuple[str, ...]
    history: frozenset[str]
    returned: frozenset[str]

    @classmethod
    def from_manifest(cls, path: Path, data: str | Path | None, label_delim: str | None) -> _DecidedDataset:
        manifest, header = Manifest.existing(path), read_scan_header(path.parent)
        folder = header.root if data is None and header else data
        if folder is None:
            raise CleanerError(f"no scan beside {str(path)!r} says where the dataset is; give its folder as data=")
        if not Path(folder).is_dir():
            location = header.location if data is None and header else str(folder)
            raise CleanerError(f"the dataset's folder {location!r} is not there; give the folder as data=")
        decisions = {path: decision for path, decision in manifest.standing().items() if asks_for_change(decision)}
        root, given = Path(os.path.realpath(folder)), os.path.join(os.path.abspath(folder), "")
        keys = set(map(decision_key, decisions.values()))
        done = {record.decision[0]: record for record in carried_out(path.parent, root) if record.decision in keys}
        returned = {
            path for path, record in done.items() if record.sha256 and has_bytes_of(decisions[path], root, path)
        }
        history, faults = frozenset(done.keys() - returned), manifest_warnings(manifest)
        return cls(decisions, root, given, header, label_delim, faults, history, frozenset(returned))

    def is_due(
        self, decision: Decision, kind: ItemLabels, labels: tuple[str, ...] | None, known: frozenset[str] | None
    ) -> bool:
        """Return whether an item with these labels lacks the result of a decision; see `is_left_to_do`."""
        if decision.path in self.returned:
            raise Refusal("that was carried out, and the file is there again; look at it and decide again")
        if not is_left_to_do(decision, kind, labels, known):
            return False
        # A file that is gone, perhaps into the trash, is not trained on either.
        if decision.action is Action.RELABEL or os.path.lexists(self.root / decision.path):
            identify(decision, self.root)
        return True


@dataclass
class _Edits:
    """The changes that decisions make to items, by the items' indices.

    Attributes:
        dropped: items to delete.
        relabelled: items to relabel, with their decision.
        matched: paths of the decisions that are about an item.
        left: why decisions are left alone, by path.
    """

    dropped: set[int] = field(default_factory=set)
    relabelled: dict[int, Decision] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)

    def new_values(self, values: Sequence[Any], kind: ItemLabels, convert: Callable[[str], Any]) -> dict[int, Any]:
        """Return the new values of relabelled items; those that cannot be held are left alone."""
        new: dict[int, Any] = {}
        for index, decision in self.relabelled.items():
            try:
                new[index] = kind.changed(values[index], decision.new_label, convert)
            except Refusal as refusal:
                self.left[decision.path] = str(refusal)
        return new

    def warnings(self, decided: _DecidedDataset) -> list[str]:
        """Say what was left alone, and which decisions no item is about, except those carried out before."""
        texts, known = [], self.matched | decided.history
        absent = [repr(path) for path in decided.decisions if path not in known]
        reasons = [f"{path!r}: {reason}" for path, reason in self.left.items() if path not in decided.history]
        if reasons:
            more = f"; and {len(reasons) - _MAX_LISTED} more" if len(reasons) > _MAX_LISTED else ""
            which = "1 decision was" if len(reasons) == 1 else f"{len(reasons)} decisions were"
            texts.append(f"{which} left alone: {'; '.join(reasons[:_MAX_LISTED])}{more}")
        if absent:
            which = "is about a file" if len(absent) == 1 else "are about files"
            texts.append(
                f"{len(absent)} of {len(decided.decisions)} decisions to delete or relabel {which} that no item is: "
                f"{abbreviate(absent)}"
            )
        return texts


def _find_edits(
    items: Iterable[Any], values: Sequence[Any] | None, kind: ItemLabels, decided: _DecidedDataset
) -> _Edits:
    """Find what the decisions change in items; `values` has their labels, None if they are unknown."""
    resolver = TablePathResolver(decided.root, Path(os.getcwd()), decided.decisions)
    names = {name: name for path in decided.decisions for name in resolver.names(path)}
    names |= {decided.given + path: str(decided.root / path) for path in decided.decisions}
    known = known_labels(kind, None if decided.header is None else decided.header.vocab, values)
    edits = _Edits()
    for index, item in enumerate(items):
        text = _path_of(item)
        name = names.get(text) or names.get(os.path.abspath(text), "")
        for path in sorted(resolver.resolve(name) & decided.decisions.keys()) if name else ():
            edits.matched.add(path)
            decision, labels = decided.decisions[path], None if values is None else kind.split(values[index])
            try:
                is_due = resolver.is_name_of(name, path) and decided.is_due(decision, kind, labels, known)
            except Refusal as refusal:
                edits.left[path] = str(refusal)
                continue
            if is_due and decision.action is Action.DELETE:
                edits.dropped.add(index)
            elif is_due:
                edits.relabelled[index] = decision
    return edits


def _path_of(item: Any) -> str:
    text = os.fspath(item) if isinstance(item, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise CleanerError(f"an item is {item!r}, a {type(item).__name__}; paths, as text or Path, are accepted")
    return path_from_csv(text.replace(os.sep, "/"))
