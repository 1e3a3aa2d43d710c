"""Learners with mixed precision, with callbacks that change the batch, and with data that a scan cannot use."""

from __future__ import annotations

import io
import logging
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
from torch.nn import functional

import cleaner
from cleaner.core.errors import CleanerError
from tests.support.learners import VOCAB, make_folder, make_learner, make_model, plain_losses


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


class HalfOnCpu(fastai.Callback):
    """Mixed precision as fastai's own, which is for a GPU only, on the CPU."""

    order = 10

    def before_batch(self) -> None:
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        self.learn.pred = self.learn.pred.float()

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)


class Crops(fastai.Callback):
    """Changes the batch also in validation."""

    def before_batch(self) -> None:
        self.learn.xb = tuple((x[..., 2:-2, 2:-2] - 0.5) / 0.2 for x in self.learn.xb)


class ChangesTargets(fastai.Callback):
    """Changes what the loss is about, while training only."""

    def before_batch(self) -> None:
        if self.training:
            self.learn.yb = tuple((y + 1) % 3 for y in self.learn.yb)


CHANGES: dict[str, Callable[[fastai.Learner], object]] = {
    "to_fp16": lambda learn: learn.to_fp16(),
    "to_bf16": lambda learn: learn.to_bf16(),
    "half on the CPU": lambda learn: learn.add_cb(HalfOnCpu()),
    "MixUp": lambda learn: learn.add_cb(fastai.MixUp()),
    "CutMix": lambda learn: learn.add_cb(fastai.CutMix()),
    "channels last": lambda learn: learn.to_channelslast(),
    "crops": lambda learn: learn.add_cb(Crops()),
    "targets in training": lambda learn: learn.add_cb(ChangesTargets()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_losses_are_those_of_get_preds_with_the_same_callbacks(name: str, data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    CHANGES[name](learn)
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    expected = plain_losses(learn, learn.dls.valid.items)
    found = {Path(s.path).name: s.loss for s in scan.samples if s.split == "valid"}
    # In lower precision what is the same up to rounding is rounded to other numbers.
    assert found == pytest.approx(expected, abs=1e-3 if name == "half on the CPU" else 1e-5)
    untouched = make_learner(data)
    plain = plain_losses(untouched, untouched.dls.valid.items)
    assert (max(abs(plain[key] - expected[key]) for key in plain) > 1e-4) == (name in ("half on the CPU", "crops"))


class FreesOutputs(fastai.Callback):
    """Changes and frees outputs when a batch ends."""

    def after_batch(self) -> None:
        self.learn.pred, self.learn.loss = None, self.learn.loss * 2
        self.learn.xb = self.learn.yb = ()


class AsksLoaderAndModel(fastai.Callback):
    """Asks for the number of batches, and for the model's first layer by its index."""

    def __init__(self) -> None:
        self.n_batches, self.layers = set[int](), set[type]()

    def before_batch(self) -> None:
        self.n_batches.add(len(self.learn.dl))
        self.layers.add(type(self.learn.model[0]))


class TakesFirstOutput(fastai.Callback):
    """Takes the logits out of a pair of outputs."""

    def after_pred(self) -> None:
        self.learn.pred = self.learn.pred[0]


def losses_of(learn: fastai.Learner, data: Path, out: Path) -> dict[str, float]:
    return {s.path: s.loss for s in cleaner.scan_folder(learn, data, out, progress=False).samples}


def test_what_callbacks_do_to_outputs_after_a_batch_does_not_change_the_losses(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    expected = losses_of(learn, data, tmp_path / "plain")
    learn.add_cb(FreesOutputs())
    assert losses_of(learn, data, tmp_path / "scan") == expected


def test_callbacks_may_index_a_model_with_hooks_and_ask_for_the_number_of_batches(data: Path, tmp_path: Path) -> None:
    learn, asks = make_learner(data), AsksLoaderAndModel()
    learn.model[0].register_forward_hook(lambda *_: None)
    learn.add_cb(asks)
    losses_of(learn, data, tmp_path / "scan")
    assert asks.layers == {nn.Conv2d}
    assert asks.n_batches == {6}  # of 4 images, of 21


def test_backends_are_tried_once_for_a_model_whose_output_a_callback_changes(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    expected = losses_of(learn, data, tmp_path / "plain")
    sizes: list[int] = []

    class Pair(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            sizes.append(len(x))
            return self.model(x), x

    learn.model = Pair(learn.model)
    learn.add_cb(TakesFirstOutput())
    assert losses_of(learn, data, tmp_path / "scan") == pytest.approx(expected, abs=1e-5)
    assert sizes[-5:] == [4, 4, 4, 4, 1]  # each batch after the first runs once
    assert 2 not in sizes[-5:]


@pytest.mark.parametrize("event", ["before_validate", "before_batch", "after_loss", "after_batch"])
def test_a_callback_that_cancels_a_batch_is_refused(event: str, data: Path, tmp_path: Path) -> None:
    class Cancels(fastai.Callback):
        def __call__(self, event_name: str) -> None:
            if event_name == event:
                raise fastai.CancelBatchException

    learn = make_learner(data)
    learn.add_cb(Cancels())
    with pytest.raises(CleanerError, match="a callback of the learner cancels"):
        cleaner.scan(learn, tmp_path / "scan", progress=False)


def one_number(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(prediction, target)


def test_it_is_said_when_a_loss_is_evaluated_one_sample_at_a_time(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        quiet = cleaner.scan(make_learner(data), tmp_path / "quiet", progress=False)
        assert "loss_evaluated" not in quiet.settings
        assert not caplog.messages
        scan = cleaner.scan(make_learner(data, one_number), tmp_path / "scan", progress=False)
    assert cleaner.load(scan.folder).settings["loss_evaluated"] == "one sample at a time"
    assert sum("one_number returns one number per batch" in message for message in caplog.messages) == 1
    assert {s.path: s.loss for s in scan.samples} == pytest.approx({s.path: s.loss for s in quiet.samples}, abs=1e-5)


def rows_with(names: list[str], labels: list[str]) -> Callable[[Path], fastai.DataLoaders]:
    def make(data: Path) -> fastai.DataLoaders:
        frame = pd.DataFrame({"name": names, "label": labels, "held out": [False] * len(names)})
        frame.loc[[0, len(frame) // 2], "held out"] = True
        return fastai.ImageDataLoaders.from_df(
            frame, data, valid_col="held out", bs=4, num_workers=0, item_tfms=fastai.Resize(16)
        )

    return make


NAMES = [f"{label}/{label}_{n}.png" for label in VOCAB for n in range(7)]
LABELS = [name.split("/")[0] for name in NAMES]
REPEATED = rows_with([*NAMES, *["cat/cat_0.png"] * 3], [*LABELS, "cat", "dog", "cat"])


def test_a_file_that_comes_twice_is_shown_once_with_each_of_its_labels(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learn = fastai.Learner(REPEATED(data), make_model(), loss_func=fastai.CrossEntropyLossFlat())
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    twice = [(s.label, s.rank) for s in scan.samples if s.path == "cat/cat_0.png"]
    assert sorted(label for label, _ in twice) == ["cat", "dog"]
    for split in scan.splits:
        for label in VOCAB:
            ranks = [s.rank for s in scan.samples if (s.split, s.label) == (split, label)]
            assert ranks == list(range(1, len(ranks) + 1))
    assert scan.scored == {"train": 22, "valid": 2}
    assert scan.settings["repeated"] == {"train": 3}
    assert "are listed more than once" in caplog.text
    with pytest.raises(CleanerError, match="leave out fast"):
        cleaner.scan(learn, tmp_path / "fast", progress=False, fast=True)
    assert not (tmp_path / "fast").exists()


@pytest.mark.parametrize(
    ("label", "vocab"),
    [
        (lambda label: VOCAB.index(label), ("0", "1", "2")),
        (lambda label: label == "cat", ("False", "True")),
        (lambda label: VOCAB.index(label) / 2, ("0.0", "0.5", "1.0")),
    ],
)
def test_labels_that_are_no_text_are_written_as_text(
    label: Callable[[str], Any], vocab: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    loaders = rows_with(NAMES, [label(each) for each in LABELS])(data)
    learn = fastai.Learner(loaders, make_model(len(vocab)), loss_func=fastai.CrossEntropyLossFlat())
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert scan.vocab == vocab
    assert {s.path: s.label for s in scan.samples} == {
        name: str(label(each)) for name, each in zip(NAMES, LABELS, strict=True)
    }


def pixels() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "PNG")
    return buffer.getvalue()


def without_files(make: Callable[[], Any]) -> Callable[[Path], fastai.DataLoaders]:
    """Loaders of which the items have their images in them."""

    def loaders(_: Path) -> fastai.DataLoaders:
        rows = [{"x": make(), "label": label} for label in LABELS]
        block = fastai.DataBlock(
            blocks=(fastai.ImageBlock, fastai.CategoryBlock),
            get_x=lambda row: row["x"],
            get_y=lambda row: row["label"],
            item_tfms=fastai.Resize(16),
        )
        return block.dataloaders(rows, bs=4, num_workers=0)

    return loaders


def pixels_in_columns(_: Path) -> fastai.DataLoaders:
    frame = pd.DataFrame(np.random.default_rng(0).integers(0, 256, (len(LABELS), 400)))
    frame["label"] = LABELS
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock(fastai.PILImageBW), fastai.CategoryBlock),
        get_x=lambda row: np.uint8(row.iloc[:400].values).reshape(20, 20),
        get_y=lambda row: row["label"],
    )
    return block.dataloaders(frame, bs=4, num_workers=0)


@pytest.mark.parametrize(
    ("loaders", "outputs", "match"),
    [
        (without_files(pixels), 3, "is a ndarray, not a file.*Write the images to files"),
        (without_files(lambda: torch.tensor(pixels())), 3, "is a Tensor, not a file"),
        (without_files(lambda: fastai.PILImage.create(pixels())), 3, "is a PILImage, not a file"),
        (without_files(png), 3, "is a bytes, not a file"),
        (pixels_in_columns, 3, "is a ndarray, not a file"),
        (rows_with(NAMES, [label.replace("cat", "") for label in LABELS]), 3, "an empty label; give that class a name"),
        (rows_with(NAMES, [None if label == "cat" else label for label in LABELS]), 2, "Label 'nan' .* bear, dog"),
        (rows_with(NAMES, ["cat"] * len(NAMES)), 1, "expected at least 2; with one class every loss is 0"),
        (rows_with(NAMES, LABELS), 1, r"output has the shape \(\d, 1\)"),
        (rows_with(NAMES, LABELS), 2, r"output has the shape \(\d, 2\)"),
        (rows_with(NAMES, LABELS), 5, r"output has the shape \(\d, 5\)"),
    ],
)
def test_what_a_scan_cannot_use_is_an_error_and_nothing_is_written(
    loaders: Callable[[Path], fastai.DataLoaders], outputs: int, match: str, data: Path, tmp_path: Path
) -> None:
    learn = fastai.Learner(loaders(data), make_model(outputs), loss_func=fastai.CrossEntropyLossFlat())
    with pytest.raises(CleanerError, match=match):
        cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert not (tmp_path / "scan").exists()


def test_a_model_that_does_not_fit_is_found_also_where_it_runs_as_it_is(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    learn.model = make_model(1)
    learn.model[0].register_forward_hook(lambda *_: None)  # so that no quicker way is tried
    with pytest.raises(CleanerError, match=r"output has the shape \(\d, 1\)"):
        cleaner.scan(learn, tmp_path / "scan", progress=False)


def test_a_model_with_two_outputs_is_refused(data: Path, tmp_path: Path) -> None:
    class TwoOutputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_model()

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inner(x), self.inner(x)

    learn = make_learner(data, lambda both, target: functional.cross_entropy(both[0], target))
    learn.model = TwoOutputs()
    with pytest.raises(CleanerError, match="one output per class"):
        cleaner.scan(learn, tmp_path / "scan", progress=False)
