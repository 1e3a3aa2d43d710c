"""Servers for the app in the browser tests: JupyterLab, Notebook 7, Voila and marimo, each on a free port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

TOKEN = "a-token-for-tests"
PATIENCE = 90_000  # ms; the longest wait for a condition on a busy machine


@dataclass(frozen=True)
class Host:
    """A server that shows the app.

    Attributes:
        open: shows the app in a page of the browser.
        restart: gives the app in that page a new kernel.
        server: the process of the server.
        address: URL of `cleaner serve`, without the token; empty for other servers.
        terminal: returns what the server printed so far.
    """

    open: Callable[[Any], None]
    restart: Callable[[Any], None]
    server: psutil.Process
    address: str = ""
    terminal: Callable[[], str] = str

    def kernels(self) -> list[psutil.Process]:
        """Return the running kernels."""
        return [child for child in self.server.children(recursive=True) if _is_kernel(child)]


def _is_kernel(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(
            "ipykernel" in word or word == "cleaner.review.kernel" for word in process.cmdline()
        )
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def voila(scan: Path, _folder: Path, before: str = "") -> AbstractContextManager[Host]:
    """Run `cleaner serve`; every load of the page has its own kernel. The server runs the code `before` first."""
    return served(scan, before=before)


@contextmanager
def served(scan: Path, *options: str, before: str = "") -> Iterator[Host]:
    """Run `cleaner serve` with options of its command line."""
    port = free_port()
    code = f"{before}\nimport sys\nfrom cleaner.cli import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, "serve", str(scan), "--port", str(port), "--token", TOKEN, *options]
    address = f"http://127.0.0.1:{port}/?token={TOKEN}"
    with tempfile.TemporaryFile() as log, _server([*command, "--no-browser"], address, log) as server:

        def show(page: Any) -> None:
            page.goto(address)
            page.wait_for_selector(".cleaner-card", timeout=PATIENCE)

        yield Host(show, show, server, address.split("?")[0], lambda: _content(log))


def jupyterlab(scan: Path, folder: Path) -> AbstractContextManager[Host]:
    """Open a notebook that shows the review in JupyterLab."""
    quiet = ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=null"]
    return _jupyter(["jupyterlab", *quiet], "lab/tree", scan, folder)


def notebook7(scan: Path, folder: Path) -> AbstractContextManager[Host]:
    """Open the same notebook in Notebook 7."""
    return _jupyter(["notebook"], "notebooks", scan, folder)


@contextmanager
def _jupyter(server: list[str], at: str, scan: Path, folder: Path) -> Iterator[Host]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    _write_notebook(folder / "review.ipynb", f"import cleaner\n\ncleaner.Review(cleaner.load({str(scan)!r}))")
    command = [sys.executable, "-m", *server, "--no-browser", "--allow-root", f"--port={port}"]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}", "--ServerApp.port_retries=0"]
    address = f"http://127.0.0.1:{port}/{at}/review.ipynb?token={TOKEN}"
    with _server(command, address) as process:

        def show(page: Any) -> None:
            page.goto(address)
            # The kernel indicator shows when the notebook is ready to run.
            page.wait_for_selector("[data-status='idle']", state="attached", timeout=PATIENCE)
            _run_all(page)
            page.wait_for_selector(".cleaner-card", timeout=PATIENCE)

        def restart(page: Any) -> None:
            page.evaluate("document.querySelector('.cleaner-card').classList.add('of-old-kernel')")
            _run_from_menu(page, "Kernel", "Restart Kernel and Run All Cells…")
            page.click(".jp-Dialog button.jp-mod-warn")
            page.wait_for_selector(".of-old-kernel", state="detached", timeout=PATIENCE)
            page.wait_for_selector(".cleaner-card", timeout=PATIENCE)

        yield Host(open=show, restart=restart, server=process)


@contextmanager
def marimo(scan: Path, folder: Path, mode: str) -> Iterator[Host]:
    """Show the review in a marimo notebook, opened to `edit` it or to `run` it as an app."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "review.py"
    file.write_text(_MARIMO.replace("SCAN", repr(str(scan))))
    command = [sys.executable, "-m", "marimo", "--yes", mode, str(file), "--headless", "--no-token"]
    address = f"http://127.0.0.1:{port}/"
    with _server([*command, "--host", "127.0.0.1", "--port", str(port)], address) as process:

        def show(page: Any) -> None:
            page.goto(address)
            if mode == "edit":
                # Hidden where the cell does not have the pointer.
                page.get_by_test_id("run-button").first.wait_for(timeout=PATIENCE, state="attached")
                _press_until(page, "Control+Shift+r", ".cleaner-card")  # runs all cells
            page.wait_for_selector(".cleaner-card", timeout=PATIENCE)

        yield Host(open=show, restart=show, server=process)


_MARIMO = """import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import cleaner

    cleaner.Review(SCAN, reviewer="ann")


if __name__ == "__main__":
    app.run()
"""


def _press_until(page: Any, key: str, selector: str) -> None:
    """Press a key until something shows; an editor ignores it before it is ready."""
    from playwright.sync_api import TimeoutError as NotYet

    for _ in range(10):
        page.keyboard.press(key)
        try:
            page.wait_for_selector(selector, timeout=PATIENCE / 10)
        except NotYet:
            continue
        return


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that no page shows."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)


def _run_all(page: Any) -> None:
    """Run all cells; try again if JupyterLab ignores the click, as it does while the notebook is not in front yet."""
    from playwright.sync_api import TimeoutError as NotYet

    for _ in range(10):
        _run_from_menu(page, "Run", "Run All Cells")
        try:
            page.wait_for_selector(".jp-InputPrompt >> text=/[*1]/", timeout=PATIENCE / 10)
        except NotYet:
            page.keyboard.press("Escape")
        else:
            return
    raise RuntimeError("JupyterLab does not run the notebook")


def _run_from_menu(page: Any, menu: str, item: str) -> None:
    page.click(f".lm-MenuBar-itemLabel >> text='{menu}'")
    page.click(f".lm-Menu-itemLabel >> text='{item}'")


@contextmanager
def _server(command: list[str], address: str, log: IO[bytes] | None = None) -> Iterator[psutil.Process]:
    environment = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1"}
    # A full pipe that nobody reads would stop the server.
    with nullcontext(log) if log else tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_until_up(process, address, log)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _content(log: IO[bytes]) -> str:
    return os.pread(log.fileno(), 1 << 20, 0).decode()  # leaves the place at which the server writes


def _wait_until_up(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            if _answers(address):
                return
        else:
            log.seek(0)
            raise RuntimeError(f"the server ended: {log.read().decode()[-2000:]}")
    raise RuntimeError("the server did not come up")


def _answers(address: str) -> bool:
    # Without the token: a refusal is an answer too, and with the token Voila would start a kernel.
    try:
        urllib.request.urlopen(address.split("?")[0], timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _write_notebook(path: Path, source: str) -> None:
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": source}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
