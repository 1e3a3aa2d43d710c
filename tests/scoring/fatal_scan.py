"""Scans a folder that holds images at which a reader ends: `fatal_scan.py HOW SOURCE DATA OUT [OPTIONS]`.

HOW: `kill`, an image 21 pixels wide kills the process that reads it; `raise`, such an image cannot be read; `pass`, it
is an image like others. SOURCE: `fastai` or `torch`. OPTIONS: those of the scan, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from PIL import Image

import cleaner

FATAL_WIDTH = 21


class Ends:
    """A transform that does to its process what reading a fatal image does."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Image.Image) and image.width == FATAL_WIDTH:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "raise":
                raise OSError("broken")
        return image


def scan_fastai(how: str, data: str, out: Path, options: dict[str, Any]) -> None:
    from fastai.vision.all import Transform

    from tests.scoring.learners import make_learner

    learn = make_learner(Path(data.removeprefix("local://")))
    learn.dls.valid.after_item.fs.insert(0, Transform(Ends(how)))
    cleaner.scan_folder(learn, data, out, k=5, progress=False, **options)


def scan_torch(how: str, data: str, out: Path, options: dict[str, Any]) -> None:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from tests.scoring.torch_scan import make_model

    steps = [Ends(how), transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
    folder = ImageFolder(data, transforms.Compose(steps))
    cleaner.scan_model(make_model(3), folder, out, k=5, batch_size=4, progress=False, **options)


if __name__ == "__main__":
    scan = {"fastai": scan_fastai, "torch": scan_torch}[sys.argv[2]]
    scan(sys.argv[1], sys.argv[3], Path(sys.argv[4]), json.loads(sys.argv[5]) if sys.argv[5:] else {})
