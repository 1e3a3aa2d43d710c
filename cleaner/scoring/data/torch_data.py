"""Map-style datasets of `(image, label)`: the files and labels of their samples, and reading them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset, Subset, default_collate

from cleaner.core.duplicates import DuplicateFinder
from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.core.tasks import check_vocab
from cleaner.core.terminal import abbreviate
from cleaner.scoring.data.checks import common_root
from cleaner.scoring.data.reader import SPREAD, Dataset, guarded

__all__ = ["Paths", "TorchDataset", "check_dataset", "common_vocab"]

Paths = Sequence[Any] | Callable[[int], Any]
"""The files of samples, by index."""

# Attributes in which datasets list their files, perhaps with targets, and their targets: torchvision's and usual ones.
_LISTINGS = ("samples", "imgs", "filepaths", "_samples", "_image_files", "_images")
_TARGETS = ("targets", "labels", "_labels")
# First letters of the names of random transforms.
_RANDOM = ("Rand", "AutoAugment", "TrivialAugment", "AugMix", "ColorJitter", "ScaleJitter", "Elastic", "GaussianNoise")
# Files whose paths are checked at once.
_BLOCK = 10_000
_TRASH_ADVICE = (
    "ImageFolder takes the folder of deleted files for a class, which changes the index of every other class. Use a "
    "subclass that leaves out hidden folders: def find_classes(self, folder): names = [n for n in "
    "super().find_classes(folder)[0] if not n.startswith('.')]; return names, {n: i for i, n in enumerate(names)}"
)

_log = logging.getLogger("cleaner")


class TorchDataset(Dataset):
    """The samples of a map-style dataset; keys are indices.

    Args:
        dataset: returns `(image, label)` for an index; see `check_dataset`.
        paths: file of each sample, relative to `below`; None for the files that the dataset lists.

    Attributes:
        folders: folders of the files.
        transform: the dataset's transform as text, the same in each process.
    """

    collate_advice = "Let the dataset's transform return images of one size and number of channels"

    def __init__(
        self, dataset: Any, split: str, vocab: tuple[str, ...], paths: Paths | None, below: Path, batch_size: int
    ) -> None:
        super().__init__(split, vocab, batch_size)
        self.count = len(dataset)
        self.spread = Random(0).sample(range(self.count), min(SPREAD, self.count))  # noqa: S311 - not a secret
        self.folders = set[str]()
        self._dataset, self._paths, self._below = dataset, paths, below
        # A property may build the list anew each time.
        self._listing = _listing(dataset) if paths is None else None
        self.transform = _transform_text(dataset, split)
        self._check_files()

    def listing(self) -> Callable[[], Iterator[int]]:
        return partial(iter, range(self.count))

    def file(self, key: int) -> str:
        if self._paths is None:
            entry = _entry(self._listing, _innermost(self._dataset, key)[1])
            path = entry[0] if isinstance(entry, (tuple, list)) else entry
        else:
            path = _entry(self._paths, key)
        if not isinstance(path, (str, os.PathLike)):
            raise CleanerError(f"the path of sample {key} of {self.split!r} is {path!r}; pass text or pathlib.Path")
        return os.path.abspath(os.path.join(self._below, os.fspath(path)))

    def label(self, key: int) -> str:
        if not _returns_listed_targets(self._dataset) and not (self.fatal and self.name(key) in self.fatal):
            # A scan lists a sample that raises an error as unreadable.
            with suppress(Exception), guarded(self.file(key)):
                _, target = self._dataset[key]
                return self.vocab[int(target)]
        return self.label_if_unreadable(key)

    def listed_label(self, key: int) -> str:
        return self.label_if_unreadable(key) if _returns_listed_targets(self._dataset) else ""

    def label_if_unreadable(self, key: int) -> str:
        """Return the label that the dataset lists, else that of the sample's folder, else an empty text."""
        target = _listed_target(self._dataset, key)
        if target is not None and not _target_fault(target, len(self.vocab)):
            return self.vocab[int(target)]
        folder = os.path.basename(os.path.dirname(self.file(key)))
        return folder if folder in self.vocab else ""

    def sample(self, key: int) -> tuple[Tensor, int]:
        item = self._dataset[key]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            got = f"{len(item)} values" if isinstance(item, (tuple, list)) else f"a {type(item).__name__}"
            raise CleanerError(f"sample {key} of {self.split!r} is {got}; pass a dataset that returns (image, label)")
        image, target = item
        if fault := _target_fault(target, len(self.vocab)):
            raise CleanerError(f"the label of {self.file(key)!r}, sample {key} of {self.split!r}, is {fault}")
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(np.ascontiguousarray(image))
        if not isinstance(image, Tensor) or image.dim() == 0:
            raise CleanerError(
                f"the image of sample {key} of {self.split!r} is a {type(image).__module__}.{type(image).__name__}, "
                "not a tensor for the model; give the dataset a transform that ends in ToTensor() and, if the model "
                "was trained with it, Normalize(...)"
            )
        return image.detach().as_subclass(Tensor), int(target)

    def collate(self, samples: list[Any]) -> Any:
        return default_collate(samples)

    def own_root(self) -> Path:
        """Return the dataset's `root` if all files are below it, else their common folder."""
        root = getattr(_innermost(self._dataset)[0], "root", None)
        own = os.path.abspath(os.fspath(root)) if isinstance(root, (str, os.PathLike)) else None
        return common_root(own, self.folders)

    def _check_files(self) -> None:
        """Check all paths, and that some of the files exist; sets `folders`."""
        if not any(os.path.lexists(self.file(key)) for key in self.spread):
            raise CleanerError(
                f"none of {len(self.spread)} files of {self.split!r} exists, such as {self.file(self.spread[0])!r}; "
                "pass paths=..., relative to root=... or to the current folder"
            )
        finder = DuplicateFinder()
        for start in range(0, self.count, _BLOCK):
            files = [self.file(key) for key in range(start, min(start + _BLOCK, self.count))]
            for key, file in enumerate(files, start):
                if f"{os.sep}{TRASH}{os.sep}" in file:
                    raise CleanerError(f"sample {key} of {self.split!r} is {file!r}: {_TRASH_ADVICE}")
            self.folders.update(map(os.path.dirname, files))
            if (at := finder.update(files)) is None:
                continue
            first = next(key for key in self.keys() if self.file(key) == files[at])
            if first < start + at:  # not only two files with one hash
                raise CleanerError(
                    f"samples {first} and {start + at} of {self.split!r} are the same file {files[at]!r}; a file has "
                    "one label and one decision: leave out one, for example with torch.utils.data.Subset"
                )


