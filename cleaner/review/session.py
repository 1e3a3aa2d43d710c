"""One reviewer's review of one scan, without widgets: the page is drawn from its state."""

from __future__ import annotations

import getpass
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import other_opinions
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.scan import Scan
from cleaner.core.standing import Standing
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review.decisions import TOGGLE, Card, DecisionMaker, check_reviewer
from cleaner.review.pace import Pace
from cleaner.review.saved_view import read_view, write_view
from cleaner.review.selection import Selection
from cleaner.review.undo_redo import Step, UndoRedo
from cleaner.review.view import ABSENT, AUDIT, UNREADABLE, View, check_one_of

__all__ = ["Counts", "Session"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of decided and of all files, in the open class and in the scan; a file counts once."""

    decided: int
    kept: int
    scan_decided: int
    scan_kept: int


class Session:
    """One reviewer's review of one scan.

    Decisions of other reviewers appear after `refresh`. A decision about a file that somebody else decided since is
    refused: a CleanerError says who decided what, nothing is written, and the session then shows that decision.

    The cards and their order are fixed when a class, a filter or an order is chosen: a card stays until then, even if
    its decision no longer fits the filter.

    Args:
        scan: a scan with a folder; decisions go to `decisions.csv` there.
        reviewer: who decides; by default the name of the user.
        page_size: cards on a page; by default as in the reviewer's last session, or 30.

    Attributes:
        files: one sample for each path of the scan, also of unreadable files.
        maker: makes the reviewer's decisions.
        view: the open class, page, filter and order.
        shown: the samples of the view, on all pages.
        selection: cursor and selected cards of the open page.
        undo_redo: the actions that can be undone and redone.
        standing: the decisions that stand for the files as they are now.
        pace: how fast the reviewer decides.
        edited: which acknowledged decisions somebody removed from the manifest or reordered; empty for none.

    Raises:
        CleanerError: the scan has no folder or no samples, its dataset is not where it was, its manifest is invalid,
            or an argument is out of range.
    """

    def __init__(self, scan: Scan, reviewer: str | None = None, page_size: int | None = None) -> None:
        if not scan.root.is_dir():
            raise CleanerError(f"{_missing_images(scan)}: cleaner serve SCAN --data DIR, or Review(scan, root=DIR)")
        self.scan = scan
        self.manifest = Manifest(scan.manifest_path)
        self.maker = DecisionMaker(scan, _user() if reviewer is None else check_reviewer(reviewer))
        self._audit = [_blinded(sample) for sample in scan.audit]
        kept = {sample.path for sample in scan.samples} if self._audit else set()
        self.files = scan.by_path() | {each.path: each for each in reversed(self._audit) if each.path not in kept}
        if not self.files:
            raise CleanerError("the scan kept no sample, so there is nothing to review")
        self._asked: dict[tuple[str, str], tuple[str, ...]] = {}
        for sample in self._audit if scan.task == MULTI_LABEL else ():
            place = sample.split, sample.path
            self._asked[place] = (*self._asked.get(place, ()), sample.label)
        self._typical: dict[tuple[str, str], list[str]] = {}
        audited = {(sample.split, sample.path) for sample in self._audit}
        for each in scan.typical:
            # A typical image is one that the model finds easy: that would suggest the answer about an audited one.
            if (each.split, each.path) not in audited:
                self._typical.setdefault((each.split, each.label), []).append(each.path)
        self._errors = {each.path: each.error or "unreadable" for each in scan.unreadable}
        self._unreadable = scan.unreadable_samples()
        self.standing = Standing(self.files, scan.task, scan.label_delim, scan.root, self.manifest.path.parent)
        self.pace, self.undo_redo = Pace(), UndoRedo()
        self._read_manifest()
        first = next(iter(self.files.values()))
        saved = read_view(self.manifest.path, self.reviewer)
        label = first.label if scan.samples else UNREADABLE
        self._open(View(first.split, label, page_size=30 if page_size is None else page_size))
        if saved is not None:
            self._reopen(saved, saved.page_size if page_size is None else page_size)

    @property
    def reviewer(self) -> str:
        """Who decides."""
        return self.maker.reviewer

    def set_reviewer(self, name: str) -> None:
        """Decide as somebody else from now on, with nothing to undo yet.

        Raises:
            CleanerError: the name is invalid.
        """
        name = check_reviewer(name)
        if name != self.reviewer:
            self.maker = replace(self.maker, reviewer=name)
            self.pace, self.undo_redo = Pace(), UndoRedo()

    # The manifest.

    def refresh(self) -> None:
        """Read the decisions that others added to the manifest.

        Raises:
            CleanerError: the manifest cannot be read, or a row is invalid.
        """
        self.manifest.refresh()
        self._read_manifest()

    @property
    def warnings(self) -> list[str]:
        """Problems with the scan folder's files that forbid nothing."""
        return [*self.manifest.warnings, *filter(None, [self._view_error, self.standing.trouble, self._ledger_error])]

    # The view.

    @property
    def labels(self) -> list[str]:
        """The labels with kept samples in the open split, in the order of the vocabulary."""
        return [label for label in self.scan.vocab if self.scan.kept(self.view.split, label)]

    @property
    def predictions(self) -> list[str]:
        """The predictions of the open class in the order of the vocabulary, `ABSENT` last."""
        present = {self._prediction_of(sample) for sample in self._samples.values() if self.view.label != AUDIT}
        return [label for label in (*self.scan.vocab, ABSENT) if label in present]

    @property
    def pages(self) -> int:
        """Number of pages of the view, at least 1."""
        return max(1, -(-len(self.shown) // self.view.page_size))

    def open_split(self, split: str) -> None:
        """Open a split, at the same label if it has samples there.

        Raises:
            CleanerError: the scan has no such split.
        """
        label = self.view.label
        if not self.samples_of(split, label):
            label = next((name for name in self.scan.vocab if self.scan.kept(split, name)), label)
        self._open(replace(self.view, split=split, label=label, page=0, predicted=""))

    def filter(self, **changes: Any) -> None:
        """Select anew which cards are shown and in which order, and open the first page.

        Args:
            changes: attributes of `View`; those left out, or None, stay.

        Raises:
            CleanerError: a value is invalid; nothing changed.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        self._open(replace(self.view, page=0, **given))

    def set_page_size(self, page_size: int) -> None:
        """Change the number of cards on a page; the cursor stays on its card.

        Raises:
            CleanerError: the number is out of range.
        """
        position = self.view.page * self.view.page_size + self.selection.cursor
        view = replace(self.view, page_size=page_size)
        page, cursor = divmod(position, page_size)
        self._open_page(replace(view, page=page), cursor)

    def turn_to(self, page: int) -> None:
        """Open a page of the view, from 0.

        Raises:
            CleanerError: there is no such page.
        """
        if page not in range(self.pages):
            raise CleanerError(f"there is no page {page!r}; the class has pages 0 to {self.pages - 1}")
        self._open_page(replace(self.view, page=page))

    def cards(self) -> list[Card]:
        """Return the cards of the open page in their order."""
        return [self._card(sample) for sample in self._page_samples(self.view.page)]

    def card(self, path: str) -> Card:
        """Return the card of a file: that of the open class, as a file may be in several splits and classes.

        Raises:
            CleanerError: the scan kept no such sample.
        """
        if path not in self.files:
            raise CleanerError(f"the scan kept no sample with the path {path!r}")
        return self._card(self._samples.get(path) or self.files[path])

    def paths_ahead(self) -> list[str]:
        """Return the paths that may be shown next: on the next page, the page before, and in the next class."""
        pages = [page for page in (self.view.page + 1, self.view.page - 1) if 0 <= page < self.pages]
        samples = [sample for page in pages for sample in self._page_samples(page)]
        for label in self._other_labels()[:1]:
            view = replace(self.view, label=label, predicted="")
            samples += self._select(view, self.samples_of(view.split, label).values())[: view.page_size]
        return list(dict.fromkeys(sample.path for sample in samples))

    def samples_of(self, split: str, label: str) -> dict[str, Sample]:
        """Return the samples of a class by path; of a file that the dataset names twice, the first.

        Raises:
            CleanerError: the scan has no such split or label.
        """
        others = {UNREADABLE: self._unreadable, AUDIT: self._audit}.get(label)
        samples = self.scan.kept(split, label if others is None else self.scan.vocab[0])  # checks both
        if others is not None:
            samples = tuple(sample for sample in others if sample.split == split)
        by_path: dict[str, Sample] = {}
        for sample in samples:
            by_path.setdefault(sample.path, sample)
        return by_path

    def typical(self, split: str, label: str) -> list[str]:
        """Return the typical images of a label, without those with a decision that says otherwise."""
        rows = self.manifest.standing()

        def is_right(path: str) -> bool:
            # Images that this scan did not keep can have decisions from an earlier one.
            decision = self.standing.get(path) if path in self.files else rows.get(path)
            return decision is None or decision.action is Action.KEEP

        return list(filter(is_right, self._typical.get((split, label), [])))

    def counts(self) -> Counts:
        """Count the decided files."""
        decided = sum(path in self._samples for path in self.standing)
        return Counts(decided, len(self._samples), len(self.standing), len(self.files))

    # Decisions.

    def decide(self, path: str, action: str, new_label: str = "") -> Card:
        """Decide about one file; on return the decision is in the manifest, on the disk.

        Args:
            path: a path of the scan.
            action, new_label: as in `DecisionMaker.make`.

        Raises:
            CleanerError: the scan kept no such sample, or the decision is not valid for it; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        self._decide([path], action, new_label)
        return self.card(path)

    def act(self, action: str, new_label: str = "") -> None:
        """Decide about all targets of the selection in one append, and move the cursor behind them.

        Raises:
            CleanerError: there is no card, or the decision is not valid for one of them; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        targets = self.selection.targets
        self._decide(targets, action, new_label)
        self.selection.point(targets[-1])
        self.selection.move(1)

    def keep_rest(self) -> None:
        """Keep the undecided cards of the page, and open the next page, or the next class with undecided samples.

        After the last class the first one comes again.

        Raises:
            CleanerError: the manifest is invalid; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        if undecided := [card.sample.path for card in self.cards() if card.decision is None]:
            self._decide(undecided, Action.KEEP)
        if self.view.page + 1 < self.pages:
            self.turn_to(self.view.page + 1)
            return
        for label in self._other_labels():
            if any(sample.path not in self.standing for sample in self.scan.kept(self.view.split, label)):
                self.filter(label=label, predicted="")
                return

    def undo(self) -> str:
        """Undo the reviewer's last action: append rows that restore the decisions before it.

        Returns:
            which files were left unchanged, as others decided about them since; empty for none.

        Raises:
            CleanerError: there is nothing to undo; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        return self._revert(self.undo_redo.done, self.undo_redo.undone, "undo")

    def redo(self) -> str:
        """Repeat the action that was undone last; returns and raises as `undo` does."""
        return self._revert(self.undo_redo.undone, self.undo_redo.done, "redo")

    # Opening views.

    def _open(self, view: View) -> None:
        """Open a view and select its cards; if the view is invalid, nothing changes."""
        if view.predicted != "":
            absent = (ABSENT,) if self.scan.task == MULTI_LABEL else ()
            check_one_of("predicted", view.predicted, (*self.scan.vocab, *absent))
        self._samples = self.samples_of(view.split, view.label)
        self.shown = self._select(view, self._samples.values())
        self._open_page(view)

    def _open_page(self, view: View, cursor: int = 0) -> None:
        self.view = view
        self.selection = Selection([sample.path for sample in self._page_samples(view.page)], cursor)
        reason = write_view(self.manifest.path, self.reviewer, view)
        self._view_error = f"Your place in the scan cannot be saved: {reason}" if reason else ""

    def _reopen(self, saved: View, page_size: int) -> None:
        """Open the view of the last session, unless the scan no longer has it."""
        start = self.view
        try:
            self._open(replace(saved, page=0, page_size=page_size))
            if not self._samples:
                self._open(start)
            elif saved.page_size == page_size and saved.show == "all":
                self.turn_to(saved.page)
        except CleanerError:
            self._open(start)

    def _select(self, view: View, samples: Iterable[Sample]) -> list[Sample]:
        return view.select(samples, self.standing, self._prediction_of)

    def _other_labels(self) -> list[str]:
        """Return the labels after the open one, and then those before it; none beside a list that is no class."""
        labels = self.labels
        if self.view.label not in labels:
            return []
        at = labels.index(self.view.label)
        return [*labels[at + 1 :], *labels[:at]]

    def _prediction_of(self, sample: Sample) -> str:
        is_absent = self.scan.task == MULTI_LABEL and not sample.predicted and not self._is_unreadable(sample)
        return ABSENT if is_absent else sample.predicted

    def _page_samples(self, page: int) -> list[Sample]:
        start = page * self.view.page_size
        return self.shown[start : start + self.view.page_size]

    def _card(self, sample: Sample) -> Card:
        self.standing.refresh([sample.path])
        decision, note = self.standing.get(sample.path), self.standing.note(sample.path)
        error = self._errors[sample.path] if self._is_unreadable(sample) else ""
        others = () if note and decision is None else self._other_opinions(sample.path, decision)
        is_blinded = _is_blinded(sample) and not error
        asked = self._asked.get((sample.split, sample.path), ()) if is_blinded else ()
        return Card(sample, decision, others, error, note, is_blinded, asked)

    def _other_opinions(self, path: str, decision: Decision | None) -> tuple[Decision, ...]:
        """Return what other reviewers decided differently about the same bytes."""
        rows = self.manifest.standing().all_for(path)
        if decision and decision.sha256:
            rows = [row for row in rows if row.sha256 in ("", decision.sha256)]
        return other_opinions(rows, decision)

    def _is_unreadable(self, sample: Sample) -> bool:
        return not sample.predicted and math.isnan(sample.confidence) and sample.path in self._errors

    # Writing decisions.

    def _decide(self, paths: list[str], action: str, new_label: str = "") -> None:
        if not paths:
            raise CleanerError("there is no card on this page to decide about; choose another page or filter")
        if action == TOGGLE:
            self.refresh()  # a toggle adds to what others decided
        decisions = [self.maker.make(self.card(path), action, new_label) for path in paths]
        rows = self.manifest.standing()
        # A decision taken over from a journal has no row; undo writes one, so that it stands again.
        before = {path: rows.get(path) or self.standing.get(path) for path in paths}
        self._append(decisions)
        after = {each.path: None if each.action is Action.UNDO else each for each in decisions}
        self.undo_redo.add(Step(*self._class_of(paths[0]), before, after))
        self.pace.decided(len(decisions))

    def _class_of(self, path: str) -> tuple[str, str]:
        """Return split and class of a file: the open ones if it is there."""
        if path in self._samples:
            return self.view.split, self.view.label
        sample = self.files[path]
        if self._is_unreadable(sample):
            return sample.split, UNREADABLE
        return sample.split, sample.label if path in self.samples_of(sample.split, sample.label) else AUDIT

    def _revert(self, steps: list[Step], opposite: list[Step], verb: str) -> str:
        """Take back the last of some steps, and add its reverse to the opposite ones."""
        if not steps:
            raise CleanerError(f"nothing to {verb}")
        self.refresh()
        step = steps[-1]
        paths = step.unchanged(self.manifest.standing())
        if paths:
            self._append([row for path in paths for row in step.rows_back(path, self._undecided)])
        steps.pop()
        if paths:
            opposite.append(step.reversed(paths))
            self._show(step, paths[0])
        left = [path for path in step.after if path not in paths]
        return f"Left unchanged, as others decided since: {', '.join(left)}" if left else ""

    def _undecided(self, path: str) -> Decision:
        return self.maker.row(self.files[path], Action.UNDO)

    def _show(self, step: Step, path: str) -> None:
        """Open the page with a card of a step, and put the cursor there."""
        if (self.view.split, self.view.label) != (step.split, step.label):
            self._open(replace(self.view, split=step.split, label=step.label, page=0, predicted="", text=""))
        if path not in [sample.path for sample in self.shown]:
            self._open(replace(self.view, page=0, show="all", predicted="", text=""))
        position = [sample.path for sample in self.shown].index(path)
        page = position // self.view.page_size
        if page != self.view.page:
            self.turn_to(page)
        self.selection.point(path)

    def _append(self, decisions: list[Decision]) -> None:
        """Append decisions, unless somebody else decided about these files meanwhile."""
        rows = self.manifest.standing()
        expected = {decision.path: rows.get(decision.path) for decision in decisions}
        try:
            self.manifest.append(*decisions, expected=expected)
        finally:
            # If somebody else was faster, the manifest has read their decision, and the page shows it.
            self._read_manifest()

    def _read_manifest(self) -> None:
        self.standing.update(self.manifest.standing())
        self.edited = self._ledger_error = ""
        try:
            self.edited = self.manifest.edits.message(self.manifest.path.name)
        except CleanerError as error:
            self._ledger_error = str(error)


def _blinded(sample: Sample) -> Sample:
    """Return a sample without what the model says about it."""
    return replace(sample, predicted="", confidence=math.nan, loss=math.nan, alternatives_json="[]")


def _is_blinded(sample: Sample) -> bool:
    return not sample.predicted and math.isnan(sample.confidence) and math.isnan(sample.loss)


def _missing_images(scan: Scan) -> str:
    if scan.address:
        return (
            f"the images were scanned at {scan.address!r}, and the review needs files; give a folder with a copy or a "
            "mount of them"
        )
    return f"there is no folder {str(scan.root)!r} with the images; say where they are now"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # the user has no name, as in some containers
