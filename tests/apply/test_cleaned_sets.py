"""The way back into training where images carry several labels, or none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai
from hypothesis import given
from hypothesis import strategies as st

import cleaner
from cleaner.apply.item_labels import SeveralLabels
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.scan import Scan
from cleaner.core.tasks import ALL_IMAGES, OTHER, join_labels
from cleaner.review.session import Session
from tests.support.folders import tree
from tests.support.images import make_image
from tests.support.learners import make_model
from tests.support.scans import make_label_scan

FILES = ["0.png", "1.png", "2.png", "3.png"]
CELLS = ["", "cat", "dog", "dog cat"]
LISTS: list[Any] = [[], ["cat"], ("dog",), ("dog", "cat")]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return make_label_scan(tmp_path / "data", tmp_path / "scan")


@pytest.fixture
def decided(scan: Scan) -> Scan:
    """Of each image something else: labels are added, taken away, all taken away; and one image is deleted."""
    decide(scan, "0.png", (), ("cat", "fox"))
    decide(scan, "1.png", ("cat",), ())
    decide(scan, "2.png", ("dog",))
    decide(scan, "3.png", ("cat", "dog"), ("dog", "fox"))
    return scan


def decide(scan: Scan, path: str, old: Sequence[str], new: Sequence[str] | None = None) -> None:
    """As the app does; without new labels the image is deleted."""
    action, new_label = (Action.DELETE, "") if new is None else (Action.RELABEL, join_labels(new, ";"))
    about = {"label": join_labels(old, ";"), "sha256": sha256_of(scan.root / path)}
    Manifest(scan.manifest_path).append(Decision(path, action, new_label=new_label, **about))


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"fname": FILES, "labels": CELLS, **columns})


def cleaned(scan: Scan, items: Any, **options: Any) -> Any:
    """What comes of it where there is nothing to warn of."""
    before = tree(scan.root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cleaner.cleaned(items, scan.manifest_path, **options)
    assert tree(scan.root) == before
    return found


# A DataFrame.


@pytest.mark.parametrize("delimiter", [" ", ";", ", ", "|"])
def test_cells_get_the_new_sets_and_remaining_labels_keep_their_order(delimiter: str, decided: Scan) -> None:
    before = frame(labels=[cell.replace(" ", delimiter) for cell in CELLS], note=list("abcd"))
    items = before.copy()
    items.index = pd.Index([4, 4, 2, 1])
    found = cleaned(decided, items, label_delim=delimiter)
    assert found["labels"].tolist() == [f"cat{delimiter}fox", "", f"dog{delimiter}fox"]
    assert found["note"].tolist() == ["a", "b", "d"]
    assert found.index.tolist() == [4, 4, 1]
    assert items["labels"].tolist() == before["labels"].tolist()


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_the_type_of_the_column_stays(dtype: str, decided: Scan) -> None:
    found = cleaned(decided, frame(labels=pd.Series(CELLS, dtype=dtype)), label_delim=" ")["labels"]
    assert found.tolist() == ["cat fox", "", "dog fox"]
    assert found.dtype.name == dtype


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_cell_is_no_label(missing: Any, decided: Scan) -> None:
    found = cleaned(decided, frame(labels=[missing, *CELLS[1:]]), label_delim=" ")
    assert found["labels"].tolist() == ["cat fox", "", "dog fox"]


def test_cells_may_be_lists(decided: Scan) -> None:
    items = frame(labels=LISTS)
    assert cleaned(decided, items)["labels"].tolist() == [["cat", "fox"], [], ("dog", "fox")]
    assert items["labels"].tolist() == LISTS


@pytest.mark.parametrize("paths", [["1.png"], ["1.png", "2.png"]])
def test_lists_of_one_length_are_one_value_each(paths: list[str], scan: Scan) -> None:
    old, new = {"1.png": ("cat",), "2.png": ("dog",)}, {"1.png": ["cat", "fox"], "2.png": ("dog", "fox")}
    for path in paths:
        decide(scan, path, old[path], new[path])
    found = cleaned(scan, frame(labels=LISTS))
    expected = [new[path] if path in paths else before for path, before in zip(FILES, LISTS, strict=True)]
    assert found["labels"].tolist() == expected


def test_cleaned_items_equal_the_table_after_apply(decided: Scan, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    frame().to_csv(table, index=False)
    found = cleaned(decided, pd.read_csv(table), label_delim=" ").fillna("")
    report = cleaner.apply(decided.manifest_path, decided.root, labels=table, label_delim=" ")
    assert report.conflicts == ()
    pd.testing.assert_frame_equal(found.reset_index(drop=True), pd.read_csv(table).fillna(""))


def test_what_is_done_already_is_no_trouble(scan: Scan) -> None:
    decide(scan, "3.png", ("cat",), ("cat", "dog"))
    pd.testing.assert_frame_equal(cleaned(scan, frame(), label_delim=" "), frame())


@pytest.mark.parametrize(
    ("old", "new", "cells", "said"),
    [
        (("cat",), ("fox",), CELLS, r"its labels are 'cat', 'dog', and the decision was about 'cat'"),
        (("cat",), None, CELLS, r"its labels are 'cat', 'dog', and the decision was about 'cat'"),
        ((), ("fox",), CELLS, r"its labels are 'cat', 'dog', and the decision was about ';'"),
        (("cat", "dog"), (), [*CELLS[:3], ""], r"^$"),
        (("cat", "dog"), ("fox",), [*CELLS[:3], ""], r"its labels are none, and the decision was about 'cat;dog'"),
        (("cat", "dog"), ("fox",), [*CELLS[:3], "cat;dog x"], r"its labels are 'cat;dog', 'x', and the decision"),
        (("cat", "dog"), ("fox", "bird"), CELLS, r"there is no class 'bird'"),
        (("cat", "dog"), ("fox",), [*CELLS[:3], "cat  dog"], r"its labels are '', 'cat', 'dog'"),
    ],
)
def test_a_decision_about_another_set_is_left_alone(
    old: Sequence[str], new: Sequence[str] | None, cells: list[str], said: str, scan: Scan
) -> None:
    decide(scan, "3.png", old, new)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = cleaner.cleaned(frame(labels=cells), scan.manifest_path, label_delim=" ")
    pd.testing.assert_frame_equal(found, frame(labels=cells))
    text = "\n".join(str(warning.message).partition("'3.png': ")[2] for warning in caught)
    assert pd.Series([text]).str.contains(said).all(), text


def test_a_label_that_the_cell_cannot_hold_is_left_alone(scan: Scan) -> None:
    decide(scan, "1.png", ("cat",), ("cat", "fox"))
    with pytest.warns(UserWarning, match="the label 'fox' cannot stand in a cell whose labels 'o' joins"):
        assert cleaner.cleaned(frame(), scan.manifest_path, label_delim="o")["labels"].tolist() == CELLS


# Lists.


def test_lists_of_labels_come_back_as_lists(decided: Scan) -> None:
    items = [decided.root / name for name in FILES]
    found = cleaned(decided, items, labels=LISTS)
    assert found == ([items[0], items[1], items[3]], [["cat", "fox"], [], ("dog", "fox")])
    assert LISTS == [[], ["cat"], ("dog",), ("dog", "cat")]


def test_texts_come_back_as_texts(decided: Scan) -> None:
    found = cleaned(decided, FILES, labels=CELLS, label_delim=" ")
    assert found == (["0.png", "1.png", "3.png"], ["cat fox", "", "dog fox"])


def test_labels_in_lists_keep_their_type(scan: Scan) -> None:
    description = scan.folder / "scan.json"
    description.write_text(description.read_text().replace('"cat"', '"1"').replace('"dog"', '"2"'))
    for name in ("top_losses.csv", "classes.csv"):
        file = scan.folder / name
        file.write_text(file.read_text().replace("cat", "1").replace("dog", "2"))
    decide(scan, "1.png", ("1",), ("1", "2"))
    decide(scan, "2.png", ("2",), ("fox",))
    with pytest.warns(UserWarning, match=r"'2.png': no label here is 'fox', and one cannot be made of it"):
        _, labels = cleaner.cleaned(FILES, scan.manifest_path, labels=[[], [1], [2], [2, 1]])
    assert labels == [[], [1, 2], [2], [2, 1]]


def test_paths_alone_lose_the_deleted_and_cannot_say_new_labels(scan: Scan) -> None:
    decide(scan, "2.png", ("dog",))
    assert cleaned(scan, FILES) == ["0.png", "1.png", "3.png"]
    decide(scan, "1.png", ("cat",), ())
    with pytest.raises(CleanerError, match=r"'1.png', which gets ';'; .* pass labels="):
        cleaner.cleaned(FILES, scan.manifest_path)


NEEDED = "the decisions are about images with several labels; give the delimiter of labels in a cell"


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        (frame(), {}, NEEDED),
        (frame(labels=["", *LISTS[1:]]), {}, NEEDED),
        (FILES, {"labels": CELLS}, NEEDED),
        (frame(), {"label_delim": ""}, "label_delim"),
        (frame(), {"label_delim": '"'}, "the text between two labels in a cell is accepted"),
        (FILES, {"labels": LISTS, "label_delim": "\n"}, "the text between two labels in a cell is accepted"),
        (FILES, {"label_delim": " "}, "no labels that it could join"),
        (FILES, {"labels": [1, 2, 3, 4]}, r"an item has 1, a int, for its labels; text in which label_delim joins"),
        (frame(labels=[1, 2, 3, 4]), {"label_delim": " "}, r"an item has 1, a int, for its labels"),
    ],
)
def test_labels_that_cannot_be_split_are_refused(items: Any, options: Any, message: str, decided: Scan) -> None:
    with pytest.raises(CleanerError, match=message):
        cleaner.cleaned(items, decided.manifest_path, **options)


def test_without_a_scan_the_delimiter_says_that_there_are_several(decided: Scan) -> None:
    manifest = decided.manifest_path
    manifest.write_text(manifest.read_text().replace(";", " "))
    (decided.folder / "scan.json").unlink()
    items = frame(labels=["", "cat", "dog fox", "dog cat"])  # from which the labels are known
    with pytest.warns(UserWarning, match=r"'2.png': its labels are 'dog', 'fox'"):
        found = cleaner.cleaned(items, manifest, data=decided.root, label_delim=" ")
    assert found["labels"].tolist() == ["cat fox", "", "dog fox", "dog fox"]
    with pytest.raises(CleanerError, match="give the delimiter as label_delim="):
        cleaner.cleaned(FILES, manifest, data=decided.root, labels=LISTS)


@given(st.lists(st.sampled_from("abcde"), unique=True), st.sets(st.sampled_from("abcde")), st.booleans())
def test_remaining_labels_keep_their_order_and_the_set_is_the_new_one(
    before: list[str], new: set[str], is_text: bool
) -> None:
    values = SeveralLabels(";", "+")
    found = values.changed("+".join(before) if is_text else before, join_labels(sorted(new), ";"), str)
    labels = (found.split("+") if found else []) if is_text else found
    assert labels == [label for label in before if label in new] + sorted(new - set(before))
    assert set(values.split(found)) == new


# Without labels.


@pytest.fixture
def unlabelled(tmp_path: Path) -> Scan:
    """A scan of a task without labels, one image of which is deleted."""
    names = [make_image(tmp_path / "data" / name, seed=n).name for n, name in enumerate(FILES)]
    samples = tuple(
        Sample("train", ALL_IMAGES, rank, name, 3.0 - rank, ALL_IMAGES, math.nan) for rank, name in enumerate(names, 1)
    )
    scan = Scan(
        tmp_path / "data", (ALL_IMAGES,), ("train",), 4, {"train": 4}, samples, {"train": {}}, task=OTHER
    ).write(tmp_path / "scan")
    Session(scan, reviewer="anna").decide("1.png", Action.DELETE)
    return scan


@pytest.mark.parametrize("columns", [{}, {"angle": [0.5, 1.5, 2.5, 3.5]}, {"label": [0.5, 1.5, 2.5, 3.5]}])
def test_a_frame_without_labels_loses_the_deleted(columns: dict[str, Any], unlabelled: Scan) -> None:
    items = pd.DataFrame({"image": FILES, **columns})
    pd.testing.assert_frame_equal(cleaned(unlabelled, items), items.iloc[[0, 2, 3]])


def test_a_column_of_targets_may_be_named_and_stays(unlabelled: Scan) -> None:
    items = pd.DataFrame({"image": FILES, "angle": [0.5, 1.5, 2.5, 3.5]})
    found = cleaned(unlabelled, items, label_column="angle")
    pd.testing.assert_frame_equal(found, items.iloc[[0, 2, 3]])
    with pytest.raises(CleanerError, match="no column 'radius'"):
        cleaner.cleaned(items, unlabelled.manifest_path, label_column="radius")


def test_lists_without_labels_and_with_targets_lose_the_deleted(unlabelled: Scan) -> None:
    left = ["0.png", "2.png", "3.png"]
    assert cleaned(unlabelled, FILES) == left
    targets = [np.zeros((2, 2)), [1.0, 2.0], 0.5, Path("mask.png")]
    paths, found = cleaned(unlabelled, FILES, labels=targets)
    assert paths == left
    assert all(a is b for a, b in zip(found, [targets[0], *targets[2:]], strict=True))


def test_without_labels_none_can_be_given(unlabelled: Scan) -> None:
    Manifest(unlabelled.manifest_path).append(Decision("2.png", Action.RELABEL, new_label=ALL_IMAGES))
    with pytest.warns(UserWarning, match="'2.png': the images of this scan carry no labels"):
        assert cleaner.cleaned(FILES, unlabelled.manifest_path) == ["0.png", "2.png", "3.png"]
    with pytest.raises(CleanerError, match="a scan of the task 'other' has no label sets; leave it out"):
        cleaner.cleaned(pd.DataFrame({"image": FILES}), unlabelled.manifest_path, label_delim=" ")


# Into training.


def test_fastai_trains_on_the_cleaned_label_sets(tmp_path: Path) -> None:
    files = [make_image(tmp_path / "data" / f"{n}.png", seed=n, size=(20, 20)) for n in range(12)]
    cells = [["", "cat", "dog", "cat dog"][n % 4] for n in range(12)]
    items = pd.DataFrame({"fname": [file.name for file in files], "labels": cells})

    def learner(items: pd.DataFrame) -> fastai.Learner:
        loaders = fastai.ImageDataLoaders.from_df(
            items, tmp_path / "data", label_delim=" ", bs=4, num_workers=0, item_tfms=fastai.Resize(16), seed=0
        )
        return fastai.Learner(loaders, make_model(len(loaders.vocab)))

    scan = cleaner.scan(learner(items), tmp_path / "scan", progress=False)
    session = Session(scan, reviewer="anna")
    all_off, one_on, gone = [sample.path for sample in scan.kept("train", "cat")][:3]
    for label in cells[int(all_off.removesuffix(".png"))].split():
        session.decide(all_off, "toggle", label)
    session.decide(one_on, "toggle", "dog")
    session.decide(gone, Action.DELETE)

    found = cleaned(scan, items, label_delim=" ")
    again = learner(found)
    carried = {}
    for split in (again.dls.train_ds, again.dls.valid_ds):
        for row, (_, target) in zip(split.items.itertuples(), split, strict=True):
            carried[row.fname] = {again.dls.vocab[n] for n in target.nonzero().flatten().tolist()}
    expected = {file: set(cell.split()) for file, cell in zip(items["fname"], cells, strict=True)}
    del expected[gone]
    expected[all_off] = set()
    expected[one_on] ^= {"dog"}
    assert carried == expected
    weights = [parameter.clone() for parameter in again.model.parameters()]
    with again.no_bar(), again.no_logging():
        again.fit(1)
    assert any(not torch.equal(a, b) for a, b in zip(weights, again.model.parameters(), strict=True))
