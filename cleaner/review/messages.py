"""What all messages of a page have in common; the tables of the messages stand in grid.py and overview.py."""

from __future__ import annotations

from typing import Any

from cleaner.core.errors import CleanerError

__all__ = ["checked_message", "shortened"]

_LONGEST = 1000


def checked_message(content: Any) -> dict[str, Any]:
    """What a page sent, with a text for its `kind` and a whole number for its `id`.

    Raises:
        CleanerError: it is no such message.
    """
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise CleanerError("a message without a kind came; it was left out")
    if isinstance(content.get("id"), bool) or not isinstance(content.get("id"), int):
        raise CleanerError(f"a message {content['kind']!r} without a number for an id came; it was left out")
    return content


def shortened(error: str) -> str:
    """An error as it is sent to a page: what came may be quoted in it, and may be of any length."""
    return error[:_LONGEST]
