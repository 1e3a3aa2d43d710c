"""Problems as the page shows them: silent kernels, other reviewers, odd files, focus and keys."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Unreadable
from cleaner.core.scan import Scan, load
from tests.support.browser_app import App
from tests.support.hosts import PATIENCE, Host, jupyterlab, voila, wait_until
from tests.support.images import make_image
from tests.support.scans import make_scan

HOSTS = [pytest.param(voila, id="voila"), pytest.param(jupyterlab, id="jupyterlab")]
Starter = Callable[[Path, Path], AbstractContextManager[Host]]
NO_ANSWER = "Not saved: no answer from the kernel. Reload the page; what is in the manifest is safe."
BROKEN, ALIKE = "cat_05.png", "cat_06.png"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Voila on a scan of two pages a class, with a broken image and one that is predicted as it is labelled."""
    folder = tmp_path_factory.mktemp("troubles")
    scan = make_long_scan(folder)
    with voila(scan.folder, folder) as host:
        yield host


def make_long_scan(folder: Path) -> Scan:
    scan = make_scan(folder / "data", folder / "scan", vocab=("cat", "dog", "bobcat"), per_class=35)
    (scan.root / "train/cat" / BROKEN).write_bytes(b"no image")
    samples = tuple(replace(s, predicted="cat") if s.path.endswith(ALIKE) else s for s in scan.samples)
    unreadable = (Unreadable("train", "cat", "train/cat/bad.png", "broken"),)
    return replace(scan, samples=samples, unreadable=unreadable).write(scan.folder)


@pytest.fixture
def scan(host: Host) -> Scan:
    """The served scan, with nothing decided."""
    scan = load(next(word for word in host.server.cmdline() if word.endswith("/scan")))
    for path in scan.folder.glob("decisions.csv*"):
        path.unlink()  # also the saved view of the test before
    return scan


@pytest.fixture
def app(host: Host, scan: Scan, chromium: Any) -> Iterator[App]:
    """The app on a new page."""
    assert not scan.manifest_path.exists()
    wait_until(lambda: host.kernels() == [])  # of the test before
    page = chromium.new_page(viewport={"width": 1024, "height": 768})
    page.clock.install()
    host.open(page)
    yield App(page)
    page.goto("about:blank")
    page.close()


def button(app: App, name: str, action: str) -> Any:
    return app.card(name).locator(f"button[data-action={action}]")


def has_focus(locator: Any) -> bool:
    return bool(locator.evaluate("node => node === document.activeElement"))


def alert(app: App, text: str) -> None:
    """Wait until the alert shows this text and is visible."""
    app.page.locator(".cleaner-alert", has_text=text).wait_for(timeout=PATIENCE)
    assert in_sight(app.page.locator(".cleaner-alert"))


def in_sight(locator: Any) -> bool:
    """Return whether the middle of an element is on the screen with nothing over it."""
    return bool(
        locator.evaluate(
            """node => {
                const box = node.getBoundingClientRect();
                const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return top !== null && (node.contains(top) || top.contains(node));
            }"""
        )
    )


# Silent kernels.


def test_a_silent_kernel_is_reported_and_its_late_answer_accepted(host: Host, app: App, scan: Scan) -> None:
    (kernel,) = host.kernels()
    kernel.suspend()
    try:
        button(app, "cat_01.png", "keep").click()
        app.wait_for("cat_01.png", "saving …")
        app.page.clock.fast_forward(9_000)
        app.wait_for("cat_01.png", "saving …")
        app.page.clock.fast_forward(2_000)
        alert(app, NO_ANSWER)
        app.wait_for("cat_01.png", "undecided")
        app.page.locator(".cleaner-foot button", has_text="Next").click()
        app.page.clock.fast_forward(11_000)
        alert(app, "No answer from the kernel.")
    finally:
        kernel.resume()
    app.page.locator(".cleaner-place", has_text="page 2 of 2").wait_for(timeout=PATIENCE)
    assert app.page.locator(".cleaner-alert").is_hidden()
    app.page.locator(".cleaner-head button", has_text="Previous").click()
    app.wait_for("cat_01.png", "✓ Keep")
    assert len(Manifest(scan.manifest_path).rows()) == 1


