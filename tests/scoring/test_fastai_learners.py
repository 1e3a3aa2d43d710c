"""A fastai learner is scored as fastai itself would score it, and left as it was."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from itertools import product
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai
from fastai.vision import augment
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, get_worker_info

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision
from cleaner.scoring.data.fastai_data import skip_zero_padding
from tests.support.images import make_image
from tests.support.learners import VOCAB, make_folder, make_learner, make_model, plain_losses
from tests.support.odd_images import HARMFUL, HARMLESS, KINDS, UNREADABLE, write_harmful_image, write_odd_image


def reduces_whatever_it_is_told(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(prediction, target)


LOSSES = {
    "cross-entropy": fastai.CrossEntropyLossFlat(),
    "weighted": fastai.CrossEntropyLossFlat(weight=torch.tensor([1.0, 2.0, 3.0])),
    "label smoothing": fastai.LabelSmoothingCrossEntropy(),
    "label smoothing, flat": fastai.LabelSmoothingCrossEntropyFlat(),
    "focal": fastai.FocalLossFlat(),
    "torch": nn.CrossEntropyLoss(),
    "plain function": functional.cross_entropy,
    "partial": partial(functional.cross_entropy, label_smoothing=0.1),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_get_preds(name: str, tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"), LOSSES[name])
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert scan.scored == {"train": 15, "valid": 6}
    for split, loader in (("train", learn.dls.train), ("valid", learn.dls.valid)):
        expected = plain_losses(learn, loader.dataset.items)
        found = {Path(s.path).name: s.loss for s in scan.samples if s.split == split}
        assert found == pytest.approx(expected, abs=1e-5)


def test_worker_processes_read_images_as_for_validation(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for n in range(12):  # of which training takes a random part
        make_image(data / VOCAB[n % 3] / f"{n}.png", seed=n, size=(40, 16))
    learn = make_learner(data)
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", workers=2, progress=False)
    expected = plain_losses(learn, sorted(data.rglob("*.png")))
    assert {Path(s.path).name: s.loss for s in scan.samples} == pytest.approx(expected, abs=1e-5)


def test_worker_processes_that_are_no_copies_read_images_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS and Windows, and with Python 3.14, whatever is usual here.
    monkeypatch.setattr("torch.utils.data.DataLoader", partial(DataLoader, multiprocessing_context="spawn"))
    data = make_folder(tmp_path / "data", per_class=2)
    learn = make_learner(data)
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", workers=1, progress=False)
    expected = plain_losses(learn, sorted(data.rglob("*.png")))
    assert {Path(s.path).name: s.loss for s in scan.samples} == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are copies of this one")
def test_worker_processes_alone_leave_out_padding_by_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pads(_image: Any, padding: Any, **_options: Any) -> Any:
        raise AssertionError(f"an image is padded by {padding}")

    learn = make_learner(make_folder(tmp_path / "data"))
    monkeypatch.setattr("torch.utils.data.DataLoader", partial(DataLoader, multiprocessing_context="fork"))
    monkeypatch.setattr(augment, "tvpad", pads)
    scan = cleaner.scan_folder(learn, tmp_path / "data", tmp_path / "scan", workers=1, progress=False)
    assert scan.unreadable == ()
    assert augment.tvpad is pads


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_without_padding_by_nothing_images_are_the_same(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(50, 37), (37, 50), (40, 40), (32, 32), (20, 60)]
    images = [Image.open(make_image(tmp_path / f"{n}.png", n, size)).convert(mode) for n, size in enumerate(sizes)]
    images[0].info["exif"] = b"which way is up"  # a step that comes after may look for it
    images[1].info["transparency"] = 0

    def resized() -> list[tuple[Any, ...]]:
        ways = [
            fastai.Resize(32, method=method, pad_mode=pad)
            for method, pad in product(("crop", "pad", "squish"), ("zeros", "border"))
        ]
        made = [way(fastai.PILImage(image), split_idx=1) for way in ways for image in images]
        return [(type(image), image.mode, image.size, image.info, image.tobytes()) for image in made]

    expected = resized()
    monkeypatch.setattr(augment, "tvpad", augment.tvpad)  # so that it is put back
    skip_zero_padding()
    assert resized() == expected


def test_a_loss_that_reduces_whatever_it_is_told_is_asked_about_each_sample(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"), reduces_whatever_it_is_told)
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    learn.loss_func = functional.cross_entropy
    expected = plain_losses(learn, learn.dls.train.items)
    assert {Path(s.path).name: s.loss for s in scan.samples if s.split == "train"} == pytest.approx(expected, abs=1e-5)


def test_predictions_and_confidences_are_those_of_get_preds(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    items = learn.dls.valid.items
    probabilities, targets = learn.get_preds(dl=learn.dls.test_dl(items, with_labels=True))
    by_name = {Path(s.path).name: s for s in scan.samples if s.split == "valid"}
    for item, row, target in zip(items, probabilities, targets, strict=True):
        sample = by_name[item.name]
        assert sample.predicted == VOCAB[int(row.argmax())]
        assert sample.confidence == pytest.approx(float(row.max()), abs=1e-5)
        assert sample.label == VOCAB[int(target)]
    assert sum(scan.cells["valid"].values()) == len(items)


def test_the_learner_is_left_as_it_was_found(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    learn.model.train()
    learn.model[1].eval()
    attributes, callbacks = dict(learn.__dict__), list(learn.cbs)
    reduction, modes = learn.loss_func.reduction, [m.training for m in learn.model.modules()]
    cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert learn.__dict__ == attributes
    assert list(learn.cbs) == callbacks
    assert learn.loss_func.reduction == reduction
    assert [m.training for m in learn.model.modules()] == modes


def test_the_learner_is_left_as_it_was_found_after_an_error(tmp_path: Path) -> None:
    class Fails(fastai.Callback):
        def after_pred(self) -> None:
            raise KeyboardInterrupt

    learn = make_learner(make_folder(tmp_path / "data"), functional.cross_entropy)
    learn.add_cb(Fails())
    learn.model.train()
    attributes, callbacks = dict(learn.__dict__), list(learn.cbs)
    with pytest.raises(KeyboardInterrupt):
        cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert learn.__dict__ == attributes
    assert list(learn.cbs) == callbacks
    assert learn.model.training
    assert not learn.lock.locked()
    assert not (tmp_path / "scan").exists()


def test_callbacks_of_the_learner_still_act(tmp_path: Path) -> None:
    class Inverts(fastai.Callback):
        def before_batch(self) -> None:
            self.learn.xb = tuple(1 - x for x in self.xb)

    learn = make_learner(make_folder(tmp_path / "data"))
    plain = cleaner.scan(learn, tmp_path / "plain", progress=False)
    learn.add_cb(Inverts())
    inverted = cleaner.scan(learn, tmp_path / "inverted", progress=False)
    expected = plain_losses(learn, learn.dls.valid.items)
    found = {Path(s.path).name: s.loss for s in inverted.samples if s.split == "valid"}
    assert found == pytest.approx(expected, abs=1e-5)
    assert {s.path: s.loss for s in plain.samples} != {s.path: s.loss for s in inverted.samples}


def test_callbacks_of_training_are_not_part_of_a_scan(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    with learn.no_logging():
        learn.fit(1)
    learn.add_cb(fastai.EarlyStoppingCallback(patience=1))
    logged = list(learn.recorder.values)
    cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert learn.recorder.values == logged


def test_a_callback_that_cancels_batches_is_reported(tmp_path: Path) -> None:
    class Cancels(fastai.Callback):
        def before_batch(self) -> None:
            raise fastai.CancelBatchException

    learn = make_learner(make_folder(tmp_path / "data"))
    learn.add_cb(Cancels())
    with pytest.raises(CleanerError, match="a callback of the learner cancels batches"):
        cleaner.scan(learn, tmp_path / "scan", progress=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_costs_one_entry_and_not_its_batch(workers: int, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    whole = cleaner.scan_folder(learn, data, tmp_path / "whole", progress=False)
    for name in ("bear/bear_0.png", "bear/bear_1.png", "bear/bear_2.png", "bear/bear_3.png", "dog/dog_3.png"):
        (data / name).write_bytes((data / name).read_bytes()[:50])
    broken = cleaner.scan_folder(learn, data, tmp_path / "broken", progress=False, workers=workers)
    assert [(u.path, u.label) for u in broken.unreadable] == [
        *[(f"bear/bear_{n}.png", "bear") for n in range(4)],  # a whole batch of them
        ("dog/dog_3.png", "dog"),
    ]
    assert all(u.error for u in broken.unreadable)
    lost = {u.path for u in broken.unreadable}
    expected = {s.path: pytest.approx(s.loss, abs=1e-5) for s in whole.samples if s.path not in lost}
    assert {s.path: s.loss for s in broken.samples} == expected


def test_batches_are_freed_while_the_scan_goes_on(tmp_path: Path) -> None:
    normalized = fastai.Normalize.from_stats(*fastai.imagenet_stats)
    learn = make_learner(make_folder(tmp_path / "data", per_class=20), bs=2, batch_tfms=normalized)
    alive = list[int]()

    class Watch(fastai.Callback):
        def before_batch(self) -> None:
            shape = self.x.shape
            tensors = [obj for obj in gc.get_objects() if isinstance(obj, torch.Tensor) and obj.shape == shape]
            alive.append(len(tensors))

    learn.add_cb(Watch())
    gc.collect()
    gc.disable()
    try:
        cleaner.scan(learn, tmp_path / "scan", progress=False, workers=0)
    finally:
        gc.enable()
    assert len(alive) == 30
    assert max(alive) <= 2 * alive[0]


def test_an_item_that_fastai_would_skip_is_reported(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")

    def skip_some(image: Any) -> Any:
        if image.size == (21, 20):
            raise fastai.SkipItemException("too wide")
        return image

    (data / "cat" / "cat_0.png").unlink()
    make_image(data / "cat" / "cat_0.png", size=(21, 20))
    learn = make_learner(data)
    learn.dls.valid.after_item.fs.insert(0, fastai.Transform(lambda x: skip_some(x) if hasattr(x, "size") else x))
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False)
    assert [u.path for u in scan.unreadable] == ["cat/cat_0.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_scored_as_fastai_reads_them_or_listed(kind: str, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    odd = write_odd_image(kind, data / "cat")
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False)
    name = f"cat/{odd.name}"
    assert ([u.path for u in scan.unreadable] == [name]) == (kind in UNREADABLE)
    assert (name in [s.path for s in scan.samples]) == (kind not in UNREADABLE)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [0, 2])
def test_harmful_files_are_listed_and_cost_no_other_image(workers: int, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    for name in (*HARMFUL, *HARMLESS):
        write_harmful_image(name, data / "cat")
    for folder in ("bear", "cat"):
        (data / folder / "again").symlink_to("..")
    (data / "circle").symlink_to("circle")
    (data / "bear" / "bear_0.png").unlink()
    write_harmful_image("pipe.png", data / "bear").rename(data / "bear" / "bear_0.png")
    bound = Image.MAX_IMAGE_PIXELS
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False, workers=workers)
    expected = {f"cat/{name}": reason for name, reason in HARMFUL.items()} | {"bear/bear_0.png": "a named pipe"}
    found = {unreadable.path: unreadable.error for unreadable in scan.unreadable}
    assert found.keys() == expected.keys()
    assert [path for path, reason in expected.items() if reason not in found[path]] == []
    assert sum(scan.scored.values()) == 20 + len(HARMLESS)
    assert bound == Image.MAX_IMAGE_PIXELS


def ends_its_process(image: Any) -> Any:
    if hasattr(image, "size") and image.size == (21, 20) and get_worker_info() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return image


@pytest.mark.timeout(120)
def test_a_process_that_the_system_ends_is_told_and_the_scan_goes_on(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    learn = make_learner(data)
    (data / "cat" / "cat_0.png").unlink()
    make_image(data / "cat" / "cat_0.png", size=(21, 20))
    learn.dls.valid.after_item.fs.insert(0, fastai.Transform(ends_its_process))
    with pytest.raises(CleanerError, match=r"ended a process that reads images .* fewer workers=N"):
        cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False, workers=1)
    scan = cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False, workers=0)
    assert (scan.scored, scan.unreadable) == ({"all": 21}, ())


@pytest.mark.timeout(120)
def test_items_that_became_pipes_are_listed(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    frame = pd.DataFrame({"name": names, "kind": [Path(name).parent.name for name in names]})
    rows = fastai.ImageDataLoaders.from_df(
        frame, data, fn_col="name", label_col="kind", bs=4, num_workers=0, item_tfms=fastai.Resize(16)
    )
    by_row = fastai.Learner(rows, make_model(), loss_func=fastai.CrossEntropyLossFlat())
    by_path = make_learner(data)
    lost = ["bear/bear_0.png", "cat/cat_6.png", "dog/dog_3.png"]
    for name in lost:
        (data / name).unlink()
        write_harmful_image("pipe.png", data).rename(data / name)
    for number, learn in enumerate((by_row, by_path)):
        scan = cleaner.scan(learn, tmp_path / f"scan{number}", progress=False, root=data)
        assert sorted((u.path, u.error) for u in scan.unreadable) == [
            (name, "it is a named pipe and no regular file") for name in lost
        ]


def test_rows_of_a_data_frame_are_found(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    names = sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    frame = pd.DataFrame({"name": names, "kind": [Path(name).parent.name for name in names]})
    by_column = fastai.ImageDataLoaders.from_df(
        frame, data, fn_col="name", label_col="kind", bs=4, num_workers=0, item_tfms=fastai.Resize(16)
    )
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_x=lambda row: data / row["name"],
        get_y=fastai.ColReader("kind"),
        item_tfms=fastai.Resize(16),
    )
    by_function = block.dataloaders(frame, bs=4, num_workers=0)
    for number, loaders in enumerate((by_column, by_function)):
        learn = fastai.Learner(loaders, make_model(), loss_func=fastai.CrossEntropyLossFlat())
        scan = cleaner.scan(learn, tmp_path / f"scan{number}", progress=False)
        assert scan.root == data
        assert sorted(s.path for s in scan.samples) == names
        assert all(s.path.startswith(s.label) for s in scan.samples)


def test_splits_of_a_folder_are_its_train_and_valid(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "valid"):
        make_folder(data / split)
    learn = fastai.Learner(
        fastai.ImageDataLoaders.from_folder(data, bs=4, num_workers=0, item_tfms=fastai.Resize(16)),
        make_model(),
        loss_func=fastai.CrossEntropyLossFlat(),
    )
    own = cleaner.scan(learn, tmp_path / "own", progress=False)
    assert own.root == data
    walked = cleaner.scan_folder(learn, data, tmp_path / "walked", progress=False)
    assert own.splits == walked.splits == ("train", "valid")
    assert sorted(s.path for s in own.samples) == sorted(s.path for s in walked.samples)


def test_only_the_highest_losses_are_kept(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    every = cleaner.scan(learn, tmp_path / "every", progress=False, splits=("train",))
    some = cleaner.scan(learn, tmp_path / "some", progress=False, splits=("train",), k=2)
    assert some.samples == tuple(s for s in every.samples if s.rank <= 2)


def test_scanning_again_keeps_the_decisions(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    manifest = cleaner.Manifest(scan.manifest_path)
    manifest.append(Decision(scan.samples[0].path, Action.KEEP))
    cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert list(cleaner.Manifest(scan.manifest_path).standing()) == [scan.samples[0].path]


class TestBadInput:
    """A clear error, and nothing written."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return make_folder(tmp_path / "data")

    def refuse(self, match: str, tmp_path: Path, scan: Any) -> None:
        before = active_children()
        with pytest.raises(CleanerError, match=match) as held:
            scan()
        assert not (tmp_path / "scan").exists()
        # A notebook holds the traceback of the last error, which then must not hold the workers.
        assert held.value.__traceback__ is not None
        assert set(active_children()) <= set(before)

    def test_no_image(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        (tmp_path / "empty").mkdir()
        self.refuse("no image in", tmp_path, lambda: cleaner.scan_folder(learn, tmp_path / "empty", tmp_path / "scan"))
        self.refuse("not a folder", tmp_path, lambda: cleaner.scan_folder(learn, tmp_path / "no", tmp_path / "scan"))

    def test_a_label_outside_the_vocabulary(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        shutil.copytree(data / "cat", data / "lynx")
        match = r"lynx.*The learner knows bear, cat, dog"
        self.refuse(match, tmp_path, lambda: cleaner.scan_folder(learn, data, tmp_path / "scan"))

    def test_one_class(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        self.refuse("at least two", tmp_path, lambda: cleaner.scan_folder(learn, data / "cat", tmp_path / "scan"))
        single = make_folder(tmp_path / "single", vocab=("cat",))
        lonely = make_learner(single)
        self.refuse(
            "expected at least 2; with one class every loss is 0",
            tmp_path,
            lambda: cleaner.scan(lonely, tmp_path / "scan"),
        )

    def test_no_image_that_can_be_read(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        for path in data.rglob("*.png"):
            path.write_bytes(b"")
        match = "none of the 21 images is readable"
        self.refuse(match, tmp_path, lambda: cleaner.scan_folder(learn, data, tmp_path / "scan", progress=False))

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"k": 0}, "k is 0"),
            ({"k": True}, "k is True"),
            ({"splits": "train"}, "splits is 'train'"),
            ({"splits": ("test",)}, "no split 'test'"),
            ({"splits": ()}, "splits is"),
            ({"root": "nowhere"}, "not a folder"),
        ],
    )
    def test_arguments(self, data: Path, tmp_path: Path, arguments: dict[str, Any], match: str) -> None:
        learn = make_learner(data)
        self.refuse(match, tmp_path, lambda: cleaner.scan(learn, tmp_path / "scan", **arguments))

    def test_no_learner(self, tmp_path: Path) -> None:
        self.refuse(
            "expected a fastai Learner, got 'learner.pkl'; load the learner first",
            tmp_path,
            lambda: cleaner.scan("learner.pkl", tmp_path / "scan"),
        )

    def test_images_outside_the_root(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        match = "not inside the dataset's folder"
        self.refuse(match, tmp_path, lambda: cleaner.scan(learn, tmp_path / "scan", root=data / "cat", progress=False))

    def test_a_model_that_does_not_fit_the_vocabulary(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        learn.model = make_model(5)
        match = r"output has the shape \(\d, 5\)"
        self.refuse(match, tmp_path, lambda: cleaner.scan(learn, tmp_path / "scan", progress=False))

    def test_a_listing_that_fails(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def keys(_self: Any) -> Iterator[Any]:
            raise CleanerError("the disk is gone")
            yield

        monkeypatch.setattr("cleaner.scoring.data.reader.Dataset.keys", keys)
        learn = make_learner(data)
        self.refuse("the disk is gone", tmp_path, lambda: cleaner.scan(learn, tmp_path / "scan", progress=False))

    def test_a_learner_without_items(self, data: Path, tmp_path: Path) -> None:
        make_learner(data).export(tmp_path / "learner.pkl")
        learn = fastai.load_learner(tmp_path / "learner.pkl")
        self.refuse("scan_folder", tmp_path, lambda: cleaner.scan(learn, tmp_path / "scan"))

    def test_the_scan_folder_of_another_dataset(self, data: Path, tmp_path: Path) -> None:
        learn = make_learner(data)
        scan = cleaner.scan(learn, tmp_path / "other", progress=False)
        files = {p.name: p.read_bytes() for p in scan.folder.iterdir()}
        other = make_folder(tmp_path / "data2")
        with pytest.raises(CleanerError, match="scan of another dataset"):
            cleaner.scan(make_learner(other), tmp_path / "other", progress=False)
        with pytest.raises(CleanerError, match="not a scan folder"):
            cleaner.scan(learn, data, progress=False)
        assert {p.name: p.read_bytes() for p in scan.folder.iterdir()} == files
