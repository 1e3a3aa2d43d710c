"""The number of worker processes that a machine can run, and the way they start."""

from __future__ import annotations

import multiprocessing
import os

__all__ = ["cores", "processes_fork"]

_MAX_CORES = 16


def cores() -> int:
    """Return the number of cores that this process may use, at most 16, as many workers as fastai starts."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MAX_CORES, own or 1)


def processes_fork() -> bool:
    """Return whether a process that is started is a copy of this one; others import the user's script again."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return method == "fork"
