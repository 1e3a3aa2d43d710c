"""Reads and checks `scan.json`, the description of the scan in a folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.scan_files import DESCRIPTION
from cleaner.core.suffixes import check_counts
from cleaner.core.tasks import SINGLE_LABEL, check_task

__all__ = ["FORMAT", "read_description"]

FORMAT = 1
_FIELDS: dict[str, type] = {
    "root": str,
    "vocab": list,
    "splits": list,
    "k": int,
    "scored": dict,
    "unreadable": dict,
    "left_out": dict,
    "ranked_by": str,
    "task": str,
    "label_delim": str,
    "settings": dict,
    "versions": dict,
    "started": str,
    "finished": str,
    "generation": str,
}
# Scans of earlier versions lack these.
_DEFAULTS: dict[str, Any] = {"task": SINGLE_LABEL, "label_delim": "", "left_out": {}, "generation": ""}
# Part of the name of a hidden folder; empty in scans of version 0.1.
_GENERATION = re.compile("[0-9a-f]{0,64}")


def _advice(folder: Path) -> str:
    """Return what to do about a folder without a scan."""
    if any((folder / name).exists() for name in ("checkpoint", "checking")):
        return "a scan or check was stopped there, and goes on when it is called again"
    return "cleaner.scan or cleaner.check makes one"


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of `scan.json` in a scan folder, with all its fields.

    Raises:
        CleanerError: the folder holds no finished scan, or a field is invalid.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CleanerError(
            f"{str(folder)!r} is not the folder of a finished scan: it has no {path.name}; {_advice(folder)}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else type(description).__name__
        raise CleanerError(f"{str(path)!r} has format {found!r}; this version reads format {FORMAT}")
    description = {**_DEFAULTS, **description}
    try:
        _check_fields(description)
        check_task(description["task"], description["label_delim"], description["vocab"])
        check_counts(description["left_out"], "left_out")
    except CleanerError as error:
        raise CleanerError(f"{str(path)!r}: {error}") from error
    return description


def _check_fields(description: Mapping[str, Any]) -> None:
    """Check the type of each field, and the values that depend on no other field."""
    for name, kind in _FIELDS.items():
        _check(description, name, isinstance(description.get(name), kind), f"type {kind.__name__}")
    _check(description, "root", _can_be_path(description["root"]), "a path or an address")
    for name in ("vocab", "splits"):
        texts = description[name]
        is_distinct = all(isinstance(text, str) for text in texts) and len(set(texts)) == len(texts)
        _check(description, name, is_distinct, "a list of different texts")
    _check(description, "generation", bool(_GENERATION.fullmatch(description["generation"])), "hexadecimal digits")
    are_counted = all(isinstance(description["scored"].get(split), int) for split in description["splits"])
    _check(description, "scored", are_counted, "a number for each split")


def _check(description: Mapping[str, Any], name: str, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise CleanerError(f"{name} is {description.get(name)!r}; expected {expected}")


def _can_be_path(text: str) -> bool:
    """Return whether some system can have a path of this text."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
