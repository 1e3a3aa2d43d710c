"""The labels of one image in a table cell or an item: how they are compared with a decision, and changed."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cleaner.apply.plan import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision
from cleaner.core.scan_header import ScanHeader
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels

__all__ = [
    "ItemLabels",
    "SeveralLabels",
    "is_left_to_do",
    "known_labels",
    "labels_of_cells",
    "labels_of_items",
    "to_value",
]


class ItemLabels:
    """Items with one label each, of any type that can be written as text; subclasses are the other kinds of items."""

    def split_decided(self, text: str) -> tuple[str, ...]:
        """Return the labels in the `label` or `new_label` of a decision."""
        return (text,)

    def split(self, value: Any) -> tuple[str, ...] | None:
        """Return the labels of an item as text; None if it has nothing to compare."""
        if isinstance(value, (list, tuple)):
            raise CleanerError(
                f"an item has the labels {value!r}, and the decisions are about one label per image. If they are about "
                "several, and no scan beside the manifest says so, give the delimiter as label_delim="
            )
        return (str(value),)

    def as_decided(self, cell: str) -> str:
        """Return a table cell as a decision would write it."""
        return cell

    def known(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return single labels, which may not be text, by their text."""
        return {str(value): value for value in values}

    def changed(self, value: Any, new_label: str, convert: Callable[[str], Any]) -> Any:  # noqa: ARG002 - replaced
        """Return the value of an item after a decision; `convert` makes a value of its type from text."""
        return convert(new_label)


@dataclass(frozen=True)
class SeveralLabels(ItemLabels):
    """Items with any number of labels: text in which they are joined, or a list or tuple of them.

    Attributes:
        in_manifest: delimiter in the decisions.
        in_items: delimiter in the cells of a table or the text of items.
    """

    in_manifest: str
    in_items: str

    def split_decided(self, text: str) -> tuple[str, ...]:
        return split_labels(text, self.in_manifest)

    def split(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(value.split(self.in_items)) if value else ()
        if isinstance(value, (list, tuple)):
            return tuple(map(str, value))
        raise CleanerError(
            f"an item has {value!r}, a {type(value).__name__}, for its labels; text in which label_delim joins them, "
            "or a list or tuple of them, is accepted"
        )

    def as_decided(self, cell: str) -> str:
        return join_labels(self.split(cell), self.in_manifest)

    def known(self, values: Iterable[Any]) -> dict[str, Any]:
        return {str(label): label for value in values if isinstance(value, (list, tuple)) for label in value}

    def changed(self, value: Any, new_label: str, convert: Callable[[str], Any]) -> Any:
        """See `ItemLabels`; labels that stay keep their order, new ones come last."""
        before, new = self.split(value), self.split_decided(new_label)
        added = [label for label in new if label not in before]
        if not isinstance(value, str):
            labels = [label for label in value if str(label) in new] + [convert(label) for label in added]
            return tuple(labels) if isinstance(value, tuple) else labels
        for label in added:
            if self.in_items in label or not label:
                raise Refusal(f"the label {label!r} cannot stand in a cell whose labels {self.in_items!r} joins")
        return convert(self.in_items.join([*(label for label in before if label in new), *added]))


class UnlabelledItems(ItemLabels):
    """Items have targets of any kind that no decision is about."""

    def split_decided(self, text: str) -> tuple[str, ...]:
        raise Refusal(f"the images of this scan carry no labels, so it cannot get {text!r}")

    def split(self, value: Any) -> None:  # noqa: ARG002 - whatever it is
        return None

    def known(self, values: Iterable[Any]) -> dict[str, Any]:  # noqa: ARG002 - whatever they are
        return {}


def labels_of_cells(header: ScanHeader | None, label_delim: str | None) -> ItemLabels:
    """Return how the cells of a table have their labels.

    Without a scan (None) the manifest is assumed to have the table's delimiter.
    """
    is_multi = header is not None and header.task == MULTI_LABEL
    if is_multi and not label_delim:
        raise CleanerError(
            "the decisions are about images with several labels; give the delimiter of labels in a cell of the "
            "table with label_delim, such as ' ' or ','"
        )
    if label_delim is None:
        return ItemLabels()
    if not label_delim or any(c in label_delim for c in '\n\r"'):
        raise CleanerError(f"label_delim is {label_delim!r}; the text between two labels in a cell is accepted")
    if header is not None and not is_multi:
        raise CleanerError(f"got label_delim, but a scan of the task {header.task!r} has no label sets; leave it out")
    return SeveralLabels(header.label_delim if header else label_delim, label_delim)


def labels_of_items(header: ScanHeader | None, label_delim: str | None, values: Iterable[Any] | None) -> ItemLabels:
    """Return how items with these values, None if they are unknown, have their labels; see `labels_of_cells`."""
    has_text = any(isinstance(value, str) for value in values or ())
    if header and header.task == MULTI_LABEL and label_delim is None and not has_text:
        label_delim = header.label_delim  # no text is split by it
    if header and header.task == OTHER and label_delim is None:
        return UnlabelledItems()
    return labels_of_cells(header, label_delim)


def known_labels(
    labels: ItemLabels, vocab: Iterable[str] | None, values: Iterable[Any] | None
) -> frozenset[str] | None:
    """Return the labels of the scan, without one those in all values, and None without these either."""
    if vocab is not None:
        return frozenset(vocab)
    return None if values is None else frozenset(label for value in values for label in labels.split(value) or ())


def is_left_to_do(
    decision: Decision, labels: ItemLabels, before: Iterable[str] | None, known: Container[str] | None
) -> bool:
    """Return whether an image with the labels `before` does not yet have those that a decision gives it.

    A decision about an image that had other labels then, or that would get a label not in `known`, is refused. None
    stands for labels that are unknown.
    """
    current = None if before is None else set(before)
    if decision.action is Action.RELABEL:
        new = labels.split_decided(decision.new_label)
        if current == set(new):
            return False
        for label in new:
            if known is not None and label not in known:
                raise Refusal(f"there is no class {label!r}")
    if current is not None and decision.label and current != set(labels.split_decided(decision.label)):
        listed = ", ".join(map(repr, sorted(current))) or "none"
        which = "its label is" if len(current) == 1 else "its labels are"
        raise Refusal(f"{which} {listed}, and the decision was about {decision.label!r}")
    return True


def to_value(label: str, known: Mapping[str, Any]) -> Any:
    """Return the value that is written as a label; the label itself if all known values are text."""
    if label in known:
        return known[label]
    kinds = sorted({type(value).__name__ for value in known.values()} - {"str"})
    if kinds:
        raise Refusal(f"no label here is {label!r}, and one cannot be made of it: they are of the type {kinds[0]}")
    return label
