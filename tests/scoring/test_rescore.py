"""A pass with errors and a second pass over its candidates give what an exact pass gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.topk import TopK, by_highest_loss
from cleaner.scoring.engine import Engine, score
from cleaner.scoring.progress import SplitProgress
from cleaner.scoring.rescore import rescore
from tests.support.made_up_job import MadeUpDataset, MadeUpScorer, made_up_job


class FastPass:
    """A finished fast pass over made-up samples, whose losses are off by `errors`."""

    def __init__(self, labels: np.ndarray, losses: np.ndarray, errors: np.ndarray, candidates: int) -> None:
        self.dataset, self.scorer = MadeUpDataset(labels), MadeUpScorer(losses, errors)
        self.job = made_up_job(self.dataset, self.scorer)
        self.progress = SplitProgress.empty("all", self.job.info, candidates)
        self.scan(self.progress.update, fast=True)
        self.progress.exact = False

    def scan(self, update: object, fast: bool) -> None:
        score(self.dataset, self.scorer, self.dataset.keys(), update, workers=0, fast=fast)  # type: ignore[arg-type]
        self.scorer.scored = 0

    def rescore(self, k: int) -> dict[str, object]:
        return rescore(Engine(self.job), self.progress, k)


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
    fast = FastPass(labels, losses, errors, candidates=k + extra)
    exact = TopK(3, k, by_highest_loss)
    fast.scan(exact.update, fast=False)
    statistics = fast.rescore(k)
    assert fast.progress.kept.highest.result() == exact.result()
    assert statistics["scored_twice"] == round(fast.scorer.scored / len(labels), 4)
    assert 0 <= statistics["margin"] <= extra
    assert statistics["error"] <= np.abs(errors).max() + 1e-9


def test_a_wide_enough_margin_spares_the_second_pass_over_whole_classes() -> None:
    random = np.random.default_rng(0)
    labels, losses = random.integers(0, 3, 3000), random.exponential(size=3000)
    fast = FastPass(labels, losses, random.uniform(-0.01, 0.01, 3000), candidates=40)
    assert fast.rescore(20)["classes_scored_twice"] == []
    assert 3 * 20 <= fast.scorer.scored <= 3 * 24


def test_if_no_lower_precision_is_faster_nothing_is_scored_twice() -> None:
    fast = FastPass(np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0]), np.zeros(3), candidates=3)
    fast.progress.exact = True
    assert fast.rescore(1)["scored_twice"] == 0
    assert fast.scorer.scored == 0
    kept = [[kept.path for kept in ranked] for ranked in fast.progress.kept.highest.result()]
    assert kept == [["0001.png"], ["0002.png"], []]
