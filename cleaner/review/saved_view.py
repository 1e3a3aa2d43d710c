"""The last view of each reviewer, in a small file that may get lost without harm."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from urllib.parse import quote

from cleaner.core.errors import CleanerError
from cleaner.review.view import View

__all__ = ["read_view", "write_view"]

_MAX_NAME = 80


def read_view(manifest: Path, reviewer: str) -> View | None:
    """Return the view that was written last; None if there is no valid one.

    The caller checks whether the scan still has that split, class and page.
    """
    for path in _candidate_files(manifest, reviewer):
        try:
            content = json.loads(path.read_bytes())
            return View(**{field.name: content[field.name] for field in fields(View)})
        except (OSError, ValueError, KeyError, TypeError, RecursionError, CleanerError):
            continue  # missing, torn or edited: the review then starts at its first page
    return None


def write_view(manifest: Path, reviewer: str, view: View) -> str:
    """Write a view beside the manifest, or into the user's state folder if that folder is read-only.

    Returns:
        why it could not be written; empty if it was.
    """
    reason = "no folder for it"
    for path in _candidate_files(manifest, reviewer):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Replaced as a whole but not synced: a view lost in a crash costs nothing.
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(asdict(view)), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            reason = f"{error.strerror or error} ({path.name})"
        else:
            return ""
    return reason


def _candidate_files(manifest: Path, reviewer: str) -> list[Path]:
    name = quote(reviewer, safe=" ", errors="surrogatepass")
    if len(name) > _MAX_NAME:
        name = hashlib.sha256(reviewer.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    beside = manifest.with_name(f"{manifest.name}.place-{name}.json")
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        return [beside]  # the user has no home folder
    scan = hashlib.sha256(os.fsencode(os.path.abspath(manifest))).hexdigest()[:16]
    return [beside, state / "cleaner" / f"{scan}-{beside.name}"]
