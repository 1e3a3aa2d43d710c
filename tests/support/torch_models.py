"""A small torch model, datasets with and without lists of their files, and scans of them. Loads no fastai."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.scan import Scan

VOCAB = ("bear", "cat", "dog")
TRANSFORM = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])


def make_model(n_classes: int = len(VOCAB)) -> nn.Module:
    """Return a model whose mode shows in its output, by batch normalization and dropout; its weights are fixed."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(32, n_classes),
    )  # fmt: skip


def scan_model(dataset: Any, out: Path, model: nn.Module | None = None, **options: Any) -> Scan:
    """Scan a dataset in this process, by default with `make_model()`."""
    model = make_model() if model is None else model
    return cleaner.scan_model(model, dataset, out, **{"progress": False, "workers": 0, "batch_size": 4, **options})


@torch.no_grad()
def plain_losses(dataset: Any, loss: Callable[..., Tensor], model: nn.Module | None = None) -> list[float]:
    """Return the loss of each sample, computed one sample at a time and in order."""
    model = (make_model() if model is None else model).eval()
    logits = [(model(image[None]).float(), torch.tensor([target])) for image, target in dataset]
    return [float(loss(*one)) for one in logits]


def losses_by_path(scan: Scan, split: str = "all") -> dict[str, float]:
    """Return the losses in a scan."""
    return {s.path: s.loss for s in scan.samples if s.split == split}


def expected_losses(folder: ImageFolder, loss: Callable[..., Tensor], model: nn.Module | None = None) -> Any:
    """Return the losses that a scan of a folder should find, by path."""
    names = [Path(path).relative_to(folder.root).as_posix() for path, _ in folder.samples]
    return pytest.approx(dict(zip(names, plain_losses(folder, loss, model), strict=True)), abs=1e-5)


class UnlistedDataset(Dataset[Any]):
    """The samples of a folder in a dataset that lists neither files nor classes."""

    def __init__(self, folder: ImageFolder) -> None:
        self.rows = folder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        image, target = self.rows[index]
        return image.numpy(), torch.tensor(target)


class ListedDataset(UnlistedDataset):
    """A dataset that lists its files and the names of its classes."""

    def __init__(self, folder: ImageFolder) -> None:
        super().__init__(folder)
        self.filepaths = [Path(path) for path, _ in folder.samples]
        self.class_to_idx = folder.class_to_idx


class ChangedDataset(UnlistedDataset):
    """A dataset whose first sample is changed by a function."""

    def __init__(self, folder: ImageFolder, change: Callable[[Any, int], Any]) -> None:
        super().__init__(folder)
        self.samples, self.classes, self._change = folder.samples, folder.classes, change

    def __getitem__(self, index: int) -> Any:
        image, target = self.rows[index]
        return (image, target) if index else self._change(image, target)
