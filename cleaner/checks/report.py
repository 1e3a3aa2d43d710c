"""The result of a check: tables of its issues, and a summary with examples for a notebook."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.issues import COPIES, ISSUE_NAMES, ISSUES, Issue

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CheckReport"]

# Examples of an issue, and the longer side of each in pixels.
_EXAMPLES, _THUMBNAIL = 6, 96


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
        """
        import pandas as pd

        if issue is not None and issue not in ISSUE_NAMES:
            raise CleanerError(f"there is no issue {issue!r}; expected one of {', '.join(ISSUE_NAMES)}")
        rows = [[getattr(row, name) for name in ISSUES.columns] for row in self.issues if issue in (None, row.issue)]
        frame: pd.DataFrame = pd.DataFrame(rows, columns=list(ISSUES.columns))
        return frame

    def shares(self) -> pd.DataFrame:
        """Return the share of images with each issue, 0 to 1, with a row per label and a column per issue."""
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
            (name, f"{self.counts[issue]:,}", f"{groups[issue]:,}" if issue in COPIES else "")
            for issue, name in ISSUE_NAMES.items()
            if self.counts.get(issue)
        ]

    def summary(self) -> str:
        """Return what was checked, in a line."""
        kinds = sum(map(bool, self.counts.values()))
        found = f"{kinds} {'kind' if kinds == 1 else 'kinds'} of issues" if kinds else "no issue"
        return f"{self.images:,} images checked, {self.unreadable:,} unreadable: {found}"

    def notes(self) -> list[str]:
        """Return what else a person should know, as sentences."""
        without = (
            "Outliers were not looked for: that needs a scan with features (cleaner scan --features) in this folder"
        )
        return [*self.telling, *([] if self.has_features else [without])]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{images}</td><td>{groups}</td><td>{self._examples(name)}</td></tr>"
            for name, images, groups in self.table()
        )
        header = "<tr><th>issue</th><th>images</th><th>groups</th><th>examples</th></tr>" if rows else ""
        lines = [self.summary(), *self.notes()]
        text = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
        return f"{text}<table>{header}{rows}</table>" if rows else text

    def _examples(self, name: str) -> str:
        issue = next(key for key, other in ISSUE_NAMES.items() if other == name)
        rows = [row for row in self.issues if row.issue == issue][:_EXAMPLES]
        return "".join(self._thumbnail(row) for row in rows)

    def _thumbnail(self, row: Issue) -> str:
        """Return an image as HTML; a file that changed since the check is left out."""
        buffer = io.BytesIO()
        try:
            read_image(self.root / row.path, _THUMBNAIL).save(buffer, "JPEG")
        except Exception:  # noqa: BLE001 - decoders raise anything; the table is shown without this example
            return ""
        data, title = base64.b64encode(buffer.getvalue()).decode(), html.escape(f"{row.path}: {row.detail}", quote=True)
        return f'<img src="data:image/jpeg;base64,{data}" title="{title}" style="display:inline; margin:2px">'
