"""Scans with issues, as `cleaner check` leaves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cleaner.core.issues import ISSUES, Issue
from cleaner.core.scan import Scan, load


def with_issues(scan: Scan, issues: Iterable[Issue]) -> Scan:
    """Write `issues.csv` beside a scan and return the scan with it."""
    rows = tuple(issues)
    ISSUES.write_beside(scan.folder, rows)
    return replace(load(scan.folder), root=scan.root)


def quality(issue: str, paths: Iterable[str], detail: str = "") -> list[Issue]:
    """Return rows of single images in class folders, the worst first."""
    return [
        Issue(issue, 0, round(0.95 - number / 20, 2), *path.split("/")[:2], path, detail)
        for number, path in enumerate(paths)
    ]


def group(issue: str, number: int, paths: Iterable[str], detail: str = "same bytes") -> list[Issue]:
    """Return the rows of a group of copies in class folders, the one to keep first."""
    return [
        Issue(issue, number, 1.0, *path.split("/")[:2], path, detail if at else "") for at, path in enumerate(paths)
    ]


def checked_scan(root: Path, out: Path, issues: Iterable[Issue], vocab: tuple[str, ...], task: str) -> Scan:
    """Return a scan folder of `cleaner check` alone: issues and no scored sample."""
    splits = ("train", "valid")
    scan = Scan(root, vocab, splits, 1, dict.fromkeys(splits, 0), (), {split: {} for split in splits}, task=task)
    return with_issues(scan.write(out), issues)
