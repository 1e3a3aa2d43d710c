"""A plain torch model is scored as a loop by hand would score it, and is left as it was."""

from __future__ import annotations

import hashlib
import math
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action, Decision
from cleaner.demo import make_dataset
from cleaner.scoring.model import backends
from cleaner.scoring.progress import Checkpoint, SplitProgress
from tests.support import torch_scan
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import (
    TRANSFORM,
    VOCAB,
    ListedDataset,
    UnlistedDataset,
    expected_losses,
    losses_by_path,
    make_model,
    scan_model,
)
from tests.support.warm_processes import exit_code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def reduced_loss(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target)


def loss_per_sample(logits: Tensor, target: Tensor) -> Tensor:
    return 2 * functional.cross_entropy(logits, target, reduction="none")


class MarginLoss(nn.Module):
    """A loss with a reduction, as those of torch have."""

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
    "per sample": (loss_per_sample, loss_per_sample),
    "one number": (reduced_loss, functional.cross_entropy),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_each_image_alone(
    name: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loss_fn, plain = LOSSES[name]
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_model(folder, tmp_path / "scan", loss_fn=loss_fn)
    assert losses_by_path(scan) == expected_losses(folder, plain)
    assert scan.scored == {"all": 21}
    assert ("one sample at a time" in caplog.text) is (name == "one number")
    assert getattr(loss_fn, "reduction", "mean") == "mean"


def test_predictions_and_confidences_are_those_of_the_model(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_model(folder, tmp_path / "scan")
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


def state_of(model: nn.Module) -> list[object]:
    """Return everything about a model that a scan could change."""
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
        assert scan_model(folder, tmp_path / "scan", model).settings["ways"] == {}
        assert len(heard) == 6  # batches
    else:
        with pytest.raises(error):
            scan_model(folder, tmp_path / "scan", model)
        assert not (tmp_path / "scan").exists()
    assert state_of(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_are_given_in_the_precision_of_the_model(dtype: torch.dtype, data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_model(folder, tmp_path / "scan", make_model().to(dtype))
    single = expected_losses(folder, functional.cross_entropy).expected
    # Sixteen bits have two or three digits.
    assert losses_by_path(scan) == pytest.approx(single, abs=0.05 if dtype is torch.bfloat16 else 1e-5)


def test_a_copy_of_the_model_runs_on_another_device(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    model = make_model().to("meta")
    assert losses_by_path(scan_model(folder, tmp_path / "own", device="cpu")) == expected_losses(
        folder, functional.cross_entropy
    )
    with pytest.raises(CleanerError, match=r"cannot be copied to the device 'cpu'.*Pass another device"):
        scan_model(folder, tmp_path / "scan", model, device="cpu")
    with pytest.raises(CleanerError, match=r"torch cannot use the device 'abacus'.*'cuda:0'"):
        scan_model(folder, tmp_path / "scan", device="abacus")


@pytest.mark.parametrize("kind", ["listed", "own"])
def test_a_fast_scan_keeps_the_same_samples_as_an_exact_one(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_pays", lambda *_: True)
    monkeypatch.setattr(backends, "_CLEARLY_FASTER", math.inf)
    # With so few candidates whole classes are scored again, found by their labels.
    monkeypatch.setattr("cleaner.scoring.rescore.candidates_per_class", lambda k: k + 1)
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "listed" else ListedDataset(folder)
    (data / "cat/cat_2.png").write_bytes(b"broken")
    exact = scan_model(dataset, tmp_path / "exact", k=3)
    fast = scan_model(dataset, tmp_path / "fast", k=3, fast=True)
    assert fast.settings["ways"]["fast"] in backends.FAST
    assert [(s.path, s.label, s.rank) for s in fast.samples] == [(s.path, s.label, s.rank) for s in exact.samples]
    assert [s.loss for s in fast.samples] == pytest.approx([s.loss for s in exact.samples], abs=1e-4)
    assert [u.path for u in fast.unreadable] == ["cat/cat_2.png"]


@pytest.mark.parametrize("after", [1, 4])
def test_a_stopped_scan_is_resumed(after: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ImageFolder(data, TRANSFORM)
    read: list[str] = []
    folder.loader = lambda path, plain=folder.loader: (read.append(path), plain(path))[1]
    whole = scan_model(folder, tmp_path / "whole")
    taken: list[object] = []
    update = SplitProgress.update

    def stop(progress: SplitProgress, batch: Any) -> None:
        if len(taken) == after:
            raise KeyboardInterrupt
        taken.append(batch)
        update(progress, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SplitProgress, "update", stop)
        patch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
        scan_model(folder, tmp_path / "scan")
    other = make_model()
    other[0].weight.data += 1
    with pytest.raises(CleanerError, match="another model"):
        scan_model(folder, tmp_path / "scan", other)
    with pytest.raises(CleanerError, match="another transform"):
        scan_model(ImageFolder(data, transforms.ToTensor()), tmp_path / "scan")
    read.clear()
    again = scan_model(folder, tmp_path / "scan")
    assert len(read) == len(folder) - 4 * after
    assert losses_by_path(again) == pytest.approx(losses_by_path(whole), abs=1e-5)
    assert again.cells == whole.cells


def test_a_killed_scan_is_resumed_and_loads_no_fastai(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert exit_code(torch_scan.main, data, tmp_path / "scan", 3, log=log) == -signal.SIGKILL, log.read_text()
    assert (tmp_path / "scan/checkpoint/progress.npz").exists()
    assert exit_code(torch_scan.main, data, tmp_path / "scan", log=log) == 0, log.read_text()
    assert log.read_text().split()[-4:] == ["batches", "3", "fastai", "False"]
    scan = cleaner.load(tmp_path / "scan")
    assert losses_by_path(scan) == expected_losses(ImageFolder(data, TRANSFORM), functional.cross_entropy)


class TwoOutputs(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return images, images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": {}}, "expected a torch.nn.Module as model, got dict; pass an instance"),
        ({"model": nn.Linear}, "expected a torch.nn.Module as model, got type; pass an instance"),
        ({"model": TwoOutputs()}, r"expected logits of shape \(4, 3\) from the model, got a tuple.*wrap it"),
        ({"model": make_model(5)}, r"expected logits of shape \(4, 3\) from the model, got shape \(4, 5\)"),
        ({"vocab": ["bear", "cat"]}, r"expected logits of shape \(4, 2\) from the model, got shape \(4, 3\).*vocab="),
        ({"loss_fn": lambda logits, target: torch.ones(3)}, r"the loss <lambda> has shape \(3,\) for 4 samples"),
        ({"loss_fn": nn.CrossEntropyLoss}, "loss_fn is <class"),
        ({"loss_fn": "mse"}, "loss_fn is 'mse'"),
        ({"loss_fn": nn.BCEWithLogitsLoss()}, r"the loss BCEWithLogitsLoss fails for logits \(4, 3\)"),
        ({"loss_fn": lambda logits, target: 1.0}, "returns a float; pass one that returns a tensor"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_invalid_models_and_losses_are_errors(
    options: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        scan_model(ImageFolder(data, TRANSFORM), tmp_path / "scan", **options)
    assert not (tmp_path / "scan").exists()


def test_the_error_for_a_learner_names_the_function_that_scans_it(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match=r"got Learner; .*cleaner\.scan\(learn, out\)"):
        scan_model(ImageFolder(data, TRANSFORM), tmp_path / "scan", make_learner(data))


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
        scan_model(plain, tmp_path / "plain", model)
    with pytest.raises(CleanerError, match=r"sample 0 of 'all' is '.*\.cleaner-trash.*find_classes"):
        scan_model(
            UnlistedDataset(plain), tmp_path / "plain", model, vocab=folder.classes, paths=[p for p, _ in plain.samples]
        )

    undone = cleaner.undo(report.journal)
    assert undone.conflicts == ()
    assert bytes_below(images) == before


def test_timm_models_and_their_transforms(data: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="timm comes with the test extra")
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    config = timm.data.resolve_model_data_config(model, {"img_size": 64})
    folder = ImageFolder(data, timm.data.create_transform(**config))
    scan = scan_model(folder, tmp_path / "scan", model)
    assert losses_by_path(scan) == expected_losses(folder, functional.cross_entropy, model)
    own = timm.data.ImageDataset(str(data), transform=timm.data.create_transform(**config))
    with pytest.raises(CleanerError, match=r"replaces an unreadable image by another one.*ImageFolder"):
        scan_model(own, tmp_path / "own", model)


def test_torchvision_models(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import mobilenet_v3_small

    # With another backend than by hand.
    monkeypatch.setattr(backends, "_pays", lambda *_: True)
    monkeypatch.setattr(backends, "_CLEARLY_FASTER", math.inf)
    monkeypatch.setattr(backends, "EXACT", {"channels-last": backends.EXACT["channels-last"]})
    torch.manual_seed(0)
    model = mobilenet_v3_small(weights=None, num_classes=3)
    folder = ImageFolder(data, transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()]))
    scan = scan_model(folder, tmp_path / "scan", model)
    assert scan.settings["ways"] == {"exact": "channels-last"}
    plain = expected_losses(folder, functional.cross_entropy, model).expected
    assert losses_by_path(scan) == pytest.approx(plain, abs=backends.TOLERANCE)
