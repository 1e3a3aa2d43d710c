"""Map-style datasets of `(image, label)`: which file a sample comes from, what its label is, and reading it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, default_collate

from cleaner.core.errors import CleanerError
from cleaner.core.files import TRASH
from cleaner.scoring.sources.checks import check_labels
from cleaner.scoring.sources.loading import SPREAD, Reader, guarded

__all__ = [
    "Paths",
    "Samples",
    "check_dataset",
    "check_order",
    "described",
    "found_vocab",
    "given_vocab",
    "random_steps",
    "transform_of",
]

Paths = Sequence[Any] | Callable[[int], Any]
"""The files of samples, by index."""

# Where datasets list their files, alone or each with its target: torchvision's, and those that people write like them.
_LISTINGS = ("samples", "imgs", "filepaths", "_samples", "_image_files", "_images")
_TARGETS = ("targets", "labels", "_labels")

# How the names of transforms begin that give another image each time.
_RANDOM = ("Rand", "AutoAugment", "TrivialAugment", "AugMix", "ColorJitter", "ScaleJitter", "Elastic", "GaussianNoise")


class Samples(Reader):
    """The samples of a map-style dataset; a key is an index.

    Args:
        dataset: gives `(image, label)` for an index.
        split: name of the split.
        vocab: the labels.
        paths: the file of each sample; None to take those that the dataset lists.
        below: the folder that relative paths are below.
        batch_size: samples in a batch.
        device: where the batches will go.

    Attributes:
        folders: the folders that hold the files.

    Raises:
        CleanerError: the files cannot be told, or they are not those of single samples.
    """

    advice = "Let the dataset's transform give images of one size and number of channels"

    def __init__(
        self,
        dataset: Any,
        split: str,
        vocab: tuple[str, ...],
        paths: Paths | None,
        below: Path,
        batch_size: int,
        device: torch.device,
    ) -> None:
        super().__init__(split, vocab)
        self.dataset = dataset
        # What is listed may be made anew each time that it is asked for.
        self._listed = _listing(_innermost(dataset)) if paths is None else None
        self._paths = paths
        self._below = below
        self._batch_size = batch_size
        self._device = device
        self._n = len(dataset)
        self.spread = Random(0).sample(range(self._n), min(SPREAD, self._n))  # noqa: S311 - it is no secret
        self.folders = set[str]()
        self._check_paths()

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def device(self) -> torch.device:
        return self._device

    def to(self, device: torch.device) -> None:
        """Have the batches go to another device."""
        self._device = device

    def __len__(self) -> int:
        return self._n

    def listing(self) -> Callable[[], Iterator[int]]:
        return partial(iter, range(self._n))

    def keys(self) -> Iterator[int]:
        return iter(range(self._n))

    def file(self, key: int) -> str:
        if self._paths is None:
            entry = _entry(self._listed, _index_inside(self.dataset, key))
            found = entry[0] if isinstance(entry, (tuple, list)) else entry
        else:
            found = _entry(self._paths, key)
        if not isinstance(found, (str, os.PathLike)):
            raise CleanerError(
                f"the path of sample {key} of {self._split!r} is {found!r}, a {type(found).__name__}; "
                "paths as text or pathlib.Path are accepted"
            )
        return os.path.abspath(os.path.join(self._below, os.fspath(found)))

    def label(self, key: int) -> str:
        if _gives_what_it_lists(self.dataset) or (self.fatal and self.name(key) in self.fatal):
            return self.label_of_unreadable(key)
        try:
            with guarded(self.file(key)):
                _, target = self.dataset[key]
        except Exception:  # noqa: BLE001 - it was or will be listed as unreadable, with what was raised
            return self.label_of_unreadable(key)
        return self.label_of_target(target)

    def label_of_unreadable(self, key: int) -> str:
        """The label that the dataset lists for a sample, else that of its folder; empty where neither tells."""
        target = _listed_target(self.dataset, key)
        if target is not None and not _fault(target, len(self._vocab)):
            return self.label_of_target(target)
        folder = os.path.basename(os.path.dirname(self.file(key)))
        return folder if folder in self._vocab else ""

    def sample(self, key: int) -> tuple[Tensor, int]:
        item = self.dataset[key]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            got = f"{len(item)} values" if isinstance(item, (tuple, list)) else f"a {type(item).__name__}"
            raise CleanerError(
                f"sample {key} of {self._split!r} is {got}; (image, label) is accepted: wrap the dataset in one whose "
                "__getitem__ returns these two"
            )
        image, target = item
        if fault := _fault(target, len(self._vocab)):
            raise CleanerError(f"the label of {self.file(key)!r}, sample {key} of {self._split!r}, is {fault}")
        return self._tensor(image, key), int(target)

    def put_together(self, samples: list[Any]) -> Any:
        return default_collate(samples)

    def own_root(self) -> str | None:
        """The folder that the dataset says it is of."""
        root = getattr(_innermost(self.dataset), "root", None)
        return os.path.abspath(os.fspath(root)) if isinstance(root, (str, os.PathLike)) else None

    def _tensor(self, image: Any, key: int) -> Tensor:
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(np.ascontiguousarray(image))
        if not isinstance(image, Tensor) or image.dim() == 0:
            raise CleanerError(
                f"the image of sample {key} of {self._split!r} is a {type(image).__module__}.{type(image).__name__}; "
                "a tensor is accepted, as the model takes it: give the dataset a transform that ends in ToTensor() "
                "and, if the model was trained so, Normalize(...)"
            )
        return image.detach().as_subclass(Tensor)

    def _check_paths(self) -> None:
        """Look at all paths; that takes 8 bytes of memory for each sample, for as long as it lasts."""
        if not any(os.path.lexists(self.file(key)) for key in self.spread):
            raise CleanerError(
                f"there is no file {self.file(self.spread[0])!r}, nor any other of {len(self.spread)} samples of "
                f"{self._split!r} that were looked at; pass paths=..., below root=... or the current folder"
            )
        hashes = np.empty(self._n, np.int64)
        trash = f"{os.sep}{TRASH}{os.sep}"
        for key in self.keys():
            file = self.file(key)
            if trash in file:
                raise CleanerError(_trash_advice(f"sample {key} of {self._split!r} is {file!r}"))
            self.folders.add(os.path.dirname(file))
            hashes[key] = hash(file)
        hashes.sort()
        if twice := set(hashes[1:][hashes[1:] == hashes[:-1]].tolist()):
            self._check_alike(twice)

    def _check_alike(self, twice: set[int]) -> None:
        """Check that the paths with these hashes are different ones."""
        alike = sorted((self.file(key), key) for key in self.keys() if hash(self.file(key)) in twice)
        for (file, first), (other, second) in pairwise(alike):
            if file == other:
                raise CleanerError(
                    f"samples {first} and {second} of {self._split!r} are the same file {file!r}; a file has one label "
                    "and one decision: leave out the second, with torch.utils.data.Subset for example"
                )


def check_dataset(dataset: Any, paths: Any) -> None:
    """Check that a dataset is one that can be scanned, without reading any image.

    Raises:
        CleanerError: it is not.
    """
    kind = type(dataset).__name__
    if isinstance(dataset, DataLoader):
        raise CleanerError(f"a {kind} came, which may shuffle and drop samples; pass its dataset: loader.dataset")
    if isinstance(dataset, IterableDataset) or not _is_sequence(dataset):
        raise CleanerError(
            f"a {kind} came, whose samples have no index; a map-style dataset is accepted, with __getitem__ and __len__"
        )
    inside = _innermost(dataset)
    if type(inside).__module__.startswith("timm."):
        raise CleanerError(
            f"timm's {kind} gives another image in the place of one that cannot be read, so that losses would stand at "
            "the wrong files; use torchvision.datasets.ImageFolder with the transform of timm.data.create_transform"
        )
    if len(dataset) == 0:
        raise CleanerError(f"the dataset, a {kind}, is empty; give one with samples")
    if TRASH in (_classes(inside) or []):
        raise CleanerError(_trash_advice(f"{TRASH!r} is among the classes of the dataset"))
    if paths is not None:
        _check_given_paths(paths, len(dataset))
    elif _listing(inside) is None:
        raise CleanerError(
            f"where the files of the dataset, a {kind}, are is not known: it has no samples, imgs or filepaths that "
            "lists them; pass paths=..., a sequence with the path of each sample, or a function of its index"
        )


def found_vocab(dataset: Any) -> tuple[str, ...]:
    """The labels that a dataset lists, in the order of their indices.

    Raises:
        CleanerError: it lists none.
    """
    classes = _classes(_innermost(dataset))
    if classes is None:
        raise CleanerError(
            f"the labels of the dataset, a {type(dataset).__name__}, are not known: it has no classes that lists them; "
            "pass vocab=[...], the labels in the order of the model's outputs"
        )
    return given_vocab(classes)


def check_order(dataset: Any, vocab: tuple[str, ...]) -> None:
    """Check that a label has the same index in a vocabulary as in the dataset; one may have names that the other lacks.

    Raises:
        CleanerError: a label has another index, so that targets would stand for other labels than they are.
    """
    classes = _classes(_innermost(dataset))
    if classes is None or not _gives_what_it_lists(dataset) or getattr(_innermost(dataset), "target_transform", None):
        return
    places = {label: index for index, label in enumerate(vocab)}
    for index, label in enumerate(map(str, classes)):
        if places.get(label, index) != index:
            raise CleanerError(
                f"{label!r} is class {index} of the dataset and class {places[label]} of the vocabulary, so that "
                "targets would stand for other labels than they are; give the dataset a target_transform that turns "
                "its index into that of the vocabulary"
            )


def _classes(inside: Any) -> list[Any] | None:
    """The names of the classes of a dataset, in the order of their indices; None where it lists none."""
    classes = getattr(inside, "classes", None)
    numbers = getattr(inside, "class_to_idx", None)
    if classes is None and isinstance(numbers, Mapping) and sorted(numbers.values()) == list(range(len(numbers))):
        classes = sorted(numbers, key=lambda name: numbers[name])
    # Some call the number of classes so.
    return list(classes) if isinstance(classes, Iterable) else None


def given_vocab(vocab: Any) -> tuple[str, ...]:
    """Labels as text.

    Raises:
        CleanerError: they are not labels, or not different, or fewer than two.
    """
    if isinstance(vocab, (str, bytes, Mapping)) or not hasattr(vocab, "__iter__"):
        raise CleanerError(
            f"vocab is a {type(vocab).__name__}; a sequence of labels in the order of the model's outputs is accepted"
        )
    labels = tuple(vocab)
    for label in labels:
        # Of a NumPy array they are NumPy's.
        if not isinstance(label, (str, int, np.integer)) or isinstance(label, bool) or label == "":
            raise CleanerError(
                f"a label of the vocabulary is {label!r}; text and whole numbers are accepted: pass vocab=[...], "
                "where the label of an image is the name of its folder these names"
            )
    texts = tuple(str(label) for label in labels)
    check_labels(texts, "the dataset")
    return texts


def random_steps(dataset: Any) -> list[str]:
    """The names of the transforms of a dataset that give another image each time, as far as names tell that."""
    return [name for name in map(_class_name, _steps(transform_of(dataset))) if name.startswith(_RANDOM)]


def transform_of(dataset: Any) -> Any:
    """What a dataset makes of its images, and perhaps labels; None where that is not known."""
    inside = _innermost(dataset)
    # torchvision's keep both, and ImageFolder uses the first, which people also change later.
    alone = getattr(inside, "transform", None)
    return alone if alone is not None else getattr(inside, "transforms", None)


def described(transform: Any) -> str:
    """A transform as text, the same in each process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(transform).split()))


