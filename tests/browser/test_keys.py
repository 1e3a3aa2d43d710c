"""The review by keys and mouse: cursor, selection, actions, pages, filters, large view, overview."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.records import Unreadable
from cleaner.core.scan import Scan, load
from tests.support.browser_app import App
from tests.support.hosts import PATIENCE, Host, jupyterlab, notebook7, voila, wait_until
from tests.support.scans import make_scan

HOSTS = [
    pytest.param(voila, id="voila"),
    pytest.param(jupyterlab, id="jupyterlab"),
    pytest.param(notebook7, id="notebook7"),
]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]


def make_long_scan(folder: Path) -> Scan:
    scan = make_scan(folder / "data", folder / "scan", vocab=("cat", "dog", "fox"), per_class=35)
    return replace(scan, unreadable=(Unreadable("train", "cat", "train/cat/bad.png", "broken"),)).write(scan.folder)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Voila on a scan of two pages a class and one file that could not be read."""
    folder = tmp_path_factory.mktemp("keys")
    scan = make_long_scan(folder)
    with voila(scan.folder, folder) as host:
        yield host


@pytest.fixture
def scan(host: Host) -> Scan:
    """The served scan, with nothing decided."""
    scan = load(next(word for word in host.server.cmdline() if word.endswith("/scan")))
    for path in scan.folder.glob("decisions.csv*"):
        path.unlink()
    return scan


@pytest.fixture
def app(host: Host, scan: Scan, chromium: Any) -> Iterator[App]:
    """The app on a new page."""
    wait_until(lambda: host.kernels() == [])  # of the test before
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    host.open(page)
    yield App(page)
    page.goto("about:blank")
    page.close()


def press(app: App, *keys: str) -> None:
    for key in keys:
        app.page.keyboard.press(key)


def wait_at(app: App, name: str) -> None:
    """Wait until the cursor and the focus are on this card."""
    app.page.locator(".cleaner-card.cleaner-at:focus .cleaner-name", has_text=name).wait_for(timeout=PATIENCE)


def wait_selected(app: App, *names: str) -> None:
    """Wait until these cards, and no others, are selected."""
    script = "[...document.querySelectorAll('.cleaner-card[aria-selected=true] .cleaner-name')].map(n => n.textContent)"
    wait_for(app, script, list(names))


def wait_for(app: App, script: str, value: Any) -> None:
    app.page.wait_for_function(f"value => JSON.stringify({script}) === value", arg=_json(value), timeout=PATIENCE)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def standing(scan: Scan) -> dict[str, str]:
    """Return the decisions that stand in the manifest, by file name."""
    found = Manifest(scan.manifest_path).standing()
    return {path.rsplit("/", 1)[1]: f"{d.action.value} {d.new_label}".strip() for path, d in found.items()}


@pytest.mark.parametrize("start", HOSTS)
def test_a_class_is_reviewed_by_keys(start: Starter, tmp_path: Path, chromium: Any) -> None:
    scan = make_long_scan(tmp_path)
    with start(scan.folder, tmp_path / "notebooks") as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        host.open(page)
        app = App(page)
        app.wait_first("cat_01.png")
        app.card("cat_01.png").locator(".cleaner-picture").click()
        wait_at(app, "cat_01.png")
        press(app, "k")
        app.wait_for("cat_01.png", "✓ Keep")
        wait_at(app, "cat_02.png")
        press(app, "d", "s", "Enter")
        for name, shows in (("cat_02.png", "✕ Delete"), ("cat_03.png", "? Unsure"), ("cat_04.png", "→ dog")):
            app.wait_for(name, shows)
        wait_at(app, "cat_05.png")
        press(app, "r")
        page.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
        page.keyboard.type("fo")
        press(app, "Enter")
        app.wait_for("cat_05.png", "→ fox")
        wait_at(app, "cat_06.png")

        press(app, "Shift+ArrowRight", "Shift+ArrowRight")
        wait_selected(app, "cat_06.png", "cat_07.png", "cat_08.png")
        press(app, "d")
        for name in ("cat_06.png", "cat_07.png", "cat_08.png"):
            app.wait_for(name, "✕ Delete")
        press(app, "u")
        app.wait_for("cat_07.png", "undecided")
        press(app, "Shift+U")
        app.wait_for("cat_07.png", "✕ Delete")

        press(app, "Shift+K")
        app.wait_first("cat_31.png")
        press(app, "p")
        app.wait_first("cat_01.png")
        app.wait_for("cat_30.png", "✓ Keep")
        press(app, "n")
        app.wait_first("cat_31.png")
        press(app, "a")
        wait_selected(app, *(f"cat_{n}.png" for n in range(31, 36)))
        press(app, "Escape", "?")
        page.locator(".cleaner-help[open]").wait_for(timeout=PATIENCE)
        assert "take the predicted label" in page.locator(".cleaner-help").text_content()
        page.close()
    expected = {f"cat_{n:02d}.png": "keep" for n in range(1, 31)}
    expected |= {"cat_02.png": "delete", "cat_03.png": "unsure", "cat_04.png": "relabel dog"}
    expected |= {"cat_05.png": "relabel fox", **{f"cat_0{n}.png": "delete" for n in (6, 7, 8)}}
    assert standing(scan) == expected


