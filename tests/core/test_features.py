"""Features come back as they were appended, wherever the scan was stopped, and their short form finds what is near."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.features import Features, FeatureWriter


def random_rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 1, (n, width)).astype(np.float32)


def written(folder: Path, rows: np.ndarray, paths: list[str] | None = None) -> Features:
    writer = FeatureWriter(folder)
    writer.append(paths or [f"{at}.png" for at in range(len(rows))], rows)
    return Features(writer.finish())


def exact_cosines(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return units @ units.T


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 20), st.booleans())
def test_rows_come_back_whatever_the_batches_and_wherever_the_scan_was_stopped(
    sizes: list[int], kept: int, with_torn_line: bool
) -> None:
    n = sum(sizes) + 1
    rows, paths = random_rows(n, 6), [f"ä \n{at}/x.png" for at in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        stopped = FeatureWriter(Path(folder))
        starts = np.cumsum([0, *sizes]).tolist()
        for begin, size in zip(starts, [*sizes, 1], strict=True):
            stopped.append(paths[begin : begin + size], rows[begin : begin + size])
        kept = min(kept, n)
        if with_torn_line:
            with open(Path(folder) / "features.paths", "ab") as file:
                file.write(b'"torn')
        resumed = FeatureWriter(Path(folder))
        resumed.resume((kept, 6) if kept else (0, 0))
        if kept < n:
            resumed.append(paths[kept:], rows[kept:])
        features = Features(resumed.finish())
        assert np.array_equal(features.rows, rows.astype(np.float16))
        assert [features.path(at) for at in range(n)] == paths
        assert features.rows_of([*reversed(paths), "absent"]).tolist() == [*reversed(range(n)), -1]


def test_the_short_form_of_few_values_gives_the_cosines(tmp_path: Path) -> None:
    rows = random_rows(300, 20)
    short = written(tmp_path, rows).short.astype(np.float32)
    assert short @ short.T == pytest.approx(exact_cosines(rows), abs=0.01)


def test_the_short_form_of_many_values_keeps_what_is_near(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (20, 1000))
    rows = (centres[np.arange(400) % 20] + random.normal(0, 0.3, (400, 1000))).astype(np.float32)
    features = written(tmp_path, rows)
    for at in range(20):
        near = features.nearest(f"{at}.png", 10)
        assert {int(path.removesuffix(".png")) % 20 for path, _ in near} == {at}
        assert f"{at}.png" not in dict(near)
        assert [cosine for _, cosine in near] == sorted((cosine for _, cosine in near), reverse=True)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_samples_have_few_neighbours(n: int, tmp_path: Path) -> None:
    assert len(written(tmp_path, random_rows(n, 8)).nearest("0.png", 10)) == n - 1


def test_a_sample_without_features_has_no_neighbours(tmp_path: Path) -> None:
    assert written(tmp_path, random_rows(5, 8)).nearest("other.png", 3) == []


def test_of_a_sample_scored_twice_the_last_features_count(tmp_path: Path) -> None:
    features = written(tmp_path, random_rows(4, 8), ["a.png", "b.png", "a.png", "c.png"])
    assert features.rows_of(["a.png", "b.png"]).tolist() == [2, 1]
    assert sorted(path for path, _ in features.nearest("b.png", 5)) == ["a.png", "c.png"]


def test_values_that_are_no_numbers_or_too_large_spoil_nothing(tmp_path: Path) -> None:
    rows = random_rows(50, 8)
    rows[7], rows[8], rows[9] = np.nan, np.inf, 1e9
    features = written(tmp_path, rows)
    assert np.isfinite(features.short.astype(np.float32)).all()
    assert len(features.nearest("0.png", 5)) == 5


def test_features_of_another_length_are_refused(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path)
    writer.append(["a.png"], random_rows(1, 8))
    with pytest.raises(CleanerError, match=r"the feature map of 'b.png' has 12 values, those before have 8"):
        writer.append(["b.png"], random_rows(1, 12))


def test_features_that_a_resumed_scan_needs_and_are_gone_are_refused(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path)
    writer.append(["a.png", "b.png"], random_rows(2, 8))
    with pytest.raises(CleanerError, match=r"damaged; start over with resume=False"):
        FeatureWriter(tmp_path).resume((3, 8))


@pytest.mark.parametrize("name", ["features.npy", "features.paths", "features.short.npy"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_damaged_files_are_refused(name: str, content: bytes | None, tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path)
    writer.append(["a.png", "b.png"], random_rows(2, 8))
    files = writer.finish()
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CleanerError, match="scan again with features"):
        Features(files)
