"""Out-of-fold losses: each sample is scored by a model that was trained without it."""

from __future__ import annotations

import gc
import hashlib
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleaner.core.arguments import is_learner
from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.scan import Scan
from cleaner.core.scan_files import writing
from cleaner.core.tasks import OTHER
from cleaner.scoring.data.checks import check_number
from cleaner.scoring.engine import (
    AUTO,
    DatasetInfo,
    ScanOptions,
    finish,
    given_labels,
    held_folder,
    progress_bar,
    score,
)
from cleaner.scoring.progress import Checkpoint, ScanProgress, SplitProgress
from cleaner.scoring.training import listed_labels

if TYPE_CHECKING:
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    from cleaner.scoring.data.fastai_data import FastaiData, FastaiDataset
    from cleaner.scoring.data.reader import Dataset
    from cleaner.scoring.model.targets import Targets

__all__ = ["scan_folds"]

_NOTED = "folds.json"


def scan_folds(
    train: Callable[[Any], Learner],
    data: DataLoaders | Sequence[Any],
    out: str | Path,
    *,
    folds: int = 4,
    k: int | str = AUTO,
    root: str | Path | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    resume: bool = True,
    progress: bool = True,
) -> Scan:
    """Train a model on all folds but one, score that one, and so on; write the scan of all of them.

    No model has memorised the labels that it scores. It takes `folds` trainings, of which those that are finished are
    not repeated after a crash.

    Args:
        train: returns a trained learner for data loaders, or for items.
        data: fastai's data loaders of the whole dataset, whose training and validation items are divided alike, and
            stay the splits `train` and `valid`. Or its items, a list or a DataFrame, which become the split `all`.
        out, k, root, workers, batch_size: as in `cleaner.scan`.
        folds: number of parts, at least 2; of data loaders, each label is spread over all of them.
        resume: continue with the folds that are left; False to start over.
        progress: show a progress bar.

    Raises:
        CleanerError: an argument or the dataset cannot be used, or `train` returns something else.

    Examples:
        >>> from fastai.vision.all import CrossEntropyLossFlat, Learner
        >>> def train(dls):
        ...     learner = Learner(dls, model, loss_func=CrossEntropyLossFlat())
        ...     with learner.no_bar(), learner.no_logging():
        ...         learner.fit(1)
        ...     return learner
        >>> cleaner.scan_folds(train, learn.dls, "folds", folds=2, progress=False, workers=0).scored
        {'train': 15, 'valid': 6}
    """
    for name, value, least in (("folds", folds, 2), ("workers", workers, 0), ("batch_size", batch_size, 1)):
        check_number(name, value, least)
    if not callable(train) or is_learner(train):
        raise CleanerError(f"train is a {type(train).__name__}; pass a function that returns a trained learner")
    options = ScanOptions(k=k, resume=resume, progress=progress, ranked_by="out-of-fold loss")
    if getattr(data, "loaders", None):
        return _scan(_Loaders(train, data, folds, root, batch_size), out, options, workers)
    return _scan(_Items(train, data, folds, root, batch_size, Path(out), resume), out, options, workers)


class _Folds(ABC):
    """A dataset in folds, and the models that are trained without one of them.

    Attributes:
        info: the dataset.
        parts: for each split the keys of each fold.
        identity: what must be equal for a scan to be resumed.
    """

    info: DatasetInfo
    parts: Mapping[str, list[list[int]]]
    identity: Mapping[str, Any]

    @abstractmethod
    def trained(self, fold: int) -> tuple[Learner, Mapping[str, FastaiDataset]]:
        """Return a learner that was trained without a fold, and all samples of each split, read as it reads them."""

    def note(self, folder: Path) -> None:  # noqa: B027 - not all have something to note
        """Write what the next run needs to know before it trains."""


