"""Label tables in Parquet: other columns, their order and all types stay equal."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cleaner.apply import apply
from cleaner.apply.execute import undo
from cleaner.apply.table.table_file import read_table
from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from tests.support.folders import delete, make_scan, relabel, tree
from tests.support.label_tables import Place

PATHS = ["train/1.png", "train/2.png", "train/3.png", "valid/1.png"]


def frame(labels: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "when": pd.date_range("2026-01-01", periods=4, tz="UTC"),
            "fname": PATHS,
            "label": labels,
            "size": pd.array([1, None, 3, 4], dtype="Int16"),
            "kind": pd.Categorical(["b", "a", "b", None], categories=["c", "b", "a"], ordered=True),
            "boxes": [[1, 2], [], None, [3]],
        }
    )


def place_of(tmp_path: Path, content: pd.DataFrame, **options: Any) -> Place:
    content.to_parquet(tmp_path / "t", **options)
    return Place(tmp_path, (tmp_path / "t").read_bytes(), "data/labels.parquet")


KINDS: dict[str, Any] = {
    "text": (["cat", "dog", "cat", "fox"], ["dog", "cat", "fox"]),
    "categories": (
        pd.Categorical(["cat", "dog", "cat", "fox"], categories=["fox", "dog", "cat", "cow"]),
        pd.Categorical(["dog", "cat", "fox"], categories=["fox", "dog", "cat", "cow"]),
    ),
    "numbers": ([10, 20, 10, 30], [20, 10, 30]),
}


@pytest.fixture(autouse=True)
def _needs_pyarrow() -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra test brings")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"compression": "zstd", "row_group_size": 3}])
def test_apply_changes_rows_and_all_else_stays_equal(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    before, after = KINDS[kind]
    place = place_of(tmp_path, frame(before), **options)
    one, two, three = ("10", "20", "30") if kind == "numbers" else ("cat", "dog", "fox")
    make_scan(place.root, one, two, three)
    place.decide(relabel(PATHS[0], two, label=one), delete(PATHS[1], label=two))
    report = place.apply()
    assert (len(report.done), report.conflicts) == (2, ())
    expected = frame(before).drop(index=1).reset_index(drop=True).assign(label=after)
    pd.testing.assert_frame_equal(pd.read_parquet(place.table), expected)
    old, new = (parquet.ParquetFile(path) for path in (tmp_path / "t", place.table))
    assert new.schema_arrow.equals(old.schema_arrow)
    assert new.metadata.row_group(0).column(1).compression == old.metadata.row_group(0).column(1).compression
    assert place.apply().done == ()
    undo(report.journal)
    assert tree(place.root) == place.before


@pytest.mark.parametrize("new", ["dog", "99999999999999999999", "007"])
def test_a_label_that_a_column_of_numbers_cannot_hold_is_left_alone(new: str, tmp_path: Path) -> None:
    place = place_of(tmp_path, frame([1, 2, 3, 4]))
    make_scan(place.root, new)
    place.decide(relabel(PATHS[0], new))
    assert "int64" in place.apply().conflicts[0].reason
    assert tree(place.root) == place.before


def test_what_is_no_parquet_or_has_no_labels_is_an_error(tmp_path: Path) -> None:
    place = place_of(tmp_path, frame([1.5, 2, 3, 4]))
    place.decide(delete(PATHS[0]))
    with pytest.raises(CleanerError, match="'label' is of type double"):
        place.apply()
    with pytest.raises(CleanerError, match="'size' has no text"):
        place.apply(path_column="size")
    with pytest.raises(CleanerError, match="its columns are"):
        place.apply(path_column="none")
    place.table.write_bytes(b"PAR1")
    with pytest.raises(CleanerError, match="is not a Parquet file"):
        place.apply()


def test_a_damaged_parquet_is_told_or_read_and_nothing_else(tmp_path: Path) -> None:
    place = place_of(tmp_path, frame(["cat", "dog", "cat", "fox"]))
    good, chance, told = place.table.read_bytes(), random.Random(1), 0
    for n in range(200):
        damage = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            damage[chance.randrange(len(good))] = chance.randrange(256)
        place.table.write_bytes(bytes(damage[: chance.randrange(len(good))] if n % 5 == 0 else damage))
        try:
            table = read_table(place.table, "fname", "label")
            table.changed({row: None for row, *_ in table.rows()})
        except CleanerError:
            told += 1
    assert told > 100


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(tmp_path, frame(["cat"] * 4))
    Manifest(place.manifest).append(delete(PATHS[0]))
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CleanerError, match="pip install pyarrow"):
        apply(place.manifest, place.root, labels=place.table)
