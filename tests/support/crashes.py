"""Processes and moves that are interrupted."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cleaner.apply import moves


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, after: bool = False) -> Iterator[None]:
    """Raise `KeyboardInterrupt` before the `at`-th move, or `after` it."""
    count = 0
    move = moves.move

    def counting(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == at and not after:
            raise KeyboardInterrupt
        move(source, target)
        if count == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moves, "move", counting)
        yield


CHANGING = ("replace", "rename", "link", "unlink", "mkdir", "rmdir", "fsync", "truncate")


def in_a_process_that_dies(at: int, call: Callable[[], object], system: Callable[[pytest.MonkeyPatch], None]) -> bool:
    """Run a call in a process that ends before its `at`-th change of a file; return whether it ended so."""
    child = os.fork()
    if child == 0:
        count = 0

        def dying(function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    os._exit(9)
                return function(*args, **options)

            return wrapped

        try:
            patch = pytest.MonkeyPatch()
            system(patch)
            for name in CHANGING:
                patch.setattr(os, name, dying(getattr(os, name)))
            if moves._rename_noreplace is not None:
                patch.setattr(moves, "_rename_noreplace", dying(moves._rename_noreplace))
            call()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def one_step(_: pytest.MonkeyPatch) -> None:
    """Leave moves as they are on this system."""


def by_links(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moves, "_rename_noreplace", None)


def by_placeholders(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    by_links(patch)
    patch.setattr(os, "link", refuse)


def killed_in(call: Callable[[], object], seconds: float, begun: Callable[[], bool] = lambda: True) -> bool:
    """Run a call in its own process and kill that some seconds after it began; return False if it ended before."""
    child = os.fork()
    if child == 0:
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    ended, since = (0, 0), None
    while ended == (0, 0) and (since is None or time.perf_counter() < since + seconds):
        since = time.perf_counter() if since is None and begun() else since
        ended = os.waitpid(child, os.WNOHANG)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(ended[1])
    assert status in (0, -signal.SIGKILL), "the call failed by itself"
    return status != 0
