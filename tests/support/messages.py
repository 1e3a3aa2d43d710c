"""Messages from the page to the kernel."""

from __future__ import annotations

from typing import Any

# Valid messages; tests replace each of their fields by a wrong value.
OF_GRID: list[dict[str, Any]] = [
    {"kind": "turn", "page": 1},
    {"kind": "filter", "show": "undecided", "predicted": "dog", "text": "cat", "order": "name", "page_size": 7},
    {"kind": "move", "by": 1, "extend": True},
    {"kind": "point", "path": "train/cat/cat_02.png", "extend": True, "toggle": True},
    {"kind": "select", "what": "page"},
    {"kind": "decide", "path": "train/cat/cat_01.png", "action": "relabel", "new_label": "dog"},
    {"kind": "act", "serial": 1, "action": "relabel", "new_label": "dog"},
    {"kind": "keep_rest", "serial": 1},
    {"kind": "large", "path": "train/cat/cat_01.png"},
    *({"kind": kind} for kind in ("undo", "redo", "news", "ready")),
    {"kind": "reviewer", "name": "ben"},
]
OF_OVERVIEW: list[dict[str, Any]] = [{"kind": "ready"}, {"kind": "open", "label": "dog", "predicted": "fox"}]
