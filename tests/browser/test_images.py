"""The lists of issues in the browser: bad images with their reason, and groups of copies side by side, by keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.scan import Scan, load
from tests.browser.conftest import VIEWPORT
from tests.support.browser_app import App, standing, violations
from tests.support.hosts import PATIENCE, Host, voila, wait_until
from tests.support.images import make_image
from tests.support.issue_rows import checked_scan, group, quality

CONFLICTS = [["train/cat/c1.png", "train/dog/c1.png", "train/cat/c2.png"], ["train/dog/d1.png", "train/cat/d2.png"]]
LEAKS = [[f"train/cat/l{n}.png", f"valid/cat/l{n}v.png"] for n in range(1, 4)]
COPIES = [[f"train/dog/{n}{letter}.png" for letter in "abc"] for n in range(1, 30)]
DARK = [f"{'valid' if n % 2 else 'train'}/cat/k{n:02d}.png" for n in range(40)]


def make_checked_scan(folder: Path) -> Scan:
    """Write a folder as `cleaner check` leaves it, with a list of dark images and one of each kind of groups."""
    kinds = {"label-conflict": CONFLICTS, "leak": LEAKS, "copy": COPIES}
    rows, number = [], 0
    for kind, groups in kinds.items():
        for paths in groups:
            number += 1
            rows += group(kind, number, paths, "mirrored")
            for at, path in enumerate(paths):
                make_image(folder / "data" / path, seed=100 * number + at, size=(480 + at, 320))
    for seed, path in enumerate(DARK):
        make_image(folder / "data" / path, seed=seed)
    rows += quality("dark", DARK[:19], "99 % of its pixels are black")
    return checked_scan(folder / "data", folder / "scan", rows, ("cat", "dog"), "single-label")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Voila on a folder without scored samples."""
    folder = tmp_path_factory.mktemp("checked")
    scan = make_checked_scan(folder)
    with voila(scan.folder, folder) as host:
        yield host


@pytest.fixture
def app(host: Host, served_scan: Scan, chromium: Any) -> Iterator[App]:
    """The app on a new page, which begins with the first list that has images."""
    page = chromium.new_page(viewport=VIEWPORT)
    host.open(page)
    app = App(page)
    app.wait_first("c1.png")
    yield app
    page.goto("about:blank")
    page.close()


def at(app: App, path: str) -> None:
    """Wait until the cursor and the focus are on the card of a path; names alone are not unique here."""
    app.page.locator(f'.cleaner-card.cleaner-at:focus[data-path="{path}"]').wait_for(timeout=PATIENCE)


def shown(app: App) -> dict[str, str]:
    """Return what each decided card of the page shows, by path."""
    # One script finds and reads the cards: between two, a decision may be taken back.
    return app.page.locator(".cleaner-card").evaluate_all(
        "cs => Object.fromEntries(cs.filter(c => c.dataset.decision !== '')"
        ".map(c => [c.dataset.path, c.querySelector('.cleaner-badge').textContent]))"
    )


def decided(app: App, expected: dict[str, str]) -> None:
    """Wait until the cards show these decisions and no others, and everything is saved."""
    wait_until(lambda: shown(app) == expected)
    app.page.locator(".cleaner-saved", has_text="saved ✓").wait_for(timeout=PATIENCE)


def captions(app: App, path: str) -> list[str]:
    """Return the lines below a picture."""
    parts = app.page.locator(f'.cleaner-card[data-path="{path}"] .cleaner-caption > *')
    return [text for text in parts.all_text_contents() if text]


def groups(app: App) -> list[tuple[str, int]]:
    """Return heading and number of cards of each group of the page."""
    found = app.page.locator(".cleaner-group").evaluate_all(
        "gs => gs.map(g => [g.querySelector('.cleaner-group-name').textContent,"
        " g.querySelectorAll('.cleaner-card').length])"
    )
    return [(name, count) for name, count in found]


def test_the_page_begins_with_the_first_list_of_issues(app: App) -> None:
    assert app.page.locator(".cleaner-title").text_content() == "Copies with different labels"
    names = app.page.locator(".cleaner-list-name").all_text_contents()
    assert names == ["Copies with different labels", "Copies across splits", "Copies within a class", "Dark"]
    assert app.page.locator(".cleaner-part").text_content() == "Images"
    assert app.page.get_by_text("Overview", exact=True).count() == 0
    assert violations(app.page) == []


def test_bad_images_show_their_score_and_reason(app: App, served_scan: Scan) -> None:
    app.open_list("Dark", "k00.png")
    assert captions(app, DARK[0]) == ["cat", "0.95", "train99 % of its pixels are black"]
    assert app.page.get_by_label("Predicted", exact=True).count() == 0
    assert app.footer("predicted").count() == app.footer("keepOnly").count() == 0
    app.press("k", "d")
    decided(app, {DARK[0]: "✓ Keep", DARK[1]: "✕ Delete"})
    app.press("z")
    large = app.wait_large("k02.png")
    facts = large.locator(".cleaner-fact").all_text_contents()
    assert facts[:4] == ["given cat", "split train", "size 48 × 32 px", "issue 99 % of its pixels are black"]
    assert facts[4:] == ["score 0.85"]
    app.press("z")
    app.split.select_option("valid")
    app.wait_first("k00.png")
    decided(app, {DARK[0]: "✓ Keep", DARK[1]: "✕ Delete"})  # the list is of all splits
    assert standing(served_scan) == {"k00.png": "keep", "k01.png": "delete"}
    assert violations(app.page) == []