def _steps(transform: Any) -> Iterator[Any]:
    """A transform and those that it is made of."""
    if transform is None:
        return
    yield transform
    inner = getattr(transform, "transforms", None) or getattr(transform, "transform", None)
    if inner is None and isinstance(transform, nn.Module):
        inner = list(transform.children())
    for step in inner if isinstance(inner, (list, tuple, nn.ModuleList)) else [inner]:
        yield from _steps(step)


def _class_name(step: Any) -> str:
    return type(step).__name__


def _innermost(dataset: Any) -> Any:
    """The dataset inside of `Subset`s."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _index_inside(dataset: Any, index: int) -> int:
    """The index that a sample has in the dataset inside of `Subset`s."""
    while isinstance(dataset, Subset):
        dataset, index = dataset.dataset, int(dataset.indices[index])
    return index


def _listing(inside: Any) -> Any:
    """The list of the files of a dataset, alone or each with its target; None where it has none."""
    for name in _LISTINGS:
        listing = getattr(inside, name, None)
        if _is_sequence(listing) and len(listing):
            first = _entry(listing, 0)
            if isinstance(first[0] if isinstance(first, (tuple, list)) else first, (str, os.PathLike)):
                return listing
    return None


def _listed_target(dataset: Any, key: int) -> Any:
    """The target that a dataset lists for a sample; None where it lists none."""
    inside, index = _innermost(dataset), _index_inside(dataset, key)
    listing = _listing(inside)
    entry = None if listing is None else _entry(listing, index)
    if isinstance(entry, (tuple, list)) and len(entry) == 2:
        target = entry[1]
    else:
        lists = (getattr(inside, name, None) for name in _TARGETS)
        target = next((_entry(found, index) for found in lists if _is_sequence(found) and len(found) > index), None)
    change = getattr(inside, "target_transform", None)
    return target if target is None or change is None else change(target)


def _gives_what_it_lists(dataset: Any) -> bool:
    """Whether the listed target of a sample is that which the dataset gives; one's own class may give another."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    module = getattr(type(dataset).__getitem__, "__module__", None) or ""
    return module.startswith("torchvision.") and _listed_target(dataset, 0) is not None


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping)


