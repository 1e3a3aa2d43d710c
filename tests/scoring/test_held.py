"""What a fast scan holds on to: the inputs of candidates, up to a number of bytes, as they came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import cleaner
from cleaner.core.records import ScoredBatch
from cleaner.scoring import precision
from cleaner.scoring.sources import loading
from cleaner.scoring.sources.held import Held
from tests.support.learners import make_folder, make_learner

BYTES = 12  # of an input of three float32


class These:
    """Candidates that the test names."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)

    def among(self, batch: ScoredBatch) -> set[str]:
        return self.paths & set(batch.paths)

    def so_far(self) -> set[str]:
        return self.paths


def hold(held: Held, paths: list[str], candidates: These) -> None:
    labels = np.arange(len(paths))
    batch = ScoredBatch(paths, labels, labels * 1.0, labels, labels * 0.0)
    inputs = torch.tensor([[float(ord(path)) * unit for unit in (1, 2, 3)] for path in paths])
    held.hold(batch, (inputs, torch.tensor(labels)), candidates)
    inputs.zero_()  # nobody may count on the batch to stay


def names(held: Held, size: int = 10) -> list[list[str]]:
    return [paths for paths, _ in held.batches(lambda *_: True, size, str)]


def test_candidates_come_back_in_batches_with_their_inputs_and_labels() -> None:
    held = Held(1000)
    hold(held, ["a", "b", "c"], These("a", "c"))
    hold(held, ["d", "e"], These("d", "e"))
    assert ("a" in held, "b" in held) == (True, False)
    found = list(held.batches(lambda path, label: path != "d" and label() != "7", 2, lambda target: str(int(target))))
    assert [paths for paths, _ in found] == [["a", "c"], ["e"]]
    for paths, (inputs, targets) in found:
        assert [chr(int(row[0])) for row in inputs] == paths
        assert inputs.shape == (len(paths), 3)
        assert targets.dtype == torch.int64
    assert found[0][1][1].tolist() == [0, 2]


def test_the_label_of_what_is_held_can_be_asked_for() -> None:
    held = Held(1000)
    hold(held, ["a", "b", "c"], These("a", "b", "c"))
    wanted = held.batches(lambda _, label: label() == "1", 5, lambda target: str(int(target)))
    assert [paths for paths, _ in wanted] == [["b"]]


def test_what_is_no_candidate_any_more_makes_room() -> None:
    held = Held(3 * BYTES)
    hold(held, ["a", "b", "c"], These("a", "b", "c"))
    hold(held, ["d"], These("a", "d"))
    assert names(held) == [["a", "d"]]


def test_where_there_is_no_room_no_more_are_taken() -> None:
    held = Held(3 * BYTES)
    hold(held, ["a", "b", "c"], These(*"abc"))
    hold(held, ["d"], These(*"abcd"))
    hold(held, ["e"], These(*"abcde"))
    assert names(held) == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("limit", [0, 2**20])
def test_what_is_held_is_not_read_again(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_CLEARLY", float("inf"))
    monkeypatch.setattr(precision, "_WORTH_IT", 0.0)
    monkeypatch.setattr("cleaner.scoring.sources.fastai.LIMIT", limit)
    data, read = make_folder(tmp_path / "data"), list[str]()
    plain = loading.Reader._read

    def counting(files: loading.Reader, key: str, file: str, path: str) -> object:
        read.append(path)
        return plain(files, key, file, path)

    monkeypatch.setattr(loading.Reader, "_read", counting)
    learn = make_learner(data)
    exact = cleaner.scan_folder(learn, data, tmp_path / "exact", k=2, progress=False)
    before = len(read)
    fast = cleaner.scan_folder(learn, data, tmp_path / "fast", k=2, progress=False, fast=True)
    assert fast.settings["ways"]["fast"] in precision.FAST
    assert [(s.path, round(s.loss, 4)) for s in fast.samples] == [(s.path, round(s.loss, 4)) for s in exact.samples]
    once = before + len(list(data.rglob("*.png"))) + loading.SPREAD
    assert (len(read) == once) is bool(limit)
