"""What an item of a list or DataFrame has for its labels: one value, several, or a target that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from cleaner.apply.plan import Refusal
from cleaner.apply.table.delimiters import LabelDelimiters
from cleaner.core.errors import CleanerError
from cleaner.core.scan_header import ScanHeader
from cleaner.core.tasks import MULTI_LABEL, OTHER

__all__ = ["NoLabels", "OneLabel", "SeveralLabels", "Values", "as_one_of", "values_of"]


class Values(Protocol):
    """How the labels of an item are compared with those of a decision, and changed."""

    def of_decision(self, text: str) -> frozenset[str]:
        """The labels in the `label` or `new_label` of a decision.

        Raises:
            Refusal: a decision can have none.
        """

    def of_item(self, value: Any) -> frozenset[str] | None:
        """The labels of an item, as text; None where that is nothing to compare.

        Raises:
            CleanerError: the value is of another kind.
        """

    def known(self, values: Iterable[Any]) -> dict[str, Any]:
        """What single labels there are as values that may not be text, by what is written for them."""

    def after(self, value: Any, new_label: str, held: Callable[[str], Any]) -> Any:
        """What an item has instead of `value` after a decision.

        Args:
            value: what it has.
            new_label: that of the decision.
            held: makes the value that is held in this place out of text.

        Raises:
            Refusal: it cannot be held there.
        """


class OneLabel:
    """Each item has one label, of any type that can be written."""

    def of_decision(self, text: str) -> frozenset[str]:
        return frozenset([text])

    def of_item(self, value: Any) -> frozenset[str]:
        if isinstance(value, (list, tuple)):
            raise CleanerError(
                f"an item has the labels {value!r}, and the decisions are taken to be about one label an image; where "
                "they are about several, and no scan beside the manifest says so, give what joins them as label_delim="
            )
        return frozenset([str(value)])

    def known(self, values: Iterable[Any]) -> dict[str, Any]:
        return {str(value): value for value in values}

    def after(self, value: Any, new_label: str, held: Callable[[str], Any]) -> Any:  # noqa: ARG002 - it is replaced
        return held(new_label)


class SeveralLabels:
    """Each item has any number of labels: text in which they are joined, or a list or tuple of them.

    Args:
        sets: what joins them.
    """

    def __init__(self, sets: LabelDelimiters) -> None:
        self._sets = sets

    def of_decision(self, text: str) -> frozenset[str]:
        return frozenset(self._sets.split_decided(text))

    def of_item(self, value: Any) -> frozenset[str]:
        if isinstance(value, str):
            return frozenset(self._sets.split_cell(value))
        if isinstance(value, (list, tuple)):
            return frozenset(map(str, value))
        raise CleanerError(
            f"an item has {value!r}, a {type(value).__name__}, for its labels; text in which label_delim joins them, "
            "or a list or tuple of them, is accepted"
        )

    def known(self, values: Iterable[Any]) -> dict[str, Any]:
        return {str(each): each for value in values if isinstance(value, (list, tuple)) for each in value}

    def after(self, value: Any, new_label: str, held: Callable[[str], Any]) -> Any:
        new = self._sets.split_decided(new_label)
        if isinstance(value, str):
            return held(self._sets.replace_in_cell(value, new))
        before = self.of_item(value)
        found = [each for each in value if str(each) in new] + [held(label) for label in new if label not in before]
        return tuple(found) if isinstance(value, tuple) else found


class NoLabels:
    """Items have targets, of any kind, that no decision is about."""

    def of_decision(self, text: str) -> frozenset[str]:
        raise Refusal(f"the images of this scan carry no labels, so it cannot get {text!r}")

    def of_item(self, value: Any) -> frozenset[str] | None:  # noqa: ARG002 - whatever it is
        return None

    def known(self, values: Iterable[Any]) -> dict[str, Any]:  # noqa: ARG002 - whatever they are
        return {}

    def after(self, value: Any, new_label: str, held: Callable[[str], Any]) -> Any:  # noqa: ARG002 - as it was
        return value


def values_of(scan: ScanHeader | None, label_delim: str | None, values: Iterable[Any] | None) -> Values:
    """How items have their labels, by the scan and by what is said to join them in text.

    Args:
        scan: None where there is none; then a delimiter says that there are several.
        label_delim: what joins the labels of an item whose value is text.
        values: those of the items; None where they are not known.

    Raises:
        CleanerError: the scan and the delimiter contradict each other, or there is text and no delimiter.
    """
    has_text = any(isinstance(value, str) for value in values or ())
    if scan and scan.task == MULTI_LABEL and label_delim is None and not has_text:
        label_delim = scan.label_delim  # which is looked for nowhere
    sets = LabelDelimiters.from_header(scan, label_delim)
    if sets is not None:
        return SeveralLabels(sets)
    return NoLabels() if scan and scan.task == OTHER else OneLabel()


def as_one_of(label: str, known: Mapping[str, Any]) -> Any:
    """The value that is written as the label is; or, where all are text, the label.

    Raises:
        Refusal: there is none, and the values are not text.
    """
    if label in known:
        return known[label]
    kinds = sorted({type(value).__name__ for value in known.values()} - {"str"})
    if kinds:
        raise Refusal(f"no label here is {label!r}, and one cannot be made of it: they are of the type {kinds[0]}")
    return label
