"""A small real dataset with known wrong labels, from training to review."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm.auto import tqdm

from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files, write_whole
from cleaner.core.scan import Scan
from cleaner.core.scan_files import DESCRIPTION
from cleaner.core.terminal import printable

if TYPE_CHECKING:
    from fastai.learner import Learner

__all__ = ["SWAPPED_SHARE", "demo", "make_dataset", "make_label_sets", "make_masks", "train"]

SWAPPED_SHARE = 0.03
_SHOWN = {1: "one", 3: "three", 4: "four", 6: "six"}
_WORST = 10
_PIXELS = 32
_EPOCHS, _EPOCHS_OF_PHOTOS = 6, 2


def demo(folder: str | Path, *, photos: bool = False, serve: bool = True, port: int = 8866) -> int:
    """Make the dataset in `folder`, train a learner, scan, print the result and serve the review.

    Args:
        folder: a new folder.
        photos: take photos, which are downloaded, instead of the digits that scikit-learn carries.
        serve, port: whether and where to serve the review.

    Returns:
        the exit status of the command, 0.

    Raises:
        CleanerError: the folder is not empty, or the photos cannot be downloaded; nothing was written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        scan = folder / "scan"
        if (scan / DESCRIPTION).exists():
            advice = f"and may hold your decisions. Give another --dir, or open it again with: cleaner serve {scan}"
        else:
            advice = "and is not empty. Give another --dir; one of a demo that was stopped can be deleted"
        raise CleanerError(f"{str(folder)!r} exists already {advice}")
    if serve and not 1 <= port <= 65535:
        raise CleanerError(f"the port is {port}; expected a number from 1 to 65535")
    images = folder / "images"
    _say("Loading torch and fastai …")
    from cleaner.demo.photos import make_photos, train_photos
    from cleaner.scoring.api import scan_folder

    what = "photos of Imagenette" if photos else "scikit-learn's handwritten digits"
    _say(f"Writing {what} to {images}, some of them with a wrong label …")
    truth = make_photos(images) if photos else make_dataset(images)
    _write_truth(folder / "wrong_labels.csv", truth)
    learn = train_photos(images) if photos else make_learner(images)
    fit(learn, _EPOCHS_OF_PHOTOS if photos else _EPOCHS)
    learn.export((folder / "learner.pkl").absolute())
    result = scan_folder(learn, images, folder / "scan")
    _report(result, truth)
    print(f"\nThe scan is in {folder / 'scan'}; the known wrong labels are listed in {folder / 'wrong_labels.csv'}.")
    if serve:
        from cleaner.review.serve import serve as serve_scan

        serve_scan(folder / "scan", port=port)
    else:
        print(f"Review it: cleaner serve {folder / 'scan'}")
    return 0


def make_dataset(folder: Path) -> dict[str, str]:
    """Write the digits as PNG files in class folders, with known wrong labels and one broken file.

    Returns:
        the true label of each wrongly labelled file, by path relative to `folder`.
    """
    images, targets = _digits()
    truth: dict[str, str] = {}
    for number, (image, true, label) in enumerate(zip(images, targets, _swap(targets), strict=True)):
        path = folder / str(label) / f"digit_{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        if true != label:
            truth[path.relative_to(folder).as_posix()] = str(true)
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "PNG")
    (folder / "0" / "digit_broken.png").write_bytes(buffer.getvalue()[:60])
    return truth


