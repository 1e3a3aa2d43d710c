"""Requests that the server refuses to visitors and to others: code, files, malformed messages, other sites."""

from __future__ import annotations

import http.cookiejar
import json
import random
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.review.frames import PROTOCOL, check_frame
from tests.support.hosts import TOKEN, Host, served, wait_until
from tests.support.scans import make_scan

pytestmark = pytest.mark.browser  # all of it asks a server that runs kernels

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Visit:
    """A page opened with the token: its address, cookies and kernel."""

    address: str
    opener: urllib.request.OpenerDirector
    cookies: str
    kernel: str

    def channel(self, **options: Any) -> Any:
        """Open the kernel's channel as a page would."""
        import websocket

        host = urllib.parse.urlsplit(self.address).netloc
        options = {"subprotocols": [PROTOCOL], "timeout": 60, **options}
        return websocket.create_connection(f"ws://{host}/api/kernels/{self.kernel}/channels", **options)

    def own_channel(self, **options: Any) -> Any:
        """Open the kernel's channel as this visitor's page would."""
        return self.channel(cookie=self.cookies, origin=self.address, **options)

    def leave(self) -> None:
        """Tell the server that the page is left, as the page would."""
        xsrf = re.findall("_xsrf=([^;]+)", self.cookies)[0]
        headers = {"X-XSRFToken": xsrf, "Origin": self.address}
        request = urllib.request.Request(f"{self.address}/voila/api/shutdown/{self.kernel}", b"", headers)
        self.opener.open(request).close()


def visit_page(host: Host) -> Visit:
    """Open the page with the token as a new visitor."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{host.address}?token={TOKEN}").read().decode()
    (kernel,) = re.findall(f'kernelId": "({UUID})"', page)
    return Visit(host.address[:-1], opener, "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar), kernel)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The server of a small scan."""
    folder = tmp_path_factory.mktemp("visit")
    scan = make_scan(folder / "data", folder / "scan", per_class=1)
    with served(scan.folder) as host:
        yield host


@pytest.fixture(scope="module")
def visit(host: Host) -> Visit:
    """A visitor with the token."""
    return visit_page(host)


def message(number: str, kind: str, **content: Any) -> bytes:
    header = {"msg_id": number, "msg_type": kind, "username": "", "session": "s", "version": "5.3", "date": ""}
    frame: bytes = serialize_msg_to_ws_v1([json.dumps(part).encode() for part in (header, {}, {}, content)], "shell")
    return frame


def ask_kernel(channel: Any) -> set[str]:
    """Send a request to the kernel, and return the ids of the requests answered up to it."""
    last = str(uuid.uuid4())  # a kernel ignores a repeated id
    channel.send_binary(message(last, "kernel_info_request"))
    parents = set()
    while last not in parents:
        _, parts = deserialize_msg_from_ws_v1(channel.recv())
        parents.add(json.loads(parts[1]).get("msg_id", ""))
    channel.close()
    return parents


def test_a_visitor_runs_no_code(visit: Visit, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'pwned')!r}, 'w')"
    channel = visit.own_channel()
    for kind in ("execute_request", "complete_request", "inspect_request", "history_request", "debug_request"):
        content = {"code": code, "silent": False, "cursor_pos": 3, "user_expressions": {"a": code}}
        channel.send_binary(message(kind, kind, **content))
    parents = ask_kernel(channel)
    assert not any(parent.endswith("_request") for parent in parents)
    assert not (tmp_path / "pwned").exists()


def test_the_channel_refuses_visitors_without_the_token_and_other_sites(visit: Visit) -> None:
    import websocket

    for options in (
        {"origin": visit.address},
        {"cookie": "username=x", "origin": visit.address},
        {"cookie": visit.cookies, "origin": "http://evil.example"},
        {"cookie": visit.cookies, "origin": "null"},
    ):
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            visit.channel(**options)


