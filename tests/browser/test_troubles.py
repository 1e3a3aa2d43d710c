"""Problems as the page shows them: silent kernels, other reviewers, edits of the manifest."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision
from cleaner.core.scan import Scan
from tests.support.browser_app import App, in_sight, standing
from tests.support.hosts import PATIENCE, Host, voila, wait_until
from tests.support.images import make_image

NOT_CONFIRMED = "1 decision is not confirmed: the kernel did not answer."


@pytest.fixture
def app(host: Host, served_scan: Scan, chromium: Any) -> Iterator[App]:
    """The app on a new page whose clock can be put forward, with the class of cats open."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.clock.install()
    host.open(page)
    app = App(page)
    app.open_list("cat", "cat_01.png")
    app.wait_at("cat_01.png")
    yield app
    page.goto("about:blank")
    page.close()


def alert(app: App, text: str) -> None:
    """Wait until an alert shows this text and is visible."""
    app.wait_notice(text)
    assert in_sight(app.page.locator(".cleaner-alert", has_text=text).first)


# Silent kernels.


def test_a_silent_kernel_is_reported_and_the_page_shows_what_it_saved(host: Host, app: App, served_scan: Scan) -> None:
    (kernel,) = host.kernels()
    kernel.suspend()
    try:
        app.press("k")
        saving(app, "cat_01.png", "✓ Keep")
        app.page.clock.fast_forward(3_000)
        alert(app, "The kernel has not answered for a while")
        app.press("d")
        alert(app, "Nothing was decided: 1 decision is still waiting for the kernel's answer.")
        saving(app, "cat_01.png", "✓ Keep")
        app.page.clock.fast_forward(8_000)
        alert(app, NOT_CONFIRMED)
        app.wait_for("cat_01.png", "not confirmed")
        assert app.page.locator(".cleaner-saved").text_content() == "1 not confirmed"
        app.footer("nextPage").click()
        app.page.clock.fast_forward(11_000)
        alert(app, "No answer from the kernel to “turn”.")
    finally:
        kernel.resume()
    # To the kernel, whose clock was not put forward, all of it came in time.
    app.page.locator(".cleaner-place", has_text="page 2 of ").wait_for(timeout=PATIENCE)
    app.page.locator(".cleaner-alert").first.wait_for(state="detached", timeout=PATIENCE)
    app.press("p")
    app.wait_for("cat_01.png", "✓ Keep")
    assert standing(served_scan) == {"cat_01.png": "keep"}


def saving(app: App, name: str, shows: str) -> None:
    """Wait until a card shows a decision that the kernel has not confirmed yet."""
    app.card(name).and_(app.page.locator("[aria-busy=true]")).locator(".cleaner-what", has_text=shows).wait_for(
        timeout=PATIENCE
    )
    assert "saving 1" in app.page.locator(".cleaner-saved").text_content()


def test_a_dead_kernel_is_reported(host: Host, app: App, served_scan: Scan) -> None:
    kill_kernel(host)
    app.tool("cat_01.png", "delete").click()
    app.page.clock.fast_forward(11_000)
    alert(app, NOT_CONFIRMED)
    app.wait_for("cat_01.png", "not confirmed")
    assert not served_scan.manifest_path.exists()


def kill_kernel(host: Host) -> None:
    """Kill the kernel; the server starts a new one, which does not know the page."""
    (kernel,) = host.kernels()
    kernel.kill()
    wait_until(lambda: kernel not in host.kernels() and len(host.kernels()) == 1)


def test_with_a_dead_kernel_title_and_cards_stay_one_list_and_the_page_says_so(host: Host, app: App) -> None:
    kill_kernel(host)
    for open_it in (app.list_row("dog").click, lambda: app.press("]")):
        before = app.page.locator(".cleaner-title").text_content(), app.names()
        open_it()
        app.page.clock.fast_forward(3_000)
        alert(app, "The kernel has not answered for a while")
        app.page.clock.fast_forward(8_000)
        alert(app, "No answer from the kernel to “open”. Every saved decision is safe.")
        assert (app.page.locator(".cleaner-title").text_content(), app.names()) == before
        assert app.page.locator(".cleaner-list[aria-current=true]").get_attribute("data-label") == "cat"
        app.page.get_by_role("button", name="Close").first.click()


def test_a_message_that_cannot_be_sent_is_reported(app: App) -> None:
    app.page.evaluate("() => { WebSocket.prototype.send = () => { throw new Error('Cannot send') } }")
    app.press("s")
    alert(app, NOT_CONFIRMED)
    app.wait_for("cat_01.png", "not confirmed")


