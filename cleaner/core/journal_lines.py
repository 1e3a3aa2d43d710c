"""The lines of a journal: JSON, written whole or not at all, and signed with a key that only this user has."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cleaner.core.errors import CleanerError
from cleaner.core.files import regular_handle, remove_leftovers, write_whole
from cleaner.core.settings import journal_key

__all__ = ["append_line", "doubt_of", "parse_lines", "read_content", "write_lines"]

_SIGNATURE = "signature"


def write_lines(
    path: Path, header: Mapping[str, object], lines: Iterable[Mapping[str, object]], *, signed: bool
) -> None:
    """Write the lines of a journal, whole or not at all; without a readable key it is written unsigned."""
    content = b"".join(map(_line, (header, *lines)))
    _write(path, _signed(content) if signed else content)


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Add a line to a journal, whole or not at all; sign it again if its signature was valid."""
    try:
        whole = read_content(path)
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    # A torn last line is dropped; see `parse_lines`.
    content = whole[: whole.rfind(b"\n") + 1] + _line(line)
    _write(path, content if doubt_of(whole) else _signed(content))


def read_content(path: Path) -> bytes:
    """Return the bytes of a journal, which must be a regular file."""
    handle, _ = regular_handle(path)
    with os.fdopen(handle, "rb") as file:
        return file.read()


def parse_lines(content: bytes) -> list[dict[str, Any]]:
    """Parse the lines of a journal; raise ValueError or RecursionError if they are not JSON objects."""
    # A torn last line can only be a state that was not reached: operations are written whole before they are done.
    return [_parsed(line) for line in content.decode("utf-8").split("\n")[:-1]]


def doubt_of(content: bytes) -> str:
    """Say why a journal may not be written by this user; empty if the signature shows that it is."""
    content = content[: content.rfind(b"\n") + 1]
    try:
        first, rest = content.split(b"\n", 1)
        header = _parsed(first.decode("utf-8"))
        signature = header.get(_SIGNATURE)
        if not isinstance(signature, str):
            return "it has no signature; version 0.1 wrote none, nor does a user without a settings folder"
        key = journal_key(make=False)
        expected = _signature(header, rest, key)
    except (OSError, ValueError, RecursionError) as error:
        return f"its signature cannot be checked: {error}"
    if not key or not hmac.compare_digest(expected, signature if signature.isascii() else ""):
        return "somebody else wrote it, or it was edited since"
    return ""


def _signed(content: bytes) -> bytes:
    """Return the content of a journal with this user's signature, or unsigned if there is no key."""
    try:
        key = journal_key(make=True)
    except (OSError, ValueError):
        # The apply goes on and reports this; undo asks before it trusts the journal.
        key = b""
    first, rest = content.split(b"\n", 1)
    header = _parsed(first.decode("utf-8"))
    header.pop(_SIGNATURE, None)
    if key:
        header[_SIGNATURE] = _signature(header, rest, key)
    return _line(header) + rest


def _signature(header: Mapping[str, object], rest: bytes, key: bytes) -> str:
    unsigned = _line({name: value for name, value in header.items() if name != _SIGNATURE})
    return hmac.new(key, unsigned + rest, hashlib.sha256).hexdigest()


def _line(line: Mapping[str, object]) -> bytes:
    return (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8")


def _parsed(line: str) -> dict[str, Any]:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError(f"{line[:80]!r} is not a JSON object")
    return entry


def _write(path: Path, content: bytes) -> None:
    remove_leftovers(path.parent)
    try:
        write_whole(path, content)
    except OSError as error:
        raise CleanerError(f"{str(path)!r} cannot be written: {error.strerror}") from error