def test_keys_act_only_while_the_grid_has_the_focus(app: App, scan: Scan) -> None:
    app.page.locator(".cleaner-filters input").click()
    press(app, "k", "d", "Backspace", "Backspace")
    app.page.locator(".cleaner-fold").focus()
    press(app, "k")
    app.card("cat_03.png").locator(".cleaner-picture").click()
    wait_at(app, "cat_03.png")
    press(app, "s")
    app.wait_for("cat_03.png", "? Unsure")
    assert standing(scan) == {"cat_03.png": "unsure"}


def test_arrow_keys_move_by_cards_and_rows(app: App) -> None:
    columns = app.page.evaluate(
        "getComputedStyle(document.querySelector('.cleaner-grid')).gridTemplateColumns.split(' ').length"
    )
    app.card("cat_01.png").locator(".cleaner-picture").click()
    press(app, "ArrowDown")
    wait_at(app, f"cat_{1 + columns:02d}.png")
    press(app, "ArrowRight")
    wait_at(app, f"cat_{2 + columns:02d}.png")
    press(app, "ArrowUp", "ArrowLeft")
    wait_at(app, "cat_01.png")


def test_a_click_between_the_cards_keeps_the_keys(app: App, scan: Scan) -> None:
    app.card("cat_02.png").locator(".cleaner-picture").click()
    wait_at(app, "cat_02.png")
    click_between(app)
    press(app, "k")
    app.wait_for("cat_02.png", "✓ Keep")
    assert standing(scan) == {"cat_02.png": "keep"}


def click_between(app: App) -> None:
    """Click in the gap between the first two cards."""
    first, second = (app.card(f"cat_0{n}.png").bounding_box() for n in (1, 2))
    assert first["y"] == second["y"]
    app.page.mouse.click((first["x"] + first["width"] + second["x"]) / 2, first["y"] + 40)


