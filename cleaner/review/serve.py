"""The web page: Voila on `notebooks/review.ipynb`, with safe settings."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.scan import load

if TYPE_CHECKING:
    from cleaner.review.app import Review

__all__ = ["notebook_path", "review_of_environment", "serve"]

_SCAN_VARIABLE = "CLEANER_SCAN"


def serve(
    scan: str | Path, *, port: int = 8866, ip: str = "127.0.0.1", token: str | None = None, open_browser: bool = True
) -> None:
    """Serve the review of a scan folder as a web page, until interrupted; prints the address to open.

    Args:
        scan: the scan folder.
        port: TCP port, 1 to 65535.
        ip: address to listen on.
        token: secret that the address must carry; None for a new random one.
        open_browser: open the page in a browser.

    Raises:
        CleanerError: the folder holds no scan, the port is taken, or an argument makes no sense.
    """
    from traitlets.config import Config
    from voila.app import Voila

    load(scan)
    if token is not None and len(token) < 8:
        raise CleanerError("the token is shorter than 8 characters; leave it out to get a random one")
    token = secrets.token_urlsafe(24) if token is None else token
    _check_address(ip, port)
    os.environ[_SCAN_VARIABLE] = os.path.abspath(scan)
    address = f"http://{_host(ip)}:{port}/?token={token}"
    config = Config()
    config.Voila.update(port=port, ip=ip, port_retries=0, token=token, open_browser=False, log_level="WARN")
    config.VoilaConfiguration.update(
        strip_sources=True,
        show_tracebacks=False,
        # Thumbnails travel over the widget's channel: no file need be served.
        file_allowlist=[r"(?!)"],
        http_header_envs=[],
        allow_template_override="NO",
        allow_theme_override="NO",
    )
    app = Voila(config=config)
    app.initialize([str(notebook_path())])
    print(f"cleaner: the review is at\n  {address}\nStop with Ctrl-C.", flush=True)
    if open_browser:
        _open_when_up(address)
    app.start()


def notebook_path() -> Path:
    """The notebook that is served: in the package of a wheel, beside it in a checkout.

    Raises:
        CleanerError: the installation lacks it.
    """
    package = Path(__file__).parents[1]
    for folder in (package, package.parent):
        path = folder / "notebooks" / "review.ipynb"
        if path.is_file():
            return path
    raise CleanerError("notebooks/review.ipynb is missing from this installation; install image-cleaner again")


def review_of_environment() -> Review:
    """The app for the scan that `serve` was started with; what the served notebook calls.

    Raises:
        CleanerError: the notebook was not started by `serve`.
    """
    from cleaner.review.app import Review

    if _SCAN_VARIABLE not in os.environ:
        raise CleanerError("this notebook is the page of `cleaner serve SCAN`; in a notebook use cleaner.Review(scan)")
    return Review(os.environ[_SCAN_VARIABLE])


def _check_address(ip: str, port: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise CleanerError(f"the port is {port!r}; a number from 1 to 65535 is accepted")
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            raise CleanerError(f"cannot listen on {ip}:{port}: {error.strerror}; give another --port") from error


def _host(ip: str) -> str:
    if ip in ("0.0.0.0", "::", ""):  # noqa: S104 - nothing is bound here
        return socket.gethostname()
    return f"[{ip}]" if ":" in ip else ip


def _open_when_up(address: str) -> None:
    """Open the browser once the server's loop runs."""
    import webbrowser

    from tornado.ioloop import IOLoop

    IOLoop.current().add_callback(webbrowser.open, address)
