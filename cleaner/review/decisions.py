"""Cards, and the decisions that a reviewer can take about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleaner.core.decision_rules import DecisionRules
from cleaner.core.errors import CleanerError
from cleaner.core.fields import check_one_of
from cleaner.core.issues import Issue
from cleaner.core.records import Action, Decision, Sample, decision_revision, parse_action
from cleaner.core.tasks import MULTI_LABEL, split_labels

__all__ = ["PREDICTED", "TOGGLE", "Card", "DecisionMaker"]

PREDICTED = "predicted"
"""Action that gives an image its predicted label, or keeps it if it has that label."""

TOGGLE = "toggle"
"""Action that adds one label to an image's label set, or removes it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A kept sample or an unreadable file, with what was decided about it.

    Attributes:
        sample: an unreadable file has an empty prediction and a NaN loss; so has one that is audited.
        decision: the decision that stands; None for undecided.
        others: decisions of other reviewers that differ from it.
        error: why the scan could not read the file; empty if it could.
        note: why an earlier decision does not stand for this file, or where the one that stands comes from.
        is_blinded: the sample is shown without what the model says about it.
        asked: the labels that the audit sample asks about, where images carry several.
        issue: what is wrong with the image, in a list of issues; the page then shows that and no prediction.
        members: paths of the group of copies that the image is in there, the one to keep first.
    """

    sample: Sample
    decision: Decision | None
    others: tuple[Decision, ...] = ()
    error: str = ""
    note: str = ""
    is_blinded: bool = False
    asked: tuple[str, ...] = ()
    issue: Issue | None = None
    members: Sequence[str] = ()

    @property
    def revision(self) -> tuple[str, str, str, str]:
        """Action, new label, reviewer and time of the decision; empty texts for undecided."""
        return decision_revision(self.decision)


@dataclass(frozen=True, slots=True)
class DecisionMaker(DecisionRules):
    """Makes the manifest rows of one reviewer from cards, and refuses invalid decisions."""

    def make(self, card: Card, action: str, new_label: str = "") -> Decision:
        """Return the decision about a file as it is now.

        Args:
            card: the file, with the decision that stands.
            action: an `Action`, `PREDICTED` or `TOGGLE`.
            new_label: for `relabel` the new label, or the new label set; for `TOGGLE` one label.

        Raises:
            CleanerError: the action is not valid for this card.
        """
        if action == PREDICTED:
            action, new_label = self._predicted_label(card)
        elif action == TOGGLE:
            action, new_label = self._toggled_labels(card, new_label)
        action, path = parse_action(action), card.sample.path
        if action is Action.RELABEL:
            new_label = self.checked_label(card.sample, new_label, is_unreadable=bool(card.error))
        elif action is Action.UNDO and card.decision is None:
            raise CleanerError(f"{path!r} is not decided, so there is nothing to undo")
        elif action is Action.KEEP and card.decision and self.labels_after(card.decision) is not None:
            # The reviewer confirms the label set on the card, which includes changes made in other classes.
            action, new_label = Action.RELABEL, card.decision.new_label
        return self.row(card.sample, action, new_label)

    def labels_after(self, decision: Decision) -> tuple[str, ...] | None:
        """Return the label set that a decision gives its file; None if it changes no label set."""
        if self.scan.task != MULTI_LABEL or decision.action is not Action.RELABEL:
            return None
        return split_labels(decision.new_label, self.scan.label_delim)

    def _predicted_label(self, card: Card) -> tuple[Action, str]:
        """Return the action, with its new label, that gives an image its predicted label."""
        self.check_has_labels()
        if self.scan.task == MULTI_LABEL:
            raise CleanerError("images with several labels have no predicted one; add or remove labels")
        if card.is_blinded:
            raise CleanerError("the audit sample is judged without the model's prediction; choose a label")
        if card.issue:
            raise CleanerError("issues are judged without the model's prediction; choose a label")
        if card.error:
            raise CleanerError(f"nothing is predicted for {card.sample.path!r}, which could not be read")
        predicted = card.sample.predicted
        return (Action.KEEP, "") if predicted == card.sample.label else (Action.RELABEL, predicted)

    def _toggled_labels(self, card: Card, label: str) -> tuple[Action, str]:
        """Return the action, with its new label set, that adds a label to an image's set or removes it."""
        if self.scan.task != MULTI_LABEL:
            raise CleanerError("labels are added or removed only where images carry several labels")
        check_one_of("label", label, self.scan.vocab)
        changed = self.labels_after(card.decision) if card.decision else None
        toggled = self.join(set(card.sample.given if changed is None else changed) ^ {label})
        # With its original labels again, the image is undecided.
        is_original = changed is not None and toggled == self.label_of(card.sample)
        return (Action.UNDO, "") if is_original else (Action.RELABEL, toggled)
