"""What the served page refuses to those who are on it and to those who are not: code, files, other pages."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts import TOKEN, served

from tests.conftest import make_scan

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Visit:
    """A page that was opened with the token: its address, its cookies and its kernel."""

    address: str
    opener: urllib.request.OpenerDirector
    cookies: str
    kernel: str

    def channel(self, **options: Any) -> Any:
        """The kernel's channels, as a page would open them."""
        import websocket

        host = urllib.parse.urlsplit(self.address).netloc
        return websocket.create_connection(f"ws://{host}/api/kernels/{self.kernel}/channels", timeout=60, **options)


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Somebody with the token on the page of a small scan."""
    folder = tmp_path_factory.mktemp("visit")
    scan = make_scan(folder / "data", folder / "scan", per_class=1)
    with served(scan.folder) as host:
        words = host.server.cmdline()
        port = words[words.index("--port") + 1]
        address = f"http://127.0.0.1:{port}"
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = opener.open(f"{address}/?token={TOKEN}").read().decode()
        (kernel,) = re.findall(f'kernelId": "({UUID})"', page)
        yield Visit(address, opener, "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar), kernel)


def message(number: str, kind: str, **content: Any) -> str:
    header = {"msg_id": number, "msg_type": kind, "username": "", "session": "s", "version": "5.3", "date": ""}
    return json.dumps(
        {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": [], "channel": "shell"}
    )


def test_a_visitor_runs_no_code(visit: Visit, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'pwned')!r}, 'w')"
    channel = visit.channel(cookie=visit.cookies, origin=visit.address)
    for kind in ("execute_request", "complete_request", "inspect_request", "history_request", "debug_request"):
        channel.send(message(kind, kind, code=code, silent=False, cursor_pos=3, user_expressions={"a": code}))
    channel.send(message("asked last", "kernel_info_request"))
    parents = set()
    while "asked last" not in parents:
        parents.add(json.loads(channel.recv())["parent_header"].get("msg_id", ""))
    channel.close()
    assert not any(parent.endswith("_request") for parent in parents)
    assert not (tmp_path / "pwned").exists()


def test_the_channel_is_closed_to_those_without_the_token_and_to_other_pages(visit: Visit) -> None:
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
    visit.channel(cookie=visit.cookies, origin=visit.address).close()
