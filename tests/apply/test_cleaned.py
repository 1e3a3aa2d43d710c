"""The way back into training: a list or a table of the dataset as the decisions want it, and no file moved."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai

import cleaner
from cleaner.apply import apply
from cleaner.core.errors import CleanerError
from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from tests.support.class_folders import Place as ClassFolders
from tests.support.folders import TIME, delete, make, make_scan, relabel, tree
from tests.support.learners import VOCAB, make_folder, make_learner

FILES = ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png", "fox/5.png")
LABELS = [path.partition("/")[0] for path in FILES]


class Place:
    """A dataset with a scan and a manifest beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        for path in FILES:
            make(self.root / path)
        self.manifest = make_scan(self.root, "cat", "dog", "fox")

    def decide(self, *decisions: Decision) -> None:
        """As the app does, which writes the hash of what it shows, and the label."""
        for decision in decisions:
            label = decision.label or decision.path.partition("/")[0]
            file = self.root / decision.path
            Manifest(self.manifest).append(replace(decision, label=label, sha256=sha256_of(file)))

    def frame(self, **columns: Any) -> pd.DataFrame:
        return pd.DataFrame({"fname": list(FILES), "label": LABELS, **columns})

    def cleaned(self, items: Any, **options: Any) -> Any:
        """What comes of it where there is nothing to warn of."""
        before = tree(self.root)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = cleaner.cleaned(items, self.manifest, **options)
        assert tree(self.root) == before
        return found

    def warned(self, items: Any, **options: Any) -> tuple[Any, str]:
        before = tree(self.root)
        with pytest.warns(UserWarning, match="decision") as caught:
            found = cleaner.cleaned(items, self.manifest, **options)
        assert tree(self.root) == before
        assert {Path(warning.filename).name for warning in caught} == {"test_cleaned.py"}
        return found, "\n".join(str(warning.message) for warning in caught)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def decided(place: Place) -> Place:
    place.decide(
        delete("cat/1.png"),
        relabel("dog/3.png", "fox"),
        Decision("cat/2.png", Action.KEEP, decided_at=TIME),
        Decision("dog/4.png", Action.UNSURE, decided_at=TIME),
        delete("fox/5.png"),
    )
    Manifest(place.manifest).append(Decision("fox/5.png", Action.UNDO, decided_at=TIME))
    return place


def test_a_frame_loses_the_deleted_and_shows_the_new_labels(decided: Place) -> None:
    frame = decided.frame(score=[0.5, 1.5, 2.5, 3.5, 4.5], is_valid=[True, False, False, True, False], n=range(5))
    frame.index = pd.Index([7, 7, 3, 2, 1], name="row")
    frame["n"] = frame["n"].astype("int8")
    before = frame.copy(deep=True)
    found = decided.cleaned(frame)
    pd.testing.assert_frame_equal(frame, before)
    expected = frame.iloc[1:].copy()
    expected["label"] = ["cat", "fox", "dog", "fox"]
    pd.testing.assert_frame_equal(found, expected)


def test_a_list_with_labels_loses_the_deleted_and_gets_the_new_labels(decided: Place) -> None:
    items = [decided.root / path for path in FILES]
    assert decided.cleaned(items, labels=LABELS) == (items[1:], ["cat", "fox", "dog", "fox"])


def test_a_list_alone_loses_the_deleted(place: Place) -> None:
    place.decide(delete("cat/1.png"), delete("dog/4.png"))
    items = [place.root / path for path in FILES]
    assert place.cleaned(items) == [items[1], items[2], items[4]]
    assert place.cleaned(fastai.L(items)) == [items[1], items[2], items[4]]
    assert place.cleaned(iter(FILES)) == [FILES[1], FILES[2], FILES[4]]


def test_a_list_of_paths_without_labels_refuses_a_relabel(decided: Place) -> None:
    with pytest.raises(CleanerError, match=r"1 of the paths .* 'dog/3.png', which gets 'fox'.* pass labels="):
        cleaner.cleaned(FILES, decided.manifest)


def test_cleaned_items_equal_the_table_after_apply(decided: Place, tmp_path: Path) -> None:
    decided.decide(relabel("cat/2.png", "dog", label="fox"), relabel("fox/5.png", "cat"))
    (decided.root / "cat" / "1.png").write_bytes(b"another image")
    table = tmp_path / "labels.csv"
    decided.frame().to_csv(table, index=False)
    found, _ = decided.warned(pd.read_csv(table))
    report = cleaner.apply(decided.manifest, decided.root, labels=table)
    assert len(report.done) == len(report.conflicts) == 2
    pd.testing.assert_frame_equal(found.reset_index(drop=True), pd.read_csv(table))


