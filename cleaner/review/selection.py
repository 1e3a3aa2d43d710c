"""The cursor and the selected cards of one page."""

from __future__ import annotations

from collections.abc import Sequence

from cleaner.core.errors import CleanerError
from cleaner.review.view import MAX_PAGE_SIZE

__all__ = ["Selection"]


class Selection:
    """The cursor and the selected cards of one page; nothing is selected at first.

    Args:
        paths: the page's cards in their order; may be empty.
        cursor: position of the cursor among them, from 0.

    Attributes:
        selected: the selected paths.
    """

    def __init__(self, paths: Sequence[str], cursor: int = 0) -> None:
        self.paths = paths
        self.cursor = self._anchor = cursor
        self.selected: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Path of the cursor's card; empty on a page without cards."""
        return self.paths[self.cursor] if self.paths else ""

    @property
    def targets(self) -> list[str]:
        """The cards that an action applies to: the selected ones in their order, else the cursor's card."""
        return [path for path in self.paths if path in self.selected] or list(filter(None, [self.path]))

    def move(self, by: int, extend: bool = False) -> None:
        """Move the cursor, at most to an end of the page; with `extend` select the cards it passes.

        Raises:
            CleanerError: `by` is larger than a page.
        """
        if abs(by) > MAX_PAGE_SIZE:
            raise CleanerError(f"the cursor cannot move by {by!r}; expected a whole number up to {MAX_PAGE_SIZE}")
        self._put_cursor(min(max(self.cursor + by, 0), max(0, len(self.paths) - 1)), extend)

    def point(self, path: str, extend: bool = False) -> None:
        """Put the cursor on a card; with `extend` select the cards from the last unextended position to it.

        Raises:
            CleanerError: the page has no such card.
        """
        self._put_cursor(self._position(path), extend)

    def toggle(self) -> None:
        """Select the cursor's card, or deselect it."""
        self.selected ^= {*filter(None, [self.path])}
        self._anchor = self.cursor

    def toggle_at(self, path: str) -> None:
        """Put the cursor on a card, and select or deselect it; the other cards stay selected.

        Raises:
            CleanerError: the page has no such card.
        """
        self.cursor = self._position(path)
        self.toggle()

    def toggle_all(self) -> None:
        """Select every card of the page; if all are selected, deselect them."""
        everything = frozenset(self.paths)
        self.selected = frozenset() if self.selected == everything else everything
        self._anchor = self.cursor

    def _position(self, path: str) -> int:
        if path not in self.paths:
            raise CleanerError(f"the open page has no card {path!r}")
        return self.paths.index(path)

    def _put_cursor(self, cursor: int, extend: bool) -> None:
        self.cursor = cursor
        if extend:
            first, last = sorted((self._anchor, cursor))
            self.selected = frozenset(self.paths[first : last + 1])
        else:
            self.selected, self._anchor = frozenset(), cursor
