"""From real images and a trained learner to a cleaned dataset and back, by the commands a user types."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.scan import load
from tests.support.browser_app import App
from tests.support.hosts import voila

PER_CLASS = 1000


def test_cifar_from_learner_to_cleaned_dataset_and_back(
    shared_data: Callable[[str], Path], tmp_path: Path, chromium: Any
) -> None:
    data = _unpack(shared_data("cifar10-test.zip"), tmp_path)
    learner = tmp_path / "learner.pkl"
    _train(data, epochs=3).export(learner)
    before = _tree(data)

    _cleaner("scan", "--learner", learner, "--data", data, "--out", tmp_path / "scan", "-k", "20", "--trust")
    scan = load(tmp_path / "scan")
    assert scan.scored == {"all": 10 * PER_CLASS}
    assert not scan.unreadable
    deleted, relabelled, kept = (sample.path for sample in scan.kept("all", "cat")[:3])
    _review(scan.folder, deleted, relabelled, kept, chromium)

    report = json.loads(_cleaner("apply", scan.manifest_path, "--data", data, "--json"))
    assert [move["source"] for move in report["done"]] == [deleted, relabelled]
    assert report["conflicts"] == []
    assert not (data / deleted).exists()
    assert not (data / relabelled).exists()
    again = _train(data, epochs=1)
    assert len(again.dls.train_ds) + len(again.dls.valid_ds) == 10 * PER_CLASS - 1

    _cleaner("undo", report["journal"])
    assert _tree(data) == before


def _unpack(archive: Path, folder: Path) -> Path:
    """The first images of each class, in class folders."""
    counts: dict[str, int] = {}
    with zipfile.ZipFile(archive) as zipped:
        for name in sorted(zipped.namelist()):
            label = name.split("/")[-2]
            if name.endswith(".jpg") and counts.setdefault(label, 0) < PER_CLASS:
                counts[label] += 1
                target = folder / "images" / label / name.split("/")[-1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(zipped.read(name))
    return folder / "images"


def _train(data: Path, epochs: int) -> Any:
    from fastai.vision import all as fastai
    from torch import nn

    loaders = fastai.ImageDataLoaders.from_folder(data, valid_pct=0.2, seed=0, bs=64, num_workers=0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, 10)
    )
    learn = fastai.Learner(loaders, model, loss_func=fastai.CrossEntropyLossFlat())
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, 1e-3)
    return learn


def _tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Return every file with its bytes and modification time, and every folder."""
    return {
        path.relative_to(folder).as_posix(): (sha256_of(path), path.stat().st_mtime_ns) if path.is_file() else ("", 0)
        for path in folder.rglob("*")
    }


def _cleaner(*arguments: object) -> str:
    command = [sys.executable, "-m", "cleaner", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _review(scan: Path, deleted: str, relabelled: str, kept: str, chromium: Any) -> None:
    with voila(scan, scan) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", Path(deleted).name)
        app.decide(Path(deleted).name, "delete", "✕ Delete")
        app.relabel(Path(relabelled).name, "dog")
        app.decide(Path(kept).name, "keep", "✓ Keep")
        page.close()
    assert [row.path for row in Manifest(scan / "decisions.csv").rows()] == [deleted, relabelled, kept]
