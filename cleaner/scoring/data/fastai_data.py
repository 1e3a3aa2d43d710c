"""Datasets for a fastai learner: its own items, a folder, or an address; a label table is in `fastai_table`."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from fastai.learner import Learner
from fastai.vision import augment
from PIL import Image

from cleaner.core.duplicates import DuplicateFinder
from cleaner.core.errors import CleanerError
from cleaner.core.files import image_files
from cleaner.core.labelled_files import SPLIT_FOLDERS, split_of
from cleaner.core.suffixes import SuffixCounts, as_text
from cleaner.core.tasks import ALL_IMAGES, OTHER, SINGLE_LABEL
from cleaner.scoring.data.checks import check_folder, common_root
from cleaner.scoring.data.reader import SPREAD, Dataset, Key
from cleaner.scoring.data.remote import Address
from cleaner.scoring.model.targets import Targets

__all__ = [
    "FastaiData",
    "FastaiDataset",
    "from_address",
    "from_folder",
    "from_items",
    "from_learner",
    "skip_zero_padding",
]

# The learner's own loaders, by the names that people use.
_LOADERS = {"train": 0, "valid": 1}
_BLOCK = 4096


@dataclass(frozen=True)
class FastaiData:
    """The datasets of a scan and their description.

    Attributes:
        datasets: the samples of each split.
        root, address, left_out: as in `Scan`.
        settings: how the data is read, for `scan.json`.
        identity: what must be equal for a scan to be resumed.
    """

    datasets: Mapping[str, FastaiDataset]
    root: Path
    address: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)


class FastaiDataset(Dataset):
    """The items of one split, read by the learner's own validation transforms.

    Args:
        learn: the learner.
        split: name of the split.
        targets: what the learner's targets mean.
        items: what fastai makes its dataset of; one item shows it the type where a folder or table is walked.
        options: options of fastai's `test_dl`, such as `bs`.

    Attributes:
        dl: fastai's loader with the validation transforms; its items are those above.
        folders: the folders that hold files.
        labels: labels of samples from every folder.
    """

    collate_advice = "Train the learner with item_tfms=Resize(...), which gives all images one size"
    may_repeat = False
    """True if a file may be listed more than once."""

    def __init__(self, learn: Learner, split: str, targets: Targets, items: Any, options: Mapping[str, Any]) -> None:
        self.dl = _test_loader(learn, items, options)
        super().__init__(split, targets.vocab, int(self.dl.bs))
        self._targets = targets
        self._steps = list(self.dl.dataset.tls[0].tfms.fs)
        self.folders, self.labels = set[str](), set[str]()

    def item(self, key: Key) -> Any:
        """Return the item of a key, as the learner's transforms take it."""
        return Path(key)

    def target(self, key: Key) -> Any:
        """Return the target of an item, as fastai's own dataset gives it."""
        return self.dl.dataset.tls[1].tfms(self.item(key))

    def transformed(self, key: Key) -> Any:
        """Return an item with its target, as fastai's own dataset gives them."""
        return tuple(pipeline.tfms(self.item(key)) for pipeline in self.dl.dataset.tls)

    def file(self, key: Key) -> str:
        return str(key)

    def label(self, key: Key) -> str:
        if self._targets.task == OTHER:
            return ALL_IMAGES  # such a target may be a file that cannot be read
        try:
            return self._targets.label_of(self.target(key))
        except Exception as error:
            reason = " ".join(str(argument) for argument in error.args)
            raise CleanerError(
                f"the label of {self.file(key)!r} cannot be used: {reason}. The learner knows "
                f"{', '.join(self.vocab[:20])}. Move the file to one of these classes, or train the learner with the "
                "new class"
            ) from error

    def sample(self, key: Key) -> Any:
        # The two steps of fastai's `do_item`, which hides the items that it drops.
        return self.dl.after_item(self.transformed(key))

    def collate(self, samples: list[Any]) -> Any:
        return self.dl.do_batch(samples)

    def prepare_reading(self) -> None:
        self.dl.before_iter()  # switches the transforms, which are copied to workers, to validation

    def for_readers(self) -> FastaiDataset:
        copied, copied.dl = copy.copy(self), copy.copy(self.dl)
        # The batch transforms hold tensors on the model's device, and `fake_l` refers to the loader that has them.
        copied.dl.after_batch, copied.dl.fake_l = type(self.dl.after_batch)(), None
        return copied

    def prepare_worker(self) -> None:
        skip_zero_padding()

    def survey(self) -> None:
        """Count the samples and look up a label in each folder, so that a wrong class is found at once."""
        finder = DuplicateFinder()
        random = Random(0)  # noqa: S311 - which images are looked at is no secret
        keys = self.keys()
        while block := list(islice(keys, _BLOCK)):
            files = [self.file(key) for key in block]
            if self.may_repeat:
                finder.update(files)
            for key, file in zip(block, files, strict=True):
                self.count += 1
                place = self.count - 1 if self.count <= SPREAD else random.randrange(self.count)
                if place < SPREAD:
                    self.spread[place:] = [key, *self.spread[place + 1 :]]
                folder = os.path.dirname(file)
                # Until there are two, as labels in file names vary within one folder.
                if folder not in self.folders or len(self.labels) < 2:
                    self.folders.add(folder)
                    self.labels.add(self.label(key))
        self.repeated = finder.count


