"""The label chooser: it floats at its card, and finds labels by typing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, voila
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
