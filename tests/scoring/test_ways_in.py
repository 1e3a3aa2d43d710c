"""Each way into fastai, on real images: from the learner to a cleaned dataset that fastai reads, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastai.vision import all as fastai
from torch import nn

import cleaner
from cleaner.core.files import sha256_of
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from tests.support.digits import (
    NAME_PATTERN,
    VOCAB,
    Digit,
    digits,
    in_a_table,
    in_folders,
    in_names,
    in_splits,
    trained_model,
    write,
)
from tests.support.folders import tree

TIME = "2026-01-31T12:00:00Z"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """What every learner here runs."""
    return trained_model()


OPTIONS: dict[str, Any] = {"bs": 16, "num_workers": 0}


def from_folder(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_folder(root, valid_pct=0.3, seed=1, **OPTIONS)


def from_split_folders(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_folder(root, **OPTIONS)


def from_name_re(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_name_re(root, fastai.get_image_files(root), NAME_PATTERN, **OPTIONS)


def label_of_name(name: str) -> str:
    return name.rpartition("_")[0]


def from_name_func(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_name_func(root, fastai.get_image_files(root), label_of_name, **OPTIONS)


PATH_PATTERN = r"/images/([^/]+)_\d+.png$"


def from_path_re(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_path_re(root, fastai.get_image_files(root), PATH_PATTERN, **OPTIONS)


def from_path_func(root: Path) -> Any:
    files = fastai.get_image_files(root)
    return fastai.ImageDataLoaders.from_path_func(root, files, fastai.parent_label, **OPTIONS)


def from_csv(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_csv(root, folder="images", **OPTIONS)


def from_df(root: Path) -> Any:
    frame = pd.read_csv(root / "labels.csv")
    frame["held out"] = frame.index % 3 == 0
    columns = {"fn_col": "fname", "label_col": "kind", "valid_col": "held out"}
    return fastai.ImageDataLoaders.from_df(frame, root, folder="images", **columns, **OPTIONS)


def from_lists(root: Path) -> Any:
    frame = pd.read_csv(root / "labels.csv")
    files = [str(root / "images" / name) for name in frame.fname]
    return fastai.ImageDataLoaders.from_lists(root, files, list(frame.kind), **OPTIONS)


def from_block(root: Path) -> Any:
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_items=lambda source: pd.read_csv(source / "labels.csv").to_dict("records"),
        get_x=fastai.Pipeline([lambda row: row["fname"], lambda name: root / "images" / name]),
        get_y=lambda row: row["kind"],
        splitter=fastai.FuncSplitter(lambda row: int(row["fname"].partition(".")[0]) % 4 == 0),
    )
    return block.dataloaders(root, path=root, **OPTIONS)


@dataclass(frozen=True)
class Way:
    """How a dataset lies on the disk, how fastai reads it, and what `apply` has to be told."""

    write: Callable[[Path], None]
    loaders: Callable[[Path], Any]
    places: dict[str, str] = field(default_factory=dict)

    def apply(self, scan: Scan, root: Path) -> Any:
        table = {"labels": root / "labels.csv", "label_column": "kind"} if self.write is in_a_table else {}
        return cleaner.apply(scan.manifest_path, root, **self.places, **table)


WAYS = {
    "from_folder": Way(in_folders, from_folder),
    "from_folder, train and valid": Way(in_splits, from_split_folders),
    "from_path_func": Way(in_folders, from_path_func),
    "from_name_re": Way(in_names, from_name_re, {"name_pattern": NAME_PATTERN}),
    "from_name_func": Way(in_names, from_name_func, {"name_pattern": NAME_PATTERN}),
    "from_path_re": Way(in_names, from_path_re, {"name_pattern": PATH_PATTERN}),
    "from_csv": Way(in_a_table, from_csv),
    "from_df": Way(in_a_table, from_df),
    "from_lists": Way(in_a_table, from_lists),
    "DataBlock": Way(in_a_table, from_block),
}


def items_of(loader: Any) -> list[Any]:
    items = loader.dataset.items
    return [items.iloc[n] for n in range(len(items))] if isinstance(items, pd.DataFrame) else list(items)


def file_of(item: Any, root: Path) -> Path:
    """The file of an item of any of these ways."""
    if isinstance(item, (pd.Series, dict)):
        return root / "images" / item["fname"]
    return Path(item[0] if isinstance(item, tuple) else item)


def as_fastai_reads(loaders: Any, root: Path) -> dict[str, str]:
    """For each image, known by its bytes, the label that fastai reads."""
    found = {}
    for loader in loaders.loaders:
        targets = loader.dataset.tls[1]
        for n, item in enumerate(items_of(loader)):
            found[sha256_of(file_of(item, root))] = loaders.vocab[int(targets[n])]
    return found


def plain_losses(learn: fastai.Learner, split: int, root: Path) -> dict[str, float]:
    """What fastai itself says, by path."""
    items = learn.dls[split].dataset.items
    test = learn.dls.test_dl(items, with_labels=True)
    _, _, losses = learn.get_preds(dl=test, with_loss=True)
    files = [file_of(item, root).relative_to(root).as_posix() for item in items_of(learn.dls[split])]
    return dict(zip(files, losses.tolist(), strict=True))


def decide(scan: Scan, path: str, action: Action, new_label: str = "") -> None:
    (label,) = {sample.label for sample in scan.samples if sample.path == path}
    sha256 = sha256_of(scan.root / path)
    decision = Decision(path, action, label, new_label, sha256=sha256, decided_at=TIME)
    cleaner.Manifest(scan.manifest_path).append(decision)


@pytest.mark.parametrize("name", WAYS)
def test_from_a_learner_to_a_cleaned_dataset_and_back(name: str, model: nn.Module, tmp_path: Path) -> None:
    way, root = WAYS[name], tmp_path / "data"
    way.write(root)
    before, read = tree(root), as_fastai_reads(way.loaders(root), root)
    learn = fastai.Learner(way.loaders(root), model, loss_func=fastai.CrossEntropyLossFlat())
    learn.remove_cb(fastai.ProgressCallback)

    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert (scan.root, scan.vocab) == (root, VOCAB)
    assert sum(scan.scored.values()) == len(read) == len(digits())
    for place, split in enumerate(("train", "valid")):
        found = {sample.path: sample.loss for sample in scan.samples if sample.split == split}
        assert found == pytest.approx(plain_losses(learn, place, root), abs=1e-5)
    worst = {sha256_of(root / s.path): s for s in scan.samples if s.rank == 1}
    wrong = {bytes_of(digit, tmp_path): digit for digit in digits() if digit.is_wrong}
    assert wrong.keys() <= worst.keys()
    (relabelled, digit), (deleted, _), (kept, _), _ = wrong.items()
    decide(scan, worst[relabelled].path, Action.RELABEL, digit.true)
    decide(scan, worst[deleted].path, Action.DELETE)
    decide(scan, worst[kept].path, Action.KEEP)

    report = way.apply(scan, root)
    assert (report.conflicts, len(report.done)) == ((), 2)
    expected = {sha256: label for sha256, label in read.items() if sha256 != deleted}
    assert as_fastai_reads(way.loaders(root), root) == {**expected, relabelled: digit.true}
    assert cleaner.undo(report.journal).conflicts == ()
    assert tree(root) == before


def bytes_of(digit: Digit, folder: Path) -> str:
    """The SHA-256 of a digit's file."""
    write(digit, folder / "one.png")
    return sha256_of(folder / "one.png")


