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
from cleaner.review.session import Session
from cleaner.review.view import ORDERS, SHOWS, UNREADABLE
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

    @rule(by=st.integers(-3, 3), extend=st.booleans())
    def move(self, by: int, extend: bool) -> None:
        self.session.selection.move(by, extend)

    @rule(what=st.sampled_from(["toggle", "toggle_all"]))
    def select(self, what: str) -> None:
        getattr(self.session.selection, what)()

    @rule(action=st.sampled_from([Action.KEEP, Action.DELETE, Action.UNSURE]))
    def act(self, action: Action) -> None:
        self.take(dict.fromkeys(self.session.selection.targets, (action.value, "", "anna")), self.session.act, action)

    @rule(label=st.sampled_from(LABELS))
    def relabel(self, label: str) -> None:
        if self.session.view.label in (UNREADABLE, label):
            return
        self.take(
            dict.fromkeys(self.session.selection.targets, ("relabel", label, "anna")),
            self.session.act,
            Action.RELABEL,
            label,
        )

    @rule()
    def take_predicted(self) -> None:
        if self.session.view.label == UNREADABLE:
            return
        predicted = {path: self.session.card(path).sample.predicted for path in self.session.selection.targets}
        self.take({p: ("relabel", label, "anna") for p, label in predicted.items()}, self.session.act, "predicted")

    @rule()
    def keep_rest(self) -> None:
        self.session.refresh()
        undecided = [card.sample.path for card in self.session.cards() if card.decision is None]
        kept = dict.fromkeys(undecided, ("keep", "", "anna"))
        before = {path: self.expected.get(path) for path in kept}
        self.session.keep_rest()
        self.expected |= kept
        if kept:
            self.done.append((before, kept))
            self.undone.clear()

    @rule(number=st.integers(0, 1))
    def take_back(self, number: int) -> None:
        for path in [card.sample.path for card in self.session.cards() if card.decision][number : number + 1]:
            self.take({path: None}, self.session.decide, path, Action.UNDO)

    def take(self, after: dict, decide: object, *arguments: object) -> None:
        if not after:
            with pytest.raises(CleanerError, match="no card"):
                decide(*arguments)
            return
        before = {path: self.expected.get(path) for path in after}
        decide(*arguments)
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
        left = getattr(self.session, what)()
        mine = [path for path in after if path not in left]
        # Only files that somebody else decided since may be left.
        assert all(self.expected.get(path) != after[path] for path in after if path in left)
        self.set({path: before[path] for path in mine})
        if mine:
            others.append(({path: after[path] for path in mine}, {path: before[path] for path in mine}))
            assert self.session.selection.targets[0] in mine

    @rule(
        label=st.sampled_from([*LABELS, UNREADABLE, None]),
        show=st.sampled_from([*SHOWS, None]),
        order=st.sampled_from(ORDERS),
        text=st.sampled_from(["", "01", "none"]),
    )
    def filter(self, label: str | None, show: str | None, order: str, text: str) -> None:
        self.session.filter(label=label, show=show, order=order, text=text)

    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        self.session.turn_to(data.draw(st.integers(0, self.session.pages - 1)))

    @rule(split=st.sampled_from(["train", "valid"]))
    def open_split(self, split: str) -> None:
        self.session.open_split(split)

    @rule(page_size=st.integers(1, 4))
    def set_page_size(self, page_size: int) -> None:
        self.session.set_page_size(page_size)

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
    def the_cursor_and_the_selection_are_on_the_page(self) -> None:
        paths = [card.sample.path for card in self.session.cards()]
        assert self.session.selection.selected <= set(paths)
        assert 0 <= self.session.selection.cursor < max(1, len(paths))
        assert bool(self.session.selection.targets) == bool(paths)

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
