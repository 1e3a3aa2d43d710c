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
from tests.support.hosts import PATIENCE, Host, served, wait_until

WIDTHS = (420, 640, 1024, 1280, 2400)
SIZES = {"usual": (1400, 900, 1), "narrow": (420, 900, 1), "zoomed": (640, 450, 2)}

# The cards fill the width that the images have now.
IS_LAID_OUT = """width => {
    const area = document.querySelector(".cleaner-images"), grid = document.querySelector(".cleaner-grid");
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").map(parseFloat);
    const used = columns.reduce((sum, each) => sum + each, 4 * (columns.length - 1));
    const room = area.clientWidth - 12;
    const inFirstRow = document.querySelector(".cleaner-row").children.length;
    const isLaidOut = innerWidth === width && used <= room && room - used < columns.length;
    return isLaidOut && inFirstRow === columns.length && columns.length;
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
    """The page with nothing decided."""
    yield from opened(themed[1], digits, chromium, (1400, 900, 1))


def opened(host: Host, scan: Scan, chromium: Any, size: tuple[int, int, int]) -> Iterator[Any]:
    """Open the page with nothing decided, in a window of some width, height and zoom."""
    wait_until(lambda: host.kernels() == [])  # of the test before
    for path in scan.folder.glob("decisions.csv*"):
        path.unlink()
    width, height, zoom = size
    page = chromium.new_page(viewport={"width": width, "height": height}, device_scale_factor=zoom)
    if zoom > 1:  # pictures of the usual size would be three on a page, too few for what the tests decide
        page.add_init_script("localStorage.setItem('cleaner-picture-size', '100')")
    host.open(page)
    page.wait_for_selector(".cleaner-card.cleaner-at:focus", timeout=PATIENCE)
    yield page
    page.goto("about:blank")  # which ends the kernel
    page.close()


@pytest.fixture(params=SIZES)
def sized(request: pytest.FixtureRequest, themed: tuple[str, Host], digits: Scan, chromium: Any) -> Iterator[Any]:
    """The page with nothing decided, at one of the sizes."""
    yield from opened(themed[1], digits, chromium, SIZES[request.param])


def picture(page: Any, name: str) -> None:
    """Take a screenshot, and check that it is not blank."""
    data = page.screenshot()
    assert len(data) > 10_000
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(data)


def test_every_view_is_accessible(themed: tuple[str, Host], sized: Any) -> None:
    """axe finds nothing, of whatever impact."""
    theme, app, size = themed[0], App(sized), f"{sized.viewport_size['width']}"
    assert sized.evaluate("document.body.dataset.jpThemeLight") == str(theme == "light").lower()
    shown = Views(app)
    for name in [name for name in vars(Views) if not name.startswith("_")]:
        getattr(shown, name)()
        picture(sized, f"{name}-{theme}-{size}")
        assert violations(sized) == [], name


class Views:
    """Shows each view after the one before, in the order of the methods."""

    def __init__(self, app: App) -> None:
        self._app, self._page, self._names = app, app.page, app.names()

    def images(self) -> None:
        self._app.wait_at(self._names[0])

    def decided(self) -> None:
        for key, name, shows in (
            ("k", self._names[0], "✓ Keep"),
            ("d", self._names[1], "✕ Delete"),
            ("s", self._names[2], "? Unsure"),
        ):
            self._app.press(key)
            self._app.wait_for(name, shows)
        self._app.press("Enter")
        self._app.wait_at(self._names[4])
        self._app.press("Shift+ArrowRight")
        self._page.locator(".cleaner-selected", has_text="2 selected").wait_for(timeout=PATIENCE)

    def chooser(self) -> None:
        self._app.press("Escape", "r")
        self._page.wait_for_selector(".cleaner-chooser input", timeout=PATIENCE)

    def large(self) -> None:
        self._app.press("Escape", "z")
        self._page.wait_for_selector(".cleaner-large-picture[aria-busy=false] img", timeout=PATIENCE)

    def large_chooser(self) -> None:
        self._app.press("r")
        self._page.wait_for_selector(".cleaner-large .cleaner-chooser input", timeout=PATIENCE)

    def help_(self) -> None:
        self._app.press("Escape", "Escape", "?")
        self._page.wait_for_selector(".cleaner-help[open]", timeout=PATIENCE)

    def end(self) -> None:
        self._page.locator(".cleaner-help button", has_text="Close").click()
        self._page.wait_for_selector(".cleaner-help[open]", state="detached", timeout=PATIENCE)
        self._app.press("End", "d")
        self._app.end.wait_for(timeout=PATIENCE)

    def notice(self) -> None:
        self._app.press("k")
        self._app.wait_notice("This is the end of the page")

    def filters(self) -> None:
        self._app.open_filters()
        self._page.get_by_label("Part of the path", exact=True).fill("no such name")

    def empty(self) -> None:
        self._app.press("Enter")
        self._page.wait_for_selector(".cleaner-empty", timeout=PATIENCE)

    def lists(self) -> None:
        self._page.get_by_role("button", name="Show all").click()
        self._page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
        self._app.open_sidebar()

    def overview(self) -> None:
        self._page.get_by_role("button", name="Overview").click()
        self._page.wait_for_selector(".cleaner-matrix button", timeout=PATIENCE)

    def end_of_list(self) -> None:
        self._app.open_sidebar()
        self._app.list_row("Unreadable files").click()
        self._app.wait_at("digit_broken.png")
        self._app.press("d")
        self._app.end.locator("button").wait_for(timeout=PATIENCE)


def test_what_can_be_pressed_stands_out_from_the_page(themed: tuple[str, Host], page: Any) -> None:
    """In both themes the edges of buttons and fields have a contrast of 3:1, and the browser draws in the theme."""
    app = App(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.cleaner-review')).colorScheme") == themed[0]
    assert page.evaluate("getComputedStyle(document.querySelector('.cleaner-review select')).colorScheme") == themed[0]
    found = edges(page)
    app.press("z")
    app.wait_large(app.names()[0])
    found |= edges(page)
    assert len(found) > 10
    assert {name: contrast for name, contrast in found.items() if contrast < 3} == {}


def edges(page: Any) -> dict[str, float]:
    """Return the contrast of the edge of what can be pressed with the paper, but of what stands on a picture."""
    return page.evaluate(
        """() => {
            const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const paper = getComputedStyle(document.querySelector(".cleaner-review")).backgroundColor;
            const light = colour => {
                for (const each of [paper, colour]) {  // which may let the paper through
                    context.fillStyle = each;
                    context.fillRect(0, 0, 1, 1);
                }
                const linear = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
                const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(linear);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const found = {};
            for (const node of document.querySelectorAll(".cleaner-review :is(button, select, input)")) {
                const style = getComputedStyle(node), edge = style.borderTopColor;
                const hasEdge = parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== "none";
                if (!hasEdge || edge === "rgba(0, 0, 0, 0)" || !node.checkVisibility()) continue;
                if (node.closest(".cleaner-picture")) continue;
                const [less, more] = [light(edge), light(paper)].sort((one, other) => one - other);
                found[node.className + node.ariaLabel + node.textContent] = (more + 0.05) / (less + 0.05);
            }
            return found;
        }"""
    )


def test_nothing_is_cut_off_on_narrow_and_wide_screens(page: Any) -> None:
    seen = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 768})
        page.wait_for_function(IS_LAID_OUT, arg=width)
        for part in ("html", ".cleaner-review", ".cleaner-header", ".cleaner-images"):
            script = "part => (node => node.scrollWidth <= node.clientWidth)(document.querySelector(part))"
            page.wait_for_function(script, arg=part, timeout=PATIENCE)
        seen.append(page.wait_for_function(IS_LAID_OUT, arg=width).json_value())
    assert seen[0] >= 2
    assert seen == sorted(seen)
    assert seen[-1] > 2 * seen[0]


def test_every_button_of_a_small_picture_is_within_it(page: Any) -> None:
    app = App(page)
    for size in ("100", "80", "160"):
        before = app.names()
        page.locator(".cleaner-size").fill(size)
        page.wait_for_function("n => document.querySelectorAll('.cleaner-card').length !== n", arg=len(before))
        page.wait_for_function(IS_LAID_OUT, arg=1400)
        page.locator(".cleaner-card.cleaner-at").focus()
        app.press("Home", "s")
        app.wait_for(app.names()[0], "? Unsure")  # which brings one more button
        app.press("ArrowLeft")
        app.wait_at(app.names()[0])
        found = page.evaluate(
            """() => {
                const picture = document.querySelector(".cleaner-at .cleaner-picture");
                const around = picture.getBoundingClientRect();
                return [...picture.querySelectorAll(".cleaner-tools button")].map(button => {
                    const box = button.getBoundingClientRect();
                    const isWithin = box.left >= around.left && box.right <= around.right && box.top >= around.top;
                    return isWithin && box.bottom <= around.bottom && box.width >= 24 && box.height >= 24;
                });
            }"""
        )
        assert len(found) >= 5
        assert set(found) == {True}


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
                    const style = getComputedStyle(node), box = node.getBoundingClientRect();
                    const hasSign = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1.5;
                    const middle = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                    const isSeen = node.contains(middle);
                    return (hasSign || style.boxShadow !== "none") && isSeen ? "seen" : node.outerHTML;
                }"""
            )
        )
    assert set(outlines) <= {"seen", "elsewhere"}
    assert outlines.count("seen") > 15
