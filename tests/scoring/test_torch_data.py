"""Files and labels of map-style datasets are found or given, and broken images are listed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import ChainDataset, DataLoader, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.core.errors import CleanerError
from cleaner.core.records import Action
from cleaner.review.session import UNREADABLE, Session
from cleaner.scoring.data import torch_data
from cleaner.scoring.data.torch_data import TorchDataset
from tests.support.images import make_image
from tests.support.learners import make_folder
from tests.support.odd_images import KINDS, write_harmful_image, write_odd_image
from tests.support.odd_images import UNREADABLE as BROKEN_KINDS
from tests.support.torch_models import (
    TRANSFORM,
    VOCAB,
    ChangedDataset,
    ListedDataset,
    UnlistedDataset,
    expected_losses,
    losses_by_path,
    scan_model,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


def dataset_and_options(folder: ImageFolder, name: str) -> tuple[Any, dict[str, Any]]:
    """Return a dataset with the samples of a folder, and the options that its scan needs."""
    files = [path for path, _ in folder.samples]
    names = [Path(path).relative_to(folder.root).as_posix() for path in files]
    backwards = list(range(len(folder)))[::-1]
    everything = Subset(Subset(folder, backwards), torch.tensor(backwards).roll(5))
    return {
        "subset of a subset": (everything, {}),
        "listed": (ListedDataset(folder), {}),
        "sequence": (UnlistedDataset(folder), {"paths": files, "vocab": VOCAB}),
        "series": (UnlistedDataset(folder), {"paths": pd.Series(files, index=backwards), "vocab": pd.Series(VOCAB)}),
        "below root": (UnlistedDataset(folder), {"paths": np.array(names), "vocab": list(VOCAB), "root": folder.root}),
        "function": (UnlistedDataset(folder), {"paths": lambda index: Path(files[index]), "vocab": VOCAB}),
        "list": (list(folder), {"paths": files, "vocab": VOCAB}),
    }[name]


@pytest.mark.parametrize(
    "name", ["subset of a subset", "listed", "sequence", "series", "below root", "function", "list"]
)
def test_files_and_labels_are_found_or_given(name: str, data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset, options = dataset_and_options(folder, name)
    scan = scan_model(dataset, tmp_path / "scan", **options)
    assert losses_by_path(scan) == expected_losses(folder, functional.cross_entropy)
    assert (scan.vocab, scan.root) == (VOCAB, data)


def test_splits_are_scanned_into_one_folder(data: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        make_folder(data / split, per_class=3 if split == "train" else 2)
    datasets = {split: ImageFolder(data / split, TRANSFORM) for split in ("train", "valid")}
    scan = scan_model(datasets, tmp_path / "scan")
    assert scan.scored == {"train": 9, "valid": 6}
    assert scan.root == data
    assert {path.split("/")[0] for path in losses_by_path(scan, "valid")} == {"valid"}
    files = {split: [path for path, _ in dataset.samples] for split, dataset in datasets.items()}
    tables = {split: UnlistedDataset(dataset) for split, dataset in datasets.items()}
    again = scan_model(tables, tmp_path / "again", paths=files, vocab=VOCAB)
    assert losses_by_path(again, "train") == pytest.approx(losses_by_path(scan, "train"), abs=1e-5)


def test_a_subset_of_one_class_belongs_to_the_whole_dataset(data: Path, tmp_path: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    scan = scan_model(Subset(folder, [0, 1, 2]), tmp_path / "scan", split="bears")
    assert (scan.root, scan.scored) == (data, {"bears": 3})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["listed", "own"])
def test_an_unreadable_image_costs_one_entry_and_not_its_batch(
    workers: int, kind: str, data: Path, tmp_path: Path
) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "listed" else ListedDataset(folder)
    whole = scan_model(dataset, tmp_path / "whole")
    for name in ("bear/bear_0.png", "bear/bear_1.png", "bear/bear_2.png", "bear/bear_3.png", "dog/dog_3.png"):
        (data / name).write_bytes((data / name).read_bytes()[:50])
    (data / "cat/cat_2.png").unlink()
    broken = scan_model(dataset, tmp_path / "broken", workers=workers)
    assert [(u.path, u.label) for u in broken.unreadable] == [
        *[(f"bear/bear_{n}.png", "bear") for n in range(4)],  # a whole batch of them
        ("cat/cat_2.png", "cat"),
        ("dog/dog_3.png", "dog"),
    ]
    lost = {u.path for u in broken.unreadable}
    left = {path: loss for path, loss in losses_by_path(whole).items() if path not in lost}
    assert losses_by_path(broken) == pytest.approx(left, abs=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_file_whose_name_is_not_utf8_is_listed(data: Path, tmp_path: Path) -> None:
    os.rename(data / "cat/cat_0.png", os.fsencode(data / "cat") + b"/cat_\xff.png")
    scan = scan_model(ImageFolder(data, TRANSFORM), tmp_path / "scan")
    assert [(u.path, u.label) for u in scan.unreadable] == [(r"cat/cat_\udcff.png", "cat")]
    assert scan.scored == {"all": 20}


def test_an_image_that_a_transform_refuses_is_listed(data: Path, tmp_path: Path) -> None:
    def refuse(image: Any) -> Any:
        if image.size[0] == 21:
            raise ZeroDivisionError("too wide")
        return image

    make_image(data / "cat/cat_0.png", size=(21, 20))
    folder = ImageFolder(data, transforms.Compose([refuse, TRANSFORM]))
    scan = scan_model(folder, tmp_path / "scan")
    assert [(u.path, u.error) for u in scan.unreadable] == [("cat/cat_0.png", "ZeroDivisionError: too wide")]


def test_an_unreadable_file_of_unknown_label_can_be_reviewed(data: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    files = []
    for label in VOCAB:
        files += [make_image(flat / f"{label}_{n}.png", seed=n) for n in range(3)]
    table = UnlistedDataset(ImageFolder(data, TRANSFORM))
    table.rows.samples = [(str(path), n // 3) for n, path in enumerate(files)]
    files[4].write_bytes(b"broken")
    scan = scan_model(table, tmp_path / "scan", paths=files, vocab=VOCAB)
    assert [(u.path, u.label) for u in cleaner.load(tmp_path / "scan").unreadable] == [("cat_1.png", "")]
    session = Session(scan)
    session.open(UNREADABLE)
    session.decide_all(session.paths, Action.DELETE)
    report = cleaner.apply(scan.manifest_path, data=flat)
    assert [each.source for each in report.done] == ["cat_1.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_images_are_scored_or_listed(kind: str, data: Path, tmp_path: Path) -> None:
    odd = write_odd_image(kind, data / "cat")
    extensions = (".png", ".jpg", ".gif")
    folder = ImageFolder(data, TRANSFORM, is_valid_file=lambda path: path.endswith(extensions))
    scan = scan_model(folder, tmp_path / "scan")
    name = f"cat/{odd.name}"
    assert ([u.path for u in scan.unreadable] == [name]) == (kind in BROKEN_KINDS)
    assert (name in losses_by_path(scan)) == (kind not in BROKEN_KINDS)


def test_suspicious_files_are_refused_though_the_dataset_opens_files_itself(data: Path, tmp_path: Path) -> None:
    write_harmful_image("container.jpg", data / "cat")
    scan = scan_model(ImageFolder(data, TRANSFORM), tmp_path / "scan")
    assert [u.path for u in scan.unreadable] == ["cat/container.jpg"]
    assert "it is in the format BLP, which is not opened" in scan.unreadable[0].error


@pytest.mark.parametrize("kind", ["torchvision's", "own", "own, unlike what it lists"])
def test_labels_are_those_that_the_dataset_returns_or_else_lists(kind: str, data: Path) -> None:
    folder = ImageFolder(data, TRANSFORM)
    dataset = folder if kind == "torchvision's" else ListedDataset(folder)
    other = kind == "own, unlike what it lists"
    if other:
        dataset = ChangedDataset(folder, lambda image, target: (image, 2))
    samples = TorchDataset(dataset, "all", VOCAB, None, Path(), 4)
    assert [samples.label(key) for key in (0, 7, 20)] == ["dog" if other else "bear", "cat", "dog"]
    for path in data.rglob("*_0.png"):
        path.write_bytes(b"broken")
    assert [samples.label(key) for key in (0, 7, 14)] == ["bear", "cat", "dog"]


def test_the_label_of_a_fatal_file_is_found_without_reading_it(data: Path) -> None:
    read: list[int] = []

    class RecordingDataset(ChangedDataset):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    dataset = RecordingDataset(ImageFolder(data, TRANSFORM), lambda image, target: (image, target))
    samples = TorchDataset(dataset, "all", VOCAB, None, Path(), 4)
    samples.root = data
    samples.fatal["cat/cat_0.png"] = "the process that read it was ended by the system"
    assert [samples.label(key) for key in (0, 7)] == ["bear", "cat"]
    assert read == [0]


@pytest.mark.parametrize("block", [1, 4, 100])
def test_repeated_files_are_refused_wherever_they_are(block: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_data, "_BLOCK", block)
    folder = ImageFolder(data)
    samples = TorchDataset(Subset(folder, range(21)), "all", VOCAB, None, Path(), 4)
    assert samples.folders == {str(data / label) for label in VOCAB}
    for indices, pair in ([0, 1, 2, 3, 4, 1], "1 and 5"), ([3, 3, 5], "0 and 1"):
        with pytest.raises(CleanerError, match=f"samples {pair} of 'all' are the same file"):
            TorchDataset(Subset(folder, indices), "all", VOCAB, None, Path(), 4)


def test_files_of_equal_hashes_are_not_repeated(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleaner.scoring.data.torch_data.DuplicateFinder.update", lambda finder, files: 3)
    assert TorchDataset(ImageFolder(data), "all", VOCAB, None, Path(), 4).count == 21


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
def test_random_transforms_are_warned_of(
    steps: list[Any], named: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ImageFolder(data, transforms.Compose(steps))
    with caplog.at_level(logging.WARNING, "cleaner"):
        scan_model(Subset(folder, range(8)), tmp_path / "scan")
    assert (f"'all' has random steps ({named})" in caplog.text) is bool(named)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: {"image": x, "label": y},
            r"sample 0 of 'all' is a dict; pass .* \(image, label\)",
        ),
        (lambda x, y: (x, y, "more"), r"is 3 values; pass .* \(image, label\)"),
        (lambda x, y: x, r"is a Tensor; pass .* \(image, label\)"),
        (lambda x, y: (x, True), "is True, of type bool; expected the index of its class"),
        (lambda x, y: (x, torch.tensor(True)), "is True, of type bool"),
        (lambda x, y: (x, "cat"), "is 'cat', of type str; expected the index of its class"),
        (lambda x, y: (x, None), "is None, of type NoneType"),
        (lambda x, y: (x, 1.0), r"is 1\.0, of type float"),
        (
            lambda x, y: (x, 3),
            r"bear_0.png', sample 0 of 'all', is 3, but the vocabulary has 3 .* 0 to 2$",
        ),
        (lambda x, y: (x, -1), "is -1, but the vocabulary"),
        (lambda x, y: (x, torch.tensor([1, 0, 0])), r"of shape \(3,\).*target_transform=lambda t: t\.argmax\(\)"),
        (lambda x, y: ("bear_0.png", y), r"is a builtins\.str, not a tensor.*ToTensor"),
        (lambda x, y: (transforms.ToPILImage()(x), y), r"is a PIL\.Image\.Image, not a tensor.*ToTensor"),
        (lambda x, y: (x[:, :8], y), r"the shapes \(3, 16, 16\), \(3, 8, 16\).*batch size of 1"),
        (lambda x, y: (x[:1], y), r"the shapes \(1, 16, 16\), \(3, 16, 16\)\. Let the dataset's transform"),
    ],
)
def test_invalid_samples_are_errors(
    change: Callable[[Any, int], Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        scan_model(ChangedDataset(ImageFolder(data, TRANSFORM), change), tmp_path / "scan")
    assert not (tmp_path / "scan").exists()


def test_an_invalid_sample_in_a_worker_is_an_error_here(data: Path, tmp_path: Path) -> None:
    dataset = ChangedDataset(ImageFolder(data, TRANSFORM), lambda image, target: (image, "cat"))
    with pytest.raises(CleanerError, match=r"^the label of '.*bear_0.png', sample 0 of 'all', is 'cat', of type str"):
        scan_model(dataset, tmp_path / "scan", workers=1)


def test_a_dataset_that_cannot_be_sent_to_workers_is_an_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS and Windows, on every system.
    monkeypatch.setattr(torch.utils.data, "DataLoader", partial(DataLoader, multiprocessing_context="spawn"))
    # The loader waits for the worker that never began.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    folder = ImageFolder(data, transforms.Compose([lambda image: image, TRANSFORM]))
    with pytest.raises(CleanerError, match=r"cannot be sent to worker processes.*workers=0"):
        scan_model(folder, tmp_path / "scan", workers=1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_that_dies_mid_transfer_is_reported(
    error: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Any:
        raise error

    monkeypatch.setattr("multiprocessing.resource_sharer.DupFd.detach", breaks)
    children = set(torch.multiprocessing.active_children())
    with pytest.raises(CleanerError, match=rf"ended a process that reads images \({type(error).__name__}.*workers=N"):
        scan_model(ImageFolder(data, TRANSFORM), tmp_path / "scan", workers=1)
    # Workers end although the error still exists, as in a notebook.
    assert set(torch.multiprocessing.active_children()) <= children


def with_tuples_as_classes(folder: ImageFolder) -> ImageFolder:
    folder.classes = [("bear", "ursus"), ("cat",), ("dog",)]
    return folder


def case(message: str, dataset: Callable[[ImageFolder], Any] = lambda folder: folder, **options: Any) -> Any:
    return pytest.param(dataset, options, message, id=message[:30])


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        case("expected a map-style dataset .*, got DataLoader.*loader.dataset", lambda f: DataLoader(f)),
        case("got ChainDataset", lambda f: ChainDataset([])),
        case("got generator", lambda f: (x for x in f)),
        case("of type Subset, is empty", lambda f: Subset(f, [])),
        case("of type UnlistedDataset, lists no files.*pass paths=", UnlistedDataset),
        case("of type TensorDataset, lists no files", lambda f: TensorDataset(torch.ones(2, 3), torch.ones(2))),
        case(
            r"the dataset without vocab=\[...\] must list its labels",
            UnlistedDataset,
            paths=lambda index: f"{index}.png",
        ),
        case(r"the dataset without vocab=.* has the label \('bear', 'ursus'\) of type tuple", with_tuples_as_classes),
        case("samples 0 and 5 of 'all' are the same file", lambda f: Subset(f, [0, 1, 2, 3, 4, 0])),
        case("paths is a str; pass one path for each of the 21 samples", paths="images"),
        case("paths is a float", paths=1.0),
        case("paths is 2 paths; pass one path for each of the 21 samples", paths=["a.png", "b.png"]),
        case("the path of sample .* is 7; pass text", paths=lambda index: 7),
        case(
            r"none of 16 files of 'all' exists, such as .*gone.png",
            paths=lambda index: f"gone{index}.png".replace(str(index), ""),
        ),
        case("paths is a dict of \\['train'\\].*splits \\['all'\\]", paths={"train": []}),
        case("paths is a list; with the splits", lambda f: {"train": f, "valid": f}, paths=[]),
        case("splits is", lambda f: {}),
        case("splits is", split=""),
        case("vocab must list its labels in the order of the model's outputs; got str", vocab="bear"),
        case("vocab must list its labels.*; got dict", vocab={"bear": 0}),
        case("with one class every loss is 0", vocab=["bear"]),
        case("vocab has more than one label '1'; labels must differ as text", vocab=["1", 1, "2"]),
        case("vocab has an empty label", vocab=["", "a", "b"]),
        case("vocab has the label True", vocab=[True, False]),
        case(r"vocab has the label \('bear', 'ursus'\)", vocab=[("bear", "ursus"), ("cat",), ("dog",)]),
        case("'bear' is class 0 of the dataset and class 2", vocab=["dog", "cat", "bear"]),
        case("batch_size is 0", batch_size=0),
        case("workers is -1", workers=-1),
        case("'nowhere' is not a folder", root="nowhere"),
        case("is outside of the dataset's folder.*pass a root=... above both", root=Path(__file__).parent),
    ],
)
def test_invalid_datasets_and_options_are_errors(
    dataset: Callable[[ImageFolder], Any], options: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CleanerError, match=message):
        scan_model(dataset(ImageFolder(data, TRANSFORM)), tmp_path / "scan", **options)
    assert not (tmp_path / "scan").exists()


def test_splits_with_different_labels_are_refused(data: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", vocab=("cat", "dog"))
    datasets = {"train": ImageFolder(data, TRANSFORM), "valid": ImageFolder(other, TRANSFORM)}
    with pytest.raises(CleanerError, match="the splits have different labels: 'train' has"):
        scan_model(datasets, tmp_path / "scan")
    with pytest.raises(CleanerError, match="'cat' is class 0 of the dataset and class 1 of the vocabulary"):
        scan_model(datasets, tmp_path / "scan", vocab=VOCAB)
    datasets["valid"].target_transform = lambda target: target + 1
    assert scan_model(datasets, tmp_path / "scan", vocab=VOCAB).scored == {"train": 21, "valid": 14}
