"""Parts of a batch are computed at once, in order, and the threads of others are left alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier, Thread

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cleaner.scoring.model.threads import run_microbatches


@pytest.fixture(autouse=True, scope="module")
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(n=st.integers(1, 40), size=st.integers(1, 9))
def test_rows_come_in_the_order_of_the_samples(n: int, size: int) -> None:
    x = torch.arange(float(n)).reshape(n, 1)
    assert torch.equal(run_microbatches(lambda x, y: x + y, size)(x, 2 * x), 3 * x)


@pytest.mark.parametrize(("n", "parts"), [(64, [8] * 8), (16, [8, 8]), (6, [3, 3]), (5, [2, 2, 1]), (1, [1])])
def test_a_small_batch_gives_work_to_all_threads(n: int, parts: list[int]) -> None:
    sizes: list[int] = []
    run_microbatches(lambda x: (sizes.append(len(x)), x)[1], 8)(torch.zeros(n, 1))
    assert sorted(sizes, reverse=True) == parts


@pytest.mark.timeout(60)
def test_parts_are_computed_at_the_same_time() -> None:
    both = Barrier(2)

    def waits_for_the_other(x: Tensor) -> Tensor:
        both.wait(30)
        return x

    run_microbatches(waits_for_the_other, 3)(torch.zeros(6, 2))


def test_each_part_has_one_thread_and_others_keep_theirs() -> None:
    x = torch.zeros(8, 1)
    found = run_microbatches(lambda x: torch.full_like(x, torch.get_num_threads()), 2)(x)
    assert found.unique().tolist() == [1]
    later: list[int] = []
    other = Thread(target=lambda: later.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (torch.get_num_threads(), later) == (2, [2])


def test_the_threads_of_all_parts_record_no_gradients() -> None:
    with torch.no_grad():
        is_enabled = run_microbatches(lambda x: torch.full_like(x, torch.is_grad_enabled()), 2)(torch.zeros(8, 1))
    assert is_enabled.unique().tolist() == [0]


def test_what_fails_in_a_part_is_raised() -> None:
    def fails_at_the_end(x: Tensor) -> Tensor:
        if x.max() == 7:
            raise ValueError("seven")
        return x

    with pytest.raises(ValueError, match="seven"):
        run_microbatches(fails_at_the_end, 2)(torch.arange(8.0).reshape(8, 1))


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are copies of this one")
def test_a_copy_of_this_process_has_threads_of_its_own() -> None:
    doubled = run_microbatches(lambda x: 2 * x, 1)
    doubled(torch.ones(4, 1))
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), initializer=remember, initargs=(doubled,)) as pool:
        assert pool.submit(total_of_remembered).result(30) == 8


def remember(run: Callable[[Tensor], Tensor]) -> None:
    remembered.append(run)


def total_of_remembered() -> float:
    return float(remembered[-1](torch.ones(4, 1)).sum())


remembered: list[Callable[[Tensor], Tensor]] = []
