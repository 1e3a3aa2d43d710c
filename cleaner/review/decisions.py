"""Cards, and the decisions that a reviewer can take about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.issues import Issue
from cleaner.core.records import Action, Decision, Sample, decision_revision, now, parse_action
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL, OTHER, join_labels, split_labels
from cleaner.review.view import check_one_of

__all__ = ["PREDICTED", "TOGGLE", "Card", "DecisionMaker", "check_reviewer"]

PREDICTED = "predicted"
"""Action that gives an image its predicted label, or keeps it if it has that label."""

TOGGLE = "toggle"
"""Action that adds one label to an image's label set, or removes it."""

_MAX_NAME = 80


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
class DecisionMaker:
    """Make the manifest rows of one reviewer, and refuse invalid decisions.

    Attributes:
        scan: the scan under review.
        reviewer: name for the rows.
    """

    scan: Scan
    reviewer: str

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
            new_label = self._checked_label(card, new_label)
        elif action is Action.UNDO and card.decision is None:
            raise CleanerError(f"{path!r} is not decided, so there is nothing to undo")
        elif action is Action.KEEP and card.decision and self.labels_after(card.decision) is not None:
            # The reviewer confirms the label set on the card, which includes changes made in other classes.
            action, new_label = Action.RELABEL, card.decision.new_label
        return self.row(card.sample, action, new_label)

    def row(self, sample: Sample, action: Action, new_label: str = "") -> Decision:
        """Return a manifest row with the time and the file's hash of now, without checking the action."""
        return Decision(
            path=sample.path,
            action=action,
            label=self._label_of(sample),
            new_label=new_label,
            split=sample.split,
            loss=sample.loss,
            predicted=sample.predicted,
            sha256=self._sha256(sample.path),
            reviewer=self.reviewer,
            decided_at=now(),
        )

    def labels_after(self, decision: Decision) -> tuple[str, ...] | None:
        """Return the label set that a decision gives its file; None if it changes no label set."""
        if self.scan.task != MULTI_LABEL or decision.action is not Action.RELABEL:
            return None
        return split_labels(decision.new_label, self.scan.label_delim)

    def _predicted_label(self, card: Card) -> tuple[Action, str]:
        """Return the action, with its new label, that gives an image its predicted label."""
        self._check_has_labels()
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
        toggled = self._join(set(card.sample.given if changed is None else changed) ^ {label})
        # With its original labels again, the image is undecided.
        is_original = changed is not None and toggled == self._label_of(card.sample)
        return (Action.UNDO, "") if is_original else (Action.RELABEL, toggled)

    def _checked_label(self, card: Card, new_label: str) -> str:
        """Return the new label; a label set in the order of the vocabulary."""
        self._check_has_labels()
        if card.error:
            raise CleanerError(
                f"{card.sample.path!r} could not be read, so it gets no label; decide keep, delete or unsure"
            )
        is_set = self.scan.task == MULTI_LABEL
        labels = split_labels(new_label, self.scan.label_delim) if is_set else (new_label,)
        unknown = [label for label in labels if label not in self.scan.vocab]
        if unknown or not new_label:
            wrong = unknown[0] if unknown else new_label
            raise CleanerError(f"there is no label {wrong!r} in this scan; pick one of its {len(self.scan.vocab)}")
        ordered = self._join(labels) if is_set else new_label
        if ordered == self._label_of(card.sample):
            raise CleanerError(f"{card.sample.path!r} has the label {ordered!r} already; decide 'keep' to confirm it")
        return ordered

    def _check_has_labels(self) -> None:
        if self.scan.task == OTHER:
            raise CleanerError("the images of this scan carry no labels; decide keep, delete or unsure")

    def _join(self, labels: Collection[str]) -> str:
        return join_labels([label for label in self.scan.vocab if label in labels], self.scan.label_delim)

    def _label_of(self, sample: Sample) -> str:
        """Return what a sample carries today, as the manifest writes it."""
        if self.scan.task == MULTI_LABEL:
            return self._join(sample.given)
        return "" if self.scan.task == OTHER else sample.label

    def _sha256(self, path: str) -> str:
        """Return the file's hash; empty for an unreadable file, which may be the reason to delete it."""
        try:
            return sha256_of(self.scan.root / path)
        except OSError:
            return ""


def check_reviewer(name: object) -> str:
    """Return a reviewer's name without spaces around it.

    Raises:
        CleanerError: it is not a printable text of 1 to 80 characters, or a spreadsheet would take it for a formula.
    """
    text = name.strip() if isinstance(name, str) else ""
    if not text or len(text) > _MAX_NAME or not text.isprintable() or text[0] in "=+-@":
        raise CleanerError(
            f"the reviewer's name is {str(name)[:_MAX_NAME]!r}; expected a text of 1 to {_MAX_NAME} characters "
            "that does not begin with '=', '+', '-' or '@'"
        )
    return text