def test_a_dead_kernel_is_reported(host: Host, app: App, scan: Scan) -> None:
    (kernel,) = host.kernels()
    kernel.kill()
    # The server starts a new kernel, which does not know this page.
    wait_until(lambda: kernel not in host.kernels() and len(host.kernels()) == 1)
    button(app, "cat_01.png", "delete").click()
    app.page.clock.fast_forward(11_000)
    alert(app, NO_ANSWER)
    app.wait_for("cat_01.png", "undecided")
    assert not scan.manifest_path.exists()


def test_a_message_that_cannot_be_sent_is_reported(app: App) -> None:
    app.page.evaluate("() => { WebSocket.prototype.send = () => { throw new Error('Cannot send') } }")
    button(app, "cat_01.png", "unsure").click()
    alert(app, NO_ANSWER)
    app.wait_for("cat_01.png", "undecided")


def test_a_stopped_server_is_reported(scan: Scan, tmp_path: Path, chromium: Any) -> None:
    page = chromium.new_page()
    page.clock.install()
    with voila(scan.folder, tmp_path) as host:
        host.open(page)
    app = App(page)
    button(app, "cat_01.png", "keep").click()
    app.wait_for("cat_01.png", "saving …")
    page.clock.fast_forward(11_000)
    alert(app, NO_ANSWER)
    app.wait_for("cat_01.png", "undecided")
    page.close()


def test_leaving_the_page_ends_its_kernel(host: Host, app: App) -> None:
    (first,) = host.kernels()
    for _ in range(3):
        app.page.reload()
        app.page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
    wait_until(lambda: len(host.kernels()) == 1)
    assert host.kernels() != [first]
    app.page.goto("about:blank")
    wait_until(lambda: host.kernels() == [])


def test_the_page_says_why_the_review_cannot_open(scan: Scan, app: App) -> None:
    scan.manifest_path.write_text("path,action\na.png,<b>nonsense</b>\n")
    app.page.reload()
    # Voila hides the text of an error.
    notice = app.page.locator(".cleaner-alert", has_text="The review cannot be shown")
    notice.wait_for(timeout=PATIENCE)
    assert "line 2, column 'action': action is '<b>nonsense</b>'" in notice.text_content()


# Edits of the manifest, and other files under old names.


def test_decisions_that_a_spreadsheet_removed_are_reported_and_restored(app: App, scan: Scan) -> None:
    app.wait_first("cat_01.png")
    app.decide("cat_01.png", "keep", "✓ Keep")
    old = scan.manifest_path.read_bytes()
    app.decide("cat_02.png", "delete", "✕ Delete")
    saved = scan.folder / "saved.csv"
    saved.write_bytes(old)
    saved.replace(scan.manifest_path)

    banner = app.page.locator(".cleaner-edited")
    banner.wait_for(timeout=PATIENCE)
    assert "1 decision is missing: 'train/cat/cat_02.png' (delete by" in banner.text_content()
    app.wait_for("cat_02.png", "undecided")
    if folder := os.environ.get("SCREENSHOTS"):
        app.page.screenshot(path=f"{folder}/edited.png")
    banner.get_by_text("Restore the decisions").click()
    app.wait_for("cat_02.png", "✕ Delete")
    banner.wait_for(state="hidden", timeout=PATIENCE)
    assert Manifest(scan.manifest_path).standing()["train/cat/cat_02.png"].action is Action.DELETE


def test_another_file_under_an_old_name_is_undecided_with_the_reason(app: App, scan: Scan) -> None:
    app.wait_first("cat_01.png")
    app.decide("cat_01.png", "delete", "✕ Delete")
    file = scan.root / "train/cat/cat_01.png"
    before = file.read_bytes()
    try:
        make_image(file, seed=12345)
        app.wait_for("cat_01.png", "undecided")
        note = app.card("cat_01.png").locator(".cleaner-note").text_content()
        assert note.startswith("decided 'delete' by")
        assert note.endswith("about another file that was here")
    finally:
        file.write_bytes(before)


# Other reviewers.


