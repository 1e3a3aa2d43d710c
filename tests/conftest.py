"""Datasets, scans and a browser for the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleaner.core.records import ClassLosses, Sample
from cleaner.core.scan import Scan
from cleaner.core.tasks import MULTI_LABEL

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def make_image(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Path:
    """Write an image of random colour blocks; each seed gives other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def make_scan(root: Path, out: Path, vocab: tuple[str, ...] = ("cat", "dog", "fox"), per_class: int = 8) -> Scan:
    """A dataset of class folders below `train` and `valid`, and its scan, made without a model."""
    samples, cells = [], {}
    for split in ("train", "valid"):
        cells[split] = {}
        for number, label in enumerate(vocab):
            predicted = vocab[(number + 1) % len(vocab)]
            cells[split][label, predicted] = per_class
            for rank in range(1, per_class + 1):
                path = f"{split}/{label}/{label}_{'v' if split == 'valid' else ''}{rank:02d}.png"
                make_image(root / path, seed=hash((split, number, rank)) % 2**32)
                samples.append(Sample(split, label, rank, path, 5 - rank / 10, predicted, 0.9))
    return Scan(
        root=root,
        vocab=vocab,
        splits=("train", "valid"),
        k=per_class,
        scored={"train": len(vocab) * per_class, "valid": len(vocab) * per_class},
        samples=tuple(samples),
        cells=cells,
    ).write(out)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow layers, and leave out the long counts unless `-m` names them."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if item.path.name == "test_notebooks.py":
            item.add_marker("notebook")
        if item.path.name == "test_ray.py":
            item.add_marker("ray")
    if "long" not in config.option.markexpr:
        # Not `-m` in addopts, which one on the command line would replace.
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session", autouse=True)
def _settings_of_no_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the program remembers for its user goes to a folder of the tests, also in processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("settings"))
        patch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", folder)
        yield


def make_label_scan(root: Path, out: Path) -> Scan:
    """Four images with all sets of the labels cat and dog, of which the model sees cats where there are none."""
    vocab, sets = ("cat", "dog", "fox"), [(), ("cat",), ("dog",), ("cat", "dog")]
    for number in range(len(sets)):
        make_image(root / f"{number}.png", seed=number)
    samples = []
    for label in vocab:
        for number, given in enumerate(sets):
            says = (label in given) != (label == "cat")
            about = (f"{number}.png", 2 - number / 10, label if says else "", 0.9)
            samples.append(Sample("train", label, number + 1, *about, given))
    losses = tuple(ClassLosses("train", label, 4, 3 if label == "cat" else 0) for label in vocab)
    return Scan(
        root, vocab, ("train",), 4, {"train": 4}, tuple(samples), {"train": {}}, (), losses,
        task=MULTI_LABEL, label_delim=";",
    ).write(out)  # fmt: skip


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A small scan with two splits and three classes of eight images."""
    return make_scan(tmp_path / "data", tmp_path / "scan")


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Gives the path of a file of real images; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.is_file():
            pytest.skip(f"needs the real images {name}, which are not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A headless Chromium: `CHROMIUM` or the one on the PATH."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium on the PATH; CI needs it")
        pytest.skip("needs chromium on the PATH, or its path in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
