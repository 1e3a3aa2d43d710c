"""Losses that are collected while a model is trained: whose they are, what they add up to, and what is refused."""

from __future__ import annotations

import itertools
import json
import logging
import math
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.callback.training import GradientAccumulation
from fastai.vision import all as fastai
from torch.utils.data import DataLoader, Dataset

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.training_statistics import LossStatistics
from cleaner.scoring import processes, training
from tests.support.hosts import free_port
from tests.support.learners import VOCAB, make_folder, make_learner, make_model

PLAIN = {"batch_tfms": None}


def picture(tensor: torch.Tensor) -> bytes:
    """What identifies an image that no transform changes at random."""
    return tensor.as_subclass(torch.Tensor).float().numpy().round(5).tobytes()


class Reference(fastai.Callback):
    """Looks each sample up by its picture, and keeps everything that was seen of it."""

    order = -999

    def __init__(self, learn: fastai.Learner) -> None:
        self.paths = {
            picture(learn.dls.test_dl([item]).one_batch()[0][0]): Path(item).relative_to(learn.dls.path).as_posix()
            for loader in learn.dls.loaders
            for item in loader.dataset.items
        }
        self.losses = defaultdict[tuple[str, str], dict[int, float]](dict)
        self.margins = defaultdict[tuple[str, str], dict[int, float]](dict)
        self.epochs, self.is_training, self.loaders = 0, False, learn.dls

    def before_train(self) -> None:  # fastai calls before_fit for validation too
        self.is_training = not hasattr(self.learn, "lr_finder")

    def after_fit(self) -> None:
        self.is_training = False

    def before_epoch(self) -> None:
        self.epochs += 1

    def before_batch(self) -> None:
        if not self.is_training:
            return
        self.seen = [self.paths[picture(image)] for image in self.x]
        self.given = self.y.tolist()

    def after_pred(self) -> None:
        if not self.is_training:
            return
        share = next((c.lam.reshape(-1) for c in self.learn.cbs if hasattr(c, "lam") and self.training), None)
        for at, (path, label) in enumerate(zip(self.seen, self.given, strict=True)):
            if share is not None and share[at if len(share) > 1 else 0] < 0.8:
                continue
            logits = [float(value) for value in self.pred[at].detach()]
            key = ("train" if self.training else "valid", path)
            self.losses[key][self.epochs] = math.log(sum(math.exp(value - logits[label]) for value in logits))
            others = [value for number, value in enumerate(logits) if number != label]
            self.margins[key][self.epochs] = logits[label] - max(others)


def compare(reference: Reference, scan: cleaner.Scan) -> None:
    """Same samples, and all statistics within 1e-6."""
    losses = {key: sum(seen.values()) / len(seen) for key, seen in reference.losses.items()}
    margins = {key: sum(seen.values()) / len(seen) for key, seen in reference.margins.items()}
    errors = {key: error([seen[epoch] for epoch in sorted(seen)]) for key, seen in reference.margins.items()}
    otherwise = {key: sum(margin < 0 for margin in seen.values()) for key, seen in reference.margins.items()}
    assert {(sample.split, sample.path): sample.loss for sample in scan.samples} == pytest.approx(errors, abs=1e-6)
    found: dict[str, dict[tuple[str, str], float]] = {name: {} for name in ("losses", "margins", "errors", "otherwise")}
    folder, epochs = scan.folder / "checkpoint" / "training", scan.settings["epochs"]
    for split, loader in zip(("train", "valid"), reference.loaders.loaders, strict=True):
        items = loader.dataset.items
        kept = LossStatistics(folder / split, len(items), len(scan.vocab), epochs[split]).of(slice(None))
        for at in np.flatnonzero(kept.epochs):
            path = Path(items[at]).relative_to(reference.loaders.path).as_posix()
            for name, values in found.items():
                values[split, path] = getattr(kept, name)[at]
    assert found["losses"] == pytest.approx(losses, rel=1e-6, abs=1e-6)
    assert found["margins"] == pytest.approx(margins, rel=1e-6, abs=1e-6)
    assert found["errors"] == pytest.approx(errors, abs=1e-6)
    assert found["otherwise"] == otherwise


