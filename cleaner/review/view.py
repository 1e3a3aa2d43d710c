"""The part of a scan that a page shows: the open class, the page, the filter and the order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.fields import check_one_of, check_whole
from cleaner.core.issues import COPIES, ISSUE_NAMES
from cleaner.core.records import Decision, Sample

__all__ = [
    "ABSENT",
    "ALL",
    "AUDIT",
    "DISAGREEMENTS",
    "GROUP_LISTS",
    "ISSUE_LISTS",
    "LIST_NAMES",
    "MAX_PAGE_SIZE",
    "ORDERS",
    "SHOWS",
    "UNREADABLE",
    "UNSURE",
    "View",
    "issue_list",
]

ALL = "\0all"
"""`View.label` of the list of all classes. No label in a scan folder contains this character."""

UNSURE = "\0unsure"
"""`View.label` of the list of images that were decided as unsure."""

DISAGREEMENTS = "\0disagreements"
"""`View.label` of the list of images about which reviewers decided differently."""

AUDIT = "\0audit"
"""`View.label` of the audit sample: in a random order, without prediction and loss, which would suggest an answer."""

UNREADABLE = "\0unreadable"
"""`View.label` of the list of files that could not be read."""


def issue_list(issue: str) -> str:
    """Return the `View.label` of the list of an issue, one of `ISSUE_NAMES`."""
    return f"\0issue:{issue}"


ISSUE_LISTS = {issue_list(issue): issue for issue in ISSUE_NAMES}
"""The issue of each list of issues, by `View.label`, in the order of the page."""

GROUP_LISTS = frozenset(map(issue_list, COPIES))
"""The lists of issues whose images stand in groups of copies."""

LIST_NAMES = {
    ALL: "All classes, worst first",
    UNSURE: "Unsure",
    DISAGREEMENTS: "Disagreements",
    AUDIT: "Audit sample",
    UNREADABLE: "Unreadable files",
    **{label: ISSUE_NAMES[issue] for label, issue in ISSUE_LISTS.items()},
}
"""Names on the page of the lists that are no label's class."""

ABSENT = "\0absent"
"""`View.predicted` in a multi-label scan for images that the model says do not carry the open label."""

SHOWS = ("all", "undecided", "decided", "keep", "delete", "relabel", "unsure")
"""Values of `View.show`."""

MAX_PAGE_SIZE = 200
_MAX_TEXT = 4096


_SORT_KEYS: dict[str, Callable[[Sample], Any]] = {
    "loss": lambda sample: (-sample.loss if math.isfinite(sample.loss) else -math.inf, sample.rank),
    "confidence": lambda sample: (math.inf if math.isnan(sample.confidence) else sample.confidence, sample.path),
    "name": lambda sample: sample.path,
}

# The audit sample: one sample of each class, then the next of each, so that a review that stops early has seen all
# classes. Issues: as in `issues.csv`, worst first.
_BY_RANK = attrgetter("rank")

ORDERS = tuple(_SORT_KEYS)
"""Values of `View.order`: highest loss first (NaN and infinity before all), least confident first, by path."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of a scan that a reviewer looks at.

    Attributes:
        split: name of the open split.
        label: the open list: a label, or a key of `LIST_NAMES`.
        page: page number, from 0.
        page_size: cards on a page, 1 to `MAX_PAGE_SIZE`.
        show: one of `SHOWS`.
        predicted: show only samples with this prediction (a label, or `ABSENT`); empty for all.
        text: show only paths that contain this text, ignoring case; empty for all.
        order: one of `ORDERS`; the audit sample keeps its own, and issues are worst first unless they are by path.
        at: path of the cursor's card; empty for the first one of the page.

    Raises:
        CleanerError: a value is invalid. The scan checks split, label and prediction.
    """

    split: str
    label: str
    page: int = 0
    page_size: int = 30
    show: str = "all"
    predicted: str = ""
    text: str = ""
    order: str = "loss"
    at: str = ""

    def __post_init__(self) -> None:
        check_one_of("show", self.show, SHOWS)
        check_one_of("order", self.order, ORDERS)
        check_whole(self, "page")
        check_whole(self, "page_size", minimum=1, maximum=MAX_PAGE_SIZE)
        if not isinstance(self.text, str) or len(self.text) > _MAX_TEXT:
            expected = f"expected a part of a path, up to {_MAX_TEXT} characters"
            raise CleanerError(f"text is {str(self.text)[:80]!r}; {expected}")
        if not isinstance(self.at, str):
            raise CleanerError(f"at is {str(self.at)[:80]!r}; expected a path")

    def select(
        self, samples: Iterable[Sample], standing: Mapping[str, Decision], prediction_of: Callable[[Sample], str]
    ) -> list[Sample]:
        """Return the samples that the filter lets through, in the view's order.

        Args:
            samples: the samples of the open list.
            standing: the decision about each decided path.
            prediction_of: returns the prediction of a sample, or `ABSENT`.
        """
        text = self.text.strip().lower()

        def fits(sample: Sample) -> bool:
            decision = standing.get(sample.path)
            return (
                self._shows(decision.action.value if decision else "")
                and self.predicted in ("", prediction_of(sample))
                and text in sample.path.lower()
            )

        return sorted(filter(fits, samples), key=self._sort_key())

    def _sort_key(self) -> Callable[[Sample], Any]:
        is_by_rank = self.label == AUDIT or (self.label in ISSUE_LISTS and self.order != "name")
        return _BY_RANK if is_by_rank else _SORT_KEYS[self.order]

    def _shows(self, action: str) -> bool:
        return self.show in ("all", action) or self.show == ("decided" if action else "undecided")
