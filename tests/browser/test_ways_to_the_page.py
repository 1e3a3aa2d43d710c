"""Ways to the served page: through proxies, from other sites, and when the server is full."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cleaner.core.scan import Scan
from tests.support.hosts import PATIENCE, TOKEN, Host, served, voila, wait_until

PROTOCOL = b"\r\nSec-WebSocket-Protocol:"
UPGRADE = b"\r\nUpgrade:"


@contextmanager
def proxy_without(header: bytes, host: Host) -> Iterator[str]:
    """A proxy that renames a header in both directions; its address."""
    replacement = b"\r\nX-" + b"a" * (len(header) - 5) + b":"
    target = urlsplit(host.address)
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data.replace(header, replacement))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # one of the two has disconnected

    def start(function: Any, *arguments: Any) -> None:
        threads.append(threading.Thread(target=function, args=arguments))
        threads[-1].start()

    def listen(server: socket.socket) -> None:
        while True:
            try:
                browser, _ = server.accept()
            except OSError:
                return  # closed at the end of the test
            backend = socket.create_connection((target.hostname, target.port))
            connections.extend((browser, backend))
            start(pass_on, browser, backend)
            start(pass_on, backend, browser)

    with socket.create_server(("127.0.0.1", 0)) as server:
        start(listen, server)
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for connection in connections:
                shut(connection)
            for thread in threads:
                thread.join()


def shut(connection: socket.socket) -> None:
    """Close a connection even while a thread reads from it."""
    with connection, suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            PROTOCOL,
            "your proxy removes a header that the review needs: ask its administrator to pass the header Sec-Web",
        ),
        (
            UPGRADE,
            "your proxy does not pass web sockets: ask its administrator to pass the headers Upgrade, Connection",
        ),
    ],
    ids=["protocol", "upgrade"],
)
def test_a_page_behind_a_proxy_that_drops_a_header_says_so_and_others_are_served(
    header: bytes, said: str, scan: Scan, tmp_path: Path, chromium: Any
) -> None:
    with voila(scan.folder, tmp_path) as host:
        with proxy_without(header, host) as address:
            page = chromium.new_page(viewport={"width": 1024, "height": 600})
            with page.expect_websocket(lambda socket: "/api/kernels/" in socket.url, timeout=PATIENCE):
                page.goto(f"{address}?token={TOKEN}")
            page.get_by_role("alert").filter(has_text=said).wait_for(timeout=PATIENCE)
            assert page.get_by_text("Loading widget").is_hidden()
            other = chromium.new_page()
            host.open(other)
            assert other.get_by_role("alert").count() == 0
            other.close()
            page.close()
        host.server.terminate()
        host.server.wait(PATIENCE / 1000)


def test_the_page_says_that_the_review_is_full_until_another_page_is_closed(scan: Scan, chromium: Any) -> None:
    with served(scan.folder, "--max-visitors", "1") as host:
        context = chromium.new_context(viewport={"width": 1024, "height": 600})
        first, second = context.new_page(), context.new_page()
        host.open(first)
        host.open(first)  # a reloaded page replaces itself
        answer = second.goto(f"{host.address}?token={TOKEN}&reviewer=ben")
        assert answer.status == 503
        assert second.get_by_role("heading").text_content() == "The review is full"
        first.close(run_before_unload=True)
        wait_until(lambda: host.kernels() == [])
        second.get_by_role("link", name="Try again").click()
        second.wait_for_selector(".cleaner-card", timeout=PATIENCE)
        assert second.url == f"{host.address}?reviewer=ben"
        context.close()


@pytest.fixture
def other_port() -> Iterator[int]:
    """Another server on this machine, with an empty page."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("site", ["localhost", "127.0.0.1"])
def test_a_link_with_the_token_opens_the_review_and_another_site_does_not(
    site: str, scan: Scan, tmp_path: Path, chromium: Any, other_port: int
) -> None:
    elsewhere = f"http://{site}:{other_port}/"
    go = "address => Object.assign(document.createElement('a'), {href: address}).click()"
    with voila(scan.folder, tmp_path) as host:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(elsewhere)
        page.evaluate(go, f"{host.address}?token={TOKEN}&reviewer=anna")
        page.wait_for_selector(".cleaner-card", timeout=PATIENCE)
        assert page.url == f"{host.address}?reviewer=anna"
        (kernel,) = host.kernels()
        cookies = [cookie for cookie in context.cookies() if cookie["name"].startswith("username-")]
        assert [(cookie["sameSite"], cookie["httpOnly"]) for cookie in cookies] == [("Strict", True)]

        evil = context.new_page()
        evil.goto(elsewhere)
        ask = "address => fetch(address, {mode: 'no-cors', credentials: 'include'}).then(() => '', () => '')"
        for address in (host.address, f"{host.address}?token={TOKEN}"):
            evil.evaluate(ask, address)
        evil.evaluate(go, host.address)
        evil.wait_for_url(f"{host.address}**")
        # Another site has no cookie. Another port of this machine has, so the visitor must confirm.
        shown = "Another site sent you here" if site == "127.0.0.1" else "Token authentication"
        evil.get_by_text(shown).first.wait_for(timeout=PATIENCE)
        assert host.kernels() == [kernel]
        if site == "127.0.0.1":
            evil.get_by_role("link", name="Open the review").click()
            evil.wait_for_selector(".cleaner-card", timeout=PATIENCE)
        context.close()


def test_neither_the_terminal_nor_the_browser_shows_errors_of_jupyter(
    scan: Scan, chromium: Any, tmp_path: Path
) -> None:
    errors: list[str] = []
    with voila(scan.folder, tmp_path) as host:
        page = chromium.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        host.open(page)
        page.close()
        terminal = host.terminal()
    assert errors == []
    lines = terminal.strip().splitlines()
    assert [lines[0], lines[-1], len(lines)] == ["cleaner: the review is at", "Stop with Ctrl-C.", 3], terminal
