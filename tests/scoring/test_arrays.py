"""Scans of predictions made elsewhere: losses equal a plain computation, however the input is cut into pieces."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cleaner
from cleaner.cli import main
from cleaner.core import prediction_blocks
from cleaner.core.duplicates import DuplicateFinder
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.prediction_blocks import Column
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan, load
from tests.support.images import make_image
from tests.support.loaded_packages import HEAVY, SCREEN, loaded_by

FILES = ("top_losses.csv", "confusion.csv", "classes.csv", "unreadable.csv")
TIME = "2026-01-31T12:00:00Z"
VOCAB = ("cat", "dog", "fox")
PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.9, 0.0], [0.25, 0.25, 0.5], [0.0, 0.4, 0.6]])
LABELS = np.array([0, 0, 2, 0])
PATHS = ["b.png", "a.png", "c/1.png", "c/2.png"]


def scan_of(folder: Path, name: str = "scan", **changes: Any) -> Scan:
    """A scan of four samples, with some arguments changed."""
    arguments = {"labels": LABELS, "pred_probs": PROBS, "paths": PATHS, "vocab": VOCAB, "root": folder, "k": 9}
    return cleaner.scan_arrays(out=folder / name, progress=False, **{**arguments, **changes})


def files_of(scan: Scan) -> list[bytes]:
    assert scan.folder is not None
    return [(scan.folder / name).read_bytes() for name in FILES]


def in_pieces(values: Any, lengths: Sequence[int]) -> Iterator[Any]:
    """The values in pieces of these lengths, over and over."""
    at = 0
    while at < len(values):
        for length in lengths:
            yield values[at : at + length]
            at += length


def test_the_samples_are_ranked_by_cross_entropy(tmp_path: Path) -> None:
    scan = scan_of(tmp_path)
    found = [(s.label, s.rank, s.path, s.predicted, s.loss, s.confidence) for s in scan.samples]
    assert found == [
        ("cat", 1, "c/2.png", "fox", math.inf, pytest.approx(0.6)),
        ("cat", 2, "a.png", "dog", pytest.approx(-math.log(0.1)), pytest.approx(0.9)),
        ("cat", 3, "b.png", "cat", pytest.approx(-math.log(0.7)), pytest.approx(0.7)),
        ("fox", 1, "c/1.png", "fox", pytest.approx(math.log(2)), pytest.approx(0.5)),
    ]
    assert (scan.splits, scan.scored, scan.ranked_by) == (("all",), {"all": 4}, "loss")
    assert scan.cells["all"] == {("cat", "cat"): 1, ("cat", "dog"): 1, ("cat", "fox"): 1, ("fox", "fox"): 1}
    assert not (tmp_path / "scan" / "checkpoint").exists()


def test_the_samples_are_ranked_by_margin(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, ranked_by="margin", split="test")
    found = {s.path: s.loss for s in scan.samples}
    assert found == pytest.approx({"a.png": 0.8, "c/2.png": 0.6, "b.png": -0.5, "c/1.png": -0.25})
    assert [s.path for s in scan.kept("test", "cat")] == ["a.png", "c/2.png", "b.png"]
    assert load(tmp_path / "scan").ranked_by == "margin"
    assert json.loads((tmp_path / "scan" / "scan.json").read_text())["ranked_by"] == "margin"


WEIGHTS = st.integers(2, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 4), min_size=width, max_size=width).filter(any), min_size=1, max_size=12
    )
)


@given(
    weights=WEIGHTS,
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    ranked_by=st.sampled_from(["loss", "margin"]),
    k=st.integers(1, 4),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_kept_samples_are_the_first_of_a_full_sort_however_the_input_is_cut(
    weights: list[list[int]], dtype: Any, ranked_by: str, k: int, data: st.DataObject
) -> None:
    probs = np.array([np.array(row) / sum(row) for row in weights]).astype(dtype)
    n, width = probs.shape
    vocab = [f"l{index}" for index in range(width)]
    labels = np.array(data.draw(st.lists(st.integers(0, width - 1), min_size=n, max_size=n)))
    paths = data.draw(st.permutations([f"{index}.png" for index in range(n)]))
    lengths = data.draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=3, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        options = {"root": Path(folder), "k": k, "ranked_by": ranked_by, "vocab": vocab}
        whole = scan_of(Path(folder), labels=labels, pred_probs=probs, paths=paths, **options)
        assert [(s.label, s.path, s.loss) for s in whole.samples] == expected(probs, labels, paths, ranked_by, k)
        texts = [vocab[label] for label in labels]
        labels_in, probs_in, paths_in = map(in_pieces, (texts, probs, paths), lengths)
        chunks = zip(*(in_pieces(column, lengths[0]) for column in (labels, probs, paths)), strict=True)
        with patch.object(prediction_blocks, "_NUMBERS_PER_BLOCK", 2 * width):
            pieces = scan_of(Path(folder), "other", labels=labels_in, pred_probs=probs_in, paths=paths_in, **options)
        assert files_of(pieces) == files_of(whole)
        assert files_of(cleaner.scan_chunks(chunks, out=Path(folder, "third"), **options)) == files_of(whole)


def expected(probs: Any, labels: Any, paths: list[str], ranked_by: str, k: int) -> list[tuple[str, str, float]]:
    """Of each label the `k` highest numbers, computed one by one and sorted all together."""
    rows = []
    for row, label, path in zip(probs.tolist(), labels.tolist(), paths, strict=True):
        others = [p for index, p in enumerate(row) if index != label]
        loss = math.inf if row[label] == 0 else -math.log(row[label])
        rows.append((f"l{label}", path, loss if ranked_by == "loss" else max(others) - row[label]))
    rows.sort(key=lambda row: (row[0], -row[2], row[1]))
    best = [row for label in sorted({row[0] for row in rows}) for row in [r for r in rows if r[0] == label][:k]]
    return [(label, path, pytest.approx(value, rel=1e-8, abs=1e-9)) for label, path, value in best]


def texts(labels: Sequence[int]) -> list[str]:
    return [VOCAB[label] for label in labels]


GIVEN: dict[str, dict[str, Any]] = {
    "texts": {"labels": texts(LABELS)},
    "numpy texts": {"labels": np.array(texts(LABELS)), "paths": np.array(PATHS)},
    "whole numbers of Python": {"labels": LABELS.tolist()},
    "small integers": {"labels": LABELS.astype(np.uint8)},
    "pandas": {
        "labels": pd.Series(texts(LABELS), index=[5, 3, 4, 1]),
        "pred_probs": pd.DataFrame(PROBS, columns=list(VOCAB), index=[5.0, 3.0, 4.0, 1.0]),
        "paths": pd.Series(PATHS),
        "vocab": pd.Index(VOCAB),
    },
    "categories": {"labels": pd.Categorical(texts(LABELS)), "pred_probs": pd.DataFrame(PROBS)},
    "tensors": {"labels": torch.tensor(LABELS), "pred_probs": torch.tensor(PROBS)},
    "lists": {"labels": LABELS.tolist(), "pred_probs": PROBS.tolist(), "vocab": list(VOCAB)},
    "a list of rows": {"pred_probs": list(PROBS)},
    "other order in memory": {"pred_probs": np.asfortranarray(PROBS)},
    "paths": {"paths": [Path(path) for path in PATHS]},
    "paths that are not plain": {"paths": ["./b.png", "x/../a.png", "c//1.png", "c/./2.png"]},
    "generators": {"labels": iter(texts(LABELS)), "paths": (path for path in PATHS), "pred_probs": iter([PROBS])},
    "lists of pieces": {"labels": [LABELS[:3], LABELS[3:]], "pred_probs": [PROBS[:1], PROBS[1:]], "paths": [PATHS]},
    "an empty piece": {"labels": iter([[], texts(LABELS)]), "pred_probs": iter([PROBS[:0], PROBS])},
    "a view of strings": {"paths": dict.fromkeys(PATHS).keys()},
}


@pytest.mark.parametrize("name", GIVEN)
def test_inputs_of_every_accepted_type_give_the_same_scan(name: str, tmp_path: Path) -> None:
    assert files_of(scan_of(tmp_path, "other", **GIVEN[name])) == files_of(scan_of(tmp_path))


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_array_is_scored_and_left_as_it_is(mode: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "probs.npy", PROBS)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode=mode)
    if mode == "c":
        mapped[0] = [0.1, 0.1, 0.8]  # in memory only, and not to be lost
    scan = scan_of(tmp_path, pred_probs=mapped)
    assert scan.kept("all", "cat")[-1].loss == pytest.approx(-math.log(0.1 if mode == "c" else 0.7))
    assert mapped[0].tolist() == ([0.1, 0.1, 0.8] if mode == "c" else PROBS[0].tolist())
    assert (np.load(tmp_path / "probs.npy") == PROBS).all()


def test_absolute_paths_are_below_the_folder_that_they_have_in_common(tmp_path: Path) -> None:
    root = tmp_path / "data" / "images"
    scan = scan_of(
        tmp_path, root=None, paths=[root / path for path in ("cat/1.png", "cat-2/2.png", "cat/b/3.png", "x.png")]
    )
    assert (scan.root, {s.path for s in scan.samples}) == (root, {"cat/1.png", "cat-2/2.png", "cat/b/3.png", "x.png"})
    scan = scan_of(
        tmp_path, "other", root=None, paths=[str(root / path) for path in ("cat/1.png", "cat/2", "cat/3", "cat/4")]
    )
    assert scan.root == root / "cat"


def test_relative_paths_are_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scan = scan_of(tmp_path, root=None, paths=[*PATHS[:3], tmp_path / "c/2.png"])
    assert (scan.root, {s.path for s in scan.samples}) == (tmp_path, set(PATHS))


def test_a_root_may_be_relative_and_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert scan_of(tmp_path, root="there/images", paths=iter(PATHS)).root == tmp_path / "there" / "images"


def test_whole_numbers_in_the_vocabulary_become_text(tmp_path: Path) -> None:
    assert scan_of(tmp_path, vocab=range(3)).vocab == ("0", "1", "2")
    scan = scan_of(tmp_path, "other", vocab=np.array([7, 8, 9]), labels=["7", "7", "9", "7"])
    assert (scan.vocab, scan.samples[0].label) == (("7", "8", "9"), "7")


def test_a_repeated_scan_keeps_the_decisions_and_removes_an_unfinished_scan(tmp_path: Path) -> None:
    first = scan_of(tmp_path)
    Manifest(first.manifest_path).append(Decision("a.png", Action.KEEP, decided_at=TIME))
    (tmp_path / "scan" / "checkpoint").mkdir()
    (tmp_path / "scan" / "checkpoint" / "progress.npz").write_bytes(b"of a scan that was stopped")
    again = scan_of(tmp_path, ranked_by="margin")
    assert [row.path for row in Manifest(again.manifest_path).rows()] == ["a.png"]
    assert not (tmp_path / "scan" / "checkpoint").exists()


def test_a_second_scan_into_the_same_folder_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    refused: list[CleanerError] = []

    def chunks() -> Iterator[tuple[Any, Any, Any]]:
        yield LABELS[:2], PROBS[:2], PATHS[:2]
        with pytest.raises(CleanerError, match="another scan is being written to") as error:
            scan_of(tmp_path, k=1)
        refused.append(error.value)
        yield LABELS[2:], PROBS[2:], PATHS[2:]

    scan = cleaner.scan_chunks(chunks(), VOCAB, tmp_path / "scan", root=tmp_path, k=9, progress=False)
    assert f"process {os.getpid()} on" in str(refused[0])
    assert files_of(scan) == files_of(scan_of(tmp_path, "alone"))
    assert scan_of(tmp_path, k=1).k == load(tmp_path / "scan").k == 1


def row(*values: float) -> Any:
    return np.array([PROBS[0], values, *PROBS[2:]])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "logits": (
        {"pred_probs": PROBS * 9},
        r"row 0 \('b.png'\) range from 0.9 to 6.3 and sum to 9; .* apply softmax to each row",
    ),
    "negative": ({"pred_probs": row(-0.2, 0.9, 0.3)}, r"row 1 \('a.png'\) range from -0.2 to 0.9 and sum to 1;"),
    "not adding up": ({"pred_probs": row(0.5, 0.498, 0)}, r"row 1 \('a.png'\) .* sum to 0.998"),
    "not a number": ({"pred_probs": row(math.nan, 0.5, 0.5)}, r"row 1 \('a.png'\) range from nan to nan"),
    "infinite": ({"pred_probs": row(math.inf, -math.inf, 1)}, r"row 1 \('a.png'\) range from -inf to inf"),
    "one column too many": ({"vocab": ["cat", "dog"]}, r"shape \(4, 3\); .* each of 2 labels"),
    "one column too many in a piece": (
        {"pred_probs": iter([PROBS[:1], PROBS[1:, :2]])},
        r"shape \(3, 2\); .* each of 3",
    ),
    "one axis": ({"pred_probs": PROBS[:, 0]}, r"pred_probs has the shape \(4,\)"),
    "rows for pieces": ({"pred_probs": iter(PROBS)}, r"pred_probs has the shape \(3,\)"),
    "columns in another order": (
        {"pred_probs": pd.DataFrame(PROBS, columns=["dog", "cat", "fox"])},
        "has column 'dog' where vocab has 'cat'; pass vocab in that order",
    ),
    "whole numbers": (
        {"pred_probs": np.eye(4, 3, dtype=int)},
        "pred_probs is of type int64; pass probabilities as floats",
    ),
    "ragged": ({"pred_probs": [[0.5, 0.5], [1.0]]}, "NumPy cannot convert pred_probs to an array"),
    "a path for predictions": (
        {"pred_probs": "probs.npy"},
        "pred_probs is a str; pass an array or an iterable of arrays",
    ),
    "a number for predictions": ({"pred_probs": 3}, "pred_probs is a int; pass an array"),
    "a tensor with a gradient": ({"pred_probs": torch.tensor(PROBS, requires_grad=True)}, "cannot convert pred_probs"),
    "no rows": ({"labels": [], "pred_probs": PROBS[:0], "paths": []}, "there are no samples"),
    "no pieces": ({"labels": iter([]), "pred_probs": iter([]), "paths": iter([])}, "there are no samples"),
    "a label too few": ({"labels": LABELS[:3]}, "there are 3 labels, 4 rows of pred_probs, 4 paths; pass"),
    "a path too many": ({"paths": [*PATHS, "d.png"]}, "there are 4 labels, 4 rows of pred_probs, 5 paths"),
    "a label too few in pieces": (
        {"labels": iter(LABELS[:3])},
        "at least 3 labels, 4 rows of pred_probs, 4 paths",
    ),
    "a path too many in pieces": (
        {"paths": iter([*PATHS, "d.png"])},
        "at least 4 labels, 4 rows of pred_probs, 5 paths",
    ),
    "rows too many in pieces": (
        {"pred_probs": iter([PROBS, PROBS])},
        "at least 4 labels, 8 rows of pred_probs, 4 paths",
    ),
    "an index too high": (
        {"labels": [0, 0, 3, 0]},
        r"row 2 \('c/1.png'\) is 3; pass indices from 0 to 2, or labels as text",
    ),
    "an index too low": ({"labels": np.array([0, -1, 2, 0])}, r"row 1 \('a.png'\) is -1; pass indices"),
    "unknown labels": (
        {"labels": ["Cat", "cat", "cow", "dog "]},
        "vocab is 'cat', 'dog', 'fox', without the labels 'Cat', 'cow', 'dog '",
    ),
    "an unknown label": ({"labels": np.array(["cat", "cat", "cow", "dog"])}, "vocab is .*, without the labels 'cow'"),
    "no label": ({"labels": ["cat", None, "cat", "cat"]}, r"row 1 \('a.png'\) has no label"),
    "an empty label": ({"labels": np.array(["cat", "", "cat", "cat"])}, r"row 1 \('a.png'\) has no label"),
    "no number": ({"labels": pd.Series(["cat", "cat", math.nan, "cat"])}, r"row 2 \('c/1.png'\) has no label"),
    "pandas' own": (
        {"labels": pd.array(["cat", None, "cat", "cat"], "string")},
        r"row 1 \('a.png'\) is <NA> of type NAType",
    ),
    "floats": (
        {"labels": LABELS.astype(float)},
        r"row 0 \('b.png'\) is 0.0 of type float; pass labels as text, or their indices",
    ),
    "booleans": ({"labels": LABELS > 0}, r"row 0 \('b.png'\) is False of type bool; pass"),
    "bytes": ({"labels": [b"cat"] * 4}, r"row 0 \('b.png'\) is b'cat' of type bytes"),
    "labels with two axes": ({"labels": LABELS.reshape(2, 2)}, r"labels has the shape \(2, 2\)"),
    "one text": ({"labels": "cat"}, "labels is a str; pass a list, an array or an iterable"),
    "a set": ({"paths": set(PATHS)}, "paths is a set; pass a list"),
    "indices or labels": (
        {"vocab": [1, 2, 3], "labels": [1, 2, 1, 1]},
        "is 1, which may be an index in vocab or one of the labels '1', '2', '3'",
    ),
    "indices or texts": (
        {"vocab": ["1", "2", "3"]},
        r"'b.png'\) is 0, which may be an index",
    ),
    "a path twice": (
        {"paths": ["b.png", "a.png", "c.png", "./a.png"]},
        r"row 3 \('a.png'\) has the path of an earlier row",
    ),
    "no path": ({"paths": ["b.png", "", "c.png", "d.png"]}, "the path of row 1 is ''; pass the path of a file"),
    "no path at all": ({"paths": ["b.png", None, "c.png", "d.png"]}, "the path of row 1 is None"),
    "a path outside": ({"paths": ["b.png", "../a.png", "c.png", "d.png"]}, "the path of row 1: .* is not inside the"),
    "a path outside, absolute": ({"paths": ["/b.png", "a.png", "c.png", "d.png"]}, "row 0: '/b.png' is not inside the"),
    "the folder itself": ({"paths": ["b.png", ".", "c.png", "d.png"]}, "the path of row 1: .* is not inside the"),
    "nothing in common": (
        {"paths": ["/a/1", "/a/2", "/b/3", "/c/4"], "root": None},
        "share no folder; pass .* as root",
    ),
    "no root for pieces": (
        {"paths": iter(PATHS), "root": None},
        "root is not given; .* the paths come in pieces",
    ),
    "a vocabulary of one": ({"vocab": ["cat"]}, "vocab has the labels .*'cat'.*; expected at least 2"),
    "a label twice": ({"vocab": ["cat", "dog", "cat"]}, "vocab has more than one label 'cat'"),
    "the same as text": ({"vocab": [1, "1", 2]}, "vocab has more than one label '1'"),
    "a vocabulary of floats": (
        {"vocab": [1.0, 2.0, 3.0]},
        "vocab has the label 1.0 of type float; labels are text or whole numbers",
    ),
    "a vocabulary of booleans": ({"vocab": [True, False, "x"]}, "vocab has the label True of type bool"),
    "an empty name": ({"vocab": ["cat", "", "x"]}, "vocab has an empty label"),
    "a set for a vocabulary": ({"vocab": {"cat", "dog", "fox"}}, "vocab must list its labels in the order .*; got set"),
    "a text for a vocabulary": ({"vocab": "cat"}, "vocab must list its labels .*; got str"),
    "another ranking": ({"ranked_by": "entropy"}, "ranked_by is 'entropy'; pass 'loss' or 'margin'"),
    "no k": ({"k": 0}, "k is 0; pass a whole number of at least 1"),
    "no name of a split": ({"split": ""}, "split is ''; pass a name such as 'all'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_arguments_are_refused_and_leave_the_earlier_scan(name: str, tmp_path: Path) -> None:
    changes, problem = WRONG[name]
    # Iterators in WRONG can be read only once.
    before = files_of(scan_of(tmp_path)) if "another" in name else None
    with pytest.raises(CleanerError, match=problem):
        scan_of(tmp_path, **changes)
    assert before is None or files_of(load(tmp_path / "scan")) == before
    assert before is not None or not (tmp_path / "scan").exists()


def test_a_certain_and_correct_prediction_has_a_loss_of_zero(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, labels=[0, 1, 2, 0], pred_probs=np.eye(3)[[0, 1, 2, 0]])
    assert {str(sample.loss) for sample in scan.samples} == {"0.0"}  # and none of them -0.0


def test_half_precision_probabilities_of_a_thousand_classes_add_up(tmp_path: Path) -> None:
    probs = np.random.default_rng(0).dirichlet(np.full(1000, 0.3), 8).astype(np.float16)
    scan = scan_of(tmp_path, pred_probs=probs, vocab=range(1000), labels=[3] * 8, paths=[f"{n}.png" for n in range(8)])
    assert scan.scored == {"all": 8}


def test_memory_does_not_grow_with_the_number_of_pieces(tmp_path: Path) -> None:
    probs = np.full((400, 500), 1 / 500, np.float32)

    def chunks(n: int) -> Iterator[tuple[Any, Any, list[str]]]:
        for piece in range(n):
            yield np.arange(400) % 50, probs.copy(), [f"{piece}/{number}.png" for number in range(400)]

    def peak(n: int) -> int:
        tracemalloc.start()
        try:
            scan = cleaner.scan_chunks(chunks(n), range(500), tmp_path / str(n), root=tmp_path, k=2, progress=False)
            assert scan.scored == {"all": 400 * n}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # By then the heaps of the 50 labels are full.
    assert abs(peak(48) - peak(24)) < probs.nbytes


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        (
            [(LABELS, PROBS, PATHS), (LABELS, PROBS, ["d.png"])],
            "chunk 1 has 4 labels, 4 rows of pred_probs, 1 paths; pass",
        ),
        (
            [(LABELS, PROBS)],
            r"chunk 0 is \(ndarray, ndarray\); pass tuples \(labels, pred_probs, paths\) of lists or arrays",
        ),
        ([(LABELS, PROBS, "a.png")], r"chunk 0 is \(ndarray, ndarray, str\); pass tuples"),
        ([(LABELS, PROBS, PATHS), None], "chunk 1 is NoneType; pass tuples"),
        (PROBS, "chunk 0 is ndarray; pass tuples"),
        ([], "there are no samples"),
        ("chunks.npz", "chunks is a str; pass an iterable of"),
        (3, "chunks is a int; pass an iterable of"),
    ],
)
def test_invalid_chunks_are_refused(chunks: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=problem):
        cleaner.scan_chunks(chunks, VOCAB, tmp_path / "scan", root=tmp_path, progress=False)
    assert not (tmp_path / "scan").exists()


@given(st.lists(st.lists(st.sampled_from("abcdefghijkl"), max_size=4), max_size=8))
def test_the_duplicate_finder_returns_the_first_repeated_text(batches: list[list[str]]) -> None:
    finder, seen = DuplicateFinder(), set[str]()
    for batch in batches:
        again = [i for i, text in enumerate(batch) if text in seen or text in batch[:i]]
        assert finder.update(batch) == (again[0] if again else None)
        seen.update(batch)


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(1, 4), max_size=9))
def test_a_column_yields_all_values_in_order(lengths: list[int], asked: list[int]) -> None:
    values = list(range(sum(lengths)))
    cuts = np.cumsum([0, *lengths])
    column = Column("values", (values[begin:end] for begin, end in pairwise(cuts)))
    found = [column.take(n) for n in [*asked, len(values)]]
    assert [value for some in found for value in some] == values
    assert all(len(some) == n for some, n in zip(found, asked, strict=False) if sum(map(len, found)) > sum(asked))


def test_neither_torch_nor_fastai_is_loaded(tmp_path: Path) -> None:
    code = "import cleaner, numpy as np\n"
    code += f"cleaner.scan_arrays([0, 1], np.eye(2), ['a', 'b'], ['x', 'y'], {str(tmp_path / 'scan')!r})"
    assert not loaded_by(code) & (HEAVY | SCREEN | {"pandas"})
    assert load(tmp_path / "scan").scored == {"all": 2}


# The command


def images(folder: Path, n: int = 60) -> dict[str, str]:
    """A dataset of class folders with a table of the labels, a tenth of them wrong, and the predictions of it all.

    Returns:
        for each image with a wrong label the right one.
    """
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, n)
    wrong = {f"{VOCAB[(truth[i] + 1) % 3]}/{i:03d}.png": VOCAB[truth[i]] for i in range(0, n, 10)}
    paths = [f"{VOCAB[(truth[i] + (i % 10 == 0)) % 3]}/{i:03d}.png" for i in range(n)]
    for i, path in enumerate(paths):
        make_image(folder / "images" / path, seed=i, size=(8, 8))
    lines = [f"{path},{path.split('/')[0]}" for path in paths]
    (folder / "labels.csv").write_text("\n".join(["fname,label", *lines, ""]))
    probs = rng.dirichlet([0.5] * 3, n) * 0.3
    probs[np.arange(n), truth] += 0.7
    np.save(folder / "probs.npy", probs.astype(np.float32))
    return wrong


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `images` makes, in the current folder."""
    images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SCAN = ("scan", "--pred-probs", "probs.npy", "--labels", "labels.csv", "--data", "images", "--out", "scan")


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_planted_label_errors_are_found_applied_and_undone(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = images(dataset)
    assert main([*SCAN, "-k", "4", "--ranked-by", "margin"]) == 0
    agreeing = f"{1 - len(wrong) / 60:.1%}"
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"60 predictions ranked, {agreeing} of them are the label: scan\nReview them: cleaner"
    )
    assert "images" not in printed.err.replace("scan all", "")
    scan = load("scan")
    assert scan.root == dataset / "images"
    worst = scan.worst(len(wrong))
    assert {(sample.path, sample.predicted) for sample in worst} == set(wrong.items())

    manifest = Manifest(scan.manifest_path)
    for sample in worst:
        sha256 = sha256_of(scan.root / sample.path)
        fields = {"split": sample.split, "loss": sample.loss, "predicted": sample.predicted, "sha256": sha256}
        manifest.append(
            Decision(sample.path, Action.RELABEL, sample.label, sample.predicted, decided_at=TIME, **fields)
        )
    before = tree(dataset / "images")
    labels = (dataset / "labels.csv").read_bytes()

    apply = ["apply", str(scan.manifest_path), "--data", "images"]
    assert main(apply) == 0
    (journal,) = Path("scan").glob("journal-*.jsonl")
    for path, label in wrong.items():
        moved = dataset / "images" / label / path.split("/")[1]
        assert sha256_of(moved) == before[path]
    assert main(["undo", str(journal)]) == 0
    assert tree(dataset / "images") == before
    journal.unlink()

    assert main([*apply, "--labels", "labels.csv"]) == 0
    table = pd.read_csv("labels.csv").set_index("fname")["label"]
    assert {path: table[path] for path in wrong} == wrong
    (journal,) = Path("scan").glob("journal-*.jsonl")
    assert main(["undo", str(journal)]) == 0
    assert (dataset / "labels.csv").read_bytes() == labels
    assert tree(dataset / "images") == before


