"""Nobody decides about an image that they did not see: the page behind a network that delays, cuts and reorders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan, load
from tests.support.browser_app import App, in_sight
from tests.support.hosts import PATIENCE, Host, voila, wait_until
from tests.support.network import Network
from tests.support.scans import make_scan

FIVE = [f"cat_{number:02d}.png" for number in range(1, 6)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Voila on a scan of several pages a class."""
    folder = tmp_path_factory.mktemp("network")
    scan = make_scan(folder / "data", folder / "scan", vocab=("cat", "dog", "fox"), per_class=60)
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
def page(host: Host, scan: Scan, chromium: Any) -> Iterator[Any]:
    """A new page, on which nothing is open yet."""
    wait_until(lambda: host.kernels() == [])  # of the test before
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.goto("about:blank")
    page.close()


@pytest.fixture
def network(page: Any) -> Network:
    return Network(page)


@pytest.fixture
def app(host: Host, network: Network, page: Any) -> App:
    """The app behind the network, with the cursor on the first image of cat."""
    host.open(page)
    app = App(page)
    app.open_list("cat", first="cat_01.png")
    app.wait_at("cat_01.png")
    wait_until(lambda: quiet(page))
    return app


def quiet(page: Any) -> bool:
    """Whether the page waits for nothing; lets its web sockets work meanwhile."""
    page.wait_for_timeout(50)
    return page.locator(".cleaner-saved").text_content() == "saved ✓"


def press(app: App, *keys: str) -> None:
    for key in keys:
        app.page.keyboard.press(key)


def notice(app: App, text: str) -> None:
    app.page.locator(".cleaner-alert", has_text=text).first.wait_for(timeout=PATIENCE)


def standing(scan: Scan) -> dict[str, str]:
    """Return the decisions that stand in the manifest, by file name."""
    found = Manifest(scan.manifest_path).standing()
    return {path.rsplit("/", 1)[1]: f"{d.action.value} {d.new_label}".strip() for path, d in found.items()}


def shown(app: App) -> list[str]:
    """Return the images that show a decision, taken or on its way."""
    return app.page.locator(".cleaner-card:not([data-decision=''])").evaluate_all(
        "cards => cards.map(card => card.dataset.name)"
    )


def test_decisions_show_at_once_and_are_saved_about_the_images_they_were_taken_on(
    app: App, network: Network, scan: Scan
) -> None:
    network.holds_up = True
    press(app, "d", "k", "ArrowRight", "s")
    assert shown(app) == ["cat_01.png", "cat_02.png", "cat_04.png"]
    assert app.page.locator(".cleaner-saved").text_content() == "saving 3 …"
    assert standing(scan) == {}
    network.release(backwards=True)
    for name, shows in (("cat_01.png", "✕ Delete"), ("cat_02.png", "✓ Keep"), ("cat_04.png", "? Unsure")):
        app.wait_for(name, shows)
    assert standing(scan) == {"cat_01.png": "delete", "cat_02.png": "keep", "cat_04.png": "unsure"}


def test_answers_in_any_order_leave_the_page_as_the_manifest_is(app: App, network: Network, scan: Scan) -> None:
    network.holds_down = True
    press(app, "d", "k", "ArrowLeft", "s", "Enter", "u")
    wait_until(lambda: quietly(app, lambda: len(Manifest(scan.manifest_path).rows()) == 5))
    network.release(backwards=True)
    app.wait_for("cat_01.png", "✕ Delete")
    app.wait_for("cat_02.png", "? Unsure")
    app.wait_for("cat_03.png", "undecided")
    assert standing(scan) == {"cat_01.png": "delete", "cat_02.png": "unsure"}


def quietly(app: App, condition: Any) -> bool:
    app.page.wait_for_timeout(50)  # lets the web sockets of the page work
    return bool(condition())


@pytest.mark.parametrize("way", ["delayed", "cut"])
def test_what_arrives_after_the_page_gave_up_is_refused(way: str, app: App, network: Network, scan: Scan) -> None:
    if way == "cut":
        network.cut()
    else:
        network.holds_up = True
    press(app, *("d" * 5))
    assert shown(app) == FIVE
    notice(app, "The kernel has not answered for a while")
    press(app, "d")
    notice(app, "Nothing was decided: 5 decisions are still waiting")
    assert shown(app) == FIVE
    notice(app, "5 decisions are not confirmed")
    assert app.page.locator(".cleaner-card[data-unconfirmed=true]").count() == 5
    if way == "cut":
        network.mend()
    else:
        network.release()
    notice(app, "5 decisions were not saved")
    assert standing(scan) == {}
    assert shown(app) == []
    app.wait_at("cat_01.png")
    press(app, "d")
    app.wait_for("cat_01.png", "✕ Delete")
    assert standing(scan) == {"cat_01.png": "delete"}


def test_the_large_view_says_that_decisions_are_not_confirmed(app: App, network: Network) -> None:
    press(app, "z")
    app.wait_large("cat_01.png")
    network.holds_up = True
    press(app, "d", "d")
    alert = app.page.locator(".cleaner-large .cleaner-alert", has_text="2 decisions are not confirmed")
    alert.wait_for(timeout=PATIENCE)
    assert in_sight(alert)
    network.release()
    app.page.locator(".cleaner-large .cleaner-alert", has_text="2 decisions were not saved").wait_for(timeout=PATIENCE)


def test_decisions_whose_answers_were_lost_show_once_the_kernel_answers_again(
    app: App, network: Network, scan: Scan
) -> None:
    network.loses_down = True
    press(app, "d", "k")
    notice(app, "2 decisions are not confirmed")
    assert standing(scan) == {"cat_01.png": "delete", "cat_02.png": "keep"}
    network.loses_down = False
    notice(app, "Every decision was saved")
    app.wait_for("cat_01.png", "✕ Delete")
    app.wait_for("cat_02.png", "✓ Keep")


def test_a_key_during_a_page_turn_decides_nothing_and_says_so_and_moves_are_kept(
    app: App, network: Network, scan: Scan
) -> None:
    network.holds_up = True
    press(app, "n", "d", "ArrowRight", "ArrowRight")
    notice(app, "The page is still opening, so nothing was decided")
    network.release()
    third = len(app.names()) + 3
    app.wait_first(f"cat_{third - 2:02d}.png")
    app.wait_at(f"cat_{third:02d}.png")
    press(app, "d")
    app.wait_for(f"cat_{third:02d}.png", "✕ Delete")
    assert standing(scan) == {f"cat_{third:02d}.png": "delete"}


def test_a_decision_of_somebody_else_that_is_on_its_way_is_not_overridden(
    app: App, network: Network, host: Host, scan: Scan, chromium: Any
) -> None:
    other_page = chromium.new_page(viewport={"width": 1280, "height": 900})
    host.open(other_page)
    other = App(other_page)
    other_page.get_by_label("Reviewer", exact=True).fill("ben")
    other_page.keyboard.press("Enter")
    other.open_list("cat", first="cat_01.png")
    network.holds_down = True
    other.decide("cat_02.png", "keep", "✓ Keep")
    wait_until(lambda: quietly(app, lambda: network.waiting > 0))  # the answer to the poll
    press(app, "ArrowRight", "d")
    network.release()
    notice(app, "Not saved")
    app.wait_for("cat_02.png", "✓ Keep")
    assert standing(scan) == {"cat_02.png": "keep"}
    other_page.goto("about:blank")
    other_page.close()
