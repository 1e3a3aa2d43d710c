"""A process without torch, for tests that fork hundreds of times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, wraps
from multiprocessing import get_context, parent_process


def in_a_light_process(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in another process: forks of this one, which has loaded torch, take more than ten times as long.

    The fixtures and parameters of the test are pickled.
    """

    @wraps(test)
    def run(**arguments: object) -> None:
        if parent_process() is None:
            _pool().submit(run, **arguments).result()
        else:
            assert "torch" not in sys.modules, f"{test.__module__} loads torch, which makes forks slow"
            test(**arguments)

    return run


@cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"))
