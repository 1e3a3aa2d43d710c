"""The review of a made-up scan in Voila, for the tests that need no scan of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.records import Unreadable
from cleaner.core.scan import Scan, load
from tests.support.browser_app import App
from tests.support.hosts import Host, voila, wait_until
from tests.support.scans import make_scan

VIEWPORT = {"width": 1400, "height": 900}


def make_long_scan(folder: Path) -> Scan:
    """Write a scan with three classes of several pages in each of two splits, and one file that could not be read."""
    scan = make_scan(folder / "data", folder / "scan", vocab=("cat", "dog", "fox"), per_class=35)
    return replace(scan, unreadable=(Unreadable("train", "cat", "train/cat/bad.png", "broken"),)).write(scan.folder)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Voila on the long scan."""
    folder = tmp_path_factory.mktemp("served")
    scan = make_long_scan(folder)
    with voila(scan.folder, folder) as host:
        yield host


@pytest.fixture
def served_scan(host: Host) -> Scan:
    """The scan that the host serves, with nothing decided and no saved place."""
    scan = load(next(word for word in host.server.cmdline() if word.endswith("/scan")))
    wait_until(lambda: host.kernels() == [])  # of the test before, which may write its place
    for path in scan.folder.glob("decisions.csv*"):
        path.unlink()
    return scan


@pytest.fixture
def app(host: Host, served_scan: Scan, chromium: Any) -> Iterator[App]:
    """The app on a new page, which shows the worst images of all classes."""
    page = chromium.new_page(viewport=VIEWPORT)
    host.open(page)
    app = App(page)
    app.wait_first("cat_01.png")
    yield app
    page.goto("about:blank")
    page.close()


@pytest.fixture
def cats(app: App) -> App:
    """The app, with the class of cats open, the first of three, and the cursor on its first card."""
    app.open_list("cat", "cat_01.png")
    app.wait_at("cat_01.png")
    return app
