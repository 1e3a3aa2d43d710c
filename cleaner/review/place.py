"""The place where a reviewer was last: a small file, which is of use while it can be read and forgotten else."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import quote

__all__ = ["ORDERS", "SHOWS", "Place", "read_place", "write_place"]

SHOWS = ("all", "undecided", "decided", "keep", "delete", "relabel", "unsure")
"""What can be shown of a class: all of it, what is not decided, what is, or what has one decision."""

ORDERS = ("loss", "confidence", "name")
"""What the images of a class can be ordered by: highest loss first, least confident first, or by path."""

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a scan a reviewer is.

    Attributes:
        split, label: the class that is open.
        page: counted from 0.
        page_size: cards on a page.
        show: one of `SHOWS`.
        predicted: only what is predicted as this; empty for all.
        text: only what has this in its path, whatever the case; empty for all.
        order: one of `ORDERS`.
    """

    split: str
    label: str
    page: int = 0
    page_size: int = 30
    show: str = "all"
    predicted: str = ""
    text: str = ""
    order: str = "loss"


def read_place(manifest: Path, reviewer: str) -> Place | None:
    """The place that was written last; None where there is none, or none that makes sense as such.

    Whether the scan still has that place is for the caller to check.
    """
    for path in _files(manifest, reviewer):
        try:
            found = json.loads(path.read_bytes())
            known = {field.name: found[field.name] for field in fields(Place)}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # gone, torn or edited: the review begins at its beginning, which loses nothing
        if all(_has_type(name, value) for name, value in known.items()):
            return Place(**known)
    return None


def write_place(manifest: Path, reviewer: str, place: Place) -> str:
    """Write the place beside the manifest, or in the user's state folder where that is read-only.

    Returns:
        why it could be written nowhere; empty if it was written.
    """
    reason = "there is no folder for it"
    for path in _files(manifest, reviewer):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not synced: a place that is lost in a crash is no loss. But never half of one.
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(asdict(place)), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            reason = f"{error.strerror or error} ({path.name})"
        else:
            return ""
    return reason


def _files(manifest: Path, reviewer: str) -> list[Path]:
    """Where a place may stand: beside the manifest, and in the user's state folder."""
    name = quote(reviewer, safe=" ", errors="surrogatepass")
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(reviewer.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    beside = manifest.with_name(f"{manifest.name}.place-{name}.json")
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        return [beside]  # a user without a home
    scan = hashlib.sha256(os.fsencode(os.path.abspath(manifest))).hexdigest()[:16]
    return [beside, state / "cleaner" / f"{scan}-{beside.name}"]


def _has_type(name: str, value: object) -> bool:
    if name in ("page", "page_size"):
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)
