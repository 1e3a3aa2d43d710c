"""The messages between the page and the kernel, in one table; `js/src/protocol.ts` has the same one.

A message is a dictionary with a `kind`. Each message of the page has an `id`, a number, and gets one reply with the
same `id`: the one named in the table, or an `error`. Those that decide also say the `until` when the page waits for the
answer, in milliseconds of the kernel's `clock`: what arrives later is refused, as the page has told the reviewer that
it is not confirmed.

To the page:

    page       version, split, splits, label, list, page, pages, page_size, show, predicted, text, order, predictions,
               shown, first, cards, at; a buffer (JPEG) for each card with a `buffer`
    done       at: where the cursor belongs after an undo; else empty
    large      path, error; a buffer (JPEG) unless there is an error
    typical    path; images, each `path, title, caption, buffer`: typical images of the labels of an image, and those
               whose features are nearest; a buffer (JPEG) for each
    figures    split, label, matrix, edges, histogram, not_finite
    summary    lines: what was found in the open list, what is likely left, and after the last list how to go on
    lists      split, rows; sent before a page of another split, without an `id`
    error      message

Each of these but `lists` and `figures` also carries the state: `clock`; `version`; `since`, the version before what it
brings; `can_undo`, `can_redo`; `reviewer`; `counts`; `seconds` per decision, or null; `changed`, the cards of the page
that changed since they were sent; `decided`, the changed numbers of `[decided, kept]` by list; `note`; `warnings`,
problems that forbid nothing; `edited`, a text about acknowledged decisions that somebody removed from the manifest or
reordered, which `restore` puts back and `accept` drops; `history`, how many decisions were carried out, and when.

The `version` grows with each page, and with each reply that brings decisions of others. A decision names the images it
is about and the version that the reviewer looked at: nobody decides about an image or a decision they have not seen. A
page that has an earlier version than `since` has missed a reply, and asks for all cards again.

`resolve` decides about a group of copies, as one step to undo: its `paths` are all images of the group, which stand on
the open page; those in `kept` are kept, and the others deleted.

The `list` of a page is `class`, that of its label, or one of `all`, `unsure`, `disagreements`, `audit`, `unreadable`,
`issue`, images of all splits with one issue, and `groups`, groups of copies. Cards of the last four have no prediction
and no loss. `first` is the position of the page's first card in the list. In `groups` the cards of a group stand
together, the one to keep first, and only a group that is larger than a page is cut.

A card is `path, name, label, predicted, confidence, alternatives, loss, action, new_label, reviewer, decided_at, note`
and `others`, what other reviewers decided differently. Where images carry several labels, it also has `given`, the
labels that the image carries, `asked`, those that the audit sample asks about, and, as has each of the `others`,
`labels`, the labels after the decision, or null if it changes none. In the lists of issues it also has `split`;
`score`, 0 to 1, and `reason`, in words; `group`, the number of its group, or 0; `members`, the size of the group; and
`is_first`, whether it is suggested to be kept. In a page it also has `size`, that of the image, and `error`, why there
is no thumbnail, or `buffer`, the number of its thumbnail.

A row of the lists is `label, name, scored, otherwise, mean, kept, decided`, with null for what is not known. The matrix
has `labels`, the most confused ones; `cells`, lists of given and predicted label (positions in `labels`), count and
number of kept samples; and `left_out`, the number of wrong predictions in no cell. It is null if images carry several
labels or none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cleaner.core.errors import CleanerError

__all__ = ["DECIDING", "MESSAGES", "Messages", "null_if_nan", "read_fields", "read_header"]

_TYPE_NAMES = {str: "a text", int: "a whole number", list: "a list of texts"}


@dataclass(frozen=True, slots=True)
class _Field:
    type: type
    is_required: bool = True


_TEXT, _NUMBER, _TEXTS = _Field(str), _Field(int), _Field(list)
_OPTIONAL_TEXT = _Field(str, False)

Messages = Mapping[str, Mapping[str, _Field]]
"""For each kind of message its fields, without `kind` and `id`."""

MESSAGES: Messages = {
    # How many cards fit, how many columns and rows of them in lists of issues, and how many pixels the longest side of
    # a thumbnail takes on the screen.
    "ready": {"page_size": _NUMBER, "columns": _NUMBER, "rows": _NUMBER, "pixels": _NUMBER},  # page
    "fit": {"page_size": _NUMBER, "columns": _NUMBER, "rows": _NUMBER, "pixels": _NUMBER, "at": _TEXT},  # page
    "open": {"label": _TEXT, "split": _OPTIONAL_TEXT, "predicted": _OPTIONAL_TEXT},  # page
    "turn": {"page": _NUMBER},  # page
    "filter": {  # page
        "show": _OPTIONAL_TEXT,
        "predicted": _OPTIONAL_TEXT,
        "text": _OPTIONAL_TEXT,
        "order": _OPTIONAL_TEXT,
    },
    "decide": {  # done
        "version": _NUMBER,
        "until": _NUMBER,
        "paths": _TEXTS,
        "action": _TEXT,
        "new_label": _OPTIONAL_TEXT,
    },
    "resolve": {"version": _NUMBER, "until": _NUMBER, "paths": _TEXTS, "kept": _TEXTS},  # done
    "undo": {"until": _NUMBER},  # done, or page
    "redo": {"until": _NUMBER},  # done, or page
    "news": {},  # done
    "place": {"at": _TEXT},  # done
    "large": {"path": _TEXT},  # large
    "typical": {"path": _TEXT},  # typical
    "figures": {},  # figures
    "summary": {},  # summary
    "reviewer": {"name": _TEXT},  # done
    "restore": {},  # done
    "accept": {},  # done
}
"""The messages that the kernel takes, each with its reply."""

DECIDING = frozenset({"decide", "resolve", "undo", "redo"})
"""The messages whose errors begin with "Not saved"."""


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


def read_fields(message: Mapping[str, Any], table: Messages = MESSAGES) -> dict[str, Any]:
    """Return the fields of a message without kind and id, checked against a table.

    Raises:
        CleanerError: the kind or a field is unknown, a field is missing, or a value is of the wrong type or cannot be
            sent back to the page.
    """
    kind = message["kind"]
    fields: dict[str, Any] = {name: value for name, value in message.items() if name not in ("kind", "id")}
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
        if name in fields and not _has_type(fields[name], field.type):
            raise CleanerError(f"{name} is {fields[name]!r}; expected {_TYPE_NAMES[field.type]}")
    for name, value in fields.items():
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if isinstance(text, str) and not _is_sendable(text):
                raise CleanerError(f"{name} is {value!r}; expected text in UTF-8")
    return fields


def _has_type(value: Any, expected: type) -> bool:
    if isinstance(value, list):
        return expected is list and all(type(item) is str for item in value)
    return type(value) is expected


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