def _scan(source: _Folds, out: str | Path, options: ScanOptions, workers: int | None) -> Scan:
    """Train and score what is left of the folds, and write the scan."""
    info, folds = source.info, len(next(iter(source.parts.values())))
    largest = max(sum(map(len, own)) for own in source.parts.values())
    empty = [options.empty_split(name, info, Path(out), largest) for name in info.splits]
    kept = empty[0].kept
    datasets: dict[str, Dataset] = {}
    sizes = {"folds": folds, "k": kept.highest.k, "number of applies": kept.key, "vocabulary": info.vocab}
    with held_folder(Path(out), info, options) as files:
        checkpoint = Checkpoint(files.folder, {**sizes, **source.identity}, info, kept.highest.k, kept.key)
        found = _resumed(checkpoint, empty, options.resume)
        done = _folds_done(found, source.parts)
        with progress_bar("folds", folds, done, options.progress, unit="fold") as bar:
            for fold in range(done, folds):
                datasets.clear()
                gc.collect()  # learners are reference cycles, and hold a model on the GPU
                datasets.update(_score_fold(source, fold, found, workers))
                if fold + 1 < folds:  # after the last one the scan itself is written, which may need its learner
                    source.note(checkpoint.folder)
                    checkpoint.save(found)
                bar.update()
        settings = {"source": "fastai", "transforms": "validation", "folds": folds, "ways": {}}
        scan = finish(info, found, files, options, settings, partial(given_labels, datasets, info))
        checkpoint.remove()
    return scan


def _score_fold(source: _Folds, fold: int, found: ScanProgress, workers: int | None) -> Mapping[str, FastaiDataset]:
    """Score a fold with a learner that was trained without it; return the datasets of that learner."""
    from cleaner.scoring.model.fastai_model import FastaiScorer
    from cleaner.scoring.model.targets import targets_of

    learn, datasets = source.trained(fold)
    scorer = FastaiScorer(learn, targets_of(learn))
    for split in found.splits:
        score(datasets[split.split], scorer, source.parts[split.split][fold], split.update, workers=workers)
    return datasets


class _Loaders(_Folds):
    """The folds of data loaders."""

    def __init__(
        self,
        train: Callable[[Any], Any],
        dls: DataLoaders,
        folds: int,
        root: str | Path | None,
        batch_size: int | None,
    ) -> None:
        from cleaner.scoring.data.fastai_data import from_learner
        from cleaner.scoring.model.targets import targets_of

        self._train, self._dls = train, dls
        untrained = _untrained(dls)
        targets = targets_of(untrained)
        loaders = zip(("train", "valid"), dls.loaders, strict=False)
        self._items = {name: loader.dataset.items for name, loader in loaders if loader.n}
        self._data = from_learner(untrained, targets, tuple(self._items), root, batch_size)
        self.info = _info(self._data, targets, tuple(self._items))
        _check_count(sum(dataset.count for dataset in self._data.datasets.values()), folds)
        self.parts = _parts(self._data.datasets, folds)
        listed = {name: listed_labels(dataset, self.info)[1] for name, dataset in self._data.datasets.items()}
        self.identity = {"list of files and labels": listed}

    def trained(self, fold: int) -> tuple[Learner, Mapping[str, FastaiDataset]]:
        from cleaner.scoring.data.fastai_data import LearnerItems
        from cleaner.scoring.model.targets import targets_of

        others = _without(self._dls, self._items, {name: own[fold] for name, own in self.parts.items()})
        learn = _checked(self._train(others), self.info)
        if learn.dls is not others:
            raise CleanerError(
                "train returned a learner with other data; make it with the data loaders that train is given"
            )
        targets = targets_of(learn)
        datasets: dict[str, FastaiDataset] = {}
        for name, items in self._items.items():
            options = {"bs": self._data.datasets[name].batch_size}
            datasets[name] = LearnerItems(learn, name, targets, items, options)
            datasets[name].root = self.info.root
        return learn, datasets


