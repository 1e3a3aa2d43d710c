"""The counts against a plain Counter and scikit-learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch, Unreadable
from cleaner.core.tally import Tally

N_CLASSES = 4
PAIRS = st.tuples(st.integers(0, N_CLASSES - 1), st.integers(0, N_CLASSES - 1))
BATCHES = st.lists(st.tuples(st.lists(PAIRS, max_size=20), st.integers(0, 3)), min_size=1, max_size=8)
Pairs = list[tuple[int, int]]


def batch_of(pairs: Pairs, unreadable: int = 0) -> ScoredBatch:
    """A batch with these pairs of label and prediction."""
    labels, predicted = np.array(pairs, np.int64).reshape(-1, 2).T
    return ScoredBatch(
        [f"{n}.png" for n in range(len(pairs))],
        labels,
        np.zeros(len(pairs)),
        predicted,
        np.ones(len(pairs)),
        [Unreadable("all", "a", f"bad{n}.png", "truncated") for n in range(unreadable)],
    )


def tally_of(batches: list[tuple[Pairs, int]]) -> Tally:
    tally = Tally(N_CLASSES)
    for pairs, unreadable in batches:
        tally.update(batch_of(pairs, unreadable))
    return tally


@settings(deadline=None, max_examples=100)
@given(batches=BATCHES)
def test_batches_count_as_a_counter_and_as_scikit_learn_count(batches: list[tuple[Pairs, int]]) -> None:
    tally = tally_of(batches)
    pairs = [pair for batch, _ in batches for pair in batch]
    assert tally.result() == [(*pair, n) for pair, n in sorted(Counter(pairs).items())]
    assert (tally.scored, tally.unreadable) == (len(pairs), sum(unreadable for _, unreadable in batches))
    matrix = np.zeros((N_CLASSES, N_CLASSES), int)
    for label, predicted, n in tally.result():
        matrix[label, predicted] = n
    if pairs:
        labels, predictions = zip(*pairs, strict=True)
        assert (matrix == confusion_matrix(labels, predictions, labels=range(N_CLASSES))).all()


@settings(deadline=None, max_examples=100)
@given(batches=BATCHES, data=st.data())
def test_shards_merged_in_any_order_count_the_same(batches: list[tuple[Pairs, int]], data: st.DataObject) -> None:
    shards = [tally_of([batch]) for batch in batches]
    while len(shards) > 1:
        other = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        shards[data.draw(st.integers(0, len(shards) - 1))].merge(other)
    whole = tally_of(batches)
    assert shards[0].result() == whole.result()
    assert (shards[0].scored, shards[0].unreadable) == (whole.scored, whole.unreadable)


def test_cells_are_those_of_the_classes_and_memory_is_for_what_occurs() -> None:
    tally = Tally(1_000_000)
    tally.update(batch_of([(999_999, 0), (0, 999_999), (999_999, 0)]))
    assert tally.result() == [(0, 999_999, 1), (999_999, 0, 2)]


@pytest.mark.parametrize("pair", [(-1, 0), (0, -1), (N_CLASSES, 0), (0, N_CLASSES)])
def test_what_is_no_class_is_refused_and_nothing_counted(pair: tuple[int, int]) -> None:
    tally = tally_of([([(1, 2)], 1)])
    with pytest.raises(CleanerError, match="0 to 3 are accepted"):
        tally.update(batch_of([(0, 0), pair], unreadable=2))
    assert (tally.result(), tally.scored, tally.unreadable) == ([(1, 2, 1)], 1, 1)


@pytest.mark.parametrize("n_classes", [0, -1])
def test_no_classes_are_refused(n_classes: int) -> None:
    with pytest.raises(CleanerError, match="at least 1"):
        Tally(n_classes)


def test_counts_of_other_classes_are_not_merged() -> None:
    with pytest.raises(CleanerError, match="cannot merge"):
        Tally(N_CLASSES).merge(Tally(N_CLASSES + 1))
