"""Out-of-fold losses: no sample is scored by a model that was trained on it, and no fold is trained twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai

import cleaner
from cleaner.core.errors import CleanerError
from tests.support.learners import VOCAB, make_folder, make_learner, make_model


def model_of(number: int) -> torch.nn.Module:
    """A model with weights of its own, which stands for one that was trained on a fold."""
    model = make_model()
    torch.manual_seed(number)
    for weights in model.parameters():
        weights.data.add_(torch.randn_like(weights), alpha=0.3)
    return model


# Without workers, which take seconds to start and stop for each fold.
QUIET: dict[str, Any] = {"progress": False, "workers": 0}


class Trainer:
    """Makes learners without training them, and notes the items of each; `fail_at` raises at one of the folds."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.loaders, self.fail_at = list[Any](), fail_at

    def __call__(self, dls: Any) -> fastai.Learner:
        if len(self.loaders) == self.fail_at:
            raise KeyboardInterrupt
        self.loaders.append(dls)
        learn = fastai.Learner(dls, model_of(len(self.loaders)), loss_func=fastai.CrossEntropyLossFlat())
        learn.remove_cb(fastai.ProgressCallback)
        return learn


def names(dataset: Any) -> set[str]:
    return {Path(item).name for item in dataset.items}


@pytest.mark.parametrize("folds", [2, 4])
def test_each_sample_is_scored_once_by_a_model_trained_without_it(folds: int, tmp_path: Path) -> None:
    dls = make_learner(make_folder(tmp_path / "data", per_class=13)).dls
    train = Trainer()
    scan = cleaner.scan_folds(train, dls, tmp_path / "scan", folds=folds, progress=False)
    everything = names(dls.train_ds) | names(dls.valid_ds)
    assert len(train.loaders) == folds
    for loaders in train.loaders:
        assert names(loaders.train_ds) | names(loaders.valid_ds) == everything
        assert not names(loaders.train_ds) & names(loaders.valid_ds)
    held = Counter(name for loaders in train.loaders for name in names(loaders.valid_ds))
    assert held == dict.fromkeys(everything, 1)
    assert scan.scored == {"train": len(dls.train_ds), "valid": len(dls.valid_ds)}
    assert {Path(s.path).name for s in scan.samples if s.split == "valid"} == names(dls.valid_ds)
    assert scan.ranked_by == "out-of-fold loss"
    # The losses are those of the model of the sample's own fold.
    for number, loaders in enumerate(train.loaders, start=1):
        learn = fastai.Learner(loaders, model_of(number), loss_func=fastai.CrossEntropyLossFlat())
        with learn.no_bar():
            losses = learn.get_preds(ds_idx=1, with_loss=True)[2]
        expected = {Path(item).name: float(x) for item, x in zip(loaders.valid_ds.items, losses, strict=True)}
        found = {Path(s.path).name: s.loss for s in scan.samples if Path(s.path).name in expected}
        assert found == pytest.approx(expected, abs=1e-5)


def test_each_fold_has_samples_of_each_label(tmp_path: Path) -> None:
    dls = make_learner(make_folder(tmp_path / "data", per_class=16)).dls
    train = Trainer()
    cleaner.scan_folds(train, dls, tmp_path / "scan", **QUIET)
    for loaders in train.loaders:
        counts = Counter(Path(item).parent.name for item in loaders.valid_ds.items)
        assert counts.keys() == set(VOCAB)
        assert max(counts.values()) - min(counts.values()) <= 2


def test_finished_folds_are_not_trained_again(tmp_path: Path) -> None:
    dls = make_learner(make_folder(tmp_path / "data", per_class=13)).dls
    whole = cleaner.scan_folds(Trainer(), dls, tmp_path / "whole", **QUIET)
    first = Trainer(fail_at=3)
    with pytest.raises(KeyboardInterrupt):
        cleaner.scan_folds(first, dls, tmp_path / "scan", **QUIET)
    second = Trainer()
    second.loaders = first.loaders  # their number is the next model's
    scan = cleaner.scan_folds(second, dls, tmp_path / "scan", **QUIET)
    assert len(second.loaders) == 4
    assert scan.samples == whole.samples
    assert not (tmp_path / "scan" / "checkpoint").exists()
    anew = Trainer()
    cleaner.scan_folds(anew, dls, tmp_path / "scan", **QUIET, resume=False)
    assert len(anew.loaders) == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"folds": 1}, "folds is 1; pass a whole number of at least 2"),
        ({"folds": "4"}, "folds is '4'"),
        ({"workers": -1}, "workers is -1"),
        ({"train": "resnet18"}, "train is a str; pass a function"),
        ({"folds": 99}, "there are 21 images for 99 folds"),
        ({"train": lambda _dls: None}, "train returned a NoneType; return the learner that it trained"),
        ({"data": 5}, "data is a int; pass fastai's data loaders"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: Any, problem: str, tmp_path: Path) -> None:
    dls = make_learner(make_folder(tmp_path / "data")).dls
    arguments = {"train": Trainer(), "data": dls, "out": tmp_path / "scan", "progress": False, **options}
    with pytest.raises(CleanerError, match=problem):
        cleaner.scan_folds(**arguments)


