"""What all messages of a page have in common; the tables of the messages stand in grid.py and overview.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cleaner.core.errors import CleanerError

__all__ = ["check_fields", "checked_message", "flag_of", "shortened"]

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


def _can_be_sent(text: str) -> bool:
    """Return whether Jupyter can send this text back to the page; file names that are no UTF-8 can be sent."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def check_fields(message: Mapping[str, Any], known: Mapping[str, frozenset[str]]) -> None:
    """Check that a message is of a known kind, with no other fields than that has, and texts that can be sent back.

    Raises:
        CleanerError: it is not.
    """
    kind = message["kind"]
    if kind not in known:
        raise CleanerError(f"there is no message {kind!r}; accepted are {', '.join(known)}")
    if unknown := message.keys() - known[kind] - {"kind", "id"}:
        accepted = ", ".join(sorted(known[kind])) or "no field"
        raise CleanerError(f"a message {kind!r} came with {min(map(repr, unknown))}; accepted is {accepted}")
    for name, value in message.items():
        if isinstance(value, str) and not _can_be_sent(value):
            raise CleanerError(f"{name} is {value!r}; a text in UTF-8 is accepted")


def flag_of(message: Mapping[str, Any], name: str) -> bool:
    """A field that may be left out, for no.

    Raises:
        CleanerError: it is neither yes nor no.
    """
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise CleanerError(f"{name} is {value!r}; true or false is accepted")
    return value


def shortened(error: str) -> str:
    """An error as it is sent to a page: what came may be quoted in it, and may be of any length."""
    return error[:_LONGEST]