SPELLINGS: dict[str, Callable[[Place, str], Any]] = {
    "relative to the dataset": lambda _place, path: path,
    "with a guard from spreadsheets": lambda _place, path: f"./{path}",
    "absolute": lambda place, path: str(place.root / path),
    "absolute, not tidy": lambda place, path: f"{place.root}/../data//{path}",
    "a Path": lambda place, path: place.root / path,
    "relative to the current folder": lambda _place, path: f"data/{path}",
    "by a link, relative": lambda _place, path: Path("link") / path,
    "by a link, absolute": lambda place, path: place.root.parent / "link" / path,
    "the name alone": lambda _place, path: path.partition("/")[2],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_paths_may_be_written_in_many_ways(
    spelling: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.decide(delete("cat/1.png"), relabel("dog/3.png", "fox"))
    (tmp_path / "link").symlink_to(place.root)
    monkeypatch.chdir(tmp_path)
    items = [SPELLINGS[spelling](place, path) for path in FILES]
    data = "link" if "link" in spelling else None
    assert place.cleaned(items, labels=LABELS, data=data) == (items[1:], ["cat", "fox", "dog", "fox"])


def test_a_dataset_that_was_moved_is_where_data_says(decided: Place, tmp_path: Path) -> None:
    decided.root.rename(tmp_path / "elsewhere")
    with pytest.raises(CleanerError, match="is not there; give the folder as data="):
        cleaner.cleaned(decided.frame(), decided.manifest)
    found = cleaner.cleaned(decided.frame(), decided.manifest, data=tmp_path / "elsewhere")
    assert found["label"].tolist() == ["cat", "fox", "dog", "fox"]


def test_rows_of_the_same_file_are_all_changed(decided: Place) -> None:
    frame = pd.concat([decided.frame(), decided.frame()])
    assert decided.cleaned(frame)["label"].tolist() == 2 * ["cat", "fox", "dog", "fox"]


def test_what_is_done_already_is_no_trouble(place: Place) -> None:
    place.decide(relabel("dog/3.png", "fox"))
    frame = place.frame(label=["cat", "cat", "fox", "dog", "fox"])
    pd.testing.assert_frame_equal(place.cleaned(frame), frame)


# Labels that are no plain text.


@pytest.mark.parametrize(
    ("values", "dtype", "new", "expected"),
    [
        ([1, 1, 2, 2, 3], "int64", "3", 3),
        ([1, 1, 2, 2, 2], "int8", "3", 3),
        ([1, 1, 2, 2, 2], "Int64", "3", 3),
        ([1.0, 1.0, 2.0, 2.0, 2.0], "float64", "3.0", 3.0),
        ([True, True, False, False, True], "bool", "True", True),
        (["1", "1", "2", "2", "3"], "category", "3", "3"),
        (["1", "1", "2", "2", "2"], "category", "3", "3"),
        ([1, 1, 2, 2, 3], "category", "3", 3),
        ([1, 1, 2, 2, 3], "object", "3", 3),
        (["1", "1", "2", "2", "2"], "object", "3", "3"),
        (["1", "1", "2", "2", "2"], "string", "3", "3"),
    ],
)
def test_the_type_of_the_labels_stays(values: list[Any], dtype: str, new: str, expected: Any, place: Place) -> None:
    make_scan(place.root, *{*map(str, values), new})
    place.decide(relabel("dog/3.png", new, label=str(values[2])))
    frame = place.frame(label=pd.Series(values, dtype=dtype))
    found = place.cleaned(frame)["label"]
    assert found.tolist() == [*values[:2], expected, *values[3:]]
    assert type(found.tolist()[2]) is type(expected)
    if dtype == "category":
        assert list(found.cat.categories) == list(dict.fromkeys([*frame["label"].cat.categories, expected]))
    else:
        assert found.dtype == frame["label"].dtype


@pytest.mark.parametrize(
    ("values", "dtype", "new"),
    [
        ([1, 1, 2, 2, 2], "int64", "cat"),
        ([1, 1, 2, 2, 2], "int8", "300"),
        ([1, 1, 2, 2, 2], "int64", "3.5"),
        ([True, True, False, False, False], "bool", "cat"),
        ([1, 1, 2, 2, 2], "category", "cat"),
        ([1, 1, 2, 2, 2], "object", "3"),
    ],
)
def test_a_label_that_does_not_fit_the_type_is_left_alone(
    values: list[Any], dtype: str, new: str, place: Place
) -> None:
    make_scan(place.root, *{*map(str, values), new})
    place.decide(relabel("dog/3.png", new, label=str(values[2])))
    frame = place.frame(label=pd.Series(values, dtype=dtype))
    found, said = place.warned(frame)
    pd.testing.assert_frame_equal(found, frame)
    assert said.startswith("1 decision was left alone: 'dog/3.png': ")
    assert repr(new) in said


def test_labels_of_a_list_keep_their_type(place: Place) -> None:
    make_scan(place.root, "1", "2", "cat")
    place.decide(relabel("dog/3.png", "1", label="2"), relabel("dog/4.png", "cat", label="2"))
    (_, labels), said = place.warned(FILES, labels=[1, 1, 2, 2, 2])
    assert labels == [1, 1, 1, 2, 2]
    assert "'dog/4.png': no label here is 'cat'" in said


# What is left alone is told.


@pytest.mark.parametrize(
    ("change", "decision", "said"),
    [
        (lambda place: None, relabel("dog/3.png", "fox", label="cat"), "its label is 'dog', and .* about 'cat'"),
        (lambda place: None, delete("dog/3.png", label="cat"), "its label is 'dog', and .* about 'cat'"),
        (lambda place: None, relabel("dog/3.png", "bird"), "there is no class 'bird'"),
        (lambda place: make(place.root / "dog/3.png", "new"), relabel("dog/3.png", "fox"), "its bytes changed"),
        (lambda place: make(place.root / "dog/3.png", "new"), delete("dog/3.png"), "its bytes changed"),
        (lambda place: (place.root / "dog/3.png").unlink(), relabel("dog/3.png", "fox"), "the file is gone"),
    ],
)
def test_a_decision_that_is_not_about_what_is_there_is_left_alone(
    change: Callable[[Place], Any], decision: Decision, said: str, place: Place
) -> None:
    place.decide(decision, delete("cat/1.png"))
    change(place)
    found, warning = place.warned(place.frame())
    pd.testing.assert_frame_equal(found, place.frame().iloc[1:])
    assert warning.startswith("1 decision was left alone: 'dog/3.png': ")
    assert pd.Series([warning]).str.contains(said).all()


def test_a_deleted_image_that_is_gone_is_left_out(place: Place) -> None:
    place.decide(delete("cat/1.png"))
    (place.root / "cat/1.png").unlink()
    assert place.cleaned(FILES) == list(FILES[1:])


def test_a_name_that_two_files_have_is_left_alone(place: Place) -> None:
    make(place.root / "fox" / "1.png")
    place.decide(delete("cat/1.png"))
    found, said = place.warned(["1.png", "cat/2.png"])
    assert found == ["1.png", "cat/2.png"]
    assert "'1.png' may be 'cat/1.png' or 'fox/1.png'" in said


def test_decisions_about_files_that_are_not_there_are_counted(decided: Place) -> None:
    found, said = decided.warned(decided.frame().iloc[2:])
    assert found["label"].tolist() == ["fox", "dog", "fox"]
    assert said == "1 of 2 decisions to delete or relabel is about a file that no item is: 'cat/1.png'"


def test_a_torn_row_of_the_manifest_is_a_warning(decided: Place) -> None:
    with open(decided.manifest, "ab") as file:
        file.write(b"cat/2.png,del")
    found, said = decided.warned(decided.frame())
    assert len(found) == 4
    assert "is torn" in said


def test_a_long_list_of_decisions_left_alone_is_shortened(place: Place) -> None:
    place.decide(*(delete(path, label="bird") for path in FILES))
    make(place.root / "cat" / "6.png")
    place.decide(delete("cat/6.png", label="bird"))
    _, said = place.warned([*FILES, "cat/6.png"], labels=[*LABELS, "cat"])
    assert said.startswith("6 decisions were left alone: 'cat/1.png'")
    assert said.endswith("; and 1 more")


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ("cat/1.png", {}, "a DataFrame or a list of paths is accepted"),
        (Path("cat/1.png"), {}, "a DataFrame or a list of paths is accepted"),
        (5, {}, "a DataFrame or a list of paths is accepted"),
        ({"fname": ["cat/1.png"]}, {}, "a DataFrame or a list of paths is accepted"),
        ([1, 2], {}, "an item is 1, a int; paths"),
        ([b"cat/1.png"], {}, "paths, as text or Path, are accepted"),
        ([None], {}, "paths, as text or Path, are accepted"),
        (["cat/1.png"], {"labels": []}, "1 paths and 0 labels"),
        (["cat/1.png"], {"labels": "cat"}, "one for each path, in a list, is accepted"),
        (["cat/1.png"], {"label_column": "label"}, "are for a DataFrame"),
        (pd.DataFrame({"fname": ["cat/1.png"], "label": ["cat"]}), {"labels": ["cat"]}, "has its own"),
        (pd.DataFrame({"fname": ["cat/1.png"]}), {}, "none has a usual name"),
        (pd.DataFrame({"fname": ["a"], "path": ["b"], "label": ["cat"]}), {}, "could be the paths"),
        (pd.DataFrame({"fname": [7], "label": ["cat"]}), {}, "an item is 7"),
        (pd.DataFrame([["cat/1.png", "cat"]]), {}, "none has a usual name"),
    ],
)
def test_items_that_make_no_sense_are_refused(items: Any, options: Any, message: str, decided: Place) -> None:
    with pytest.raises(CleanerError, match=message):
        cleaner.cleaned(items, decided.manifest, **options)