def test_a_learner_of_other_data_is_refused(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    with pytest.raises(CleanerError, match="train returned a learner with other data"):
        cleaner.scan_folds(lambda _dls: learn, learn.dls, tmp_path / "scan", **QUIET)


# Items that only the learners can read.


class ItemTrainer:
    """Makes learners of the items that it is given, without training them; `fail_at` raises at one of the folds."""

    def __init__(self, folder: Path, fail_at: int | None = None) -> None:
        self.folder, self.fail_at, self.given = folder, fail_at, list[Any]()

    def __call__(self, items: Any) -> fastai.Learner:
        if len(self.given) == self.fail_at:
            raise KeyboardInterrupt
        self.given.append(items)
        block = fastai.DataBlock(
            (fastai.ImageBlock, fastai.CategoryBlock(VOCAB)),
            get_items=fastai.noop,
            get_x=(lambda row: self.folder / row["file"]) if hasattr(items, "iloc") else None,
            get_y=(lambda row: row["kind"]) if hasattr(items, "iloc") else fastai.parent_label,
            item_tfms=fastai.Resize(16),
        )
        dls = block.dataloaders(items, path=self.folder, bs=4, num_workers=0)
        learn = fastai.Learner(dls, model_of(len(self.given)), loss_func=fastai.CrossEntropyLossFlat())
        learn.remove_cb(fastai.ProgressCallback)
        return learn


def listed(folder: Path, as_table: bool) -> Any:
    files = sorted(folder.rglob("*.png"))
    names = [path.relative_to(folder).as_posix() for path in files]
    return pd.DataFrame({"file": names, "kind": [path.parent.name for path in files]}) if as_table else files


@pytest.mark.parametrize("as_table", [False, True])
def test_items_are_scored_by_learners_that_were_not_given_them(as_table: bool, tmp_path: Path) -> None:
    items = listed(make_folder(tmp_path / "data", per_class=11), as_table)
    train = ItemTrainer(tmp_path / "data")
    scan = cleaner.scan_folds(train, items, tmp_path / "scan", folds=3, **QUIET)
    assert scan.scored == {"all": 33}
    assert [len(given) for given in train.given] == [22, 22, 22]
    files = {sample.path: sample for sample in scan.samples}
    assert len(files) == 33
    assert all(sample.label == path.split("/")[0] for path, sample in files.items())
    for number, given in enumerate(train.given, start=1):
        names = given["file"] if as_table else [path.relative_to(tmp_path / "data").as_posix() for path in given]
        held = files.keys() - set(names)
        learn = ItemTrainer(tmp_path / "data")(listed(tmp_path / "data", as_table=False))
        learn.model = model_of(number)
        paths = sorted(tmp_path / "data" / path for path in held)
        with learn.no_bar():
            losses = learn.get_preds(dl=learn.dls.test_dl(paths, with_labels=True), with_loss=True)[2]
        found = [files[path.relative_to(tmp_path / "data").as_posix()].loss for path in paths]
        assert found == pytest.approx(losses.tolist(), abs=1e-5)


def test_folds_of_items_are_resumed(tmp_path: Path) -> None:
    items = listed(make_folder(tmp_path / "data", per_class=11), as_table=False)
    whole = cleaner.scan_folds(ItemTrainer(tmp_path / "data"), items, tmp_path / "whole", **QUIET)
    first = ItemTrainer(tmp_path / "data", fail_at=3)
    with pytest.raises(KeyboardInterrupt):
        cleaner.scan_folds(first, items, tmp_path / "scan", **QUIET)
    second = ItemTrainer(tmp_path / "data")
    second.given = first.given  # their number is the next model's
    with pytest.raises(CleanerError, match="unfinished scan with another list of items"):
        cleaner.scan_folds(second, items[::-1], tmp_path / "scan", **QUIET)
    scan = cleaner.scan_folds(second, items, tmp_path / "scan", **QUIET)
    assert len(second.given) == 4
    assert scan.samples == whole.samples
    assert not (tmp_path / "scan" / "checkpoint").exists()


def test_a_learner_of_all_items_is_refused(tmp_path: Path) -> None:
    items = listed(make_folder(tmp_path / "data", per_class=5), as_table=False)
    train = ItemTrainer(tmp_path / "data")
    with pytest.raises(CleanerError, match="a file of the fold that it is to score; make its data of the items alone"):
        cleaner.scan_folds(lambda _some: train(items), items, tmp_path / "scan", **QUIET)


def test_copies_of_a_file_are_in_one_fold(tmp_path: Path) -> None:
    """Else its label would be scored by a model that was trained on it."""
    folder = make_folder(tmp_path / "data", per_class=8)
    files = sorted(folder.rglob("*.png"))
    listed_twice = files + files[::2]
    dls = fastai.ImageDataLoaders.from_lists(
        folder, listed_twice, [path.parent.name for path in listed_twice], valid_pct=0.3, seed=0,
        item_tfms=fastai.Resize(16), bs=4, num_workers=0,
    )  # fmt: skip
    train = Trainer()
    cleaner.scan_folds(train, dls, tmp_path / "scan", **QUIET)
    for loaders in train.loaders:
        trained, held = ({Path(file).name for file, _ in own.items} for own in (loaders.train_ds, loaders.valid_ds))
        assert not trained & held
    given = ItemTrainer(folder)
    scan = cleaner.scan_folds(given, listed_twice, tmp_path / "items", **QUIET)
    assert scan.scored == {"all": len(listed_twice)}


def test_items_with_another_root_or_a_running_scan_are_refused_before_a_training(tmp_path: Path) -> None:
    from cleaner.core.scan_files import writing

    items = listed(make_folder(tmp_path / "data", per_class=5), as_table=False)
    first = ItemTrainer(tmp_path / "data", fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        cleaner.scan_folds(first, items, tmp_path / "scan", **QUIET)
    train = ItemTrainer(tmp_path / "data")
    with pytest.raises(CleanerError, match="unfinished scan with the root"):
        cleaner.scan_folds(train, items, tmp_path / "scan", root=tmp_path, **QUIET)
    with writing(tmp_path / "scan"), pytest.raises(CleanerError, match="another scan is being written"):
        cleaner.scan_folds(train, items, tmp_path / "scan", **QUIET)
    assert train.given == []
