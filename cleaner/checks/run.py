"""`cleaner.check`: one pass over the files of a dataset, and from its measurements the rows of `issues.csv`."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from cleaner.checks.features import Described, features_of
from cleaner.checks.listing import Listing, listed_in_folder, listed_in_table
from cleaner.checks.measure import measure
from cleaner.checks.measurements import Finished, Measurements
from cleaner.checks.outliers import find_outliers
from cleaner.checks.pool import default_workers, run_over
from cleaner.checks.properties import telling_properties
from cleaner.checks.quality import find_quality
from cleaner.checks.records import CopyGroup
from cleaner.checks.report import CheckReport
from cleaner.checks.similar import find_copies
from cleaner.core.arguments import as_path, is_learner, table_path, unexpected
from cleaner.core.errors import CleanerError
from cleaner.core.images import read_image
from cleaner.core.issues import COPIES, ISSUE_NAMES, ISSUES, Issue
from cleaner.core.label_table import label_rows
from cleaner.core.labelled_files import SPLIT_FOLDERS, LabelledFiles
from cleaner.core.records import Unreadable, now
from cleaner.core.scan import Scan, load
from cleaner.core.scan_files import DESCRIPTION, ScanFiles, writing
from cleaner.core.scan_guard import check_out, inside_dataset
from cleaner.core.scan_tables import UNREADABLE
from cleaner.core.suffixes import SuffixCounts, as_text
from cleaner.core.tasks import ALL_IMAGES, OTHER, SINGLE_LABEL
from cleaner.core.terminal import printable

__all__ = ["check"]

CHECKING = "checking"
"""Folder of the measurements of an unfinished check, in the scan folder."""

_log = logging.getLogger(__name__)


def check(
    data: str | Path,
    out: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    input_size: int | None = None,
    workers: int | None = None,
    resume: bool = True,
    progress: bool = True,
) -> CheckReport:
    """Find bad images, copies and leaks in a dataset, without a model, and write `issues.csv` to the scan folder.

    Each file is opened once. Memory does not grow with the number of images: measurements are kept on the disk, 1.4
    KB per image, until the check has ended.

    Args:
        data: the dataset's folder. Labels and splits follow from its folders as in a scan: an image in the folder
            `train/cat` has the split `train` and the label `cat`. Without labels all is found but label conflicts.
        out: the scan folder; a new one, or one with a scan of the same dataset, which stays as it is.
        labels: a `.csv`, `.tsv` or `.parquet` file with the labels, as in `cleaner.scan_table`.
        path_column, label_column: the table's columns; by default those with usual names.
        input_size: side of the images that the learner takes, in pixels; images much smaller than that are listed.
        workers: processes that read images, 0 to read in this one; by default as many as there are cores.
        resume: continue an unfinished check in `out`; False to start over.
        progress: show a progress bar.

    Returns:
        a summary, which a notebook shows as a table with examples.

    Raises:
        CleanerError: an argument or the dataset cannot be used; nothing was written.

    Examples:
        >>> report = cleaner.check("images", out="checked", progress=False)
        >>> report.images, report.unreadable
        (21, 0)
        >>> report.frame("copy").empty
        True
    """
    root = _folder(data)
    if out is None:
        raise CleanerError("check() got no scan folder to write; pass out='scan', a new one or one of the same dataset")
    out = as_path("out", out, "the path of a scan folder")
    if labels is None and (path_column or label_column):
        raise CleanerError("a path column or a label column needs a label table; pass labels=FILE")
    for name, value in (("input_size", input_size), ("workers", workers)):
        least = 0 if name == "workers" else 1
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise CleanerError(f"{name} is {value!r}; expected a whole number of at least {least}")
    left_out = SuffixCounts()
    listing, table = _listing(root, left_out, labels, path_column, label_column)
    _check_folder(out, root)
    if inside := inside_dataset(out, root):
        _log.warning("%s", printable(inside))
    identity = {"dataset": root.as_posix(), "label table": table}
    with writing(out) as files:
        scan = load(out) if (out / DESCRIPTION).exists() else None
        with Measurements(out / CHECKING, identity, root, resume) as measurements:
            _measure(measurements, listing, default_workers() if workers is None else workers, progress)
            if not measurements.n_listed:
                measurements.remove()
                also = f", only files that are not known to be images: {as_text(left_out)}" if left_out else ""
                raise CleanerError(f"there is no image in {str(root)!r}{also}; pass the folder that holds the images")
            finished = measurements.finish()
            names = _Names(finished, tuple(measurements.labels), tuple(measurements.splits), scan)
            report = _report(finished, names, root, out, input_size)
            _write(report, finished, names, files, scan)
        measurements.remove()
    if left_out and progress:
        _log.warning("left out files whose suffix is not known to be that of an image: %s", as_text(left_out))
    return report


def _listing(
    root: Path, left_out: SuffixCounts, labels: str | Path | None, path_column: str | None, label_column: str | None
) -> tuple[Listing, str]:
    """Return the images of a folder or a label table, and a fingerprint of the table."""
    if labels is None:
        return partial(listed_in_folder, root, left_out.add), ""
    rows = label_rows(table_path(labels), path_column, label_column)
    _, fingerprint = LabelledFiles(rows, root, {label: 0 for _, label in rows}).check()
    return partial(listed_in_table, root, rows), fingerprint


def _folder(data: str | Path) -> Path:
    if is_learner(data) or hasattr(data, "dls"):
        raise unexpected("the dataset's folder", data, "a check needs no learner; pass the folder: learn.dls.path")
    as_path("data", data, "the dataset's folder")
    if "://" in str(data):
        raise CleanerError(f"{str(data)!r} is an address, and a check opens files; pass a copy or mount of the images")
    root = Path(os.path.abspath(data))  # as a scan names it: without `..`
    if not root.is_dir():
        raise CleanerError(f"{str(data)!r} is not a folder; pass the folder that holds the images")
    return root


def _check_folder(out: Path, root: Path) -> None:
    """Check that `out` may hold the issues of a dataset.

    Raises:
        CleanerError: it holds other files, or the scan of another dataset.
    """
    if not (out / DESCRIPTION).exists():
        check_out(out, root, ())
        return
    scan = load(out)
    if os.path.realpath(scan.root) != os.path.realpath(root):
        raise CleanerError(
            f"{str(out)!r} holds a scan of another dataset, {scan.place!r}, not of {str(root)!r}; give another folder"
        )


def _measure(measurements: Measurements, listing: Listing, workers: int, progress: bool) -> None:
    """Measure the images that are not measured yet."""
    waiting = []

    def files() -> Iterator[str]:
        for listed, identity in measurements.unmeasured(listing()):
            waiting.append((listed, identity))
            yield listed.file

    waiting_from = 0
    with tqdm(desc="check", unit="img", disable=not progress) as bar:
        for outcome in run_over(measure, files(), workers):
            listed, identity = waiting[waiting_from]
            measurements.append(listed, identity, outcome)
            waiting_from += 1
            if waiting_from >= 1024:
                del waiting[:waiting_from]
                waiting_from = 0
            bar.update()


@dataclass(frozen=True)
class _Names:
    """Names of images, with the labels of the scan that is in the folder, if there is one.

    Attributes:
        finished: the measurements.
        labels, splits: by their index in the measurements.
        scan: the scan whose labels count.
    """

    finished: Finished
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    scan: Scan | None

    def issue(self, issue: str, at: int, score: float, detail: str, group: int = 0) -> Issue:
        path, split, label = self.finished.name(at)
        return Issue(issue, group, round(score, 4), split, self.known(label), path, detail)

    @cached_property
    def predicted(self) -> dict[str, str]:
        """The model's prediction of each image that the scan kept."""
        return {} if self.scan is None else {sample.path: sample.predicted for sample in self.scan.samples}

    def known(self, label: str) -> str:
        """Return a label, or an empty text if the scan does not have it."""
        return label if self.scan is None or label in self.scan.vocab else ""

    def by_label(self, counts: Iterable[int]) -> dict[str, int]:
        """Return non-zero counts by label, of counts by index."""
        named = zip(self.labels, counts, strict=False)
        return {label: int(count) for label, count in sorted(named) if count}


