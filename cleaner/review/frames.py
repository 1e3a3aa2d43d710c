"""Validation of the messages on a kernel's web socket, before Jupyter's own readers see them.

Those readers trust the counts and offsets in a message: a count of 10^17 keeps the server busy for ever.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise

from cleaner.core.errors import CleanerError

__all__ = ["PROTOCOL", "check_frame", "offered_protocols"]

PROTOCOL = "v1.kernel.websocket.jupyter.org"

_PARTS = ("header", "parent header", "metadata", "content")
_MIN_OFFSETS = len(_PARTS) + 2  # plus the start of the channel's name and the end of the last part


def check_frame(frame: bytes | str) -> None:
    """Check a message of the v1 protocol: count, offsets, channel, four JSON objects, any number of buffers.

    Raises:
        CleanerError: the message is malformed.
    """
    if not isinstance(frame, bytes):
        raise CleanerError("Expected a binary message, got a text")
    offsets = _read_offsets(frame)
    try:
        frame[offsets[0] : offsets[1]].decode("utf-8")
        parts = [json.loads(frame[start:end]) for start, end in pairwise(offsets[1:_MIN_OFFSETS])]
    except (ValueError, RecursionError) as error:
        raise CleanerError("Expected UTF-8 and JSON in the message") from error
    for name, part in zip(_PARTS, parts, strict=True):
        if not isinstance(part, dict):
            raise CleanerError(f"Expected a JSON object as {name}, got {type(part).__name__}")
    if not isinstance(parts[0].get("msg_type"), str):
        raise CleanerError("Expected a header with the message's type")


def _read_offsets(frame: bytes) -> tuple[int, ...]:
    """Return where the parts of a message begin, and where the last one ends."""
    count = int.from_bytes(frame[:8], "little")
    table_end = 8 * (count + 1)
    if count < _MIN_OFFSETS or table_end > len(frame):
        raise CleanerError(f"Expected {_MIN_OFFSETS} offsets or more within the message, got {count}")
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    bounds = (table_end, *offsets, len(frame))
    if any(start > end for start, end in pairwise(bounds)):
        raise CleanerError("Expected ascending offsets within the message")
    return offsets


def offered_protocols(header: str) -> set[str]:
    """Return the names in a `Sec-WebSocket-Protocol` header."""
    return {name.strip() for name in header.split(",")}