class LearnerItems(FastaiDataset):
    """The items of one of the learner's own datasets; a key is an index."""

    may_repeat = True

    def __init__(self, learn: Learner, split: str, targets: Targets, items: Any, options: Mapping[str, Any]) -> None:
        super().__init__(learn, split, targets, items, options)
        self._items = items

    def listing(self) -> Callable[[], Iterator[int]]:
        return partial(iter, range(len(self._items)))

    def item(self, key: int) -> Any:
        return getattr(self._items, "iloc", self._items)[key]

    def transformed(self, key: int) -> Any:
        return self.dl.create_item(key)

    def file(self, key: int) -> str:
        """Return the file of an item: the first path on the way from the item to the image that exists.

        The next step would open it, and it may be a named pipe.
        """
        value = self.item(key)
        path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
        for step in self._steps:
            if path and os.path.exists(path) and not os.path.isdir(path):
                break
            try:
                value = step(value)
            except OSError:
                break  # this step opens the file, which is gone
            if not isinstance(value, (str, os.PathLike)):
                break
            path = os.fspath(value)
        if not path:
            raise CleanerError(
                f"an item of {self.split!r} is a {type(value).__name__}, not a file. Expected paths, or rows from "
                "which get_x makes a path: reviews show files and decisions are about files. Write the images to "
                "files, and make the learner's data of these"
            )
        return path


class FolderImages(FastaiDataset):
    """Image files below a folder or at an address, walked anew each time; a key is a path."""

    def __init__(self, learn: Learner, listing: FolderListing, targets: Targets, options: Mapping[str, Any]) -> None:
        first = [Path(key) for key in islice(listing(), 1)]
        super().__init__(learn, listing.split, targets, first, options)
        self._listing = listing

    def listing(self) -> Callable[[], Iterator[str]]:
        return self._listing

    def fetched(self, key: str) -> AbstractContextManager[str]:
        return self._listing.fetched(key)


@dataclass(frozen=True)
class FolderListing:
    """The image files of one split below a folder; calling it walks the folder.

    Attributes:
        root: the dataset's folder.
        split: name of a folder below the root; `all` is every image that is in none of `SPLIT_FOLDERS`.
        address: where the files are, if not in the root; the root then stands for it.
        left_out: number of files that the last complete walk left out, by suffix; see `image_files`.
    """

    root: Path
    split: str
    address: Address | None = None
    left_out: SuffixCounts = field(default_factory=SuffixCounts, compare=False, repr=False)

    def __call__(self) -> Iterator[str]:
        counts = SuffixCounts()

        def left_out(path: str) -> None:
            if self._is_mine(path):
                counts.add(path)

        yield from filter(self._is_mine, self._walk(left_out))
        self.left_out.clear()
        self.left_out.update(counts)

    def _walk(self, left_out: Callable[[str], None]) -> Iterator[str]:
        """Yield the image files below the folder of the split, and perhaps others."""
        if self.address is not None:
            return self._walk_address(self.address, left_out)
        folder = self.root if self.split == "all" else self.root / self.split
        return image_files(folder, left_out) if folder.is_dir() else iter(())

    def _walk_address(self, address: Address, left_out: Callable[[str], None]) -> Iterator[str]:
        below = "" if self.split == "all" else self.split
        # If any file in a folder is of another split, all below it are.
        enter = lambda folder: self._is_mine(str(self.root / folder / "any"))  # noqa: E731
        paths = address.image_files(below, enter, lambda path: left_out(str(self.root / path)))
        return (str(self.root / path) for path in paths)

    def _is_mine(self, path: str) -> bool:
        return split_of(path, self.root) == self.split

    @contextmanager
    def fetched(self, key: str) -> Iterator[str]:
        """Copy a file at an address to this machine; gives the path of the copy."""
        if self.address is None:
            yield key
            return
        with self.address.fetched(Path(key).relative_to(self.root).as_posix()) as copy:
            yield str(copy)


def from_learner(
    learn: Learner, targets: Targets, splits: Sequence[str], root: str | Path | None, batch_size: int | None
) -> FastaiData:
    """Return the splits of a learner's own data."""
    folder = None if root is None else check_folder(Path(root))
    items = {split: _items_of(learn, split) for split in splits}
    options = {} if batch_size is None else {"bs": batch_size}
    datasets = {split: LearnerItems(learn, split, targets, own, options) for split, own in items.items()}
    return surveyed(datasets, folder or partial(common_root, os.path.abspath(learn.dls.path)))


def from_items(
    learn: Learner, targets: Targets, items: Any, root: str | Path | None, options: Mapping[str, Any]
) -> FastaiData:
    """Return items as the learner's own data reads them, as the split `all`."""
    folder = None if root is None else check_folder(Path(root))
    datasets = {"all": LearnerItems(learn, "all", targets, items, options)}
    return surveyed(datasets, folder or partial(common_root, os.path.abspath(learn.dls.path)))


