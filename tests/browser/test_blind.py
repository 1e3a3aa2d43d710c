"""Two reviewers in two browsers, who see each other's decisions, or in a blind review do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import load
from tests.support.browser_app import App
from tests.support.hosts import TOKEN, served
from tests.support.scans import make_scan


@pytest.mark.parametrize("options", [(), ("--blind",)])
def test_two_reviewers_see_each_others_decisions_unless_the_review_is_blind(
    options: tuple[str, ...], tmp_path: Path, chromium: Any
) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    with served(scan.folder, *options) as host:
        apps = {}
        for name in ("ann", "ben"):
            page = chromium.new_page(viewport={"width": 1400, "height": 900})
            page.goto(f"{host.address}?token={TOKEN}&reviewer={name}")
            page.wait_for_selector(".cleaner-card")
            apps[name] = App(page)
        apps["ann"].decide("cat_01.png", "delete", "✕ Delete")
        apps["ann"].decide("cat_02.png", "keep", "✓ Keep")
        if options:
            apps["ben"].decide("cat_01.png", "keep", "✓ Keep")
            apps["ben"].decide("cat_02.png", "keep", "✓ Keep")
            apps["ann"].wait_for("cat_01.png", "✕ Delete")
            found = load(scan.folder).agreement()
            assert (found.overlap, found.raw) == (2, 0.5)
            assert found.differing == {"train/cat/cat_01.png": {"ann": "delete", "ben": "keep"}}
        else:
            apps["ben"].wait_for("cat_01.png", "✕ Delete")
        for app in apps.values():
            app.page.close()
