"""A scan with a plain torch model that can kill its own process, for processes without fastai."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder

import cleaner
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support.torch_models import TRANSFORM, make_model


def main(data: Path, out: Path, stop: int | None = None) -> None:
    """Scan a folder; kill this process before batch `stop`. This replaces methods for the whole process."""
    taken: list[object] = []
    update = SplitProgress.update

    def counting(progress: SplitProgress, batch: Any) -> None:
        if len(taken) == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        taken.append(batch)
        update(progress, batch)

    SplitProgress.update = counting  # type: ignore[method-assign]
    Checkpoint.save_if_due = Checkpoint.save  # type: ignore[method-assign]
    folder = ImageFolder(data, TRANSFORM)
    cleaner.scan_model(make_model(), folder, out, batch_size=4, workers=1, progress=False)
    print("batches", len(taken), "fastai", "fastai" in sys.modules)