def test_a_stopped_server_is_reported(scan: Scan, tmp_path: Path, chromium: Any) -> None:
    page = chromium.new_page()
    page.clock.install()
    with voila(scan.folder, tmp_path) as host:
        host.open(page)
    app = App(page)
    app.wait_at("cat_01.png")
    app.press("k")
    saving(app, "cat_01.png", "✓ Keep")
    page.clock.fast_forward(11_000)
    alert(app, NOT_CONFIRMED)
    app.wait_for("cat_01.png", "not confirmed")
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


def test_the_page_says_why_the_review_cannot_open(served_scan: Scan, app: App) -> None:
    served_scan.manifest_path.write_text("path,action\na.png,<b>nonsense</b>\n")
    app.page.reload()
    # Voila hides the text of an error.
    notice = app.page.locator(".cleaner-alert", has_text="The review cannot be shown")
    notice.wait_for(timeout=PATIENCE)
    assert "line 2, column 'action': action is '<b>nonsense</b>'" in notice.text_content()


# Edits of the manifest, and other files under old names.


def test_decisions_that_a_spreadsheet_removed_are_reported_and_restored(app: App, served_scan: Scan) -> None:
    app.decide("cat_01.png", "keep", "✓ Keep")
    old = served_scan.manifest_path.read_bytes()
    app.decide("cat_02.png", "delete", "✕ Delete")
    saved = served_scan.folder / "saved.csv"
    saved.write_bytes(old)
    saved.replace(served_scan.manifest_path)

    banner = app.page.locator(".cleaner-edited")
    banner.wait_for(timeout=PATIENCE)
    assert "1 decision is missing: 'train/cat/cat_02.png' (delete by" in banner.text_content()
    app.wait_for("cat_02.png", "undecided")
    if folder := os.environ.get("SCREENSHOTS"):
        app.page.screenshot(path=f"{folder}/edited.png")
    banner.get_by_text("Restore the decisions").click()
    app.wait_for("cat_02.png", "✕ Delete")
    banner.wait_for(state="hidden", timeout=PATIENCE)
    assert Manifest(served_scan.manifest_path).standing()["train/cat/cat_02.png"].action is Action.DELETE


def test_another_file_under_an_old_name_is_undecided_with_the_reason(app: App, served_scan: Scan) -> None:
    app.decide("cat_01.png", "delete", "✕ Delete")
    file = served_scan.root / "train/cat/cat_01.png"
    before = file.read_bytes()
    try:
        make_image(file, seed=12345)
        app.wait_for("cat_01.png", "undecided")
        note = app.card("cat_01.png").get_attribute("title").splitlines()[-1]
        assert note.startswith("decided 'delete' by")
        assert note.endswith("about another file that was here")
    finally:
        file.write_bytes(before)


# Other reviewers.


def test_decisions_of_others_appear_and_are_not_overridden_unseen(app: App, served_scan: Scan) -> None:
    def ben(name: str, action: Action) -> None:
        path, decided_at = f"train/cat/{name}", "2026-01-31T12:00:00Z"
        Manifest(served_scan.manifest_path).append(
            Decision(path, action, sha256=sha256_of(served_scan.root / path), reviewer="ben", decided_at=decided_at)
        )

    ben("cat_02.png", Action.DELETE)
    app.decide("cat_01.png", "keep", "✓ Keep")
    app.wait_for("cat_02.png", "✕ Delete")
    assert "✕ Delete by ben" in app.card("cat_02.png").get_attribute("title")
    ben("cat_03.png", Action.DELETE)
    app.tool("cat_03.png", "keep").click()
    alert(app, "Not saved: ben decided 'delete' for 'train/cat/cat_03.png' meanwhile")
    app.wait_for("cat_03.png", "✕ Delete")
    app.decide("cat_03.png", "keep", "✓ Keep")
    app.page.locator(".cleaner-alert").wait_for(state="detached", timeout=PATIENCE)
    with open(served_scan.manifest_path, "a") as file:
        file.write("train/cat/cat_04")
    app.decide("cat_06.png", "keep", "✓ Keep")
    warnings = app.page.locator(".cleaner-warnings")
    warnings.wait_for(timeout=PATIENCE)
    assert "torn" in warnings.text_content()
    warnings.locator("button").click()
    warnings.wait_for(state="detached", timeout=PATIENCE)


def test_the_browser_contacts_no_other_server(host: Host, served_scan: Scan, chromium: Any) -> None:
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
    assert len(Manifest(served_scan.manifest_path).rows()) == 1


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
