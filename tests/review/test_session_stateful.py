"""Random actions of two reviewers: a session always shows what the manifest says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Unreadable
from cleaner.core.scan import Scan
from cleaner.review.lists import Lists
from cleaner.review.session import Session
from cleaner.review.view import ALL, DISAGREEMENTS, ORDERS, SHOWS, UNREADABLE, UNSURE
from tests.support.scans import make_scan

LABELS = ("cat", "dog", "fox")


class Keys(RuleBasedStateMachine):
    """Anna uses a session and Ben appends to the manifest; `expected` holds the decisions that should stand."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        scan = make_scan(self.folder / "data", self.folder / "scan", LABELS, per_class=3)
        bad = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
        self.scan = Scan(**{name: getattr(scan, name) for name in ("root", "vocab", "splits", "k", "scored", "cells")},
                         samples=scan.samples, unreadable=bad, folder=scan.folder)  # fmt: skip
        self.expected: dict[str, tuple[str, str, str]] = {}
        # Anna's actions that can be undone: the decisions before and after.
        self.done: list[tuple[dict, dict]] = []
        self.undone: list[tuple[dict, dict]] = []

    @initialize()
    def open(self) -> None:
        self.session = Session(self.scan, "anna", page_size=2)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # Anna.

    @rule(action=st.sampled_from([Action.KEEP, Action.DELETE, Action.UNSURE]), data=st.data())
    def decide(self, action: Action, data: st.DataObject) -> None:
        self.take(dict.fromkeys(self.some(data), (action.value, "", "anna")), action)

    @rule(label=st.sampled_from(LABELS), data=st.data())
    def relabel(self, label: str, data: st.DataObject) -> None:
        paths = [path for path in self.some(data) if self.session.card(path).sample.label != label]
        if not any(self.session.card(path).error for path in paths):
            self.take(dict.fromkeys(paths, ("relabel", label, "anna")), Action.RELABEL, label)

    @rule(data=st.data())
    def take_predicted(self, data: st.DataObject) -> None:
        cards = [self.session.card(path) for path in self.some(data)]
        if not any(card.error for card in cards):
            self.take({card.sample.path: ("relabel", card.sample.predicted, "anna") for card in cards}, "predicted")

    @rule(number=st.integers(0, 1))
    def take_back(self, number: int) -> None:
        for path in [card.sample.path for card in self.session.cards() if card.decision][number : number + 1]:
            self.take({path: None}, Action.UNDO)

    def some(self, data: st.DataObject) -> list[str]:
        """Return some of the page's paths."""
        return [path for path in self.session.paths if data.draw(st.booleans())]

    def take(self, after: dict, *action: object) -> None:
        if not after:
            with pytest.raises(CleanerError, match="at least one image"):
                self.session.decide_all([], *action)
            return
        before = {path: self.expected.get(path) for path in after}
        self.session.decide_all(list(after), *action)
        self.done.append((before, after))
        self.undone.clear()
        self.set(after)

    def set(self, stands: dict) -> None:
        self.expected = {p: s for p, s in (self.expected | stands).items() if s is not None}

    @rule(what=st.sampled_from(["undo", "redo"]))
    def undo(self, what: str) -> None:
        steps, others = (self.done, self.undone) if what == "undo" else (self.undone, self.done)
        if not steps:
            undo_redo = self.session.undo_redo
            assert not (undo_redo.done if what == "undo" else undo_redo.undone)
            return
        before, after = steps.pop()
        first, note = getattr(self.session, what)()
        mine = [path for path in after if path not in note]
        # Only files that somebody else decided since may be left.
        assert all(self.expected.get(path) != after[path] for path in after if path in note)
        assert first == next(iter(mine), "")
        self.set({path: before[path] for path in mine})
        if mine:
            others.append(({path: after[path] for path in mine}, {path: before[path] for path in mine}))
            assert first in self.session.paths

    @rule(
        show=st.sampled_from([*SHOWS, None]),
        order=st.sampled_from(ORDERS),
        text=st.sampled_from(["", "01", "none"]),
    )
    def filter(self, show: str | None, order: str, text: str) -> None:
        self.session.filter(show=show, order=order, text=text)

    @rule(
        label=st.sampled_from([*LABELS, ALL, UNSURE, DISAGREEMENTS, UNREADABLE]),
        split=st.sampled_from(["train", "valid", None]),
        predicted=st.sampled_from(["", *LABELS]),
    )
    def open_list(self, label: str, split: str | None, predicted: str) -> None:
        self.session.open(label, split, predicted)

    @rule(data=st.data())
    @precondition(lambda self: self.session.paths)
    def place_cursor(self, data: st.DataObject) -> None:
        self.session.place_cursor(data.draw(st.sampled_from(self.session.paths)))

    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        self.session.turn_to(data.draw(st.integers(0, self.session.pages - 1)))

    @rule(page_size=st.integers(1, 4), data=st.data())
    def set_page_size(self, page_size: int, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(["", *self.session.paths]))
        first = next(iter(self.session.paths), "")
        self.session.set_page_size(page_size, at)
        assert self.session.view.at == at
        assert not first or (at or first) in self.session.paths

    @rule()
    @precondition(lambda self: not self.done)
    def begin_again(self) -> None:
        self.session = Session(self.scan, "anna")
        self.undone.clear()

    # Ben.

    @rule(number=st.integers(0, 18), action=st.sampled_from([Action.KEEP, Action.DELETE, Action.UNDO]))
    def ben(self, number: int, action: Action) -> None:
        path = ([sample.path for sample in self.scan.samples] + ["train/cat/bad.png"])[number]
        Manifest(self.scan.manifest_path).append(Decision(path, action, reviewer="ben"))
        self.set({path: None if action is Action.UNDO else (action.value, "", "ben")})

    # Invariants.

    @invariant()
    def what_is_shown_is_what_the_manifest_says(self) -> None:
        self.session.refresh()
        standing = {
            path: (decision.action.value, decision.new_label, decision.reviewer)
            for path, decision in Manifest(self.scan.manifest_path).standing().items()
        }
        assert standing == self.expected
        assert self.session.counts().scan_decided == len(standing)
        for card in self.session.cards():
            decision = card.decision
            said = decision and (decision.action.value, decision.new_label, decision.reviewer)
            assert said == self.expected.get(card.sample.path)

    @invariant()
    def the_cursor_is_on_the_page(self) -> None:
        assert self.session.view.at in ["", *self.session.paths]

    @invariant()
    def the_lists_have_the_progress_that_the_manifest_says(self) -> None:
        split = self.session.view.split
        progress = Lists(self.session).progress()
        for label in LABELS:
            paths = {sample.path for sample in self.scan.kept(split, label)}
            assert progress[label] == (len(paths & self.expected.keys()), len(paths))
        in_split = [path for path in self.expected if path.startswith(split)]
        assert progress[ALL][0] == len([path for path in in_split if "bad" not in path])
        unsure = [path for path in in_split if self.expected[path][0] == "unsure"]
        assert progress[UNSURE] == (len(unsure), len(unsure))

    @invariant()
    def a_fresh_session_agrees(self) -> None:
        self.session.refresh()
        fresh = Session(self.scan, "carl")
        mine, theirs = ([*map(s.card, self.every())] for s in (self.session, fresh))
        assert [card.revision for card in mine] == [card.revision for card in theirs]
        assert [{o.reviewer for o in card.others} for card in mine] == [
            {o.reviewer for o in card.others} for card in theirs
        ]

    def every(self) -> list[str]:
        return [sample.path for sample in self.scan.samples] + ["train/cat/bad.png"]


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
