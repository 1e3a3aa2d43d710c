"""The messages between the page and the kernel, in one table.

A message is a dictionary with a `kind`. Each message of the page has an `id`, a number, and gets one reply with the
same `id`: the one named in the table, or an `error`.

To the grid of the page:

    page       serial, split, label, list, page, pages, page_size, show, predicted, text, order, predictions, shown,
               unreadable, cards, note; a buffer (JPEG) for each card with a `buffer`
    here       note
    card       card
    large      path, error; a buffer (JPEG) unless there is an error
    typical    path; images, each `label, buffer`: typical images of the labels of an image; a buffer (JPEG) for each
    error      message; the card, as it stands on the disk, if the message was about one

Each of these also carries the state: `at`, path of the cursor's card; `selected`, paths; `can_undo`, `can_redo`;
`reviewer`; `counts`; `seconds` per decision, or null; `changed`, the other cards of the page that changed since they
were sent; `warnings`, problems that forbid nothing; `edited`, a text about acknowledged decisions that somebody removed
from the manifest or reordered, which `restore` puts back and `accept` drops; `history`, how many decisions were carried
out, and when.

The `list` of a page is `class`, that of its label, or without a label `unreadable` or `audit`, whose cards have no
prediction and no loss.

A card is `path, name, label, predicted, confidence, alternatives, loss, rank, action, new_label, reviewer, decided_at,
note` and `others`, what other reviewers decided differently. Where images carry several labels, it also has `given`,
the labels that the image carries, `asked`, those that the audit sample asks about, and, as has each of the `others`,
`labels`, the labels after the decision, or null if it changes none. In a page it also has `error`, why there is no
thumbnail, or `buffer`, the number of its thumbnail.

To the overview of the page:

    overview   split, classes, matrix, edges, and the fields of `news`
    news       label, predicted, histogram, not_finite: the open class; decided, the changed numbers by label
    error      message

A class is `label, name, scored, otherwise, mean, kept, decided`; unreadable files and the audit sample are a class
each, with null for what is not known. The matrix has `labels`, the most confused ones; `cells`, lists of given and
predicted label (positions in `labels`), count and number of kept samples; and `left_out`, the number of wrong
predictions in no cell. It is null if images carry several labels or none. A folded overview gets no `news`; unfolded,
it asks with `ready`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cleaner.core.errors import CleanerError

__all__ = ["DECIDING", "GRID", "OVERVIEW", "Messages", "null_if_nan", "read_fields", "read_header"]

_TYPE_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class _Field:
    type: type
    is_required: bool = True


_TEXT, _NUMBER = _Field(str), _Field(int)
_OPTIONAL_TEXT, _OPTIONAL_NUMBER, _OPTIONAL_FLAG = (_Field(type_, False) for type_ in (str, int, bool))

Messages = Mapping[str, Mapping[str, _Field]]
"""For each kind of message its fields, without `kind` and `id`."""

GRID: Messages = {
    "ready": {},  # page
    "turn": {"page": _NUMBER},  # page
    "filter": {  # page
        "show": _OPTIONAL_TEXT,
        "predicted": _OPTIONAL_TEXT,
        "text": _OPTIONAL_TEXT,
        "order": _OPTIONAL_TEXT,
        "page_size": _OPTIONAL_NUMBER,
    },
    "move": {"by": _NUMBER, "extend": _OPTIONAL_FLAG},  # here
    "point": {"path": _TEXT, "extend": _OPTIONAL_FLAG, "toggle": _OPTIONAL_FLAG},  # here
    "select": {"what": _TEXT},  # here; `what` is `page` or `card`
    "decide": {"path": _TEXT, "action": _TEXT, "new_label": _OPTIONAL_TEXT},  # card
    # The serial names the page that the browser shows: nobody decides on a page they have not seen.
    "act": {"serial": _NUMBER, "action": _TEXT, "new_label": _OPTIONAL_TEXT},  # here, or page
    "keep_rest": {"serial": _NUMBER},  # page; here if there is no further page
    "undo": {},  # here, or page
    "redo": {},  # here, or page
    "news": {},  # here, or page
    "large": {"path": _TEXT},  # large
    "typical": {"path": _TEXT},  # typical
    "reviewer": {"name": _TEXT},  # here
    "restore": {},  # here, or page
    "accept": {},  # here
}
"""The messages that the grid takes, each with its reply. A page is sent when the cards or the view changed."""

DECIDING = frozenset({"decide", "act", "keep_rest", "undo", "redo"})
"""The messages whose errors begin with "Not saved"."""

OVERVIEW: Messages = {
    "ready": {},  # overview
    "open": {"label": _TEXT, "predicted": _OPTIONAL_TEXT},  # news, after the grid got a page
}
"""The messages that the overview takes, each with its reply."""


def read_header(content: Any) -> dict[str, Any]:
    """Check that a message has a kind and an id.

    Raises:
        CleanerError: it has not.
    """
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise CleanerError("ignored a message without a kind")
    if type(content.get("id")) is not int:
        raise CleanerError(f"ignored a message {content['kind']!r} whose id is not a number")
    return content


def read_fields(message: Mapping[str, Any], table: Messages) -> dict[str, Any]:
    """Return the fields of a message without kind and id, checked against a table.

    Raises:
        CleanerError: the kind or a field is unknown, a field is missing, or a value is of the wrong type or cannot be
            sent back to the page.
    """
    kind, fields = message["kind"], {name: value for name, value in message.items() if name not in ("kind", "id")}
    if kind not in table:
        raise CleanerError(f"there is no message {kind!r}; expected one of {', '.join(table)}")
    expected = table[kind]
    if unknown := fields.keys() - expected:
        raise CleanerError(
            f"the message {kind!r} has the field {min(map(repr, unknown))}; expected {', '.join(expected) or 'none'}"
        )
    for name, field in expected.items():
        if field.is_required and name not in fields:
            raise CleanerError(f"the message {kind!r} has no field {name!r}")
        if name in fields and type(fields[name]) is not field.type:
            raise CleanerError(f"{name} is {fields[name]!r}; expected {_TYPE_NAMES[field.type]}")
    for name, value in fields.items():
        if isinstance(value, str) and not _is_sendable(value):
            raise CleanerError(f"{name} is {value!r}; expected text in UTF-8")
    return fields


def _is_sendable(text: str) -> bool:
    """Return whether Jupyter can send a text to the page; file names that are not UTF-8 can be sent."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def null_if_nan(number: float) -> float | None:
    """Return a number as JSON takes it, which has no NaN."""
    return None if math.isnan(number) else number