def test_an_exported_learner_reads_labels_from_the_names_in_one_folder(model: nn.Module, tmp_path: Path) -> None:
    in_names(tmp_path / "data")
    learn = fastai.Learner(from_name_re(tmp_path / "data"), model, loss_func=fastai.CrossEntropyLossFlat())
    learn.export(tmp_path / "learner.pkl")
    learn = fastai.load_learner(tmp_path / "learner.pkl")
    scan = cleaner.scan_folder(learn, tmp_path / "data", tmp_path / "scan", workers=0, progress=False)
    assert len(scan.samples) == len(digits())
    assert all(Path(sample.path).name.startswith(f"{sample.label}_") for sample in scan.samples)


def test_a_label_that_is_computed_from_the_name_is_not_changed_there(model: nn.Module, tmp_path: Path) -> None:
    root = tmp_path / "data"
    in_names(root)
    loaders = fastai.ImageDataLoaders.from_name_func(
        root, fastai.get_image_files(root), lambda name: name[0] == "z", **OPTIONS
    )
    learn = fastai.Learner(loaders, nn.Sequential(model, nn.Linear(4, 2)), loss_func=fastai.CrossEntropyLossFlat())
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert scan.vocab == ("False", "True")
    decide(scan, "images/zero_1.png", Action.RELABEL, "False")
    for places in ({}, {"name_pattern": NAME_PATTERN}):
        report = cleaner.apply(scan.manifest_path, root, **places)
        assert report.done == ()
        assert "cleaner.cleaned" in report.conflicts[0].reason


def test_paths_are_relative_to_the_folder_of_the_images_whatever_the_loaders_say(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    in_folders(root / "deep" / "er")
    files = fastai.get_image_files(root)
    monkeypatch.chdir(tmp_path)
    odd: list[tuple[Any, Path]] = [(root, root), (".", root / "deep/er"), ("/nowhere", root / "deep/er")]
    for place, expected in odd:
        loaders = fastai.ImageDataLoaders.from_path_func(place, files, fastai.parent_label, **OPTIONS)
        learn = fastai.Learner(loaders, model, loss_func=fastai.CrossEntropyLossFlat(), model_dir=tmp_path)
        scan = cleaner.scan(learn, tmp_path / f"scan{odd.index((place, expected))}", progress=False)
        assert scan.root == expected
        assert all((expected / sample.path).is_file() for sample in scan.samples)
