"""The web page: Voila on `review.ipynb`, with safe settings."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from cleaner.core.dataset_check import check_has_images
from cleaner.core.errors import CleanerError
from cleaner.core.fields import check_one_of
from cleaner.core.scan import scan_at
from cleaner.core.terminal import printable
from cleaner.review.session import Session

if TYPE_CHECKING:
    from traitlets.config import Config

    from cleaner.review.app import Notice, Review

__all__ = ["THEMES", "Secret", "notebook_path", "review_of_environment", "serve"]

THEMES = ("light", "dark")

_SCAN_VARIABLE = "CLEANER_SCAN"
_DATA_VARIABLE = "CLEANER_DATA"
_BLIND_VARIABLE = "CLEANER_BLIND"
# An extension of JupyterLab that needs parts that Voila lacks.
_NOT_IN_VOILA = ["@jupyter-notebook/lab-extension"]
# Milliseconds between the pings of a web socket, in which they must be answered, too.
_PING_EVERY = 30_000
# A closed page ends its kernel. A page that cannot, as on a computer that went to sleep, loses it after this time.
_CULL_AFTER = 3600
_CULL_EVERY = 300
_MIN_TOKEN = 8
# The browser must contact no other server; the server takes the addresses of style sheets out of Voila's page.
_CONTENT_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; form-action 'self'; frame-ancestors 'self'; "
    "object-src 'none'"
)


def serve(
    scan: str | Path,
    *,
    data: str | Path | None = None,
    port: int = 8866,
    ip: str = "127.0.0.1",
    token: str | None = None,
    theme: str = "light",
    open_browser: bool = True,
    max_visitors: int | None = None,
    blind: bool = False,
) -> None:
    """Serve the review of a scan folder as a web page, until interrupted; prints the address to open.

    Args:
        scan: the scan folder.
        data: the dataset's folder, if it moved since the scan.
        port: TCP port, 1 to 65535.
        ip: address to listen on; for an address that other machines can reach, a warning is printed.
        token: secret in the page's address, 8 characters or more; None for a new random one. The page needs one.
        theme: `light` or `dark`.
        open_browser: open the page in a browser.
        max_visitors: number of pages that may be open at once, each with a process of 70 MB or more; None for as many
            as half of the free memory allows. Further visitors are told that the review is full.
        blind: do not show a visitor what others decided.

    Raises:
        CleanerError: the folder holds no scan, the dataset is missing, the manifest is invalid, the port is taken, or
            an argument is invalid.
    """
    from cleaner.review.server import Server
    from cleaner.review.visitors import default_max_visitors

    # Opening a session here reports on the terminal what would otherwise fail on the page.
    if data is not None and "://" in str(data):
        raise CleanerError(f"data is {str(data)!r}, an address; give the folder of a copy or mount of the images")
    placed = scan_at(scan, data)
    if data is not None and placed.root.is_dir():
        check_has_images(placed, placed.root)
    session = Session(placed)
    for warning in session.manifest.warnings:
        print(f"cleaner: {printable(warning)}", file=sys.stderr)
    _check_token(token)
    check_one_of("theme", theme, THEMES)
    token = secrets.token_urlsafe(24) if token is None else token
    _check_address(ip, port)
    _check_max_visitors(max_visitors)
    if max_visitors is None:
        max_visitors = default_max_visitors(len(session.scan.samples) + len(session.scan.audit))
    os.environ.update({_SCAN_VARIABLE: os.path.abspath(scan), _DATA_VARIABLE: str(session.scan.root)})
    os.environ[_BLIND_VARIABLE] = "1" if blind else ""
    address = f"http://{_host(ip)}:{port}/?token={quote(token, safe='')}"
    if not _is_this_machine(ip):
        print(f"cleaner: {_network_warning(ip, port)}", file=sys.stderr)
    app = Server(config=_settings(port, ip, token, theme, max_visitors))
    app.log.addFilter(_is_for_people)
    app.initialize([str(notebook_path())])
    app.token = Secret(token)
    print(f"cleaner: the review is at\n  {address}\nStop with Ctrl-C.", flush=True)
    if open_browser:
        _open_when_up(address)
    app.start()


class Secret(str):
    """A text that `==` compares in constant time; Jupyter's server compares tokens by `==`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and secrets.compare_digest(_bytes(self), _bytes(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def _bytes(text: str) -> bytes:
    return str.encode(text, "utf-8", "surrogatepass")


def notebook_path() -> Path:
    """Return the notebook that is served.

    Raises:
        CleanerError: the installation lacks it.
    """
    # In a folder of its own: Voila takes the notebook's folder for the root of what it serves.
    path = Path(__file__).parent / "notebooks" / "review.ipynb"
    if not path.is_file():
        raise CleanerError(f"{path} is missing from this installation; install image-label-cleaner again")
    return path


