"""Carry out a manifest on a dataset so that it can be undone; needs neither the model nor the review app.

`cleaner/__init__.py` imports the function `apply` from here at once: importing a submodule later then leaves the
attribute `cleaner.apply` as it is, the function. This module imports the rest of the package only when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleaner.apply.report import Report
    from cleaner.core.scan import Scan

__all__ = ["apply"]


def apply(
    scan: Scan | Report | str | Path,
    data: str | Path | None = None,
    *,
    dry_run: bool = False,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    name_pattern: str | None = None,
    label_delim: str | None = None,
    trash: str | Path | None = None,
    rule: str | None = None,
    accept_edited: bool = False,
) -> Report:
    """Carry out the decisions about a scan on its dataset, with labels in folder names, file names or a table.

    `delete` moves a file to a hidden trash folder inside the dataset, `relabel` moves it to the folder of the other
    class. No file is overwritten or removed: if a name is taken, the file gets a free one. After an interrupted run
    the same call plans the rest from the current decisions and files, in the same journal. A decision that was carried
    out before is not carried out again. If no file could be moved, no journal is kept.

    With a name pattern the label is part of the file's name, and `relabel` replaces it: `Abyssinian_12.jpg` becomes
    `Bengal_12.jpg`. If that name is taken, the file gets another number, and only a name in which the pattern finds
    the new label.

    With a label table no file is moved: `delete` drops the file's row, `relabel` changes its label, and the rest of
    the table is unchanged. A copy of the old table is kept beside the journal.

    Args:
        scan: whose decisions: a scan, a scan folder, the path of a `decisions.csv`, or the report of a dry run, which
            brings the other arguments with it; changes that it did not show are refused.
        data: the dataset's folder; by default that of the scan.
        dry_run: change nothing, and return what would be done, in the `planned` of the report.
        labels: the label table, a `.csv`, `.tsv` or `.parquet` file; None if folders or file names are the labels.
        path_column, label_column: the table's columns of paths and labels; by default those with usual names.
        name_pattern: regular expression whose first group is the label in a file's name, as for fastai's
            `from_name_re` or `from_path_re`; None if file names contain no label.
        label_delim: delimiter of several labels in one cell of the table, such as `" "`; required if the decisions are
            about images with several labels, and only then.
        trash: folder for deleted files, outside of the dataset and on the same file system. By default it is the hidden
            `.cleaner-trash` in the dataset's folder, which fastai skips and torchvision's `ImageFolder` takes for a
            class.
        rule: which decision stands where several reviewers decided: `last`, the default; `majority`, what more than
            half of them decided; `unanimous`, what all of them decided. Where none does, the image is left alone, and
            is in the report's conflicts.
        accept_edited: carry out a manifest whose acknowledged decisions were removed or reordered; it is acknowledged
            in its current form.

    Raises:
        CleanerError: the manifest, the folder, the table, the pattern or the trash cannot be used, an undo was
            interrupted, or acknowledged decisions are missing from the manifest; nothing was changed.

    Examples:
        >>> cleaner.apply("scan", dry_run=True)
        <Report: 2 planned, 0 left alone>
        >>> report = cleaner.apply("scan")
        >>> for change in report.done:
        ...     print(change.source, "->", change.target)
        cat/cat_0.png -> .cleaner-trash/journal-.../cat/cat_0.png
        dog/dog_1.png -> bear/dog_1.png
        >>> report.conflicts
        ()
    """
    from cleaner.apply.run import run_apply

    given = {
        "data": data,
        "labels": labels,
        "path_column": path_column,
        "label_column": label_column,
        "name_pattern": name_pattern,
        "label_delim": label_delim,
        "trash": trash,
        "rule": rule,
    }
    return run_apply(scan, given, accept_edited, dry_run)