def error(margins: list[float]) -> float:
    """The share of the training in which another label won; later epochs count more."""
    lost = [1 / (1 + math.exp(2 * margin)) for margin in margins]
    return sum(weight * x for weight, x in enumerate(lost, start=1)) / sum(range(1, len(lost) + 1))


def weighted(learn: fastai.Learner) -> None:
    data = learn.dls.train
    learn.dls.loaders[0] = data.new(cls=fastai.WeightedDL, wgts=np.arange(1, len(data.dataset) + 1))


def partially(learn: fastai.Learner) -> None:
    learn.dls.loaders[0] = learn.dls.train.new(cls=fastai.PartialDL, partial_n=12)


LOADERS: dict[str, tuple[dict[str, Any], Callable[[Any], None] | None, Any]] = {
    "shuffled, the last batch left out": ({}, None, None),
    "all, in order": ({"shuffle": False, "drop_last": False}, None, None),
    "two workers": ({"num_workers": 2}, None, None),
    "weighted": ({}, weighted, None),
    "a part each epoch": ({}, partially, None),
    "gradient accumulation": ({}, None, partial(GradientAccumulation, 8)),
    "MixUp": ({}, None, partial(fastai.MixUp, 0.4)),
    "CutMix": ({}, None, partial(fastai.CutMix, 0.3)),
}


@pytest.mark.parametrize("name", LOADERS)
def test_statistics_are_those_of_samples_looked_up_one_by_one(name: str, tmp_path: Path) -> None:
    options, change, other = LOADERS[name]
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN, **options)
    if change is not None:
        change(learn)
    reference = Reference(learn)
    callbacks = [reference, *([] if other is None else [other()])]
    learn.fit(4, 0.01, cbs=[*callbacks, cleaner.ScanCallback(tmp_path / "scan")])
    scan = cleaner.load(tmp_path / "scan")
    compare(reference, scan)
    assert scan.ranked_by == "training error"
    assert scan.settings["epochs"] == {"train": 4, "valid": 4}
    n = len(learn.dls.train_ds.items)
    assert scan.settings["not_seen"] == {"train": n - scan.scored["train"], "valid": 0}