def _report(finished: Finished, names: _Names, root: Path, out: Path, input_size: int | None) -> CheckReport:
    n_classes = len(names.labels)
    described = _described(finished, names.scan)
    found = [find_quality(finished.records, finished.classes, n_classes, input_size)]
    if described:
        found.append(find_outliers(finished.records, finished.classes, n_classes, described))
    by_class = {key: names.by_label(counts.tolist()) for each in found for key, counts in each.by_class.items()}
    singles = (names.issue(each.issue, each.at, each.score, each.detail) for one in found for each in one.findings)
    issues = [*_copies(finished, names, root, described), *singles]
    for issue in COPIES:
        if counts := Counter(row.label for row in issues if row.issue == issue):
            by_class[issue] = dict(counts)
    classes = Counter[int]()
    for start in range(0, len(finished.classes), 1 << 16):
        classes.update(finished.classes[start : start + (1 << 16)].tolist())
    return CheckReport(
        root=root,
        folder=out,
        images=len(finished.records),
        unreadable=sum(1 for _ in finished.unreadable()),
        issues=tuple(issues),
        counts={issue: sum(by_class[issue].values()) for issue in ISSUE_NAMES if issue in by_class},
        by_class=by_class,
        classes=names.by_label(classes[at] for at in range(n_classes)),
        telling=tuple(telling_properties(finished.records, finished.classes, names.labels)),
        has_features=described is not None,
    )


