"""The app in marimo, which shows anywidgets and no containers of ipywidgets, in its editor and run as an app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, marimo, wait_until
from tests.support.scans import make_scan


@pytest.mark.parametrize("mode", ["edit", "run"])
def test_a_decision_is_taken_in_marimo(mode: str, tmp_path: Path, chromium: Any) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    with marimo(scan.folder, tmp_path / "notebooks", mode) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        host.open(page)
        app = App(page)
        # marimo shows a widget in a shadow root, which only Playwright's own locators see into.
        app.tool("cat_02.png", "delete").click()
        app.card("cat_02.png").filter(has_text="✕ Delete").wait_for(timeout=PATIENCE)
        app.card("cat_03.png").locator(".cleaner-picture").click()
        app.press("k")
        app.card("cat_03.png").filter(has_text="✓ Keep").wait_for(timeout=PATIENCE)
        wait_until(lambda: standing(scan) == {"cat_02.png": "delete", "cat_03.png": "keep"})
        page.reload()
        host.open(page)
        app.card("cat_02.png").filter(has_text="✕ Delete").wait_for(timeout=PATIENCE)
        assert [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))] == []
        page.close()