def check_dataset(dataset: Any, paths: Any) -> None:
    """Check, without reading an image, that a dataset is map-style and that its files or `paths` are known."""
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not _is_sequence(dataset):
        raise CleanerError(f"expected a map-style dataset with __len__, got {kind}; pass loader.dataset of a loader")
    if len(dataset) == 0:
        raise CleanerError(f"the dataset, of type {kind}, is empty; pass one with samples")
    if type(_innermost(dataset)[0]).__module__.startswith("timm."):
        raise CleanerError(
            f"timm's {kind} replaces an unreadable image by another one: its loss would belong to the wrong file. Use "
            "torchvision.datasets.ImageFolder with the transform of timm.data.create_transform"
        )
    if TRASH in (_classes(dataset) or []):
        raise CleanerError(f"{TRASH!r} is among the classes of the dataset: {_TRASH_ADVICE}")
    advice = f"one path for each of the {len(dataset)} samples, in their order, or a function of a sample's index"
    is_list = _is_sequence(paths) and not isinstance(paths, (str, bytes))
    if paths is not None and not callable(paths) and not (is_list and len(paths) == len(dataset)):
        got = f"{len(paths)} paths" if is_list else f"a {type(paths).__name__}"
        raise CleanerError(f"paths is {got}; pass {advice}")
    if paths is None and _listing(dataset) is None:
        raise CleanerError(
            f"the dataset, of type {kind}, lists no files in samples, imgs or filepaths; pass paths=..., {advice}"
        )


def common_vocab(datasets: Mapping[str, Any], vocab: Any) -> tuple[str, ...]:
    """Return `vocab`, or if it is None the classes that all datasets list, in the order of their indices."""
    if vocab is not None:
        labels = check_vocab(vocab, "vocab")
        for dataset in datasets.values():
            _check_order(dataset, labels)
        return labels
    listed = {s: check_vocab(_classes(dataset), "the dataset without vocab=[...]") for s, dataset in datasets.items()}
    if len(set(listed.values())) > 1:
        texts = "; ".join(f"{split!r} has {abbreviate(map(repr, labels), 20)}" for split, labels in listed.items())
        raise CleanerError(f"the splits have different labels: {texts}. Give every class a folder in every split")
    return next(iter(listed.values()))


