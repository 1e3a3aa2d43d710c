"""Messages from the page to the kernel."""

from __future__ import annotations

from typing import Any

from tests.support.review_page import FOREVER

# Valid messages, of each kind at least one, that can be carried out in this order if the scan has the group of copies
# that one of them is about; tests replace each of their fields by a wrong value. The version of a decision is that of
# the page then.
OF_PAGE: list[dict[str, Any]] = [
    {"kind": "ready", "page_size": 5, "columns": 3, "rows": 2, "pixels": 160},
    {"kind": "turn", "page": 1},
    {"kind": "open", "label": "cat", "split": "train", "predicted": "dog"},
    {"kind": "fit", "page_size": 7, "columns": 3, "rows": 2, "pixels": 300, "at": "train/cat/cat_02.png"},
    {"kind": "place", "at": "train/cat/cat_02.png"},
    {
        "kind": "decide",
        "version": 1,
        "until": FOREVER,
        "paths": ["train/cat/cat_01.png"],
        "action": "relabel",
        "new_label": "dog",
    },
    {"kind": "undo", "until": FOREVER},
    {"kind": "redo", "until": FOREVER},
    {"kind": "open", "label": "\0issue:copy", "split": "train", "predicted": ""},
    {
        "kind": "resolve",
        "version": 1,
        "until": FOREVER,
        "paths": ["train/cat/cat_01.png", "train/cat/cat_02.png"],
        "kept": ["train/cat/cat_01.png"],
    },
    {"kind": "filter", "show": "undecided", "predicted": "dog", "text": "cat", "order": "name"},
    {"kind": "large", "path": "train/cat/cat_01.png"},
    {"kind": "typical", "path": "train/cat/cat_01.png"},
    {"kind": "reviewer", "name": "ben"},
    *({"kind": kind} for kind in ("news", "figures", "summary", "restore", "accept")),
]
