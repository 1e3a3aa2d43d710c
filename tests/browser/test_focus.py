"""Where the keys go: clicks beside the controls, and what a click opens, leave them with the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import Scan
from tests.browser.conftest import make_long_scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, Host, jupyterlab, voila
from tests.support.scans import make_scan

HOSTS = [pytest.param(voila, id="voila"), pytest.param(jupyterlab, id="jupyterlab")]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]


@pytest.fixture(params=HOSTS)
def hosted(request: pytest.FixtureRequest, tmp_path: Path, chromium: Any) -> Iterator[tuple[App, Scan]]:
    """The app in a host, with the class of cats open; in JupyterLab it is so narrow that the filters are folded."""
    scan = make_long_scan(tmp_path)
    with request.param(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_01.png")
        yield app, scan
        page.close()


def test_a_click_beside_the_controls_keeps_the_keys_and_two_d_never_delete_the_cell(
    hosted: tuple[App, Scan],
) -> None:
    app, scan = hosted
    app.wait_at("cat_01.png")
    clicks = [
        app.click_gap,
        lambda: app.click_empty(".cleaner-footer"),
        lambda: app.click_empty(".cleaner-sidebar"),
        lambda: app.click_empty(".cleaner-header"),
    ]
    for number, click in enumerate(clicks):
        click()
        app.press("d")
        app.wait_for(f"cat_{2 * number + 1:02d}.png", "✕ Delete")
        app.press("d")
        app.wait_for(f"cat_{2 * number + 2:02d}.png", "✕ Delete")
    assert standing(scan) == {f"cat_{n:02d}.png": "delete" for n in range(1, 9)}


def test_what_is_opened_by_mouse_is_reviewed_by_keys_at_once(hosted: tuple[App, Scan]) -> None:
    app, scan = hosted
    app.open_list("dog", "dog_01.png")
    app.wait_at("dog_01.png")
    app.press("d")
    app.wait_for("dog_01.png", "✕ Delete")

    app.page.get_by_role("button", name="Overview").click()
    app.page.locator(".cleaner-matrix button[data-given=fox]").click()
    app.wait_first("fox_01.png")
    app.wait_at("fox_01.png")
    app.press("d")
    app.wait_for("fox_01.png", "✕ Delete")

    app.open_list("cat", "cat_01.png")
    app.open_filters()
    app.page.get_by_label("Part of the path", exact=True).fill("no such name")
    app.press("Enter")
    app.page.locator(".cleaner-empty button", has_text="Show all").click()
    app.wait_first("cat_01.png")
    app.wait_at("cat_01.png")
    app.press("d")
    app.wait_for("cat_01.png", "✕ Delete")
    assert standing(scan) == {"cat_01.png": "delete", "dog_01.png": "delete", "fox_01.png": "delete"}


def test_a_text_is_taken_with_enter_and_the_keys_then_go_to_what_it_found(hosted: tuple[App, Scan]) -> None:
    app, scan = hosted
    app.open_filters()
    app.page.get_by_label("Part of the path", exact=True).fill("_3")
    app.press("Enter")
    app.wait_first("cat_30.png")
    app.wait_at("cat_30.png")
    app.press("d")
    app.wait_for("cat_30.png", "✕ Delete")
    app.page.get_by_label("Show", exact=True).select_option("decided")
    app.wait_json("[...document.querySelectorAll('.cleaner-card')].map(card => card.dataset.name)", ["cat_30.png"])
    app.wait_at("cat_30.png")
    app.press("k")
    app.wait_for("cat_30.png", "✓ Keep")
    assert standing(scan) == {"cat_30.png": "keep"}


def test_after_a_button_the_keys_act_on_its_card(cats: App) -> None:
    for tool, shows in (("keep", "✓ Keep"), ("delete", "✕ Delete"), ("unsure", "? Unsure"), ("undo", "undecided")):
        cats.decide("cat_03.png", tool, shows)
        cats.wait_at("cat_03.png")
    cats.tool("cat_03.png", "relabel").click()
    cats.page.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
    cats.press("Escape")
    cats.wait_at("cat_03.png")
    cats.footer("delete").click()
    cats.wait_for("cat_03.png", "✕ Delete")
    cats.wait_at("cat_04.png")
    second = f"cat_{len(cats.names()) + 1:02d}.png"
    cats.footer("nextPage").click()
    cats.wait_first(second)
    cats.wait_at(second)


def test_a_closed_notice_gives_the_keys_back(cats: App) -> None:
    cats.press("9", "5")  # the first is no key of ours
    cats.wait_notice("This image has no 5. probable label")
    cats.page.locator(".cleaner-alert button[aria-label=Close]").click()
    cats.wait_at("cat_01.png")
    cats.press("?")
    cats.page.locator(".cleaner-help[open] button", has_text="Close").click()
    cats.wait_at("cat_01.png")


def test_a_card_takes_further_decisions_while_it_is_saved_and_the_last_one_stands(
    host: Host, cats: App, served_scan: Scan
) -> None:
    (kernel,) = host.kernels()
    kernel.suspend()
    try:
        cats.press("k", "ArrowLeft", "d")
        saving = cats.page.locator('.cleaner-card[aria-busy=true][data-name="cat_01.png"] .cleaner-what')
        saving.get_by_text("✕ Delete").wait_for(timeout=PATIENCE)
        assert cats.page.locator(".cleaner-saved").text_content() == "saving 2 …"
    finally:
        kernel.resume()
    cats.wait_for("cat_01.png", "✕ Delete")
    assert standing(served_scan) == {"cat_01.png": "delete"}


def test_no_key_decides_about_images_that_the_overview_hides(cats: App, served_scan: Scan) -> None:
    page = cats.page
    page.get_by_role("button", name="Overview").click()
    page.locator(".cleaner-matrix button").first.focus()
    cats.press("d", "k", "Shift+K")
    page.locator(".cleaner-alert", has_text="The overview is shown").wait_for(timeout=PATIENCE)
    assert page.locator(".cleaner-keys [data-tool=delete]").count() == 0
    cats.press("Escape")
    cats.wait_at("cat_01.png")
    cats.press("s")
    cats.wait_for("cat_01.png", "? Unsure")
    assert standing(served_scan) == {"cat_01.png": "unsure"}


def test_every_place_that_tab_reaches_keeps_its_keys_from_the_notebook(tmp_path: Path, chromium: Any) -> None:
    """Also a box that scrolls, which Chromium gives the focus where it holds nothing else for it."""
    vocab = ("ant", *(f"bird_{number}" for number in range(10, 60)))
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=vocab, per_class=2)
    with jupyterlab(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("ant", "ant_01.png")
        app.wait_at("ant_01.png")
        app.open_filters()
        page.locator(".cleaner-search").fill("bird")  # which hides the open list
        page.locator(".cleaner-list[data-label=ant]").wait_for(state="detached", timeout=PATIENCE)
        app.press("Tab")
        assert page.evaluate("document.activeElement.dataset.label") == "bird_10"
        assert unguarded(app) == []
        app.press("Shift+K")  # is no key here
        page.locator(".cleaner-search").fill("")
        page.get_by_role("button", name="Overview").click()
        page.locator(".cleaner-matrix button").first.wait_for(timeout=PATIENCE)
        assert unguarded(app) == []
        page.get_by_role("button", name="Overview").click()
        app.wait_at("ant_01.png")
        app.press("r")
        page.locator(".cleaner-chooser input:focus").wait_for(timeout=PATIENCE)
        assert unguarded(app, start="") == []
        app.point("ant_01.png")
        for key, dialog in (("z", ".cleaner-large[open]"), ("?", ".cleaner-help[open]")):
            app.press(key)
            page.locator(dialog).wait_for(timeout=PATIENCE)
            assert unguarded(app, start="") == []
            app.press("Escape")
            page.locator(dialog).wait_for(state="detached", timeout=PATIENCE)
            app.wait_at("ant_01.png")
        app.press("k", "k")
        app.end.wait_for(timeout=PATIENCE)
        assert unguarded(app) == []
        assert page.locator(".jp-CodeCell").count() == 1
        page.close()


def unguarded(app: App, start: str = ".cleaner-menu") -> list[str]:
    """Return what has the focus in the app, as Tab goes through it, without the mark that keeps keys from the host."""
    if start:
        app.page.locator(start).focus()
    bare, seen = [], 0
    for _ in range(120):
        node = app.page.evaluate(
            """() => {
                const node = document.activeElement;
                if (!node.closest(".cleaner")) return null;
                return [node.dataset.lmSuppressShortcuts === "true", node.outerHTML.slice(0, 120)];
            }"""
        )
        if node is None:
            break
        seen += 1
        if not node[0]:
            bare.append(node[1])
        app.press("Tab")
    assert seen > 0
    return bare


def test_after_the_slider_the_keys_act_on_the_images(cats: App, served_scan: Scan) -> None:
    slider = cats.page.locator(".cleaner-size")
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    cats.page.mouse.move(box["x"] + 22, y)
    cats.page.mouse.down()
    cats.page.mouse.move(box["x"] + 40, y + 30, steps=4)  # and is let go beside it
    cats.page.mouse.up()
    cats.wait_at("cat_01.png")
    cats.press("d")
    cats.wait_for("cat_01.png", "✕ Delete")
    size = int(slider.input_value())
    assert size > 160
    slider.focus()  # by keys it is moved on
    cats.press("ArrowRight", "ArrowRight")
    cats.wait_json("document.activeElement.className", "cleaner-size")
    assert int(slider.input_value()) == size + 40
    assert standing(served_scan) == {"cat_01.png": "delete"}