@pytest.mark.parametrize("start", HOSTS[1:])
def test_a_click_between_the_cards_never_lets_two_d_delete_the_cell(
    start: Starter, tmp_path: Path, chromium: Any
) -> None:
    scan = make_long_scan(tmp_path)
    with start(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        click_between(app)
        press(app, "d")
        app.wait_for("cat_01.png", "✕ Delete")
        press(app, "d")
        app.wait_for("cat_02.png", "✕ Delete")
        page.get_by_label("Path", exact=True).fill("_3")
        press(app, "Enter")
        app.wait_first("cat_30.png")
        page.close()
    assert set(standing(scan)) == {"cat_01.png", "cat_02.png"}


def test_no_key_decides_again_about_the_last_card_of_a_page(app: App, scan: Scan) -> None:
    app.card("cat_29.png").locator(".cleaner-picture").click()
    wait_at(app, "cat_29.png")
    press(app, "d", "d", "k", "k")  # typed ahead: two cards are left
    app.wait_for("cat_30.png", "✕ Delete")
    app.page.get_by_text("This is the end of the page: N opens the next one").first.wait_for(timeout=PATIENCE)
    press(app, "s")
    assert standing(scan) == {"cat_29.png": "delete", "cat_30.png": "delete"}
    press(app, "ArrowLeft")
    wait_at(app, "cat_29.png")
    press(app, "ArrowRight", "k")  # whoever goes back to it can decide again
    app.wait_for("cat_30.png", "✓ Keep")


@pytest.mark.parametrize("width", [420, 640, 1280])
def test_the_header_never_hides_the_card_of_the_cursor(width: int, app: App) -> None:
    page = app.page
    page.set_viewport_size({"width": width, "height": 1000})
    app.card("cat_01.png").locator(".cleaner-picture").click()
    for _ in range(6):
        press(app, "ArrowDown")
    for _ in range(4):
        press(app, "ArrowUp")
    wait_until(lambda: hidden_pixels(page) == 0)


def hidden_pixels(page: Any) -> float:
    """How much of the cursor's card is under the header."""
    return page.evaluate(
        """() => Math.max(0, document.querySelector(".cleaner-head").getBoundingClientRect().bottom
               - document.activeElement.closest(".cleaner-card").getBoundingClientRect().top)"""
    )


def test_a_label_is_found_by_its_words_in_any_order(tmp_path: Path, chromium: Any) -> None:
    scan = make_scan(
        tmp_path / "data", tmp_path / "scan", vocab=("cat", "great_white_shark", "Tiger-Shark"), per_class=2
    )
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        host.open(page)
        app = App(page)
        app.card("cat_01.png").locator(".cleaner-picture").click()
        for typed, found in (("white shark", ["great_white_shark"]), ("shark tiger", ["Tiger-Shark"])):
            press(app, "r")
            page.locator(".cleaner-chooser input").fill(typed)
            page.wait_for_function(
                "document.querySelectorAll('.cleaner-choices button').length === 1", timeout=PATIENCE
            )
            assert [
                label.split(" (")[0].strip("→ ")
                for label in page.locator(".cleaner-choices button").all_text_contents()
            ] == found
            press(app, "Escape")
        page.close()


def test_the_mouse_can_do_what_the_keys_can(app: App, scan: Scan) -> None:
    page = app.page
    for name in ("cat_02.png", "cat_04.png"):
        app.card(name).locator(".cleaner-select").click()
    wait_selected(app, "cat_02.png", "cat_04.png")
    assert page.locator(".cleaner-selected").text_content() == "2 selected"
    tool = "[data-act='{}']".format
    page.locator(f".cleaner-tools {tool('delete')}").click()
    app.wait_for("cat_02.png", "✕ Delete")
    app.wait_for("cat_04.png", "✕ Delete")
    app.card("cat_06.png").locator(".cleaner-picture").click()
    app.card("cat_08.png").locator(".cleaner-picture").click(modifiers=["Shift"])
    wait_selected(app, "cat_06.png", "cat_07.png", "cat_08.png")
    page.locator(f".cleaner-tools {tool('predicted')}").click()
    app.wait_for("cat_08.png", "→ dog")
    page.locator(f".cleaner-tools {tool('undo')}").click()
    app.wait_for("cat_08.png", "undecided")
    page.locator(f".cleaner-tools {tool('redo')}").click()
    app.wait_for("cat_08.png", "→ dog")
    page.locator(f".cleaner-tools {tool('keep_rest')}").click()
    app.wait_first("cat_31.png")
    page.locator(".cleaner-head button", has_text="Previous").click()
    app.wait_first("cat_01.png")
    assert set(standing(scan).values()) == {"keep", "delete", "relabel dog"}
    assert len(standing(scan)) == 30


def test_the_large_view_follows_the_keys(app: App, scan: Scan) -> None:
    app.card("cat_01.png").locator(".cleaner-picture").dblclick()
    large = app.page.locator(".cleaner-large[open]")

    def wait_large(name: str) -> None:
        large.locator(".cleaner-large-name", has_text=name).wait_for(timeout=PATIENCE)
        large.locator(".cleaner-large-picture[aria-busy=false] img").wait_for(timeout=PATIENCE)

    wait_large("cat_01.png")
    press(app, "ArrowRight")
    wait_large("cat_02.png")
    press(app, "d")
    wait_large("cat_03.png")
    press(app, "r")
    large.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
    app.page.keyboard.type("fox")
    press(app, "Enter")
    wait_large("cat_04.png")
    large.locator("button[data-act=back]").click()
    wait_large("cat_03.png")
    assert "→ fox" in large.locator(".cleaner-decision").text_content()
    press(app, "Escape")
    large.wait_for(state="hidden", timeout=PATIENCE)
    wait_at(app, "cat_03.png")
    assert standing(scan) == {"cat_02.png": "delete", "cat_03.png": "relabel fox"}


def test_filters_order_and_page_size_are_remembered(app: App) -> None:
    page = app.page
    app.decide("cat_01.png", "keep", "✓ Keep")
    page.get_by_label("Show", exact=True).select_option("undecided")
    app.wait_first("cat_02.png")
    page.get_by_label("Per page", exact=True).select_option("10")
    page.locator(".cleaner-place", has_text="page 1 of 4").wait_for(timeout=PATIENCE)
    page.get_by_label("Path", exact=True).fill("_3")
    page.keyboard.press("Enter")
    app.wait_first("cat_30.png")
    assert app.names() == [f"cat_{n}.png" for n in range(30, 36)]
    page.reload()
    page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    app.wait_first("cat_30.png")
    assert page.get_by_label("Path", exact=True).input_value() == "_3"
    page.get_by_label("Path", exact=True).fill("no such name")
    page.keyboard.press("Enter")
    page.locator(".cleaner-empty button", has_text="Show all").click()
    app.wait_first("cat_01.png")
    assert page.get_by_label("Per page", exact=True).input_value() == "10"


def test_the_overview_opens_classes_and_cells(app: App, scan: Scan) -> None:
    page = app.page
    overview = page.locator(".cleaner-overview")
    rows = overview.locator(".cleaner-classes tbody tr")
    assert rows.all_text_contents()[-1].startswith("files that could not be read")
    overview.locator("thead button", has_text="Class").click()
    wait_for(app, "[...document.querySelectorAll('.cleaner-classes tbody button')].slice(0, 2).map(n => n.textContent)",
             ["cat", "dog"])  # fmt: skip
    rows.nth(1).click()
    app.wait_first("dog_01.png")
    app.decide("dog_01.png", "keep", "✓ Keep")
    rows.nth(1).locator("td", has_text="1 of 35").wait_for(timeout=PATIENCE)
    overview.locator(".cleaner-matrix button[data-given=fox]").click()
    app.wait_first("fox_01.png")
    assert page.get_by_label("Predicted", exact=True).input_value() == "cat"
    rows.locator("button", has_text="files that could not be read").click()
    app.wait_first("bad.png")
    assert "not there any more" in app.card("bad.png").locator(".cleaner-broken").text_content()
    app.decide("bad.png", "delete", "✕ Delete")
    assert standing(scan) == {"dog_01.png": "keep", "bad.png": "delete"}
    overview.locator(".cleaner-fold").click()
    overview.locator(".cleaner-overview-body").wait_for(state="hidden", timeout=PATIENCE)


def test_two_reviewers_see_each_other_and_where_they_disagree(app: App, host: Host, scan: Scan, chromium: Any) -> None:
    other_page = chromium.new_page(viewport={"width": 1280, "height": 900})
    host.open(other_page)
    other = App(other_page)
    for one, name in ((app, "anna"), (other, "ben")):
        one.page.get_by_label("Reviewer", exact=True).fill(name)
        one.page.keyboard.press("Enter")
    app.decide("cat_01.png", "keep", "✓ Keep")
    other.wait_for("cat_01.png", "✓ Keep")  # without a click there
    assert other.card("cat_01.png").locator(".cleaner-by").text_content() == "by anna"
    other.decide("cat_01.png", "delete", "✕ Delete")
    app.wait_for("cat_01.png", "✕ Delete")
    for one in (app, other):
        assert one.card("cat_01.png").locator(".cleaner-others").text_content() == "≠ anna: ✓ Keep"
    assert [row.reviewer for row in Manifest(scan.manifest_path).rows()] == ["anna", "ben"]
    other_page.goto("about:blank")
    other_page.close()


def test_an_invalid_reviewer_name_is_refused_on_the_page(app: App) -> None:
    field = app.page.get_by_label("Reviewer", exact=True)
    before = field.input_value()
    field.fill("=1+1")
    app.page.keyboard.press("Enter")
    app.page.locator(".cleaner-alert", has_text="the reviewer's name is '=1+1'").wait_for(timeout=PATIENCE)
    app.card("cat_01.png").locator(".cleaner-picture").click()  # the text stays while it is typed
    wait_until(lambda: field.input_value() == before)
