"""Label sets in a table: several labels in one cell, joined by a delimiter that need not be the manifest's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleaner.apply.labels import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL, join_labels, split_labels

__all__ = ["LabelSets", "sets_of"]


@dataclass(frozen=True)
class LabelSets:
    """What joins labels.

    Attributes:
        in_manifest: in the decisions.
        in_table: in the cells of the table.
    """

    in_manifest: str
    in_table: str

    def of_cell(self, cell: str) -> tuple[str, ...]:
        """The labels in a cell, as they stand there; in an empty one there are none."""
        return tuple(cell.split(self.in_table)) if cell else ()

    def of_decision(self, text: str) -> tuple[str, ...]:
        """The labels in the `label` or `new_label` of a decision."""
        return split_labels(text, self.in_manifest)

    def as_decided(self, cell: str) -> str:
        """A cell as a decision would write it."""
        return join_labels(self.of_cell(cell), self.in_manifest)

    def cell_after(self, cell: str, new: Sequence[str]) -> str:
        """The cell with other labels: those that stay are left as they stand, others come after them.

        Raises:
            Refusal: the table cannot hold one of the labels.
        """
        before = self.of_cell(cell)
        for label in new:
            if label not in before and (self.in_table in label or not label):
                raise Refusal(f"the label {label!r} cannot stand in a cell whose labels {self.in_table!r} joins")
        stays = [label for label in before if label in new]
        return self.in_table.join([*stays, *(label for label in new if label not in before)])


def sets_of(scan: Scan | None, label_delim: str | None) -> LabelSets | None:
    """How label sets are written, or None where each image has one label.

    Without a scan the manifest's sets are taken to be joined as the table's.

    Raises:
        CleanerError: the scan and the delimiter contradict each other.
    """
    is_multi = scan is not None and scan.task == MULTI_LABEL
    if is_multi and not label_delim:
        raise CleanerError(
            "the decisions are about images with several labels; say what joins them in a cell of the table, "
            "with label_delim (--label-delim), such as ' ' or ','"
        )
    if label_delim is None:
        return None
    if not label_delim or "\n" in label_delim or "\r" in label_delim or '"' in label_delim:
        raise CleanerError(f"label_delim is {label_delim!r}; the text between two labels in a cell is accepted")
    if scan is not None and not is_multi:
        raise CleanerError(
            f"label_delim came, and the scan is of the task {scan.task!r}, without label sets; leave it out"
        )
    return LabelSets(scan.label_delim if scan else label_delim, label_delim)
