"""Out-of-fold losses: each sample is scored by a model that was trained without it."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
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

__all__ = ["scan_folds"]


def scan_folds(
    train: Callable[[DataLoaders], Learner],
    dls: DataLoaders,
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
        train: returns a trained learner for data loaders.
        dls: fastai's data loaders of the whole dataset. Its training and validation items are divided alike, and stay
            the splits `train` and `valid`.
        out, k, root, workers, batch_size: as in `cleaner.scan`.
        folds: number of parts, at least 2; each label is spread over all of them.
        resume: continue with the folds that are left; False to start over.
        progress: show a progress bar.

    Raises:
        CleanerError: an argument or the dataset cannot be used, or `train` returns something else.
    """
    from cleaner.scoring.data.fastai_data import from_learner
    from cleaner.scoring.model.targets import targets_of

    for name, value, least in (("folds", folds, 2), ("workers", workers, 0), ("batch_size", batch_size, 1)):
        check_number(name, value, least)
    options = ScanOptions(k=k, resume=resume, progress=progress, ranked_by="out-of-fold loss")
    untrained = _untrained(train, dls)
    targets = targets_of(untrained)
    items = {n: loader.dataset.items for n, loader in zip(("train", "valid"), dls.loaders, strict=False) if loader.n}
    data = from_learner(untrained, targets, tuple(items), root, batch_size)
    info = DatasetInfo(data.root, targets.vocab, tuple(items), task=targets.task, label_delim=targets.label_delim)
    counts = [dataset.count for dataset in data.datasets.values()]
    if sum(counts) < folds:
        raise CleanerError(f"there are {sum(counts)} images for {folds} folds; pass fewer folds")
    parts = {name: _parts(dataset, folds) for name, dataset in data.datasets.items()}
    digests = {name: listed_labels(dataset, info)[1] for name, dataset in data.datasets.items()}
    empty = {name: options.empty_split(name, info, Path(out), max(counts)) for name in items}
    kept = next(iter(empty.values())).kept
    heap_size, key = kept.highest.k, kept.key
    identity = {
        "folds": folds,
        "k": heap_size,
        "number of applies": key,
        "list of files and labels": digests,
        "vocabulary": info.vocab,
    }
    with held_folder(Path(out), info, options) as files:
        checkpoint = Checkpoint(files.folder, identity, info, heap_size, key)
        found = _resumed(checkpoint, empty, resume)
        done = _folds_done(found, parts)
        with progress_bar("folds", folds, done, progress, unit="fold") as bar:
            for fold in range(done, folds):
                held = {name: own[fold] for name, own in parts.items()}
                others = _without(dls, items, held)
                _score_fold(_checked(train(others), others, info), items, held, found, data, workers)
                checkpoint.save(found)
                gc.collect()  # learners are reference cycles, and hold a model on the GPU
                bar.update()
        settings = {"source": "fastai", "transforms": "validation", "folds": folds, "ways": {}}
        scan = finish(info, found, files, options, settings, partial(given_labels, data.datasets, info))
        checkpoint.remove()
    return scan


def _untrained(train: Any, dls: Any) -> Learner:
    """Return a learner that stands for those that are still to be trained: its data has labels."""
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from torch import nn

    from cleaner.scoring.model.targets import targets_of

    if not callable(train):
        raise CleanerError(f"train is a {type(train).__name__}; pass a function that returns a trained learner")
    if not getattr(dls, "loaders", None):
        raise CleanerError(f"dls is a {type(dls).__name__}; pass fastai's data loaders, such as learn.dls")
    learn = Learner(dls, nn.Identity(), loss_func=CrossEntropyLossFlat())
    if (task := targets_of(learn).task) == OTHER:
        raise CleanerError(f"the task is {task!r}, and folds are for images with labels; use cleaner.scan")
    return learn


def _parts(dataset: FastaiDataset, folds: int) -> list[list[int]]:
    """Return the positions of the samples of each fold; the samples of each label are dealt out at random."""
    by_label = defaultdict[str, list[int]](list)
    for key in dataset.keys():  # noqa: SIM118 - no mapping
        by_label[dataset.label(key)].append(key)
    parts: list[list[int]] = [[] for _ in range(folds)]
    random, dealt = np.random.default_rng(0), 0
    for keys in by_label.values():
        for key in random.permutation(keys).tolist():
            parts[dealt % folds].append(key)
            dealt += 1
    return [sorted(part) for part in parts]


def _resumed(checkpoint: Checkpoint, empty: Mapping[str, SplitProgress], resume: bool) -> ScanProgress:
    if not resume:
        checkpoint.restart()
    found = checkpoint.load() or ScanProgress()
    for split in empty.values():
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


def _checked(learn: Any, dls: DataLoaders, info: DatasetInfo) -> Learner:
    """Return a trained learner, if it is one that was trained on the data that it was given."""
    from fastai.learner import Learner

    from cleaner.scoring.model.targets import targets_of

    if not isinstance(learn, Learner):
        raise CleanerError(f"train returned a {type(learn).__name__}; return the learner that it trained")
    if learn.dls is not dls or targets_of(learn).vocab != info.vocab:
        raise CleanerError(
            "train returned a learner with other data; make it with the data loaders that train is given"
        )
    return learn


def _score_fold(
    learn: Any,
    items: Mapping[str, Any],
    held: Mapping[str, list[int]],
    found: ScanProgress,
    data: FastaiData,
    workers: int | None,
) -> None:
    """Score the items at these positions with a learner that was not trained on them."""
    from cleaner.scoring.data.fastai_data import LearnerItems
    from cleaner.scoring.model.fastai_model import FastaiScorer
    from cleaner.scoring.model.targets import targets_of

    targets = targets_of(learn)
    scorer = FastaiScorer(learn, targets)
    for split in found.splits:
        options = {"bs": data.datasets[split.split].batch_size}
        dataset = LearnerItems(learn, split.split, targets, items[split.split], options)
        dataset.root = data.root
        score(dataset, scorer, held[split.split], split.update, workers=workers)
