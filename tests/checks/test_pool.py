"""Outcomes come in the order of the files, and a file that ends its process is the only one that is lost."""

from __future__ import annotations

import os
import signal

import pytest

from cleaner.checks.pool import Outcome, run_over
from cleaner.core.files import RefusedFile


def _read(file: str) -> int:
    number = int(file)
    if number % 50 == 7:
        raise ValueError(f"no {file}\nat all")
    if number % 50 == 9:
        raise RefusedFile("it is a program")
    if number in (100, 131, 132):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _expected(file: str) -> Outcome:
    if int(file) % 50 == 7:
        return Outcome(None, f"ValueError: no {file} at all")
    return Outcome(None, "it is a program") if int(file) % 50 == 9 else Outcome(int(file))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 99])
def test_outcomes_come_in_the_order_of_the_files(n: int, workers: int) -> None:
    files = list(map(str, range(n)))
    assert list(run_over(_read, files, workers)) == list(map(_expected, files))


@pytest.mark.parametrize("workers", [1, 2])
def test_only_the_files_that_end_their_process_are_lost(workers: int) -> None:
    files = list(map(str, range(300)))
    outcomes = list(run_over(_read, files, workers))
    lost = [file for file, outcome in zip(files, outcomes, strict=True) if "ended the process" in outcome.error]
    assert lost == ["100", "131", "132"]
    assert all(outcome == _expected(file) for file, outcome in zip(files, outcomes, strict=True) if file not in lost)


def test_files_are_taken_as_they_are_needed() -> None:
    taken: list[str] = []
    outcomes = run_over(_read, (taken.append(str(n)) or str(n) for n in range(10_000)), 1)
    next(outcomes)
    assert len(taken) < 1000
    outcomes.close()
