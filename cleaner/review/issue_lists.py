"""The lists of a scan's issues: images that are bad whatever their label, and groups of copies."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cleaner.core.issues import Issue
from cleaner.core.records import Sample
from cleaner.core.scan import Scan
from cleaner.core.tasks import ALL_IMAGES, MULTI_LABEL, OTHER, split_labels
from cleaner.review.view import ISSUE_LISTS

__all__ = ["IssueLists"]


class IssueLists:
    """The issues of a scan by list, in the order of `issues.csv`. A list is of all splits.

    Files that an apply has moved since the check are left out, and what remains alone of a group.

    Args:
        scan: the scan.
        known: the samples of the scan by path; an issue of one of them keeps its label, prediction and loss.

    Attributes:
        labels: the lists that have images, as `View.label` names them, in the order of the page.
    """

    def __init__(self, scan: Scan, known: Mapping[str, Sample]) -> None:
        self._issues: dict[str, dict[str, Issue]] = {label: {} for label in ISSUE_LISTS}
        self._samples: dict[str, dict[str, Sample]] = {label: {} for label in ISSUE_LISTS}
        self._members: dict[tuple[str, int], list[str]] = {}
        list_of = {issue: label for label, issue in ISSUE_LISTS.items()}
        for issue in _present(scan):
            label = list_of[issue.issue]
            if issue.path in self._issues[label]:
                continue
            self._issues[label][issue.path] = issue
            rank = len(self._issues[label])
            sample = known.get(issue.path)
            self._samples[label][issue.path] = replace(sample, rank=rank) if sample else _sample(issue, rank, scan)
            if issue.group:
                self._members.setdefault((label, issue.group), []).append(issue.path)
        self.labels = [label for label, issues in self._issues.items() if issues]

    def samples(self, label: str) -> dict[str, Sample]:
        """Return the images of a list by path, ranked by their order; empty for other lists."""
        return dict(self._samples.get(label, {}))

    def everything(self) -> dict[str, Sample]:
        """Return one sample for each path with an issue."""
        found: dict[str, Sample] = {}
        for label in self.labels:
            found = self._samples[label] | found
        return found

    def issue(self, label: str, path: str) -> Issue | None:
        """Return the issue of an image in a list; None if the list is of no issue or lacks the image."""
        return self._issues.get(label, {}).get(path)

    def members(self, label: str, path: str) -> Sequence[str]:
        """Return the paths of an image's group, the one to keep first; empty where images are in no groups."""
        issue = self.issue(label, path)
        return self._members.get((label, issue.group), ()) if issue else ()

    def whole_groups(self, label: str, samples: Iterable[Sample]) -> list[Sample]:
        """Return all images of the groups that these are in, groups in the order of their first one here."""
        groups = dict.fromkeys(self._issues[label][sample.path].group for sample in samples)
        return [self._samples[label][path] for group in groups for path in self._members[label, group]]

    def group_sizes(self, label: str, samples: Iterable[Sample]) -> list[int]:
        """Return the number of images of each group in a list of whole groups."""
        groups = dict.fromkeys(self._issues[label][sample.path].group for sample in samples)
        return [len(self._members[label, group]) for group in groups]

    def list_of(self, path: str) -> str:
        """Return the first list with an image; empty for none."""
        return next((label for label in self.labels if path in self._issues[label]), "")


def _present(scan: Scan) -> list[Issue]:
    """Return the issues whose file is still there, and is not alone in its group."""
    present = [issue for issue in scan.issues if os.path.lexists(scan.root / issue.path)]
    sizes = Counter(issue.group for issue in present)
    return [issue for issue in present if not issue.group or sizes[issue.group] > 1]


def _sample(issue: Issue, rank: int, scan: Scan) -> Sample:
    """Return an image that the scan did not keep as a sample without prediction."""
    label = ALL_IMAGES if scan.task == OTHER else issue.label
    given = split_labels(issue.label, scan.label_delim) if scan.task == MULTI_LABEL else ()
    return Sample(issue.split, label, rank, issue.path, math.nan, "", math.nan, given)
