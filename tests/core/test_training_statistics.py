"""Statistics over epochs: means of what each epoch saw last, whatever was closed, reopened or dropped between them."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.training_statistics import LossStatistics

N = 7
NUMBERS = st.floats(-50, 50, width=32)
BATCHES = st.lists(st.tuples(st.integers(0, N - 1), NUMBERS, NUMBERS, st.integers(0, 2)), max_size=6)


def update(statistics: LossStatistics, batch: list[tuple[int, float, float, int]]) -> None:
    if batch:
        samples, losses, margins, labels = (np.array(column) for column in zip(*batch, strict=True))
        several = np.stack([labels, (labels + 1) % 3, (labels + 2) % 3], axis=1)
        statistics.update(samples, losses, margins, several, np.full(several.shape, 1 / 3))


@given(st.lists(st.tuples(BATCHES, st.sampled_from(["go on", "reopen", "killed before the note"]))))
def test_means_are_those_of_the_finished_epochs(epochs: list[tuple[list[tuple[int, float, float, int]], str]]) -> None:
    losses, margins = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        statistics = LossStatistics(Path(folder), N, 3)
        for batch, then in epochs:
            for entry in batch:  # one at a time: of two in a batch, the later one counts
                update(statistics, [entry])
            noted = statistics.epochs
            statistics.end_epoch()
            if then == "killed before the note":
                statistics = LossStatistics(Path(folder), N, 3, noted)
                continue
            statistics.settle()
            last = {sample: (loss, margin) for sample, loss, margin, _ in batch}
            for sample, (loss, margin) in last.items():
                losses[sample].append(loss)
                margins[sample].append(margin)
            if then == "reopen":
                statistics = LossStatistics(Path(folder), N, 3, statistics.epochs)
                assert not statistics.dropped
        found = statistics.of(slice(0, N))
        assert found.epochs.tolist() == [len(losses[sample]) for sample in range(N)]
        assert found.otherwise.tolist() == [sum(margin < 0 for margin in margins[sample]) for sample in range(N)]
        for sample in filter(losses.get, range(N)):
            assert found.losses[sample] == pytest.approx(np.mean(losses[sample]), abs=1e-4, rel=1e-5)
            assert found.margins[sample] == pytest.approx(np.mean(margins[sample]), abs=1e-4, rel=1e-5)
            lost = 1 / (1 + np.exp(2 * np.array(margins[sample])))
            weights = np.arange(1, len(lost) + 1)
            assert found.errors[sample] == pytest.approx((lost * weights).sum() / weights.sum(), abs=1e-5)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=5))
def test_probabilities_come_back(weights: list[float]) -> None:
    """In 6 bytes; a wrong digit would be seen as a percentage on the page."""
    row = np.sort(np.array(weights) / max(sum(weights), 1))[::-1]
    with tempfile.TemporaryDirectory() as folder:
        statistics = LossStatistics(Path(folder), 1, len(row))
        labels = np.arange(len(row))[None]
        statistics.update(np.array([0]), np.zeros(1), np.zeros(1), labels, row[None])
        statistics.end_epoch()
        found = statistics.of(slice(None))
    assert found.labels.tolist() == labels.tolist()
    assert found.probabilities[0, 0] == pytest.approx(row[0], abs=5e-4)
    assert found.probabilities[0] == pytest.approx(row, abs=5e-3)
    assert (np.diff(found.probabilities[0]) <= 0).all()


def test_an_unfinished_epoch_is_dropped_and_told(tmp_path: Path) -> None:
    statistics = LossStatistics(tmp_path, N, 3)
    update(statistics, [(0, 1.0, 2.0, 0)])
    statistics.end_epoch()
    statistics.settle()
    update(statistics, [(0, 9.0, 9.0, 1), (1, 9.0, 9.0, 1)])
    reopened = LossStatistics(tmp_path, N, 3, 1)
    assert reopened.dropped
    assert reopened.of(slice(0, 2)).losses.tolist() == [1.0, 0.0]
    assert reopened.of(slice(0, 2)).epochs.tolist() == [1, 0]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stays_so(loss: float, tmp_path: Path) -> None:
    statistics = LossStatistics(tmp_path, N, 3)
    for value in (1.0, loss, 2.0):
        update(statistics, [(3, value, 0.0, 0)])
        statistics.end_epoch()
        statistics.settle()
    assert not math.isfinite(statistics.of(slice(3, 4)).losses[0])
    assert statistics.of(slice(3, 4)).epochs[0] == 3


def test_files_of_other_samples_or_epochs_are_refused(tmp_path: Path) -> None:
    statistics = LossStatistics(tmp_path, N, 3)
    statistics.end_epoch()
    with pytest.raises(CleanerError, match=f"is not that of {N + 1} samples; start over with reset=True"):
        LossStatistics(tmp_path, N + 1, 3, 1)
    with pytest.raises(CleanerError, match="is missing, the losses of 5 epochs"):
        LossStatistics(tmp_path, N, 3, 5)
