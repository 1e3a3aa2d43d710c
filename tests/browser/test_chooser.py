"""The label chooser: it floats at its card, and finds labels by typing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, Host, voila
from tests.support.scans import make_scan

VOCAB = ("cat", "dog", "bobcat", "great_white_shark", "Tiger-Shark", "ant", "zebra")
ALIKE = "cat_04.png"
PARTS = ".cleaner-card, .cleaner-header, .cleaner-images, .cleaner-sidebar, .cleaner-footer"


@pytest.fixture(scope="module")
def sharks(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[tuple[App, Scan]]:
    """The app on a scan with many labels; one image is predicted as it is labelled."""
    folder = tmp_path_factory.mktemp("chooser")
    scan = make_scan(folder / "data", folder / "scan", vocab=VOCAB, per_class=4)
    alternatives = '[["dog", 0.9], ["zebra", 0.07], ["cat", 0.03]]'
    samples = [replace(sample, alternatives_json=alternatives) for sample in scan.samples]
    samples = [replace(s, predicted="cat", alternatives_json="[]") if s.path.endswith(ALIKE) else s for s in samples]
    scan = replace(scan, samples=tuple(samples)).write(scan.folder)
    with voila(scan.folder, folder) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        yield App(page), scan
        page.close()


@pytest.fixture
def app(sharks: tuple[App, Scan]) -> App:
    """The app with nothing decided, and the cursor on the first card of cat."""
    app, scan = sharks
    scan.manifest_path.unlink(missing_ok=True)
    app.page.set_viewport_size({"width": 1400, "height": 900})
    app.page.reload()
    app.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    app.open_list("cat", "cat_01.png")
    app.wait_at("cat_01.png")
    return app


@pytest.fixture
def scan(sharks: tuple[App, Scan]) -> Scan:
    return sharks[1]


def labels(app: App) -> list[str]:
    """Return the labels that can be chosen now, in their order."""
    app.page.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
    return app.page.locator(".cleaner-choice").evaluate_all("nodes => nodes.map(node => node.dataset.label)")


def field(app: App) -> Any:
    return app.page.locator(".cleaner-chooser input:focus")


def test_nothing_moves_when_the_chooser_opens_and_a_click_outside_closes_it(app: App, scan: Scan) -> None:
    for name in ("cat_01.png", "cat_03.png"):
        app.point(name)
        before = app.boxes(PARTS)
        app.press("r")
        field(app).wait_for(timeout=PATIENCE)
        assert app.boxes(PARTS) == before
        box = app.page.locator(".cleaner-chooser").bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= 1400
        assert box["y"] + box["height"] <= 900
        app.click_empty(".cleaner-sidebar")
        app.page.locator(".cleaner-chooser").wait_for(state="detached", timeout=PATIENCE)
        app.wait_at(name)
        assert app.boxes(PARTS) == before
    app.press("r")
    field(app).wait_for(timeout=PATIENCE)
    app.point("cat_02.png")
    assert app.page.locator(".cleaner-chooser").count() == 0
    assert not scan.manifest_path.exists()


def test_labels_come_by_probability_then_those_used_lately_then_by_the_alphabet(app: App) -> None:
    app.press("r")
    assert labels(app) == ["dog", "zebra", "ant", "bobcat", "great_white_shark", "Tiger-Shark"]
    texts = app.page.locator(".cleaner-choice").all_text_contents()
    assert texts[:3] == ["dog90 %1", "zebra7.0 %2", "ant"]
    app.page.keyboard.type("bob")
    app.press("Enter")
    app.wait_for("cat_01.png", "⇒ bobcat")
    app.press("r")
    field(app).wait_for(timeout=PATIENCE)
    app.page.keyboard.type("tiger")
    app.press("Enter")
    app.wait_for("cat_02.png", "⇒ Tiger-Shark")
    app.press("r")
    assert labels(app) == ["dog", "zebra", "Tiger-Shark", "bobcat", "ant", "great_white_shark"]
    app.press("Escape")
    app.wait_at("cat_03.png")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("white shark", ["great_white_shark"]),
        ("shark tiger", ["Tiger-Shark"]),
        ("SHARK", ["great_white_shark", "Tiger-Shark"]),
        ("great-white", ["great_white_shark"]),
        ("no such", []),
    ],
)
def test_a_label_is_found_by_its_words_in_any_order(typed: str, found: list[str], app: App) -> None:
    app.press("r")
    field(app).fill(typed)
    assert labels(app) == found


def test_enter_takes_only_the_marked_label(app: App, scan: Scan) -> None:
    marked = app.page.locator(".cleaner-choice[aria-selected=true]")

    def open_chooser(name: str) -> None:
        app.tool(name, "relabel").click()
        field(app).wait_for(timeout=PATIENCE)

    open_chooser(ALIKE)  # predicted as it is labelled: nothing to suggest
    assert marked.count() == 0
    app.press("Enter")
    assert field(app).count() == 1
    app.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp")
    assert marked.get_attribute("data-label") == "bobcat"
    field(app).dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    field(app).dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    assert field(app).count() == 1
    assert not scan.manifest_path.exists()
    app.press("Enter")
    app.wait_for(ALIKE, "⇒ bobcat")

    open_chooser("cat_01.png")  # predicted as dog
    assert marked.get_attribute("data-label") == "dog"
    field(app).fill("no such")
    app.press("Enter")
    assert field(app).count() == 1
    field(app).fill("")
    app.press("Enter")
    app.wait_for("cat_01.png", "⇒ dog")

    app.open_list("dog", "dog_01.png")
    open_chooser("dog_01.png")
    field(app).fill("CAT")  # which is also in bobcat
    assert marked.get_attribute("data-label") == "cat"
    app.press("Enter")
    app.wait_for("dog_01.png", "⇒ cat")
    assert len(Manifest(scan.manifest_path).rows()) == 3


def test_a_label_is_given_to_all_selected_images(app: App, scan: Scan) -> None:
    app.press("Shift+ArrowRight", "Shift+ArrowRight", "r")
    field(app).wait_for(timeout=PATIENCE)
    assert field(app).get_attribute("aria-label") == "New label of 3 images"
    app.page.locator(".cleaner-choice[data-label=ant]").click()
    app.wait_for("cat_03.png", "⇒ ant")
    app.wait_at(ALIKE)
    assert standing(scan) == {f"cat_0{n}.png": "relabel ant" for n in (1, 2, 3)}


@pytest.mark.parametrize("size", [(1400, 900), (420, 900), (1000, 480)])
def test_two_clicks_at_the_tool_choose_nothing_and_the_chooser_is_never_over_the_tools(
    size: tuple[int, int], host: Host, served_scan: Scan, chromium: Any
) -> None:
    page = chromium.new_page(viewport={"width": size[0], "height": size[1]})
    host.open(page)
    app = App(page)
    app.wait_at("cat_01.png")
    names = app.names()
    middle = app.columns() * (len(names) // app.columns() // 2)
    for name in {names[n] for n in (0, app.columns() - 1, middle, -1)}:
        app.tool(name, "relabel").dblclick()
        field(app).wait_for(timeout=PATIENCE)
        assert app.page.evaluate(OVER_TOOLS) is False
        # A second click that hits a label all the same is not meant for it.
        app.page.locator(".cleaner-choice").first.dispatch_event("click", {"detail": 2})
        assert field(app).count() == 1
        app.press("Escape")
        app.page.locator(".cleaner-chooser").wait_for(state="detached", timeout=PATIENCE)
    assert not served_scan.manifest_path.exists()
    page.goto("about:blank")
    page.close()


OVER_TOOLS = """() => {
    const [box, tools] = [".cleaner-chooser", ".cleaner-card.cleaner-at .cleaner-tools"].map(
        part => document.querySelector(part).getBoundingClientRect());
    const isWithin = box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight;
    const isApart = box.right <= tools.left || box.left >= tools.right || box.bottom <= tools.top;
    return !isWithin || !(isApart || box.top >= tools.bottom);
}"""


def test_a_digit_takes_a_probable_label_while_nothing_is_typed(app: App, scan: Scan) -> None:
    app.press("r")
    field(app).wait_for(timeout=PATIENCE)
    assert app.page.locator(".cleaner-choice kbd").all_text_contents() == ["1", "2"]
    app.press("2")
    app.wait_for("cat_01.png", "⇒ zebra")
    app.wait_at("cat_02.png")
    app.press("r")
    field(app).wait_for(timeout=PATIENCE)
    app.press("3")  # cat, which it is: no choice
    assert field(app).input_value() == "3"
    app.press("Backspace", "a", "1")
    assert field(app).input_value() == "a1"
    app.press("Escape")
    assert standing(scan) == {"cat_01.png": "relabel zebra"}


def test_a_digit_is_typed_where_labels_begin_with_digits(tmp_path: Path, chromium: Any) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=("1", "2", "3"), per_class=2)
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("1", "1_01.png")
        app.wait_at("1_01.png")
        app.press("r")
        field(app).wait_for(timeout=PATIENCE)
        assert labels(app) == ["2", "3"]
        assert page.locator(".cleaner-choice kbd").count() == 0
        app.press("3")
        assert labels(app) == ["3"]
        app.press("Enter")
        app.wait_for("1_01.png", "⇒ 3")
        page.close()
