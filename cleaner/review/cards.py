"""The cards of a page as they are sent, and which of them changed since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.issues import Issue
from cleaner.core.manifest import overtaken
from cleaner.core.records import Decision
from cleaner.core.tasks import MULTI_LABEL
from cleaner.review.decisions import Card
from cleaner.review.protocol import null_if_nan
from cleaner.review.session import Session

__all__ = ["SentCards", "card_content"]


class SentCards:
    """The cards of the open page as the page has them.

    The version grows with each page, and with each change that is not the reviewer's own. A decision says which version
    the reviewer looked at.

    Args:
        session: the review.

    Attributes:
        version: number of the page or change that was sent last.
        paths: the cards of the page, in their order.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent: dict[str, Card] = {}
        self._changed_in: dict[str, int] = {}
        self._page_version = 0
        self.version = 0

    @property
    def paths(self) -> list[str]:
        return list(self._sent)

    def open_page(self) -> list[Card]:
        """Return the cards of the open page, which is sent now."""
        self._sent = {card.sample.path: card for card in self._session.cards()}
        self._changed_in = {}
        self.version += 1
        self._page_version = self.version
        return list(self._sent.values())

    def changed(self, own: Callable[[str], bool] = lambda _: False) -> list[Card]:
        """Return the cards that changed since they were sent, which are sent now.

        Args:
            own: whether the reviewer's own decision changed a card; they have seen that.
        """
        cards = [(self._session.card(path), sent) for path, sent in self._sent.items()]
        changed = [card for card, sent in cards if _decided(card) != _decided(sent)]
        by_others = [card.sample.path for card in changed if not own(card.sample.path)]
        self.version += bool(by_others)
        self._changed_in.update(dict.fromkeys(by_others, self.version))
        self._sent.update((card.sample.path, card) for card in changed)
        return changed

    def check_were_seen(self, paths: list[str], version: int) -> None:
        """Check that the reviewer looked at these cards with the decisions that stand.

        Raises:
            CleanerError: another page is open, the page has no such card, or somebody decided since.
        """
        if not self._page_version <= version <= self.version:
            raise CleanerError("another page was opened before this decision arrived; look at it and decide again")
        for path in paths:
            if path not in self._sent:
                raise CleanerError(f"the open page has no image {path!r}")
            card = self._session.card(path)
            if card.revision != self._sent[path].revision or self._changed_in.get(path, 0) > version:
                raise overtaken(path, card.decision)


def card_content(card: Card, session: Session) -> dict[str, Any]:
    """Return a card as it is sent, without its picture."""
    sample = card.sample
    action, new_label, reviewer, decided_at = card.revision
    content: dict[str, Any] = {
        "path": sample.path,
        "name": sample.path.rsplit("/", 1)[-1],
        "label": sample.label,
        "predicted": sample.predicted,
        "confidence": null_if_nan(sample.confidence),
        "alternatives": sample.alternatives,
        "loss": "" if card.error or card.is_blinded else f"{sample.loss:.3f}",
        "action": action,
        "new_label": new_label,
        "reviewer": reviewer,
        "decided_at": decided_at,
        "others": [_opinion(decision) for decision in card.others],
        "note": card.note,
    }
    if card.issue:
        content |= _issue_content(card.issue, card)
    if session.scan.task == MULTI_LABEL:
        labels_after = session.maker.labels_after
        content |= {"given": list(sample.given), "asked": list(card.asked)}
        content["labels"] = card.decision and labels_after(card.decision)
        for opinion, decision in zip(content["others"], card.others, strict=True):
            opinion["labels"] = labels_after(decision)
    return content


def _issue_content(issue: Issue, card: Card) -> dict[str, Any]:
    """Return what is wrong with an image, in place of what the model says about it."""
    hidden: dict[str, Any] = {"predicted": "", "confidence": None, "alternatives": [], "loss": ""}
    return hidden | {
        "split": card.sample.split,
        "score": issue.score,
        "reason": issue.detail,
        "group": issue.group,
        "members": len(card.members),
        "is_first": card.sample.path in card.members[:1],
    }


def _decided(card: Card) -> tuple[object, ...]:
    """Return all of a card that decisions change."""
    return card.revision, card.note, [_opinion(decision) for decision in card.others]


def _opinion(decision: Decision) -> dict[str, Any]:
    return {"reviewer": decision.reviewer, "action": decision.action.value, "new_label": decision.new_label}