class _Items(_Folds):
    """The folds of items, of which only the learners know how they are read."""

    def __init__(
        self,
        train: Callable[[Any], Any],
        items: Any,
        folds: int,
        root: str | Path | None,
        batch_size: int | None,
        out: Path,
        resume: bool,
    ) -> None:
        if isinstance(items, (str, bytes, Mapping)) or not hasattr(items, "__len__"):
            raise CleanerError(
                f"data is a {type(items).__name__}; pass fastai's data loaders, such as learn.dls, or items in a list "
                "or DataFrame"
            )
        _check_count(len(items), folds)
        self._train, self._items, self._root = train, items, root
        self._options = {} if batch_size is None else {"bs": batch_size}
        rows = list(map(str, items.itertuples(index=False, name=None) if hasattr(items, "iloc") else items))
        self.parts = {"all": _dealt({at: (row, "") for at, row in enumerate(rows)}, folds)}
        self.identity = {"list of items": hashlib.sha256("\0".join(rows).encode()).hexdigest()}
        self._first: tuple[Learner, Mapping[str, FastaiDataset]] | None = None
        with writing(out):  # refuses a folder that another scan is written to, before anything is trained
            if not resume:
                (out / "checkpoint" / _NOTED).unlink(missing_ok=True)
            noted = self._noted(out / "checkpoint" / _NOTED)
        if noted is None:
            learn, data, targets = self._trained(0)
            self._first, noted = (learn, data.datasets), _info(data, targets, ("all",))
        self.info = noted

    def trained(self, fold: int) -> tuple[Learner, Mapping[str, FastaiDataset]]:
        if fold == 0 and self._first is not None:
            first, self._first = self._first, None
            return first
        learn, data, _ = self._trained(fold, self.info.root)
        return _checked(learn, self.info), data.datasets

    def note(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        info = {**asdict(self.info), "root": str(self.info.root)}
        write_whole(folder / _NOTED, json.dumps({"info": info, **self.identity}))

    def _noted(self, file: Path) -> DatasetInfo | None:
        """Return the dataset of an unfinished scan of these items; None if there is none."""
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
            info = noted["info"]
            lists = {name: tuple(info.pop(name)) for name in ("vocab", "splits")}
            found = DatasetInfo(**{**info, **lists, "root": Path(info["root"])})
            of_others = noted["list of items"] != self.identity["list of items"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CleanerError(f"{str(file)!r} cannot be read ({error}); start over with resume=False") from error
        if of_others or (self._root is not None and Path(self._root).absolute() != found.root):
            what = "another list of items" if of_others else f"the root {str(found.root)!r}"
            raise CleanerError(
                f"{str(file.parent.parent)!r} holds an unfinished scan with {what}: start over with resume=False, or "
                "give another folder"
            )
        return found

    def _trained(self, fold: int, root: Path | None = None) -> tuple[Learner, FastaiData, Targets]:
        """Train without a fold; return the learner, and all items as it reads them."""
        from cleaner.scoring.data.fastai_data import from_items
        from cleaner.scoring.model.targets import targets_of

        held = set(self.parts["all"][fold])
        others = [position for position in range(len(self._items)) if position not in held]
        is_table = hasattr(self._items, "iloc")
        learn = _checked(self._train(self._items.iloc[others] if is_table else [self._items[at] for at in others]))
        targets = targets_of(learn)
        _check_task(targets.task)
        data = from_items(learn, targets, self._items, root or self._root, self._options)
        dataset = data.datasets["all"]
        held_files = {dataset.file(key) for key in held}
        for own in from_items(learn, targets, learn.dls.train_ds.items, root or self._root, {}).datasets.values():
            if leaked := next((own.file(key) for key in own.keys() if own.file(key) in held_files), None):  # noqa: SIM118
                raise CleanerError(
                    f"train returned a learner that was trained on {leaked!r}, a file of the fold that it is to score; "
                    "make its data of the items alone that train is given, and list each file once"
                )
        return learn, data, targets


def _info(data: FastaiData, targets: Targets, splits: tuple[str, ...]) -> DatasetInfo:
    return DatasetInfo(data.root, targets.vocab, splits, task=targets.task, label_delim=targets.label_delim)


def _check_count(count: int, folds: int) -> None:
    if count < folds:
        raise CleanerError(f"there are {count} images for {folds} folds; pass fewer folds")


def _check_task(task: str) -> None:
    if task == OTHER:
        raise CleanerError(f"the task is {task!r}, and folds are for images with labels; use cleaner.scan")


def _untrained(dls: DataLoaders) -> Learner:
    """Return a learner that stands for those that are still to be trained: its data has labels."""
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from torch import nn

    from cleaner.scoring.model.targets import targets_of

    learn = Learner(dls, nn.Identity(), loss_func=CrossEntropyLossFlat())
    _check_task(targets_of(learn).task)
    return learn


def _checked(learn: Any, info: DatasetInfo | None = None) -> Learner:
    """Return what `train` returned, if it is a learner, with the vocabulary of the dataset if that is known."""
    from fastai.learner import Learner

    from cleaner.scoring.model.targets import targets_of

    if not isinstance(learn, Learner):
        raise CleanerError(f"train returned a {type(learn).__name__}; return the learner that it trained")
    if info is not None and (vocab := targets_of(learn).vocab) != info.vocab:
        raise CleanerError(
            f"train returned a learner with the labels {list(vocab)}, and the dataset has {list(info.vocab)}; make all "
            "learners with the same vocabulary"
        )
    return learn


def _parts(datasets: Mapping[str, FastaiDataset], folds: int) -> dict[str, list[list[int]]]:
    """Return the positions of the samples of each fold, for each split."""
    found = dict[str, list[list[int]]]()
    samples = {
        (split, key): (dataset.name(key), f"{split} {dataset.label(key)}")
        for split, dataset in datasets.items()
        for key in dataset.keys()  # noqa: SIM118 - no mapping
    }
    dealt = _dealt(samples, folds)
    for split in datasets:
        found[split] = [sorted(key for name, key in part if name == split) for part in dealt]
    return found


def _dealt(samples: Mapping[Any, tuple[str, str]], folds: int) -> list[list[Any]]:
    """Deal samples out at random, those of each group evenly; a file that is listed twice goes to one fold.

    Args:
        samples: for each key the file and the group.
        folds: number of parts.
    """
    keys_of = defaultdict[str, list[Any]](list)
    files_of = defaultdict[str, list[str]](list)
    for key, (file, group) in samples.items():
        if file not in keys_of:
            files_of[group].append(file)
        keys_of[file].append(key)
    parts: list[list[Any]] = [[] for _ in range(folds)]
    random, dealt = np.random.default_rng(0), 0
    for files in files_of.values():
        for at in random.permutation(len(files)).tolist():
            parts[dealt % folds].extend(keys_of[files[at]])
            dealt += 1
    return [sorted(part) for part in parts]


def _resumed(checkpoint: Checkpoint, empty: Sequence[SplitProgress], resume: bool) -> ScanProgress:
    if not resume:
        checkpoint.restart()
    found = checkpoint.load() or ScanProgress()
    for split in empty:
        found.begin(split)
    return found


def _folds_done(found: ScanProgress, parts: Mapping[str, list[list[int]]]) -> int:
    """Return how many folds a checkpoint holds; it is saved after each of them."""
    seen, done = sum(split.seen for split in found.splits), 0
    while seen > 0:
        seen -= sum(len(own[done]) for own in parts.values())
        done += 1
    return done


def _without(dls: DataLoaders, items: Mapping[str, Any], held: Mapping[str, list[int]]) -> DataLoaders:
    """Return data loaders whose validation split are the items at these positions, and training split all others."""
    from fastai.data.core import DataLoaders, Datasets

    kept, left_out = list[Any](), list[Any]()
    for name, listed in items.items():
        chosen = set(held[name])
        for position in range(len(listed)):
            (left_out if position in chosen else kept).append(getattr(listed, "iloc", listed)[position])
    own = dls.train_ds
    parts = [
        Datasets(tls=[steps._new(listed, split_idx=number) for steps in own.tls], n_inp=own.n_inp)
        for number, listed in enumerate((kept, left_out))  # as fastai's `test_set` makes its datasets
    ]
    valid = dls.loaders[1] if len(dls.loaders) > 1 else dls.train.new(shuffle=False, drop_last=False)
    return DataLoaders(dls.train.new(parts[0]), valid.new(parts[1]), path=dls.path, device=dls.device)
