"""The photos of `cleaner demo --photos`: a part of Imagenette, which fastai downloads, with labels swapped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["make_photos", "train_photos"]

_PER_CLASS, _SHARE = 200, 0.05
_SIDE = 128
_WITHOUT = "Try again with a network, or leave out --photos: the digits need none"
_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03394916": "French horn",
    "n03000684": "chain saw",
    "n03417042": "garbage truck",
    "n03028079": "church",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Names by the folders of Imagenette, in pairs: each class and the next one, from the first."""


def make_photos(folder: Path) -> dict[str, str]:
    """Download Imagenette, and copy 200 photos of each class to class folders, 5 % of them to that of its pair.

    Returns:
        the true label of each wrongly labelled file, by path relative to `folder`.

    Raises:
        CleanerError: the photos cannot be downloaded.
    """
    source = _download() / "train"
    names, truth = list(_CLASSES.values()), dict[str, str]()
    random = np.random.default_rng(0)
    for number, (identifier, name) in enumerate(_CLASSES.items()):
        photos = sorted(map(Path, image_files(source / identifier)))[:_PER_CLASS]
        swapped = set(random.choice(len(photos), round(_SHARE * len(photos)), replace=False).tolist())
        other = names[number + (1 if number % 2 == 0 else -1)]
        for at, photo in enumerate(photos):
            target = folder / (other if at in swapped else name) / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, target)
            if at in swapped:
                truth[target.relative_to(folder).as_posix()] = name
    return truth


def train_photos(folder: Path) -> Learner:
    """Return a resnet18 with pretrained weights, whose head is trained for two epochs on the photos in `folder`."""
    from fastai.vision import all as fastai

    fastai.set_seed(0, reproducible=True)
    loaders = fastai.ImageDataLoaders.from_folder(
        folder, valid_pct=0.2, seed=0, bs=32, item_tfms=fastai.Resize(_SIDE), num_workers=0
    )
    try:
        learn = fastai.vision_learner(loaders, fastai.resnet18, metrics=fastai.accuracy)
    except OSError as error:  # of its download
        raise CleanerError(f"the weights of the resnet18 cannot be downloaded ({error}). {_WITHOUT}") from error
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def _download() -> Path:
    from fastai.data.external import URLs, untar_data

    try:
        return Path(untar_data(URLs.IMAGENETTE_160))
    except Exception as error:  # the library raises what its transport raises
        raise CleanerError(f"the photos cannot be downloaded ({type(error).__name__}: {error}). {_WITHOUT}") from error
