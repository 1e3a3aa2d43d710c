"""The counts against a plain Counter and scikit-learn."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from cleaner.core.errors import CleanerError
from cleaner.core.records import LOSS_EDGES, ScoredBatch, Unreadable
from cleaner.core.tally import MAX_LOSS, Tally

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


Row = tuple[int, int, float]
ROWS = st.tuples(
    st.integers(0, N_CLASSES - 1),
    st.integers(0, N_CLASSES - 1),
    st.one_of(st.floats(), st.floats(0, 30, width=32), st.sampled_from([*LOSS_EDGES, MAX_LOSS])),
)


def losses_of(batches: list[list[Row]]) -> Tally:
    """The counts of batches of label, prediction and loss."""
    tally = Tally(N_CLASSES)
    for rows in batches:
        labels, predicted, losses = zip(*rows, strict=True) if rows else ((), (), ())
        paths = [f"{n}.png" for n in range(len(rows))]
        columns = (np.array(labels, np.int64), np.array(losses, np.float64), np.array(predicted, np.int64))
        tally.update(ScoredBatch(paths, *columns, np.ones(len(rows))))
    return tally


def told(tally: Tally) -> list[str]:
    """What it says of each class, bit for bit; a NaN equals a NaN."""
    return [repr(each) for each in tally.classes()]


def tally_of(batches: list[tuple[Pairs, int]]) -> Tally:
    tally = Tally(N_CLASSES)
    for pairs, unreadable in batches:
        tally.update(batch_of(pairs, unreadable))
    return tally


@given(batches=BATCHES)
def test_counts_equal_those_of_a_counter_and_of_scikit_learn(batches: list[tuple[Pairs, int]]) -> None:
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


@given(batches=BATCHES, data=st.data())
def test_shards_merged_in_any_order_give_the_same_counts(batches: list[tuple[Pairs, int]], data: st.DataObject) -> None:
    shards = [tally_of([batch]) for batch in batches]
    while len(shards) > 1:
        other = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        shards[data.draw(st.integers(0, len(shards) - 1))].merge(other)
    whole = tally_of(batches)
    assert shards[0].result() == whole.result()
    assert (shards[0].scored, shards[0].unreadable) == (whole.scored, whole.unreadable)


def test_memory_grows_only_with_the_cells_that_occur() -> None:
    tally = Tally(1_000_000)
    tally.update(batch_of([(999_999, 0), (0, 999_999), (999_999, 0)]))
    assert tally.result() == [(0, 999_999, 1), (999_999, 0, 2)]


@pytest.mark.parametrize("pair", [(-1, 0), (0, -1), (N_CLASSES, 0), (0, N_CLASSES)])
def test_an_unknown_class_is_refused_and_nothing_is_counted(pair: tuple[int, int]) -> None:
    tally = tally_of([([(1, 2)], 1)])
    with pytest.raises(CleanerError, match="expected 0 to 3"):
        tally.update(batch_of([(0, 0), pair], unreadable=2))
    assert (tally.result(), tally.scored, tally.unreadable) == ([(1, 2, 1)], 1, 1)


@pytest.mark.parametrize("n_classes", [0, -1])
def test_an_empty_vocabulary_is_refused(n_classes: int) -> None:
    with pytest.raises(CleanerError, match="at least 1"):
        Tally(n_classes)


def test_counts_of_other_classes_are_not_merged() -> None:
    with pytest.raises(CleanerError, match="cannot merge"):
        Tally(N_CLASSES).merge(Tally(N_CLASSES + 1))


@given(batches=st.lists(st.lists(ROWS, max_size=20), max_size=6))
def test_the_losses_of_a_class_equal_a_count_by_hand(batches: list[list[Row]]) -> None:
    rows = [row for batch in batches for row in batch]
    found = {each.label: each for each in losses_of(batches).classes()}
    assert list(found) == sorted({label for label, _, _ in rows})
    for label, each in found.items():
        own = [loss for of, _, loss in rows if of == label]
        finite = [loss for loss in own if math.isfinite(loss)]
        assert each.scored == len(own)
        assert each.predicted_otherwise == sum(of == label != predicted for of, predicted, _ in rows)
        assert each.not_finite == len(own) - len(finite)
        bins = Counter(bisect_right(LOSS_EDGES, loss) for loss in finite)
        assert each.histogram == tuple(bins[number] for number in range(len(LOSS_EDGES) + 1))
        if finite:
            bounded = [max(-MAX_LOSS, min(MAX_LOSS, loss)) for loss in finite]
            assert each.mean_loss == pytest.approx(math.fsum(bounded) / len(finite), rel=1e-12, abs=1e-6)
        else:
            assert math.isnan(each.mean_loss)


@given(batches=st.lists(st.lists(ROWS, max_size=20), min_size=1, max_size=6), data=st.data())
def test_mean_losses_are_equal_to_the_bit_in_any_order_and_sharding(
    batches: list[list[Row]], data: st.DataObject
) -> None:
    whole = told(losses_of(batches))
    rows = data.draw(st.permutations([row for batch in batches for row in batch]))
    assert told(losses_of([rows])) == whole
    shards = [losses_of([batch]) for batch in batches]
    while len(shards) > 1:
        other = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        into = data.draw(st.integers(0, len(shards) - 1))
        shards[into] = Tally.from_arrays(N_CLASSES, shards[into].to_arrays())
        shards[into].merge(other)
    assert told(shards[0]) == whole
    back = Tally.from_arrays(N_CLASSES, shards[0].to_arrays())
    assert (told(back), back.result()) == (whole, shards[0].result())


def test_a_saved_state_does_not_change_later() -> None:
    tally = losses_of([[(0, 1, 2.0)]])
    saved = tally.to_arrays()
    tally.update(batch_of([(0, 0)] * 5))
    Tally.from_arrays(N_CLASSES, saved).merge(tally)
    assert told(Tally.from_arrays(N_CLASSES, saved)) == told(losses_of([[(0, 1, 2.0)]]))


def test_saved_losses_of_other_classes_are_refused() -> None:
    saved = {**losses_of([]).to_arrays(), "loss_bins": Tally(N_CLASSES + 1).to_arrays()["loss_bins"]}
    with pytest.raises(CleanerError, match="not those of 4 classes"):
        Tally.from_arrays(N_CLASSES, saved)


def test_batches_larger_than_the_counting_step_are_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleaner.core.tally._RECENT", 7)
    rows = [(n % N_CLASSES, 0, n / 10) for n in range(50)]
    assert told(losses_of([rows, rows[:3]])) == told(losses_of([rows[:5], rows[5:9], rows[9:], rows[:3]]))
    assert losses_of([rows]).scored == sum(each.scored for each in losses_of([rows]).classes()) == 50