def test_each_of_several_labels_has_statistics_of_its_own(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", per_class=9)

    def labels(path):  # type: ignore[no-untyped-def]  # fastai reads types
        return [path.parent.name, *(["odd"] if int(path.stem.split("_")[1]) % 2 else [])]

    block = fastai.DataBlock(
        (fastai.ImageBlock, fastai.MultiCategoryBlock),
        get_items=fastai.get_image_files,
        get_y=labels,
        splitter=fastai.RandomSplitter(0.3, seed=0),
        item_tfms=fastai.Resize(16),
    )
    dls = block.dataloaders(data, path=data, bs=4, num_workers=0)
    learn = fastai.Learner(dls, make_model(4), loss_func=fastai.BCEWithLogitsLossFlat())
    seen = defaultdict[tuple[str, str], list[float]](list)
    paths = Reference(learn).paths

    class Each(fastai.Callback):
        order = -999

        def after_pred(self) -> None:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(self.pred, self.y.float(), reduction="none")
            for image, row in zip(self.x, losses.detach(), strict=True):
                for label, loss in zip(dls.vocab, row.tolist(), strict=True):
                    seen[paths[picture(image)], label].append(loss)

    learn.fit(3, 0.01, cbs=[Each(), cleaner.ScanCallback(tmp_path / "scan", ranked_by="mean training loss")])
    scan = cleaner.load(tmp_path / "scan")
    expected = {key: sum(losses) / len(losses) for key, losses in seen.items()}
    assert {(s.path, s.label): s.loss for s in scan.samples} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for sample in scan.samples:
        assert set(sample.given) == set(labels(data / sample.path))
        assert sample.predicted in (sample.label, "")


def test_label_smoothing_changes_neither_loss_nor_margin(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", per_class=9)
    learn = make_learner(data, loss_func=fastai.LabelSmoothingCrossEntropyFlat(), **PLAIN)
    reference = Reference(learn)
    learn.fit(3, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan")])
    compare(reference, cleaner.load(tmp_path / "scan"))


@pytest.mark.parametrize(
    ("ranked_by", "name", "sign"), [("margin", "margins", -1), ("mean training loss", "losses", 1)]
)
def test_other_rankings_are_by_mean_margin_and_mean_loss(ranked_by: str, name: str, sign: int, tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    reference = Reference(learn)
    learn.fit(3, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan", ranked_by=ranked_by)])
    scan = cleaner.load(tmp_path / "scan")
    expected = {key: sign * sum(seen.values()) / len(seen) for key, seen in getattr(reference, name).items()}
    assert {(s.split, s.path): s.loss for s in scan.samples} == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_later_trainings_add_their_epochs_whatever_their_batch_size(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    reference = Reference(learn)
    learn.fit(2, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan")])
    learn.dls.loaders[0] = learn.dls.train.new(bs=5)
    learn.fit(1, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan")])
    compare(reference, cleaner.load(tmp_path / "scan"))
    fresh = Reference(learn)
    learn.fit(1, 0.01, cbs=[fresh, cleaner.ScanCallback(tmp_path / "scan", reset=True)])
    compare(fresh, cleaner.load(tmp_path / "scan"))


def test_the_last_prediction_and_its_probability_are_kept(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    seen = dict[str, tuple[str, float]]()

    class Last(Reference):
        def after_pred(self) -> None:
            for path, row in zip(self.seen, self.pred.detach().softmax(1), strict=True):
                seen[path] = (VOCAB[int(row.argmax())], float(row.max()))

    learn.fit(2, 0.01, cbs=[Last(learn), cleaner.ScanCallback(tmp_path / "scan")])
    for sample in cleaner.load(tmp_path / "scan").samples:
        label, probability = seen[sample.path]
        assert sample.predicted == label
        assert sample.confidence == pytest.approx(probability, rel=1e-3)  # kept in half precision


def test_the_search_for_a_learning_rate_and_predictions_are_left_out(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    reference = Reference(learn)
    learn.add_cbs([reference, cleaner.ScanCallback(tmp_path / "scan")])
    learn.lr_find(num_it=5, show_plot=False)
    assert not (tmp_path / "scan").exists()
    learn.fit(1, 0.01)
    before = cleaner.load(tmp_path / "scan")
    learn.get_preds(ds_idx=1)
    learn.validate()
    learn.fit(1, 0.01)
    compare(reference, cleaner.load(tmp_path / "scan"))
    assert before.settings["epochs"] == {"train": 1, "valid": 1}


def test_validation_and_predictions_within_a_training_are_left_out(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    within, reference = list[str](), Reference(learn)

    class Within(fastai.Callback):
        def after_batch(self) -> None:
            if self.training and self.iter == 2 and not within:
                within.append("batch")
                learn.get_preds(ds_idx=1, inner=True)
                learn.model.train()

        def after_epoch(self) -> None:
            if "epoch" not in within:
                within.append("epoch")
                learn.validate()
                within.remove("epoch")

    reference_and_callback = [cleaner.ScanCallback(tmp_path / "scan"), Within()]
    learn.fit(2, 0.01, cbs=reference_and_callback)
    scan = cleaner.load(tmp_path / "scan")
    assert scan.settings["epochs"] == {"train": 2, "valid": 2}
    assert scan.settings["not_seen"]["train"] <= 4
    learn.fit(1, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan", reset=True)])
    compare(reference, cleaner.load(tmp_path / "scan"))


def test_a_search_that_was_interrupted_does_not_hide_the_next_training(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    callback = cleaner.ScanCallback(tmp_path / "scan")

    class Interrupt(fastai.Callback):
        def after_pred(self) -> None:
            raise KeyboardInterrupt

    learn.add_cb(callback)
    with learn.added_cbs(Interrupt()), pytest.raises(KeyboardInterrupt):
        learn.lr_find(num_it=5, show_plot=False)
    learn.fit(1, 0.01)
    assert cleaner.load(tmp_path / "scan").settings["epochs"] == {"train": 1, "valid": 1}


def test_a_training_without_an_epoch_says_so_and_ends_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = list[str]()

    class Cancel(fastai.Callback):
        def after_pred(self) -> None:
            raise fastai.CancelFitException

        def after_fit(self) -> None:
            ended.append("in order")

    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    with caplog.at_level(logging.ERROR, "cleaner"):
        learn.fit(1, cbs=[cleaner.ScanCallback(tmp_path / "scan"), Cancel()])
    assert "its scan was not written: no epoch was finished" in caplog.text
    assert ended


def test_a_scan_afterwards_keeps_the_losses_of_the_training(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    cleaner.scan(learn, tmp_path / "scan", progress=False)
    learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    assert cleaner.load(tmp_path / "scan").settings["epochs"] == {"train": 2, "valid": 2}


def test_labels_that_are_not_those_of_the_dataset_are_refused(tmp_path: Path) -> None:
    class Permute(fastai.Callback):
        order = -1001

        def before_batch(self) -> None:
            self.learn.yb = (self.y.roll(1),)

    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    with pytest.raises(CleanerError, match=r"was trained on as '.*', and the dataset lists"):
        learn.fit(3, cbs=[cleaner.ScanCallback(tmp_path / "scan"), Permute()])


def test_a_model_with_other_outputs_is_refused(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    learn.model = make_model(7)
    with pytest.raises(CleanerError, match="3 classes; expected one output per class"):
        learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))


def test_a_learner_with_the_callback_is_exported_without_its_data(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    learn.add_cb(cleaner.ScanCallback(tmp_path / "scan"))
    learn.fit(1)
    learn.export(tmp_path / "learner.pkl")
    assert f"{VOCAB[0]}_1.png".encode() not in unzipped(tmp_path / "learner.pkl")
    assert fastai.load_learner(tmp_path / "learner.pkl").dls.vocab == learn.dls.vocab


def test_after_an_interruption_the_loaders_work_as_before(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)

    class Interrupt(fastai.Callback):
        def after_pred(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, cbs=[cleaner.ScanCallback(tmp_path / "scan"), Interrupt()])
    assert len(learn.dls.train.one_batch()) == len(learn.dls.valid.one_batch()) == 2
    learn.export(tmp_path / "learner.pkl")
    assert b"cleaner" not in unzipped(tmp_path / "learner.pkl")
    items = learn.dls.valid_ds.items
    assert len(learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True))[0]) == len(items)
    learn.fit(1)
    reference = Reference(learn)
    learn.fit(1, 0.01, cbs=[reference, cleaner.ScanCallback(tmp_path / "scan")])
    compare(reference, cleaner.load(tmp_path / "scan"))


def unzipped(file: Path) -> bytes:
    """All of a file that torch saved."""
    with zipfile.ZipFile(file) as archive:
        return b"".join(map(archive.read, archive.namelist()))


def test_a_training_leaves_the_loaders_as_they_were(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    learn.fit(1)
    before = [(dict(loader.__dict__).keys(), list(loader.after_batch.fs)) for loader in learn.dls.loaders]
    learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    assert [(dict(x.__dict__).keys(), list(x.after_batch.fs)) for x in learn.dls.loaders] == before
    learn.export(tmp_path / "learner.pkl")
    assert b"cleaner" not in unzipped(tmp_path / "learner.pkl")


KILLED = """
import os, signal, sys
from pathlib import Path
from fastai.vision import all as fastai
import cleaner
from tests.support.learners import make_learner

class Kill(fastai.Callback):
    def after_pred(self):
        if self.epoch == 2 and self.iter == 2 and self.training:
            os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
make_learner(folder / "data", batch_tfms=None).fit(4, 0.01, cbs=[cleaner.ScanCallback(folder / "scan"), Kill()])
"""


def test_a_process_killed_in_an_epoch_leaves_the_finished_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path / "data", per_class=9)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, tmp_path], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    noted = json.loads((tmp_path / "scan" / "checkpoint" / "training" / "training.json").read_text())
    assert noted["epochs"] == {"train": 2, "valid": 2}
    learn = make_learner(tmp_path / "data", **PLAIN)
    with caplog.at_level(logging.WARNING, "cleaner"):
        learn.fit(1, 0.01, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    assert "whose losses of 'train' are dropped" in caplog.text
    assert "2 of 'train', 2 of 'valid'" in caplog.text
    assert cleaner.load(tmp_path / "scan").settings["epochs"] == {"train": 3, "valid": 3}


def test_a_training_on_other_files_is_refused_until_reset(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=9), **PLAIN)
    learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    next((tmp_path / "data" / VOCAB[0]).iterdir()).unlink()
    learn = make_learner(tmp_path / "data", **PLAIN)
    with pytest.raises(CleanerError, match="on other files or labels; start over with reset=True"):
        learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan", reset=True))
    assert cleaner.load(tmp_path / "scan").settings["epochs"] == {"train": 1, "valid": 1}


def test_other_targets_are_refused(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    block = fastai.DataBlock(
        (fastai.ImageBlock, fastai.RegressionBlock),
        get_items=fastai.get_image_files,
        get_y=lambda path: float(len(path.name)),
        item_tfms=fastai.Resize(16),
    )
    learn = fastai.Learner(block.dataloaders(data, bs=4), make_model(1), loss_func=fastai.MSELossFlat())
    with pytest.raises(CleanerError, match="losses are collected for images with labels"):
        learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))


def no_batches(learn: fastai.Learner) -> None:
    learn.dls.loaders[0] = learn.dls.train.new(bs=None, drop_last=False)


def whole_lists(learn: fastai.Learner) -> None:
    learn.dls.train.before_batch = fastai.Pipeline([list])


class AnotherProcess(fastai.TfmdDL):
    """Stands for fastai's loader of one process among several, which holds another loader."""

    dl: Any = None


def own_items(learn: fastai.Learner) -> None:
    learn.dls.train.create_item = lambda s: learn.dls.train.dataset[0]


def another_process(learn: fastai.Learner) -> None:
    learn.dls.loaders[0].__class__ = AnotherProcess


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (no_batches, "no batch size or no positions"),
        (whole_lists, "changes lists of samples"),
        (own_items, "a loader has its own create_item, so it is unknown which sample is which"),
        (another_process, "a loader is a AnotherProcess; only fastai's own can be followed"),
    ],
)
def test_a_loader_that_cannot_be_followed_is_refused(change: Any, problem: str, tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    change(learn)
    with pytest.raises(CleanerError, match=problem):
        learn.fit(1, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    assert not (tmp_path / "scan").exists()


def test_a_callback_that_reads_ahead_is_refused(tmp_path: Path) -> None:
    class ReadAhead(fastai.Callback):
        def before_train(self) -> None:
            self.learn.dl = list(self.learn.dl)

    learn = make_learner(make_folder(tmp_path / "data"), **PLAIN)
    with pytest.raises(CleanerError, match="it is unknown which sample is which"):
        learn.fit(1, cbs=[cleaner.ScanCallback(tmp_path / "scan"), ReadAhead()])


def test_an_unknown_ranking_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CleanerError, match="ranked_by is 'loss'; pass one of 'training error', 'mean training loss', 'margin'"
    ):
        cleaner.ScanCallback(tmp_path / "scan", ranked_by="loss")
    with pytest.raises(CleanerError, match="k is 0; pass a whole number"):
        cleaner.ScanCallback(tmp_path / "scan", k=0)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """A map-style dataset of the files of a folder, which returns also the position of each sample."""

    def __init__(self, root: Path) -> None:
        files = sorted(root.rglob("*.png"))
        self.samples = [(str(path), VOCAB.index(path.parent.name)) for path in files]
        self.classes, self.root = list(VOCAB), str(root)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[i]
        image = fastai.PILImage.create(path).resize((16, 16))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255, label


class Numbered(Pictures):
    def __getitem__(self, i: int) -> Any:
        return (*super().__getitem__(i), i)


def test_any_loop_can_record_its_losses(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", per_class=5)
    recorder = cleaner.LossRecorder(Pictures(data), out=tmp_path / "scan", ranked_by="mean training loss")
    model, seen = make_model(), defaultdict[int, list[float]](list)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        for images, targets, indices in DataLoader(Numbered(data), batch_size=4, shuffle=True):
            logits = model(images)
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            recorder.update(indices, logits, targets)
            losses.mean().backward()
            optimizer.step()
            for i, loss in zip(indices.tolist(), losses.tolist(), strict=True):
                seen[i].append(loss)
        recorder.end_epoch()
    recorder.update(torch.tensor([0]), torch.zeros(1, 3), torch.tensor([0]))  # an epoch that does not end
    scan = recorder.finish()
    paths = [Path(path).relative_to(data).as_posix() for path, _ in Pictures(data).samples]
    expected = {paths[i]: sum(losses) / 3 for i, losses in seen.items()}
    assert {sample.path: sample.loss for sample in scan.samples} == pytest.approx(expected, rel=1e-6)
    assert scan.settings["epochs"] == {"train": 3}


@pytest.mark.parametrize(
    ("indices", "logits", "targets", "options", "problem"),
    [
        ([0, 1], torch.zeros(2, 4), torch.zeros(2), {}, r"expected \[n\], \[n, 3\] and \[n\]"),
        ([0, 1], torch.zeros(2, 3), torch.zeros(1), {}, "have the shapes"),
        ([0.0, 1.0], torch.zeros(2, 3), torch.zeros(2), {}, "indices are float64; pass whole numbers"),
        ([0, 99], torch.zeros(2, 3), torch.zeros(2), {}, "expected numbers from 0 to 14"),
        ([0, -1], torch.zeros(2, 3), torch.zeros(2), {}, "expected numbers from 0 to 14"),
        ([0, 1], torch.zeros(2, 3), torch.tensor([0, 3]), {}, "the targets are 0 to 3; expected indices from 0 to 2"),
        ([0, 1], torch.zeros(2, 3), torch.zeros(2), {"split": "test"}, "there is no split 'test'"),
    ],
)
def test_batches_that_make_no_sense_are_refused(
    indices: Any, logits: torch.Tensor, targets: torch.Tensor, options: Any, problem: str, tmp_path: Path
) -> None:
    recorder = cleaner.LossRecorder(Pictures(make_folder(tmp_path / "data", per_class=5)), out=tmp_path / "scan")
    with pytest.raises(CleanerError, match=problem):
        recorder.update(indices, logits, targets.long(), **options)
    with pytest.raises(CleanerError, match="no epoch was finished"):
        recorder.finish()


def test_a_sample_costs_at_most_forty_bytes(tmp_path: Path) -> None:
    data = Pictures(make_folder(tmp_path / "data", per_class=50))
    recorder = cleaner.LossRecorder(data, [f"class {n}" for n in range(3)], out=tmp_path / "scan")
    recorder.update([0], torch.zeros(1, 3), torch.tensor([0]))
    recorder.end_epoch()
    files = (tmp_path / "scan" / "checkpoint" / "training" / "train").iterdir()
    assert sum(path.stat().st_size for path in files) <= 40 * len(data)
    assert training.RANKINGS.keys() == {"training error", "mean training loss", "margin"}


@pytest.mark.parametrize("kind", ["recorder", "callback"])
def test_a_training_by_two_processes_is_merged(kind: str, tmp_path: Path) -> None:
    """The parts are padded to one length, so a sample can be seen by both: then the last process counts."""
    make_folder(tmp_path / "data", per_class=9)
    module, port = "tests.support.distributed_training", str(free_port())
    team = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, kind, str(rank), "2", str(tmp_path), port],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in team]
    assert [process.returncode for process in team] == [0, 0], errors
    losses = defaultdict[tuple[str, str], dict[int, float]](dict)
    seen = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    assert all(seen)
    for epoch, split, path, loss in itertools.chain(*seen):
        losses[split, path][epoch] = loss
    scan = cleaner.load(tmp_path / "scan")
    expected = {key: sum(each.values()) / len(each) for key, each in losses.items()}
    assert scan.ranked_by == "mean training loss"
    assert {(s.split, s.path): s.loss for s in scan.samples} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert len(expected) == 27
    assert set(scan.settings["epochs"].values()) == {3}


def test_an_error_of_the_first_process_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "rank_and_count", lambda: (1, 2))
    monkeypatch.setattr(processes, "from_all", lambda value: ["the folder is that of another dataset", value])
    with pytest.raises(CleanerError, match="another dataset"):
        processes.on_first(lambda: pytest.fail("only the first process runs it"))


def test_a_recorder_made_before_the_processes_know_each_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = cleaner.LossRecorder(Pictures(make_folder(tmp_path / "data", per_class=5)), out=tmp_path / "scan")
    monkeypatch.setattr(training, "rank_and_count", lambda: (1, 2))
    for call in (
        lambda: recorder.update([0], torch.zeros(1, 3), torch.tensor([0])),
        recorder.end_epoch,
        recorder.finish,
    ):
        with pytest.raises(CleanerError, match="make it after torch"):
            call()
