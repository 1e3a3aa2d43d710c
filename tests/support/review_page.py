"""The browser's side of the review, without a browser."""

from __future__ import annotations

from typing import Any

from cleaner.core.scan import Scan
from cleaner.review.app import Review


class Page:
    """The browser's side of the review: sends messages and records the replies."""

    def __init__(self, scan: Scan) -> None:
        self.review = Review(scan, reviewer="anna", page_size=5)
        self.replies: list[tuple[dict[str, Any], list[bytes]]] = []
        self.review.grid.send = lambda content, buffers=None: self.replies.append((content, buffers or []))

    def say(self, content: object) -> dict[str, Any]:
        """Send a message and return the one reply to it."""
        before = len(self.replies)
        self.review.grid._handle_custom_msg(content, [])
        (reply,) = self.replies[before:]
        return reply[0]

    @property
    def last(self) -> tuple[dict[str, Any], list[bytes]]:
        return self.replies[-1]
