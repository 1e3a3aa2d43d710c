"""Text for messages: lists cut short, and text from files made safe to print."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["abbreviate", "printable"]

# Control characters (C0, DEL and C1), formats such as the bidi controls, the separators of lines and paragraphs, and
# halves of characters.
_ESCAPED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# They join or part letters in Persian, in Indic scripts and in emoji, and are in ordinary names.
_JOINERS = frozenset("\u200c\u200d")


def abbreviate(names: Iterable[object], shown: int = 5) -> str:
    """Return the first `shown` names and how many more there are, such as `a, b and 3 more`."""
    texts = list(map(str, names))
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown} more" if len(texts) > shown else "")


def printable(text: str) -> str:
    """One line of text, with escapes such as `\\x1b` for all that could steer a terminal or change the order of a line.

    Other characters stay, whatever their script.
    """
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _is_escaped(c) else c for c in text)


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS
