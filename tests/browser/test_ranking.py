"""The name of the ranking on the page, and cards whose image is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import cleaner
from tests.support.browser_app import App
from tests.support.hosts import PATIENCE, voila
from tests.support.images import make_image

PATHS = [f"{label}/{label}_{n}.png" for label in ("cat", "dog") for n in range(4)]


def test_a_scan_ranked_by_margin_says_so_on_the_page(tmp_path: Path, chromium: Any) -> None:
    for seed, path in enumerate(PATHS[1:]):
        make_image(tmp_path / "data" / path, seed)
    right = np.array([0.1, 0.8, 0.9, 0.7, 0.3, 0.9, 0.9, 0.9])
    labels = np.repeat([0, 1], 4)
    probs = np.where(labels[:, None] == [0, 1], right[:, None], 1 - right[:, None])
    options = {"root": tmp_path / "data", "ranked_by": "margin", "progress": False}
    scan = cleaner.scan_arrays(labels, probs, PATHS, ["cat", "dog"], tmp_path / "scan", **options)
    assert scan.folder is not None
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_0.png")
        assert app.names() == ["cat_0.png", "cat_3.png", "cat_1.png", "cat_2.png"]
        assert "margin 0.800" in app.card("cat_0.png").get_attribute("title")
        assert "not there" in app.card("cat_0.png").locator(".cleaner-picture").text_content()
        assert page.get_by_label("Order", exact=True).locator("option").all_text_contents()[0] == "Worst first"
        page.get_by_role("button", name="Overview").click()
        page.wait_for_selector(".cleaner-bars span", timeout=PATIENCE)
        assert page.locator(".cleaner-losses h2").text_content() == "Distribution of the margin: cat"
        page.get_by_role("button", name="Overview").click()
        app.point("cat_1.png")
        app.press("z")
        page.locator(".cleaner-large-name >> text='cat/cat_1.png'").wait_for(timeout=PATIENCE)
        facts = page.locator(".cleaner-large .cleaner-fact").all_text_contents()
        assert "margin -0.600" in facts
        page.close()
