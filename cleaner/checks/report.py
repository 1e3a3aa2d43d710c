"""The result of a check: tables of its issues, and a summary with examples for a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.issues import COPIES, ISSUE_NAMES, ISSUES, Issue
from cleaner.core.markup import Markup, lines, table, thumbnails

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CheckReport"]

# Share of images in groups of copies from which on they may be no copies.
_MANY = 0.3
# Examples of an issue.
_EXAMPLES = 6


@dataclass(frozen=True)
class CheckReport:
    """The findings of a check.

    Attributes:
        root: the dataset's folder; paths are relative to it.
        folder: the scan folder with `issues.csv`.
        images: number of images that could be read.
        unreadable: number of those that could not.
        issues: the rows of `issues.csv`; of each issue of single images the worst.
        counts: number of all images with each issue, also of those that are not among the rows.
        by_class: number of images with an issue, by issue and label; labels without any are left out.
        classes: number of images that could be read, by label.
        telling: properties that tell the label by themselves, as sentences, such as that all cats are dark.
        has_features: whether the scan in the folder kept features, without which outliers are not looked for.
    """

    root: Path
    folder: Path
    images: int
    unreadable: int
    issues: tuple[Issue, ...]
    counts: Mapping[str, int]
    by_class: Mapping[str, Mapping[str, int]] = field(repr=False)
    classes: Mapping[str, int] = field(repr=False)
    telling: tuple[str, ...] = ()
    has_features: bool = False

    def frame(self, issue: str | None = None) -> pd.DataFrame:
        """Return the rows of an issue, or of all, with the columns of `issues.csv`, highest score first.

        Raises:
            CleanerError: there is no such issue.

        Examples:
            >>> report.frame("copy").columns.tolist()[:3]
            ['issue', 'group', 'score']
        """
        import pandas as pd

        if issue is not None and issue not in ISSUE_NAMES:
            raise CleanerError(f"there is no issue {issue!r}; expected one of {', '.join(ISSUE_NAMES)}")
        rows = [[getattr(row, name) for name in ISSUES.columns] for row in self.issues if issue in (None, row.issue)]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=list(ISSUES.columns))
        return frame

    def shares(self) -> pd.DataFrame:
        """Return the share of images with each issue, 0 to 1, with a row per label and a column per issue.

        Examples:
            >>> report.shares().index.tolist()
            ['bear', 'cat', 'dog']
        """
        import pandas as pd

        columns = {
            issue: {label: counts.get(label, 0) / total for label, total in self.classes.items()}
            for issue, counts in self.by_class.items()
        }
        frame: pd.DataFrame = pd.DataFrame(columns, index=list(self.classes))
        return frame

    def table(self) -> list[tuple[str, str, str]]:
        """Return name, number of images and number of groups of each issue that was found, for people."""
        groups = Counter(issue for issue, _ in {(row.issue, row.group) for row in self.issues if row.group})
        return [
            (name, self._count(issue), f"{groups[issue]:,}" if issue in COPIES else "")
            for issue, name in ISSUE_NAMES.items()
            if self.counts.get(issue)
        ]

    def _count(self, issue: str) -> str:
        """Return the number of images with an issue, and how many of them are listed if not all."""
        listed = sum(row.issue == issue for row in self.issues)
        of = f"{self.counts[issue]:,}"
        return of if listed == self.counts[issue] else f"{of}, the {listed:,} worst listed"

    def summary(self) -> str:
        """Return what was checked, in a line."""
        kinds = sum(map(bool, self.counts.values()))
        found = f"{kinds} {'kind of issue' if kinds == 1 else 'kinds of issues'}" if kinds else "no issue"
        images = f"{self.images:,} {'image' if self.images == 1 else 'images'}"
        return f"{images} checked, {self.unreadable:,} unreadable: {found}"

    def notes(self) -> list[str]:
        """Return what else a person should know, as sentences."""
        without = "Outliers were not looked for: that needs a scan with features=True in this folder"
        return [*self.telling, *self._on_many_copies(), *([] if self.has_features else [without])]

    def _on_many_copies(self) -> list[str]:
        """Doubt the copies where there are so many that images of this kind may look alike."""
        copies = sum(self.counts.get(issue, 0) for issue in COPIES)
        if copies < _MANY * self.images:
            return []
        share = f"{min(1, copies / self.images):.0%}"
        return [f"{share} of the images are in groups of copies: simple drawings and digits look alike; look at some"]

    def __repr__(self) -> str:
        found = ", ".join(f"{self.counts[issue]:,} {issue}" for issue in ISSUE_NAMES if self.counts.get(issue))
        about = f"<CheckReport in {str(self.folder)!r} of {str(self.root)!r}: {self.images:,} images"
        return f"{about}; {found or 'no issue'}>"

    def _repr_html_(self) -> str:
        rows = [(*row, self._examples(row[0])) for row in self.table()]
        after = f"Next: cleaner.Review({str(self.folder)!r}), or on the command line: cleaner serve {self.folder}"
        about = lines([self.summary(), *self.notes()])
        return about + table(("issue", "images", "groups", "examples"), rows) + lines([after] if rows else [])

    def _examples(self, name: str) -> Markup:
        issue = next(key for key, other in ISSUE_NAMES.items() if other == name)
        rows = [row for row in self.issues if row.issue == issue][:_EXAMPLES]
        return thumbnails((self.root / row.path, f"{row.path}: {row.detail}") for row in rows)