def test_decisions_of_others_appear_and_are_not_overridden_unseen(app: App, scan: Scan) -> None:
    def ben(name: str, action: Action) -> None:
        path, decided_at = f"train/cat/{name}", "2026-01-31T12:00:00Z"
        Manifest(scan.manifest_path).append(
            Decision(path, action, sha256=sha256_of(scan.root / path), reviewer="ben", decided_at=decided_at)
        )

    app.wait_first("cat_01.png")
    ben("cat_02.png", Action.DELETE)
    app.decide("cat_01.png", "keep", "✓ Keep")
    app.wait_for("cat_02.png", "✕ Delete")
    assert app.card("cat_02.png").locator(".cleaner-by").text_content() == "by ben"
    ben("cat_03.png", Action.DELETE)
    button(app, "cat_03.png", "keep").click()
    alert(app, "Not saved: ben decided 'delete' for 'train/cat/cat_03.png' meanwhile")
    app.wait_for("cat_03.png", "✕ Delete")
    app.decide("cat_03.png", "keep", "✓ Keep")
    assert app.page.locator(".cleaner-alert").is_hidden()
    with open(scan.manifest_path, "a") as file:
        file.write("train/cat/cat_04")
    app.decide("cat_06.png", "keep", "✓ Keep")
    warnings = app.page.locator(".cleaner-warnings")
    assert "torn" in warnings.text_content()
    warnings.locator("button").click()
    assert warnings.is_hidden()


def test_the_browser_contacts_no_other_server(host: Host, scan: Scan, chromium: Any) -> None:
    with _proxy() as (address, asked):
        context = chromium.new_context(proxy={"server": address, "bypass": "127.0.0.1"})
        page = context.new_page()
        hosts: list[str] = []
        page.on("requestfinished", lambda request: hosts.append(urlsplit(request.url).hostname))
        host.open(page)
        app = App(page)
        app.wait_first("cat_01.png")
        app.relabel("cat_01.png", "dog")
        page.goto("about:blank")
        context.close()
    assert len(hosts) > 10
    assert set(hosts) - {None} == {"127.0.0.1"}  # None: of blob: and data:
    assert asked == []
    assert len(Manifest(scan.manifest_path).rows()) == 1


