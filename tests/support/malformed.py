"""Malformed values and bytes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    None, True, 1, -1, 1.5, 10**30, math.inf, "x", "\0", "\ud800", "../x", "/", "x" * 5000,
    [], [1], ["a"], [[]], [None], {}, {"a": 1}, {"a": {"b": []}},
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys and indices that lead to each field of a nested value, such as a line of a journal."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, key)
        if isinstance(each, (dict, list)):
            yield from places(each, (*at, key))


TABLE = b'fname,label,note\r\ncat/1.png,cat,"a, b"\r\ncat/2.png,cat,\r\ndog/1.png,dog,x\r\n'


def broken(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yield damaged copies of a text file without end: first a fixed list, then random ones."""
    lines = data.splitlines(keepends=True)
    middle = len(data) // 2
    yield b""
    yield b"\0" * 64
    yield b"\xff\xfe" + data
    yield data.decode().encode("utf-16")
    yield data[:middle] + b"\xff\xfe\xfd" + data[middle:]
    yield data[:middle] + b"\0" + data[middle:]
    yield b"".join(lines[1:])
    yield lines[0]
    yield lines[0].replace(b",", b";") + b"".join(lines[1:])
    yield data + b'"'
    yield data.replace(b"\n", b"\n\n\n") + b'"never closed\n1,2'
    yield b"<html><body>404 Not found</body></html>\n"
    yield b"PK\x03\x04" + bytes(chance.randrange(256) for _ in range(200))
    yield bytes(chance.randrange(256) for _ in range(300))
    yield b"[" * 100_000
    yield b"," * 5000
    yield data.replace(b",", b"\t")
    yield data.replace(b'"', b"'")
    yield lines[0] + b"".join(line.rstrip(b"\r\n") + b",more,and more\n" for line in lines[1:])
    yield lines[0] + b"".join(line.partition(b",")[2] for line in lines[1:])
    while True:
        kind, at = chance.randrange(4), chance.randrange(len(data))
        if kind == 0:
            yield data[:at]
        elif kind == 1:
            yield data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            until = min(len(data), at + chance.randrange(1, 40))
            yield data[:at] + data[until:]
        else:
            cells = data.split(b",")
            cells[chance.randrange(len(cells))] = chance.choice(
                [b"", b"-1", b"1e999", b"../../etc/passwd", b"/etc/passwd", b"x" * 70_000, b"\r", b'"', b"=1+1", b"{}"]
            )
            yield b",".join(cells)
