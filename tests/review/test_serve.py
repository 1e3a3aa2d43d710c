"""The web page's server: what it refuses, and what its kernel loads."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hosts import TOKEN, voila

from cleaner.core.errors import CleanerError
from cleaner.core.scan import Scan
from cleaner.review.serve import notebook_path, review_of_environment, serve


def test_it_is_not_served_without_the_token(scan: Scan, tmp_path: Path, unused_address: list[str]) -> None:
    with voila(scan.folder, tmp_path):
        address = unused_address[0]
        for path in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "voila/render/review.ipynb", "api/kernels"):
            with urllib.request.urlopen(f"{address}{path}") as answer:
                assert "/login?next=" in answer.url
                assert "cleaner" not in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}voila/files/review.ipynb?token={TOKEN}")


@pytest.fixture
def unused_address(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The address that the next server gets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr("hosts.free_port", lambda: port)
    return [f"http://127.0.0.1:{port}/"]


def test_the_review_loads_no_torch(scan: Scan) -> None:
    code = (
        "import os, sys; os.environ['CLEANER_SCAN'] = sys.argv[1]\n"
        "from cleaner.review.serve import review_of_environment\n"
        "review = review_of_environment(); review.grid.show()\n"
        "print([name for name in ('torch', 'fastai', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, scan.folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_notebook_is_there() -> None:
    assert "review_of_environment" in notebook_path().read_text()


def test_bad_arguments(scan: Scan, tmp_path: Path) -> None:
    with pytest.raises(CleanerError, match="not the folder of a finished scan"):
        serve(tmp_path / "nowhere")
    with pytest.raises(CleanerError, match="port is 0"):
        serve(scan.folder, port=0)
    with pytest.raises(CleanerError, match="shorter than 8"):
        serve(scan.folder, token="short")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(CleanerError, match="another --port"):
            serve(scan.folder, port=other.getsockname()[1])


def test_the_notebook_alone_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEANER_SCAN", raising=False)
    with pytest.raises(CleanerError, match="cleaner serve"):
        review_of_environment()
