"""`python -m tests.benchmarks.ranking CIFAR.zip`: how many wrong labels are among the highest losses.

The archive holds small images in one folder a class, with CIFAR-10's names. A share of the labels is changed towards
classes that people confuse. A small network is trained for some epochs; then the samples are ranked by one pass at the
end, by the mean of 2, 4 and 8 views, and by the statistics of the training, from `LossRecorder`. `--folds`
adds out-of-fold losses. Printed are the share of wrong labels among the first 100 and 500, and the area under the ROC
curve.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import cleaner
from cleaner.scoring.model.views import shifted
from cleaner.scoring.training import RANKINGS

# Of each class, the classes that people take it for.
CONFUSED = {
    "airplane": ("bird", "ship"),
    "automobile": ("truck",),
    "bird": ("airplane", "deer", "frog"),
    "cat": ("dog", "frog"),
    "deer": ("horse", "bird"),
    "dog": ("cat", "horse"),
    "frog": ("bird", "cat"),
    "horse": ("deer", "dog"),
    "ship": ("airplane", "truck"),
    "truck": ("automobile", "ship"),
}
VOCAB = tuple(CONFUSED)
VIEWS = (1, 2, 4, 8)


class Images(torch.utils.data.Dataset[Any]):
    """Images in memory with their given labels; wrong ones are marked."""

    def __init__(self, folder: Path, n: int, share_wrong: float) -> None:
        random = np.random.default_rng(0)
        names = sorted(str(path) for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
        names = [names[at] for at in np.sort(random.choice(len(names), n, replace=False))]
        arrays = [np.asarray(Image.open(name).convert("RGB")) for name in names]
        self.images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.25)
        true = np.array([VOCAB.index(Path(name).parent.name) for name in names])
        self.wrong = random.random(n) < share_wrong
        taken_for = [VOCAB.index(random.choice(CONFUSED[VOCAB[label]])) for label in true]
        self.labels = torch.from_numpy(np.where(self.wrong, taken_for, true))
        self.samples = [(name, int(label)) for name, label in zip(names, self.labels, strict=True)]
        self.classes, self.root = list(VOCAB), str(folder)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], int(self.labels[i])


def network() -> nn.Module:
    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    layers = [*block(3, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2), *block(64, 128)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(VOCAB)))


def augmented(images: Tensor) -> Tensor:
    """Shift and flip each image at random."""
    padded, size = functional.pad(images, (4, 4, 4, 4), mode="reflect"), images.shape[-1]
    tops, lefts = torch.randint(0, 9, (2, len(images))).tolist()
    cut = [x[:, t : t + size, left : left + size] for x, t, left in zip(padded, tops, lefts, strict=True)]
    flipped = torch.rand(len(images), 1, 1, 1) < 0.5
    batch = torch.stack(cut)
    return torch.where(flipped, batch.flip(3), batch)


def trained(data: Images, epochs: int, augment: bool, at: Tensor, recorder: Any = None) -> nn.Module:
    """Train on the samples at these positions; the recorder sees every batch."""
    torch.manual_seed(0)
    model = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = epochs * -(-len(at) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, total_steps=steps)
    for _ in range(epochs):
        model.train()
        for batch in at[torch.randperm(len(at))].split(64):
            images, labels = data.images[batch], data.labels[batch]
            logits = model(augmented(images) if augment else images)
            if recorder is not None:
                recorder.update(batch, logits, labels)
            optimizer.zero_grad()
            functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            schedule.step()
        if recorder is not None:
            recorder.end_epoch()
    return model.eval()


@torch.no_grad()
def losses_of(model: nn.Module, data: Images, views: int, at: Tensor) -> npt.NDArray[np.float64]:
    """Return the mean loss over views of the samples at these positions."""
    found = [
        functional.cross_entropy(model(shifted(data.images[batch], view)), data.labels[batch], reduction="none")
        for batch in at.split(256)
        for view in range(views)
    ]
    batches = [torch.stack(found[begin : begin + views]).mean(dim=0) for begin in range(0, len(found), views)]
    return torch.cat(batches).double().numpy()


def recorded(folder: Path, data: Images, epochs: int, augment: bool) -> tuple[nn.Module, dict[str, Any]]:
    """Train with a recorder; return the model, and the scores by the mean loss and margin of the training."""
    scores = dict[str, Any]()
    options: dict[str, Any] = {"out": folder / "scan", "k": len(data)}
    recorder = cleaner.LossRecorder(data, reset=True, **options)
    model = trained(data, epochs, augment, torch.arange(len(data)), recorder)
    position = {Path(path).relative_to(data.root).as_posix(): at for at, (path, _) in enumerate(data.samples)}
    for ranked_by in RANKINGS:
        scan = cleaner.LossRecorder(data, ranked_by=ranked_by, **options).finish()
        score = np.zeros(len(data))
        for sample in scan.samples:
            score[position[sample.path]] = sample.loss
        scores[ranked_by] = score
    return model, scores


def out_of_fold(data: Images, epochs: int, augment: bool, folds: int = 4) -> npt.NDArray[np.float64]:
    """Return the losses of models that were trained on the other folds."""
    fold = torch.from_numpy(np.random.default_rng(1).integers(0, folds, len(data)))
    score = np.zeros(len(data))
    for number in range(folds):
        model = trained(data, epochs, augment, torch.nonzero(fold != number)[:, 0])
        held = torch.nonzero(fold == number)[:, 0]
        score[held.numpy()] = losses_of(model, data, 1, held)
    return score


def figures(score: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the share of wrong labels among the first 100 and 500, and the area under the ROC curve."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score))
    ranks[order[::-1]] = np.arange(1, len(score) + 1)
    n = wrong.sum()
    area = (ranks[wrong].sum() - n * (n + 1) / 2) / (n * (len(wrong) - n))
    return wrong[order[:100]].mean(), wrong[order[:500]].mean(), area


def compare(data: Images, folder: Path, share: float, epochs: int, augment: bool, folds: bool) -> None:
    """Train once, and print the figures of each ranking."""
    model, scores = recorded(folder, data, epochs, augment)
    everything = torch.arange(len(data))
    views = {f"{n} views": losses_of(model, data, n, everything) for n in VIEWS}
    scores = {"pass at the end": views.pop("1 views"), **views, **scores}
    if folds:
        scores["four folds"] = out_of_fold(data, epochs, augment)
    name = "with" if augment else "without"
    print(f"\n{share:.0%} wrong, {epochs} epochs {name} augmentation: first 100, first 500, AUROC")
    for ranking, score in scores.items():
        print(f"  {ranking:20} {' '.join(f'{x:6.2f}' for x in figures(score, data.wrong))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 15, 60])
    parser.add_argument("--wrong", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--folds", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(options.archive) as file:
            file.extractall(Path(folder) / "images")
        for share in options.wrong:
            data = Images(Path(folder) / "images", options.images, share)
            for augment in (False, True):
                for epochs in options.epochs:
                    compare(data, Path(folder), share, epochs, augment, options.folds)


if __name__ == "__main__":
    main()
