"""Learners with several labels an image, masks, points and numbers: losses as the task's own loss computed plainly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai
from PIL import Image
from torch import nn

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.tasks import ALL_IMAGES, drawn_file, split_labels
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support.images import make_image
from tests.support.learners import make_model

N = 12
LABELS = ("cat", "dog", "fox")


def labels_of(number: int) -> list[str]:
    """Each set of labels comes up, also that of none."""
    return [label for bit, label in enumerate(LABELS) if (number + 1) >> bit & 1]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [make_image(tmp_path / "data/images" / f"{n:02d}.png", seed=n, size=(20, 20)) for n in range(N)]


def learner(dls: Any, model: nn.Module, loss_func: Any = None) -> fastai.Learner:
    learn = fastai.Learner(dls, model, loss_func=loss_func)
    learn.remove_cb(fastai.ProgressCallback)
    return learn


OPTIONS = {"bs": 4, "num_workers": 0, "item_tfms": fastai.Resize(16), "batch_tfms": fastai.aug_transforms()}


def from_table(images: list[Path], **options: Any) -> Any:
    rows = [(f"images/{image.name}", "|".join(labels_of(n))) for n, image in enumerate(images)]
    frame = pd.DataFrame(rows, columns=["fname", "labels"])
    root = images[0].parents[1]
    return fastai.ImageDataLoaders.from_df(
        frame, root, label_delim="|", valid_pct=0.3, seed=0, **{**OPTIONS, **options}
    )


def from_lists(images: list[Path], **_options: Any) -> Any:
    labels = [labels_of(n) for n in range(len(images))]
    return fastai.ImageDataLoaders.from_lists(
        images[0].parents[1], images, labels, valid_pct=0.3, seed=0, y_block=fastai.MultiCategoryBlock, **OPTIONS
    )


def encoded(images: list[Path], **_options: Any) -> Any:
    def one_hot(path: Path) -> Any:  # no generic type, by which fastai would look for what to convert
        carried = labels_of(int(path.stem))
        return [int(label in carried) for label in LABELS]

    block = fastai.DataBlock(
        (fastai.ImageBlock, fastai.MultiCategoryBlock(encoded=True, vocab=list(LABELS))),
        get_items=lambda _: images,
        get_y=one_hot,
        splitter=fastai.RandomSplitter(0.3, seed=0),
        item_tfms=fastai.Resize(16),
    )
    return block.dataloaders(images[0].parents[1], bs=4, num_workers=0)


def plain(learn: fastai.Learner, split: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The items of a split, and what the model says of them and their targets, by fastai alone."""
    items = learn.dls[split].dataset.items
    predictions, targets = learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True), act=fastai.noop)
    predictions = predictions[0] if isinstance(predictions, tuple) else predictions
    return items, predictions.as_subclass(torch.Tensor), targets.as_subclass(torch.Tensor)


WEIGHTED = fastai.BCEWithLogitsLossFlat(pos_weight=torch.tensor([1.0, 2.0, 5.0]), thresh=0.4)


@pytest.mark.parametrize("load", [from_table, from_lists, encoded])
@pytest.mark.parametrize("loss_func", [None, WEIGHTED], ids=["plain", "weighted"])
def test_each_label_has_its_own_loss(load: Callable[..., Any], loss_func: Any, images: list[Path]) -> None:
    learn = learner(load(images), make_model(), loss_func)
    scan = cleaner.scan(learn, images[0].parents[1] / "scan", k=N, progress=False)
    assert (scan.task, scan.label_delim, scan.vocab) == ("multi-label", ";", LABELS)
    weights = None if loss_func is None else torch.tensor([1.0, 2.0, 5.0])
    thresh = 0.5 if loss_func is None else 0.4
    for number, split in enumerate(("train", "valid")):
        items, logits, targets = plain(learn, number)
        losses = nn.BCEWithLogitsLoss(reduction="none", pos_weight=weights)(logits, targets)
        names = [_name(item) for item in _rows(items)]
        assert scan.scored[split] == len(names)
        for index, label in enumerate(LABELS):
            kept = {Path(sample.path).name: sample for sample in scan.kept(split, label)}
            assert sorted(kept) == sorted(names)
            for name, logit, loss in zip(names, logits[:, index].sigmoid().tolist(), losses[:, index], strict=True):
                sample = kept[name]
                assert sample.loss == pytest.approx(float(loss), abs=1e-4)
                assert sample.given == tuple(labels_of(int(Path(name).stem)))
                assert sample.predicted == (label if logit > thresh else "")
                assert sample.confidence == pytest.approx(logit if logit > thresh else 1 - logit, abs=1e-4)
    assert cleaner.load(scan.folder).samples == scan.samples


