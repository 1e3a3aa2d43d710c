"""A plain torch model and dataset are scored as a loop by hand would score them, and left as they were."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ChainDataset, DataLoader, Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from cleaner.demo import make_dataset
from cleaner.review.session import UNREADABLE, Session
from cleaner.scoring import precision
from cleaner.scoring.checkpoint import Part
from cleaner.scoring.sources import loading
from cleaner.scoring.sources.torch_dataset import Samples
from tests.support.images import make_image
from tests.support.learners import VOCAB, make_folder, make_model
from tests.support.odd_images import KINDS, write_harmful_image, write_odd_image
from tests.support.odd_images import UNREADABLE as BROKEN_KINDS

TRANSFORM = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])
SCRIPT = Path(__file__).parents[1] / "support" / "torch_scan.py"

Losses = dict[str, float]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


@pytest.fixture(autouse=True)
def run_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trying of quicker ways: the last digits depend on the way, and which is quickest on the moment."""
    monkeypatch.setattr(precision, "_WORTH_IT", math.inf)


def scan_of(dataset: Any, out: Path, model: nn.Module | None = None, **options: Any) -> Scan:
    model = make_model() if model is None else model
    return cleaner.scan_model(model, dataset, out, **{"progress": False, "workers": 0, "batch_size": 4, **options})


@torch.no_grad()
def plain_losses(dataset: Any, loss: Callable[..., Tensor], model: nn.Module | None = None) -> list[float]:
    """The loss of each sample, computed alone and in order."""
    model = (make_model() if model is None else model).eval()
    logits = [(model(image[None]).float(), torch.tensor([target])) for image, target in dataset]
    return [float(loss(*one)) for one in logits]


def by_path(scan: Scan, split: str = "all") -> Losses:
    return {s.path: s.loss for s in scan.samples if s.split == split}


def expected_of(folder: ImageFolder, loss: Callable[..., Tensor], model: nn.Module | None = None) -> Any:
    names = [Path(path).relative_to(folder.root).as_posix() for path, _ in folder.samples]
    return pytest.approx(dict(zip(names, plain_losses(folder, loss, model), strict=True)), abs=1e-5)


def one_number(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target)


def for_each(logits: Tensor, target: Tensor) -> Tensor:
    return 2 * functional.cross_entropy(logits, target, reduction="none")


class MarginLoss(nn.Module):
    """A loss of somebody's own, with the reduction that torch's have."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        losses = logits.logsumexp(1) - logits.gather(1, target[:, None])[:, 0]
        return losses if self.reduction == "none" else losses.mean()


WEIGHTS = torch.tensor([1.0, 2.0, 3.0])
LOSSES = {
    "default": (None, functional.cross_entropy),
    "module": (nn.CrossEntropyLoss(label_smoothing=0.1), partial(functional.cross_entropy, label_smoothing=0.1)),
    "weighted": (nn.CrossEntropyLoss(WEIGHTS), partial(functional.cross_entropy, weight=WEIGHTS, reduction="sum")),
    "own module": (MarginLoss(), functional.cross_entropy),
    "function": (functional.multi_margin_loss, functional.multi_margin_loss),
    "partial": (partial(functional.cross_entropy, label_smoothing=0.2),) * 2,
    "per sample": (for_each, for_each),
    "one number": (one_number, functional.cross_entropy),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_each_image_alone(
    name: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loss_fn, plain = LOSSES[name]
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_of(folder, tmp_path / "scan", loss_fn=loss_fn)
    assert by_path(scan) == expected_of(folder, plain)
    assert scan.scored == {"all": 21}
    assert ("one sample at a time" in caplog.text) is (name == "one number")
    assert getattr(loss_fn, "reduction", "mean") == "mean"


def test_predictions_and_confidences_are_those_of_the_model(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_of(folder, tmp_path / "scan")
    found = {s.path: s for s in scan.samples}
    model = make_model().eval().requires_grad_(False)
    for (path, target), (image, _) in zip(folder.samples, folder, strict=True):
        sample = found[Path(path).relative_to(data).as_posix()]
        probabilities = model(image[None]).softmax(1)[0]
        assert (sample.label, sample.predicted) == (VOCAB[target], VOCAB[int(probabilities.argmax())])
        assert sample.confidence == pytest.approx(float(probabilities.max()), abs=1e-5)
    assert sum(scan.cells["all"].values()) == len(folder)
    assert scan.root == data
    assert scan.settings["source"] == "torch"
    assert "Normalize" in scan.settings["transforms"]["all"]


class Table(Dataset[Any]):
    """Somebody's own dataset, of rows of a table; it lists nothing."""

    def __init__(self, folder: ImageFolder) -> None:
        self.rows = folder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], Tensor]:
        image, target = self.rows[index]
        return image.numpy(), torch.tensor(target)


