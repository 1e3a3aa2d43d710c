"""A plain torch model and map-style datasets as a source."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cleaner.core.errors import CleanerError
from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.scoring import precision
from cleaner.scoring.sources import Candidates, Spreadable, Wanted
from cleaner.scoring.sources.checks import check_number, checked_folder, root_of
from cleaner.scoring.sources.held import LIMIT, Held
from cleaner.scoring.sources.loading import Traced, again, every, lost_workers, nothing_scored, these, with_copies
from cleaner.scoring.sources.models import digest, modes_kept, name_of, per_sample, takes_reduction
from cleaner.scoring.sources.torch_dataset import (
    Paths,
    Samples,
    check_dataset,
    check_order,
    described,
    found_vocab,
    given_vocab,
    random_steps,
    transform_of,
)
from cleaner.scoring.sources.transfers import Transfers, and_held, scored_batch

__all__ = ["TorchSource"]

_HALVES = (torch.float16, torch.bfloat16)

_log = logging.getLogger("cleaner")


class TorchSource(Spreadable):
    """A model and the dataset of each split.

    Args:
        model: gives logits [n, n_classes] for images [n, ...].
        datasets: a map-style dataset of `(image, label)` for each split.
        loss_fn: see `cleaner.scan_model`.
        vocab: the labels, in the order of the model's outputs; None for those that the datasets list.
        paths: the files of each split; None for those that the datasets list.
        root: the dataset's folder; None for the one that the files suggest.
        batch_size: images scored at once.
        workers: processes that read images; None to choose.
        device: where to run a copy of the model; None to run the model where it is.

    Raises:
        CleanerError: an argument cannot be used.
    """

    def __init__(
        self,
        model: nn.Module,
        datasets: Mapping[str, Any],
        *,
        loss_fn: Callable[..., Any] | None = None,
        vocab: Any = None,
        paths: Mapping[str, Paths] | None = None,
        root: str | Path | None = None,
        batch_size: int = 64,
        workers: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        _check_model(model)
        check_number("workers", workers, at_least=0)
        check_number("batch_size", batch_size, at_least=1)
        files: Mapping[str, Paths | None] = {split: None if paths is None else paths[split] for split in datasets}
        for split, dataset in datasets.items():
            check_dataset(dataset, files[split])
        self.vocab = _vocab_of(datasets, vocab)
        self.splits = tuple(datasets)
        self._chosen = precision.Chosen()
        self.ways = self._chosen.names
        self._model, self._device = _placed(model, device)
        self._dtype = next((p.dtype for p in self._model.parameters() if p.is_floating_point()), None)
        self._loss = _Loss(loss_fn, self._device)
        self._workers = workers
        folder = None if root is None else checked_folder(Path(root))
        below = Path() if folder is None or paths is None else folder
        self._readers = {
            split: Samples(dataset, split, self.vocab, files[split], below, batch_size, self._device)
            for split, dataset in datasets.items()
        }
        self._held = {split: Held(LIMIT // len(datasets)) for split in datasets}
        self.root = folder or _root_of(self._readers)
        for reader in self._readers.values():
            reader.root = self.root
            _check_below(self.root, reader.folders)
        self.settings: dict[str, Any] = {
            "source": "torch",
            "loss": self._loss.name,
            "model": type(model).__name__,
            "transforms": {split: described(transform_of(dataset)) for split, dataset in datasets.items()},
            "batch_size": batch_size,
        }
        _warn_of_random_steps(datasets)

    @property
    def readers(self) -> Mapping[str, Samples]:
        """The reader of each split."""
        return self._readers

    def identity(self) -> dict[str, Any]:
        """What must be the same for a scan to go on."""
        return {
            "model": digest(self._model),
            "loss": self._loss.name,
            "vocabulary": list(self.vocab),
            "transform": self.settings["transforms"],
            "number of samples": {split: len(reader) for split, reader in self._readers.items()},
            "batch size": self.settings["batch_size"],
        }

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not."""
        return len(self._readers[split])

    def paths(self, split: str) -> Iterator[str]:
        """The paths of the split's samples, in the order in which they are scored."""
        reader = self._readers[split]
        return map(reader.name, reader.keys())

    def score(
        self,
        split: str,
        consume: Callable[[ScoredBatch | ScoredLabels], None],
        *,
        skip: int = 0,
        fast: bool = False,
        only: Wanted | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Score the samples of the split once, with the model in evaluation mode and without gradients; see `Source`.

        Raises:
            CleanerError: a label is not in the vocabulary, the model's output does not fit it, or images cannot be put
                into one batch.
        """
        reader, held = self._readers[split], self._held[split]
        batches = every(reader, skip, self._workers) if only is None else again(reader, only, held, self._workers)
        transfers = Transfers(and_held(consume, held, candidates))
        self._run(reader, batches if candidates is None else with_copies(batches), transfers, fast)

    def listing(self, split: str) -> Callable[[], Iterator[int]]:
        """What gives the keys of the split's samples, in order."""
        return self._readers[split].listing()

    def keys(self, split: str, only: Wanted | None = None) -> Iterator[int]:
        """The keys of the samples that `only` asks for, by default of all."""
        return self._readers[split].wanted(only)

    def settle_in(self, device: torch.device, workers: int) -> None:
        """Make ready to score on a device, with so many processes that read images."""
        self._workers, self._device = workers, device
        self._model.to(device)
        self._loss.to(device)
        for reader in self._readers.values():
            reader.to(device)

    def score_shard(
        self, split: str, keys: Sequence[int], consume: Callable[[ScoredBatch | ScoredLabels], None], *, fast: bool
    ) -> None:
        """Score the samples of some keys; see `Spreadable`."""
        reader = self._readers[split]
        self._run(reader, these(reader, keys, self._workers), Transfers(lambda batch, _traced: consume(batch)), fast)

    def _run(self, reader: Samples, batches: Iterable[Traced], transfers: Transfers, fast: bool) -> None:
        if fast:
            precision.load_compilers()  # while the workers read the first images
        with lost_workers(), modes_kept(self._model), torch.no_grad():
            self._model.eval()
            self._score(reader, batches, transfers, fast)

    def _score(self, reader: Samples, batches: Iterable[Traced], transfers: Transfers, fast: bool) -> None:
        way: precision.Model | None = None
        for traced in batches:
            if traced.error:
                raise traced.error
            if traced.batch is None:
                transfers.hand_on(nothing_scored(traced.unreadable), traced)
                continue
            inputs, targets = self._on_device(traced.batch)
            if way is None:
                way = self._way(reader, inputs, targets, fast)
            logits = self._logits(way(inputs), len(targets))
            losses = self._loss(logits, targets)
            confidences, predicted = torch.softmax(logits, dim=-1).max(dim=-1)
            transfers.send(traced, [targets, losses, predicted, confidences], scored_batch)
        transfers.settle()

    def _way(self, reader: Samples, inputs: Tensor, targets: Tensor, fast: bool) -> precision.Model:
        """The quickest way of running the model, tried on a batch."""
        if precision.has_hooks(self._model):
            return self._model

        def losses(output: Any) -> Tensor:
            # What is tried may be some of the samples only.
            some = targets[: len(output)] if isinstance(output, Tensor) and output.dim() else targets
            return self._loss(self._logits(output, len(some)), some)

        def spread() -> list[Tensor]:
            batch = reader.spread_batch()
            return [inputs if batch is None else self._on_device(batch)[0]]

        return self._chosen.way(self._model, [inputs], losses, spread, fast)

    def _on_device(self, batch: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs, in the model's own precision, and targets; out of pinned memory copied while a GPU goes on."""
        inputs, targets = (part.to(self._device, non_blocking=True) for part in batch)
        if self._dtype is not None and inputs.is_floating_point():
            inputs = inputs.to(self._dtype)
        return inputs, targets

    def _logits(self, output: Any, n: int) -> Tensor:
        """The model's output as logits [n, n_classes], in at least single precision."""
        if not isinstance(output, Tensor):
            raise CleanerError(
                f"the model returns a {type(output).__name__}; a tensor of logits, one for each class, is accepted: "
                "wrap the model in a torch.nn.Module that returns its logits"
            )
        if tuple(output.shape) != (n, len(self.vocab)):
            raise CleanerError(
                f"the model's output has shape {tuple(output.shape)} for {n} images, but the vocabulary has "
                f"{len(self.vocab)} labels; one output for each of them is accepted. Pass vocab=[...], the labels that "
                "the model was trained with, in the order of its outputs"
            )
        return output.float() if output.dtype in _HALVES else output


class _Loss:
    """A loss function as one loss per sample; neither it nor its reduction is changed for others.

    Args:
        loss_fn: the function; None for cross-entropy.
        device: where logits and targets are.

    Raises:
        CleanerError: it cannot be called.
    """

    def __init__(self, loss_fn: Callable[..., Any] | None, device: torch.device) -> None:
        function = functional.cross_entropy if loss_fn is None else loss_fn
        if not callable(function) or inspect.isclass(function):
            raise CleanerError(
                f"loss_fn is {function!r}; a function of logits and targets is accepted, such as "
                "torch.nn.CrossEntropyLoss() or torch.nn.functional.cross_entropy"
            )
        self.name = name_of(function)
        self._function = _unreduced(function, device)
        self._said = False

    def to(self, device: torch.device) -> None:
        """Move the weights that a loss may have."""
        self._function = _unreduced(self._function, device)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each of `n` samples, [n]."""
        loss = self._asked(logits, targets)
        if loss.numel() == 1 < len(targets) and not self._said:
            self._said = True
            _log.warning(
                "the loss %s gives one number for a batch, whatever the reduction: it is evaluated one sample at a "
                "time, which is slower; one that takes reduction='none' or gives a loss for each sample is quicker",
                self.name,
            )
        elif loss.numel() != 1 and (loss.dim() == 0 or len(loss) != len(targets)):
            raise CleanerError(
                f"the loss {self.name} has shape {tuple(loss.shape)} for {len(targets)} samples; "
                "one number for each of them, or one for all, is accepted"
            )
        return per_sample(loss, len(targets), lambda i: self._asked(logits[i : i + 1], targets[i : i + 1]))

    def _asked(self, logits: Tensor, targets: Tensor) -> Tensor:
        try:
            loss = self._function(logits, targets)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise CleanerError(
                f"the loss {self.name} cannot be computed of logits {tuple(logits.shape)} and class indices "
                f"{tuple(targets.shape)} ({type(error).__name__}: {error}); pass a loss_fn(logits, target) that can"
            ) from error
        if not isinstance(loss, Tensor):
            raise CleanerError(f"the loss {self.name} gives a {type(loss).__name__}; a tensor is accepted")
        return loss.detach()


def _unreduced(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function with the reduction `none`, if it can be told that."""
    if isinstance(function, nn.Module) or hasattr(function, "reduction"):
        function = copy.deepcopy(function)
    if isinstance(function, nn.Module):
        function.to(device)
    if hasattr(function, "reduction"):
        function.reduction = "none"
        return function
    try:
        return partial(function, reduction="none") if takes_reduction(function) else function
    except ValueError:  # a function written in C has no signature
        return function


def _check_model(model: Any) -> None:
    if isinstance(model, nn.Module):
        return
    hint = "pass an nn.Module with its weights loaded"
    if hasattr(model, "dls"):
        hint = "a fastai Learner is scanned with cleaner.scan(learn, out)"
    elif isinstance(model, type) and issubclass(model, nn.Module):
        hint = "pass an instance, and not the class"
    raise CleanerError(f"the model is a {type(model).__name__}; a torch.nn.Module is accepted: {hint}")


def _placed(model: nn.Module, device: str | torch.device | None) -> tuple[nn.Module, torch.device]:
    """The model where it is, or a copy of it on another device, so that the caller's stays where it is."""
    first = next(chain(model.parameters(), model.buffers()), None)
    own = torch.device("cpu") if first is None else first.device
    if device is None:
        return model, own
    try:
        wanted = torch.empty(0, device=device).device
        return (model if wanted == own else copy.deepcopy(model).to(wanted)), wanted
    except (RuntimeError, AssertionError, TypeError) as error:
        raise CleanerError(
            f"the model cannot be copied to the device {device!r} ({type(error).__name__}: {error}); give another "
            "device, or put the model on it yourself and pass no device"
        ) from error


def _vocab_of(datasets: Mapping[str, Any], vocab: Any) -> tuple[str, ...]:
    if vocab is not None:
        labels = given_vocab(vocab)
        for dataset in datasets.values():
            check_order(dataset, labels)
        return labels
    found = {split: found_vocab(dataset) for split, dataset in datasets.items()}
    if len(set(found.values())) > 1:
        raise CleanerError(
            f"the splits have different labels: {', '.join(f'{s!r} has {list(v)[:20]}' for s, v in found.items())}; "
            "one vocabulary for all, that of the model, is accepted: give every class a folder in every split"
        )
    return next(iter(found.values()))


def _root_of(readers: Mapping[str, Samples]) -> Path:
    return root_of(None, [str(root_of(reader.own_root(), reader.folders)) for reader in readers.values()])


def _check_below(root: Path, folders: Iterable[str]) -> None:
    for folder in folders:
        if not Path(folder).is_relative_to(root):
            raise CleanerError(
                f"there are images in {folder!r}, which is not inside the dataset's folder {str(root)!r}; "
                "give a root=... that holds all of them"
            )


def _warn_of_random_steps(datasets: Mapping[str, Any]) -> None:
    for split, dataset in datasets.items():
        if names := random_steps(dataset):
            _log.warning(
                "the transform of %r has random steps (%s): the losses are those of randomly changed images and differ "
                "each time; give the dataset the transform of validation",
                split,
                ", ".join(names),
            )
