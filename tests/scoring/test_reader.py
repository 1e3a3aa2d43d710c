"""Worker processes that read samples: how far ahead, in which order, and what they leave alone."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cleaner.scoring.data import reader
from tests.support.made_up_job import MadeUpDataset

ROOMY, CONTAINER = 8 * 2**30, 64 * 2**20


@pytest.mark.parametrize(
    ("workers", "batch_size", "room", "batches"),
    [
        (0, 64, ROOMY, None),
        (1, 64, ROOMY, 8),
        (2, 64, ROOMY, 4),
        (4, 64, ROOMY, 2),
        (16, 64, ROOMY, 2),
        (1, 1024, ROOMY, 2),
        (1, 64, CONTAINER, 2),
        (2, 64, CONTAINER, 2),
    ],
)
def test_few_workers_read_further_ahead_where_there_is_room(
    workers: int, batch_size: int, room: int, batches: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader.os.path, "isdir", lambda _path: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=room))
    assert reader.prefetch_factor(workers, batch_size) == batches


def test_where_shared_memory_is_unknown_workers_read_ahead_by_torchs_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.os.path, "isdir", lambda _path: False)
    assert reader.prefetch_factor(1, 64) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_come_in_the_order_of_their_keys_with_their_paths(workers: int) -> None:
    dataset = MadeUpDataset([0] * 20, unreadable={3, 4, 5, 19}, batch_size=3)
    batches = list(reader.read(dataset, iter([7, 3, 1, 4, 5, 3, 19, 2]), workers))
    assert [batch.paths for batch in batches] == [["0007.png", "0001.png"], [], ["0002.png"]]
    assert [[item.path for item in batch.unreadable] for batch in batches] == [
        ["0003.png"],
        ["0004.png", "0005.png", "0003.png"],
        ["0019.png"],
    ]
    assert [batch.data is None for batch in batches] == [False, True, False]
    assert [column.tolist() for column in batches[0].data] == [[7, 1], [0, 0]]


class CollectingDataset(MadeUpDataset):
    """Readers collect garbage with each sample, which otherwise happens now and then."""

    def sample(self, key: int) -> tuple[int, int]:
        gc.collect()
        return super().sample(key)


def test_readers_do_not_free_what_the_process_that_started_them_holds(tmp_path: Path) -> None:
    freed = tmp_path / "freed"

    class Reference:
        """Garbage, as it refers to itself; objects of Ray are freed in the same way."""

        def __del__(self) -> None:
            with freed.open("a") as file:
                file.write(f"{os.getpid()}\n")

    gc.disable()
    try:
        garbage = Reference()
        garbage.itself = garbage  # type: ignore[attr-defined]
        del garbage
        list(reader.read(CollectingDataset(np.zeros(6, int)), range(6), workers=2))
        assert not freed.exists()
        gc.collect()
        assert freed.read_text().split() == [str(os.getpid())]
    finally:
        gc.enable()
