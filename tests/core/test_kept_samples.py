"""Highest losses, typical samples and audit sample against full sorts, in any order, batches, shards and saves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.kept_samples import AUDITED, TYPICAL, KeptSamples
from cleaner.core.records import Alternatives, ScoredBatch, ScoredLabels
from cleaner.core.topk import TopK, by_hash, by_highest_loss

N_CLASSES = 2
# Few values, so that losses tie; the number of samples is above those of the audit sample of a class.
LOSSES = st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf, math.nan])
Row = tuple[str, int, float, int]


@st.composite
def scored(draw: st.DrawFn) -> list[Row]:
    """Samples (path, label, loss, predicted) in any order."""
    columns = st.tuples(st.integers(0, N_CLASSES - 1), LOSSES, st.integers(0, N_CLASSES - 1))
    found = draw(st.lists(columns, max_size=100))
    return draw(st.permutations([(f"{n:03d}.png", *row) for n, row in enumerate(found)]))


def batch_of(rows: list[Row]) -> ScoredBatch:
    labels, predicted = (np.array([row[at] for row in rows], np.int64) for at in (1, 3))
    probabilities = np.array([[0.25, 0.75] if row[3] else [0.75, 0.25] for row in rows]).reshape(-1, 2)
    losses = np.array([row[2] for row in rows], np.float64)
    alternatives = Alternatives(probabilities)
    return ScoredBatch([row[0] for row in rows], labels, losses, predicted, np.full(len(rows), 0.75), (), alternatives)


def pieces(rows: list[Row], cuts: list[int]) -> list[list[Row]]:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [rows[begin:end] for begin, end in itertools.pairwise(edges)]


def in_batches(rows: list[Row], k: int, cuts: list[int]) -> KeptSamples:
    kept = KeptSamples(N_CLASSES, k, key=7)
    for piece in pieces(rows, cuts):
        kept.update(batch_of(piece))
    return kept


def saved_between(rows: list[Row], k: int, cuts: list[int]) -> KeptSamples:
    kept = KeptSamples(N_CLASSES, k, key=7)
    for piece in pieces(rows, cuts):
        kept.update(batch_of(piece))
        kept = KeptSamples(N_CLASSES, k, key=7).restore(kept.to_arrays())
    return kept


def on_workers(rows: list[Row], k: int, cuts: list[int]) -> KeptSamples:
    """As a cluster does it: two workers keep heaps of their own, and send only what may be kept."""
    workers, kept = [KeptSamples(N_CLASSES, k, key=7) for _ in range(2)], KeptSamples(N_CLASSES, k, key=7)
    for number, piece in enumerate(pieces(rows, cuts)):
        worker, batch = workers[number % 2], batch_of(piece)
        survivors = worker.reached(batch)
        worker.update(batch)
        kept.add(*survivors)
    return kept


def paths(heaps: TopK) -> list[list[str]]:
    return [[kept.path for kept in of_class] for of_class in heaps.result()]


def expected(rows: list[Row], k: int) -> dict[str, list[list[str]]]:
    """What full sorts give."""
    result: dict[str, list[list[str]]] = {"highest": [], "typical": [], "audit": []}
    for label in range(N_CLASSES):
        own = [row for row in rows if row[1] == label]
        ranked = sorted(own, key=lambda row: (-row[2] if math.isfinite(row[2]) else -math.inf, row[0]))
        low = sorted((row[2], row[0]) for row in own if row[3] == label and math.isfinite(row[2]))
        rest = batch_of(ranked[k:])
        hashed = sorted(zip((-by_hash(7)(rest)).tolist(), rest.paths, strict=True))
        result["highest"].append([row[0] for row in ranked[:k]])
        result["typical"].append([path for _, path in low[:TYPICAL]])
        result["audit"].append([path for _, path in hashed[:AUDITED]])
    return result


@pytest.mark.parametrize("collect", [in_batches, saved_between, on_workers])
@given(rows=scored(), k=st.integers(1, 6), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_any_order_batches_saves_and_shards_keep_what_full_sorts_keep(
    collect: Callable[[list[Row], int, list[int]], KeptSamples], rows: list[Row], k: int, cuts: list[int]
) -> None:
    kept = collect(rows, k, cuts)
    kept.settle()
    heaps = {"highest": kept.highest, "typical": kept.typical, "audit": kept.audit}
    assert {name: paths(each) for name, each in heaps.items()} == expected(rows, k)


@given(rows=scored(), k=st.integers(1, 6), bias=st.lists(st.sampled_from([0.0, 1.5]), min_size=100, max_size=100))
def test_heaps_that_were_scored_again_leave_the_rest_to_the_audit(rows: list[Row], k: int, bias: list[float]) -> None:
    """A fast pass with errors keeps three times as many candidates; all are scored again."""
    fast = [(path, label, loss - bias[int(path[:3])], predicted) for path, label, loss, predicted in rows]
    kept = in_batches(fast, 3 * k, [10, 50])
    kept.settle()
    candidates = {path for of_class in paths(kept.highest) for path in of_class}
    exact = TopK(N_CLASSES, k, by_highest_loss)
    exact.update(batch_of([row for row in rows if row[0] in candidates]))
    kept.replace_highest(exact)
    for label, (highest, audit) in enumerate(zip(paths(kept.highest), paths(kept.audit), strict=True)):
        of_class = {row[0] for row in rows if row[1] == label}
        assert not set(highest) & set(audit)
        assert len(audit) == min(AUDITED, len(of_class) - len(highest))
        rest = batch_of([row for row in rows if row[0] in of_class - set(highest)])
        hashed = sorted(zip((-by_hash(7)(rest)).tolist(), rest.paths, strict=True))
        assert audit == [path for _, path in hashed[:AUDITED]]


def test_a_forgotten_file_leaves_every_heap() -> None:
    rows = [(f"{n}.png", 0, float(n), 0) for n in range(20)]
    kept = in_batches(rows, 5, [10])
    kept.settle()
    gone = {paths(heaps)[0][0] for heaps in (kept.highest, kept.typical, kept.audit)}
    kept.remove(gone)
    for heaps in (kept.highest, kept.typical, kept.audit):
        assert not gone & set(paths(heaps)[0])


def test_every_sample_of_a_class_is_drawn_equally_often() -> None:
    """Over many keys, with paths that differ by a digit only, counts vary as those of a fair draw."""
    n, keys, taken = 120, 3000, 30
    batch = batch_of([(f"images/img_{n:05d}.jpg", 0, 0.0, 0) for n in range(n)])
    counts = np.zeros(n)
    for key in range(keys):
        counts[np.argsort(-by_hash(key)(batch))[:taken]] += 1
    share = taken / n
    statistic = float(((counts - keys * share) ** 2).sum() / (keys * share * (1 - share)))
    assert statistic < n + 5 * math.sqrt(2 * n)
    assert statistic > n - 5 * math.sqrt(2 * n)


def test_classes_and_keys_draw_different_samples() -> None:
    rows = [(f"{n}.png", n % 2, 0.0, 0) for n in range(400)]
    batch = batch_of(rows)
    assert not np.array_equal(by_hash(0)(batch), by_hash(1)(batch))
    swapped = batch_of([(path, 1 - label, loss, predicted) for path, label, loss, predicted in rows])
    assert not np.isin(by_hash(0)(batch), by_hash(0)(swapped)).any()


def test_a_typical_image_of_a_label_carries_it_and_has_it_predicted() -> None:
    carried = np.array([[True, False], [True, True], [False, False]])
    predicted = np.array([[True, True], [False, True], [False, False]])
    losses = np.array([[0.3, 2.0], [1.5, 0.1], [0.01, 0.01]])
    kept = KeptSamples(3, 1)
    kept.update(ScoredLabels(["a", "b", "c"], carried, losses, predicted, np.full((3, 2), 0.9)))
    assert paths(kept.typical) == [["a"], ["b"], []]


@pytest.mark.parametrize("m", [2, 7])
def test_the_most_probable_labels_are_kept_with_their_probabilities(m: int) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(m), 9)
    labels = np.zeros(9, np.int64)
    best: Any = (probabilities.argmax(axis=1), probabilities.max(axis=1))
    heaps = TopK(m, 4, by_highest_loss)
    names = [f"{n}.png" for n in range(9)]
    heaps.update(ScoredBatch(names, labels, np.arange(9.0), *best, (), Alternatives(probabilities)))
    for kept in heaps.of_class(0):
        own = probabilities[names.index(kept.path)]
        order = np.argsort(-own)[:5].tolist()
        assert [label for label, _ in kept.alternatives] == order
        assert [p for _, p in kept.alternatives] == pytest.approx(own[order].tolist())
        assert kept.alternatives[0][0] == kept.predicted


def test_of_equal_probabilities_the_prediction_comes_first() -> None:
    probabilities = np.full((2, 9), 1 / 9)
    for alternatives in (Alternatives(probabilities), Alternatives.of_images(probabilities, 1)):
        labels, _ = alternatives.most_probable()
        assert labels.tolist() == [[0, 1, 2, 3, 4]] * 2
