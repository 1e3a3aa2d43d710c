"""What is in sight: the cursor's card, the bars above and below the images, and the end of what is turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import Scan
from tests.browser.conftest import make_long_scan
from tests.support.browser_app import App, in_sight
from tests.support.hosts import PATIENCE, Host, jupyterlab, voila, wait_until

HOSTS = [pytest.param(voila, id="voila"), pytest.param(jupyterlab, id="jupyterlab")]
SIZES = [(420, 900, 1), (640, 450, 2), (1280, 900, 1)]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]


@pytest.fixture
def sized(request: pytest.FixtureRequest, host: Host, served_scan: Scan, chromium: Any) -> Iterator[App]:
    """The app in a window of some width, height and zoom."""
    width, height, zoom = request.param
    page = chromium.new_page(viewport={"width": width, "height": height}, device_scale_factor=zoom)
    host.open(page)
    app = App(page)
    app.wait_at("cat_01.png")
    yield app
    page.goto("about:blank")
    page.close()


@pytest.mark.parametrize("sized", SIZES, ids=["narrow", "zoomed", "usual"], indirect=True)
def test_the_card_of_the_cursor_is_never_hidden(sized: App) -> None:
    walk(sized)


def walk(app: App) -> None:
    """Go through the page by keys, and back, over its ends; decide, too."""
    rows = 1 + len(app.names()) // app.columns()
    for key in (*["ArrowDown"] * rows, *["ArrowUp"] * rows, "End", "Home", *"dks", "End", "d", "u", "End", "ArrowLeft"):
        app.press(key)
        app.page.locator(".cleaner-main:has(.cleaner-at:focus, .cleaner-end:focus)").wait_for(timeout=PATIENCE)
        wait_until(lambda: app.hidden_part() == 0)


def test_in_a_notebook_the_card_of_the_cursor_is_never_hidden_and_the_whole_app_fits(
    tmp_path: Path, chromium: Any
) -> None:
    scan = make_long_scan(tmp_path)
    with jupyterlab(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_01.png")
        app.wait_at("cat_01.png")
        walk(app)
        page.locator(".cleaner-review").evaluate("node => node.scrollIntoView({block: 'nearest'})")
        for part in (".cleaner-title", ".cleaner-keys button", ".cleaner-list"):
            wait_until(lambda part=part: in_sight(page.locator(part).first))
        page.close()


@pytest.mark.parametrize("start", HOSTS)
def test_an_error_moves_nothing_and_a_turned_page_begins_at_its_top(
    start: Starter, tmp_path: Path, chromium: Any
) -> None:
    scan = make_long_scan(tmp_path)
    with start(scan.folder, tmp_path / "notebooks") as host:
        page = chromium.new_page(viewport={"width": 1024, "height": 500 if start is voila else 768})
        host.open(page)
        app = App(page)
        app.open_sidebar()
        app.open_list("cat", "cat_01.png")
        last = app.names()[-1]
        app.press("End")
        app.wait_at(last)
        scan.manifest_path.write_text("path,action\na.png,nonsense\n")
        app.card(last).hover()
        before = app.card(last).bounding_box()
        app.tool(last, "keep").click()
        app.wait_notice("nonsense")
        assert in_sight(page.locator(".cleaner-alert"))
        assert app.card(last).bounding_box() == before
        scan.manifest_path.unlink()

        app.footer("nextPage").click()
        second = f"cat_{int(last[4:6]) + 1:02d}.png"
        app.wait_first(second)
        assert app.hidden_part() == 0
        assert in_sight(app.card(second).locator(".cleaner-picture"))
        app.press("End")
        app.open_sidebar()
        app.open_list("dog", "dog_01.png")
        assert app.hidden_part() == 0
        page.close()


def test_cards_of_a_row_are_aligned_and_stay_so_whatever_is_decided(cats: App, served_scan: Scan) -> None:
    before = cats.boxes()
    columns = cats.columns()
    assert len({box[1] for box in before[:columns]}) == 1
    assert len({tuple(box[2:4]) for box in before}) == 1
    cats.relabel("cat_01.png", "dog")
    cats.decide("cat_02.png", "delete", "✕ Delete")
    cats.tool("cat_03.png", "select").click()
    assert cats.boxes() == before
    assert not cats.card("cat_01.png").evaluate("node => node.scrollWidth > node.clientWidth")


def test_the_list_of_files_that_could_not_be_read_is_there_where_there_are_any(app: App) -> None:
    row = app.list_row("Unreadable files")
    assert row.locator(".cleaner-faint").text_content() == "1"
    app.open_split("valid", "cat_v01.png")
    row.wait_for(state="detached", timeout=PATIENCE)


@pytest.mark.parametrize("sized", SIZES[:1], ids=["narrow"], indirect=True)
def test_the_large_view_on_a_narrow_page_is_larger_than_the_thumbnail(sized: App) -> None:
    small = sized.card("cat_01.png").locator("img").bounding_box()
    sized.press("z")
    large = sized.wait_large("cat_01.png")
    picture = large.locator(".cleaner-large-picture").bounding_box()
    image = large.locator(".cleaner-large-picture img").bounding_box()
    side = large.locator(".cleaner-large-side").bounding_box()
    assert image["width"] > 1.5 * small["width"]
    assert side["y"] >= picture["y"] + picture["height"]  # below, not beside
    assert side["x"] + side["width"] <= 420
    sized.page.set_viewport_size({"width": 1000, "height": 900})
    sized.wait_json(
        "document.querySelector('.cleaner-large-side').getBoundingClientRect().x >= "
        "document.querySelector('.cleaner-large-picture').getBoundingClientRect().right",
        True,
    )
