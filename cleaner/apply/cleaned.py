"""The way back into training: the list or table of a dataset without what was deleted, and with the new labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cleaner.apply.item_labels import Values, as_one_of, values_of
from cleaner.apply.plan import Refusal, identify, manifest_warnings
from cleaner.apply.table.path_resolver import TablePathResolver
from cleaner.core.carried_out import carried_out
from cleaner.core.errors import CleanerError
from cleaner.core.files import path_from_csv
from cleaner.core.journal import decision_key
from cleaner.core.label_table import choose_columns, choose_path_column
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan_header import ScanHeader, read_scan_header
from cleaner.core.standing import has_bytes_of
from cleaner.core.tasks import OTHER
from cleaner.core.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cleaned"]

_TOLD = 5


@overload
def cleaned(
    items: pd.DataFrame,
    manifest: str | Path,
    *,
    data: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_delim: str | None = None,
) -> pd.DataFrame: ...
@overload
def cleaned(
    items: Iterable[Any], manifest: str | Path, *, data: str | Path | None = None, labels: None = None
) -> list[Any]: ...
@overload
def cleaned(
    items: Iterable[Any],
    manifest: str | Path,
    *,
    data: str | Path | None = None,
    labels: Iterable[Any],
    label_delim: str | None = None,
) -> tuple[list[Any], list[Any]]: ...
def cleaned(
    items: Any,
    manifest: str | Path,
    *,
    data: str | Path | None = None,
    labels: Iterable[Any] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_delim: str | None = None,
) -> Any:
    """The items of a dataset as its decisions want them, for training; no file and no table is changed.

    What is to be deleted is left out, what is to be relabelled has its new label, and all else stays as it is, in its
    order; `keep` and `unsure` change nothing. As with `cleaner.apply` a decision is left alone where the image was
    changed since, or has another label here than it had then. A file that is there several times is changed each time.
    What was left alone, and decisions about files that are not there, are told in warnings.

    Of an item with several labels those that stay keep their order, and new ones come last.

    Args:
        items: a DataFrame with a column of paths and one of labels; or the paths alone, such as those that fastai's
            `get_image_files` gives. Paths are absolute, or relative to the dataset's folder or the current one; where
            there is no such file, the end of a path that only one file has is understood too. Where images carry no
            labels, as in segmentation or regression, a DataFrame needs no column of them.
        manifest: the CSV of decisions.
        data: the dataset's folder; by default the one that the scan beside the manifest names.
        labels: with a list of paths, the label of each; where it has several, a list or tuple of them, or text in which
            `label_delim` joins them. What each has instead is of the same kind.
        path_column, label_column: the columns of a DataFrame; by default those with usual names, such as `fname` and
            `label`.
        label_delim: what joins the labels of an image in text, such as `" "`; needed where the decisions are about
            images with several labels and these are text, and only there.

    Returns:
        a new DataFrame with the same columns, types and index, in which a categorical column may have one more
        category; or a list of the paths that are left; or with `labels` that list and the list of their labels.

    Raises:
        CleanerError: the manifest, the folder or the items cannot be used, or a path gets another label and there are
            no labels.
    """
    decided = _Decided.of(Path(manifest), data, label_delim)
    result: Any
    if hasattr(items, "columns") and hasattr(items, "iloc"):
        if labels is not None:
            raise CleanerError("labels came with a DataFrame, which has its own; name their column with label_column")
        result, changes = _cleaned_frame(items, decided, path_column, label_column)
    elif path_column is not None or label_column is not None:
        raise CleanerError("path_column and label_column are for a DataFrame; with a list of paths pass labels=")
    elif labels is not None:
        result, changes = _cleaned_lists(_listed("items", items), _listed("labels", labels), decided)
    elif label_delim is not None:
        raise CleanerError("label_delim came, and no labels that it could join; pass labels= too, or leave it out")
    else:
        result, changes = _cleaned_paths(_listed("items", items), decided)
    for text in (*decided.warnings, *changes.warnings(decided.decisions, decided.history)):
        warnings.warn(printable(text), stacklevel=2)
    return result


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping, os.PathLike)) or not isinstance(values, Iterable):
        accepted = "a DataFrame or a list of paths" if name == "items" else "one for each path, in a list,"
        raise CleanerError(f"{name} is {values!r}; {accepted} is accepted")
    return list(values)


def _cleaned_paths(paths: list[Any], decided: _Decided) -> tuple[list[Any], _Changes]:
    changes = _changes(paths, None, decided.values(None), decided)
    if changes.relabelled:
        place, decision = next(iter(changes.relabelled.items()))
        raise CleanerError(
            f"{len(changes.relabelled)} of the paths get another label, such as {str(paths[place])!r}, which gets "
            f"{decision.new_label!r}; a list of paths cannot say so: pass labels=, one for each path, or a DataFrame"
        )
    return [path for place, path in enumerate(paths) if place not in changes.dropped], changes


def _cleaned_lists(
    paths: list[Any], labels: list[Any], decided: _Decided
) -> tuple[tuple[list[Any], list[Any]], _Changes]:
    if len(labels) != len(paths):
        raise CleanerError(f"{len(paths)} paths and {len(labels)} labels came; one label for each path is accepted")
    values = decided.values(labels)
    changes = _changes(paths, labels, values, decided)
    known = values.known(labels)
    new = changes.values(lambda place, label: values.after(labels[place], label, lambda text: as_one_of(text, known)))
    left = [place for place in range(len(paths)) if place not in changes.dropped]
    return ([paths[place] for place in left], [new.get(place, labels[place]) for place in left]), changes


def _cleaned_frame(
    frame: pd.DataFrame, decided: _Decided, path_column: str | None, label_column: str | None
) -> tuple[pd.DataFrame, _Changes]:
    import numpy as np

    result = frame.copy()
    columns = [str(name) for name in frame.columns]
    if decided.scan and decided.scan.task == OTHER and label_column is None:
        path = columns.index(choose_path_column("the DataFrame", columns, path_column))
        changes = _changes(frame.iloc[:, path], None, decided.values(None), decided)
    else:
        chosen = choose_columns("the DataFrame", columns, path_column, label_column)
        path, label = map(columns.index, chosen)
        column, changes = _cleaned_column(frame.iloc[:, path], frame.iloc[:, label].copy(), decided)
        if changes.relabelled:
            result.isetitem(label, column)
    left = np.ones(len(frame), bool)
    left[list(changes.dropped)] = False
    return result[left].copy(), changes


def _cleaned_column(paths: pd.Series, column: pd.Series, decided: _Decided) -> tuple[pd.Series, _Changes]:
    """The column of labels with the new ones, and all that is to be changed."""
    cells = ["" if missing else cell for cell, missing in zip(column, column.isna(), strict=True)]
    values = decided.values(cells)
    changes = _changes(paths, cells, values, decided)
    known = values.known(column.dropna())
    new = changes.values(lambda at, label: values.after(cells[at], label, lambda text: _as_value(text, known, column)))
    if new:
        if hasattr(column, "cat"):
            added = [value for value in dict.fromkeys(new.values()) if value not in column.cat.categories]
            column = column.cat.add_categories(added)
        column.iloc[list(new)] = list(new.values())
    return column, changes


def _as_value(label: str, known: Mapping[str, Any], column: pd.Series) -> Any:
    """The text as a column of labels has it.

    Raises:
        Refusal: the column cannot hold it.
    """
    if column.dtype == object or label in known:
        return as_one_of(label, known)
    if hasattr(column, "cat"):
        return as_one_of(label, {str(value): value for value in column.cat.categories})
    try:
        value = column.dtype.type(label)
    except (ValueError, TypeError, OverflowError):
        value = None
    if str(value) != label:
        raise Refusal(f"the column of labels, of the type {column.dtype}, cannot hold {label!r}")
    return value


@dataclass(frozen=True)
class _Decided:
    """What stands in a manifest, and the dataset that it is about.

    Attributes:
        decisions: those that ask for a change, by path.
        root: the dataset's folder, with no link on the way.
        given: the same, perhaps by way of links.
        scan: the one beside the manifest, if there is one.
        label_delim: what joins several labels in the text of an item, if that was said.
        warnings: what is wrong with the manifest, so that a row of it was left out.
        history: paths whose decisions `cleaner.apply` carried out already.
        back: paths of files that `cleaner.apply` moved away, and that are there again.
    """

    decisions: Mapping[str, Decision]
    root: Path
    given: str
    scan: ScanHeader | None
    label_delim: str | None
    warnings: tuple[str, ...]
    history: frozenset[str]
    back: frozenset[str]

    @classmethod
    def of(cls, manifest: Path, data: str | Path | None, label_delim: str | None) -> _Decided:
        """What stands in a manifest, of the dataset in the folder `data`, or that of the scan beside the manifest.

        Raises:
            CleanerError: the manifest makes no sense, or where the dataset is cannot be told.
        """
        found = Manifest.existing(manifest)
        scan = read_scan_header(manifest.parent)
        folder = scan.root if data is None and scan else data
        if folder is None:
            raise CleanerError(f"no scan beside {str(manifest)!r} says where the dataset is; give its folder as data=")
        if not Path(folder).is_dir():
            where = scan.location if data is None and scan else str(folder)
            raise CleanerError(f"the dataset's folder {where!r} is not there; give the folder as data=")
        asking = {path: d for path, d in found.standing().items() if d.action in (Action.DELETE, Action.RELABEL)}
        root, given = Path(os.path.realpath(folder)), os.path.join(os.path.abspath(folder), "")
        keys = {decision_key(decision) for decision in asking.values()}
        done = {each.decision[0]: each for each in carried_out(manifest.parent, root) if each.decision in keys}
        back = [path for path, each in done.items() if each.sha256 and has_bytes_of(asking[path], root, path)]
        history = frozenset(done.keys() - set(back))
        return cls(asking, root, given, scan, label_delim, manifest_warnings(found), history, frozenset(back))

    def values(self, values: Iterable[Any] | None) -> Values:
        """How the items have their labels, of which these are the values; None where they are not known.

        Raises:
            CleanerError: the labels cannot be told from the text.
        """
        return values_of(self.scan, self.label_delim, values)

    def name(self, item: Any, wanted: Container[str]) -> str | None:
        """What an item is called among the names that are `wanted`; None if it is none of them.

        Raises:
            CleanerError: the item is no path.
        """
        text = os.fspath(item) if isinstance(item, (str, os.PathLike)) else None
        if not isinstance(text, str):
            raise CleanerError(f"an item is {item!r}, a {type(item).__name__}; paths, as text or Path, are accepted")
        text = path_from_csv(text.replace(os.sep, "/"))
        if text in wanted:
            return text
        absolute = os.path.abspath(text)
        if not absolute.startswith(self.given):
            return None
        below = str(self.root / absolute[len(self.given) :])
        return below if below in wanted else None


@dataclass
class _Changes:
    """What the decisions change, by the places of the items.

    Attributes:
        dropped: items that are deleted.
        relabelled: items that get another label, with the decision that says which.
        found: the paths of the decisions that an item is about.
        left: the decisions that are left alone, and why.
    """

    dropped: set[int] = field(default_factory=set)
    relabelled: dict[int, Decision] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)

    def values(self, after: Callable[[int, str], Any]) -> dict[int, Any]:
        """What the relabelled items get, by their place and the new label; what cannot be kept so is left alone."""
        values: dict[int, Any] = {}
        for place, decision in self.relabelled.items():
            try:
                values[place] = after(place, decision.new_label)
            except Refusal as refusal:
                self.left[decision.path] = str(refusal)
        return values

    def warnings(self, decisions: Mapping[str, Decision], history: Container[str]) -> list[str]:
        """Say what was left alone, and what no item is about, but for what was carried out before."""
        told, absent = [], [path for path in decisions if path not in self.found and path not in history]
        reasons = [f"{path!r}: {reason}" for path, reason in self.left.items() if path not in history]
        if reasons:
            more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
            which = "1 decision was" if len(reasons) == 1 else f"{len(reasons)} decisions were"
            told.append(f"{which} left alone: {'; '.join(reasons[:_TOLD])}{more}")
        if absent:
            which = "is about a file" if len(absent) == 1 else "are about files"
            told.append(
                f"{len(absent)} of {len(decisions)} decisions to delete or relabel {which} that no item is: "
                f"{', '.join(map(repr, absent[:_TOLD]))}{', …' if len(absent) > _TOLD else ''}"
            )
        return told


def _changes(items: Iterable[Any], labels: Sequence[Any] | None, values: Values, decided: _Decided) -> _Changes:
    """What the decisions change in items with these labels; None where the labels are not known.

    Raises:
        CleanerError: an item is no path, its labels are of no kind that is accepted, or a folder of the dataset cannot
            be listed.
    """
    naming = TablePathResolver(decided.root, Path(os.getcwd()), decided.decisions)
    wanted = {name for path in decided.decisions for name in naming.names(path)}
    known = _known(decided.scan, labels, values)
    changes = _Changes()
    for place, item in enumerate(items):
        name = decided.name(item, wanted)
        meant = naming.resolve(name) if name is not None else set()
        for path in sorted(meant & decided.decisions.keys()):
            decision = decided.decisions[path]
            changes.found.add(path)
            carried = None if labels is None else values.of_item(labels[place])
            try:
                _check_is_only_one(name, meant)
                if path in decided.back:
                    raise Refusal("that was carried out, and the file is there again; look at it and decide again")
                if not _leaves_to_do(decision, carried, values, known):
                    continue
                # A file that is gone, into the trash for example, is none to train on either.
                if decision.action is Action.RELABEL or os.path.lexists(decided.root / path):
                    identify(decision, decided.root)
            except Refusal as refusal:
                changes.left[path] = str(refusal)
                continue
            if decision.action is Action.DELETE:
                changes.dropped.add(place)
            else:
                changes.relabelled[place] = decision
    return changes


def _known(scan: ScanHeader | None, labels: Sequence[Any] | None, values: Values) -> frozenset[str] | None:
    """The labels that an item may get; None where that is not known."""
    if scan is not None:
        return frozenset(scan.vocab)
    if labels is None:
        return None
    return frozenset(label for value in labels for label in values.of_item(value) or ())


def _check_is_only_one(name: str | None, meant: set[str]) -> None:
    if len(meant) > 1:
        one, other, *_ = sorted(meant)
        raise Refusal(f"{name!r} may be {one!r} or {other!r}; write the whole path there")


def _leaves_to_do(
    decision: Decision, labels: frozenset[str] | None, values: Values, known: frozenset[str] | None
) -> bool:
    """Whether an item with these labels, None where they are not known, is not yet as a decision about it wants it.

    Raises:
        Refusal: it is not as it was when that was decided.
    """
    if decision.action is Action.RELABEL:
        new = values.of_decision(decision.new_label)
        if labels == new:
            return False
        if known is not None and (unknown := sorted(new - known)):
            raise Refusal(f"there is no class {unknown[0]!r}")
    if labels is not None and decision.label and labels != values.of_decision(decision.label):
        told = ", ".join(map(repr, sorted(labels))) or "none"
        which = "its label is" if len(labels) == 1 else "its labels are"
        raise Refusal(f"{which} {told}, and the decision was about {decision.label!r}")
    return True