def _described(finished: Finished, scan: Scan | None) -> Described | None:
    """Return the features of images, if the scan in the folder kept them."""
    if scan is None or scan.features is None:
        return None
    return features_of(scan.features, finished.paths())


def _copies(finished: Finished, names: _Names, root: Path, described: Described | None) -> list[Issue]:
    """Return the rows of groups, numbered in the order of the page."""

    def read(at: int) -> Image.Image:
        return read_image(root / finished.name(at)[0])

    kinds: dict[str, list[CopyGroup]] = {kind: [] for kind in COPIES}
    for group in find_copies(finished.records, read, described):
        kinds[_kind(group, finished, names)].append(group)
    rows: list[Issue] = []
    number = 0
    for kind, groups in kinds.items():
        for group in sorted(groups, key=lambda g: (-max(g.scores[1:]), g.members[0])):
            number += 1
            members = zip(_favoured_first(group, finished, names), group.scores, group.details, strict=True)
            rows += [names.issue(kind, at, score, detail, number) for at, score, detail in members]
    return rows


def _favoured_first(group: CopyGroup, finished: Finished, names: _Names) -> list[int]:
    """Return the members of a group; of those with the same bytes as the one to keep the most likely original first.

    That is one with the label that the model predicts, then the one with the shortest name: `1.jpg`, not `1 (2).jpg`.
    """
    equal = [at for at, detail in enumerate(group.details) if at == 0 or detail == "same bytes"]

    def order(at: int) -> tuple[bool, int, str]:
        path, _, label = finished.name(group.members[at])
        return names.predicted.get(path, "") != label, len(path.rpartition("/")[2]), path

    members = list(group.members)
    first = min(equal, key=order)
    members[0], members[first] = members[first], members[0]
    return members


def _kind(group: CopyGroup, finished: Finished, names: _Names) -> str:
    members = list(group.members)
    labels = {names.known(names.labels[at]) for at in finished.classes[members].tolist()} - {""}
    if len(labels) > 1:
        return "label-conflict"
    return "leak" if len(set(finished.splits[members].tolist())) > 1 else "copy"


def _write(report: CheckReport, finished: Finished, names: _Names, files: ScanFiles, scan: Scan | None) -> None:
    """Write the files of the check; in a new folder also a scan without samples, for the page and for `apply`."""
    unreadable = [replace(each, label=names.known(each.label)) for each in finished.unreadable()]
    if scan is None:
        _empty_scan(report, names, unreadable).write_to(files)
    else:
        listed = {each.path for each in scan.unreadable}
        UNREADABLE.write_beside(files.folder, [*scan.unreadable, *(u for u in unreadable if u.path not in listed)])
    ISSUES.write_beside(files.folder, report.issues)


def _empty_scan(report: CheckReport, names: _Names, unreadable: Sequence[Unreadable]) -> Scan:
    found = {each.split for each in unreadable} | set(names.splits)
    splits = tuple(split for split in (*SPLIT_FOLDERS, "all") if split in found)
    vocab = tuple(sorted({*names.labels, *(each.label for each in unreadable)} - {""}))
    return Scan(
        root=report.root,
        vocab=vocab or (ALL_IMAGES,),
        splits=splits,
        k=1,
        scored=dict.fromkeys(splits, 0),
        samples=(),
        cells={split: {} for split in splits},
        unreadable=tuple(unreadable),
        task=SINGLE_LABEL if vocab else OTHER,
        settings={"source": "check"},
        started=now(),
        finished=now(),
    )