def test_columns_can_be_named(decided: Place) -> None:
    frame = pd.DataFrame([[0, "x", path, label] for path, label in zip(FILES, LABELS, strict=True)])
    found = decided.cleaned(frame, path_column="2", label_column="3")
    assert found[3].tolist() == ["cat", "fox", "dog", "fox"]
    assert list(found.columns) == [0, 1, 2, 3]


def test_where_the_dataset_is_must_be_known(decided: Place, tmp_path: Path) -> None:
    (decided.manifest.parent / "scan.json").unlink()
    with pytest.raises(CleanerError, match="give its folder as data="):
        cleaner.cleaned(FILES, decided.manifest)
    assert len(decided.cleaned(decided.frame(), data=decided.root)) == 4
    with pytest.raises(CleanerError, match="pass labels="):
        cleaner.cleaned(FILES, decided.manifest, data=decided.root)
    with pytest.raises(CleanerError, match="there is no manifest"):
        cleaner.cleaned(FILES, tmp_path / "decisions.csv")


# Into training.


def test_fastai_trains_on_the_cleaned_frame_with_no_file_moved(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    before = tree(data)
    doomed, wrong = (scan.kept("train", label)[0] for label in VOCAB[:2])
    manifest = Manifest(scan.manifest_path)
    manifest.append(delete(doomed.path, label=doomed.label, sha256=sha256_of(data / doomed.path)))
    manifest.append(relabel(wrong.path, "dog", label=wrong.label, sha256=sha256_of(data / wrong.path)))
    files = [os.path.relpath(file, data) for file in fastai.get_image_files(data)]
    frame = pd.DataFrame({"fname": files, "label": [file.partition("/")[0] for file in files]})

    found = cleaner.cleaned(frame, scan.manifest_path)
    loaders = fastai.ImageDataLoaders.from_df(
        found, data, valid_pct=0.2, seed=0, bs=8, num_workers=0, item_tfms=fastai.Resize(16)
    )
    labels = {
        Path(row.fname).name: loaders.vocab[int(target)]
        for split in (loaders.train_ds, loaders.valid_ds)
        for row, (_, target) in zip(split.items.itertuples(), split, strict=True)
    }
    expected = {Path(file).name: Path(file).parent.name for file in files}
    del expected[Path(doomed.path).name]
    expected[Path(wrong.path).name] = "dog"
    assert labels == expected

    again = make_learner(data)
    again.dls = loaders
    weights = [parameter.clone() for parameter in again.model.parameters()]
    with again.no_bar(), again.no_logging():
        again.fit(1)
    assert any(not torch.equal(a, b) for a, b in zip(weights, again.model.parameters(), strict=True))
    assert tree(data) == before


def test_a_carried_out_decision_is_history_unless_the_file_is_there_again(tmp_path: Path) -> None:
    place = ClassFolders(tmp_path)
    place.decide("cat/1.png", "delete")
    place.decide("cat/2.png", "delete")
    apply(place.manifest, place.root)
    left = [place.root / "dog/1.png"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cleaner.cleaned(left, place.manifest) == left
    place.write("cat/1.png", "cat/1.png")
    with pytest.warns(UserWarning, match=r"'cat/1.png': that was carried out, and the file is there again"):
        assert cleaner.cleaned([place.root / "cat/1.png", *left], place.manifest) == [place.root / "cat/1.png", *left]
