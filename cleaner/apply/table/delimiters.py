"""Several labels in one cell of a table, joined by a delimiter that may differ from the manifest's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleaner.apply.plan import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.scan_header import ScanHeader
from cleaner.core.tasks import MULTI_LABEL, join_labels, split_labels

__all__ = ["LabelDelimiters"]


@dataclass(frozen=True)
class LabelDelimiters:
    """The delimiters of several labels.

    Attributes:
        in_manifest: delimiter in the decisions.
        in_table: delimiter in the cells of the table.
    """

    in_manifest: str
    in_table: str

    @classmethod
    def from_header(cls, header: ScanHeader | None, label_delim: str | None) -> LabelDelimiters | None:
        """Return the delimiters, or None if each image has one label.

        Without a scan the manifest is assumed to have the table's delimiter.

        Raises:
            CleanerError: the scan and the delimiter contradict each other.
        """
        is_multi = header is not None and header.task == MULTI_LABEL
        if is_multi and not label_delim:
            raise CleanerError(
                "the decisions are about images with several labels; give the delimiter of labels in a cell of the "
                "table with label_delim (--label-delim), such as ' ' or ','"
            )
        if label_delim is None:
            return None
        if not label_delim or any(c in label_delim for c in '\n\r"'):
            raise CleanerError(f"label_delim is {label_delim!r}; the text between two labels in a cell is accepted")
        if header is not None and not is_multi:
            raise CleanerError(
                f"got label_delim, but a scan of the task {header.task!r} has no label sets; leave it out"
            )
        return cls(header.label_delim if header else label_delim, label_delim)

    def split_cell(self, cell: str) -> tuple[str, ...]:
        """Return the labels in a cell in their order."""
        return tuple(cell.split(self.in_table)) if cell else ()

    def split_decided(self, text: str) -> tuple[str, ...]:
        """Return the labels in the `label` or `new_label` of a decision."""
        return split_labels(text, self.in_manifest)

    def as_decided(self, cell: str) -> str:
        """Return a cell as a decision would write it."""
        return join_labels(self.split_cell(cell), self.in_manifest)

    def replace_in_cell(self, cell: str, new: Sequence[str]) -> str:
        """Return a cell with other labels: labels that stay keep their order, new ones come last.

        Raises:
            Refusal: the table cannot hold one of the labels.
        """
        before = self.split_cell(cell)
        added = [label for label in new if label not in before]
        for label in added:
            if self.in_table in label or not label:
                raise Refusal(f"the label {label!r} cannot stand in a cell whose labels {self.in_table!r} joins")
        return self.in_table.join([*(label for label in before if label in new), *added])