def _name(item: Any) -> str:
    """Of a path, of a row of a table, or of what `from_lists` makes of a path and its labels."""
    return Path(getattr(item, "fname", None) or (item[0] if isinstance(item, tuple) else item)).name


def _rows(items: Any) -> list[Any]:
    return list(items.itertuples()) if isinstance(items, pd.DataFrame) else list(items)


def test_the_counts_are_of_how_often_model_and_label_disagree(images: list[Path]) -> None:
    learn = learner(from_table(images), make_model())
    scan = cleaner.scan(learn, images[0].parents[1] / "scan", k=2, splits=("train",), progress=False)
    _, logits, targets = plain(learn, 0)
    losses = nn.BCEWithLogitsLoss(reduction="none")(logits, targets)
    disagree = ((logits > 0) != (targets > 0.5)).sum(0).tolist()
    for index, found in enumerate(scan.of_classes("train")):
        assert (found.scored, found.predicted_otherwise) == (len(targets), disagree[index])
        assert found.mean_loss == pytest.approx(float(losses[:, index].mean()), abs=1e-4)
    for ask in (lambda: scan.confusion("train"), scan.most_confused):
        with pytest.raises(CleanerError, match="a multi-label scan has no confusion matrix"):
            ask()
    assert [len(scan.kept("train", label)) for label in LABELS] == [2, 2, 2]