@pytest.mark.usefixtures("dataset")
def test_show_names_its_column_after_the_ranking(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SCAN, "--ranked-by", "margin", "--split", "test"]) == 0
    capsys.readouterr()
    assert main(["show", "scan", "-n", "1"]) == 0
    assert capsys.readouterr().out.split()[:5] == ["split", "label", "rank", "margin", "predicted"]
    assert load("scan").splits == ("test",)


@pytest.mark.usefixtures("dataset")
def test_the_command_reports_missing_images(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move("images", "elsewhere")
    assert main(list(SCAN)) == 0
    assert "20 of the images with the highest losses are missing in 'images': '" in capsys.readouterr().err


@pytest.mark.usefixtures("dataset")
def test_the_columns_of_the_predictions_are_those_of_the_vocabulary_file() -> None:
    assert main(list(SCAN)) == 0
    order = [2, 0, 1]
    np.save("probs.npy", np.load("probs.npy")[:, order])
    Path("vocab.txt").write_bytes("\ufeff".encode() + "\r\n".join(VOCAB[at] for at in order).encode())
    shutil.move("scan", "first")
    assert main([*SCAN, "--vocab", "vocab.txt"]) == 0
    assert load("scan").vocab == ("fox", "cat", "dog")
    assert set(load("scan").samples) == set(load("first").samples)


def put(name: str, text: str | None = None, array: Any = None) -> None:
    if text is not None:
        Path(name).write_text(text)
    else:
        np.save(name, array)


def table(labels: Sequence[str]) -> str:
    return "\n".join(["fname,label", *(f"{n}.png,{label}" for n, label in enumerate(labels))])


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "no labels": ({}, ["-labels"], "--pred-probs needs a table with the paths and labels"),
    "options of a learner": ({}, ["--fast", "--workers", "0"], "--fast, --workers can be given only with --learner"),
    "no predictions": (
        {},
        ["--pred-probs", "none.npy"],
        "'none.npy' cannot be read .*; pass an .npy file .* from numpy.save",
    ),
    "no array": ({"probs.npy": "no"}, [], "'probs.npy' cannot be read"),
    "one axis": ({"probs.npy": np.ones(3)}, [], r"'probs.npy' has an array of shape \(3,\)"),
    "no table": ({}, ["--labels", "none.csv"], "no label table 'none.csv'"),
    "no such column": ({}, ["--label-column", "kind"], "no column 'kind'; its columns are"),
    "rows": ({"labels.csv": table(["cat"])}, [], "'labels.csv' has 1 rows, but 'probs.npy' has 60;"),
    "no label": ({"labels.csv": table(["cat", ""])}, [], r"'labels.csv': row 2 \('1.png'\) has no label in column"),
    "labels": (
        {"labels.csv": table(["a", "b"] * 30)},
        [],
        r"2 different labels \('a', 'b'\), the predictions 3 columns; .*--vocab",
    ),
    "numbers": (
        {"labels.csv": table(["1", "2", "10"] * 20)},
        [],
        r"sorted as text \('1', '10', '2'\) or by value \('1', '2', '10'\); list .* with --vocab",
    ),
    "no vocabulary": ({}, ["--vocab", "none.txt"], "'none.txt' cannot be read"),
    "a gap in the vocabulary": ({"v.txt": "cat\n\ndog\n"}, ["--vocab", "v.txt"], "'v.txt' has an empty label"),
    "another vocabulary": (
        {"v.txt": "Cat\ndog\nowl\n"},
        ["--vocab", "v.txt"],
        "labels only in the table: 'cat', 'fox'; only in 'v.txt': 'Cat', 'owl'; correct the file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("dataset")
def test_the_command_refuses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, options, problem = REFUSED[name]
    for file, content in files.items():
        put(file, *((content,) if isinstance(content, str) else (None, content)))
    command = [part for part in SCAN if part not in ("--labels", "labels.csv")] if options == ["-labels"] else [*SCAN]
    assert main([*command, *(option for option in options if option != "-labels")]) == 2
    assert re.search(problem, capsys.readouterr().err)
    assert not os.path.exists("scan")


@pytest.mark.usefixtures("dataset")
def test_several_arrays_in_one_file_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("probs.npz", np.load("probs.npy"))
    assert main([*SCAN, "--pred-probs", "probs.npz"]) == 2
    assert "'probs.npz' has several arrays" in capsys.readouterr().err


def test_a_learner_takes_no_options_of_predictions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["scan", "--learner", "x.pkl", "--data", str(tmp_path), "--out", "scan", "--ranked-by", "margin"]
    assert main(command) == 2
    assert "--ranked-by can be given only with --pred-probs" in capsys.readouterr().err


def test_numbers_that_sort_alike_as_text_and_by_value_need_no_vocabulary_file(dataset: Path) -> None:
    (dataset / "labels.csv").write_text(table(["007", "010", "9"] * 20))
    assert main(list(SCAN)) == 2  # 9 is before 10 as a number
    (dataset / "labels.csv").write_text(table(["007", "009", "010"] * 20))
    assert main(list(SCAN)) == 0
    assert load("scan").vocab == ("007", "009", "010")
