"""Issues: what is wrong with images whatever their label, as `issues.csv` lists it."""

from __future__ import annotations

from dataclasses import dataclass

from cleaner.core.errors import FieldError
from cleaner.core.files import check_path, number_to_csv, path_from_csv, path_to_csv
from cleaner.core.scan_tables import Table

__all__ = ["COPIES", "ISSUES", "ISSUE_NAMES", "QUALITY", "Issue"]

COPIES = {
    "label-conflict": "Copies with different labels",
    "leak": "Copies across splits",
    "copy": "Copies within a class",
}
"""Issues of groups of images, in the order of the page, with their names there.

A group is of the first kind that fits: its labels differ, else its splits differ, else it is within a class.
"""

QUALITY = {
    "dark": "Dark",
    "bright": "Bright",
    "low-contrast": "Low contrast",
    "blurred": "Blurred",
    "one-colour": "One colour",
    "odd-shape": "Odd shape",
    "odd-size": "Odd size",
    "small": "Small",
    "grey": "Grey among colour",
    "wrong-suffix": "Wrong suffix",
    "rotated": "Rotated by EXIF",
}
"""Issues of single images, in the order of the page, with their names there."""

ISSUE_NAMES = {**COPIES, **QUALITY, "outlier": "Outliers"}
"""All issues in the order of the page, with their names there."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One row of `issues.csv`: what is wrong with one image.

    Attributes:
        issue: a key of `ISSUE_NAMES`.
        group: number of the group of copies that the image is in, from 1; 0 for issues of single images.
        score: 0 to 1, higher is worse; for copies, how alike the image is to the one that is suggested to be kept.
        split, label: as in `Sample`; `label` is empty where there are no labels.
        path: the image's file, relative to the dataset's root.
        detail: the reason in words.

    Raises:
        FieldError: a field has an invalid value.
    """

    issue: str
    group: int
    score: float
    split: str
    label: str
    path: str
    detail: str = ""

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.issue not in ISSUE_NAMES:
            raise FieldError("issue", self.issue, f"expected one of {', '.join(ISSUE_NAMES)}")
        if not 0 <= self.score <= 1:
            raise FieldError("score", self.score, "expected 0 to 1")
        if (self.group >= 1) != (self.issue in COPIES):
            raise FieldError("group", self.group, "expected a number from 1 for copies, and 0 for others")


def _to_cells(issue: Issue) -> tuple[object, ...]:
    place = (issue.split, issue.label, path_to_csv(issue.path))
    return (issue.issue, issue.group or "", number_to_csv(round(issue.score, 4)), *place, issue.detail)


def _from_cells(cells: list[str]) -> Issue:
    issue, group, score, split, label, path, detail = cells
    return Issue(issue, int(group or 0), float(score), split, label, path_from_csv(path), detail)


ISSUES: Table[Issue] = Table(
    "issues.csv", ("issue", "group", "score", "split", "label", "path", "detail"), _to_cells, _from_cells
)
"""`issues.csv`: issues in the order of `ISSUE_NAMES`; the members of a group stand together, the one to keep first."""
