"""A pass with errors and a second look at its candidates give what an exact pass gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.records import ScoredBatch
from cleaner.core.tally import Tally
from cleaner.core.topk import TopLosses
from cleaner.scoring.checkpoint import Part
from cleaner.scoring.rescore import Candidates, rescore


class Fake:
    """A source of made-up losses, whose fast way is off by up to `error`."""

    def __init__(self, labels: np.ndarray, losses: np.ndarray, errors: np.ndarray) -> None:
        self.root, self.vocab, self.splits = Path(), ("a", "b", "c"), ("all",)
        self.settings: dict[str, Any] = {}
        self.ways = {"fast": "int8"}
        self._labels, self._losses, self._errors = labels, losses, errors
        self.scored = 0

    def identity(self) -> dict[str, Any]:
        return {}

    def count(self, split: str) -> int:
        return len(self._labels)

    def paths(self, split: str) -> Iterator[str]:
        return (f"{i:04d}.jpg" for i in range(len(self._labels)))

    def score(
        self,
        split: str,
        consume: Callable[[ScoredBatch], None],
        *,
        skip: int = 0,
        fast: bool = False,
        only: Callable[[str, Callable[[], str]], bool] | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        paths = list(self.paths(split))
        wanted = [
            i for i, path in enumerate(paths) if only is None or only(path, lambda i=i: self.vocab[self._labels[i]])
        ]
        self.scored += len(wanted)
        for some in np.array_split(np.array(wanted, int), 1 + len(wanted) // 4):
            losses = self._losses[some] + (self._errors[some] if fast else 0)
            consume(ScoredBatch([paths[i] for i in some], self._labels[some], losses, self._labels[some], losses * 0))


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 60))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    # Few different losses, so that ties and near ties are common.
    losses = draw(st.lists(st.integers(0, 30), min_size=n, max_size=n))
    # The largest error is one that is seen: among the candidates.
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=n, max_size=n))
    size = draw(st.sampled_from([0.0, 0.01, 0.2, 3.0]))
    return np.array(labels, np.int64), np.array(losses) / 10, np.array(signs) * size


@given(samples(), st.integers(1, 5), st.integers(0, 5))
def test_the_best_k_and_their_losses_are_the_exact_ones(
    made: tuple[np.ndarray, np.ndarray, np.ndarray], k: int, extra: int
) -> None:
    labels, losses, errors = made
    source = Fake(labels, losses, errors)
    exact, part = TopLosses(3, k), Part("all", TopLosses(3, k + extra), Tally(3))
    source.score("all", exact.update)
    source.score("all", part.update, fast=True)
    source.scored = 0
    seen = rescore(source, part, k)
    assert part.heaps.result() == exact.result()
    assert seen["scored_twice"] == round(source.scored / len(labels), 4)
    assert 0 <= seen["margin"] <= extra
    assert seen["error"] <= np.abs(errors).max() + 1e-9


def test_a_wide_enough_margin_spares_the_second_look_at_whole_classes() -> None:
    random = np.random.default_rng(0)
    labels, losses = random.integers(0, 3, 3000), random.exponential(size=3000)
    source = Fake(labels, losses, random.uniform(-0.01, 0.01, 3000))
    part = Part("all", TopLosses(3, 40), Tally(3))
    source.score("all", part.update, fast=True)
    source.scored = 0
    seen = rescore(source, part, 20)
    assert seen["classes_scored_twice"] == []
    assert 3 * 20 <= source.scored <= 3 * 24


def test_where_no_lower_precision_is_quicker_nothing_is_scored_twice() -> None:
    labels, losses = np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0])
    source = Fake(labels, losses, np.zeros(3))
    source.ways = {"fast": "traced"}
    part = Part("all", TopLosses(3, 3), Tally(3))
    source.score("all", part.update, fast=True)
    source.scored = 0
    assert rescore(source, part, 1)["scored_twice"] == 0
    assert source.scored == 0
    assert [[kept.path for kept in ranked] for ranked in part.heaps.result()] == [["0001.jpg"], ["0002.jpg"], []]


def test_candidates_are_what_the_heaps_have() -> None:
    heaps, labels = TopLosses(2, 1), np.array([0, 1])
    candidates = Candidates(heaps)

    def among(paths: list[str], losses: list[float]) -> set[str]:
        batch = ScoredBatch(paths, labels, np.array(losses), labels, np.zeros(2))
        heaps.update(batch)
        return candidates.among(batch)

    assert among(["a", "b"], [3.0, 1.0]) == {"a", "b"}
    assert (among(["c", "d"], [2.0, 4.0]), candidates.so_far()) == ({"c", "d"}, {"a", "d"})
    assert (among(["e", "f"], [1.0, 5.0]), candidates.so_far()) == ({"f"}, {"a", "f"})
