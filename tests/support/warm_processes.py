"""Processes that start with torch loaded, which saves each of them seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any


def start(call: Callable[..., object], *arguments: object, log: Path) -> BaseProcess:
    """Call a function of a module in another process, whose output goes to the file `log`."""
    process: BaseProcess = _context().Process(target=_logged, args=(log, call, *arguments))
    process.start()
    return process


def exit_code(call: Callable[..., object], *arguments: object, log: Path) -> int | None:
    """Call a function as `start` does and wait; return the exit code, or minus the signal that killed the process."""
    process = start(call, *arguments, log=log)
    process.join()
    return process.exitcode


def _logged(log: Path, call: Callable[..., object], *arguments: object) -> None:
    # Else the workers of a scan would come from a fork server of its own, which loads torch and outlives the scan.
    set_start_method("fork", force=True)
    with open(log, "wb") as file:
        for output in (1, 2):
            os.dup2(file.fileno(), output)
    call(*arguments)


@cache
def _context() -> Any:
    """Return a context whose processes are forks of a process that has loaded torch, and not fastai."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torchvision.datasets", "cleaner.scoring.engine", "tests.support.torch_models"])
    return context
