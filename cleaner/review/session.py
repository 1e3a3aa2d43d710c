"""What is on screen and what was decided, free of widgets: the screen is drawn from here and nowhere else."""

from __future__ import annotations

import getpass
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.opinions import other_opinions
from cleaner.core.records import Action, Decision, Sample, decision_revision, now, parse_action
from cleaner.core.scan import Scan
from cleaner.core.standing import Standing
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels
from cleaner.review.pace import Pace
from cleaner.review.place import ORDERS, SHOWS, Place, read_place, write_place

__all__ = ["ABSENT", "UNREADABLE", "Card", "Counts", "Session", "check_page_size"]

UNREADABLE = "\0unreadable"
"""The class of the files that could not be read; a label that a scan folder holds has no such character."""

ABSENT = "\0absent"
"""In the place of a predicted label: that the model says, with several labels an image, that this one is not there."""

_MOST_ON_A_PAGE = 200
_LONGEST_NAME = 80
_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Card:
    """A kept sample, or a file that could not be read, and what was decided about it.

    Attributes:
        sample: of a file that could not be read with no prediction and no loss.
        decision: what stands for the file, if anything.
        others: what other reviewers decided, where that is something else.
        error: why the scan could not read the file; empty where it could.
        note: why an earlier decision does not stand for this file, or where the one that stands comes from.
    """

    sample: Sample
    decision: Decision | None
    others: tuple[Decision, ...] = ()
    error: str = ""
    note: str = ""

    @property
    def face(self) -> tuple[str, str, str, str]:
        """What tells a decision from another one: what was decided, by whom and when; empty texts where undecided."""
        return decision_revision(self.decision)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is decided: of the class that is open, and of the whole scan. A file counts once."""

    decided: int
    kept: int
    scan_decided: int
    scan_kept: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One action: for each file what stood before it and after it."""

    split: str
    label: str
    before: Mapping[str, Decision | None]
    after: Mapping[str, Decision | None]

    def reversed(self) -> _Step:
        return _Step(self.split, self.label, self.after, self.before)


