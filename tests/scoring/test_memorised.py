"""When a scan says that the model has memorised its training split."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from fastai.vision import all as fastai
from torch.nn import functional

import cleaner
from cleaner.core.kept_samples import KeptSamples
from cleaner.core.records import ScoredBatch
from cleaner.core.tally import Tally
from cleaner.core.tasks import MULTI_LABEL, SINGLE_LABEL
from cleaner.scoring.memorised import memorised_advice
from cleaner.scoring.progress import SplitProgress
from tests.support.learners import make_folder, make_learner


def split(name: str, n: int, loss: float, otherwise: int = 0) -> SplitProgress:
    """A split of one class of two, whose samples have equal losses."""
    progress = SplitProgress(name, KeptSamples(2, 10), Tally(2))
    predicted = np.array([1] * otherwise + [0] * (n - otherwise))
    paths = [f"{number}.png" for number in range(n)]
    progress.update(ScoredBatch(paths, np.zeros(n, int), np.full(n, loss), predicted, np.ones(n)))
    return progress


MEMORISED, HONEST = split("train", 1000, 0.01, 5), split("valid", 200, 0.9, 60)


@pytest.mark.parametrize(
    ("splits", "task", "expected"),
    [
        ([MEMORISED, HONEST], SINGLE_LABEL, True),
        ([HONEST, MEMORISED], SINGLE_LABEL, True),
        ([MEMORISED], SINGLE_LABEL, False),
        ([MEMORISED, split("test", 200, 0.9, 60)], SINGLE_LABEL, False),
        ([split("train", 1000, 0.01, 50), HONEST], SINGLE_LABEL, False),
        ([split("train", 1000, 0.3), HONEST], SINGLE_LABEL, False),
        ([split("train", 1000, 0.01), split("valid", 200, 0.02)], SINGLE_LABEL, False),
        ([split("train", 20, 0.001), HONEST], SINGLE_LABEL, False),
        ([split("train", 1000, np.inf), HONEST], SINGLE_LABEL, False),
        ([MEMORISED, HONEST], MULTI_LABEL, False),
    ],
)
def test_a_split_is_memorised_beside_another_one(splits: list[SplitProgress], task: str, expected: bool) -> None:
    assert bool(memorised_advice(splits, task, views=1)) is expected


def test_the_advice_names_views_only_where_there_are_none() -> None:
    one, four = (memorised_advice([MEMORISED, HONEST], SINGLE_LABEL, views) for views in (1, 4))
    assert "mean loss is 0.01, that of 'valid' is 0.9, and 99.5% of its images" in one
    assert "views=4 ranks" in one
    assert "views" not in four
    assert "cleaner.ScanCallback" in four


def test_a_scan_warns_of_a_memorised_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=70), batch_tfms=None)
    n_train = len(learn.dls.train_ds.items)

    class Memory(fastai.Callback):
        """Knows the labels of the training split, as a model that memorised them does."""

        def after_pred(self) -> None:
            if self.learn.dl.n == n_train:
                self.learn.pred = 20.0 * functional.one_hot(self.y.long(), 3)

    learn.add_cb(Memory())
    with caplog.at_level(logging.WARNING, "cleaner"):
        cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert "'train' looks memorised" in caplog.text
