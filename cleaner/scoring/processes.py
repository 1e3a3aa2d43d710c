"""The processes of a distributed training, as `torchrun` starts them; a training in one process is the first of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cleaner.core.errors import CleanerError

__all__ = ["from_all", "on_first", "rank_and_count"]

_Result = TypeVar("_Result")


def rank_and_count() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are."""
    import torch.distributed as processes

    if not (processes.is_available() and processes.is_initialized()):
        return 0, 1
    return processes.get_rank(), processes.get_world_size()


def on_first(run: Callable[[], _Result]) -> _Result | None:
    """Run a function in the first process, and return its result there; all wait until it has ended.

    Raises:
        CleanerError: it raised this in the first process; all raise it.
    """
    rank, count = rank_and_count()
    if count == 1:
        return run()
    result, problem = None, ""
    try:
        result = run() if rank == 0 else None
    except (CleanerError, OSError) as error:
        problem = str(error) or type(error).__name__
    if found := from_all(problem)[0]:
        raise CleanerError(found)
    return result


def from_all(value: Any) -> list[Any]:
    """Return the values of all processes, which wait for each other."""
    import torch.distributed as processes

    _, count = rank_and_count()
    if count == 1:
        return [value]
    values: list[Any] = [None] * count
    processes.all_gather_object(values, value)
    return values
