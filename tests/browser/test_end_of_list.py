"""The end of a page and of a list: a state of its own, with a summary and the way on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import Scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, voila
from tests.support.scans import make_scan


def test_no_key_decides_again_about_the_last_card_of_a_page(cats: App, served_scan: Scan) -> None:
    last_two = cats.names()[-2:]
    cats.point(last_two[0])
    cats.press("d", "d", "k", "k")  # typed ahead: two cards are left
    cats.wait_for(last_two[1], "✕ Delete")
    cats.end.wait_for(timeout=PATIENCE)
    cats.wait_notice("This is the end of the page, so nothing was decided: → opens the next page")
    cats.press("s", "Enter", "1", "r", "x", "Space")
    assert cats.page.locator(".cleaner-at, .cleaner-chooser, .cleaner-large").count() == 0
    assert standing(served_scan) == dict.fromkeys(last_two, "delete")
    cats.press("ArrowLeft")
    cats.wait_at(last_two[1])
    cats.press("k")  # whoever goes back to it can decide again
    cats.wait_for(last_two[1], "✓ Keep")
    cats.end.wait_for(timeout=PATIENCE)
    cats.press("ArrowRight")
    cats.wait_first(f"cat_{int(last_two[1][4:6]) + 1:02d}.png")


def test_an_undo_at_the_end_goes_back_to_what_it_undid(cats: App) -> None:
    last = cats.names()[-1]
    cats.point(last)
    cats.press("d")
    cats.end.wait_for(timeout=PATIENCE)
    cats.press("u")
    cats.wait_for(last, "undecided")
    cats.wait_at(last)


def test_keep_rest_goes_from_page_to_page_and_list_to_list_around_the_end(cats: App, served_scan: Scan) -> None:
    """The last list is that of the one file that could not be read; only all classes are behind it."""
    cats.open_list("fox", "fox_01.png")
    cats.page.locator(".cleaner-place", has_text="page 1 of 2").wait_for(timeout=PATIENCE)
    number = len(cats.names())
    cats.press("Shift+K")
    cats.wait_first(f"fox_{number + 1:02d}.png")
    cats.press("Shift+K")
    cats.wait_title("Unreadable files")
    cats.wait_at("bad.png")
    cats.press("Shift+K")
    cats.wait_title("All classes, worst first")
    cats.wait_at("cat_01.png")
    assert standing(served_scan) == {f"fox_{n:02d}.png": "keep" for n in range(1, 36)} | {"bad.png": "keep"}


@pytest.fixture
def small(tmp_path: Path, chromium: Any) -> Any:
    """The app on a scan of two classes with two images each."""
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=("cat", "dog"), per_class=2)
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.wait_first("cat_01.png")
        yield app, scan
        page.close()


def test_the_end_of_a_list_sums_up_and_names_the_next_and_the_end_of_all_lists_the_command(
    small: tuple[App, Scan],
) -> None:
    app, scan = small
    app.open_list("cat", "cat_01.png")
    app.press("d", "k")
    app.end.get_by_text("1 changed, 1 kept.").wait_for(timeout=PATIENCE)
    assert app.end.locator("button").text_content() == "] dog"
    assert app.end.locator("code").count() == 0
    app.press("ArrowLeft", "d")
    app.end.get_by_text("2 changed.").wait_for(timeout=PATIENCE)  # the sum is made anew
    app.end.locator("button").click()
    app.wait_first("dog_01.png")
    app.press("s", "Enter")
    app.end.get_by_text("1 changed, 1 unsure.").wait_for(timeout=PATIENCE)
    app.end.get_by_text("Every image of this split is decided.").wait_for(timeout=PATIENCE)
    command = app.end.locator("code").text_content()
    assert command == f"cleaner apply {scan.manifest_path} --data {scan.root}"
    assert "In the whole scan: " in app.end.text_content()
    app.press("k", "d", "]")
    app.wait_notice("Every image of the other lists is decided.")
    assert standing(scan) == {
        "cat_01.png": "delete", "cat_02.png": "delete", "dog_01.png": "unsure", "dog_02.png": "relabel cat",
    }  # fmt: skip


def test_keeping_the_rest_of_everything_ends_at_the_command(small: tuple[App, Scan]) -> None:
    app, scan = small
    app.press("Shift+K")
    app.end.locator("code").wait_for(timeout=PATIENCE)
    assert app.page.locator(".cleaner-title").text_content() == "All classes, worst first"
    assert set(standing(scan).values()) == {"keep"}
    assert len(standing(scan)) == 4


def test_the_end_can_be_copied(small: tuple[App, Scan]) -> None:
    """A text by marking it, the command also by a button, which marks it where the browser gives no clipboard."""
    app, scan = small
    app.press("Shift+K")
    code = app.end.locator("code")
    code.wait_for(timeout=PATIENCE)
    box = app.end.locator("p", has_text="4 kept").first.bounding_box()
    app.page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    app.page.mouse.down()
    app.page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=4)
    app.page.mouse.up()
    assert app.page.evaluate("getSelection().toString()") != ""
    app.end.wait_for(timeout=PATIENCE)  # which still has the keys

    command = f"cleaner apply {scan.manifest_path} --data {scan.root}"
    copy = app.page.locator(".cleaner-copy")
    app.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    copy.click()
    app.wait_json("getSelection().toString()", command)
    assert copy.text_content() == "Copy"
    clipboard = "{ writeText: async text => { window.copied = text; } }"
    app.page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})")
    copy.click()
    app.page.locator(".cleaner-copy", has_text="Copied").wait_for(timeout=PATIENCE)
    assert app.page.evaluate("window.copied") == command
    app.press("ArrowLeft")
    app.page.locator(".cleaner-at:focus").wait_for(timeout=PATIENCE)


def test_what_the_kernel_refuses_keeps_the_page_open(small: tuple[App, Scan]) -> None:
    app, scan = small
    app.open_list("cat", "cat_01.png")
    scan.manifest_path.write_text("path,action\na.png,nonsense\n")
    app.press("Shift+K")
    app.wait_notice("nonsense")
    assert app.page.locator(".cleaner-title").text_content() == "cat"
    assert app.decisions() == {}