def review_of_environment() -> Review | Notice:
    """Return the app for the scan given to `serve`, or the reason why it cannot open; called by the served notebook.

    Raises:
        CleanerError: the notebook was not started by `serve`.
    """
    from cleaner.review.app import Notice, Review

    if _SCAN_VARIABLE not in os.environ:
        raise CleanerError("this notebook is the page of `cleaner serve SCAN`; in a notebook use cleaner.Review(scan)")
    names = parse_qs(os.environ.get("QUERY_STRING", "")).get("reviewer", [None])  # from `&reviewer=NAME`
    try:
        blind = bool(os.environ.get(_BLIND_VARIABLE))
        return Review(os.environ[_SCAN_VARIABLE], root=os.environ.get(_DATA_VARIABLE), reviewer=names[-1], blind=blind)
    except (CleanerError, OSError) as error:
        # Voila would hide the text of an exception.
        return Notice(text=f"The review cannot be shown: {error}")


def _settings(port: int, ip: str, token: str, theme: str, max_visitors: int) -> Config:
    from traitlets.config import Config

    from cleaner.review.server import KernelConnection
    from cleaner.review.visitors import KernelSpecs, Visitors, transport_settings

    config = Config(transport_settings())
    config.Voila.update(port=port, ip=ip, port_retries=0, token=token, open_browser=False, log_level="WARN")
    config.Voila.update(
        kernel_websocket_connection_class=KernelConnection,
        tornado_settings={
            "headers": {"Content-Security-Policy": _CONTENT_POLICY},
            "xsrf_cookie_kwargs": {"samesite": "Strict"},
            "ws_ping_interval": _PING_EVERY,
            "ws_ping_timeout": _PING_EVERY,
        },
    )
    config.IdentityProvider.cookie_options = {"samesite": "Strict", "httponly": True}
    # Otherwise the login form could write a new password into the user's Jupyter settings.
    config.PasswordIdentityProvider.allow_password_change = False
    config.Visitors.max_visitors = max_visitors
    config.VoilaConfiguration.update(
        theme=theme,
        multi_kernel_manager_class=Visitors,
        kernel_spec_manager_class=KernelSpecs,
        prelaunch_hook=_set_xsrf_cookie,
        strip_sources=True,
        show_tracebacks=False,
        # Thumbnails travel over the widget's channel, so no file needs to be served.
        file_allowlist=[r"(?!)"],
        extension_denylist=_NOT_IN_VOILA,
        http_header_envs=[],
        allow_template_override="NO",
        allow_theme_override="NO",
    )
    config.MappingKernelManager.update(cull_idle_timeout=_CULL_AFTER, cull_interval=_CULL_EVERY, cull_connected=False)
    return config


def _is_for_people(record: logging.LogRecord) -> bool:
    """Return whether a message concerns who started the server: its own unsigned notebook and closed pages do not."""
    return not str(record.msg).startswith(("Notebook %s is not trusted", "WebSocket ping timeout"))


def _set_xsrf_cookie(handler: Any, **_: Any) -> None:
    """Give the page the cookie that its last message, which ends its kernel, needs."""
    _ = handler.xsrf_token  # reading it sets the cookie


def _check_token(token: str | None) -> None:
    if token is not None and len(token.strip()) < _MIN_TOKEN:
        problem = f"shorter than {_MIN_TOKEN} characters" if token.strip() else "empty, and the page needs one"
        raise CleanerError(f"the token is {problem}; leave it out to get a random one")


def _check_max_visitors(number: int | None) -> None:
    if number is not None and (type(number) is not int or number < 1):
        raise CleanerError(f"max_visitors is {number!r}; expected a whole number from 1, or nothing for as many as fit")


def _is_this_machine(ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return ip == "localhost"


def _network_warning(ip: str, port: int) -> str:
    return (
        f"warning: the page listens on {ip or 'every address'}, which other machines can reach. Everybody who reaches "
        f"port {port} there and has the address with its token sees the images and can decide. The connection is not "
        "encrypted, and the token neither. In a network that you do not trust leave out --ip, and let others connect "
        f"through an encrypted tunnel: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
    )


def _check_address(ip: str, port: int) -> None:
    if type(port) is not int or not 1 <= port <= 65535:
        raise CleanerError(f"the port is {port!r}; expected a number from 1 to 65535")
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            is_taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
            advice = "give another port=N" if is_taken else "give another ip=ADDRESS, one of this machine"
            raise CleanerError(f"cannot listen on {ip}:{port}: {error.strerror}; {advice}") from error


def _host(ip: str) -> str:
    if ip in ("0.0.0.0", "::", ""):  # noqa: S104 - nothing is bound here
        return socket.gethostname()
    return f"[{ip}]" if ":" in ip else ip


def _open_when_up(address: str) -> None:
    """Open the browser once the server's loop runs."""
    import webbrowser

    from tornado.ioloop import IOLoop

    IOLoop.current().add_callback(webbrowser.open, address)