class Listed(Table):
    """Another, which lists its files and the names of its classes."""

    def __init__(self, folder: ImageFolder) -> None:
        super().__init__(folder)
        self.filepaths = [Path(path) for path, _ in folder.samples]
        self.class_to_idx = folder.class_to_idx


def given(folder: ImageFolder, name: str) -> tuple[Any, dict[str, Any]]:
    """A dataset with the samples of `folder`, and what has to be said about it."""
    files = [path for path, _ in folder.samples]
    names = [Path(path).relative_to(folder.root).as_posix() for path in files]
    backwards = list(range(len(folder)))[::-1]
    everything = Subset(Subset(folder, backwards), torch.tensor(backwards).roll(5))
    return {
        "subset of a subset": (everything, {}),
        "listed": (Listed(folder), {}),
        "sequence": (Table(folder), {"paths": files, "vocab": VOCAB}),
        "series": (Table(folder), {"paths": pd.Series(files, index=backwards), "vocab": pd.Series(VOCAB)}),
        "below root": (Table(folder), {"paths": np.array(names), "vocab": list(VOCAB), "root": folder.root}),
        "function": (Table(folder), {"paths": lambda index: Path(files[index]), "vocab": VOCAB}),
        "list": (list(folder), {"paths": files, "vocab": VOCAB}),
    }[name]


