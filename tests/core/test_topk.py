"""The bounded heaps against a full sort."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch
from cleaner.core.topk import Kept, TopK, by_highest_loss

N_CLASSES = 3
# Few values, so that there are ties at the edge of the k best; the rest are losses as they come.
LOSSES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.inf, -math.inf, math.nan]), st.floats())


class Row(NamedTuple):
    """A scored sample, in the order of the fields of a batch."""

    path: str
    label: int
    loss: float
    predicted: int
    confidence: float


@st.composite
def scored(draw: st.DrawFn) -> list[Row]:
    """Samples with different paths, in any order; predictions and confidences tell them apart."""
    labels_and_losses = draw(st.lists(st.tuples(st.integers(0, N_CLASSES - 1), LOSSES), max_size=60))
    rows = [Row(f"{n:02d}.png", label, loss, n, n / 64) for n, (label, loss) in enumerate(labels_and_losses)]
    return draw(st.permutations(rows))


def batch_of(rows: list[Row]) -> ScoredBatch:
    paths, labels, losses, predicted, confidences = zip(*rows, strict=True) if rows else ((),) * 5
    return ScoredBatch(
        paths,
        np.array(labels, np.int64),
        np.array(losses, np.float64),
        np.array(predicted, np.int64),
        np.array(confidences, np.float64),
    )


def highest(k: int) -> TopK:
    return TopK(N_CLASSES, k, by_highest_loss)


def heaps_of(rows: list[Row], k: int, cuts: list[int]) -> TopK:
    """Heaps that took in `rows` in batches that end at the `cuts`."""
    heaps = highest(k)
    for batch in pieces(rows, cuts):
        heaps.update(batch_of(batch))
    return heaps


def pieces(rows: list[Row], cuts: list[int]) -> list[list[Row]]:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [rows[start:end] for start, end in itertools.pairwise(edges)]


def full_sort(rows: list[Row], k: int) -> list[list[Kept]]:
    """What is not finite first, then the higher loss, then the path."""

    def key(row: Row) -> tuple[bool, float, str]:
        return (False, 0.0, row.path) if not math.isfinite(row.loss) else (True, -row.loss, row.path)

    ranked = [sorted((row for row in rows if row.label == label), key=key)[:k] for label in range(N_CLASSES)]
    return [[Kept(row.path, row.loss, row.predicted, row.confidence) for row in of_class] for of_class in ranked]


def comparable(result: list[list[Kept]]) -> list[list[tuple[str, str, int, float]]]:
    """As text, so that NaN equals NaN."""
    return [[(kept.path, repr(kept.loss), kept.predicted, kept.confidence) for kept in of_class] for of_class in result]


CUTS = st.lists(st.integers(0, 60), max_size=6)


@given(rows=scored(), k=st.integers(1, 8), cuts=CUTS)
def test_any_order_in_any_batches_keeps_what_a_full_sort_keeps(rows: list[Row], k: int, cuts: list[int]) -> None:
    assert comparable(heaps_of(rows, k, cuts).result()) == comparable(full_sort(rows, k))


@given(rows=scored(), k=st.integers(1, 8), cuts=CUTS, data=st.data())
def test_shards_merged_in_any_order_keep_what_a_full_sort_keeps(
    rows: list[Row], k: int, cuts: list[int], data: st.DataObject
) -> None:
    shards = [heaps_of(shard, k, cuts=[3, 10]) for shard in pieces(rows, cuts)]
    while len(shards) > 1:  # a tree of merges of any shape
        other = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
        shards[data.draw(st.integers(0, len(shards) - 1))].merge(other)
    assert comparable(shards[0].result()) == comparable(full_sort(rows, k))


@given(rows=scored(), k=st.integers(1, 8), cuts=CUTS)
def test_reading_a_result_midway_changes_nothing(rows: list[Row], k: int, cuts: list[int]) -> None:
    heaps = highest(k)
    for batch in pieces(rows, cuts):
        heaps.update(batch_of(batch))
        heaps.result()
    assert comparable(heaps.result()) == comparable(heaps.result()) == comparable(full_sort(rows, k))


def test_rising_losses_of_one_class_keep_the_highest() -> None:
    rows = [Row(f"{n:05d}.png", 1, float(n), n % 128, 0.5) for n in range(5000)]
    assert heaps_of(rows, 10, cuts=[4000]).result() == full_sort(rows, 10)


@given(rows=scored(), k=st.integers(1, 4))
def test_no_class_ever_holds_more_than_2k(rows: list[Row], k: int) -> None:
    heaps, other = highest(k), highest(k)
    for row in rows:
        heaps.update(batch_of([row]))
        other.update(batch_of([row._replace(path=f"other/{row.path}")]))
        assert largest(heaps) <= 2 * k
    heaps.merge(other)
    assert largest(heaps) <= 2 * k


def largest(heaps: TopK) -> int:
    """Entries of the class that holds most, counted in all that it keeps them in."""
    return max(heaps._rows.shape[1], *map(len, heaps._paths))


def test_empty_batches_and_classes_are_accepted() -> None:
    heaps = heaps_of([], 2, [])
    assert heaps.result() == [[], [], []]


@pytest.mark.parametrize("label", [-1, N_CLASSES, 1000])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    heaps = heaps_of([Row("a.png", 0, 1.0, 0, 0.5)], 2, [])
    before = heaps.result()
    with pytest.raises(CleanerError, match="expected 0 to 2"):
        heaps.update(batch_of([Row("b.png", 0, 2.0, 0, 0.5), Row("c.png", label, 3.0, 0, 0.5)]))
    assert heaps.result() == before


@pytest.mark.parametrize(("n_classes", "k"), [(0, 1), (1, 0), (-1, 5), (3, -1)])
def test_zero_classes_or_zero_kept_samples_are_refused(n_classes: int, k: int) -> None:
    with pytest.raises(CleanerError, match="at least 1"):
        TopK(n_classes, k, by_highest_loss)


@pytest.mark.parametrize("other", [TopK(N_CLASSES, 3, by_highest_loss), TopK(N_CLASSES + 1, 2, by_highest_loss)])
def test_heaps_of_another_shape_are_not_merged(other: TopK) -> None:
    with pytest.raises(CleanerError, match="cannot merge"):
        highest(2).merge(other)


@given(rows=scored(), k=st.integers(1, 8), at=st.integers(0, 60), data=st.data())
def test_samples_scored_again_leave_the_highest_losses_in_order(
    rows: list[Row], k: int, at: int, data: st.DataObject
) -> None:
    first, rest = rows[:at], rows[at:]
    again = data.draw(st.lists(st.sampled_from(first), unique_by=lambda row: row.path)) if first else []
    new = [row._replace(loss=data.draw(LOSSES)) for row in again]
    heaps = heaps_of(first, k, [k, 3 * k])
    heaps.remove({row.path for row in again})
    for batch in (new, rest):
        heaps.update(batch_of(batch))
    removed = {row.path for row in again}
    expected = full_sort([*(row for row in rows if row.path not in removed), *new], k)
    losses = {row.path: row.loss for row in (*rows, *new)}
    for found, right in zip(heaps.result(), expected, strict=True):
        assert len(right) - len(found) <= len(again)
        assert all(kept.loss == losses[kept.path] or math.isnan(kept.loss) for kept in found)
        ranks = [[kept.loss if math.isfinite(kept.loss) else math.inf for kept in some] for some in (found, right)]
        assert ranks[0] == ranks[1][: len(found)]
