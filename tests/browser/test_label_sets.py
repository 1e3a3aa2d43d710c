"""Planted errors in label sets and masks: found by a learner, reviewed, applied and undone."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import cleaner
from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from cleaner.core.tasks import ALL_IMAGES
from cleaner.demo import make_label_sets, make_masks
from tests.support.browser_app import App, violations
from tests.support.hosts import PATIENCE, Host, served, voila
from tests.support.scans import make_label_scan


def train(dls: Any, model: Any, epochs: int, loss_func: Any = None) -> Any:
    from fastai.learner import Learner

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads would only wait for each other on tiny batches
    learn = Learner(dls, model, loss_func=loss_func)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, 1e-2)
    torch.set_num_threads(threads)
    return learn


def scan_of_sets(folder: Path) -> tuple[Scan, dict[str, tuple[str, ...]]]:
    """A scan of images with several labels, and the right labels of those with errors."""
    from fastai.vision import all as fastai
    from torch import nn

    truth = make_label_sets(folder, n=400, wrong=10)
    fastai.set_seed(0, reproducible=True)
    # pandas would read the empty cell of an image without labels as a number.
    table = pd.read_csv(folder / "labels.csv", keep_default_na=False)
    dls = fastai.ImageDataLoaders.from_df(table, folder, valid_pct=0.2, seed=0, bs=32, num_workers=0, label_delim=" ")
    steps = [fastai.ConvLayer(before, after, stride=2) for before, after in ((3, 16), (16, 32), (32, 64))]
    model = nn.Sequential(*steps, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 4))
    return cleaner.scan(train(dls, model, epochs=8), folder / "scan", k=20, progress=False), truth


def labels_in(table: Path) -> dict[str, set[str]]:
    with open(table, encoding="utf-8", newline="") as file:
        return {row["fname"]: set(row["labels"].split()) for row in csv.DictReader(file)}


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_planted_label_errors_are_found_reviewed_applied_and_undone(tmp_path: Path, chromium: Any) -> None:
    scan, truth = scan_of_sets(tmp_path)
    table = tmp_path / "labels.csv"
    before, given = table.read_bytes(), labels_in(table)
    # Each planted error is one label too few or too many, to be found in the class of that label.
    wrong = {path: given[path] ^ set(right) for path, right in truth.items()}
    found = {
        (split, label, sample.path)
        for split in scan.splits
        for label in scan.vocab
        for sample in scan.kept(split, label)[:10]
        if label in wrong.get(sample.path, ())
    }
    assert len(found) >= 0.8 * len(truth)

    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        host.open(page)
        app = App(page)
        for split, label, path in sorted(found):
            first = Path(scan.kept(split, label)[0].path).name
            if app.split.input_value() != split:
                app.split.select_option(split)
                page.locator(f".cleaner-grid[aria-label*='{split} / ']").wait_for(timeout=PATIENCE)
            app.open_list(label, first)
            app.decide(Path(path).name, "toggle", f"{'−' if label in given[path] else '+'} {label}")
        picture(page, "several-labels")
        page.close()

    report = cleaner.apply(scan.manifest_path, tmp_path, labels=table, label_delim=" ")
    assert report.conflicts == ()
    assert len(report.done) == len(found)
    after = labels_in(table)
    for path, labels in given.items():
        assert after[path] == (set(truth[path]) if path in {each[2] for each in found} else labels)
    cleaner.undo(report.journal)
    assert table.read_bytes() == before


@pytest.fixture
def sets(tmp_path: Path) -> Scan:
    return make_label_scan(tmp_path / "data", tmp_path / "scan")


def chips(app: App, name: str) -> list[str]:
    return app.card(name).locator(".cleaner-chip").all_text_contents()


def test_several_labels_are_reviewed_by_keys_and_by_mouse(sets: Scan, tmp_path: Path, chromium: Any) -> None:
    with voila(sets.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        host.open(page)
        app = App(page)
        app.open_list("cat", "0.png")
        assert [chips(app, f"{n}.png") for n in range(4)] == [["no cat"], ["cat"], ["no cat", "dog"], ["cat", "dog"]]
        title = app.card("3.png").get_attribute("title")
        assert "given cat, dog\npredicted no cat 90 %\nloss 1.700" in title

        app.wait_at("0.png")
        assert app.footer("predicted").text_content() == "⏎ ± cat"
        app.press("Enter")  # adds cat, and goes on
        app.wait_for("0.png", "+ cat")
        app.press("Enter")  # takes cat from the next
        app.wait_for("1.png", "− cat")
        app.press("k")
        app.wait_for("2.png", "✓ Keep")
        app.press("r")
        page.locator(".cleaner-chooser input").fill("fo")
        app.press("Enter")
        app.wait_for("3.png", "+ fox")
        assert chips(app, "3.png") == ["cat", "dog", "+ fox"]
        app.wait_at("3.png")  # it may get another label

        app.open_list("dog", "0.png")
        app.decide("3.png", "toggle", "− dog, + fox")
        assert chips(app, "3.png") == ["− dog", "cat", "+ fox"]
        app.decide("1.png", "keep", "− cat")  # the change made in the other class stays
        app.decide("0.png", "undo", "undecided")
        assert violations(page) == []
        app.press("z")
        page.wait_for_selector(".cleaner-large-picture[aria-busy=false] img", timeout=PATIENCE)
        assert violations(page) == []
        page.close()
    standing = Manifest(sets.manifest_path).standing()
    assert {path: (d.action.value, d.label, d.new_label) for path, d in standing.items()} == {
        "1.png": ("relabel", "cat", ";"),
        "2.png": ("keep", "dog", ""),
        "3.png": ("relabel", "cat;dog", "cat;fox"),
    }


def test_wrong_masks_are_shown_deleted_and_restored(tmp_path: Path, chromium: Any) -> None:
    from fastai.vision import all as fastai
    from torch import nn

    wrong = make_masks(tmp_path / "data", n=60, wrong=3)
    fastai.set_seed(0, reproducible=True)
    images = fastai.get_image_files(tmp_path / "data/images")
    dls = fastai.SegmentationDataLoaders.from_label_func(
        tmp_path / "data", images, label_func=lambda path: path.parents[1] / "masks" / path.name,
        codes=["paper", "ink"], valid_pct=0.2, seed=0, bs=16, num_workers=0,
    )  # fmt: skip
    model = nn.Sequential(fastai.ConvLayer(3, 16), nn.Conv2d(16, 2, 1))
    learn = train(dls, model, epochs=6, loss_func=fastai.CrossEntropyLossFlat(axis=1))
    scan = cleaner.scan(learn, tmp_path / "scan", k=10, progress=False)
    assert {sample.path for sample in scan.worst(3)} == set(wrong)

    with served(scan.folder) as host:
        review_masks(host, chromium, scan)
    deleted = [path for path, row in Manifest(scan.manifest_path).standing().items() if row.action == "delete"]
    assert set(deleted) <= set(wrong)
    report = cleaner.apply(scan.manifest_path, tmp_path / "data")
    assert report.conflicts == ()
    (moved,) = report.done
    assert not (tmp_path / "data" / moved.source).exists()
    cleaner.undo(report.journal)
    assert (tmp_path / "data" / moved.source).exists()


def review_masks(host: Host, chromium: Any, scan: Scan) -> None:
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    host.open(page)
    app = App(page)
    app.wait_first(Path(scan.kept("train", ALL_IMAGES)[0].path).name)
    first, second = app.names()[:2]
    app.card(first).hover()
    assert page.locator("[data-tool=relabel], [data-tool=predicted]").count() == 0
    assert page.get_by_label("Predicted", exact=True).count() == 0
    assert page.locator(".cleaner-caption").count() == 0
    assert app.card(first).get_attribute("title").splitlines()[-1].startswith("loss ")
    # The drawing shows the image twice, with its mask and with the model's.
    width, height = page.evaluate(
        "(i => [i.naturalWidth, i.naturalHeight])(document.querySelector('.cleaner-picture img'))"
    )
    assert width > 1.5 * height
    picture(page, "masks")
    app.point(first)
    app.press("d")
    app.wait_for(first, "✕ Delete")
    app.press("Enter", "1", "r")  # do nothing here
    app.press("s")
    app.wait_for(second, "? Unsure")
    assert violations(page) == []
    page.close()
