"""The review by keys and mouse: cursor, selection, actions, pages, filters, lists."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from tests.browser.conftest import make_long_scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, Host, jupyterlab, notebook7, voila, wait_until

HOSTS = [
    pytest.param(voila, id="voila"),
    pytest.param(jupyterlab, id="jupyterlab"),
    pytest.param(notebook7, id="notebook7"),
]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]


@pytest.mark.parametrize("start", HOSTS)
def test_a_class_is_reviewed_by_keys(start: Starter, tmp_path: Path, chromium: Any) -> None:
    scan = make_long_scan(tmp_path)
    with start(scan.folder, tmp_path / "notebooks") as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_01.png")
        app.wait_at("cat_01.png")
        first_page = app.names()
        app.press("k")
        app.wait_for("cat_01.png", "✓ Keep")
        app.wait_at("cat_02.png")
        app.press("d", "s", "Enter")
        for name, shows in (("cat_02.png", "✕ Delete"), ("cat_03.png", "? Unsure"), ("cat_04.png", "⇒ dog")):
            app.wait_for(name, shows)
        app.wait_at("cat_05.png")
        app.press("r")
        page.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
        page.keyboard.type("fo")
        app.press("Enter")
        app.wait_for("cat_05.png", "⇒ fox")
        app.wait_at("cat_06.png")

        app.press("Shift+ArrowRight", "Shift+ArrowRight")
        app.wait_selected("cat_06.png", "cat_07.png", "cat_08.png")
        app.press("d")
        for name in ("cat_06.png", "cat_07.png", "cat_08.png"):
            app.wait_for(name, "✕ Delete")
        app.press("u")
        app.wait_for("cat_07.png", "undecided")
        app.press("Shift+U")
        app.wait_for("cat_07.png", "✕ Delete")

        second = f"cat_{len(first_page) + 1:02d}.png"
        app.press("Shift+K")
        app.wait_first(second)
        app.press("p")
        app.wait_first("cat_01.png")
        app.wait_for(first_page[-1], "✓ Keep")
        app.press("n")
        app.wait_first(second)
        app.press("a")
        app.wait_selected(*app.names())
        app.press("Escape", "?")
        page.locator(".cleaner-help[open]").wait_for(timeout=PATIENCE)
        assert "take the predicted label" in page.locator(".cleaner-help").text_content()
        page.close()
    expected = dict.fromkeys(first_page, "keep")
    expected |= {"cat_02.png": "delete", "cat_03.png": "unsure", "cat_04.png": "relabel dog"}
    expected |= {"cat_05.png": "relabel fox", **{f"cat_0{n}.png": "delete" for n in (6, 7, 8)}}
    assert standing(scan) == expected


def test_keys_act_only_while_the_images_have_the_focus(cats: App, served_scan: Scan) -> None:
    cats.page.get_by_label("Part of the path", exact=True).click()
    cats.press("k", "d", "Backspace", "Backspace")
    cats.list_row("dog").focus()
    cats.press("k")
    cats.point("cat_03.png")
    cats.press("s")
    cats.wait_for("cat_03.png", "? Unsure")
    assert standing(served_scan) == {"cat_03.png": "unsure"}


def test_arrow_keys_move_by_cards_and_rows(cats: App) -> None:
    columns = cats.columns()
    cats.press("ArrowDown")
    cats.wait_at(f"cat_{1 + columns:02d}.png")
    cats.press("ArrowRight")
    cats.wait_at(f"cat_{2 + columns:02d}.png")
    cats.press("ArrowUp", "ArrowLeft")
    cats.wait_at("cat_01.png")


def test_arrow_keys_cross_pages(cats: App) -> None:
    first, columns = cats.names(), cats.columns()
    assert len(first) % columns == 0
    second = f"cat_{len(first) + 1:02d}.png"
    cats.press("End", "ArrowRight")
    cats.wait_first(second)
    cats.wait_at(second)
    cats.press("ArrowLeft")
    cats.wait_first("cat_01.png")
    cats.wait_at(first[-1])
    cats.press("ArrowDown")
    cats.wait_at(second)
    cats.press("ArrowUp")
    cats.wait_at(first[-1])


def test_what_is_typed_while_a_page_is_turned_moves_the_cursor_there(cats: App, host: Host) -> None:
    (kernel,) = host.kernels()
    number = len(cats.names())
    cats.press("End")
    cats.wait_at(f"cat_{number:02d}.png")
    kernel.suspend()
    try:
        cats.press("ArrowRight", "ArrowRight", "ArrowRight")
        cats.page.locator(".cleaner-images[aria-busy=false]").wait_for(timeout=PATIENCE)
    finally:
        kernel.resume()
    cats.wait_first(f"cat_{number + 1:02d}.png")
    cats.wait_at(f"cat_{number + 3:02d}.png")


def test_the_mouse_can_do_what_the_keys_can(cats: App, served_scan: Scan) -> None:
    page, number = cats.page, len(cats.names())
    for name in ("cat_02.png", "cat_04.png"):
        cats.tool(name, "select").click()
    cats.wait_selected("cat_02.png", "cat_04.png")
    assert page.locator(".cleaner-selected").text_content() == "2 selected"
    cats.footer("delete").click()
    cats.wait_for("cat_02.png", "✕ Delete")
    cats.wait_for("cat_04.png", "✕ Delete")
    cats.point("cat_06.png")
    cats.card("cat_08.png").locator(".cleaner-picture").click(modifiers=["Shift"])
    cats.wait_selected("cat_06.png", "cat_07.png", "cat_08.png")
    cats.footer("predicted").click()
    cats.wait_for("cat_08.png", "⇒ dog")
    cats.footer("undo").click()
    cats.wait_for("cat_08.png", "undecided")
    cats.press("Shift+U")
    cats.wait_for("cat_08.png", "⇒ dog")
    cats.footer("keepRest").click()
    cats.wait_first(f"cat_{number + 1:02d}.png")
    cats.press("p")
    cats.wait_first("cat_01.png")
    cats.footer("nextPage").click()
    cats.wait_first(f"cat_{number + 1:02d}.png")
    cats.footer("nextList").click()
    cats.wait_first("dog_01.png")
    assert set(standing(served_scan).values()) == {"keep", "delete", "relabel dog"}
    assert len(standing(served_scan)) == number


def test_one_to_five_take_the_probable_labels_and_the_bar_says_what_enter_does(tmp_path: Path, chromium: Any) -> None:
    scan = make_long_scan(tmp_path)
    alternatives = '[["dog", 0.9], ["fox", 0.07], ["cat", 0.03]]'
    samples = [replace(sample, alternatives_json=alternatives) for sample in scan.samples]
    samples[1] = replace(samples[1], predicted="cat")
    scan = replace(scan, samples=tuple(samples)).write(scan.folder)
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_01.png")
        app.wait_at("cat_01.png")
        enter = app.footer("predicted")
        assert enter.text_content() == "⏎ dog"
        app.press("2")
        app.wait_for("cat_01.png", "⇒ fox")
        app.wait_at("cat_02.png")
        assert enter.text_content() == "⏎ Keep"  # it is predicted as it is labelled
        app.press("Enter")
        app.wait_for("cat_02.png", "✓ Keep")
        app.press("3", "1", "4")
        app.wait_for("cat_03.png", "✓ Keep")  # the third label is the one it has
        app.wait_for("cat_04.png", "⇒ dog")
        app.wait_notice("This image has no 4. probable label")
        app.press("Shift+ArrowRight")
        app.wait_selected("cat_05.png", "cat_06.png")
        assert enter.text_content() == "⏎ Predicted"
        page.close()
    assert standing(scan) == {
        "cat_01.png": "relabel fox", "cat_02.png": "keep", "cat_03.png": "keep", "cat_04.png": "relabel dog",
    }  # fmt: skip


def test_x_selects_and_space_and_z_open_the_large_view(cats: App) -> None:
    cats.press("x", "ArrowRight", "ArrowRight")
    cats.wait_at("cat_03.png")
    cats.press("x")
    cats.wait_selected("cat_03.png")  # an arrow without Shift begins anew
    cats.press("x")
    cats.wait_selected()
    for key in ("Space", "z"):
        cats.press(key)
        large = cats.wait_large("cat_03.png")
        cats.press(key)
        large.wait_for(state="hidden", timeout=PATIENCE)
        cats.wait_at("cat_03.png")


def test_filters_and_order_are_remembered(cats: App) -> None:
    page = cats.page
    cats.decide("cat_01.png", "keep", "✓ Keep")
    page.get_by_label("Show", exact=True).select_option("undecided")
    cats.wait_first("cat_02.png")
    page.get_by_label("Order", exact=True).select_option("name")
    field = page.get_by_label("Part of the path", exact=True)
    field.fill("_3")
    cats.press("Enter")
    cats.wait_first("cat_30.png")
    assert cats.names() == [f"cat_{n}.png" for n in range(30, 36)]
    page.reload()
    page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    cats.wait_first("cat_30.png")
    assert field.input_value() == "_3"
    assert page.get_by_label("Order", exact=True).input_value() == "name"
    field.fill("no such name")
    cats.press("Enter")
    page.locator(".cleaner-empty button", has_text="Show all").click()
    cats.wait_first("cat_01.png")
    assert field.input_value() == ""
    assert page.get_by_label("Order", exact=True).input_value() == "name"


def test_the_sidebar_and_the_overview_open_lists_and_cells(app: App, served_scan: Scan) -> None:
    page = app.page
    names = page.locator(".cleaner-list-name").all_text_contents()
    assert names == ["All classes, worst first", "cat", "dog", "fox", "Unreadable files"]
    app.open_list("dog", "dog_01.png")
    app.decide("dog_01.png", "keep", "✓ Keep")
    app.wait_json("document.querySelector('.cleaner-list[data-label=dog]').title.includes('1 of 35 decided')", True)
    page.get_by_role("button", name="Overview").click()
    page.locator(".cleaner-matrix button[data-given=fox]").click()
    app.wait_first("fox_01.png")
    assert page.locator(".cleaner-matrix").count() == 0
    assert page.get_by_label("Predicted", exact=True).input_value() == "cat"
    app.list_row("Unreadable files").click()
    app.card("bad.png").wait_for(timeout=PATIENCE)
    assert "not there any more" in app.card("bad.png").locator(".cleaner-broken").text_content()
    app.decide("bad.png", "delete", "✕ Delete")
    assert standing(served_scan) == {"dog_01.png": "keep", "bad.png": "delete"}


def test_two_reviewers_see_each_other_and_where_they_disagree(
    cats: App, host: Host, served_scan: Scan, chromium: Any
) -> None:
    other_page = chromium.new_page(viewport={"width": 1400, "height": 900})
    host.open(other_page)
    other = App(other_page)
    for one, name in ((cats, "anna"), (other, "ben")):
        one.page.get_by_label("Reviewer", exact=True).fill(name)
        one.press("Enter")
    cats.decide("cat_01.png", "keep", "✓ Keep")
    other.wait_for("cat_01.png", "✓ Keep")  # without a click there
    assert "by anna" in other.card("cat_01.png").get_attribute("title")
    other.decide("cat_01.png", "delete", "✕ Delete")
    cats.wait_for("cat_01.png", "✕ Delete")
    for one in (cats, other):
        assert one.card("cat_01.png").locator(".cleaner-others").text_content() == "≠ anna: ✓ Keep"
    assert [row.reviewer for row in Manifest(served_scan.manifest_path).rows()] == ["anna", "ben"]
    other_page.goto("about:blank")
    other_page.close()


def test_an_invalid_reviewer_name_is_refused_on_the_page(cats: App) -> None:
    field = cats.page.get_by_label("Reviewer", exact=True)
    before = field.input_value()
    field.fill("=1+1")
    cats.press("Enter")
    cats.wait_notice("the reviewer's name is '=1+1'")
    cats.point("cat_01.png")  # the text stays while it is typed
    wait_until(lambda: field.input_value() == before)
