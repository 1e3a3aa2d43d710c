"""Small real learners on small real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastai.vision import all as fastai

from tests.support.images import make_image
from tests.support.torch_models import VOCAB, make_model


def make_folder(root: Path, per_class: int = 7, vocab: tuple[str, ...] = VOCAB) -> Path:
    """Write class folders with a few images each and return their folder."""
    for number, label in enumerate(vocab):
        for n in range(per_class):
            make_image(root / label / f"{label}_{n}.png", seed=100 * number + n, size=(20, 20))
    return root


def make_learner(root: Path, loss_func: Any = None, **options: Any) -> fastai.Learner:
    """Return a learner on class folders, with random augmentation in training; `options` are those of its loaders."""
    usual = {"bs": 4, "num_workers": 0, "item_tfms": fastai.Resize(16), "batch_tfms": fastai.aug_transforms()}
    loaders = fastai.ImageDataLoaders.from_folder(root, valid_pct=0.3, seed=0, **{**usual, **options})
    learn = fastai.Learner(
        loaders, make_model(), loss_func=loss_func or fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy
    )
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def plain_losses(learn: fastai.Learner, items: Any) -> dict[str, float]:
    """Return fastai's own loss of each item, by file name."""
    test = learn.dls.test_dl(items, with_labels=True)
    _, _, losses = learn.get_preds(dl=test, with_loss=True)
    return {Path(item).name: float(loss) for item, loss in zip(items, losses, strict=True)}
