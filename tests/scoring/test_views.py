"""The mean over shifted copies of images: which pixels they have, and what becomes of losses and predictions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.vision import all as fastai
from torch.nn import functional

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.scoring import engine
from cleaner.scoring.data.fastai_data import from_folder
from cleaner.scoring.engine import ScanOptions
from cleaner.scoring.model.fastai_model import fastai_job
from cleaner.scoring.model.views import MAX_VIEWS, shifted
from cleaner.scoring.progress import Checkpoint, ScanProgress
from tests.support.learners import VOCAB, make_folder, make_learner


def test_the_first_view_is_the_image_and_the_others_differ() -> None:
    images = torch.rand(2, 3, 20, 30)
    views = [shifted(images, view) for view in range(MAX_VIEWS)]
    assert views[0] is images
    assert len({view.numpy().tobytes() for view in views}) == MAX_VIEWS


@pytest.mark.parametrize("view", range(1, MAX_VIEWS))
@pytest.mark.parametrize(("height", "width"), [(20, 30), (5, 4), (1, 2)])
def test_a_view_is_shifted_by_a_tenth_and_reflected_at_the_border(view: int, height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width)
    down, right = max(1, round(height / 10)), max(1, round(width / 10))
    margins = [down if height > 1 else 0, right if width > 1 else 0]
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), *((margin, margin) for margin in margins)], mode="reflect")
    found = shifted(images, view).numpy()
    places = [
        (top, left)
        for top in {0, margins[0], 2 * margins[0]}
        for left in {0, margins[1], 2 * margins[1]}
        if np.array_equal(padded[:, :, top : top + height, left : left + width], found)
    ]
    assert places


def test_a_view_keeps_the_type_of_a_batch() -> None:
    images = fastai.TensorImage(torch.zeros(2, 3, 8, 8, dtype=torch.float16))
    assert type(shifted(images, 1)) is fastai.TensorImage
    assert shifted(images, 1).dtype is torch.float16


def test_losses_are_means_over_views_and_predictions_those_of_mean_probabilities(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=8))
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False, views=4, workers=0)
    assert scan.ranked_by == "mean loss of 4 views"
    assert scan.settings["views"] == 4
    learn.model.eval()
    for sample in scan.samples:
        loader = learn.dls.test_dl([scan.root / sample.path])
        images = loader.one_batch()[0].as_subclass(torch.Tensor)
        target = torch.tensor([VOCAB.index(sample.label)])
        with torch.no_grad():
            logits = [learn.model(shifted(images, view)) for view in range(4)]
        losses = [float(functional.cross_entropy(view, target)) for view in logits]
        probabilities = torch.stack([view.softmax(dim=1) for view in logits]).mean(dim=0)[0]
        assert sample.loss == pytest.approx(sum(losses) / 4, abs=1e-5)
        assert sample.predicted == VOCAB[int(probabilities.argmax())]
        assert sample.confidence == pytest.approx(float(probabilities.max()), abs=1e-5)


def test_a_torch_model_and_a_learner_give_the_same_views(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=8), batch_tfms=None)
    items = learn.dls.valid_ds.items

    class Images(torch.utils.data.Dataset[Any]):
        def __init__(self) -> None:
            self.samples = [(str(item), VOCAB.index(item.parent.name)) for item in items]
            self.classes, self.root = list(VOCAB), str(tmp_path / "data")

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, i: int) -> Any:
            image = learn.dls.test_dl([items[i]]).one_batch()[0][0]
            return image.as_subclass(torch.Tensor), self.samples[i][1]

    ours = cleaner.scan(learn, tmp_path / "scan", splits=("valid",), progress=False, views=3)
    options: dict[str, Any] = {"split": "valid", "progress": False, "workers": 0, "views": 3}
    other = cleaner.scan_model(learn.model, Images(), tmp_path / "other", **options)
    assert [sample.path for sample in ours.samples] == [sample.path for sample in other.samples]
    assert [s.loss for s in ours.samples] == pytest.approx([s.loss for s in other.samples], abs=1e-5)


def test_a_fast_scan_with_views_keeps_what_an_exact_one_keeps(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=30))
    exact = cleaner.scan(learn, tmp_path / "exact", k=4, progress=False, views=2)
    fast = cleaner.scan(learn, tmp_path / "fast", k=4, progress=False, views=2, fast=True)
    assert [sample.path for sample in fast.samples] == [sample.path for sample in exact.samples]
    assert [s.loss for s in fast.samples] == pytest.approx([s.loss for s in exact.samples], abs=1e-5)


def test_a_scan_with_other_views_is_not_resumed(tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data", per_class=8))
    jobs = [fastai_job(learn, partial(from_folder, data=learn.dls.path, batch_size=None), views=n) for n in (1, 2)]
    found = [Checkpoint(tmp_path, engine._identity(job, ScanOptions(), 100, 0), job.info, 100) for job in jobs]
    found[1].save(ScanProgress())
    with pytest.raises(CleanerError, match="an unfinished scan with another number of views"):
        found[0].load()


@pytest.mark.parametrize("views", [0, MAX_VIEWS + 1, True, "4", 2.0, None])
def test_a_number_of_views_that_makes_no_sense_is_refused(views: Any, tmp_path: Path) -> None:
    learn = make_learner(make_folder(tmp_path / "data"))
    with pytest.raises(CleanerError, match=r"views is .*; pass a whole number from 1"):
        cleaner.scan(learn, tmp_path / "scan", views=views)
    assert not (tmp_path / "scan").exists()


def test_batches_that_are_no_images_cannot_be_shifted() -> None:
    with pytest.raises(CleanerError, match=r"a batch is a tensor of shape \(4, 10\); use views=1"):
        shifted(torch.zeros(4, 10), 1)
