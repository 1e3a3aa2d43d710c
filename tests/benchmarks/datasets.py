"""Images and learners for the benchmarks: real photos, and CIFAR's test images, repeated as often as needed."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.images import SHARED_DATA

PHOTO_CLASSES = 10
SMALL_CLASSES = 1000


def photos(folder: Path, n: int = 1000) -> Path:
    """Write `n` photos in class folders: real ones, repeated, or made-up ones if the real ones are absent."""
    originals = _archive(SHARED_DATA / "photos.zip") or [_made_up(seed) for seed in range(50)]
    return _spread(folder, originals, n, PHOTO_CLASSES)


def small_images(folder: Path, n: int, classes: int = SMALL_CLASSES) -> Path:
    """Write `n` images of 32 x 32 pixels in class folders."""
    originals = _archive(SHARED_DATA / "cifar10-test.zip") or [_made_up(seed, (32, 32)) for seed in range(500)]
    return _spread(folder, originals, n, classes)


def photo_learner(folder: Path, **options: Any) -> Any:
    """Return a fastai learner of resnet18 at 224 pixels, trained for a minute; `options` are those of its loaders."""
    from fastai.vision import all as fastai
    from torchvision.models import resnet18

    usual = {
        "item_tfms": fastai.Resize(224),
        "batch_tfms": fastai.Normalize.from_stats(*fastai.imagenet_stats),
    }
    loaders = _loaders(fastai, folder, **{**usual, **options})
    learn = _quiet(fastai, loaders, resnet18(weights=None, num_classes=PHOTO_CLASSES))
    _trained(learn, folder.parent / f"{folder.name}.pth")
    return learn


def small_learner(folder: Path, classes: int = SMALL_CLASSES, **options: Any) -> Any:
    """Return a learner of a small convolutional network; `options` are those of its loaders."""
    from fastai.vision import all as fastai

    loaders = _loaders(fastai, folder, **options)
    return _quiet(fastai, loaders, small_model(classes))


def small_model(classes: int) -> Any:
    """Return a small convolutional network."""
    from torch import nn

    return nn.Sequential(
        *[nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU()],
        *[nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, classes)],
    )


def _loaders(fastai: Any, folder: Path, **options: Any) -> Any:
    """Return loaders of a folder, with two worker processes; the learner's model is made next, from a fixed seed."""
    usual = {"valid_pct": 0.1, "seed": 0, "bs": 64, "num_workers": 2}
    loaders = fastai.ImageDataLoaders.from_folder(folder, **{**usual, **options})
    loaders.to(loaders.device)  # Normalize puts its statistics on the default device
    fastai.set_seed(0)
    return loaders


def _trained(learn: Any, weights: Path) -> None:
    """Train for a minute at half the image size, once: with random weights the losses hardly differ."""
    import torch
    from torch.nn import functional

    if weights.exists():
        learn.model.load_state_dict(torch.load(weights, map_location=learn.dls.device))
        return
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(learn.model.parameters(), 1e-3)
    items = learn.dls[0].dataset.items[:1000]
    learn.model.train()
    for epoch in range(4000 // len(items)):  # few images are seen more often
        for images, targets in learn.dls.test_dl(items[epoch % 2 :: 2], with_labels=True, bs=32):
            small = functional.interpolate(images.as_subclass(torch.Tensor), scale_factor=0.5)
            loss = functional.cross_entropy(learn.model(small), targets.as_subclass(torch.Tensor))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():  # adapts batch normalization to the full size
        for images, _ in learn.dls.test_dl(items[:192], with_labels=True):
            learn.model(images)
    learn.model.eval()
    torch.save(learn.model.state_dict(), weights)


def _quiet(fastai: Any, loaders: Any, model: Any) -> Any:
    learn = fastai.Learner(loaders, model.to(loaders.device), loss_func=fastai.CrossEntropyLossFlat())
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def _archive(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as zipped:
        return [zipped.read(name) for name in sorted(zipped.namelist()) if name.lower().endswith((".jpg", ".jpeg"))]


def _made_up(seed: int, size: tuple[int, int] = (500, 375)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def _spread(folder: Path, originals: list[bytes], n: int, classes: int) -> Path:
    """Write `n` files into class folders; repeated ones are hard links to the first."""
    first: dict[int, Path] = {}
    for number in range(n):
        which = number % len(originals)
        # With few classes, repeats of an image have the same class, so that a model can learn.
        label = which % classes if classes < len(originals) else number % classes
        path = folder / f"class_{label:04d}" / f"image_{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if which in first:
            os.link(first[which], path)
        else:
            path.write_bytes(originals[which])
            first[which] = path
    return folder
