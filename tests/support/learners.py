"""Small real learners on small real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fastai.vision import all as fastai
from torch import nn

from tests.support.images import make_image

VOCAB = ("bear", "cat", "dog")


def make_folder(root: Path, per_class: int = 7, vocab: tuple[str, ...] = VOCAB) -> Path:
    """Class folders with a few images each."""
    for number, label in enumerate(vocab):
        for n in range(per_class):
            make_image(root / label / f"{label}_{n}.png", seed=100 * number + n, size=(20, 20))
    return root


def make_model(n_classes: int = len(VOCAB)) -> nn.Module:
    """A model with batch normalization and dropout, so that its mode shows in its output; always the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(32, n_classes),
    )  # fmt: skip


def make_learner(root: Path, loss_func: Any = None, **options: Any) -> fastai.Learner:
    """A learner on class folders, with random augmentation in training."""
    loaders = fastai.ImageDataLoaders.from_folder(
        root,
        valid_pct=0.3,
        seed=0,
        bs=4,
        num_workers=0,
        item_tfms=fastai.Resize(16),
        batch_tfms=fastai.aug_transforms(),
        **options,
    )
    learn = fastai.Learner(
        loaders, make_model(), loss_func=loss_func or fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy
    )
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def plain_losses(learn: fastai.Learner, items: Any) -> dict[str, float]:
    """What fastai itself says: the loss of each item, by its file name."""
    test = learn.dls.test_dl(items, with_labels=True)
    _, _, losses = learn.get_preds(dl=test, with_loss=True)
    return {Path(item).name: float(loss) for item, loss in zip(items, losses, strict=True)}
