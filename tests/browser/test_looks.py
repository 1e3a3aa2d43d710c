"""Looks and accessibility of the page, light and dark, on the demo's digits.

`SCREENSHOTS=FOLDER` keeps the pictures there; `screenshots/` has those of the README.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import Scan
from cleaner.demo import make_dataset, train
from cleaner.scoring.api import scan_folder
from tests.support.browser_app import App, violations
from tests.support.hosts import PATIENCE, Host, served

WIDTHS = (1024, 1280, 2400)

# The window reports its new width before the page is laid out; a scroll bar takes part of it.
IS_LAID_OUT = """async width => {
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    return Math.abs(document.documentElement.clientWidth - width) <= 20;
}"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """The scan of the demo."""
    folder = tmp_path_factory.mktemp("digits")
    make_dataset(folder / "images")
    learn = train(folder / "images")
    return scan_folder(learn, folder / "images", folder / "scan", progress=False)


@pytest.fixture(scope="module", params=["light", "dark"])
def themed(request: pytest.FixtureRequest, digits: Scan) -> Iterator[tuple[str, Host]]:
    """The served scan, in a theme."""
    with served(digits.folder, "--theme", request.param) as host:
        yield request.param, host


@pytest.fixture
def page(themed: tuple[str, Host], digits: Scan, chromium: Any) -> Iterator[Any]:
    """The page with nothing decided, so the overview is unfolded."""
    for path in digits.folder.glob("decisions.csv*"):
        path.unlink()
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    themed[1].open(page)
    page.wait_for_selector(".cleaner-matrix button", timeout=PATIENCE)
    yield page
    page.goto("about:blank")  # which ends the kernel
    page.close()


def picture(page: Any, name: str) -> None:
    """Take a screenshot, and check that it is not blank."""
    data = page.screenshot()
    assert len(data) > 10_000
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(data)


def test_every_view_is_accessible(themed: tuple[str, Host], page: Any) -> None:
    theme, app = themed[0], App(page)
    app.wait_first("digit_0886.png")
    assert page.evaluate("document.body.dataset.jpThemeLight") == str(theme == "light").lower()
    picture(page, f"overview-{theme}")
    assert violations(page) == []

    page.locator(".cleaner-fold").click()
    names = app.names()
    app.card(names[0]).locator(".cleaner-picture").click()
    for key, name, shows in (("Enter", names[0], "→ 4"), ("d", names[1], "✕ Delete"), ("s", names[2], "? Unsure")):
        page.keyboard.press(key)
        app.wait_for(name, shows)
    page.keyboard.press("k")
    app.wait_for(names[3], "✓ Keep")
    page.keyboard.press("Shift+ArrowRight")
    page.locator(".cleaner-selected", has_text="2 selected").wait_for(timeout=PATIENCE)
    picture(page, f"grid-{theme}")
    assert violations(page) == []

    page.keyboard.press("r")
    page.wait_for_selector(".cleaner-chooser input", timeout=PATIENCE)
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    page.wait_for_selector(".cleaner-large-picture[aria-busy=false] img", timeout=PATIENCE)
    picture(page, f"large-{theme}")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector(".cleaner-help[open]", timeout=PATIENCE)
    assert violations(page) == []


def test_nothing_is_cut_off_on_narrow_and_wide_screens(page: Any) -> None:
    seen = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 768})
        page.wait_for_function(IS_LAID_OUT, arg=width)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        tops = page.evaluate("[...document.querySelectorAll('.cleaner-card')].map(card => card.offsetTop)")
        seen.append(tops.count(tops[0]))
    assert seen[0] >= 4
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_the_focus_is_always_visible(page: Any) -> None:
    page.evaluate("document.activeElement.blur()")
    outlines = []
    for _ in range(40):
        page.keyboard.press("Tab")
        outlines.append(
            page.evaluate(
                """() => {
                    const node = document.activeElement;
                    if (!node.closest(".cleaner")) return "elsewhere";
                    const style = getComputedStyle(node);
                    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1.5;
                    return seen ? "seen" : node.outerHTML;
                }"""
            )
        )
    assert set(outlines) <= {"seen", "elsewhere"}
    assert outlines.count("seen") > 20
