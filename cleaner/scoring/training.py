"""Losses that are collected while a model is trained: a label that it memorises in the end had a high one before."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cleaner.core.arguments import as_path
from cleaner.core.errors import CleanerError
from cleaner.core.files import write_whole
from cleaner.core.records import ALTERNATIVES, now
from cleaner.core.scan import Scan, load
from cleaner.core.tasks import MULTI_LABEL, split_labels
from cleaner.core.training_statistics import LossStatistics, SampleStatistics
from cleaner.scoring.engine import AUTO, DatasetInfo, ScanOptions, collect, finish, given_labels, held_folder, on_host
from cleaner.scoring.processes import from_all, on_first, rank_and_count
from cleaner.scoring.progress import TRAINING, ScanProgress

if TYPE_CHECKING:
    from torch import Tensor

    from cleaner.core.records import Unreadable
    from cleaner.scoring.data.reader import Dataset
    from cleaner.scoring.model.scorer import Arrays, Scored

    Record = Callable[[Sequence[str], Sequence[Unreadable], Arrays], Scored]

__all__ = ["RANKINGS", "LossRecorder", "TrainingRecord"]

RANKINGS: dict[str, Callable[[SampleStatistics], npt.NDArray[np.float64]]] = {
    "training error": lambda seen: seen.errors,
    "mean training loss": lambda seen: seen.losses,
    "margin": lambda seen: -seen.margins,
}
"""Scores by which samples are ranked, higher is worse, see `SampleStatistics`; the margin, with its sign turned, is the
area under the margin of Pleiss et al. 2020 (Identifying Mislabeled Data using the Area Under the Margin Ranking)."""

_FORMAT = 1
_BLOCK = 4096

_log = logging.getLogger("cleaner")


class TrainingRecord:
    """The losses of a training, in `checkpoint/training/` of a scan folder, which later trainings go on with.

    Args:
        out: the scan folder.
        info: the dataset.
        datasets: the samples of each split; keys are their positions.
        ranked_by: a key of `RANKINGS`.
        k: number of samples to keep per split and label; see `cleaner.scan`.
        reset: start over instead of going on.
        record: returns the record of a batch from its labels, losses and predictions, as `Targets.record`.

    Raises:
        CleanerError: an argument is invalid, or the folder holds the losses of another dataset.
    """

    def __init__(
        self,
        out: Path,
        info: DatasetInfo,
        datasets: Mapping[str, Dataset],
        ranked_by: str,
        k: int | str,
        reset: bool,
        record: Record,
    ) -> None:
        if ranked_by not in RANKINGS:
            raise CleanerError(f"ranked_by is {ranked_by!r}; pass one of {', '.join(map(repr, RANKINGS))}")
        self._rank, self._processes = rank_and_count()
        self._options = ScanOptions(k=k, progress=False, ranked_by=ranked_by)
        self._out, self._info, self._datasets, self._record = out, info, datasets, record
        self._per_label = info.task == MULTI_LABEL
        self._folder = out / "checkpoint" / TRAINING
        listed = {name: listed_labels(dataset, info) for name, dataset in datasets.items()}
        self._labels = {name: labels for name, (labels, _) in listed.items()}
        self._identity = {"vocab": list(info.vocab), "files": {name: digest for name, (_, digest) in listed.items()}}
        self._splits: dict[str, LossStatistics] = {}
        on_first(partial(self._open, reset))
        if self._rank:
            self._open_splits(*self._noted(reset=False))
        self._pending: dict[str, Callable[[], Any]] = {}
        self._begun = set[str]()  # splits of which this epoch had a batch
        self._is_checked = self._per_label  # whether the outputs of a batch were looked at
        dropped = [name for name, split in self._splits.items() if split.dropped]
        if dropped and self._rank == 0:
            finished = ", ".join(f"{split.epochs} of {name!r}" for name, split in self._splits.items())
            _log.warning(
                "an earlier training ended within an epoch, whose losses of %s are dropped. Those of its finished "
                "epochs are kept (%s), and this training adds to them; reset=True starts over. The predictions of "
                "samples that it saw are those of the unfinished epoch",
                " and ".join(map(repr, dropped)),
                finished,
            )

    def _open(self, reset: bool) -> None:
        """Open the files of the training, in a folder that does not hold the scan of another dataset."""
        with held_folder(self._out, self._info, self._options):
            self._open_splits(*self._noted(reset))

    def _open_splits(self, epochs: Mapping[str, int], started: str) -> None:
        self._started = started
        for name, dataset in self._datasets.items():
            options = epochs.get(name, 0), self._per_label, self._rank
            self._splits[name] = LossStatistics(self._folder / name, dataset.count, len(self._info.vocab), *options)

    def update(self, split: str, samples: npt.NDArray[np.int64], logits: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            split: name of the split.
            samples: int64 [n], positions of the samples in the dataset.
            logits: [n, n_classes], in any precision, on any device.
            targets: int [n], the given labels as indices into the vocabulary; with several labels per image one-hot
                [n, n_classes].
        """
        import torch

        self._check_processes()
        with torch.no_grad():
            # As plain tensors: each operation on one of fastai's own takes 50 microseconds more.
            plain = logits.detach().as_subclass(torch.Tensor).float(), targets.detach().as_subclass(torch.Tensor)
            results = (_of_labels if self._per_label else _of_samples)(*plain)
        if not self._is_checked:
            from cleaner.scoring.model.losses import warn_if_probabilities

            warn_if_probabilities(plain[0], "cross_entropy")
            self._is_checked = True
        if self._per_label:
            n_classes = logits.shape[1]
            rows = (samples[:, None] * n_classes + np.arange(n_classes)).reshape(-1)
            arrived = lambda arrays: self._splits[split].update(rows, *arrays)  # noqa: E731
        else:
            results.append(plain[1])
            arrived = partial(self._arrived, split, samples)
        self._begun.add(split)
        # On a GPU the copy runs beside the next batch, and is waited for after it.
        waiting = self._pending.get(split, lambda: None)
        self._pending[split] = on_host(results, arrived)
        waiting()

    def _arrived(self, split: str, samples: npt.NDArray[np.int64], arrays: Arrays) -> None:
        """Check that samples with one label each carry the labels that the dataset lists, and add them."""
        *columns, given = arrays
        known, given = self._labels[split][samples], given.astype(np.int64)
        if differing := np.flatnonzero((known >= 0) & (known != given)).tolist():
            at = differing[0]
            raise CleanerError(
                f"sample {samples[at]} of {split!r} was trained on as {self._info.vocab[given[at]]!r}, and the dataset "
                f"lists {self._info.vocab[known[at]]!r}. A callback, batch transform or loader changes the order of "
                "samples or their labels, so losses would be those of others; train without it, or without this"
            )
        self._labels[split][samples] = given
        self._splits[split].update(samples, *columns)

    def end_epoch(self) -> None:
        """Count the batches since the last call as an epoch of the splits that they were of."""
        self._check_processes()
        self._arrive()
        for split in self._splits.values() if self._processes > 1 else ():
            split.flush()
        begun = set[str]().union(*from_all(self._begun))
        self._begun.clear()
        counted = [self._splits[name] for name in sorted(begun)]
        on_first(partial(self._merge, counted))
        for split in counted:
            if self._rank:
                split.end_epoch()
            split.settle()

    def _check_processes(self) -> None:
        """Check that the processes are those with which this began."""
        found = rank_and_count()
        if found != (self._rank, self._processes):
            raise CleanerError(
                f"this is process {found[0]} of {found[1]}, and it was {self._rank} of {self._processes} when the "
                "recorder was made; make it after torch.distributed.init_process_group"
            )

    def _merge(self, counted: Sequence[LossStatistics]) -> None:
        """Write the means of an epoch, with what other processes saw."""
        for split in counted:
            split.merge_epochs(self._processes)
            split.end_epoch()
        if counted:
            self._note()

    def finish(self) -> Scan:
        """Write the scan of all finished epochs; of several processes the first one does it.

        Raises:
            CleanerError: no epoch was finished.
        """
        self._check_processes()
        self._pending.clear()
        if not self.epochs:
            raise CleanerError("no epoch was finished, so there are no losses yet; call end_epoch() after each epoch")
        return on_first(self._finish) or load(self._out)

    def _finish(self) -> Scan:
        progress = ScanProgress(started=self._started)
        not_seen = dict[str, int]()
        with held_folder(self._out, self._info, self._options) as files:
            for name, dataset in self._datasets.items():
                split = progress.begin(self._options.empty_split(name, self._info, self._out, dataset.count))
                collect(self._scored(name), split, dataset.count, shown=False)
                not_seen[name] = dataset.count - split.scored
            if not any(split.scored for split in progress.splits):
                raise CleanerError("the training saw no sample that counts, so there are no losses yet; train longer")
            epochs = {name: split.epochs for name, split in self._splits.items()}
            settings = {"source": "training", "ways": {}, "epochs": epochs, "not_seen": not_seen}
            labels_of = partial(given_labels, self._datasets, self._info)
            return finish(self._info, progress, files, self._options, settings, labels_of)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return max(split.epochs for split in self._splits.values())

    def _scored(self, name: str) -> Iterator[Scored]:
        """Yield what the training has seen of a split, a block of samples at a time."""
        dataset, n_classes = self._datasets[name], len(self._info.vocab)
        rows = n_classes if self._per_label else 1
        for begin in range(0, dataset.count, _BLOCK):
            seen = self._splits[name].of(slice(begin * rows, (begin + _BLOCK) * rows))
            losses, epochs = RANKINGS[self._options.ranked_by](seen).reshape(-1, rows), seen.epochs.reshape(-1, rows)
            at = np.flatnonzero(epochs[:, 0])
            keys = [begin + int(position) for position in at]
            if self._per_label:
                given = np.array([self._one_hot(dataset.label(key)) for key in keys]).reshape(len(keys), rows)
                found = [given, losses[at], seen.probabilities.reshape(-1, rows)[at]]
            else:
                given = np.array([self._label(name, key) for key in keys], np.int64)
                found = [given, losses[at, 0], seen.labels[at], seen.probabilities[at]]
            yield self._record([dataset.name(key) for key in keys], [], found)

    def _label(self, name: str, key: int) -> int:
        """Return the index of a sample's label; one that no dataset lists and this process has not seen is read."""
        known = int(self._labels[name][key])
        return known if known >= 0 else self._info.vocab.index(self._datasets[name].label(key))

    def _one_hot(self, label: str) -> list[bool]:
        given = split_labels(label, self._info.label_delim)
        return [each in given for each in self._info.vocab]

    def _arrive(self) -> None:
        for waiting in self._pending.values():
            waiting()
        self._pending.clear()

    def _noted(self, reset: bool) -> tuple[dict[str, int], str]:
        """Return the number of finished epochs of each split, and when the first one was begun."""
        path = self._folder / "training.json"
        if reset:
            path.unlink(missing_ok=True)
        if not path.exists():
            return {}, now()
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            identity, epochs, started = noted["identity"], dict(noted["epochs"]), str(noted["started"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CleanerError(f"{str(path)!r} cannot be read ({error}); start over with reset=True") from error
        if noted.get("format") != _FORMAT or identity != self._identity:
            raise CleanerError(
                f"{str(self._out)!r} holds the losses of a training on other files or labels; start over with "
                "reset=True, or give another folder"
            )
        return epochs, started

    def _note(self) -> None:
        epochs = {name: split.epochs for name, split in self._splits.items()}
        noted = {"format": _FORMAT, "identity": self._identity, "epochs": epochs, "started": self._started}
        write_whole(self._folder / "training.json", json.dumps(noted))


def _of_samples(logits: Tensor, targets: Tensor) -> list[Tensor]:
    """Return losses, margins, most probable labels and their probabilities of samples with one label each."""
    import torch

    given = targets.long()[:, None]
    best = logits.topk(min(ALTERNATIVES, logits.shape[1]))
    # Relative to the highest logit, as in log_softmax: sums of large numbers would lose the digits of small losses.
    total = (logits - best.values[:, :1]).exp().sum(dim=1).log()[:, None]
    of_given, of_best = logits.gather(1, given), best.values
    losses = total - (of_given - of_best[:, :1])
    others = torch.where(best.indices[:, :1] == given, of_best[:, 1:2], of_best[:, :1])
    probabilities = (of_best - of_best[:, :1] - total).exp()
    return [losses[:, 0], (of_given - others)[:, 0], best.indices, probabilities]


def _of_labels(logits: Tensor, targets: Tensor) -> list[Tensor]:
    """Return losses, margins and probabilities of each label, label by label of the first sample, and so on."""
    import torch
    from torch.nn import functional

    given = targets.float()
    losses = functional.binary_cross_entropy_with_logits(logits, given, reduction="none").reshape(-1)
    margins = torch.where(given > 0.5, logits, -logits).reshape(-1)
    return [losses, margins, torch.empty(len(losses), 0), logits.sigmoid().reshape(-1, 1)]


def listed_labels(dataset: Dataset, info: DatasetInfo) -> tuple[npt.NDArray[np.int32], str]:
    """Return the labels of samples that have one each and list it, else -1, and a digest of files and labels."""
    digest, index = hashlib.sha256(), {label: number for number, label in enumerate(info.vocab)}
    labels = np.full(dataset.count, -1, np.int32)
    for number, key in enumerate(dataset.keys()):
        label = dataset.listed_label(key)
        digest.update(f"{dataset.name(key)}\0{label}\0".encode())
        labels[number] = -1 if info.task == MULTI_LABEL else index.get(label, -1)
    return labels, digest.hexdigest()


class LossRecorder:
    """A collector of losses for any training loop, which makes a scan of them.

    Call `update` once a batch, also of the validation split if there is one, `end_epoch` after each epoch, and `finish`
    at the end. Losses of later trainings with the same folder are added to the earlier ones. In a training by several
    processes (`torch.distributed`), each has a recorder with the same folder, and calls all methods.

    Args:
        dataset: a map-style dataset of `(image, label)` for the files and labels of samples, or a mapping from the
            names of splits to datasets; the transform does not matter.
        vocab: the labels, in the order of the model's outputs; by default the dataset's `classes`.
        out: the scan folder.
        split: name of the split of a single dataset.
        paths, root: as in `cleaner.scan_model`.
        ranked_by: `training error`, the share of the training in which another label won, 0..1; `mean training loss`;
            or `margin`, the mean over the epochs of the highest other logit less that of the given label.
        k: number of samples to keep per split and label; see `cleaner.scan`.
        reset: start over instead of adding to the losses in the folder.

    Raises:
        CleanerError: an argument or the dataset cannot be used.

    Examples:
        >>> import torch
        >>> recorder = cleaner.LossRecorder(dataset, out="trained")
        >>> for epoch in range(2):
        ...     for indices in torch.arange(len(dataset)).split(4):
        ...         images, targets = zip(*(dataset[int(index)] for index in indices))
        ...         logits = model(torch.stack(images))  # and a step of the optimizer
        ...         recorder.update(indices, logits.detach(), torch.tensor(targets))
        ...     recorder.end_epoch()
        >>> recorder.finish().ranked_by
        'training error'
    """

    def __init__(
        self,
        dataset: Any,
        vocab: Any = None,
        *,
        out: str | Path,
        split: str = "train",
        paths: Any = None,
        root: str | Path | None = None,
        ranked_by: str = "training error",
        k: int | str = AUTO,
        reset: bool = False,
    ) -> None:
        from cleaner.scoring.model.scorer import scored_batch
        from cleaner.scoring.model.torch_model import torch_data

        datasets = dict(dataset) if isinstance(dataset, Mapping) else {split: dataset}
        by_split = paths if isinstance(dataset, Mapping) or paths is None else {split: paths}
        info, samples = torch_data(datasets, vocab=vocab, paths=by_split, root=root, batch_size=1)
        folder = as_path("out", out, "the path of a scan folder")
        self._record = TrainingRecord(folder, info, samples, ranked_by, k, reset, scored_batch)
        self._counts = {name: dataset.count for name, dataset in samples.items()}
        self._n_classes = len(info.vocab)

    def update(self, indices: Any, logits: Tensor, targets: Tensor, split: str | None = None) -> None:
        """Add a batch.

        Args:
            indices: int [n], positions of the samples in the dataset.
            logits: [n, n_classes], outputs of the model, in any precision and on any device.
            targets: int [n], the given labels, indices into the vocabulary.
            split: name of the split, by default the first one.

        Raises:
            CleanerError: the shapes do not fit, or an index is not that of a sample or label.
        """
        name = next(iter(self._counts)) if split is None else split
        if name not in self._counts:
            raise CleanerError(f"there is no split {name!r}; the recorder has {list(self._counts)}")
        samples = np.asarray(indices.cpu() if hasattr(indices, "cpu") else indices)
        shapes = [tuple(samples.shape), tuple(logits.shape), tuple(targets.shape)]
        n = samples.shape[0] if samples.ndim else 0
        if shapes != [(n,), (n, self._n_classes), (n,)]:
            raise CleanerError(
                f"indices, logits and targets have the shapes {shapes}; expected [n], [n, {self._n_classes}] and [n]"
            )
        if not np.issubdtype(samples.dtype, np.integer):
            raise CleanerError(f"indices are {samples.dtype}; pass whole numbers, the positions in the dataset")
        if n and not 0 <= samples.min() <= samples.max() < self._counts[name]:
            raise CleanerError(
                f"the indices are {samples.min()} to {samples.max()}; expected numbers from 0 to "
                f"{self._counts[name] - 1}, the positions in the dataset"
            )
        if n and not 0 <= int(targets.min()) <= int(targets.max()) < self._n_classes:
            raise CleanerError(
                f"the targets are {int(targets.min())} to {int(targets.max())}; expected indices from 0 to "
                f"{self._n_classes - 1}"
            )
        self._record.update(name, samples.astype(np.int64), logits, targets)

    def end_epoch(self) -> None:
        """Count the batches since the last call as an epoch."""
        self._record.end_epoch()

    def finish(self) -> Scan:
        """Write the scan folder.

        Returns:
            the scan.

        Raises:
            CleanerError: no epoch was finished.
        """
        return self._record.finish()