def test_of_copies_with_different_labels_one_takes_the_label_of_the_other(app: App, served_scan: Scan) -> None:
    assert groups(app) == [("Group 1 · 3 images", 3), ("Group 2 · 2 images", 2)]
    cat, dog, other = CONFLICTS[0]
    assert captions(app, cat) == ["cat", "train480 × 320", "suggested to keep"]
    assert captions(app, dog) == ["dog", "train481 × 320", "mirrored"]
    assert app.footer("otherLabel").text_content() == "L ⇒ dog"
    app.press("ArrowRight")
    at(app, dog)
    assert app.footer("otherLabel").text_content() == "L ⇒ cat"
    app.press("l")
    decided(app, {dog: "⇒ cat"})
    at(app, other)
    app.press("f")  # what gets another label keeps it
    decided(app, {cat: "✓ Keep", dog: "⇒ cat", other: "✓ Keep"})
    at(app, CONFLICTS[1][0])
    app.press("u")
    decided(app, {dog: "⇒ cat"})
    app.press("u")
    decided(app, {})
    app.page.locator(f'.cleaner-card[data-path="{CONFLICTS[1][1]}"]').hover()
    app.page.locator(f'.cleaner-card[data-path="{CONFLICTS[1][1]}"] [data-tool=otherLabel]').click()
    decided(app, {CONFLICTS[1][1]: "⇒ dog"})


def test_of_copies_across_splits_one_is_kept_and_the_rest_deleted_in_one_step(app: App, served_scan: Scan) -> None:
    app.open_list("Copies across splits", "l1.png")
    assert [captions(app, path)[1] for path in LEAKS[0]] == ["train480 × 320", "valid481 × 320"]
    assert app.footer("otherLabel").count() == 0
    app.press("ArrowRight", "g")
    decided(app, {LEAKS[0][0]: "✕ Delete", LEAKS[0][1]: "✓ Keep"})
    at(app, LEAKS[1][0])
    assert app.list_row("Copies across splits").get_attribute("title").splitlines()[1] == "2 of 6 decided"
    app.press("u")
    decided(app, {})
    at(app, LEAKS[0][1])
    assert set(standing(served_scan).values()) == set()
    app.press("Shift+U")
    decided(app, {LEAKS[0][0]: "✕ Delete", LEAKS[0][1]: "✓ Keep"})
    app.point("l2.png")
    app.press("z")
    app.wait_large("l2.png")
    app.press("g")
    app.wait_large("l3.png")
    app.press("z")
    expected = {LEAKS[0][0]: "✕ Delete", LEAKS[0][1]: "✓ Keep", LEAKS[1][0]: "✓ Keep", LEAKS[1][1]: "✕ Delete"}
    decided(app, expected)


def test_copies_within_a_class_that_are_fine_are_remembered(app: App, served_scan: Scan) -> None:
    app.open_list("Copies within a class", "1a.png")
    app.press("f")
    fine = dict.fromkeys(COPIES[0], "✓ Keep")
    decided(app, fine)
    at(app, COPIES[1][0])
    wait_until(lambda: any("2a.png" in place.read_text() for place in served_scan.folder.glob("decisions.csv.place-*")))
    app.page.reload()
    app.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    app.wait_title("Copies within a class")
    decided(app, fine)
    at(app, COPIES[1][0])
    app.page.get_by_label("Show", exact=True).select_option("undecided")
    app.wait_first("2a.png")
    assert set(standing(load(served_scan.folder)).values()) == {"keep"}


def test_pages_hold_whole_groups_and_the_arrows_follow_them(app: App) -> None:
    app.open_list("Copies within a class", "1a.png")
    assert {count for _, count in groups(app)} == {3}
    images = app.page.locator(".cleaner-images")
    assert images.evaluate("node => node.scrollHeight <= node.clientHeight")
    first = len(app.names())
    frames = app.boxes(".cleaner-group")
    assert len({round(frame[1]) for frame in frames}) > 1  # more than one row
    beside = sum(frame[1] == frames[0][1] for frame in frames)
    app.press("ArrowDown")
    at(app, COPIES[beside][0])
    app.press("ArrowUp")
    at(app, COPIES[0][0])
    app.press("n")
    app.wait_first(f"{first // 3 + 1}a.png")
    app.press("ArrowLeft")
    app.wait_at(f"{first // 3}c.png")
    app.page.set_viewport_size({"width": 800, "height": 700})
    app.wait_at(f"{first // 3}c.png")
    assert {count for _, count in groups(app)} == {3}
    assert violations(app.page) == []


def test_the_keys_go_through_the_lists_and_tell_what_they_do(app: App) -> None:
    for title in ("Copies across splits", "Copies within a class", "Dark", "Copies with different labels"):
        app.press("]")
        app.wait_title(title)
    app.press("?")
    help_text = app.page.locator(".cleaner-help").text_content()
    assert "keep this one, or those selected, and delete the rest of the group" in help_text
    app.press("Escape")
    app.press("f", "f")
    app.end.wait_for(timeout=PATIENCE)
    app.end.get_by_text("0 changed, 5 kept.").wait_for(timeout=PATIENCE)
    app.press("]")
    app.wait_title("Copies across splits")