@pytest.mark.parametrize(
    "name", ["subset of a subset", "listed", "sequence", "series", "below root", "function", "list"]
)
def test_files_and_labels_are_found_or_given(name: str, data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset, options = given(folder, name)
    scan = scan_of(dataset, tmp_path / "scan", **options)
    assert by_path(scan) == expected_of(folder, functional.cross_entropy)
    assert (scan.vocab, scan.root) == (VOCAB, data)


def test_splits_are_scanned_into_one_folder(data: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        make_folder(data / split, per_class=3 if split == "train" else 2)
    datasets = {split: ImageFolder(data / split, TRANSFORM) for split in ("train", "valid")}
    scan = scan_of(datasets, tmp_path / "scan")
    assert scan.scored == {"train": 9, "valid": 6}
    assert scan.root == data
    assert {path.split("/")[0] for path in by_path(scan, "valid")} == {"valid"}
    files = {split: [path for path, _ in dataset.samples] for split, dataset in datasets.items()}
    tables = {split: Table(dataset) for split, dataset in datasets.items()}
    again = scan_of(tables, tmp_path / "again", paths=files, vocab=VOCAB)
    assert by_path(again, "train") == pytest.approx(by_path(scan, "train"), abs=1e-5)


def test_a_subset_of_one_class_belongs_to_the_whole_dataset(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_of(Subset(folder, [0, 1, 2]), tmp_path / "scan", split="bears")
    assert (scan.root, scan.scored) == (data, {"bears": 3})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["listed", "own"])
def test_an_unreadable_image_costs_one_entry_and_not_its_batch(
    workers: int, kind: str, data: Path, tmp_path: Path
) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "listed" else Listed(folder)
    whole = scan_of(dataset, tmp_path / "whole")
    for name in ("bear/bear_0.png", "bear/bear_1.png", "bear/bear_2.png", "bear/bear_3.png", "dog/dog_3.png"):
        (data / name).write_bytes((data / name).read_bytes()[:50])
    (data / "cat/cat_2.png").unlink()
    broken = scan_of(dataset, tmp_path / "broken", workers=workers)
    assert [(u.path, u.label) for u in broken.unreadable] == [
        *[(f"bear/bear_{n}.png", "bear") for n in range(4)],  # a whole batch of them
        ("cat/cat_2.png", "cat"),
        ("dog/dog_3.png", "dog"),
    ]
    lost = {u.path for u in broken.unreadable}
    left = {path: loss for path, loss in by_path(whole).items() if path not in lost}
    assert by_path(broken) == pytest.approx(left, abs=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_file_whose_name_is_not_utf8_is_listed(data: Path, tmp_path: Path) -> None:
    os.rename(data / "cat/cat_0.png", os.fsencode(data / "cat") + b"/cat_\xff.png")
    scan = scan_of(ImageFolder(data, TRANSFORM), tmp_path / "scan")
    assert [(u.path, u.label) for u in scan.unreadable] == [(r"cat/cat_\udcff.png", "cat")]
    assert scan.scored == {"all": 20}


def test_an_image_that_a_transform_refuses_is_listed(data: Path, tmp_path: Path) -> None:
    def refuse(image: Any) -> Any:
        if image.size[0] == 21:
            raise ZeroDivisionError("too wide")
        return image

    make_image(data / "cat/cat_0.png", size=(21, 20))
    folder = ImageFolder(data, transforms.Compose([refuse, TRANSFORM]))
    scan = scan_of(folder, tmp_path / "scan")
    assert [(u.path, u.error) for u in scan.unreadable] == [("cat/cat_0.png", "ZeroDivisionError: too wide")]


def test_a_file_whose_label_nobody_knows_can_be_reviewed(data: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    files = []
    for label in VOCAB:
        files += [make_image(flat / f"{label}_{n}.png", seed=n) for n in range(3)]
    table = Table(ImageFolder(data, TRANSFORM))
    table.rows.samples = [(str(path), n // 3) for n, path in enumerate(files)]
    files[4].write_bytes(b"broken")
    scan = scan_of(table, tmp_path / "scan", paths=files, vocab=VOCAB)
    assert [(u.path, u.label) for u in cleaner.load(tmp_path / "scan").unreadable] == [("cat_1.png", "")]
    session = Session(scan)
    session.open_label(UNREADABLE)
    session.act(Action.DELETE)
    report = cleaner.apply(scan.manifest_path, data=flat)
    assert [each.source for each in report.done] == ["cat_1.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_scored_or_listed(kind: str, data: Path, tmp_path: Path) -> None:
    odd = write_odd_image(kind, data / "cat")
    extensions = (".png", ".jpg", ".gif")
    folder = ImageFolder(data, TRANSFORM, is_valid_file=lambda path: path.endswith(extensions))
    scan = scan_of(folder, tmp_path / "scan")
    name = f"cat/{odd.name}"
    assert ([u.path for u in scan.unreadable] == [name]) == (kind in BROKEN_KINDS)
    assert (name in by_path(scan)) == (kind not in BROKEN_KINDS)


def test_a_dataset_that_opens_files_itself_opens_no_container(data: Path, tmp_path: Path) -> None:
    write_harmful_image("container.jpg", data / "cat")
    scan = scan_of(ImageFolder(data, TRANSFORM), tmp_path / "scan")
    assert [u.path for u in scan.unreadable] == ["cat/container.jpg"]
    assert "it is a file in the format BLP, which is not opened" in scan.unreadable[0].error


def state_of(model: nn.Module) -> list[object]:
    """Whatever a scan could leave otherwise."""
    tensors = [*model.parameters(), *model.buffers()]
    found: list[object] = [module.training for module in model.modules()]
    found += [(id(t), t.data_ptr(), t.dtype, t.device, t.stride(), t.requires_grad, t.grad is None) for t in tensors]
    found += [dict(module._forward_hooks) for module in model.modules()]
    return found + [t.detach().float().sum().item() for t in tensors]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_the_model_is_left_as_it_was_found(error: type[BaseException] | None, data: Path, tmp_path: Path) -> None:
    model = make_model().to(torch.bfloat16).to(memory_format=torch.channels_last).train()
    model[1].eval()
    heard: list[int] = []

    def hook(*_: object) -> None:
        heard.append(1)
        if error is not None and len(heard) == 3:
            raise error

    model[0].register_forward_hook(hook)
    before = state_of(model)
    folder = ImageFolder(data, TRANSFORM)
    if error is None:
        assert scan_of(folder, tmp_path / "scan", model).settings["ways"] == {}
        assert len(heard) == 6  # batches
    else:
        with pytest.raises(error):
            scan_of(folder, tmp_path / "scan", model)
        assert not (tmp_path / "scan").exists()
    assert state_of(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_are_given_in_the_precision_of_the_model(dtype: torch.dtype, data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_of(folder, tmp_path / "scan", make_model().to(dtype))
    single = expected_of(folder, functional.cross_entropy).expected
    # Sixteen bits have two or three digits.
    assert by_path(scan) == pytest.approx(single, abs=0.05 if dtype is torch.bfloat16 else 1e-5)


def test_a_copy_of_the_model_runs_on_another_device(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    model = make_model().to("meta")
    assert by_path(scan_of(folder, tmp_path / "own", device="cpu")) == expected_of(folder, functional.cross_entropy)
    with pytest.raises(CleanerError, match=r"cannot be copied to the device 'cpu'.*give another device"):
        scan_of(folder, tmp_path / "scan", model, device="cpu")
    with pytest.raises(CleanerError, match="cannot be copied to the device 'abacus'"):
        scan_of(folder, tmp_path / "scan", device="abacus")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"fast": True}])
def test_a_copy_of_the_model_runs_on_a_gpu(options: dict[str, Any], data: Path, tmp_path: Path) -> None:
    model = make_model()
    before = state_of(model)
    folder = ImageFolder(data, TRANSFORM)
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    scan = scan_of(folder, tmp_path / "scan", model, device="cuda", loss_fn=loss, **options)
    assert by_path(scan) == pytest.approx(by_path(scan_of(folder, tmp_path / "cpu")), abs=1e-3)
    assert state_of(model) == before
    assert loss.weight is not None
    assert not loss.weight.is_cuda


@pytest.mark.parametrize("kind", ["listed", "own"])
@pytest.mark.parametrize("limit", [0, 2**20])
def test_a_fast_scan_keeps_what_an_exact_one_keeps(
    kind: str, limit: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cleaner.scoring.sources.torch.LIMIT", limit)
    monkeypatch.setattr(precision, "_WORTH_IT", 0.0)
    monkeypatch.setattr(precision, "_CLEARLY", math.inf)
    # With no room for candidates whole classes are scored again, for which labels are asked for.
    monkeypatch.setattr("cleaner.scoring.rescore.room", lambda k: k + 1)
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "listed" else Listed(folder)
    (data / "cat/cat_2.png").write_bytes(b"broken")
    exact = scan_of(dataset, tmp_path / "exact", k=3)
    fast = scan_of(dataset, tmp_path / "fast", k=3, fast=True)
    assert fast.settings["ways"]["fast"] in precision.FAST
    assert [(s.path, s.label, s.rank) for s in fast.samples] == [(s.path, s.label, s.rank) for s in exact.samples]
    assert [s.loss for s in fast.samples] == pytest.approx([s.loss for s in exact.samples], abs=1e-4)
    assert [u.path for u in fast.unreadable] == ["cat/cat_2.png"]


@pytest.mark.parametrize("kind", ["torchvision's", "own", "own, unlike what it lists"])
def test_the_label_of_a_sample_is_that_which_the_dataset_gives(kind: str, data: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "torchvision's" else Listed(folder)
    other = kind == "own, unlike what it lists"
    if other:
        dataset = Gives(folder, lambda image, target: (image, 2))
    samples = Samples(dataset, "all", VOCAB, None, Path(), 4, torch.device("cpu"))
    assert [samples.label(key) for key in (0, 7, 20)] == ["dog" if other else "bear", "cat", "dog"]
    for path in data.rglob("*_0.png"):
        path.write_bytes(b"broken")
    assert [samples.label(key) for key in (0, 7, 14)] == ["bear", "cat", "dog"]


@pytest.mark.parametrize("after", [1, 4])
def test_a_stopped_scan_goes_on(after: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ImageFolder(data, TRANSFORM)
    # What is read is counted in this process.
    read: list[str] = []
    folder.loader = lambda path, plain=folder.loader: (read.append(path), plain(path))[1]
    whole = scan_of(folder, tmp_path / "whole")
    taken: list[object] = []
    update = Part.update

    def stop(part: Part, batch: Any) -> None:
        if len(taken) == after:
            raise KeyboardInterrupt
        taken.append(batch)
        update(part, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Part, "update", stop)
        patch.setattr("cleaner.scoring.checkpoint.Keeper.save_if_due", lambda keeper, *state: keeper.save(*state))
        scan_of(folder, tmp_path / "scan")
    other = make_model()
    other[0].weight.data += 1
    with pytest.raises(CleanerError, match="another model"):
        scan_of(folder, tmp_path / "scan", other)
    with pytest.raises(CleanerError, match="another transform"):
        scan_of(ImageFolder(data, transforms.ToTensor()), tmp_path / "scan")
    read.clear()
    again = scan_of(folder, tmp_path / "scan")
    assert len(read) == len(folder) - 4 * after
    assert by_path(again) == pytest.approx(by_path(whole), abs=1e-5)
    assert again.cells == whole.cells


def test_a_killed_process_is_gone_on_with_and_no_process_needs_fastai(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, data, tmp_path / "scan"]
    killed = subprocess.run([*command, "3"], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "scan/checkpoint/progress.npz").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["batches", "3", "fastai", "False"]
    scan = cleaner.load(tmp_path / "scan")
    assert by_path(scan) == expected_of(ImageFolder(data, TRANSFORM), functional.cross_entropy)


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([transforms.RandomHorizontalFlip(), TRANSFORM], "RandomHorizontalFlip"),
        ([transforms.Compose([transforms.Resize(20), transforms.ColorJitter(0.1)]), TRANSFORM], "ColorJitter"),
        ([transforms.RandomApply([transforms.Grayscale(3)]), TRANSFORM], "RandomApply"),
        ([nn.Sequential(transforms.RandAugment()), TRANSFORM], "RandAugment"),
        ([transforms.Resize(20), TRANSFORM], ""),
    ],
)
def test_random_transforms_are_named(
    steps: list[Any], named: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ImageFolder(data, transforms.Compose(steps))
    with caplog.at_level(logging.WARNING, "cleaner"):
        scan_of(Subset(folder, range(8)), tmp_path / "scan")
    assert (f"'all' has random steps ({named})" in caplog.text) is bool(named)


class Gives(Table):
    """A dataset whose first sample is whatever a test wants."""

    def __init__(self, folder: ImageFolder, change: Callable[[Any, int], Any]) -> None:
        super().__init__(folder)
        self.samples, self.classes, self._change = folder.samples, folder.classes, change

    def __getitem__(self, index: int) -> Any:
        image, target = self.rows[index]
        return (image, target) if index else self._change(image, target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"image": x, "label": y}, r"sample 0 of 'all' is a dict; \(image, label\) is accepted"),
        (lambda x, y: (x, y, "more"), r"is 3 values; \(image, label\)"),
        (lambda x, y: x, r"is a Tensor; \(image, label\)"),
        (lambda x, y: (x, True), "is True, a bool; the index of its class"),
        (lambda x, y: (x, torch.tensor(True)), "is True, a bool"),
        (lambda x, y: (x, "cat"), "is 'cat', a str; the index of its class"),
        (lambda x, y: (x, None), "is None, a NoneType"),
        (lambda x, y: (x, 1.0), r"is 1\.0, a float"),
        (lambda x, y: (x, 3), "bear_0.png', sample 0 of 'all', is 3, but the vocabulary has 3 labels, from 0 to 2"),
        (lambda x, y: (x, -1), "is -1, but the vocabulary"),
        (lambda x, y: (x, torch.tensor([1, 0, 0])), r"of shape \(3,\).*target\.argmax\(\)"),
        (lambda x, y: ("bear_0.png", y), r"is a builtins\.str; a tensor is accepted.*ToTensor"),
        (lambda x, y: (transforms.ToPILImage()(x), y), r"is a PIL\.Image\.Image; a tensor is accepted.*ToTensor"),
        (lambda x, y: (x[:, :8], y), r"shapes are \(3, 16, 16\), \(3, 8, 16\).*batch size of 1"),
        (lambda x, y: (x[:1], y), r"shapes are \(1, 16, 16\), \(3, 16, 16\)\. Let the dataset's transform"),
    ],
)
def test_samples_that_make_no_sense(
    change: Callable[[Any, int], Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        scan_of(Gives(ImageFolder(data, TRANSFORM), change), tmp_path / "scan")
    assert not (tmp_path / "scan").exists()


def test_what_a_worker_process_refuses_is_an_error_here(data: Path, tmp_path: Path) -> None:
    dataset = Gives(ImageFolder(data, TRANSFORM), lambda image, target: (image, "cat"))
    with pytest.raises(CleanerError, match=r"^the label of '.*bear_0.png', sample 0 of 'all', is 'cat', a str"):
        scan_of(dataset, tmp_path / "scan", workers=1)


def test_a_dataset_that_cannot_be_sent_to_processes_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS and Windows, whatever is usual here.
    monkeypatch.setattr(loading, "DataLoader", partial(DataLoader, multiprocessing_context="spawn"))
    folder = ImageFolder(data, transforms.Compose([lambda image: image, TRANSFORM]))
    with pytest.raises(CleanerError, match=r"cannot be sent to the processes.*workers=0"):
        scan_of(folder, tmp_path / "scan", workers=1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_process_that_ends_while_it_hands_over_a_batch_is_told(
    error: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Any:
        raise error

    monkeypatch.setattr("multiprocessing.resource_sharer.DupFd.detach", breaks)
    with pytest.raises(CleanerError, match=rf"ended a process that reads images \({type(error).__name__}.*--workers"):
        scan_of(ImageFolder(data, TRANSFORM), tmp_path / "scan", workers=1)
    # Also while somebody still holds the error, as a notebook does.
    assert torch.multiprocessing.active_children() == []


class Several(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return images, images


def case(message: str, dataset: Callable[[ImageFolder], Any] = lambda folder: folder, **options: Any) -> Any:
    return pytest.param(dataset, options, message, id=message[:30])


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        case("a DataLoader came.*loader.dataset", lambda f: DataLoader(f)),
        case("a ChainDataset came, whose samples have no index", lambda f: ChainDataset([])),
        case("a generator came", lambda f: (x for x in f)),
        case("a Subset, is empty", lambda f: Subset(f, [])),
        case("where the files.*a Table, are is not known.*pass paths=", Table),
        case("where the files.*a TensorDataset, are", lambda f: TensorDataset(torch.ones(2, 3), torch.ones(2))),
        case("the labels.*a Table, are not known.*pass vocab=", Table, paths=lambda index: f"{index}.png"),
        case("samples 0 and 5 of 'all' are the same file", lambda f: Subset(f, [0, 1, 2, 3, 4, 0])),
        case("paths is a str", paths="images"),
        case("paths is a float", paths=1.0),
        case("there are 2 paths for 21 samples", paths=["a.png", "b.png"]),
        case("the path of sample .* is 7, a int", paths=lambda index: 7),
        case(r"there is no file .*gone.png", paths=lambda index: f"gone{index}.png".replace(str(index), "")),
        case("paths is a dict of \\['train'\\].*splits \\['all'\\]", paths={"train": []}),
        case("paths is a list; with the splits", lambda f: {"train": f, "valid": f}, paths=[]),
        case("splits is", lambda f: {}),
        case("splits is", split=""),
        case("vocab is a str", vocab="bear"),
        case("vocab is a dict", vocab={"bear": 0}),
        case("knows one class", vocab=["bear"]),
        case("not different as text", vocab=["1", 1, "2"]),
        case("a label of the vocabulary is ''", vocab=["", "a", "b"]),
        case("a label of the vocabulary is True", vocab=[True, False]),
        case(r"a label of the vocabulary is \('bear', 'ursus'\)", vocab=[("bear", "ursus"), ("cat",), ("dog",)]),
        case("'bear' is class 0 of the dataset and class 2", vocab=["dog", "cat", "bear"]),
        case(r"output has shape \(2, 3\) for 2 images.*2 labels", vocab=["bear", "cat"], batch_size=2),
        case("the model is a dict", model={}),
        case("pass an instance, and not the class", model=nn.Linear),
        case("the model returns a tuple", model=Several()),
        case(r"output has shape \(2, 5\) for 2 images, but the vocabulary has 3", model=make_model(5), batch_size=2),
        case("the loss <lambda> has shape", loss_fn=lambda logits, target: torch.ones(3)),
        case("loss_fn is <class", loss_fn=nn.CrossEntropyLoss),
        case("loss_fn is 'mse'", loss_fn="mse"),
        case("the loss BCEWithLogitsLoss cannot be computed of logits", loss_fn=nn.BCEWithLogitsLoss()),
        case("gives a float; a tensor is accepted", loss_fn=lambda logits, target: 1.0),
        case("k is 0", k=0),
        case("batch_size is 0", batch_size=0),
        case("workers is -1", workers=-1),
        case("'nowhere' is not a folder", root="nowhere"),
        case("is not inside the dataset's folder.*give a root", root=Path(__file__).parent),
    ],
)
def test_arguments_that_make_no_sense(
    dataset: Callable[[ImageFolder], Any], options: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        scan_of(dataset(ImageFolder(data, TRANSFORM)), tmp_path / "scan", **options)
    assert not (tmp_path / "scan").exists()


def test_splits_with_different_labels_are_refused(data: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", vocab=("cat", "dog"))
    datasets = {"train": ImageFolder(data, TRANSFORM), "valid": ImageFolder(other, TRANSFORM)}
    with pytest.raises(CleanerError, match="the splits have different labels: 'train' has"):
        scan_of(datasets, tmp_path / "scan")
    with pytest.raises(CleanerError, match="'cat' is class 0 of the dataset and class 1 of the vocabulary"):
        scan_of(datasets, tmp_path / "scan", vocab=VOCAB)
    datasets["valid"].target_transform = lambda target: target + 1
    assert scan_of(datasets, tmp_path / "scan", vocab=VOCAB).scored == {"train": 21, "valid": 14}


def test_a_learner_is_told_of_its_own_function(data: Path, tmp_path: Path) -> None:
    from tests.support.learners import make_learner

    with pytest.raises(CleanerError, match=r"a Learner.*cleaner\.scan\(learn, out\)"):
        scan_of(ImageFolder(data, TRANSFORM), tmp_path / "scan", make_learner(data))


class WithoutHidden(ImageFolder):
    """The recipe of the README."""

    def find_classes(self, folder: str | Path) -> tuple[list[str], dict[str, int]]:
        names = [name for name in super().find_classes(folder)[0] if not name.startswith(".")]
        return names, {name: number for number, name in enumerate(names)}


def train(folder: ImageFolder) -> nn.Module:
    """A small network that learns the handwritten digits, wrong labels and all, in a moment."""
    torch.manual_seed(0)
    rows = [folder[n] for n, (path, _) in enumerate(folder.samples) if "broken" not in path]
    images, targets = torch.stack([image for image, _ in rows]), torch.tensor([target for _, target in rows])
    model = nn.Sequential(
        nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(768, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), targets[batch]).backward()
            optimizer.step()
    return model


def bytes_below(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_from_a_trained_model_to_applied_decisions_and_back(tmp_path: Path) -> None:
    images = tmp_path / "images"
    wrong = make_dataset(images)
    folder = WithoutHidden(images, transforms.ToTensor())
    model = train(folder)
    scan = cleaner.scan_model(model, folder, out=tmp_path / "scan", k=10, progress=False, workers=0)
    assert [u.path for u in scan.unreadable] == ["0/digit_broken.png"]
    found = [sample for sample in scan.samples if sample.path in wrong]
    assert len(found) >= 0.8 * len(wrong)

    decisions = [Decision(s.path, Action.RELABEL, s.label, wrong[s.path]) for s in found]
    cleaner.Manifest(scan.manifest_path).append(Decision("0/digit_broken.png", Action.DELETE, "0"), *decisions)
    before = bytes_below(images)
    report = cleaner.apply(scan.manifest_path, data=images)
    assert (len(report.done), report.conflicts) == (len(found) + 1, ())
    after = WithoutHidden(images, transforms.ToTensor())
    assert after.classes == folder.classes
    labels = {Path(path).name: after.classes[target] for path, target in after.samples}
    assert {labels[Path(s.path).name] == wrong[s.path] for s in found} == {True}
    assert len(after) == len(folder) - 1

    plain = ImageFolder(images, transforms.ToTensor())
    with pytest.raises(CleanerError, match=r"'.cleaner-trash' is among the classes.*find_classes"):
        scan_of(plain, tmp_path / "plain", model)
    with pytest.raises(CleanerError, match=r"sample 0 of 'all' is '.*\.cleaner-trash.*find_classes"):
        scan_of(Table(plain), tmp_path / "plain", model, vocab=folder.classes, paths=[p for p, _ in plain.samples])

    undone = cleaner.undo(report.journal)
    assert undone.conflicts == ()
    assert bytes_below(images) == before


def test_timm_models_and_their_transforms(data: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm comes with the test extra")
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    config = timm.data.resolve_model_data_config(model, {"img_size": 64})
    folder = ImageFolder(data, timm.data.create_transform(**config))
    scan = scan_of(folder, tmp_path / "scan", model)
    assert by_path(scan) == expected_of(folder, functional.cross_entropy, model)
    own = timm.data.ImageDataset(str(data), transform=timm.data.create_transform(**config))
    with pytest.raises(CleanerError, match=r"another image in the place of one.*ImageFolder"):
        scan_of(own, tmp_path / "own", model)


def test_torchvision_models(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import mobilenet_v3_small

    # In another way than by hand.
    monkeypatch.setattr(precision, "_WORTH_IT", 0.0)
    monkeypatch.setattr(precision, "_CLEARLY", math.inf)
    monkeypatch.setattr(precision, "EXACT", {"channels-last": precision.EXACT["channels-last"]})
    torch.manual_seed(0)
    model = mobilenet_v3_small(weights=None, num_classes=3)
    folder = ImageFolder(data, transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()]))
    scan = scan_of(folder, tmp_path / "scan", model)
    assert scan.settings["ways"] == {"exact": "channels-last"}
    plain = expected_of(folder, functional.cross_entropy, model).expected
    assert by_path(scan) == pytest.approx(plain, abs=precision.TOLERANCE)
