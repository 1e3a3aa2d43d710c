"""What is on screen and what was decided, free of widgets: the screen is drawn from here and nowhere else."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.scan import Scan, load

__all__ = ["Card", "Counts", "Session", "scan_at"]


@dataclass(frozen=True, slots=True)
class Card:
    """A kept sample and the decision that stands for its file, if any."""

    sample: Sample
    decision: Decision | None

    @property
    def face(self) -> tuple[str, str, str, str]:
        """What tells a decision from another one: what was decided, by whom and when; empty texts where undecided."""
        if self.decision is None:
            return ("", "", "", "")
        decision = self.decision
        return (decision.action.value, decision.new_label, decision.reviewer, decision.decided_at)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is decided: of the class that is open, and of the whole scan. A file counts once."""

    decided: int
    kept: int
    scan_decided: int
    scan_kept: int


class Session:
    """One person's review of one scan.

    Args:
        scan: a scan with a folder; decisions go to `decisions.csv` there.
        reviewer: who decides; by default the name of the user.
        page_size: cards on a page.

    Raises:
        CleanerError: the scan has no folder or no samples, its dataset is not where it was, its manifest makes no
            sense, or an argument is out of range.
    """

    def __init__(self, scan: Scan, reviewer: str | None = None, page_size: int = 30) -> None:
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= 200:
            raise CleanerError(f"page_size is {page_size!r}; a whole number from 1 to 200 is accepted")
        if not scan.root.is_dir():
            raise CleanerError(
                f"there is no folder {str(scan.root)!r} with the images; "
                "say where they are now: cleaner serve SCAN --data DIR, or Review(scan, root=DIR)"
            )
        self.scan = scan
        self.manifest = Manifest(scan.manifest_path)
        self.reviewer = _user() if reviewer is None else reviewer
        self.page_size = page_size
        self._by_path = _by_path(scan.samples)
        if not self._by_path:
            raise CleanerError("the scan kept no sample, so there is nothing to review")
        first = scan.samples[0]
        self._open(first.split, first.label)
        self._recount()

    @property
    def labels(self) -> list[str]:
        """The labels of which the open split has kept samples, in the order of the vocabulary."""
        return [label for label in self.scan.vocab if self.scan.kept(self.split, label)]

    @property
    def pages(self) -> int:
        """Number of pages of the open class."""
        return max(1, -(-len(self._samples) // self.page_size))

    @property
    def unreadable(self) -> int:
        """Number of files of the open split that could not be read."""
        return sum(unreadable.split == self.split for unreadable in self.scan.unreadable)

    def refresh(self) -> None:
        """Take in the decisions of others.

        Raises:
            CleanerError: the manifest cannot be read, or a row makes no sense.
        """
        if self.manifest.refresh():
            self._recount()

    def open_split(self, split: str) -> None:
        """Open a split, at the same label if it has samples there.

        Raises:
            CleanerError: the scan has no such split.
        """
        self._open(split, self.label)
        if not self._samples:
            self._open(split, next(iter(self.labels), self.label))

    def open_label(self, label: str) -> None:
        """Open a class at its first page.

        Raises:
            CleanerError: the scan has no such label.
        """
        self._open(self.split, label)

    def turn_to(self, page: int) -> None:
        """Open a page of the class, counted from 0.

        Raises:
            CleanerError: there is no such page.
        """
        if isinstance(page, bool) or not isinstance(page, int) or not 0 <= page < self.pages:
            raise CleanerError(f"there is no page {page!r}; the class has pages 0 to {self.pages - 1}")
        self.page = page

    def cards(self, page: int | None = None) -> list[Card]:
        """The cards of a page, worst first; by default of the one that is open."""
        start = (self.page if page is None else page) * self.page_size
        return [self._card(sample) for sample in list(self._samples.values())[start : start + self.page_size]]

    def card(self, path: str) -> Card:
        """The card of a kept sample: the one of the open class, as a file may be in several splits and classes.

        Raises:
            CleanerError: the scan kept no such sample.
        """
        if not isinstance(path, str) or path not in self._by_path:
            raise CleanerError(f"the scan kept no sample with the path {path!r}")
        return self._card(self._samples.get(path) or self._by_path[path])

    def counts(self) -> Counts:
        """How much is decided by now."""
        standing = self.manifest.standing()
        decided = sum(path in standing for path in self._samples)
        return Counts(decided, len(self._samples), self._scan_decided, len(self._by_path))

    def decide(self, path: str, action: Action, new_label: str = "") -> Card:
        """Take a decision; when this returns it is in the manifest, on the disk.

        Raises:
            CleanerError: the scan kept no such sample, or the decision makes no sense for it; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        sample = self.card(path).sample
        if action is Action.RELABEL and new_label not in self.scan.vocab:
            raise CleanerError(f"there is no label {new_label!r} in this scan; pick one of its {len(self.scan.vocab)}")
        if action is Action.RELABEL and new_label == sample.label:
            raise CleanerError(f"{path!r} has the label {new_label!r} already; decide 'keep' to confirm it")
        if action is Action.UNDO and path not in self.manifest.standing():
            raise CleanerError(f"{path!r} is not decided, so there is nothing to undo")
        self.manifest.append(
            Decision(
                path=path,
                action=action,
                label=sample.label,
                new_label=new_label,
                split=sample.split,
                loss=sample.loss,
                predicted=sample.predicted,
                sha256=self._sha256(path),
                reviewer=self.reviewer,
                decided_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            )
        )
        self._recount()
        return self._card(sample)

    def _open(self, split: str, label: str) -> None:
        self._samples = _by_path(self.scan.kept(split, label))  # refuses what is not there
        self.split, self.label, self.page = split, label, 0

    def _card(self, sample: Sample) -> Card:
        return Card(sample, self.manifest.standing().get(sample.path))

    def _recount(self) -> None:
        standing = self.manifest.standing()
        smaller, larger = sorted((standing, self._by_path), key=len)
        self._scan_decided = sum(path in larger for path in smaller)

    def _sha256(self, path: str) -> str:
        """Of the file as it is now; empty where it cannot be read, which may be why it is deleted."""
        try:
            return sha256_of(self.scan.root / path)
        except OSError:
            return ""


def scan_at(scan: Scan | str | Path, root: str | Path | None = None) -> Scan:
    """The scan, or the one in a scan folder, with its dataset in the folder `root` where that was moved.

    Raises:
        CleanerError: the folder holds no scan.
    """
    found = scan if isinstance(scan, Scan) else load(scan)
    return found if root is None else replace(found, root=Path(root).absolute())


def _by_path(samples: Iterable[Sample]) -> dict[str, Sample]:
    """One sample for each file: the first, where a dataset names a file more than once."""
    found: dict[str, Sample] = {}
    for sample in samples:
        found.setdefault(sample.path, sample)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a system user without a name, as in some containers
