"""One process of a training by several: `python -m tests.support.distributed_training KIND RANK COUNT FOLDER`.

Each process writes what it has seen, `(epoch, split, path, loss)`, to a file of its own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as processes
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import cleaner
from tests.support.torch_models import make_model

EPOCHS = 3


def with_recorder(rank: int, count: int, folder: Path) -> list[Any]:
    """Train a plain model; the sampler pads the parts to the same length, so one sample is seen twice."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    dataset, seen = ImageFolder(str(folder / "data"), ToTensor()), list[Any]()
    recorder = cleaner.LossRecorder(dataset, out=folder / "scan", ranked_by="mean training loss")
    sampler: Any = DistributedSampler(range(len(dataset)), count, rank)
    model = make_model(len(dataset.classes))
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in DataLoader(range(len(dataset)), batch_size=4, sampler=sampler):  # type: ignore[arg-type]
            images, targets = map(
                torch.stack, zip(*((x, torch.tensor(y)) for x, y in map(dataset.__getitem__, batch)), strict=True)
            )
            logits = model(images) * (1 + epoch)
            recorder.update(batch, logits, targets)
            losses = functional.cross_entropy(logits, targets, reduction="none")
            paths = [Path(dataset.samples[at][0]).relative_to(folder / "data").as_posix() for at in batch]
            seen += [(epoch, "train", path, float(loss)) for path, loss in zip(paths, losses, strict=True)]
        recorder.end_epoch()
    scan = recorder.finish()
    assert scan.scored == {"train": len(dataset)}
    return seen


def with_callback(_rank: int, _count: int, folder: Path) -> list[Any]:
    """Train a learner as fastai does it in several processes."""
    from fastai import distributed
    from fastai.vision import all as fastai

    from tests.support.learners import make_learner

    # fastai sends positions as CUDA tensors.
    def broadcast(_loader: Any, positions: list[int], rank: int) -> list[int]:
        sent = torch.tensor(positions)
        processes.broadcast(sent, rank)
        return [int(position) for position in sent]

    distributed.DistributedDL._broadcast = broadcast
    learn, seen = make_learner(folder / "data", batch_tfms=None, drop_last=False), list[Any]()
    names = {
        image.as_subclass(torch.Tensor).numpy().round(5).tobytes(): item.relative_to(folder / "data").as_posix()
        for loader in learn.dls.loaders
        for item in loader.dataset.items
        for image in learn.dls.test_dl([item]).one_batch()[0]
    }

    class Reference(fastai.Callback):
        def after_pred(self) -> None:
            losses = functional.cross_entropy(self.pred.detach(), self.y, reduction="none")
            paths = [names[image.as_subclass(torch.Tensor).numpy().round(5).tobytes()] for image in self.x]
            split = "train" if self.training else "valid"
            seen.extend((self.epoch, split, path, float(x)) for path, x in zip(paths, losses, strict=True))

    learn.to_distributed(sync_bn=False, cpu=True)
    learn.fit(EPOCHS, 0.01, cbs=[Reference(), cleaner.ScanCallback(folder / "scan", ranked_by="mean training loss")])
    return seen


def main() -> None:
    kind, rank, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[5], "ACCELERATE_USE_CPU": "true"})
    torch.set_num_threads(1)
    processes.init_process_group("gloo", rank=rank, world_size=count)
    seen = {"recorder": with_recorder, "callback": with_callback}[kind](rank, count, folder)
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
    processes.barrier()
    processes.destroy_process_group()


if __name__ == "__main__":
    main()
