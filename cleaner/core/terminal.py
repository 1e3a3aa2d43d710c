"""Text that came from files, as it may be printed to a terminal."""

from __future__ import annotations

import unicodedata

__all__ = ["printable"]

# Control characters (C0, DEL and C1), formats such as the bidi controls, the separators of lines and paragraphs, and
# halves of characters.
_ESCAPED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# They join or part letters in Persian, in Indic scripts and in emoji, and are in ordinary names.
_JOINERS = frozenset("\u200c\u200d")


def printable(text: str) -> str:
    """One line of text, with escapes such as `\\x1b` for all that could steer a terminal or change the order of a line.

    Other characters stay, whatever their script.
    """
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _is_escaped(c) else c for c in text)


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS
