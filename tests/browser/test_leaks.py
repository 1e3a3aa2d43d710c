"""Leaks from end to end: planted, found by `cleaner check`, resolved on the page, applied, found no more, undone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cleaner
from cleaner.core.scan import load
from tests.browser.conftest import VIEWPORT
from tests.checks.test_run import picture, save
from tests.support.hosts import PATIENCE, voila, wait_until

LEAKS = {"valid/dog/same.jpg": "train/dog/01.jpg", "valid/cat/small.jpg": "train/cat/02.jpg"}


def plant(root: Path) -> None:
    """Write 24 images in two splits, with two leaks: a copied file, and a smaller one of lower quality."""
    for seed in range(24):
        split, label = ("train", "valid")[seed % 4 == 3], ("cat", "dog")[seed % 2]
        save(picture(seed), root / split / label / f"{seed:02d}.jpg", quality=92)
    shutil.copy(root / "train/dog/01.jpg", root / "valid/dog/same.jpg")
    save(picture(2).resize((150, 112)), root / "valid/cat/small.jpg", quality=60)


def leaks(data: Path, out: Path) -> set[str]:
    report = cleaner.check(data, out, workers=2, progress=False)
    return {row.path for row in report.issues if row.issue == "leak"}


def _n_decided(page: Any) -> int:
    cards = page.locator(".cleaner-card")
    return cards.evaluate_all("cards => cards.filter(card => card.dataset.decision !== '').length")


def test_leaks_are_found_resolved_on_the_page_applied_and_undone(tmp_path: Path, chromium: Any) -> None:
    data, out = tmp_path / "data", tmp_path / "scan"
    plant(data)
    assert leaks(data, out) == {*LEAKS, *LEAKS.values()}
    with voila(out, tmp_path) as host:
        page = chromium.new_page(viewport=VIEWPORT)
        host.open(page)
        for n_resolved in range(len(LEAKS)):
            # The cursor begins on the image that is suggested to be kept, and goes on to the next group.
            page.locator(".cleaner-card.cleaner-at:focus").wait_for(timeout=PATIENCE)
            page.keyboard.press("g")
            wait_until(lambda n=n_resolved: _n_decided(page) == 2 * (n + 1))
        page.locator(".cleaner-saved", has_text="saved ✓").wait_for(timeout=PATIENCE)
        page.close()
    latest = cleaner.Manifest(out / "decisions.csv").latest()
    decided = {path: decision.action.value for path, decision in latest.items()}
    assert decided == {**dict.fromkeys(LEAKS, "delete"), **dict.fromkeys(LEAKS.values(), "keep")}
    report = cleaner.apply(out / "decisions.csv", data)
    assert {path for path in LEAKS if (data / path).exists()} == set()
    assert leaks(data, out) == set()
    assert load(out).issues == ()
    cleaner.undo(report.journal)
    assert leaks(data, out) == {*LEAKS, *LEAKS.values()}
