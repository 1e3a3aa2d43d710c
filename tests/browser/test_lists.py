"""The lists beside the images: their keys and order, what is the same after news, and what a reload brings back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, ClassLosses, Decision
from cleaner.core.scan import Scan
from tests.support.browser_app import App, in_sight, standing
from tests.support.hosts import PATIENCE, voila, wait_until
from tests.support.scans import make_scan

TIME = "2026-01-31T12:00:00Z"


def decide_all(scan: Scan, *labels: str) -> None:
    """Keep all images of some classes, as from another process."""
    paths = [sample.path for label in labels for sample in scan.kept("train", label)]
    rows = [Decision(p, Action.KEEP, sha256=sha256_of(scan.root / p), reviewer="ben", decided_at=TIME) for p in paths]
    Manifest(scan.manifest_path).append(*rows)


def test_the_keys_open_lists_with_undecided_images_in_the_order_of_the_sidebar_and_around_its_end(
    tmp_path: Path, chromium: Any
) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=("ant", "bee", "cat", "dog"), per_class=2)
    # The class with the largest share of other predictions comes first: dog, cat, bee, ant.
    losses = [ClassLosses("train", label, 10, n + 1) for n, label in enumerate(scan.vocab)]
    scan = replace(scan, losses=tuple(losses)).write(scan.folder)
    decide_all(scan, "cat")
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.wait_title("All classes, worst first")
        names = page.locator(".cleaner-list-name").all_text_contents()
        assert names == ["All classes, worst first", "dog", "cat", "bee", "ant"]
        shares = page.locator(".cleaner-list .cleaner-faint").all_text_contents()
        assert shares == ["8", "40 %", "30 %", "20 %", "10 %"]
        for title in ("dog", "bee", "ant", "All classes, worst first"):  # all of cat is decided
            assert app.footer("nextList").text_content() == f"] {title}"
            app.press("]")
            app.wait_title(title)
        for title in ("ant", "bee", "dog", "All classes, worst first"):
            app.press("[")
            app.wait_title(title)
        page.close()


def test_decisions_and_news_leave_the_choices_as_they_are(cats: App, served_scan: Scan) -> None:
    """A list that is open in the browser would close if it were drawn anew."""
    mark = "document.querySelectorAll('select, option, input').forEach((node, n) => { node.mark = n; })"
    marks = "[...document.querySelectorAll('select, option, input')].map(node => node.mark)"
    cats.page.evaluate(mark)
    before = cats.page.evaluate(marks)
    assert len(before) > 10
    cats.press("k", "d", "Enter")
    cats.wait_for("cat_03.png", "⇒ dog")
    assert cats.page.evaluate(marks) == before
    path = "train/cat/cat_05.png"
    sha256 = sha256_of(served_scan.root / path)
    Manifest(served_scan.manifest_path).append(
        Decision(path, Action.UNSURE, sha256=sha256, reviewer="ben", decided_at=TIME)
    )
    cats.wait_for("cat_05.png", "? Unsure")  # without a click here
    assert cats.page.evaluate(marks) == before
    cats.list_row("Unsure").wait_for(timeout=PATIENCE)


def test_a_reload_brings_back_list_page_and_cursor(cats: App, served_scan: Scan) -> None:
    cats.open_list("dog", "dog_01.png")
    number = len(cats.names())
    cats.press("n")
    cats.wait_first(f"dog_{number + 1:02d}.png")
    cats.press("ArrowRight", "ArrowRight")
    wanted = f"dog_{number + 3:02d}.png"
    cats.wait_at(wanted)
    wait_until(lambda: any(wanted in place.read_text() for place in served_scan.folder.glob("decisions.csv.place-*")))
    cats.page.reload()
    cats.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    cats.wait_title("dog")
    cats.wait_first(f"dog_{number + 1:02d}.png")
    cats.wait_at(wanted)


def test_a_reload_on_another_screen_brings_back_the_cursor_on_its_own_page(cats: App, served_scan: Scan) -> None:
    cats.point("cat_20.png")
    wait_until(lambda: any("cat_20" in place.read_text() for place in served_scan.folder.glob("decisions.csv.place-*")))
    cats.page.set_viewport_size({"width": 700, "height": 600})
    cats.page.reload()
    cats.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    cats.wait_at("cat_20.png")
    assert cats.names()[0] != "cat_01.png"


def test_a_text_that_hides_everything_is_not_brought_back(cats: App) -> None:
    cats.page.get_by_label("Show", exact=True).select_option("undecided")
    field = cats.page.get_by_label("Part of the path", exact=True)
    field.fill("_33")
    cats.press("Enter")
    cats.wait_at("cat_33.png")
    cats.press("k")
    cats.wait_for("cat_33.png", "✓ Keep")
    cats.page.reload()
    cats.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    cats.wait_title("cat")
    cats.wait_at("cat_33.png")
    assert field.input_value() == ""
    assert cats.page.get_by_label("Show", exact=True).input_value() == "all"
    assert cats.page.locator(".cleaner-place").text_content() == "page 2 of 2"


def test_the_page_has_as_many_cards_as_fill_the_screen(cats: App) -> None:
    page = cats.page
    for width, height in ((1400, 900), (1000, 700), (1900, 1000)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(FILLS_THE_SCREEN, arg=width, timeout=PATIENCE)
    assert cats.names()[0] == "cat_01.png"


# Whole rows fill the area of the images, with no room for another one, and nothing is to be scrolled.
FILLS_THE_SCREEN = """width => {
    const area = document.querySelector(".cleaner-images"), cards = [...document.querySelectorAll(".cleaner-card")];
    const columns = cards.filter(card => card.offsetTop === cards[0].offsetTop).length;
    const last = cards.at(-1).getBoundingClientRect(), around = area.getBoundingClientRect();
    const isWhole = cards.length % columns === 0 || cards.length === 35;
    if (innerWidth !== width) return false;
    return isWhole && area.scrollHeight <= area.clientHeight + 1 && around.bottom - last.bottom < 1.25 * last.height;
}"""


def test_on_a_narrow_page_the_lists_are_behind_a_button(cats: App, served_scan: Scan) -> None:
    before = len(cats.names())
    cats.page.set_viewport_size({"width": 420, "height": 900})
    wait_until(lambda: len(cats.names()) < before)
    assert cats.list_row("dog").is_hidden()
    cats.open_sidebar()
    cats.open_list("dog", "dog_01.png")
    cats.list_row("dog").wait_for(state="hidden", timeout=PATIENCE)
    cats.wait_at("dog_01.png")
    cats.press("d")
    cats.wait_for("dog_01.png", "✕ Delete")
    assert standing(served_scan) == {"dog_01.png": "delete"}


def test_the_lists_can_be_folded_away_and_the_images_take_their_place(cats: App) -> None:
    columns, menu = cats.columns(), cats.page.get_by_role("button", name="Lists", exact=True)
    assert menu.get_attribute("aria-expanded") == "true"
    menu.click()
    cats.list_row("dog").wait_for(state="hidden", timeout=PATIENCE)
    assert menu.get_attribute("aria-expanded") == "false"
    wait_until(lambda: cats.columns() > columns)
    menu.click()
    cats.list_row("dog").wait_for(timeout=PATIENCE)
    wait_until(lambda: cats.columns() == columns)


def test_the_sidebar_follows_what_others_decide(cats: App, served_scan: Scan) -> None:
    decide_all(served_scan, "dog")
    row = "document.querySelector('.cleaner-list[data-label=dog]').title.includes('35 of 35 decided')"
    cats.wait_json(row, True)
    assert cats.footer("nextList").text_content() == "] fox"


def class_names(app: App) -> list[str]:
    """Return the names of the rows that are in sight in the sidebar."""
    return app.page.evaluate(
        """() => {
            const around = document.querySelector(".cleaner-rows").getBoundingClientRect();
            const rows = [...document.querySelectorAll(".cleaner-list")].filter(row => {
                const box = row.getBoundingClientRect();
                return box.bottom > around.top && box.top < around.bottom;
            });
            return rows.map(row => row.dataset.label);
        }"""
    )


def fills(app: App) -> bool:
    """Return whether rows fill the sidebar."""
    return len(class_names(app)) > 10


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[App]:
    """The app on a scan with so many classes that only some of their rows are drawn."""
    folder = tmp_path_factory.mktemp("many")
    vocab = tuple(f"bird_{number:03d}" for number in range(320))
    scan = make_scan(folder / "data", folder / "scan", vocab=vocab, per_class=1)
    losses = [ClassLosses("train", label, 1000, 320 - n) for n, label in enumerate(vocab)]
    scan = replace(scan, losses=tuple(losses)).write(scan.folder)
    with voila(scan.folder, folder) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        yield App(page)
        page.close()


def test_the_rows_are_there_after_a_search_is_cleared(many: App) -> None:
    search, rows = many.page.locator(".cleaner-search"), many.page.locator(".cleaner-rows")
    assert fills(many)
    for typed, number in (("bird_10", 14), ("no such", 0), ("bird_31", 13)):
        rows.evaluate("node => { node.scrollTop = node.scrollHeight; }")
        wait_until(lambda: class_names(many)[-1:] == ["bird_319"])
        search.fill(typed)
        many.wait_json("document.querySelectorAll('.cleaner-list').length", number)
        rows.evaluate("node => { node.scrollTop = node.scrollHeight; }")
        search.fill("")
        wait_until(lambda: fills(many))
        assert class_names(many)[1] == "bird_000"
    # While most are found, the rows are virtual, too.
    search.fill("bird")
    wait_until(lambda: class_names(many)[:1] == ["bird_000"])
    rows.evaluate("node => { node.scrollTop = node.scrollHeight; }")
    wait_until(lambda: class_names(many)[-1:] == ["bird_319"] and fills(many))
    search.fill("")
    wait_until(lambda: class_names(many)[1:2] == ["bird_000"])


def test_the_arrows_go_from_the_search_to_the_rows_and_back(many: App) -> None:
    search = many.page.locator(".cleaner-search")
    at = "document.activeElement.dataset.label ?? document.activeElement.className"
    many.page.locator(".cleaner-rows").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    wait_until(lambda: class_names(many)[-1:] == ["bird_319"])
    search.focus()
    many.press("ArrowDown")
    many.wait_json("document.activeElement.className", "cleaner-list")
    assert class_names(many)[0] == many.page.evaluate(at)  # the first of all, although others were in sight
    many.press("ArrowUp")
    many.wait_json(at, "cleaner-search")
    search.fill("bird_01")
    many.press("ArrowDown")
    many.wait_json(at, "bird_010")
    many.press("ArrowDown", "ArrowDown")
    many.wait_json(at, "bird_012")
    many.press("ArrowUp", "ArrowUp", "ArrowUp")
    many.wait_json(at, "cleaner-search")
    many.press("ArrowDown", "ArrowDown", "Enter")
    many.wait_first("bird_011_01.png")
    search.fill("")


def test_the_rows_say_what_their_numbers_are(many: App) -> None:
    rows = many.page.locator(".cleaner-list")
    names = [rows.nth(n).get_attribute("aria-label") for n in (0, 1)]
    assert names == ["All classes, worst first, 320 images", "bird_000, 32 % predicted otherwise"]
    assert rows.nth(1).locator(".cleaner-faint").get_attribute("title") == "32 % predicted otherwise"
    assert many.page.locator(".cleaner-shares").text_content() == "predicted otherwise"


def test_a_click_beside_the_open_drawer_closes_it(cats: App, served_scan: Scan) -> None:
    cats.page.set_viewport_size({"width": 420, "height": 900})
    cats.list_row("dog").wait_for(state="hidden", timeout=PATIENCE)
    cats.open_sidebar()
    cats.list_row("dog").wait_for(timeout=PATIENCE)
    cats.page.mouse.click(400, 300)
    cats.list_row("dog").wait_for(state="hidden", timeout=PATIENCE)
    cats.wait_at("cat_01.png")  # and nothing else happens
    assert not served_scan.manifest_path.exists()


def test_a_folded_filter_that_is_set_is_seen(cats: App) -> None:
    cats.page.set_viewport_size({"width": 800, "height": 900})
    button, slider = cats.page.locator(".cleaner-filter-button"), cats.page.locator(".cleaner-size")
    button.wait_for(timeout=PATIENCE)
    assert button.text_content() == "Filter"
    assert slider.is_hidden()
    button.click()
    slider.wait_for(timeout=PATIENCE)
    cats.page.get_by_label("Show", exact=True).select_option("undecided")
    cats.page.get_by_label("Predicted", exact=True).select_option("dog")
    cats.page.locator(".cleaner-filter-button.cleaner-set", has_text="Filter · 2").wait_for(timeout=PATIENCE)
    button.click()
    assert button.text_content() == "Filter · 2"
    cats.page.set_viewport_size({"width": 1400, "height": 900})


def test_the_buttons_at_the_page_number_turn_pages_at_every_width(cats: App) -> None:
    before, after = (cats.page.get_by_role("button", name=f"{name} page", exact=True) for name in ("Previous", "Next"))
    for width, most in ((1400, 35), (420, 10)):
        cats.page.set_viewport_size({"width": width, "height": 900})
        cats.page.wait_for_function("n => document.querySelectorAll('.cleaner-card').length <= n", arg=most)
        cats.page.locator(".cleaner-place", has_text="page 1 of ").wait_for(timeout=PATIENCE)
        assert [before.get_attribute("aria-disabled"), after.get_attribute("aria-disabled")] == ["true", "false"]
        assert in_sight(before)
        assert in_sight(after)
        after.click()
        cats.page.locator(".cleaner-place", has_text="page 2 of ").wait_for(timeout=PATIENCE)
        cats.page.locator(".cleaner-card.cleaner-at:focus").wait_for(timeout=PATIENCE)
        before.click()
        cats.wait_first("cat_01.png")
