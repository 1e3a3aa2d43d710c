"""The web page's server: tokens, addresses, kernels and the number of visitors."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.review import visitors
from cleaner.review.app import Notice, Review
from cleaner.review.serve import Secret, notebook_path, review_of_environment, serve
from tests.support.hosts import TOKEN, Host, free_port, voila, wait_until


@pytest.mark.browser
def test_nothing_is_shown_without_the_token(scan: Scan, tmp_path: Path, unused_address: list[str]) -> None:
    with voila(scan.folder, tmp_path):
        address = unused_address[0]
        for path in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "voila/render/review.ipynb", "api/kernels"):
            with urllib.request.urlopen(f"{address}{path}") as answer:
                assert "/login?next=" in answer.url
                assert "cleaner" not in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}voila/files/review.ipynb?token={TOKEN}")


@pytest.mark.browser
def test_the_token_is_compared_in_constant_time(scan: Scan, tmp_path: Path, unused_address: list[str]) -> None:
    # The running server logs each comparison to a file.
    log = tmp_path / "compared"
    before = (
        "import secrets; plain = secrets.compare_digest\n"
        f"def noting(*both): open({str(log)!r}, 'ab').write(b' '.join(both) + b'\\n'); return plain(*both)\n"
        "secrets.compare_digest = noting"
    )
    with voila(scan.folder, tmp_path, before):
        for token in ("wrong", "a-tokem-for-tests", "ü"):
            with urllib.request.urlopen(f"{unused_address[0]}?token={urllib.parse.quote(token)}") as answer:
                assert "/login?next=" in answer.url
    compared = log.read_text()
    for token in ("wrong", "a-tokem-for-tests", "ü"):
        assert f"{TOKEN} {token}\n" in compared


def test_a_secret_equals_only_its_own_text() -> None:
    secret = Secret("a-secret")
    assert secret == "a-secret"
    assert "a-secret" == secret  # noqa: SIM300 - the other order is what a server may write
    for other in ("", "a-secreT", "a-secret ", "ü", "\ud800", None, 5, b"a-secret"):
        assert secret != other
        assert other != secret


@pytest.fixture
def unused_address(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The address that the next server gets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr("tests.support.hosts.free_port", lambda: port)
    return [f"http://127.0.0.1:{port}/"]


def test_the_review_loads_no_torch(scan: Scan) -> None:
    code = (
        "import os, sys; os.environ['CLEANER_SCAN'] = sys.argv[1]\n"
        "from cleaner.review.serve import review_of_environment\n"
        "review = review_of_environment()\n"
        "review._handle_custom_msg({'kind': 'ready', 'id': 1, 'page_size': 30, 'pixels': 160}, [])\n"
        "print([name for name in ('torch', 'fastai', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, scan.folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_served_notebook_is_found() -> None:
    assert "review_of_environment" in notebook_path().read_text()


def test_invalid_arguments_of_serve_are_refused(scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match="not the folder of a finished scan"):
        serve(tmp_path / "nowhere")
    with pytest.raises(CleanerError, match="port is 0"):
        serve(scan.folder, port=0)
    for number in (0, -1, True, 1.5):
        with pytest.raises(CleanerError, match="max_visitors is"):
            serve(scan.folder, port=free_port(), max_visitors=number)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(CleanerError, match="another port=N"):
            serve(scan.folder, port=other.getsockname()[1])


@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "::1", "192.168.0.7", "localhost"])
@pytest.mark.parametrize(("token", "said"), [("", "is empty"), ("        ", "is empty"), ("short", "shorter than 8")])
def test_an_empty_or_short_token_is_refused_on_any_address(
    ip: str, token: str, said: str, scan: Scan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voila.app.Voila.initialize", lambda *_: pytest.fail("it was served"))
    assert main(["serve", str(scan.folder), "--no-browser", "--ip", ip, "--token", token]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ip", "is_warned"),
    [("127.0.0.1", False), ("127.1.2.3", False), ("localhost", False), ("0.0.0.0", True), ("", True)],
)
def test_a_page_that_other_machines_can_reach_gives_a_warning(
    ip: str, is_warned: bool, scan: Scan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANER_SCAN", "")  # restored after the test
    monkeypatch.setenv("CLEANER_DATA", "")
    monkeypatch.setattr("voila.app.Voila.initialize", lambda *_: None)
    monkeypatch.setattr("voila.app.Voila.start", lambda *_: None)
    monkeypatch.setattr("cleaner.review.serve._check_address", lambda *_: None)
    assert main(["serve", str(scan.folder), "--no-browser", "--ip", ip, "--token", "a token & more"]) == 0
    out, err = capsys.readouterr()
    assert ("warning" in err, "not encrypted" in err, "ssh -L 8866" in err) == (is_warned,) * 3
    assert "a token & more" not in err
    assert "?token=a%20token%20%26%20more\n" in out


def test_an_invalid_manifest_ends_serve_with_the_reason(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    scan.manifest_path.write_text("path,action\na.png,nonsense\n")
    assert main(["serve", str(scan.folder), "--no-browser"]) == 2
    assert "line 2, column 'action': action is 'nonsense'" in capsys.readouterr().err


def test_a_missing_dataset_ends_serve_with_the_reason(scan: Scan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(scan.folder), "--data", "nowhere", "--no-browser"]) == 2
    assert "no folder" in capsys.readouterr().err


def test_the_page_gets_the_folders_that_serve_was_given(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEANER_SCAN", "")  # restored after the test
    monkeypatch.setenv("CLEANER_DATA", "")
    monkeypatch.setattr("voila.app.Voila.initialize", lambda *_: None)
    monkeypatch.setattr("voila.app.Voila.start", lambda *_: None)
    scan.root.rename(tmp_path / "moved")
    scan.manifest_path.write_text("path,action\ntrain/cat/cat_01.png,keep\ntrain/c")
    monkeypatch.chdir(tmp_path)
    serve("scan", data="moved", open_browser=False, port=free_port())
    assert "torn" in capsys.readouterr().err
    monkeypatch.chdir("/")
    review = review_of_environment()
    assert review.session.scan.root == tmp_path / "moved"


def test_the_reviewer_can_be_part_of_the_address(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANER_SCAN", str(scan.folder))
    monkeypatch.setenv("QUERY_STRING", "token=x&reviewer=anna%20b")
    review = review_of_environment()
    assert isinstance(review, Review)
    assert review.session.reviewer == "anna b"
    monkeypatch.setenv("QUERY_STRING", "reviewer=%3D1")
    notice = review_of_environment()
    assert isinstance(notice, Notice)
    assert "the reviewer's name is '=1'" in notice.text


def test_the_reason_why_the_app_cannot_open_is_plain_text_on_the_page(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANER_SCAN", str(scan.folder))
    scan.manifest_path.write_text("path,action\na.png,<b>nonsense</b>\n")
    notice = review_of_environment()
    assert isinstance(notice, Notice)
    assert "<b>nonsense</b>" in notice.text
    monkeypatch.setenv("CLEANER_SCAN", str(scan.folder / "nowhere"))
    assert "not the folder of a finished scan" in review_of_environment().text


@pytest.mark.browser
def test_the_page_forbids_the_browser_to_contact_other_servers(
    scan: Scan, tmp_path: Path, unused_address: list[str]
) -> None:
    with voila(scan.folder, tmp_path), urllib.request.urlopen(unused_address[0]) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self' ")
    assert "//" not in policy
    assert "*" not in policy


@pytest.mark.browser
def test_a_kernel_whose_page_never_connected_is_ended(scan: Scan, tmp_path: Path, unused_address: list[str]) -> None:
    # Not 1 s: on a busy machine the kernel would be ended while it still makes the page.
    quick = "import cleaner.review.serve as s; s._CULL_AFTER, s._CULL_EVERY = 6, 1"
    with voila(scan.folder, tmp_path, before=quick) as host:
        with urllib.request.urlopen(f"{unused_address[0]}?token={TOKEN}") as answer:
            assert answer.read()
        wait_until(lambda: host.kernels() == [])


def test_the_notebook_without_serve_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEANER_SCAN", raising=False)
    with pytest.raises(CleanerError, match="cleaner serve"):
        review_of_environment()


# Access to kernels.


def open_page(host: Host) -> psutil.Process:
    """Open the page without a browser and return its kernel."""
    with urllib.request.urlopen(f"{host.address}?token={TOKEN}") as answer:
        assert "kernelId" in answer.read().decode()
    (kernel,) = host.kernels()
    return kernel


def connection_file(kernel: psutil.Process) -> Path:
    return next(Path(word) for word in kernel.cmdline() if word.endswith(".json"))


def tcp_ports(process: psutil.Process) -> list[int]:
    """Return the TCP ports that a process listens on."""
    return [each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


@pytest.mark.browser
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_no_other_user_of_the_machine_can_reach_a_kernel(scan: Scan, tmp_path: Path) -> None:
    with voila(scan.folder, tmp_path) as host:
        kernel = open_page(host)
        assert tcp_ports(kernel) == []
        assert tcp_ports(host.server) == [urllib.parse.urlsplit(host.address).port]
        folder = connection_file(kernel).parent
        assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
        sockets = [path for path in folder.iterdir() if path.is_socket()]
        assert len(sockets) == 5
        assert connect_as("", sockets) == ["connected"] * 5
        if os.getuid() == 0:
            assert connect_as("os.setgroups([]); os.setgid(65534); os.setuid(65534)", sockets) == ["refused"] * 5
    assert not folder.exists()


def connect_as(become: str, sockets: list[Path]) -> list[str]:
    """Try to connect to sockets after the code `become`."""
    code = f"""if True:
        import os, socket, sys
        {become}
        for path in sys.argv[1:]:
            try:
                socket.socket(socket.AF_UNIX).connect(path)
            except PermissionError:
                print("refused")
            else:
                print("connected")
    """
    done = subprocess.run([sys.executable, "-c", code, *sockets], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.browser
def test_without_private_sockets_the_messages_of_a_kernel_are_encrypted(scan: Scan, tmp_path: Path) -> None:
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    def handshake(port: int, keys: dict[str, str]) -> int:
        """Listen to what the kernel publishes, and return the event of the handshake."""
        with zmq.Context() as context, context.socket(zmq.SUB) as listener:
            if keys:
                listener.curve_serverkey = listener.curve_publickey = keys["curve_publickey"].encode()
                listener.curve_secretkey = keys["curve_secretkey"].encode()
            monitor = listener.get_monitor_socket()
            listener.connect(f"tcp://127.0.0.1:{port}")
            outcomes = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            outcomes |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            while not (event := recv_monitor_message(monitor)["event"]) & outcomes:
                pass
            listener.disable_monitor()
            return int(event)

    no_sockets = "import cleaner.review.visitors as v; v._socket_root = lambda: None"
    with voila(scan.folder, tmp_path, before=no_sockets) as host:
        connection: dict[str, Any] = json.loads(connection_file(open_page(host)).read_text())
        port = connection["iopub_port"]
        assert handshake(port, connection) == zmq.EVENT_HANDSHAKE_SUCCEEDED
        assert handshake(port, {}) != zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_the_folder_of_the_sockets_has_a_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert visitors.transport_settings()["Voila"]["connection_dir_root"] == "/tmp"
    assert list(long.iterdir()) == []


def test_a_review_that_others_could_watch_is_not_served(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANER_SCAN", "")  # restored after the test
    monkeypatch.setenv("CLEANER_DATA", "")
    monkeypatch.setattr(visitors, "_socket_root", lambda: None)
    monkeypatch.setattr(visitors, "_kernel_can_encrypt", lambda: False)
    with pytest.raises(CleanerError, match=r"could watch the review: .* Install jupyter_client"):
        serve(scan.folder, port=free_port(), open_browser=False)


# Number of visitors.


def test_the_default_number_of_visitors_fits_into_half_of_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=14 << 30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    limit, used = tmp_path / "limit", tmp_path / "used"
    monkeypatch.setattr(visitors, "_CGROUP_LIMIT", limit)
    monkeypatch.setattr(visitors, "_CGROUP_USED", used)
    assert visitors.default_max_visitors(0) == 102
    assert visitors.default_max_visitors(100_000) == 56
    used.write_text(str(1 << 30))
    limit.write_text("max\n")
    assert visitors.default_max_visitors(0) == 102
    limit.write_text(str(2 << 30))  # a container of 2 GiB, half of which is in use
    assert visitors.default_max_visitors(0) == 7
    limit.write_text(str(1 << 20))
    assert visitors.default_max_visitors(0) == 1
