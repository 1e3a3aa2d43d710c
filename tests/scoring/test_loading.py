"""How far worker processes read ahead."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cleaner.scoring.sources import loading

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
    monkeypatch.setattr(loading.os.path, "isdir", lambda _path: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=room))
    assert loading.read_ahead(workers, batch_size) == batches


def test_without_a_place_to_look_at_they_read_as_far_as_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.os.path, "isdir", lambda _path: False)
    assert loading.read_ahead(1, 64) == 2


class Numbers(loading.Reader):
    """Samples without files."""

    batch_size, device = 4, torch.device("cpu")

    def keys(self) -> Iterator[int]:
        return iter(range(20))

    def listing(self) -> Callable[[], Iterator[int]]:
        return self.keys

    def file(self, key: int) -> str:
        return str(key)

    def label(self, _key: int) -> str:
        return "cat"

    def sample(self, key: int) -> int:
        return key

    def put_together(self, samples: list[int]) -> list[int]:
        return samples


def test_the_workers_of_a_scan_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int]]()
    loader = loading.DataLoader

    def recorded(*args: Any, **options: Any) -> Any:
        asked.append((options["num_workers"], options["prefetch_factor"]))
        return loader(*args, **options)

    monkeypatch.setattr(loading, "DataLoader", recorded)
    monkeypatch.setattr(loading, "read_ahead", lambda workers, batch_size: workers + batch_size)
    batches = list(loading.every(Numbers("all", ("cat",)), 0, 1))
    assert asked == [(1, 5)]
    assert len(batches) == 5
