"""Scans a folder with a plain torch model: `torch_scan.py DATA OUT [N]`; kills itself before batch N, if told one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import transforms
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.scoring.checkpoint import Keeper, Part


def make_model(n_classes: int) -> nn.Module:
    """That of `tests.support.learners`, which knows fastai."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(32, n_classes),
    )  # fmt: skip


def main(data: Path, out: Path, stop: int | None) -> None:
    taken: list[object] = []
    update = Part.update

    def counting(part: Part, batch: Any) -> None:
        if len(taken) == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        taken.append(batch)
        update(part, batch)

    Part.update = counting  # type: ignore[method-assign]
    Keeper.save_if_due = Keeper.save  # type: ignore[method-assign]
    steps = [transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
    folder = ImageFolder(data, transforms.Compose(steps))
    cleaner.scan_model(make_model(3), folder, out, batch_size=4, workers=1, progress=False)
    print("batches", len(taken), "fastai", "fastai" in sys.modules)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
