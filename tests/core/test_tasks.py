"""Label sets as text, and scans that say what they were trained for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.core.errors import CleanerError
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample, ScoredLabels
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import (
    DELIMITERS,
    MULTI_LABEL,
    OTHER,
    check_vocab,
    delimiter_for,
    drawn_file,
    join_labels,
    split_labels,
)

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"), min_size=1, max_size=6)


@given(st.lists(TEXT, unique=True, max_size=5))
def test_a_label_set_comes_back_from_its_text(labels: list[str]) -> None:
    try:
        delimiter = delimiter_for(labels)
    except CleanerError:
        assert all(any(d in label for label in labels) for d in DELIMITERS)
        return
    text = join_labels(labels, delimiter)
    assert text
    assert split_labels(text, delimiter) == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "delimiter"), [(["a", "b c"], ";"), (["a;b"], "|"), (["a;b|c"], ","), (["a;b|c,d"], " ")]
)
def test_the_first_delimiter_that_no_label_contains_is_taken(labels: list[str], delimiter: str) -> None:
    assert delimiter_for(labels) == delimiter


@pytest.mark.parametrize(
    ("labels", "message"), [(["a", ""], "a label is empty"), (["a;|", ", "], "the labels contain all delimiters")]
)
def test_labels_that_cannot_be_joined_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(CleanerError, match=message):
        delimiter_for(labels)


def make_scan(folder: Path) -> Scan:
    samples = (
        Sample("train", "cat", 1, "a.png", 2.0, "", 0.9, ("cat", "dog")),
        Sample("train", "cat", 2, "b.png", 1.0, "cat", 0.6, ()),
    )
    return Scan(
        folder, ("cat", "dog"), ("train",), 2, {"train": 2}, samples, {"train": {}}, task=MULTI_LABEL, label_delim=";"
    )


def test_a_multi_label_scan_comes_back_from_its_folder(tmp_path: Path) -> None:
    scan = make_scan(tmp_path).write(tmp_path / "scan")
    found = load(tmp_path / "scan")
    assert found == scan
    assert (found.task, found.label_delim) == (MULTI_LABEL, ";")
    assert found.top("train", "cat")["given"].tolist() == [("cat", "dog"), ()]
    lines = (tmp_path / "scan/top_losses.csv").read_text().splitlines()
    assert lines[0].endswith(",given,alternatives")
    assert lines[1].endswith(",cat;dog,[]")
    assert lines[2].endswith(",,[]")


def test_a_scan_without_a_task_is_single_label(tmp_path: Path) -> None:
    samples = (Sample("train", "cat", 1, "a.png", 2.0, "dog", 0.9),)
    Scan(tmp_path, ("cat", "dog"), ("train",), 2, {"train": 1}, samples, {"train": {("cat", "dog"): 1}}).write(tmp_path)
    description = json.loads((tmp_path / "scan.json").read_text())
    del description["task"], description["label_delim"]
    (tmp_path / "scan.json").write_text(json.dumps(description))
    assert load(tmp_path).task == "single-label"
    assert "given" not in load(tmp_path).top("train")


BAD = [
    ({"task": "detection"}, "the task is 'detection'; expected one of single-label, multi-label, other"),
    ({"label_delim": ""}, "label_delim is '' for the task 'multi-label'"),
    ({"label_delim": "#"}, "label_delim is '#'"),
    ({"task": OTHER}, "label_delim is ';' for the task 'other'"),
    ({"vocab": ["cat;x", "dog"]}, "the label 'cat;x' is empty or contains ';'"),
    ({"vocab": ["", "dog"]}, "the label '' is empty or contains ';'"),
    ({"task": 1}, "task is 1; expected type str"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_an_invalid_description_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    make_scan(tmp_path).write(tmp_path)
    description = json.loads((tmp_path / "scan.json").read_text()) | changes
    (tmp_path / "scan.json").write_text(json.dumps(description))
    with pytest.raises(CleanerError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(("old", "new"), [(",cat;dog", ",cat;cow"), (",a.png,2,,", ",a.png,2,cow,")])
def test_labels_outside_the_vocabulary_are_refused(old: str, new: str, tmp_path: Path) -> None:
    make_scan(tmp_path).write(tmp_path)
    file = tmp_path / "top_losses.csv"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(CleanerError, match=r"line 2.*cow"):
        load(tmp_path)


def test_an_empty_label_set_comes_back_from_the_manifest(tmp_path: Path) -> None:
    decision = Decision("a.png", Action.RELABEL, label="cat;dog", new_label=join_labels((), ";"))
    Manifest(tmp_path / "decisions.csv").append(decision)
    (found,) = Manifest(tmp_path / "decisions.csv").rows()
    assert split_labels(found.label, ";") == ("cat", "dog")
    assert split_labels(found.new_label, ";") == ()


def test_a_batch_of_label_sets_has_a_row_for_each_label() -> None:
    carried = np.array([[True, False], [False, True], [False, False]])
    said = np.array([[True, True], [False, False], [False, True]])
    losses = np.arange(6.0).reshape(3, 2)
    batch = ScoredLabels(["a", "b", "c"], carried, losses, said, losses / 10)
    rows = batch.to_rank()
    assert rows.paths == ["a", "b", "c", "a", "b", "c"]
    assert rows.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert rows.losses.tolist() == [0, 2, 4, 1, 3, 5]
    assert rows.predicted.tolist() == [0, 2, 2, 1, 2, 1]
    assert batch.to_count().predicted.tolist() == [0, 0, 0, 2, 2, 2]


def test_a_batch_whose_shapes_differ_is_refused() -> None:
    flags, numbers = np.zeros((2, 3), bool), np.zeros((2, 3))
    with pytest.raises(CleanerError, match="must have the shape"):
        ScoredLabels(["a", "b"], flags, numbers[:, :2], flags, numbers)
    with pytest.raises(CleanerError, match="must have the shape"):
        ScoredLabels(["a"], flags, numbers, flags, numbers)


def test_a_drawing_lies_in_the_scan_folder_whatever_the_path(tmp_path: Path) -> None:
    for path in ("a/b.png", "../../up.png", "a" * 4000, "naïve 🐻.png"):
        file = drawn_file(tmp_path, path)
        assert file.parent == tmp_path / "drawn"
        assert len(file.name) == 68


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("cat", "vocab must list its labels in the order of the model.s outputs; got str"),
        ({"cat", "dog"}, "outputs; got set"),
        (3, "outputs; got int"),
        ([1.0, 2.0], "vocab has the label 1.0 of type float; labels are text or whole numbers"),
        ([True, "x"], "vocab has the label True of type bool"),
        ([np.bool_(True), "x"], "vocab has the label .*True.* of type bool"),
        (["cat", ""], "vocab has an empty label"),
        (["cat", "dog", "cat"], "vocab has more than one label 'cat'; labels must differ as text"),
        ([1, "1"], "vocab has more than one label '1'"),
        (["cat"], r"vocab has the labels \['cat'\]; expected at least 2"),
    ],
)
def test_an_invalid_vocabulary_is_refused(labels: object, reason: str) -> None:
    with pytest.raises(CleanerError, match=reason):
        check_vocab(labels, "vocab")


def test_whole_numbers_in_a_vocabulary_become_text() -> None:
    assert check_vocab(np.array([3, 1]), "the dataset") == ("3", "1")
    assert check_vocab(iter(["b", 2]), "vocab") == ("b", "2")
    assert check_vocab(["only"], "the learner", min_labels=1) == ("only",)
