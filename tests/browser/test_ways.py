"""Planted label errors, in the names of files and in a label table: found, reviewed on the page, applied and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastai.vision import all as fastai

from cleaner.cli import main
from cleaner.core.files import sha256_of
from cleaner.core.scan import load
from tests.support.browser_app import App
from tests.support.digits import NAME_PATTERN, digits, in_a_table, in_names, trained_model, write
from tests.support.folders import tree
from tests.support.hosts import voila

OPTIONS: dict[str, Any] = {"bs": 16, "num_workers": 0}


def by_names(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_name_re(root, fastai.get_image_files(root), NAME_PATTERN, **OPTIONS)


def by_table(root: Path) -> Any:
    return fastai.ImageDataLoaders.from_csv(root, folder="images", **OPTIONS)


@dataclass(frozen=True)
class Way:
    """A dataset's layout on the disk, how fastai reads it, and the options of `cleaner scan` and `cleaner apply`."""

    write: Callable[[Path], None]
    loaders: Callable[[Path], Any]
    scan: tuple[str, ...]
    apply: tuple[str, ...]


TABLE = ("--labels", "data/labels.csv", "--label-column", "kind")
WAYS = {
    "names like those of Pets": Way(in_names, by_names, (), ("--name-pattern", NAME_PATTERN)),
    "a label table": Way(in_a_table, by_table, TABLE, TABLE),
}


@pytest.mark.parametrize("name", WAYS)
def test_planted_errors_are_found_reviewed_applied_and_undone(
    name: str, chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    way = WAYS[name]
    monkeypatch.chdir(tmp_path)
    way.write(Path("data"))
    before = tree(Path("data"))
    learn = fastai.Learner(way.loaders(Path("data")), trained_model(), loss_func=fastai.CrossEntropyLossFlat())
    learn.export(tmp_path / "learner.pkl")

    scanning = ["--learner", "learner.pkl", "--trust", "--data", "data", "--out", "scan", "--workers", "0", "-k", "3"]
    # The table's paths are relative to `images` in its folder, where fastai looks for them.
    data = ["--data", "data/images"] if way.scan else []
    assert main(["scan", *scanning, *data, *way.scan]) == 0
    scan = load("scan")
    worst = {sha256_of(scan.root / sample.path): sample for sample in scan.samples if sample.rank == 1}
    (relabelled, true), (deleted, _) = [(digit_bytes(d), d.true) for d in digits() if d.is_wrong][:2]
    with voila(scan.folder, scan.folder) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        for sha256, decide in ((relabelled, lambda file: app.relabel(file, true)), (deleted, delete_on(app))):
            file = Path(worst[sha256].path).name
            app.open_list(worst[sha256].label, file)
            decide(file)
        page.close()

    capsys.readouterr()
    assert main(["apply", "scan/decisions.csv", "--data", str(scan.root), *way.apply, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [done["action"] for done in report["done"]] == ["relabel", "delete"]
    loaders = way.loaders(Path("data"))
    found = labels_by_bytes(loaders)
    assert (found[relabelled], deleted in found, len(found)) == (true, False, len(digits()) - 1)
    assert main(["undo", report["journal"]]) == 0
    assert tree(Path("data")) == before


def delete_on(app: App) -> Callable[[str], None]:
    return lambda file: app.decide(file, "delete", "✕ Delete")


def digit_bytes(digit: Any) -> str:
    write(digit, Path("one.png"))
    return sha256_of(Path("one.png"))


def labels_by_bytes(loaders: Any) -> dict[str, str]:
    """Return the label that fastai reads for each image, by the image's bytes."""
    found = {}
    for loader in loaders.loaders:
        dataset = loader.dataset
        items = [
            dataset.items.iloc[n] if hasattr(dataset.items, "iloc") else dataset.items[n] for n in range(len(dataset))
        ]
        for n, item in enumerate(items):
            file = item if isinstance(item, Path) else Path("data/images", item["fname"])
            found[sha256_of(file)] = loaders.vocab[int(dataset.tls[1][n])]
    return found
