"""Scan a folder with fatal images: `fatal_scan.py HOW SOURCE DATA OUT [OPTIONS]`.

Each image 21 pixels wide is fatal. HOW is the effect of reading one: `kill` kills the reading process, `raise` raises
an error, `wait` creates a file `begun` beside OUT and never returns, only the first time. SOURCE is `fastai` or
`torch`. OPTIONS are those of the scan, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Any

from PIL import Image

import cleaner

FATAL_WIDTH = 21


class Ends:
    """A transform that fails at a fatal image, in one of several ways.

    Args:
        how: `kill`, `raise` or `wait`; see the module's docstring.
        begun: file that `wait` creates.
        spared: process that is not killed; it gets an error.
    """

    def __init__(self, how: str, begun: Path, spared: int = 0) -> None:
        self.how, self.begun, self.spared = how, begun, spared

    def __call__(self, image: Any) -> Any:
        if isinstance(image, Image.Image) and image.width == FATAL_WIDTH:
            self.end()
        return image

    def end(self) -> None:
        if self.how == "raise":
            raise OSError("broken")
        if self.how == "kill":
            assert os.getpid() != self.spared, "it was read by the process of the test"
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "wait" and not self.begun.exists():
            self.begun.touch()
            Event().wait()


def scan_fastai(ends: Ends, data: str | Path, out: Path, **options: Any) -> cleaner.Scan:
    from fastai.vision.all import Transform

    from tests.support.learners import make_learner

    learn = make_learner(Path(str(data).removeprefix("local://")))
    learn.dls.valid.after_item.fs.insert(0, Transform(ends))
    return cleaner.scan_folder(learn, data, out, **{"k": 5, "progress": False, **options})


def scan_torch(ends: Ends, data: str | Path, out: Path, **options: Any) -> cleaner.Scan:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from tests.support.torch_models import make_model

    steps = [ends, transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
    folder = ImageFolder(data, transforms.Compose(steps))
    return cleaner.scan_model(make_model(3), folder, out, **{"k": 5, "batch_size": 4, "progress": False, **options})


SCANS = {"fastai": scan_fastai, "torch": scan_torch}


def main(how: str, source: str, data: str, out: str, options: str = "{}") -> None:
    SCANS[source](Ends(how, Path(out).with_name("begun")), data, Path(out), **json.loads(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
