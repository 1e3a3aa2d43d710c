"""The large view: it follows the keys, and its picture can be zoomed and dragged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cleaner.core.scan import Scan
from tests.support.browser_app import App, standing
from tests.support.hosts import PATIENCE, voila, wait_until
from tests.support.images import make_image
from tests.support.scans import make_scan, with_features


def test_the_large_view_follows_the_keys(cats: App, served_scan: Scan) -> None:
    cats.card("cat_01.png").locator(".cleaner-picture").dblclick()
    large = cats.wait_large("cat_01.png")
    place = large.locator(".cleaner-large-place span").first
    assert place.text_content() == "1 of 35"
    cats.press("ArrowRight")
    cats.wait_large("cat_02.png")
    assert place.text_content() == "2 of 35"
    cats.press("d")
    cats.wait_large("cat_03.png")
    cats.press("r")
    large.locator(".cleaner-chooser input").wait_for(timeout=PATIENCE)
    cats.page.keyboard.type("fox")
    cats.press("Enter")
    cats.wait_large("cat_04.png")
    large.get_by_role("button", name="Previous image").click()
    cats.wait_large("cat_03.png")
    large.locator(".cleaner-large-decision", has_text="⇒ fox").wait_for(timeout=PATIENCE)
    cats.press("Escape")
    large.wait_for(state="hidden", timeout=PATIENCE)
    cats.wait_at("cat_03.png")
    assert standing(served_scan) == {"cat_02.png": "delete", "cat_03.png": "relabel fox"}


def test_the_large_view_counts_over_pages_and_shows_the_end_of_each(cats: App, served_scan: Scan) -> None:
    number = len(cats.names())
    cats.press("End", "z")
    large = cats.wait_large(f"cat_{number:02d}.png")
    place = large.locator(".cleaner-large-place span").first
    assert place.text_content() == f"{number} of 35"
    cats.press("ArrowRight")
    cats.wait_large(f"cat_{number + 1:02d}.png")
    assert place.text_content() == f"{number + 1} of 35"
    cats.press("Home", "ArrowLeft")
    cats.wait_large(f"cat_{number:02d}.png")
    cats.press("d")
    large.locator(".cleaner-end").wait_for(timeout=PATIENCE)
    large.locator(".cleaner-large-last", has_text=f"last: cat_{number:02d}.png: ✕ Delete").wait_for(timeout=PATIENCE)
    cats.press("d", "ArrowRight")
    cats.wait_large(f"cat_{number + 1:02d}.png")
    assert standing(served_scan) == {f"cat_{number:02d}.png": "delete"}


def test_enter_after_a_click_in_the_large_view_is_the_key_and_not_the_button_again(
    cats: App, served_scan: Scan
) -> None:
    cats.press("z")
    large = cats.wait_large("cat_01.png")
    large.locator("[data-tool=delete]").click()
    cats.wait_large("cat_02.png")
    cats.press("Enter")
    cats.wait_large("cat_03.png")
    large.get_by_role("button", name="Next image").click()
    cats.wait_large("cat_04.png")
    cats.press("Enter", "Escape")
    cats.wait_for("cat_04.png", "⇒ dog")
    assert standing(served_scan) == {"cat_01.png": "delete", "cat_02.png": "relabel dog", "cat_04.png": "relabel dog"}


@pytest.fixture
def pictures(tmp_path: Path, chromium: Any) -> Any:
    """The app on a scan whose first image is large and whose second is small."""
    scan = make_scan(tmp_path / "data", tmp_path / "scan", vocab=("cat", "dog"), per_class=3)
    make_image(scan.root / "train/cat/cat_01.png", 1, size=(1500, 1000))
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.open_list("cat", "cat_01.png")
        app.wait_at("cat_01.png")
        yield app
        page.close()


def test_the_wheel_zooms_to_the_pointer_and_dragging_moves_the_picture(pictures: App) -> None:
    page = pictures.page
    pictures.press("Space")
    large = pictures.wait_large("cat_01.png")
    image, frame = large.locator(".cleaner-large-picture img"), large.locator(".cleaner-large-picture").bounding_box()
    wait_until(lambda: image.evaluate("node => node.naturalWidth") == 1500)  # no longer the thumbnail
    fitted = image.bounding_box()
    assert fitted["width"] <= frame["width"] + 1
    assert fitted["height"] <= frame["height"] + 1
    x, y = frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 4
    page.mouse.move(x, y)
    page.mouse.wheel(0, -1000)
    wait_until(lambda: image.bounding_box()["width"] > 3 * fitted["width"])
    zoomed = image.bounding_box()
    # What was under the pointer is there still.
    for side, size, at in (("x", "width", x), ("y", "height", y)):
        before, after = ((at - box[side]) / box[size] for box in (fitted, zoomed))
        assert abs(before - after) < 0.01

    page.mouse.down()
    page.mouse.move(x + 40, y + 30)
    page.mouse.up()
    moved = image.bounding_box()
    assert (round(moved["x"] - zoomed["x"]), round(moved["y"] - zoomed["y"])) == (40, 30)
    page.mouse.move(x, y)  # a pointer that holds nothing moves nothing
    assert image.bounding_box() == moved
    page.mouse.wheel(0, 5000)
    wait_until(lambda: image.bounding_box() == fitted)
    page.mouse.wheel(0, -9000)
    wait_until(lambda: round(image.bounding_box()["width"]) == 15_000)  # ten times, and no more


def test_a_small_image_is_shown_ten_times_as_large_and_no_larger(pictures: App) -> None:
    pictures.point("cat_02.png")
    pictures.press("z")
    image = pictures.wait_large("cat_02.png").locator(".cleaner-large-picture img")
    wait_until(lambda: image.bounding_box()["width"] == 480)  # of 48
    assert image.bounding_box()["height"] == 320


def test_the_nearest_images_stand_beside_a_large_one(chromium: Any, tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    paths = [sample.path for sample in scan.samples]
    scan = with_features(scan, paths, np.random.default_rng(0).normal(size=(len(paths), 8)).astype(np.float32))
    near = scan.features.nearest("train/cat/cat_01.png", 8)
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.point("cat_01.png")
        app.press("z")
        section = page.locator(".cleaner-typical", has_text="nearest images")
        section.locator("img").nth(7).wait_for(timeout=PATIENCE)
        assert [figure.get_attribute("title") for figure in section.locator("figure").all()] == [
            path for path, _ in near
        ]
        labels = [scan.by_path()[path].label for path, _ in near]
        assert section.locator("figcaption").all_text_contents() == labels
        page.close()
