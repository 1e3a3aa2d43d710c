"""The cache of inputs gives back what was read, keeps candidates, and stays within its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fastai.vision.all import TensorImage
from torch import Tensor

from cleaner.core.topk import TopK, by_highest_loss
from cleaner.scoring import input_cache
from cleaner.scoring.data.reader import PathBatch
from cleaner.scoring.engine import Engine, score
from cleaner.scoring.input_cache import InputCache
from cleaner.scoring.progress import SplitProgress
from cleaner.scoring.rescore import rescore
from tests.support.made_up_job import MadeUpDataset, MadeUpScorer, made_up_job

_BYTES = 12 + 8  # of a sample: 12 pixels and a target


def _batch(numbers: list[int]) -> PathBatch:
    images = torch.stack([torch.full((3, 2, 2), n, dtype=torch.uint8) for n in numbers]).as_subclass(TensorImage)
    return PathBatch([f"{n}.jpg" for n in numbers], [], (images, torch.tensor(numbers)))


def _add(cache: InputCache, *batches: PathBatch) -> None:
    for _ in cache.add_from(batches):
        pass


def _numbers(cache: InputCache, paths: set[str], size: int = 4) -> list[list[int]]:
    return [batch.data[1].tolist() for batch in cache.batches(paths, size)]


def test_wanted_samples_come_back_as_they_were_collated() -> None:
    cache = InputCache(set)
    _add(cache, _batch([0, 1, 2]), _batch([3, 4]))
    [first, second] = cache.batches({"4.jpg", "1.jpg", "0.jpg", "9.jpg"}, 2)
    assert (first.paths, second.paths) == (["0.jpg", "1.jpg"], ["4.jpg"])
    assert [type(x) for x in first.data] == [TensorImage, Tensor]
    assert torch.equal(first.data[0], _batch([0, 1]).data[0])
    assert first.data[1].tolist() == [0, 1]


def test_a_batch_that_a_transform_changes_in_place_is_kept_as_it_was_read() -> None:
    cache = InputCache(set)
    for batch in cache.add_from([_batch([7])]):
        batch.data[0].zero_()
    [kept] = cache.batches({"7.jpg"}, 1)
    assert kept.data[0].max() == 7


def test_a_full_cache_keeps_candidates_and_the_batch_that_is_not_scored_yet() -> None:
    cache = InputCache(lambda: {"1.jpg"}, max_bytes=5 * _BYTES)
    _add(cache, _batch([0, 1, 2, 3]), _batch([4, 5]))
    assert cache.paths == {"1.jpg", "4.jpg", "5.jpg"}


def test_a_cache_full_of_candidates_adds_no_more() -> None:
    cache = InputCache(lambda: {f"{n}.jpg" for n in range(100)}, max_bytes=4 * _BYTES)
    _add(cache, *[_batch([n]) for n in range(20)])
    assert cache.paths == {f"{n}.jpg" for n in range(5)}


def test_images_of_different_shapes_are_in_batches_of_their_own() -> None:
    cache = InputCache(set)
    wide = PathBatch(["wide.jpg"], [], (torch.zeros(1, 3, 2, 9), torch.tensor([8])))
    _add(cache, _batch([0]), wide, _batch([1, 2]))
    assert _numbers(cache, {"0.jpg", "wide.jpg", "1.jpg", "2.jpg"}) == [[0], [8], [1, 2]]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"image": torch.zeros(1, 3)},
        ((torch.zeros(1, 3), torch.zeros(1)), torch.zeros(1)),
        (torch.zeros(2, 3), torch.zeros(1)),
        (torch.zeros(1, 3), torch.tensor(1.0)),
    ],
)
def test_other_data_passes_through_and_is_read_again(data: object) -> None:
    cache, batch = InputCache(set), PathBatch(["a.jpg"], [], data)
    assert list(cache.add_from([batch])) == [batch]
    assert cache.paths == set()


@pytest.mark.parametrize(("max_bytes", "n_read"), [(input_cache.MAX_BYTES, 0), (1, 12)])
def test_a_second_pass_reads_only_what_the_cache_lacks(
    max_bytes: int, n_read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_cache, "MAX_BYTES", max_bytes)
    labels, losses = np.arange(60) % 3, np.random.default_rng(0).permutation(60).astype(float)
    dataset = MadeUpDataset(labels)
    job = made_up_job(dataset, MadeUpScorer(losses, np.zeros(60)))
    engine, progress = Engine(job), SplitProgress.empty("all", job.info, 8)
    engine.score_remaining(dataset, progress, True, lambda _n: None)
    assert dataset.n_read == 60
    dataset.n_read = 0
    rescore(engine, progress, 4)
    # The first candidates of a full cache are its last batch: one of them may be among the best.
    assert n_read - 3 <= dataset.n_read <= n_read
    exact = TopK(3, 4, by_highest_loss)
    score(dataset, MadeUpScorer(losses), dataset.keys(), exact.update, workers=0)
    assert progress.kept.highest.result() == exact.result()
