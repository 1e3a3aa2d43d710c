"""Measurements survive a kill: what was whole is kept, what changed is measured again, and memory is on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from cleaner.checks.listing import Listed, listed_in_folder
from cleaner.checks.measurements import Finished, Measurements
from cleaner.checks.pool import Outcome
from cleaner.checks.records import RECORD
from cleaner.core.errors import CleanerError

IDENTITY = {"dataset": "data", "label table": ""}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten files of which two cannot be read, in two classes."""
    root = tmp_path / "data"
    for number in range(10):
        file = root / ("cat" if number < 6 else "train/dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("broken" if number in (3, 7) else str(number))
    return root


def _outcome(file: str) -> Outcome:
    text = Path(file).read_text()
    if text == "broken":
        return Outcome(None, "OSError: broken")
    record = np.zeros((), RECORD)
    record["width"] = int(text)
    return Outcome(record)


def _measure(folder: Path, root: Path, stop_after: int = 100, **options: bool) -> tuple[Finished, list[str]]:
    """Measure up to some files; return what is measured then, and which files were read."""
    read: list[str] = []
    with Measurements(folder, IDENTITY, root, **options) as measurements:
        for listed, identity in measurements.unmeasured(listed_in_folder(root)):
            if len(read) < stop_after:
                read.append(Path(listed.file).stem)
                measurements.append(listed, identity, _outcome(listed.file))
        return measurements.finish(), read


def _found(finished: Finished) -> list[tuple[int, str, str, str]]:
    return [(int(row["width"]), *finished.name(at)) for at, row in enumerate(finished.records)]


EXPECTED = [(n, f"cat/{n}.png", "all", "cat") for n in (0, 1, 2, 4, 5)] + [
    (n, f"train/dog/{n}.png", "train", "dog") for n in (6, 8, 9)
]


def test_each_image_has_its_record_and_its_names(data: Path, tmp_path: Path) -> None:
    finished, read = _measure(tmp_path / "m", data)
    assert len(read) == 10
    assert _found(finished) == EXPECTED
    assert [(u.path, u.split, u.label, u.error) for u in finished.unreadable()] == [
        ("cat/3.png", "all", "cat", "OSError: broken"),
        ("train/dog/7.png", "train", "dog", "OSError: broken"),
    ]
    assert finished.classes.tolist() == [0] * 5 + [1] * 3
    assert finished.splits.tolist() == [0] * 5 + [1] * 3


@pytest.mark.parametrize("stopped_after", [0, 1, 4, 8, 10])
def test_a_stopped_check_goes_on_where_it_was(stopped_after: int, data: Path, tmp_path: Path) -> None:
    _, first = _measure(tmp_path / "m", data, stopped_after)
    finished, second = _measure(tmp_path / "m", data)
    assert first + second == [str(n) for n in range(10)]
    assert _found(finished) == EXPECTED
    assert finished.classes.tolist() == [0] * 5 + [1] * 3
    assert len(list(finished.unreadable())) == 2


@pytest.mark.parametrize("name", ["rows.bin", "names.jsonl", "unreadable.jsonl"])
@pytest.mark.parametrize("lost", [1, 30, 10_000])
def test_a_half_written_file_costs_its_last_images_only(name: str, lost: int, data: Path, tmp_path: Path) -> None:
    _measure(tmp_path / "m", data)
    file = tmp_path / "m" / name
    os.truncate(file, max(0, file.stat().st_size - lost))
    finished, _ = _measure(tmp_path / "m", data)
    assert sorted(_found(finished)) == EXPECTED
    assert sorted(u.path for u in finished.unreadable()) == ["cat/3.png", "train/dog/7.png"]


def test_files_that_changed_or_vanished_are_not_taken_from_before(data: Path, tmp_path: Path) -> None:
    _measure(tmp_path / "m", data)
    (data / "cat/0.png").write_text("77")
    (data / "cat/1.png").unlink()
    (data / "cat/3.png").write_text("33")
    finished, read = _measure(tmp_path / "m", data)
    assert read == ["0", "3"]
    changed = [(77, "cat/0.png", "all", "cat"), (33, "cat/3.png", "all", "cat")]
    assert _found(finished) == [*EXPECTED[2:], *changed]
    assert [u.path for u in finished.unreadable()] == ["train/dog/7.png"]


def test_without_resume_all_is_measured_again(data: Path, tmp_path: Path) -> None:
    _measure(tmp_path / "m", data)
    assert len(_measure(tmp_path / "m", data, resume=False)[1]) == 10


def test_a_check_of_something_else_is_not_resumed(data: Path, tmp_path: Path) -> None:
    _measure(tmp_path / "m", data)
    with pytest.raises(CleanerError, match="another label table; start over with resume=False"):
        Measurements(tmp_path / "m", {**IDENTITY, "label table": "f00"}, data)


def test_a_name_that_a_scan_cannot_hold_is_unreadable(tmp_path: Path) -> None:
    file = os.fsdecode(bytes(tmp_path) + b"/data/\xff.png")
    with Measurements(tmp_path / "m", IDENTITY, tmp_path / "data") as measurements:
        listing: Iterable[Listed] = [Listed(file, "all", "")]
        for listed, identity in measurements.unmeasured(listing):
            measurements.append(listed, identity, Outcome(np.zeros((), RECORD)))
        finished = measurements.finish()
    [unreadable] = finished.unreadable()
    assert unreadable.path == "\\udcff.png"
    assert len(finished.records) == 0


def test_labels_and_splits_follow_from_folders(tmp_path: Path) -> None:
    for name in ("a.png", "cat/b.png", "train/c.png", "valid/dog/d.png", "x/train/e.png", "valid/dog/far/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {os.path.relpath(each.file, tmp_path): (each.split, each.label) for each in listed_in_folder(tmp_path)}
    assert found == {
        "a.png": ("all", ""),
        "cat/b.png": ("all", "cat"),
        "train/c.png": ("train", ""),
        "valid/dog/d.png": ("valid", "dog"),
        "x/train/e.png": ("all", "train"),
        "valid/dog/far/f.png": ("valid", "far"),
    }