def _check_order(dataset: Any, vocab: tuple[str, ...]) -> None:
    """Check that a label has the same index in a vocabulary as in the dataset; either may have labels of its own."""
    classes, converts = _classes(dataset), getattr(_innermost(dataset)[0], "target_transform", None)
    if classes is None or converts or not _returns_listed_targets(dataset):
        return
    indices = {label: index for index, label in enumerate(vocab)}
    for index, label in enumerate(map(str, classes)):
        if indices.get(label, index) != index:
            raise CleanerError(
                f"{label!r} is class {index} of the dataset and class {indices[label]} of the vocabulary; give the "
                "dataset a target_transform that converts its index"
            )


def _classes(dataset: Any) -> list[Any] | None:
    """Return the class names that a dataset lists, in the order of their indices; None if it lists none."""
    inner, _ = _innermost(dataset)
    classes = getattr(inner, "classes", None)
    indices = getattr(inner, "class_to_idx", None)
    if classes is None and isinstance(indices, Mapping) and sorted(indices.values()) == list(range(len(indices))):
        classes = sorted(indices, key=lambda name: indices[name])
    # In some datasets `classes` is their number.
    return list(classes) if isinstance(classes, Iterable) else None


def _transform_text(dataset: Any, split: str) -> str:
    """Return a dataset's transform as text, the same in each process; warn of random steps, as far as names show."""
    inner, _ = _innermost(dataset)
    # torchvision's datasets have both, and apply the first, which people may have replaced.
    transform = getattr(inner, "transform", None) or getattr(inner, "transforms", None)
    names = (type(step).__name__ for step in _steps(transform))
    if random := ", ".join(name for name in names if name.startswith(_RANDOM)):
        _log.warning(
            "the transform of %r has random steps (%s), which change losses; use that of validation", split, random
        )
    return re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(transform).split()))


def _steps(transform: Any) -> Iterator[Any]:
    """Yield a transform and all its parts."""
    yield transform
    inner = getattr(transform, "transforms", None) or getattr(transform, "transform", None) or []
    if not inner and isinstance(transform, nn.Module):
        inner = list(transform.children())
    for step in inner if isinstance(inner, (list, tuple, nn.ModuleList)) else [inner]:
        yield from _steps(step)


def _innermost(dataset: Any, index: int = 0) -> tuple[Any, int]:
    """Return the dataset inside of `Subset`s, and a sample's index in it."""
    while isinstance(dataset, Subset):
        dataset, index = dataset.dataset, int(dataset.indices[index])
    return dataset, index


def _listing(dataset: Any) -> Any:
    """Return a dataset's list of files, each perhaps with its target; None if it has none."""
    inner, _ = _innermost(dataset)
    for name in _LISTINGS:
        entries = getattr(inner, name, None)
        first = _entry(entries, 0) if _is_sequence(entries) and len(entries) else None
        if isinstance(first[0] if isinstance(first, (tuple, list)) else first, (str, os.PathLike)):
            return entries
    return None


def _listed_target(dataset: Any, key: int) -> Any:
    """Return the target that a dataset lists for a sample; None if it lists none."""
    inner, index = _innermost(dataset, key)
    listing = _listing(dataset)
    entry = None if listing is None else _entry(listing, index)
    if isinstance(entry, (tuple, list)) and len(entry) == 2:
        target = entry[1]
    else:
        lists = (getattr(inner, name, None) for name in _TARGETS)
        target = next((_entry(x, index) for x in lists if _is_sequence(x) and len(x) > index), None)
    convert = getattr(inner, "target_transform", None)
    return target if target is None or convert is None else convert(target)


def _returns_listed_targets(dataset: Any) -> bool:
    """Return whether a sample's target is the listed one, as in torchvision; people's own classes may change it."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    module = getattr(type(dataset).__getitem__, "__module__", None) or ""
    return module.startswith("torchvision.") and _listed_target(dataset, 0) is not None


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping)


def _target_fault(target: Any, n_classes: int) -> str:
    """Return why a target is not an index into the vocabulary; empty if it is."""
    expected = "expected the index of its class, a whole number"
    if isinstance(target, (Tensor, np.ndarray, np.generic)):
        if target.ndim:
            return f"of shape {tuple(target.shape)}; {expected}. One-hot needs target_transform=lambda t: t.argmax()"
        target = target.item()
    if isinstance(target, bool) or not isinstance(target, int):
        return f"{target!r}, of type {type(target).__name__}; {expected}"
    if not 0 <= target < n_classes:
        return f"{target}, but the vocabulary has {n_classes} labels; {expected} from 0 to {n_classes - 1}"
    return ""


def _entry(sequence: Any, index: int) -> Any:
    """Return the entry at a position, also of a pandas Series with another index, or the value of a function there."""
    return sequence(index) if callable(sequence) else getattr(sequence, "iloc", sequence)[index]
