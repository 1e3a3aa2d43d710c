"""Fixtures and hooks for all tests."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from cleaner.core.scan import Scan
from tests.support.browser_app import CHROMIUM_FLAGS
from tests.support.images import SHARED_DATA
from tests.support.scans import make_scan

# Before torch is loaded: its threads would spin while they wait, and other processes need the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a test process per core


# How many examples a property test takes that has no number of its own.
hypothesis.settings.register_profile("short", deadline=None, max_examples=100)
hypothesis.settings.register_profile("long", deadline=None, max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    """Let property tests take more examples where `-m` asks for the long counts."""
    hypothesis.settings.load_profile("long" if _asks_for_long(config) else "short")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return a process per core for the fast tests alone; others measure a page, which needs the cores for itself."""
    fast = {"not browser", "not notebook", "not ray"} <= set(config.option.markexpr.split(" and "))
    return None if fast else 0


def _asks_for_long(config: pytest.Config) -> bool:
    return "long" in config.option.markexpr.replace("not long", "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow layers, and leave out the long counts unless `-m` names them."""
    for item in items:
        if _asks_for_long(config) and hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("long")
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if item.path.name == "test_notebooks.py":
            item.add_marker("notebook")
        if item.path.name == "test_ray.py":
            item.add_marker("ray")
    if not _asks_for_long(config):
        # Not `-m` in addopts, which one on the command line would replace.
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collections, which took a tenth of the time of the fast tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _settings_of_no_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the program remembers for its user goes to a folder of the tests, also in processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("settings"))
        patch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", folder)
        yield


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