@contextmanager
def _proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that refuses everything; the browser sends it each request to another machine."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed at the end of the test
                with connection:
                    asked.append(connection.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


# Visibility.


@pytest.mark.parametrize("start", HOSTS)
def test_the_bar_stays_visible_and_a_turned_page_begins_at_its_top(
    start: Starter, tmp_path: Path, chromium: Any
) -> None:
    scan = make_long_scan(tmp_path)
    with start(scan.folder, tmp_path / "notebooks") as host:
        page = chromium.new_page(viewport={"width": 1024, "height": 768})
        host.open(page)
        app = App(page)
        app.wait_first("cat_01.png")
        app.card("cat_30.png").scroll_into_view_if_needed()
        assert not in_sight(app.card("cat_01.png").locator(".cleaner-name"))
        for part in (".cleaner-counts", ".cleaner-head button >> nth=1", "select >> nth=1"):
            assert in_sight(page.locator(part)), part
        scan.manifest_path.write_text("path,action\na.png,nonsense\n")
        button(app, "cat_30.png", "keep").hover()  # scrolls to it, if something covers it
        before = app.card("cat_30.png").bounding_box()
        button(app, "cat_30.png", "keep").click()
        alert(app, "nonsense")
        assert app.card("cat_30.png").bounding_box() == before
        scan.manifest_path.unlink()

        page.locator(".cleaner-foot button", has_text="Next").click()
        app.wait_first("cat_31.png")
        assert in_sight(app.card("cat_31.png").locator(".cleaner-picture"))
        assert has_focus(page.locator(".cleaner-head button", has_text="Next"))
        app.card("cat_35.png").scroll_into_view_if_needed()
        page.get_by_label("Class", exact=True).select_option(label="dog")
        app.wait_first("dog_01.png")
        assert in_sight(app.card("dog_01.png").locator(".cleaner-picture"))
        page.close()


def test_the_bar_says_how_many_files_could_not_be_read(app: App) -> None:
    line = app.page.locator(".cleaner-unreadable")
    assert line.text_content() == "1 file could not be read"
    app.choose("Split", "valid", first="cat_v01.png")
    assert line.is_hidden()


def test_the_buttons_of_a_row_are_aligned(app: App) -> None:
    app.wait_first("cat_01.png")
    broken = button(app, BROKEN, "keep").bounding_box()
    others = [button(app, f"cat_{n:02d}.png", "keep").bounding_box() for n in (4, 3)]
    assert [box["y"] for box in others] == [broken["y"]] * 2
    # In the grid: the page may scroll to show the labels.
    place = "node => [node.offsetLeft, node.offsetTop, node.offsetWidth, node.offsetHeight]"
    before = app.card("cat_01.png").evaluate(place)
    app.relabel("cat_01.png", "bobcat")
    assert app.card("cat_01.png").evaluate(place) == before
    assert not app.card("cat_01.png").evaluate("node => node.scrollWidth > node.clientWidth")


# Keys.


def test_the_focus_stays_where_it_is(app: App) -> None:
    app.wait_first("cat_01.png")
    for action, shows in (("keep", "✓ Keep"), ("delete", "✕ Delete"), ("unsure", "? Unsure")):
        button(app, "cat_01.png", action).press("Enter")
        app.wait_for("cat_01.png", shows)
        assert has_focus(button(app, "cat_01.png", action))
    button(app, "cat_01.png", "undo").press("Enter")
    app.wait_for("cat_01.png", "undecided")
    assert has_focus(button(app, "cat_01.png", "keep"))
    button(app, "cat_01.png", "relabel").press("Enter")
    app.page.keyboard.press("Escape")
    assert has_focus(button(app, "cat_01.png", "relabel"))
    app.page.locator(".cleaner-head button", has_text="Next").press("Enter")
    app.wait_first("cat_31.png")
    assert has_focus(app.page.locator(".cleaner-head button", has_text="Next"))


def test_a_card_takes_no_click_while_it_is_saved(host: Host, app: App, scan: Scan) -> None:
    (kernel,) = host.kernels()
    kernel.suspend()
    try:
        button(app, "cat_01.png", "keep").press("Enter")
        app.wait_for("cat_01.png", "saving …")
        assert has_focus(button(app, "cat_01.png", "keep"))
        assert button(app, "cat_01.png", "delete").get_attribute("aria-disabled") == "true"
        for action in ("delete", "relabel"):
            button(app, "cat_01.png", action).dispatch_event("click")
        assert app.page.locator(".cleaner-chooser").count() == 0
    finally:
        kernel.resume()
    app.wait_for("cat_01.png", "✓ Keep")
    assert [row.action for row in Manifest(scan.manifest_path).rows()] == [Action.KEEP]


def test_enter_takes_only_the_marked_label(app: App, scan: Scan) -> None:
    field = app.page.locator(".cleaner-chooser input")
    marked = app.page.locator(".cleaner-choices [aria-selected=true]")

    def open_chooser(name: str) -> None:
        button(app, name, "relabel").click()
        field.wait_for(timeout=PATIENCE)
        assert has_focus(field)

    open_chooser(ALIKE)  # predicted as it is labelled: nothing to suggest
    assert marked.count() == 0
    field.press("Enter")
    assert app.page.locator(".cleaner-chooser").count() == 1
    field.press("ArrowDown")
    field.press("ArrowDown")
    field.press("ArrowDown")
    field.press("ArrowUp")
    assert marked.get_attribute("data-label") == "dog"
    field.press("ArrowDown")
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    field.dispatch_event("keydown", {"key": "Enter", "keyCode": 229})
    assert app.page.locator(".cleaner-chooser").count() == 1
    assert not scan.manifest_path.exists()
    field.press("Enter")
    app.wait_for(ALIKE, "→ bobcat")

    open_chooser("cat_01.png")  # predicted as dog
    assert marked.get_attribute("data-label") == "dog"
    field.fill("no such")
    field.press("Enter")
    assert app.page.locator(".cleaner-chooser").count() == 1
    field.fill("")
    field.press("Enter")
    app.wait_for("cat_01.png", "→ dog")

    app.choose("Class", "dog", first="dog_01.png")
    open_chooser("dog_01.png")
    field.fill("CAT")  # which is also in bobcat
    assert marked.get_attribute("data-label") == "cat"
    field.press("Enter")
    app.wait_for("dog_01.png", "→ cat")
    assert len(Manifest(scan.manifest_path).rows()) == 3
