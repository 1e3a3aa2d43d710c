"""Plain torch models: a scorer, and the scan of a model with map-style datasets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cleaner.core.errors import CleanerError
from cleaner.scoring.data.checks import check_folder, check_number, common_root
from cleaner.scoring.data.reader import Dataset, PathBatch
from cleaner.scoring.data.torch_data import Paths, TorchDataset, check_dataset, common_vocab
from cleaner.scoring.engine import DatasetInfo, ScanJob
from cleaner.scoring.model.devices import copied_to, find_device, is_out_of_memory, kept_autocast
from cleaner.scoring.model.losses import loss_name, per_sample, unreduced, warn_if_probabilities, warn_if_reduced
from cleaner.scoring.model.scorer import Scorer, Started, kept_modes, most_probable, scored_batch, weights_digest
from cleaner.scoring.model.views import check_views, mean, shifted

__all__ = ["TorchScorer", "torch_data", "torch_job"]


def torch_job(
    model: nn.Module,
    datasets: Mapping[str, Any],
    *,
    loss_fn: Callable[..., Any] | None,
    vocab: Any,
    paths: Mapping[str, Paths] | None,
    root: str | Path | None,
    batch_size: int,
    workers: int | None,
    device: str | torch.device | None,
    views: int,
) -> ScanJob:
    """Return the scan of a torch model; arguments as in `cleaner.scan_model`, with datasets and paths by split."""
    check_number("workers", workers, 0)
    info, samples = torch_data(datasets, vocab=vocab, paths=paths, root=root, batch_size=batch_size)
    check_views(views)
    scorer = TorchScorer(model, info.vocab, loss_fn, device, views)
    transforms = {split: dataset.transform for split, dataset in samples.items()}
    settings = {"source": "torch", "transforms": transforms, "batch_size": batch_size}
    return ScanJob(info, samples, scorer, workers, settings, {"transform": transforms})


def torch_data(
    datasets: Mapping[str, Any],
    *,
    vocab: Any,
    paths: Mapping[str, Paths] | None,
    root: str | Path | None,
    batch_size: int,
) -> tuple[DatasetInfo, dict[str, TorchDataset]]:
    """Return the description and the samples of map-style datasets; arguments as in `torch_job`."""
    check_number("batch_size", batch_size, 1)
    files: Mapping[str, Paths | None] = paths or dict.fromkeys(datasets)
    for split, dataset in datasets.items():
        check_dataset(dataset, files[split])
    labels = common_vocab(datasets, vocab)
    folder = None if root is None else check_folder(Path(root))
    below = Path() if folder is None or paths is None else folder
    samples = {s: TorchDataset(dataset, s, labels, files[s], below, batch_size) for s, dataset in datasets.items()}
    root = folder or common_root(None, [str(dataset.own_root()) for dataset in samples.values()])
    for dataset in samples.values():
        dataset.root = root
        if outside := [name for name in dataset.folders if not Path(name).is_relative_to(root)]:
            raise CleanerError(
                f"{outside[0]!r} is outside of the dataset's folder {str(root)!r}; pass a root=... above both"
            )
    return DatasetInfo(root, labels, tuple(datasets)), samples


class TorchScorer(Scorer):
    """A torch model and its loss.

    Args:
        model: returns logits [n, n_classes] for images [n, ...].
        vocab: as in `Scorer`.
        loss_fn: see `cleaner.scan_model`; None for cross-entropy.
        device: where to run a copy of the model; None to run the model where it is.
        views: as in `Scorer`.
    """

    def __init__(
        self,
        model: nn.Module,
        vocab: tuple[str, ...],
        loss_fn: Callable[..., Any] | None = None,
        device: str | torch.device | None = None,
        views: int = 1,
    ) -> None:
        self._model, self._device = _placed(model, device)
        self._dtype = next((p.dtype for p in self._model.parameters() if p.is_floating_point()), None)
        self._loss_func = _own_loss(loss_fn, self._device)
        self._has_scored = False
        super().__init__(vocab, {"loss": loss_name(self._loss_func), "model": type(model).__name__}, views)

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def model(self) -> nn.Module:
        return self._model

    def to(self, device: torch.device) -> None:
        self._device = device
        self._model.to(device)
        self._loss_func = _own_loss(self._loss_func, device)

    def identity(self) -> dict[str, Any]:
        return {"model": weights_digest(self._model), "loss": self.settings["loss"]}

    @contextmanager
    def session(self, dataset: Dataset, fast: bool) -> Iterator[Callable[[PathBatch], Started]]:
        """Run the model in evaluation mode; see `Scorer`. A batch is a pair of inputs and class indices."""
        with (
            kept_modes(self._model),
            kept_autocast(self._device),
            torch.no_grad(),
            unreduced(self._loss_func) as loss_func,
        ):
            self._model.eval()
            yield partial(self._start, dataset, fast, loss_func)

    def _start(self, dataset: Dataset, fast: bool, loss_func: Callable[..., Any], batch: PathBatch) -> Started:
        """Run the model on a batch."""
        inputs, targets = self._to_device(batch.data)

        def losses(output: Any, n: int) -> Tensor:
            return self._losses(loss_func, self._logits(output, n), targets[:n])

        reading = batch.seconds / self.views
        backend = self.selector.select(self._model, [inputs], losses, dataset, self._to_device, fast, reading)
        outputs = (backend(shifted(inputs, view)) for view in range(self.views))
        logits = [self._logits(output, len(targets)) for output in outputs]
        if not self._has_scored:
            warn_if_probabilities(logits[0], self.settings["loss"])
            self._has_scored = True
        probabilities = mean(torch.softmax(view, dim=-1) for view in logits)
        losses_of_all = mean(self._losses(loss_func, view, targets) for view in logits)
        results = [targets, losses_of_all, *most_probable(probabilities)]
        return Started(results, partial(scored_batch, batch.paths, batch.unreadable))

    def _to_device(self, data: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Move inputs, in the model's precision, and targets."""
        inputs, targets = data
        if self._dtype is not None and inputs.is_floating_point():
            inputs = inputs.to(self._dtype)
        # Only from pinned memory: others may be freed before they are copied.
        is_pinned = self._device.type == "cuda"
        return inputs.to(self._device, non_blocking=is_pinned), targets.to(self._device, non_blocking=is_pinned)

    def _logits(self, output: Any, n: int) -> Tensor:
        """Check the model's output for `n` images; return logits [n, n_classes] in at least single precision."""
        expected = (n, len(self.vocab))
        if not isinstance(output, Tensor) or output.shape != expected:
            got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise CleanerError(
                f"expected logits of shape {expected} from the model, got {got}. Pass vocab=[...], the labels that it "
                "was trained with, in the order of its outputs, or wrap it in a torch.nn.Module that returns logits"
            )
        return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output

    def _losses(self, loss_func: Callable[..., Any], logits: Tensor, targets: Tensor) -> Tensor:
        """Return the losses [n] of logits [n, n_classes] and targets [n]."""
        n, name = len(targets), self.settings["loss"]

        def evaluate(rows: slice) -> Tensor:
            try:
                loss = loss_func(logits[rows], targets[rows])
            except (TypeError, ValueError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                raise CleanerError(
                    f"the loss {name} fails for logits {tuple(logits[rows].shape)} and class indices "
                    f"{tuple(targets[rows].shape)} ({type(error).__name__}: {error}); pass one that accepts them"
                ) from error
            if not isinstance(loss, Tensor):
                raise CleanerError(f"the loss {name} returns a {type(loss).__name__}; pass one that returns a tensor")
            return loss

        loss = evaluate(slice(n))
        if loss.numel() != 1 and len(loss) != n:
            raise CleanerError(
                f"the loss {name} has shape {tuple(loss.shape)} for {n} samples; pass one that returns one number per "
                "sample, or one for all"
            )
        warn_if_reduced(loss, n, self.settings)
        return per_sample(loss, n, lambda i: evaluate(slice(i, i + 1)))


def _own_loss(loss_fn: Any, device: torch.device) -> Callable[..., Any]:
    """Return a loss function of logits and targets on a device; a module is copied."""
    function = functional.cross_entropy if loss_fn is None else loss_fn
    if not callable(function) or inspect.isclass(function):
        raise CleanerError(
            f"loss_fn is {function!r}; pass a function of logits and targets, such as torch.nn.CrossEntropyLoss()"
        )
    return copied_to(device, function) if isinstance(function, nn.Module) else function


def _placed(model: Any, device: str | torch.device | None) -> tuple[nn.Module, torch.device]:
    """Return the model where it is, or a copy on another device, and the device."""
    if not isinstance(model, nn.Module):
        advice = "scan a Learner with cleaner.scan(learn, out)" if hasattr(model, "dls") else "pass an instance of one"
        raise CleanerError(f"expected a torch.nn.Module as model, got {type(model).__name__}; {advice}")
    own = next(chain(model.parameters(), model.buffers()), torch.empty(0)).device
    wanted = find_device(device, own)
    return (model if wanted == own else copied_to(wanted, model)), wanted