PATHS = [
    "api/contents",
    "api/kernels",
    "api/kernelspecs",
    "api/sessions",
    "api/terminals",
    "files/review.ipynb",
    "voila/files/review.ipynb",
    "voila/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "voila/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "voila/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "static/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "voila/render/..%2f..%2fpyproject.toml",
    "nbextensions/..%2f..%2fetc%2fpasswd",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_file_is_served(visit: Visit, path: str) -> None:
    try:
        with visit.opener.open(f"{visit.address}/{path}") as answer:
            text = answer.read().decode()
            assert "/login?next=" in answer.url or "cleaner" not in text.lower(), text[:200]
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    else:
        status = 403  # the page that asks for the token
    assert status in (403, 404)
    assert "root:" not in text
    assert "Traceback" not in text
    assert str(Path(__file__).parents[2]) not in text


def test_no_kernel_is_started_or_ended_by_a_request_without_the_token(visit: Visit) -> None:
    for path, method in (("api/kernels", "POST"), (f"api/kernels/{visit.kernel}", "DELETE"), ("api/sessions", "POST")):
        request = urllib.request.Request(f"{visit.address}/{path}", data=b"{}", method=method)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
    visit.own_channel().close()


# Malformed messages.


def test_a_socket_without_the_protocol_is_refused_with_the_reason(visit: Visit) -> None:
    import websocket

    for protocols in ([], ["other"], ["v1"]):
        with pytest.raises(
            websocket.WebSocketBadStatusException, match="pass the header Sec-WebSocket-Protocol"
        ) as refused:
            visit.own_channel(subprotocols=protocols)
        assert refused.value.status_code == 400


HUGE = (10**17).to_bytes(8, "little")
MALFORMED = {
    "a huge count": HUGE + bytes(50),
    "a negative count": b"\xff" * 80,
    "huge offsets": (6).to_bytes(8, "little") + HUGE * 6 + b"shell",
    "unordered offsets": b"".join(number.to_bytes(8, "little") for number in (6, 99, 90, 80, 70, 60, 56)) + bytes(99),
    "a legacy frame": b"\x7f\xff\xff\xff" + bytes(50),
    "nothing": b"",
    "a text": "{}",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_message_closes_its_socket_and_nothing_else(visit: Visit, kind: str) -> None:
    code, reason = send_malformed(visit, MALFORMED[kind])
    assert (code, "Expected" in reason) == (1007, True)
    ask_kernel(visit.own_channel())


def send_malformed(visit: Visit, frame: bytes | str) -> tuple[int, str]:
    """Send a message on a new socket, and return the code and the reason with which it is closed."""
    channel = visit.own_channel()
    channel.send(frame) if isinstance(frame, str) else channel.send_binary(frame)
    while True:
        opcode, data = channel.recv_data()
        if opcode == 8:  # it is closed
            channel.close()
            return int.from_bytes(data[:2], "big"), data[2:].decode()


@pytest.mark.long
def test_two_thousand_malformed_messages(host: Host, visit: Visit) -> None:
    rng = random.Random(13)
    numbers = (0, 1, 6, 8, 56, 2**31, 10**17, 2**63, 2**64 - 1)
    for _ in range(2000):
        frame = bytearray(message("fuzz", "comm_msg", comm_id="x"))
        for _ in range(rng.randint(1, 4)):  # the count and the offsets, most often
            at = 8 * rng.randrange(8)
            frame[at : at + 8] = rng.choice(numbers).to_bytes(8, "little")
        cut = bytes(frame[: rng.choice((len(frame), rng.randrange(len(frame))))])
        with suppress(CleanerError):
            check_frame(cut)
            continue  # well formed by chance
        assert send_malformed(visit, cut)[0] == 1007
    assert len(host.kernels()) >= 1
    ask_kernel(visit.own_channel())


# Number of visitors.


def test_of_forty_visitors_at_once_ten_get_a_kernel(scan: Scan) -> None:
    with served(scan.folder, "--max-visitors", "10") as host:

        def visit_or_not(_: int) -> Visit | str:
            try:
                return visit_page(host)
            except urllib.error.HTTPError as error:
                return f"{error.code}: {error.read().decode()}"

        with ThreadPoolExecutor(40) as pool:
            results = list(pool.map(visit_or_not, range(40)))
        visits = [result for result in results if isinstance(result, Visit)]
        refused = [result for result in results if isinstance(result, str)]
        # No kernel has ended meanwhile, so there were never more than now.
        assert (len(visits), len(refused), len(host.kernels())) == (10, 30, 10)
        assert len({visit.kernel for visit in visits}) == 10
        for page in refused:
            assert page.startswith("503")
            assert "Open pages of this review: 10" in page
            assert "try again in a minute" in page
        visits[3].leave()
        assert visit_page(host).kernel not in {visit.kernel for visit in visits}
        assert len(host.kernels()) == 10
        assert isinstance(visit_or_not(0), str)


def test_a_lost_page_makes_room_and_an_open_one_does_not(scan: Scan) -> None:
    quick = "import cleaner.review.visitors as v; v._GRACE = 0"
    with served(scan.folder, "--max-visitors", "1", before=quick) as host:
        first, second = visit_page(host), visit_page(host)
        assert len(host.kernels()) == 1
        channel = second.own_channel()
        channel.send_binary(message("asked", "kernel_info_request"))
        assert channel.recv()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            visit_page(host)
        channel.close()
        third = visit_page(host)
        assert len({first.kernel, second.kernel, third.kernel}) == 3
        assert len(host.kernels()) == 1


def test_a_visitor_who_leaves_before_the_page_is_complete_leaves_no_kernel(scan: Scan) -> None:
    with served(scan.folder, "--max-visitors", "1") as host:
        where = urllib.parse.urlsplit(host.address)
        with socket.create_connection((where.hostname, where.port)) as browser:
            browser.sendall(f"GET /?token={TOKEN} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
            wait_until(lambda: len(host.kernels()) == 1)
        wait_until(lambda: host.kernels() == [])
        visit_page(host)


# Requests of other sites.

OTHER_SITES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": "http://evil.example/"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("headers", OTHER_SITES, ids=lambda headers: "-".join(headers.values()))
def test_a_request_of_another_site_starts_no_kernel(host: Host, visit: Visit, headers: dict[str, str]) -> None:
    before = host.kernels()
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        visit.opener.open(urllib.request.Request(f"{visit.address}/?reviewer=anna", headers=headers))
    page = refused.value.read().decode()
    assert "Another site sent you here" in page
    assert 'href="./?reviewer=anna"' in page
    # After a link with the token, as in a mail, the page repeats the request itself.
    request = urllib.request.Request(f"{visit.address}/?token={TOKEN}&reviewer=anna", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert 'content="0; url=./?reviewer=anna"' in answer.read().decode()
        assert_strict(answer.headers, "username-")
    with urllib.request.urlopen(urllib.request.Request(visit.address, headers=headers)) as answer:
        assert "/login?next=" in answer.url
    assert host.kernels() == before


def test_a_prefetch_of_the_page_starts_no_kernel(host: Host, visit: Visit) -> None:
    before = host.kernels()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        visit.opener.open(urllib.request.Request(visit.address, headers={"Sec-Purpose": "prefetch;prerender"}))
    assert host.kernels() == before


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}, {"Referer": "{address}/login"}]
)
def test_a_page_that_the_visitor_opens_starts_a_kernel_and_sets_strict_cookies(
    host: Host, headers: dict[str, str]
) -> None:
    headers = {name: value.format(address=host.address[:-1]) for name, value in headers.items()}
    request = urllib.request.Request(f"{host.address}?token={TOKEN}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert "kernelId" in answer.read().decode()
        assert_strict(answer.headers, "username-")
        assert all("SameSite=Strict" in cookie for cookie in answer.headers.get_all("Set-Cookie"))


def assert_strict(headers: HTTPMessage, name: str) -> None:
    """Check that the cookie goes to no other site, and that no script can read it."""
    (cookie,) = [cookie for cookie in headers.get_all("Set-Cookie", []) if cookie.startswith(name)]
    assert "SameSite=Strict" in cookie
    assert "HttpOnly" in cookie


# Other addresses.


@pytest.mark.parametrize(
    "path",
    [
        "voila/templates/",
        "voila/templates/lab",
        "voila/templates/lab/x",
        "voila/templates/lab/static/",
        "voila/templates/lab/static/%00",
        "voila/templates/base/static/../../x",
        "voila/static/",
        "voila/labextensions/",
        "api/kernels/0-0-0-0-0",
    ],
)
def test_invalid_addresses_are_not_found(visit: Visit, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        visit.opener.open(f"{visit.address}/{path}")


def test_a_visitor_can_log_out(host: Host) -> None:
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.open(f"{host.address}login?token={TOKEN}").close()
    assert any(cookie.name.startswith("username-") for cookie in jar)
    with opener.open(f"{host.address}logout") as answer:
        assert "You are logged out" in answer.read().decode()
    assert not any(cookie.name.startswith("username-") for cookie in jar)


def test_a_visitor_who_logs_in_sets_no_password(visit: Visit) -> None:
    xsrf = re.findall("_xsrf=([^;]+)", visit.cookies)[0]
    fields = urllib.parse.urlencode({"_xsrf": xsrf, "password": TOKEN, "new_password": "another-secret"})
    # Jupyter would write it into its settings.
    with visit.opener.open(f"{visit.address}/login?next=/logout", fields.encode()) as answer:
        assert "You are logged out" in answer.read().decode()
