"""One reviewer's review of one scan, without widgets: the page is drawn from its state."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from cleaner.core.decision_rules import check_reviewer, default_reviewer
from cleaner.core.errors import CleanerError
from cleaner.core.fields import check_one_of
from cleaner.core.manifest import Manifest
from cleaner.core.manifest_rows import ManifestRows
from cleaner.core.opinions import other_opinions
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.scan import Scan
from cleaner.core.standing import Standing
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review.decisions import TOGGLE, Card, DecisionMaker
from cleaner.review.issue_lists import IssueLists
from cleaner.review.own_rows import OwnRows
from cleaner.review.pace import Pace
from cleaner.review.pages import Shape, group_starts, starts
from cleaner.review.saved_view import read_view, write_view
from cleaner.review.undo_redo import Step, UndoRedo
from cleaner.review.view import (
    ABSENT,
    ALL,
    AUDIT,
    DISAGREEMENTS,
    GROUP_LISTS,
    ISSUE_LISTS,
    LIST_NAMES,
    UNREADABLE,
    UNSURE,
    View,
)

__all__ = ["Counts", "Session"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of decided, changed and of all files in the open list, and in the scan; a file counts once."""

    decided: int
    changed: int
    kept: int
    scan_decided: int
    scan_kept: int


class Session:
    """One reviewer's review of one scan.

    Decisions of other reviewers appear after `refresh`. A decision about a file that somebody else decided since is
    refused: a CleanerError says who decided what, nothing is written, and the session then shows that decision.

    The cards and their order are fixed when a list, a filter or an order is chosen: a card stays until then, even if
    its decision no longer fits the filter. The page moves the cursor; the session keeps its place for a reload.

    Args:
        scan: a scan with a folder; decisions go to `decisions.csv` there.
        reviewer: who decides; by default the name of the user.
        page_size: cards on a page; by default as in the reviewer's last session, or 30.
        is_blind: leave out what others decided, also about the same file: nobody is influenced, and nobody is refused.

    Attributes:
        files: one sample for each path of the scan, also of unreadable files and of those with an issue.
        issues: the lists of issues.
        maker: makes the reviewer's decisions.
        view: the open list, page, filter and order.
        shown: the samples of the view, on all pages.
        undo_redo: the actions that can be undone and redone.
        standing: the decisions that stand for the files as they are now.
        pace: how fast the reviewer decides.
        edited: which acknowledged decisions somebody removed from the manifest or reordered; empty for none.

    Raises:
        CleanerError: the scan has no folder, or no samples and no issues, its dataset is not where it was, its
            manifest is invalid, or an argument is out of range.
    """

    def __init__(
        self, scan: Scan, reviewer: str | None = None, page_size: int | None = None, is_blind: bool = False
    ) -> None:
        if not scan.root.is_dir():
            raise CleanerError(f"{_missing_images(scan)}: pass root=DIR")
        self.scan = scan
        self.manifest = Manifest(scan.manifest_path)
        self.maker = DecisionMaker(scan, default_reviewer() if reviewer is None else check_reviewer(reviewer))
        self._own = OwnRows(self.maker.reviewer) if is_blind else None
        self._audit = [_blinded(sample) for sample in scan.audit]
        kept = {sample.path for sample in scan.samples} if self._audit else set()
        self.files = scan.by_path() | {each.path: each for each in reversed(self._audit) if each.path not in kept}
        self.issues = IssueLists(scan, self.files)
        for path, sample in self.issues.everything().items():
            self.files.setdefault(path, sample)
        if not self.files:
            raise CleanerError("the scan kept no sample and found no issue, so there is nothing to review")
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
        self._all: dict[str, dict[str, Sample]] = {}
        self.standing = Standing(self.files, scan.task, scan.label_delim, scan.root, self.manifest.path.parent)
        self.pace, self.undo_redo = Pace(), UndoRedo()
        self._read_manifest()
        self._shape: Shape | None = None
        saved = read_view(self.manifest.path, self.reviewer)
        self._open(View(*self._first_list(), page_size=30 if page_size is None else page_size))
        if saved is not None:
            self._reopen(saved, saved.page_size if page_size is None else page_size)

    def _first_list(self) -> tuple[str, str]:
        """Return split and list to begin with: the first list that has images."""
        listed = self.scan.samples or self._audit or self._unreadable
        split = next((sample.split for sample in listed), self.scan.splits[0])
        names = (self.all_classes, AUDIT, UNREADABLE, *self.issues.labels)
        return split, next(name for name in names if self.samples_of(split, name))

    @property
    def all_classes(self) -> str:
        """The list of all classes; the class of a scan that has one."""
        return ALL if len(self.scan.vocab) > 1 else self.scan.vocab[0]

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
            if self._own is not None:
                self._own = OwnRows(name)
                self._read_manifest()

    # The manifest.

    def refresh(self) -> None:
        """Read the decisions that others added to the manifest.

        Raises:
            CleanerError: the manifest cannot be read, or a row is invalid.
        """
        self.manifest.refresh()
        self._read_manifest()

    def _rows(self) -> ManifestRows:
        """Return the decisions that the reviewer may see."""
        rows = self.manifest.standing()
        return rows if self._own is None else self._own.of(rows)

    @property
    def warnings(self) -> list[str]:
        """Problems with the scan folder's files that forbid nothing."""
        return [*self.manifest.warnings, *filter(None, [self._view_error, self.standing.trouble, self._ledger_error])]

    # The view.

    @property
    def predictions(self) -> list[str]:
        """The predictions of the open list in the order of the vocabulary, `ABSENT` last."""
        has_predictions = self.view.label != AUDIT and self.view.label not in ISSUE_LISTS
        present = {self._prediction_of(sample) for sample in self._samples.values() if has_predictions}
        return [label for label in (*self.scan.vocab, ABSENT) if label in present]

    @property
    def samples_of_view(self) -> Mapping[str, Sample]:
        """The samples of the open list by path, whatever the filter."""
        return self._samples

    @property
    def pages(self) -> int:
        """Number of pages of the view, at least 1."""
        return max(1, len(self._starts))

    @property
    def first(self) -> int:
        """Position of the first card of the page in the list, from 0."""
        return self._starts[self.view.page] if self._starts else 0

    def open(self, label: str, split: str | None = None, predicted: str = "") -> None:
        """Open a list at its first page; in another split, the same one or else the first that has samples there.

        Raises:
            CleanerError: the scan has no such split, label or prediction; nothing changed.
        """
        split = self.view.split if split is None else split
        if split != self.view.split and not self.samples_of(split, label):
            first = (self.all_classes, UNREADABLE)
            label = next((name for name in first if self.samples_of(split, name)), self.all_classes)
        # Another filter than these would leave most lists empty.
        show = self.view.show if self.view.show in ("all", "undecided") else "all"
        self._open(replace(self.view, split=split, label=label, page=0, show=show, predicted=predicted, text="", at=""))

    def filter(self, **changes: Any) -> None:
        """Select anew which cards are shown and in which order, and open the first page.

        Args:
            changes: attributes of `View`; those left out, or None, stay.

        Raises:
            CleanerError: a value is invalid; nothing changed.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        self._open(replace(self.view, page=0, at="", **given))

    def set_page_size(self, page_size: int, at: str = "", shape: Shape | None = None) -> None:
        """Change the number of cards on a page; the page with the card `at`, or the first of the page, stays open.

        Args:
            page_size: cards on a page.
            at: path of a card of the page; empty for the first.
            shape: cards in a row, and rows, in lists of issues; by default any `page_size` cards are a page there too.

        Raises:
            CleanerError: the number is out of range.
        """
        on_page = self.paths
        position = self.first + (on_page.index(at) if at in on_page else 0)
        view = replace(self.view, page_size=page_size, at=at if at in on_page else "")
        self._shape = shape
        self._starts = self._page_starts(view)
        self._open_page(replace(view, page=self._page_of(position)))

    def turn_to(self, page: int) -> None:
        """Open a page of the view, from 0.

        Raises:
            CleanerError: there is no such page.
        """
        if page not in range(self.pages):
            raise CleanerError(f"there is no page {page!r}; the list has pages 0 to {self.pages - 1}")
        self._open_page(replace(self.view, page=page, at=""))

    def place_cursor(self, path: str) -> None:
        """Note on which card of the page the cursor is, to open there after a reload.

        Raises:
            CleanerError: the page has no such card.
        """
        if path not in self.paths:
            raise CleanerError(f"the open page has no card {path!r}")
        self._open_page(replace(self.view, at=path))

    @property
    def paths(self) -> list[str]:
        """The paths of the open page's cards in their order."""
        return [sample.path for sample in self._page_samples(self.view.page)]

    def cards(self) -> list[Card]:
        """Return the cards of the open page in their order."""
        return [self._card(sample) for sample in self._page_samples(self.view.page)]

    def card(self, path: str) -> Card:
        """Return the card of a file: that of the open list, as a file may be in several splits and classes.

        Raises:
            CleanerError: the scan kept no such sample.
        """
        if path not in self.files:
            raise CleanerError(f"the scan kept no sample with the path {path!r}")
        return self._card(self._samples.get(path) or self.files[path])

    def paths_ahead(self, next_label: str = "") -> list[str]:
        """Return the paths that may be shown next: on the next page, the page before, and in the list after it."""
        pages = [page for page in (self.view.page + 1, self.view.page - 1) if 0 <= page < self.pages]
        samples = [sample for page in pages for sample in self._page_samples(page)]
        if next_label:
            view = replace(self.view, label=next_label, predicted="", text="", at="")
            samples += self._select(view, self.samples_of(view.split, next_label).values())[: view.page_size]
        return list(dict.fromkeys(sample.path for sample in samples))

    def samples_of(self, split: str, label: str) -> dict[str, Sample]:
        """Return the samples of a list by path; of a file that the dataset names twice, the first.

        Raises:
            CleanerError: the scan has no such split or list.
        """
        if label not in LIST_NAMES:
            return _by_path(self.scan.kept(split, label))  # checks both
        self.scan.kept(split, self.scan.vocab[0])  # checks the split
        if label in ISSUE_LISTS:
            return self.issues.samples(label)
        if label in (UNREADABLE, AUDIT):
            listed = self._unreadable if label == UNREADABLE else self._audit
            return _by_path(sample for sample in listed if sample.split == split)
        everything = self._everything(split)
        if label == ALL:
            return everything
        samples = [everything.get(path, self.files[path]) for path in self._listed_paths(label)]
        return _by_path(sample for sample in samples if sample.split == split)

    def _listed_paths(self, label: str) -> list[str]:
        """Return the paths that were decided as unsure, or about which reviewers decided differently."""
        if label == UNSURE:
            return [path for path, decision in self.standing.items() if decision.action is Action.UNSURE]
        repeated = dict.fromkeys(self._rows().repeated())
        return [path for path in repeated if path in self.files and self._other_opinions(path)]

    def _everything(self, split: str) -> dict[str, Sample]:
        """Return the kept samples of a split, of each file the one with the highest loss."""
        if split not in self._all:
            samples = [sample for sample in self.scan.samples if sample.split == split]
            self._all[split] = _by_path(View(split, ALL).select(samples, {}, self._prediction_of))
        return self._all[split]

    def typical(self, split: str, label: str) -> list[str]:
        """Return the typical images of a label, without those with a decision that says otherwise."""
        rows = self._rows()

        def is_right(path: str) -> bool:
            # Images that this scan did not keep can have decisions from an earlier one.
            decision = self.standing.get(path) if path in self.files else rows.get(path)
            return decision is None or decision.action is Action.KEEP

        return list(filter(is_right, self._typical.get((split, label), [])))

    def nearest(self, path: str, n: int) -> list[tuple[str, str]]:
        """Return path and label of the images whose features are nearest; of one that was not kept its folder."""
        features = self.scan.features
        near = features.nearest(path, n) if features else []
        return [
            (other, self.files[other].label if other in self.files else PurePosixPath(other).parent.name)
            for other, _ in near
        ]

    def counts(self) -> Counts:
        """Count the decided files."""
        decided = [decision.action for path, decision in self.standing.items() if path in self._samples]
        changed = sum(action in (Action.DELETE, Action.RELABEL) for action in decided)
        return Counts(len(decided), changed, len(self._samples), len(self.standing), len(self.files))

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

    def decide_all(self, paths: Sequence[str], action: str, new_label: str = "") -> None:
        """Decide about several files in one append; arguments and errors are those of `decide`."""
        self._decide(list(dict.fromkeys(paths)), action, new_label)

    def resolve(self, paths: Sequence[str], kept: Sequence[str]) -> None:
        """Decide about a group of copies in one append: keep some of its images, and delete the others.

        An image that is decided to get another label keeps that decision when it is kept.

        Args:
            paths: all images of one group of the open list.
            kept: those that are kept, at least one; all of them if they are fine.

        Raises:
            CleanerError: `paths` are no whole group of the open list, or `kept` none of them; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        members = self.issues.members(self.view.label, paths[0]) if paths else ()
        if not members or set(paths) != set(members):
            raise CleanerError("expected all images of one group of the open list; look at the group and decide again")
        if not kept or not set(kept) <= set(members):
            raise CleanerError("expected at least one image of the group to keep; delete them one by one instead")
        # Those that are kept come first: undo puts the cursor there.
        ordered = sorted(members, key=lambda path: path not in kept)
        self._record([self._resolved(self.card(path), path in kept) for path in ordered])

    def _resolved(self, card: Card, is_kept: bool) -> Decision:
        decision = card.decision
        if is_kept and decision and decision.action is Action.RELABEL:
            return self.maker.make(card, Action.RELABEL, decision.new_label)
        return self.maker.make(card, Action.KEEP if is_kept else Action.DELETE)

    def undo(self) -> tuple[str, str]:
        """Undo the reviewer's last action: append rows that restore the decisions before it.

        Returns:
            the path of the first file whose decision it restored; and which files were left unchanged, as others
            decided about them since. Both are empty for none.

        Raises:
            CleanerError: there is nothing to undo; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        return self._revert(self.undo_redo.done, self.undo_redo.undone, "undo")

    def redo(self) -> tuple[str, str]:
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
        self._starts = self._page_starts(view)
        self._open_page(view)

    def _open_page(self, view: View) -> None:
        self.view = view
        # Its first card is where the cursor begins: by it a reload finds the page, whatever number of cards then fits.
        at = view.at or next(iter(self.paths), "")
        reason = write_view(self.manifest.path, self.reviewer, replace(view, at=at))
        self._view_error = f"Your place in the scan cannot be saved: {reason}" if reason else ""

    def _reopen(self, saved: View, page_size: int) -> None:
        """Open the view of the last session, unless the scan no longer has it."""
        start = self.view
        try:
            self._open(replace(saved, page=0, page_size=page_size, at=""))
            if not self.shown:
                self._open(replace(self.view, show="all", predicted="", text=""))
            if not self._samples:
                self._open(start)
            else:
                self._show_card(saved.at)
        except CleanerError:
            self._open(start)

    def _select(self, view: View, samples: Iterable[Sample]) -> list[Sample]:
        selected = view.select(samples, self.standing, self._prediction_of)
        # Copies are compared, so a group is shown whole if one of its images fits the filter.
        return self.issues.whole_groups(view.label, selected) if view.label in GROUP_LISTS else selected

    def _page_starts(self, view: View) -> list[int]:
        """Return the position of the first card of each page."""
        shape = self._shape or Shape(view.page_size, 1)
        if view.label in GROUP_LISTS:
            return group_starts(self.issues.group_sizes(view.label, self.shown), shape)
        return starts(len(self.shown), shape.size if view.label in ISSUE_LISTS else view.page_size)

    def _page_of(self, position: int) -> int:
        """Return the page with the card at a position of the list."""
        return max(0, bisect_right(self._starts, position) - 1)

    def _prediction_of(self, sample: Sample) -> str:
        is_absent = self.scan.task == MULTI_LABEL and not sample.predicted and not self._is_unreadable(sample)
        return ABSENT if is_absent else sample.predicted

    def _page_samples(self, page: int) -> list[Sample]:
        bounds = [*self._starts[page : page + 2], len(self.shown)]
        return self.shown[bounds[0] : bounds[1]] if len(bounds) > 1 else []

    def _card(self, sample: Sample) -> Card:
        self.standing.refresh([sample.path])
        decision, note = self.standing.get(sample.path), self.standing.note(sample.path)
        error = self._errors[sample.path] if self._is_unreadable(sample) else ""
        others = () if note and decision is None else self._other_opinions(sample.path)
        issue = self.issues.issue(self.view.label, sample.path)
        is_blinded = _is_blinded(sample) and not error and not issue
        asked = self._asked.get((sample.split, sample.path), ()) if is_blinded else ()
        members = self.issues.members(self.view.label, sample.path)
        return Card(sample, decision, others, error, note, is_blinded, asked, issue, members)

    def _other_opinions(self, path: str) -> tuple[Decision, ...]:
        """Return what other reviewers decided differently about the same bytes."""
        decision = self.standing.get(path)
        rows = self._rows().all_for(path)
        if decision and decision.sha256:
            rows = [row for row in rows if row.sha256 in ("", decision.sha256)]
        return other_opinions(rows, decision)

    def _is_unreadable(self, sample: Sample) -> bool:
        return not sample.predicted and math.isnan(sample.confidence) and sample.path in self._errors

    # Writing decisions.

    def _decide(self, paths: list[str], action: str, new_label: str = "") -> None:
        if not paths:
            raise CleanerError("a decision needs at least one image; choose another page or filter")
        if action == TOGGLE:
            self.refresh()  # a toggle adds to what others decided
        self._record([self.maker.make(self.card(path), action, new_label) for path in paths])

    def _record(self, decisions: list[Decision]) -> None:
        """Append decisions, which are one step to undo."""
        paths, rows = [decision.path for decision in decisions], self._rows()
        # A decision taken over from a journal has no row; undo writes one, so that it stands again.
        before = {path: rows.get(path) or self.standing.get(path) for path in paths}
        self._append(decisions)
        after = {each.path: None if each.action is Action.UNDO else each for each in decisions}
        self.undo_redo.add(Step(*self._class_of(paths[0]), before, after))
        self.pace.decided(len(decisions))

    def _class_of(self, path: str) -> tuple[str, str]:
        """Return split and list of a file: the open ones if it is there to stay."""
        if path in self._samples and self.view.label not in (UNSURE, DISAGREEMENTS):
            return self.view.split, self.view.label
        sample = self.files[path]
        if self._is_unreadable(sample):
            return sample.split, UNREADABLE
        known = [label for label in (sample.label, AUDIT) if label in (*self.scan.vocab, AUDIT)]
        split = sample.split if sample.split in self.scan.splits else self.view.split
        found = (label for label in known if path in self.samples_of(split, label))
        return split, next(found, "") or self.issues.list_of(path)

    def _revert(self, steps: list[Step], opposite: list[Step], verb: str) -> tuple[str, str]:
        """Take back the last of some steps, and add its reverse to the opposite ones."""
        if not steps:
            raise CleanerError(f"Nothing to {verb}")
        self.refresh()
        step = steps[-1]
        paths = step.unchanged(self._rows())
        if paths:
            self._append([row for path in paths for row in step.rows_back(path, self._undecided)])
        steps.pop()
        if paths:
            opposite.append(step.reversed(paths))
            self._show(step, paths[0])
        left = [path for path in step.after if path not in paths]
        note = f"Left unchanged, as others decided since: {', '.join(left)}" if left else ""
        return (paths[0] if paths else ""), note

    def _undecided(self, path: str) -> Decision:
        return self.maker.row(self.files[path], Action.UNDO)

    def _show(self, step: Step, path: str) -> None:
        """Open the page with a card of a step."""
        if path in self.paths:
            return
        if (self.view.split, self.view.label) != (step.split, step.label):
            self._open(replace(self.view, split=step.split, label=step.label, page=0, predicted="", text="", at=""))
        if path not in [sample.path for sample in self.shown]:
            self._open(replace(self.view, page=0, show="all", predicted="", text="", at=""))
        self._show_card(path)

    def _show_card(self, path: str) -> None:
        """Open the page of the view with a card, if the view has it."""
        position = next((number for number, sample in enumerate(self.shown) if sample.path == path), None)
        if position is not None:
            self._open_page(replace(self.view, page=self._page_of(position), at=path))

    def _append(self, decisions: list[Decision]) -> None:
        """Append decisions, unless somebody else decided about these files meanwhile."""
        rows = self._rows()
        expected = {decision.path: rows.get(decision.path) for decision in decisions}
        try:
            self.manifest.append(*decisions, expected=expected if self._own is None else None)
        finally:
            # If somebody else was faster, the manifest has read their decision, and the page shows it.
            self._read_manifest()

    def _read_manifest(self) -> None:
        self.standing.update(self._rows())
        self.edited = self._ledger_error = ""
        try:
            self.edited = self.manifest.edits.message(self.manifest.path.name)
        except CleanerError as error:
            self._ledger_error = str(error)


def _by_path(samples: Iterable[Sample]) -> dict[str, Sample]:
    """Return samples by path; of several with one path, the first."""
    by_path: dict[str, Sample] = {}
    for sample in samples:
        by_path.setdefault(sample.path, sample)
    return by_path


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
