"""Text for messages: lists cut short, and text from files made safe to print."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["abbreviate", "printable", "text_table"]

# Control characters (C0, DEL and C1), format characters such as the bidi controls, separators of lines and paragraphs,
# and surrogates.
_ESCAPED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
# Zero-width joiners occur in ordinary names: in Persian, in Indic scripts and in emoji.
_JOINERS = frozenset("\u200c\u200d")


def abbreviate(names: Iterable[object], shown: int = 5) -> str:
    """Return the first `shown` names and how many more there are, such as `a, b and 3 more`; one more is shown too."""
    texts = list(map(str, names))
    shown += len(texts) == shown + 1
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown} more" if len(texts) > shown else "")


def printable(text: str) -> str:
    """Return text for one line, with characters that could control a terminal escaped, as in `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _is_escaped(c) else c for c in text)


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as text; control characters in its cells, such as line ends, are escaped."""
    lines = [tuple(printable(str(cell)) for cell in row) for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS
