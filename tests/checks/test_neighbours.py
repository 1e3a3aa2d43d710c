"""Searches of neighbours: the exact one finds what brute force finds, and the index nearly all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.checks import neighbours
from cleaner.checks.neighbours import nearest, nearest_by_index


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.9]))
def test_the_nearest_are_those_of_a_full_sort(n: int, k: int, seed: int, floor: float) -> None:
    _check_nearest(n, k, seed, floor, 7, 5)


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_of_equal_vectors_as_many_are_found(n: int, k: int, seed: int) -> None:
    values = np.eye(3, dtype=np.float32)[np.random.default_rng(seed).integers(0, 3, n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_QUERIES", 7)
        patch.setattr(neighbours, "_VECTORS", 5)
        found = np.concatenate([np.empty((0, 2), int), *nearest(*[lambda a, b: values[a:b]] * 2, n, k, 0.5)])
    assert (values[found[:, 0]] == values[found[:, 1]]).all()
    assert (found[:, 0] != found[:, 1]).all()
    assert len(set(map(tuple, found.tolist()))) == len(found)
    same = (values @ values.T).sum(axis=1) - 1
    assert (np.bincount(found[:, 0], minlength=n) == np.minimum(k, same)).all()


def test_the_nearest_of_20_000_are_those_of_brute_force() -> None:
    _check_nearest(20_000, 3, 0, 0.2, neighbours._QUERIES, neighbours._VECTORS)


def _check_nearest(n: int, k: int, seed: int, floor: float, queries: int, vectors: int) -> None:
    values = np.random.default_rng(seed).normal(size=(n, 24)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_QUERIES", queries)
        patch.setattr(neighbours, "_VECTORS", vectors)
        blocks = list(nearest(lambda a, b: values[a:b], lambda a, b: values[a:b], n, k, floor))
    found = {(int(query), int(near)) for block in blocks for query, near in block}
    expected = set()
    for start in range(0, n, 1000):
        cosines = values[start : start + 1000] @ values.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -1
        best = np.argpartition(-cosines, min(k, n - 1), axis=1)[:, :k]
        rows, columns = np.nonzero(np.take_along_axis(cosines, best, axis=1) > floor)
        expected |= set(zip((start + rows).tolist(), best[rows, columns].tolist(), strict=True))
    assert found == expected


def pairs_of(search: Callable[..., Iterator[np.ndarray]], values: np.ndarray, floor: float) -> list[tuple[int, int]]:
    """Return the pairs of three nearest that a search yields for unit vectors [n, m]."""

    def vectors(begin: int, end: int) -> np.ndarray:
        return values[begin:end]

    return [tuple(pair) for block in search(vectors, vectors, len(values), 3, floor) for pair in block.tolist()]


def test_an_index_finds_98_in_100_of_the_pairs_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="needs usearch, which the extra test brings")
    monkeypatch.setattr(neighbours, "_INDEXED", 8_000)
    random = np.random.default_rng(0)
    values = random.normal(size=(20_000, 16)).astype(np.float32)
    values[1::4] = values[::4] + random.normal(size=(5_000, 16)) / 4
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    exact, found = (set(pairs_of(search, values, 0.5)) for search in (nearest, nearest_by_index))
    assert len(exact) > 50_000
    assert len(exact & found) >= 0.98 * len(exact)
    assert len(found) <= len(exact)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 2, 11])
def test_plain_pictures_are_in_no_index(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="needs usearch, which the extra test brings")
    monkeypatch.setattr(neighbours, "_INDEXED", 5)
    monkeypatch.setattr(neighbours, "_BLOCK", 5)
    values = np.zeros((n, 4), np.float32)
    assert pairs_of(nearest_by_index, values, 0.5) == []
    values[-2:] = 0.5
    assert n == 0 or len(neighbours._index(lambda a, b: values[a:b], 0, n, n)) == min(n, 2)
    assert pairs_of(nearest_by_index, values, 0.5) == ([(n - 2, n - 1), (n - 1, n - 2)] if n > 1 else [])