def from_folder(learn: Learner, targets: Targets, data: Path, batch_size: int | None) -> FastaiData:
    """Return the images below a folder, labelled as the learner labels paths."""
    root = check_folder(data)
    listings = [FolderListing(root, split) for split in (*SPLIT_FOLDERS, "all")]
    return _from_listings(learn, targets, listings, str(data), batch_size)


def from_address(learn: Learner, targets: Targets, data: str, batch_size: int | None) -> FastaiData:
    """Return the images at an fsspec address, labelled as the learner labels paths."""
    if targets.task == OTHER:
        raise CleanerError(
            f"images at an address, such as {data!r}, need a learner that classifies. The targets of this one may be "
            "files of their own; pass a folder with a copy of the dataset"
        )
    address = Address.from_text(data)
    listings = [FolderListing(address.stand_in, split, address) for split in (*SPLIT_FOLDERS, "all")]
    found = _from_listings(learn, targets, listings, data, batch_size)
    return replace(found, root=Path(address.text), address=address.text)


def _from_listings(
    learn: Learner, targets: Targets, listings: Sequence[FolderListing], data: str, batch_size: int | None
) -> FastaiData:
    """Return the images of listings, without the splits that have none."""
    with_images = [listing for listing in listings if next(listing(), None) is not None]
    if not with_images:
        left_out = as_text(_left_out(listings))
        also = f", only files that are not known to be images: {left_out}" if left_out else ""
        raise CleanerError(f"there is no image in {data!r}{also}; pass the folder that holds the images")
    options = {} if batch_size is None else {"bs": batch_size}
    datasets = {listing.split: FolderImages(learn, listing, targets, options) for listing in with_images}
    found = surveyed(datasets, listings[0].root)
    labels = {label for dataset in datasets.values() for label in dataset.labels}
    if targets.task == SINGLE_LABEL and len(labels) == 1:
        raise CleanerError(
            f"all images in {data!r} have the label {labels.pop()!r}. "
            "Pass the folder of the whole dataset, with at least two classes"
        )
    return replace(found, left_out=_left_out(listings))


def _left_out(listings: Iterable[FolderListing]) -> dict[str, int]:
    """Return the number of files left out of all splits, by suffix."""
    return dict(sum((Counter(listing.left_out) for listing in listings), Counter[str]()))


def surveyed(datasets: Mapping[str, FastaiDataset], root: Path | Callable[[Iterable[str]], Path]) -> FastaiData:
    """Survey datasets and set their root, which may be found from the folders of all files."""
    for dataset in datasets.values():
        dataset.survey()
    if not isinstance(root, Path):
        root = root({os.path.abspath(folder) for dataset in datasets.values() for folder in dataset.folders})
    for dataset in datasets.values():
        dataset.root = root
    repeated = {split: dataset.repeated for split, dataset in datasets.items() if dataset.repeated}
    return FastaiData(datasets, root, settings={"repeated": repeated} if repeated else {})


def skip_zero_padding() -> None:
    """Skip fastai's zero-width padding, which `Resize` applies to each image that it crops or squishes.

    It copies the image up to three times: 0.9 of the 5.4 ms of reading a photo of 500 x 375 pixels. This replaces a
    function of fastai, and is for worker processes.
    """
    pad = getattr(augment, "tvpad", None)
    if pad is not None:  # other versions of fastai pad in other ways
        augment.tvpad = partial(_pad, pad)


def _pad(pad: Callable[..., Any], image: Any, padding: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    plain = isinstance(image, Image.Image) and image.mode in ("L", "RGB") and "transparency" not in image.info
    if plain and not any(padding):
        image.info = {}  # as padding would; the image is a crop that nobody else holds
        return image
    return pad(image, padding, *args, **kwargs)


def _test_loader(learn: Learner, items: Any, options: Mapping[str, Any]) -> Any:
    """Return fastai's loader of items with the validation transforms and labels."""
    try:
        return learn.dls.test_dl(items, with_labels=True, **options)
    except Exception as error:
        kind = type(items[0]).__name__ if isinstance(items, list) else type(items).__name__
        raise CleanerError(
            f"the learner's transforms do not take a {kind} ({type(error).__name__}: {error}). A learner that was made "
            "from a table reads labels from its rows, not from paths; pass the table: cleaner.scan_table"
        ) from error


def _items_of(learn: Learner, split: str) -> Any:
    if split not in _LOADERS:
        raise CleanerError(f"there is no split {split!r}; a learner has {list(_LOADERS)}")
    items = learn.dls[_LOADERS[split]].dataset.items
    if len(items):
        return items
    if any(len(loader.dataset.items) for loader in learn.dls.loaders):
        raise CleanerError(f"the learner has no items in {split!r}; name the splits that it has: splits=('train',)")
    raise CleanerError(
        f"the learner has no items in {split!r}; a learner that was loaded from a file holds none. "
        "Use cleaner.scan_folder(learn, data, out)"
    )
