"""Runs a function over files in worker processes, in order; a file that ends its process is reported, and no more."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from cleaner.core.files import RefusedFile
from cleaner.core.workers import cores, processes_fork

__all__ = ["Outcome", "default_workers", "run_over"]

# Files that a worker gets at once, and how many of these each worker has waiting.
_CHUNK, _WAITING = 32, 3
_FATAL = "reading it ended the process: its decoder crashed or took all memory"


class Outcome(NamedTuple):
    """The value that the function returned for a file, or the reason why it failed.

    Attributes:
        value: None if it failed.
        error: empty if it did not.
    """

    value: Any
    error: str = ""


def default_workers() -> int:
    """Return a process per core where processes are forked; else 0, as others would run the user's script again."""
    return cores() if processes_fork() else 0


def run_over(function: Callable[[str], Any], files: Iterable[str], workers: int) -> Iterator[Outcome]:
    """Yield the outcome of a function for each file, in order.

    Args:
        function: at module level, so that it can be sent to a process.
        files: taken as they are needed.
        workers: number of processes; 0 to run in this one.
    """
    rest = iter(files)
    if workers == 0:
        yield from (_outcome(function, file) for file in rest)
        return
    waiting: deque[tuple[list[str], Future[list[Outcome]]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < _WAITING * workers and (chunk := list(islice(rest, _CHUNK))):
                waiting.append((chunk, _submitted(pool, function, chunk)))
            if not waiting:
                return
            try:
                outcomes = waiting[0][1].result()
            except BrokenProcessPool:
                pool.shutdown()
                pool = _pool(workers)
                # Which of these files ended a process is not known yet.
                suspects = [file for chunk, _ in waiting for file in chunk]
                waiting.clear()
                yield from _one_by_one(function, suspects)
                continue
            waiting.popleft()
            yield from outcomes
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(function: Callable[[str], Any], files: Iterable[str]) -> Iterator[Outcome]:
    """Yield the outcome of each file; one that ends the process gets an error of its own."""
    pool = _pool(1)
    try:
        for file in files:
            try:
                yield pool.submit(_outcome, function, file).result()
            except BrokenProcessPool:
                pool.shutdown()
                pool = _pool(1)
                yield Outcome(None, _FATAL)
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, function: Callable[[str], Any], chunk: list[str]) -> Future[list[Outcome]]:
    try:
        return pool.submit(_outcomes, function, chunk)
    except BrokenProcessPool as error:  # a worker has just ended; the result of an earlier chunk will say so too
        failed: Future[list[Outcome]] = Future()
        failed.set_exception(error)
        return failed


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, initializer=_prepare)


def _prepare() -> None:
    # Pillow warns at half the number of pixels that are accepted.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _outcomes(function: Callable[[str], Any], files: list[str]) -> list[Outcome]:
    return [_outcome(function, file) for file in files]


def _outcome(function: Callable[[str], Any], file: str) -> Outcome:
    try:
        return Outcome(function(file))
    except RefusedFile as error:
        return Outcome(None, error.strerror or "it was refused")
    except UnidentifiedImageError:  # its message names an open file by a number
        return Outcome(None, "UnidentifiedImageError: it is no image, or one whose beginning is damaged")
    except Exception as error:  # noqa: BLE001 - decoders raise anything for a broken file
        return Outcome(None, " ".join(f"{type(error).__name__}: {error}".split()))