def make_label_sets(folder: Path, n: int = 600, wrong: int = 18) -> dict[str, tuple[str, ...]]:
    """Write images of up to three handwritten digits, and `labels.csv` with their names, joined by a space.

    Args:
        folder: the folder of `labels.csv`; the images are in `images` below it.
        n: number of images.
        wrong: number of images with one label too few or too many.

    Returns:
        the right labels of each wrongly labelled image, by path relative to `folder`.
    """
    random = np.random.default_rng(0)
    images, targets = _digits()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, truth = [], dict[str, tuple[str, ...]]()
    for number in range(n):
        labels = random.choice(list(_SHOWN), random.choice([0, 1, 2, 3], p=[0.1, 0.3, 0.4, 0.2]), replace=False)
        canvas = np.full((2 * _PIXELS, 2 * _PIXELS), 255, np.uint8)
        for place, label in zip(random.permutation(4), labels, strict=False):
            row, column = _PIXELS * (place // 2), _PIXELS * (place % 2)
            shown = images[random.choice(np.flatnonzero(targets == label))]
            canvas[row : row + _PIXELS, column : column + _PIXELS] = shown
        path = f"images/{number:03d}.png"
        Image.fromarray(canvas).save(folder / path)
        given = set(labels.tolist())
        if number % (n // wrong) == n // wrong // 2 and len(truth) < wrong:
            truth[path] = _named(given)
            given ^= {int(random.choice(list(_SHOWN)))}
        rows.append((path, " ".join(_named(given))))
    _write_table(folder / "labels.csv", [("fname", "labels"), *rows])
    return truth


def make_masks(folder: Path, n: int = 200, wrong: int = 6) -> list[str]:
    """Write images of a handwritten digit to `images` and masks of its strokes, 0 or 1, to `masks`.

    Args:
        folder: the folder of `images` and `masks`.
        n: number of images, at most 1,797.
        wrong: number of images with the mask of another image.

    Returns:
        the paths of these images, relative to `folder`.
    """
    images, _ = _digits()
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    spoilt: list[str] = []
    for number in range(n):
        name = f"{number:03d}.png"
        is_wrong = number % (n // wrong) == n // wrong // 2 and len(spoilt) < wrong
        Image.fromarray(images[number]).save(folder / "images" / name)
        strokes = images[(number + is_wrong) % len(images)] < 128
        Image.fromarray(strokes.astype(np.uint8)).save(folder / "masks" / name)
        if is_wrong:
            spoilt.append(f"images/{name}")
    return spoilt


def train(folder: Path) -> Learner:
    """Return a small convolutional network, trained for some seconds on the readable images in `folder`."""
    learn = make_learner(folder)
    fit(learn, _EPOCHS)
    return learn


def make_learner(folder: Path) -> Learner:
    """Return a small convolutional network for the readable images in `folder`, untrained."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns about its own code
        from fastai.vision import all as fastai
    from torch import nn

    fastai.set_seed(0, reproducible=True)
    # Sorted, so that every machine holds out the same images.
    readable = [path for path in sorted(map(Path, image_files(folder))) if fastai.verify_image(path)]
    loaders = fastai.ImageDataLoaders.from_path_func(
        folder, readable, fastai.parent_label, valid_pct=0.2, seed=0, bs=64, num_workers=0
    )
    model = nn.Sequential(
        *[nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()],
        *[nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()],
        *[nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU()],
        *[nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, len(loaders.vocab))],
    )
    learn = fastai.Learner(loaders, model, loss_func=fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy)
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def fit(learn: Learner, epochs: int) -> None:
    """Train a learner, with one progress bar over all epochs."""
    from fastai.callback.core import Callback

    class Bar(Callback):  # type: ignore[misc]
        def after_batch(self) -> None:
            if self.training:
                bar.set_postfix_str(f"loss {self.loss.item():.2f}", refresh=False)
                bar.update()

    with tqdm(total=epochs * len(learn.dls.train), desc="train", unit="batch") as bar, learn.no_logging():
        learn.fit_one_cycle(epochs, 3e-3, cbs=Bar())


def _say(text: str) -> None:
    print(text, flush=True)


def _digits() -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]:
    """Return images of the digits, dark on white, uint8 [32, 32] each, and the digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = (Image.fromarray(np.uint8(255 - pixels * (255 / 16))) for pixels in digits.images)
    size = (_PIXELS, _PIXELS)
    return [np.asarray(image.resize(size, Image.Resampling.BICUBIC)) for image in small], digits.target


def _named(digits: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(_SHOWN[digit] for digit in digits))


def _swap(targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return targets in which a fixed share of each class is given to the other classes in turn."""
    random = np.random.default_rng(0)
    given: npt.NDArray[np.int64] = targets.copy()
    classes = np.unique(targets)
    for position, label in enumerate(classes):
        members = np.flatnonzero(targets == label)
        chosen = random.choice(members, round(len(members) * SWAPPED_SHARE), replace=False)
        for n, index in enumerate(chosen):
            given[index] = classes[(position + 1 + (n + position) % (len(classes) - 1)) % len(classes)]
    return given


def _write_truth(path: Path, truth: dict[str, str]) -> None:
    _write_table(path, [("path", "true_label"), *sorted(truth.items())])


def _write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_whole(path, text.getvalue())


def _report(scan: Scan, truth: dict[str, str]) -> None:
    (split,) = scan.splits
    found = 0
    print("\nThe worst of each class:")
    for label in scan.vocab:
        worst = scan.kept(split, label)[:_WORST]
        wrong = sum(sample.path in truth for sample in worst)
        found += wrong
        first = worst[0]
        print(
            f"  {label}: {first.path}, predicted {first.predicted} with {first.confidence:.0%}, loss {first.loss:.2f}; "
            f"{wrong} of the worst {_WORST} have a wrong label"
        )
    print(
        f"{found} of the {len(truth)} wrong labels ({found / len(truth):.0%}) "
        f"are among the worst {_WORST} of their class."
    )
    for item in scan.unreadable:
        print(f"Unreadable: {printable(item.path)}: {printable(item.error)}")