class Session:
    """One person's review of one scan.

    What others decide is taken in by `refresh`. A decision about a file on which somebody decided since is refused: a
    CleanerError says who decided what, nothing is written, and from then on the session shows it.

    What is on a page is settled when a class, a filter or an order is chosen: a card that is decided stays where it is
    until then, also where only undecided ones are shown.

    Args:
        scan: a scan with a folder; decisions go to `decisions.csv` there.
        reviewer: who decides; by default the name of the user.
        page_size: cards on a page; by default as many as there were last, or 30.

    Attributes:
        place: where in the scan the reviewer is.
        cursor: the card that keys act on, counted from 0 on the page.
        selected: the paths of the cards that are selected; where there are none, keys act on the cursor's card.
        standing: the decisions that stand for the files as they are now.
        pace: how fast the reviewer decides.
        trouble: why the place could not be remembered; empty if it could.
        edited: which acknowledged decisions somebody removed from the manifest or reordered; empty for none.
        ledger_trouble: why that is not known; empty if it is.

    Raises:
        CleanerError: the scan has no folder or no samples, its dataset is not where it was, its manifest makes no
            sense, or an argument is out of range.
    """

    def __init__(self, scan: Scan, reviewer: str | None = None, page_size: int | None = None) -> None:
        if page_size is not None:
            check_page_size(page_size)
        if not scan.root.is_dir():
            raise CleanerError(f"{_missing(scan)}: cleaner serve SCAN --data DIR, or Review(scan, root=DIR)")
        self.scan = scan
        self.manifest = Manifest(scan.manifest_path)
        self.reviewer = _user() if reviewer is None else _checked_name(reviewer)
        self.pace = Pace()
        self.trouble = ""
        self.edited = self.ledger_trouble = ""
        self._errors = {unreadable.path: unreadable.error for unreadable in scan.unreadable}
        self._unreadable = scan.unreadable_samples()
        self._by_path = scan.by_path()
        if not self._by_path:
            raise CleanerError("the scan kept no sample, so there is nothing to review")
        self.standing = Standing(self._by_path, scan.task, scan.label_delim, scan.root, self.manifest.path.parent)
        self.cursor = self._anchor = 0
        self.selected: frozenset[str] = frozenset()
        self._samples: dict[str, Sample] = {}
        self._shown: list[Sample] = []
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._recount()
        first = next(iter(self._by_path.values()))
        label = first.label if scan.samples else UNREADABLE
        self.place = Place(first.split, label, page_size=30 if page_size is None else page_size)
        before = read_place(self.manifest.path, self.reviewer)
        self._go(self.place)
        if before is not None:
            self._come_back(before, page_size)

    def set_reviewer(self, name: str) -> None:
        """Decide as somebody else from now on, whose steps back begin here.

        Raises:
            CleanerError: this cannot be a name.
        """
        name = _checked_name(name)
        if name != self.reviewer:
            self.reviewer = name
            self._done.clear()
            self._undone.clear()
            self.pace = Pace()

    # Where the reviewer is.

    @property
    def split(self) -> str:
        """The split that is open."""
        return self.place.split

    @property
    def label(self) -> str:
        """The class that is open: a label, or `UNREADABLE`."""
        return self.place.label

    @property
    def page(self) -> int:
        """The page that is open, counted from 0."""
        return self.place.page

    @property
    def labels(self) -> list[str]:
        """The labels of which the open split has kept samples, in the order of the vocabulary."""
        return [label for label in self.scan.vocab if self.scan.kept(self.split, label)]

    @property
    def predictions(self) -> list[str]:
        """What samples of the open class are predicted as, in the order of the vocabulary; `ABSENT` comes last."""
        found = {self._said(sample) for sample in self._samples.values()}
        return [label for label in (*self.scan.vocab, ABSENT) if label in found]

    @property
    def pages(self) -> int:
        """Number of pages of what is shown of the open class."""
        return max(1, -(-len(self._shown) // self.place.page_size))

    @property
    def shown(self) -> int:
        """Number of cards that the filter lets through, on all pages."""
        return len(self._shown)

    @property
    def unreadable(self) -> int:
        """Number of files of the open split that could not be read."""
        return sum(unreadable.split == self.split for unreadable in self.scan.unreadable)

    def refresh(self) -> None:
        """Take in the decisions of others.

        Raises:
            CleanerError: the manifest cannot be read, or a row makes no sense.
        """
        self.manifest.refresh()
        self._recount()

    def restore_decisions(self) -> None:
        """Put acknowledged decisions back into the manifest that somebody removed or reordered; see `Manifest.restore`.

        Raises:
            CleanerError: the manifest makes no sense.
            OSError: it cannot be written; it is as it was.
        """
        self.manifest.restore()
        self._recount()

    def accept_edits(self) -> None:
        """Take the manifest as it is for what was decided; see `Manifest.accept_edits`.

        Raises:
            CleanerError: the manifest makes no sense.
            OSError: the ledger cannot be written.
        """
        self.manifest.accept_edits()
        self._recount()

    def open_split(self, split: str) -> None:
        """Open a split, at the same label if it has samples there.

        Raises:
            CleanerError: the scan has no such split.
        """
        label = self.label
        if not self._samples_of(split, label):
            label = next((name for name in self.scan.vocab if self.scan.kept(split, name)), label)
        self._go(replace(self.place, split=split, label=label, page=0, predicted=""))

    def open_label(self, label: str, predicted: str = "") -> None:
        """Open a class at its first page; with `predicted` only what the model takes for that.

        Raises:
            CleanerError: the scan has no such label.
        """
        self.filter(label=label, predicted=predicted)

    def filter(
        self,
        *,
        label: str | None = None,
        show: str | None = None,
        predicted: str | None = None,
        text: str | None = None,
        order: str | None = None,
    ) -> None:
        """Choose anew what is shown and in which order, and open its first page; what is None stays as it is.

        Args:
            label: a label, or `UNREADABLE`.
            show, predicted, text, order: as in `Place`.

        Raises:
            CleanerError: one of them has a value that is not accepted; nothing changed.
        """
        now = self.place
        self._go(
            replace(
                now,
                page=0,
                label=now.label if label is None else label,
                show=now.show if show is None else show,
                predicted=now.predicted if predicted is None else predicted,
                text=now.text if text is None else text,
                order=now.order if order is None else order,
            )
        )

    def set_page_size(self, page_size: int) -> None:
        """Show as many cards on a page; the card of the cursor stays in sight.

        Raises:
            CleanerError: the number is out of range.
        """
        check_page_size(page_size)
        at = self.page * self.place.page_size + self.cursor
        self.place = replace(self.place, page_size=page_size, page=at // page_size)
        self._start_page(at % page_size)

    def turn_to(self, page: int) -> None:
        """Open a page of the class, counted from 0.

        Raises:
            CleanerError: there is no such page.
        """
        if isinstance(page, bool) or not isinstance(page, int) or not 0 <= page < self.pages:
            raise CleanerError(f"there is no page {page!r}; the class has pages 0 to {self.pages - 1}")
        self.place = replace(self.place, page=page)
        self._start_page()

    # What is there.

    def cards(self, page: int | None = None) -> list[Card]:
        """The cards of a page in their order; by default of the one that is open."""
        return [self._card(sample) for sample in self._page_samples(page)]

    def ahead(self) -> list[str]:
        """The paths that may be shown next: those of the next page, of the page before, and of the next class."""
        pages = [page for page in (self.page + 1, self.page - 1) if 0 <= page < self.pages]
        samples = [sample for page in pages for sample in self._page_samples(page)]
        return list(dict.fromkeys(sample.path for sample in samples + self._next_class()))

    def card(self, path: str) -> Card:
        """The card of a file: the one of the open class, as a file may be in several splits and classes.

        Raises:
            CleanerError: the scan kept no such sample.
        """
        if not isinstance(path, str) or path not in self._by_path:
            raise CleanerError(f"the scan kept no sample with the path {path!r}")
        return self._card(self._samples.get(path) or self._by_path[path])

    def counts(self) -> Counts:
        """How much is decided by now."""
        decided = sum(path in self.standing for path in self._samples)
        return Counts(decided, len(self._samples), len(self.standing), len(self._by_path))

    # Cursor and selection.

    def move(self, by: int, extend: bool = False) -> None:
        """Move the cursor on the page, not beyond its ends; with `extend` select what it passes.

        Raises:
            CleanerError: `by` is no whole number.
        """
        if isinstance(by, bool) or not isinstance(by, int) or abs(by) > _MOST_ON_A_PAGE:
            raise CleanerError(f"the cursor cannot move by {by!r}; a whole number up to {_MOST_ON_A_PAGE} is accepted")
        self._put_cursor(min(max(self.cursor + by, 0), max(0, len(self._page_samples()) - 1)), extend)

    def point(self, path: str, extend: bool = False) -> None:
        """Put the cursor on a card of the page; with `extend` select what is between.

        Raises:
            CleanerError: the page has no such card.
        """
        paths = self._page_paths()
        if path not in paths:
            raise CleanerError(f"there is no card {path!r} on the page that is open")
        self._put_cursor(paths.index(path), extend)

    def toggle(self) -> None:
        """Select the card of the cursor, or no longer."""
        self.selected ^= set(self._page_paths()[self.cursor : self.cursor + 1])
        self._anchor = self.cursor

    def select_page(self) -> None:
        """Select every card of the page; none, where all are selected."""
        paths = frozenset(self._page_paths())
        self.selected = frozenset() if self.selected == paths else paths
        self._anchor = self.cursor

    @property
    def targets(self) -> list[str]:
        """What an action acts on: the selected cards in their order, or else the card of the cursor."""
        paths = self._page_paths()
        return [path for path in paths if path in self.selected] or paths[self.cursor : self.cursor + 1]

    @property
    def undecided(self) -> list[str]:
        """What on the page is not decided."""
        return [card.sample.path for card in self.cards() if card.decision is None]

    # Decisions.

    def decide(self, path: str, action: Action, new_label: str = "") -> Card:
        """Take a decision about one card; when this returns it is in the manifest, on the disk.

        Raises:
            CleanerError: the scan kept no such sample, or the decision makes no sense for it; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        self._take([self._decision(path, parse_action(action), new_label)])
        return self.card(path)

    def act(self, action: Action, new_label: str = "") -> None:
        """Take the same decision about all targets, in one append; the cursor goes on to the next card.

        Raises:
            CleanerError: there is no card, or the decision makes no sense for one of them; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        action = parse_action(action)
        self._take_and_go_on([self._decision(path, action, new_label) for path in self.targets])

    def take_predicted(self) -> None:
        """Give each target the label that is predicted; what has it already is kept.

        Raises:
            CleanerError: there is no card, or nothing is predicted for one of them, or the scan is not of one label an
                image; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        self._check_has_labels()
        if self.scan.task == MULTI_LABEL:
            raise CleanerError("with several labels an image there is no predicted one; add or remove labels")
        decisions = []
        for path in self.targets:
            sample = self.card(path).sample
            if self._is_unread(sample):
                raise CleanerError(f"nothing is predicted for {path!r}, which could not be read")
            same = sample.predicted == sample.label
            decisions.append(self._decision(path, *((Action.KEEP, "") if same else (Action.RELABEL, sample.predicted))))
        self._take_and_go_on(decisions)

    def toggle_label(self, path: str, label: str) -> Card:
        """Take a label from what a file shall carry, or add it; several of these add up.

        Raises:
            CleanerError: the scan kept no such sample or knows no such label, or is not of several labels an image;
                nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        self.refresh()
        self._take([self._toggled(path, label)])
        return self.card(path)

    def toggle_labels(self, label: str) -> None:
        """Take a label from what each target shall carry, or add it; the cursor goes on to the next card.

        Raises:
            CleanerError: as `toggle_label`, or there is no card.
            OSError: the manifest cannot be written; nothing was written.
        """
        self.refresh()
        self._take_and_go_on([self._toggled(path, label) for path in self.targets])

    def labels_after(self, decision: Decision) -> tuple[str, ...] | None:
        """The labels that a decision gives its file, where it changes a set of them; else None."""
        if self.scan.task != MULTI_LABEL or decision.action is not Action.RELABEL:
            return None
        return split_labels(decision.new_label, self.scan.label_delim)

    def keep_rest(self) -> None:
        """Keep what on the page is not decided, and go on: to the next page, or to the next class with undecided.

        Raises:
            CleanerError: the manifest makes no sense; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        if undecided := self.undecided:
            self._take([self._decision(path, Action.KEEP) for path in undecided])
        if self.page + 1 < self.pages:
            self.turn_to(self.page + 1)
            return
        for label in self.labels[self.labels.index(self.label) + 1 :] if self.label in self.labels else ():
            if any(sample.path not in self.standing for sample in self.scan.kept(self.split, label)):
                self.filter(label=label, predicted="")
                return

    def undo(self) -> str:
        """Take back one's own last action that still stands: what stood before stands again, in new rows.

        Returns:
            what was left as it is, as somebody else decided on it since; empty if nothing was.

        Raises:
            CleanerError: there is nothing to undo; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        return self._restore(self._done, self._undone, "undo")

    def redo(self) -> str:
        """Take the last action again that was undone; as `undo`.

        Raises:
            CleanerError: there is nothing to redo; nothing was written.
            OSError: the manifest cannot be written; nothing was written.
        """
        return self._restore(self._undone, self._done, "redo")

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is an action that was taken back."""
        return bool(self._undone)

    # How it is done.

    def _go(self, place: Place) -> None:
        """Open a place and settle what its pages show; where it makes no sense nothing changes."""
        _check_one_of("show", place.show, SHOWS)
        _check_one_of("order", place.order, ORDERS)
        if not isinstance(place.text, str) or len(place.text) > _LONGEST_TEXT:
            accepted = f"a part of a path, of up to {_LONGEST_TEXT} characters, is accepted"
            raise CleanerError(f"text is {str(place.text)[:80]!r}; {accepted}")
        if place.predicted != "":
            absent = (ABSENT,) if self.scan.task == MULTI_LABEL else ()
            _check_one_of("predicted", place.predicted, (*self.scan.vocab, *absent))
        self._samples = _by_path(self._samples_of(place.split, place.label))
        self.place = place
        self._shown = self._shown_of(place, self._samples.values())
        self._start_page()

    def _shown_of(self, place: Place, samples: Iterable[Sample]) -> list[Sample]:
        """What the filter of a place lets through, in its order."""
        fits = self._filter_of(place)
        return sorted((sample for sample in samples if fits(sample)), key=_KEYS[place.order])

    def _next_class(self) -> list[Sample]:
        """The first page of the class after the open one, as it would be shown."""
        labels = self.labels
        at = labels.index(self.label) + 1 if self.label in labels else len(labels)
        if at >= len(labels):
            return []
        place = replace(self.place, label=labels[at], predicted="")
        samples = _by_path(self._samples_of(place.split, place.label)).values()
        return self._shown_of(place, samples)[: place.page_size]

    def _samples_of(self, split: str, label: str) -> Sequence[Sample]:
        if label == UNREADABLE:
            self.scan.kept(split, self.scan.vocab[0])  # refuses a split that is not there
            return [sample for sample in self._unreadable if sample.split == split]
        return self.scan.kept(split, label)  # refuses what is not there

    def _filter_of(self, place: Place) -> Callable[[Sample], bool]:
        standing = self.standing
        text = place.text.strip().lower()

        def fits(sample: Sample) -> bool:
            action = standing[sample.path].action.value if sample.path in standing else ""
            return (
                (place.show in ("all", action) or (place.show == "decided" if action else place.show == "undecided"))
                and place.predicted in ("", self._said(sample))
                and text in sample.path.lower()
            )

        return fits

    def _said(self, sample: Sample) -> str:
        """What the model says, as the filter names it."""
        is_absent = self.scan.task == MULTI_LABEL and not sample.predicted and not self._is_unread(sample)
        return ABSENT if is_absent else sample.predicted

    def _start_page(self, cursor: int = 0) -> None:
        self.cursor = self._anchor = cursor
        self.selected = frozenset()
        self.trouble = write_place(self.manifest.path, self.reviewer, self.place)

    def _come_back(self, before: Place, page_size: int | None) -> None:
        """Open the place of the last time, if the scan still has it."""
        start = self.place
        try:
            check_page_size(before.page_size)
            place = before if page_size is None else replace(before, page_size=page_size)
            self._go(replace(place, page=0))
            if not self._samples:
                raise CleanerError("there is nothing in that class any more")
            if place.page_size == before.page_size and place.show == "all":
                self.turn_to(place.page)
        except CleanerError:
            # What was there last time is not there any more: the scan was made anew. Nothing is lost.
            self._go(start)

    def _page_samples(self, page: int | None = None) -> list[Sample]:
        start = (self.page if page is None else page) * self.place.page_size
        return self._shown[start : start + self.place.page_size]

    def _page_paths(self) -> list[str]:
        return [sample.path for sample in self._page_samples()]

    def _put_cursor(self, cursor: int, extend: bool) -> None:
        self.cursor = cursor
        if extend:
            first, last = sorted((self._anchor, cursor))
            self.selected = frozenset(self._page_paths()[first : last + 1])
        else:
            self.selected, self._anchor = frozenset(), cursor

    def _card(self, sample: Sample) -> Card:
        self.standing.refresh([sample.path])
        decision, note = self.standing.get(sample.path), self.standing.note(sample.path)
        error = self._errors[sample.path] if self._is_unread(sample) else ""
        others = () if note and decision is None else self._other_opinions(sample.path, decision)
        return Card(sample, decision, others, error, note)

    def _other_opinions(self, path: str, standing: Decision | None) -> tuple[Decision, ...]:
        """What other reviewers decided about the same bytes, where that is something else than what stands."""
        rows = self.manifest.standing().all_for(path)
        if standing and standing.sha256:
            rows = [row for row in rows if row.sha256 in ("", standing.sha256)]
        return other_opinions(rows, standing)

    def _is_unread(self, sample: Sample) -> bool:
        """Whether this is a file that could not be read, and so no sample that was scored."""
        return not sample.predicted and math.isnan(sample.confidence) and sample.path in self._errors

    def _check_has_labels(self) -> None:
        if self.scan.task == OTHER:
            raise CleanerError("the images of this scan carry no labels; decide keep, delete or unsure")

    def _decision(self, path: str, action: Action, new_label: str = "") -> Decision:
        """A decision about a file as it is now; refused where it makes no sense."""
        sample = self.card(path).sample
        if action is Action.RELABEL:
            self._check_has_labels()
            if self._is_unread(sample):
                raise CleanerError(f"{path!r} could not be read, so it gets no label; decide keep, delete or unsure")
            new_label = self._checked_label(sample, new_label)
        standing = self.standing.get(path)
        if action is Action.UNDO and standing is None:
            raise CleanerError(f"{path!r} is not decided, so there is nothing to undo")
        if action is Action.KEEP and standing and self.labels_after(standing) is not None:
            # What the card shows is right: a label that was changed in another class is not taken back by this.
            action, new_label = Action.RELABEL, standing.new_label
        return self._row(sample, action, new_label, self._sha256(path))

    def _checked_label(self, sample: Sample, new_label: str) -> str:
        """The label, or the label set in the order of the vocabulary, that a sample may get."""
        several = self.scan.task == MULTI_LABEL
        labels = split_labels(new_label, self.scan.label_delim) if several else (new_label,)
        unknown = [label for label in labels if label not in self.scan.vocab]
        if unknown or not new_label:
            wrong = unknown[0] if unknown else new_label
            raise CleanerError(f"there is no label {wrong!r} in this scan; pick one of its {len(self.scan.vocab)}")
        found = self._joined(labels) if several else new_label
        if found == self._label_of(sample):
            raise CleanerError(f"{sample.path!r} has the label {found!r} already; decide 'keep' to confirm it")
        return found

    def _toggled(self, path: str, label: str) -> Decision:
        """The decision that takes a label from what stands for a file, or adds it."""
        if self.scan.task != MULTI_LABEL:
            raise CleanerError("only where images carry several labels is one added or removed; decide relabel")
        _check_one_of("label", label, self.scan.vocab)
        sample, standing = self.card(path).sample, self.standing.get(path)
        changed = self.labels_after(standing) if standing else None
        now = self._joined(set(sample.given if changed is None else changed) ^ {label})
        # With all labels as they were nothing is decided any more.
        is_back = changed is not None and now == self._label_of(sample)
        return self._decision(path, *((Action.UNDO,) if is_back else (Action.RELABEL, now)))

    def _joined(self, labels: Collection[str]) -> str:
        return join_labels([label for label in self.scan.vocab if label in labels], self.scan.label_delim)

    def _label_of(self, sample: Sample) -> str:
        """What a sample carries today, as the manifest writes it."""
        if self.scan.task == MULTI_LABEL:
            return self._joined(sample.given)
        return "" if self.scan.task == OTHER else sample.label

    def _row(self, sample: Sample, action: Action, new_label: str = "", sha256: str = "") -> Decision:
        return Decision(
            path=sample.path,
            action=action,
            label=self._label_of(sample),
            new_label=new_label,
            split=sample.split,
            loss=sample.loss,
            predicted=sample.predicted,
            sha256=sha256,
            reviewer=self.reviewer,
            decided_at=now(),
        )

    def _take(self, decisions: list[Decision]) -> None:
        if not decisions:
            raise CleanerError("there is no card on this page to decide about; choose another page or filter")
        standing = self.manifest.standing()
        expected = {decision.path: standing.get(decision.path) for decision in decisions}
        # A keep that stands through a journal has no row; an undo writes one, so that it stands again.
        before = {path: decision or self.standing.get(path) for path, decision in expected.items()}
        self._append(decisions, expected)
        split, label = self._class_of(decisions[0].path)
        self._done.append(_Step(split, label, before, {d.path: _standing_after(d) for d in decisions}))
        self._undone.clear()
        self.pace.decided(len(decisions))

    def _class_of(self, path: str) -> tuple[str, str]:
        """The split and class of a file: the open one where it is in there."""
        if path in self._samples:
            return self.split, self.label
        sample = self._by_path[path]
        return sample.split, UNREADABLE if self._is_unread(sample) else sample.label

    def _take_and_go_on(self, decisions: list[Decision]) -> None:
        self._take(decisions)
        last = self._page_paths().index(decisions[-1].path)
        self._put_cursor(min(last + 1, len(self._page_samples()) - 1), extend=False)

    def _restore(self, steps: list[_Step], other_way: list[_Step], what: str) -> str:
        if not steps:
            raise CleanerError(f"there is nothing to {what}; only your own decisions since this page was opened are")
        self.refresh()
        step = steps[-1]
        standing = self.manifest.standing()
        mine = [
            path
            for path, after in step.after.items()
            if decision_revision(standing.get(path)) == decision_revision(after)
        ]
        left = [path for path in step.after if path not in mine]
        if mine:
            now = {path: standing.get(path) for path in mine}
            self._append([row for path in mine for row in self._rows_back(path, step)], now)
        steps.pop()
        if mine:
            done = _Step(step.split, step.label, {p: step.before[p] for p in mine}, {p: step.after[p] for p in mine})
            other_way.append(done.reversed())
            self._show(step, mine[0])
        return f"Left as decided since by others: {', '.join(left)}" if left else ""

    def _rows_back(self, path: str, step: _Step) -> list[Decision]:
        """The rows after which what stood before the step stands again, and its reviewer is who stood there."""
        now, then = step.after[path], step.before[path]
        if then is not None and (now is None or now.reviewer == then.reviewer):
            return [then]
        sample = self._by_path[path]
        taken_back = self._row(sample, Action.UNDO, sha256=self._sha256(path))
        return [taken_back] if then is None else [taken_back, then]

    def _show(self, step: _Step, path: str) -> None:
        """Open the page with a card of a step and put the cursor there."""
        if (self.split, self.label) != (step.split, step.label):
            self._go(replace(self.place, split=step.split, label=step.label, page=0, predicted="", text=""))
        paths = [sample.path for sample in self._shown]
        if path not in paths:
            self._go(replace(self.place, page=0, show="all", predicted="", text=""))
            paths = [sample.path for sample in self._shown]
        page, cursor = divmod(paths.index(path), self.place.page_size)
        if page != self.page:
            self.turn_to(page)
        self._put_cursor(cursor, extend=False)

    def _append(self, decisions: list[Decision], expected: Mapping[str, Decision | None]) -> None:
        """Write what was decided, if there still stands what this session knows of."""
        try:
            self.manifest.append(*decisions, expected=expected)
        finally:
            # Where somebody else was quicker, their decision was taken in, and is shown.
            self._recount()

    def _recount(self) -> None:
        self.standing.update(self.manifest.standing())
        try:
            self.edited = self.manifest.edits.message(self.manifest.path.name)
            self.ledger_trouble = ""
        except CleanerError as error:
            self.edited, self.ledger_trouble = "", str(error)

    def _sha256(self, path: str) -> str:
        """Of the file as it is now; empty where it cannot be read, which may be why it is deleted."""
        try:
            return sha256_of(self.scan.root / path)
        except OSError:
            return ""


def _by_loss(sample: Sample) -> tuple[float, int]:
    """Highest loss first; one that is not finite ranks above every finite one, as in the scan."""
    return (-sample.loss if math.isfinite(sample.loss) else -math.inf, sample.rank)


def _by_confidence(sample: Sample) -> tuple[float, str]:
    """Least confident first; what has no confidence comes last."""
    return (math.inf if math.isnan(sample.confidence) else sample.confidence, sample.path)


def _by_name(sample: Sample) -> str:
    return sample.path


_KEYS: dict[str, Callable[[Sample], tuple[float, int] | tuple[float, str] | str]] = {
    "loss": _by_loss,
    "confidence": _by_confidence,
    "name": _by_name,
}


def _missing(scan: Scan) -> str:
    if scan.address:
        return (
            f"the images were scanned at {scan.address!r}, and the review shows files: give a folder with a copy or a "
            "mount of them"
        )
    return f"there is no folder {str(scan.root)!r} with the images; say where they are now"


def _checked_name(name: object) -> str:
    """A reviewer's name without spaces around it; what a spreadsheet would take for a formula is none."""
    text = name.strip() if isinstance(name, str) else ""
    if not text or len(text) > _LONGEST_NAME or not text.isprintable() or text[0] in "=+-@":
        raise CleanerError(
            f"the reviewer's name is {str(name)[:_LONGEST_NAME]!r}; a text of 1 to {_LONGEST_NAME} characters is "
            "accepted that does not begin with '=', '+', '-' or '@'"
        )
    return text


def check_page_size(page_size: object) -> None:
    """Check that a page can have as many cards.

    Raises:
        CleanerError: it cannot.
    """
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= _MOST_ON_A_PAGE:
        raise CleanerError(f"page_size is {page_size!r}; a whole number from 1 to {_MOST_ON_A_PAGE} is accepted")


def _check_one_of(name: str, value: object, accepted: Sequence[str]) -> None:
    if value not in accepted:
        some = ", ".join(accepted[:10]) + (", …" if len(accepted) > 10 else "")
        raise CleanerError(f"{name} is {value!r}; accepted are {some}")


def _standing_after(decision: Decision) -> Decision | None:
    return None if decision.action is Action.UNDO else decision


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
