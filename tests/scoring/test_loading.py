"""How far worker processes read ahead."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from cleaner.scoring.sources import loading

ROOMY, CONTAINER = 8 * 2**30, 64 * 2**20


@pytest.mark.parametrize(
    ("workers", "room", "batches"),
    [
        (0, ROOMY, None),
        (1, ROOMY, 8),
        (2, ROOMY, 4),
        (4, ROOMY, 2),
        (16, ROOMY, 2),
        (1, CONTAINER, 2),
        (2, CONTAINER, 2),
    ],
)
def test_few_workers_read_further_ahead_where_there_is_room(
    workers: int, room: int, batches: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.os.path, "isdir", lambda _path: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=room))
    assert loading.read_ahead(workers) == batches


def test_without_a_place_to_look_at_they_read_as_far_as_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.os.path, "isdir", lambda _path: False)
    assert loading.read_ahead(1) == 2