def _fault(target: Any, n_classes: int) -> str:
    """Why a target is no index into the vocabulary; empty where it is one."""
    accepted = "the index of its class, one whole number, is accepted"
    if isinstance(target, (Tensor, np.ndarray)):
        if target.ndim:
            return (
                f"of shape {tuple(target.shape)}; {accepted}. Where it has one 1 for its class and 0 for the others, "
                "give the dataset the target_transform lambda target: target.argmax()"
            )
        target = target.item()
    if isinstance(target, (bool, np.bool_)) or not isinstance(target, (int, np.integer)):
        return f"{target!r}, a {type(target).__name__}; {accepted}"
    if not 0 <= target < n_classes:
        return f"{target}, but the vocabulary has {n_classes} labels, from 0 to {n_classes - 1}; {accepted}"
    return ""


def _check_given_paths(paths: Any, n: int) -> None:
    if callable(paths):
        return
    if isinstance(paths, (str, bytes)) or not _is_sequence(paths):
        raise CleanerError(
            f"paths is a {type(paths).__name__}; a sequence with the path of each sample, or a function of its index, "
            "is accepted"
        )
    if len(paths) != n:
        raise CleanerError(f"there are {len(paths)} paths for {n} samples; one for each, in their order, is accepted")


def _entry(sequence: Any, index: int) -> Any:
    """An entry by its place, also of what pandas numbers otherwise, or what a function gives for the place."""
    return sequence(index) if callable(sequence) else getattr(sequence, "iloc", sequence)[index]


def _trash_advice(what: str) -> str:
    return (
        f"{what}: the folder of deleted files, which ImageFolder takes for a class, so that the number of every other "
        "class changes. Use a subclass that leaves hidden folders out: def find_classes(self, folder): names = "
        "[n for n in super().find_classes(folder)[0] if not n.startswith('.')]; "
        "return names, {n: i for i, n in enumerate(names)}"
    )