def test_a_stopped_scan_of_label_sets_goes_on(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = images[0].parents[1]
    whole = cleaner.scan(learner(from_table(images), make_model()), root / "whole", k=3, progress=False)
    learn = learner(from_table(images), make_model())
    update, calls = SplitProgress.update, iter(range(100))

    def stopping(part: SplitProgress, batch: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        update(part, batch)

    monkeypatch.setattr(SplitProgress, "update", stopping)
    monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    with pytest.raises(KeyboardInterrupt):
        cleaner.scan(learn, root / "scan", k=3, progress=False)
    assert (root / "scan/checkpoint/progress.npz").exists()
    counted = []
    monkeypatch.setattr(
        SplitProgress, "update", lambda part, batch: (counted.append(len(batch.paths)), update(part, batch))
    )
    again = cleaner.scan(learn, root / "scan", k=3, progress=False)
    assert sum(counted) == N - 8  # two batches of four were saved
    for name in ("top_losses.csv", "classes.csv"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def masks_of(images: list[Path]) -> Any:
    masks = images[0].parents[1] / "masks"
    masks.mkdir()
    for number, image in enumerate(images):
        mask = np.zeros((20, 20), np.uint8)
        mask[number : number + 6, 3:15] = 1 + number % 2
        Image.fromarray(mask).save(masks / image.name)
    return fastai.SegmentationDataLoaders.from_label_func(
        images[0].parents[1],
        images,
        label_func=lambda path: masks / path.name,
        codes=["none", "one", "two"],
        valid_pct=0.3,
        seed=0,
        **OPTIONS,
    )


def targets_by(images: list[Path], block: Any, get_y: Callable[[Path], Any]) -> Any:
    return fastai.DataBlock(
        (fastai.ImageBlock, block),
        get_items=lambda _: images,
        get_y=get_y,
        splitter=fastai.RandomSplitter(0.3, seed=0),
        item_tfms=fastai.Resize(16),
        batch_tfms=fastai.aug_transforms(),
    ).dataloaders(images[0].parents[1], bs=4, num_workers=0)


def segmentation(images: list[Path]) -> fastai.Learner:
    torch.manual_seed(0)
    return learner(masks_of(images), nn.Conv2d(3, 3, 3, padding=1), fastai.CrossEntropyLossFlat(axis=1))


def keypoints(images: list[Path]) -> fastai.Learner:
    dls = targets_by(images, fastai.PointBlock, lambda path: [[float(path.stem), 3.0], [10.0, 12.0]])
    model = nn.Sequential(make_model(4), nn.Tanh(), fastai.Lambda(lambda x: x.view(-1, 2, 2)))
    return learner(dls, model, fastai.MSELossFlat())


def regression(images: list[Path]) -> fastai.Learner:
    return learner(
        targets_by(images, fastai.RegressionBlock, lambda path: float(path.stem)), make_model(1), fastai.MSELossFlat()
    )


def stubborn(images: list[Path]) -> fastai.Learner:
    """With a model that gives two tensors, and a loss that gives one number whatever the reduction."""
    learn = regression(images)
    learn.model = nn.Sequential(learn.model, fastai.Lambda(lambda found: (found, found.new_ones(len(found), 7))))
    learn.loss_func = lambda found, target: ((found[0].squeeze(-1) - target) ** 2).mean() * found[1].mean()
    return learn


def _pixels(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, target.long(), reduction="none").flatten(1).mean(1)


def _squares(found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (found.reshape(len(target), -1) - target.reshape(len(target), -1)).square().mean(1)


TASKS = [(segmentation, _pixels), (keypoints, _squares), (regression, _squares), (stubborn, _squares)]


@pytest.mark.parametrize(("make", "loss_of"), TASKS)
def test_other_tasks_have_one_class_and_the_mean_loss_of_a_sample(
    make: Callable[[list[Path]], fastai.Learner], loss_of: Callable[..., torch.Tensor], images: list[Path]
) -> None:
    learn = make(images[: N // 2])  # fastai draws each of them, which takes longest
    scan = cleaner.scan(learn, images[0].parents[1] / "scan", k=N, progress=False)
    assert (scan.task, scan.vocab, scan.label_delim) == ("other", (ALL_IMAGES,), "")
    for number, split in enumerate(("train", "valid")):
        items, found, targets = plain(learn, number)
        losses = loss_of(found, targets).tolist()
        kept = {Path(sample.path).name: sample for sample in scan.kept(split, ALL_IMAGES)}
        assert {name: sample.loss for name, sample in kept.items()} == pytest.approx(
            {item.name: loss for item, loss in zip(items, losses, strict=True)}, rel=1e-4
        )
        assert all(sample.predicted == ALL_IMAGES and np.isnan(sample.confidence) for sample in kept.values())
        with pytest.raises(CleanerError, match="a scan of images without labels has no confusion matrix"):
            scan.confusion(split)


@pytest.mark.parametrize("make", [segmentation, keypoints, regression])
def test_what_is_kept_is_drawn_and_no_more(
    make: Callable[[list[Path]], fastai.Learner], images: list[Path], tmp_path: Path
) -> None:
    scan = cleaner.scan(make(images), tmp_path / "scan", k=2, progress=False)
    wanted = {drawn_file(scan.folder, sample.path) for sample in scan.samples}
    assert set((scan.folder / "drawn").iterdir()) == wanted
    assert len(wanted) == scan.settings["drawn"] == 4
    for file in wanted:
        with Image.open(file) as drawing:
            assert drawing.format == "JPEG"
            assert 100 < drawing.width <= 1000
    again = cleaner.scan(make_again(make, images), tmp_path / "scan", k=1, progress=False)
    assert len(list((again.folder / "drawn").iterdir())) == 2


def make_again(make: Callable[[list[Path]], fastai.Learner], images: list[Path]) -> fastai.Learner:
    masks = images[0].parents[1] / "masks"
    for file in masks.glob("*"):
        file.unlink()
    if masks.is_dir():
        masks.rmdir()
    return make(images)


def test_the_target_is_seen_in_the_drawing(images: list[Path], tmp_path: Path) -> None:
    learn = keypoints(images)
    scan = cleaner.scan(learn, tmp_path / "scan", k=1, splits=("train",), progress=False)
    (sample,) = scan.samples
    drawing = np.asarray(Image.open(drawn_file(scan.folder, sample.path)).convert("RGB")).astype(int)
    make_image(tmp_path / "plain.png", seed=0)
    red = (drawing[..., 0] > 230) & (drawing[..., 1] < 40) & (drawing[..., 2] < 40)
    assert red.sum() > 100  # two points on each side


def test_an_unreadable_image_and_a_missing_mask_are_findings(images: list[Path], tmp_path: Path) -> None:
    learn = segmentation(images)
    images[0].write_bytes(b"no image")
    (images[0].parents[1] / "masks" / images[1].name).unlink()
    scan = cleaner.scan(learn, tmp_path / "scan", k=N, progress=False)
    assert sorted((item.label, item.path) for item in scan.unreadable) == [
        (ALL_IMAGES, "images/00.png"),
        (ALL_IMAGES, "images/01.png"),
    ]


def test_an_unreadable_image_has_all_its_labels(images: list[Path], tmp_path: Path) -> None:
    learn = learner(from_table(images), make_model())
    images[2].write_bytes(b"no image")
    images[N - 5].write_bytes(b"no image")
    scan = cleaner.scan(learn, tmp_path / "scan", k=N, progress=False)
    found = {item.path: split_labels(item.label, ";") for item in scan.unreadable}
    assert found == {"images/02.png": ("cat", "dog"), f"images/{N - 5:02d}.png": ()}
    assert sum(scan.scored.values()) == N - 2


def test_a_folder_is_scanned_with_what_the_learner_reads_from_paths(images: list[Path], tmp_path: Path) -> None:
    sets = encoded(images)
    found = cleaner.scan_folder(learner(sets, make_model()), images[0].parent, tmp_path / "a", k=N, progress=False)
    assert (found.task, found.scored) == ("multi-label", {"all": N})
    assert {s.path: s.given for s in found.kept("all", "fox")} == {
        image.name: tuple(labels_of(n)) for n, image in enumerate(images)
    }
    found = cleaner.scan_folder(regression(images), images[0].parent, tmp_path / "b", k=3, progress=False)
    assert (found.task, found.scored, found.settings["drawn"]) == ("other", {"all": N}, 3)


def one_number(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(prediction, target.float())


BAD = [
    ({"fast": True}, {}, "a fast scan needs one label per image, the task is 'multi-label'"),
    ({}, {"loss_func": one_number}, "the loss has 1 values for . images and 3 labels"),
    ({}, {"model": make_model(4)}, r"output has the shape \(., 4\) and the target \(., 3\)"),
    ({}, {"vocab": ["cat", "dog", "", "fox"]}, "an empty label; give that class a name"),
    ({}, {"vocab": ["cat", "dog", "a;b|c, d", "fox"]}, "the labels contain all delimiters"),
    ({"splits": ("test",)}, {}, "there is no split 'test'"),
]


@pytest.mark.parametrize(("options", "given", "message"), BAD)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], given: dict[str, Any], message: str, images: list[Path], tmp_path: Path
) -> None:
    blocks = {"y_block": fastai.MultiCategoryBlock(vocab=given["vocab"])} if "vocab" in given else {}
    learn = learner(from_table(images, **blocks), given.get("model") or make_model(), given.get("loss_func"))
    with pytest.raises(CleanerError, match=message):
        cleaner.scan(learn, tmp_path / "scan", progress=False, **options)
    assert not (tmp_path / "scan/scan.json").exists()


def test_other_tasks_refuse_what_needs_labels(images: list[Path], tmp_path: Path) -> None:
    learn = regression(images)
    with pytest.raises(CleanerError, match="a fast scan needs one label per image, the task is 'other'"):
        cleaner.scan(learn, tmp_path / "scan", fast=True, progress=False)


def test_a_scan_of_another_task_is_not_overwritten(images: list[Path], tmp_path: Path) -> None:
    scan = cleaner.scan(learner(from_table(images), make_model()), tmp_path / "scan", k=1, progress=False)
    description = json.loads((scan.folder / "scan.json").read_text())
    del description["task"], description["label_delim"]
    (scan.folder / "scan.json").write_text(json.dumps(description))
    with pytest.raises(CleanerError, match="holds a scan of the task 'single-label'"):
        cleaner.scan(learner(from_table(images), make_model()), tmp_path / "scan", k=1, progress=False)


def test_the_file_of_kept_samples_has_their_labels_last(images: list[Path], tmp_path: Path) -> None:
    scan = cleaner.scan(learner(from_table(images), make_model()), tmp_path / "scan", k=1, progress=False)
    with open(scan.folder / "top_losses.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-4:] == ["predicted", "confidence", "given", "alternatives"]
    for row in rows:
        assert row["given"] == ";".join(labels_of(int(Path(row["path"]).stem)))
        assert row["predicted"] in ("", row["label"])
