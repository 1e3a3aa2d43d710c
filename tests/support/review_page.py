"""The browser's side of the review, without a browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from cleaner.review.app import Review

FOREVER = 2**50
"""An `until` that does not pass."""


class Page:
    """The browser's side of the review: sends messages and records the replies."""

    def __init__(self, scan: Scan, page_size: int | None = 5, **options: Any) -> None:
        self.review = Review(scan, reviewer="anna", page_size=page_size, **options)
        self.replies: list[tuple[dict[str, Any], list[bytes]]] = []
        self.lists: list[dict[str, Any]] = []
        self.version = 0
        self.review.send = self._take

    def _take(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        if content["kind"] == "lists":
            self.lists.append(content)
            return
        self.version = content.get("version", self.version)
        self.replies.append((content, buffers or []))

    def say(self, content: object) -> dict[str, Any]:
        """Send a message and return the one reply to it."""
        before = len(self.replies)
        self.review._handle_custom_msg(content, [])
        (reply,) = self.replies[before:]
        return reply[0]

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a message with the fields that the page adds itself; return the reply."""
        added: dict[str, dict[str, Any]] = {
            "ready": {"page_size": 30, "columns": 6, "rows": 4, "pixels": 160},
            "fit": {"columns": 6, "rows": 4},
            "decide": {"version": self.version, "until": FOREVER},
            "resolve": {"version": self.version, "until": FOREVER},
            "undo": {"until": FOREVER},
            "redo": {"until": FOREVER},
        }
        return self.say({"kind": kind, "id": len(self.replies), **added.get(kind, {}), **fields})

    @property
    def last(self) -> tuple[dict[str, Any], list[bytes]]:
        return self.replies[-1]


def by_ben(scan: Scan, path: str, action: Action, new_label: str = "") -> None:
    """Append a decision of another reviewer, as from another process."""
    sha256, decided_at = sha256_of(scan.root / path), "2026-01-31T12:00:00Z"
    row = Decision(path, action, new_label=new_label, sha256=sha256, reviewer="ben", decided_at=decided_at)
    Manifest(scan.manifest_path).append(row)


def names(paths: Iterable[str]) -> list[int]:
    """Return the numbers in the names of images."""
    return [int(path[-6:-4]) for path in paths]
