"""The web page: Voila on `notebooks/review.ipynb`, with safe settings."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from cleaner.core.errors import CleanerError
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
# A page that is closed ends its kernel; this is for those that cannot say so, such as on a computer that went to sleep.
_FORGOTTEN_AFTER = 3600
_LOOK_EVERY = 300
# Voila's page names style sheets on other machines, which it can do without: the browser is to ask nobody but us.
_NOBODY_ELSE = "; ".join(
    (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "form-action 'self'",
        "frame-ancestors 'self'",
        "object-src 'none'",
    )
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
) -> None:
    """Serve the review of a scan folder as a web page, until interrupted; prints the address to open.

    Args:
        scan: the scan folder.
        data: the dataset's folder, where it is not at the place at which it was scanned.
        port: TCP port, 1 to 65535.
        ip: address to listen on; for any but this machine's own a warning says who can reach it.
        token: secret that the address must carry, of 8 characters or more; None for a new random one. There is no
            page without.
        theme: `light` or `dark`.
        open_browser: open the page in a browser.
        max_visitors: pages that may be open at once, each with a process of its own of 70 MB or more; None for as many
            as half of the free memory is enough for. Whoever comes later is told that the review is full.

    Raises:
        CleanerError: the folder holds no scan, the dataset is not there, the manifest makes no sense, the port is
            taken, or an argument makes no sense.
    """
    from cleaner.review.server import Server
    from cleaner.review.visitors import default_max_visitors

    # What would keep the page from opening is found here, where it can be read.
    session = Session(scan_at(scan, data))
    for warning in session.manifest.warnings:
        print(f"cleaner: {printable(warning)}", file=sys.stderr)
    _check_token(token)
    if theme not in THEMES:
        raise CleanerError(f"the theme is {theme!r}; accepted are {', '.join(THEMES)}")
    token = secrets.token_urlsafe(24) if token is None else token
    _check_address(ip, port)
    _check_max_visitors(max_visitors)
    if max_visitors is None:
        max_visitors = default_max_visitors(len(session.scan.samples))
    os.environ.update({_SCAN_VARIABLE: os.path.abspath(scan), _DATA_VARIABLE: str(session.scan.root)})
    address = f"http://{_host(ip)}:{port}/?token={quote(token, safe='')}"
    if not _is_this_machine(ip):
        print(f"cleaner: {_who_can_reach(ip, port)}", file=sys.stderr)
    app = Server(config=_settings(port, ip, token, theme, max_visitors))
    app.initialize([str(notebook_path())])
    app.token = Secret(token)
    print(f"cleaner: the review is at\n  {address}\nStop with Ctrl-C.", flush=True)
    if open_browser:
        _open_when_up(address)
    app.start()


class Secret(str):
    """A text that takes as long to compare whatever it is compared with; Jupyter's server compares tokens by `==`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and secrets.compare_digest(_bytes(self), _bytes(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def _bytes(text: str) -> bytes:
    return str.encode(text, "utf-8", "surrogatepass")


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


def review_of_environment() -> Review | Notice:
    """The app for the scan that `serve` was started with, or why there is none; what the served notebook calls.

    Raises:
        CleanerError: the notebook was not started by `serve`.
    """
    from cleaner.review.app import Notice, Review

    if _SCAN_VARIABLE not in os.environ:
        raise CleanerError("this notebook is the page of `cleaner serve SCAN`; in a notebook use cleaner.Review(scan)")
    try:
        return Review(os.environ[_SCAN_VARIABLE], root=os.environ.get(_DATA_VARIABLE), reviewer=_reviewer_of_address())
    except (CleanerError, OSError) as error:
        # Voila shows of an exception no more than that there was one.
        return Notice(text=f"The review cannot be shown: {error}")


def _reviewer_of_address() -> str | None:
    """Who reviews, where the page was opened with `&reviewer=NAME`."""
    names = parse_qs(os.environ.get("QUERY_STRING", "")).get("reviewer")
    return names[-1] if names else None


def _settings(port: int, ip: str, token: str, theme: str, max_visitors: int) -> Config:
    from traitlets.config import Config

    from cleaner.review.server import KernelConnection
    from cleaner.review.visitors import KernelSpecs, Visitors, transport_settings

    config = Config(transport_settings())
    config.Voila.update(port=port, ip=ip, port_retries=0, token=token, open_browser=False, log_level="WARN")
    config.Voila.update(
        kernel_websocket_connection_class=KernelConnection,
        tornado_settings={
            "headers": {"Content-Security-Policy": _NOBODY_ELSE},
            "xsrf_cookie_kwargs": {"samesite": "Strict"},
        },
    )
    config.IdentityProvider.cookie_options = {"samesite": "Strict", "httponly": True}
    # The form that asks for the token would write a new password into a file of Jupyter's settings.
    config.PasswordIdentityProvider.allow_password_change = False
    config.Visitors.max_visitors = max_visitors
    config.VoilaConfiguration.update(
        theme=theme,
        multi_kernel_manager_class=Visitors,
        kernel_spec_manager_class=KernelSpecs,
        prelaunch_hook=_let_it_end_its_kernel,
        strip_sources=True,
        show_tracebacks=False,
        # Thumbnails travel over the widget's channel: no file need be served.
        file_allowlist=[r"(?!)"],
        http_header_envs=[],
        allow_template_override="NO",
        allow_theme_override="NO",
    )
    config.MappingKernelManager.update(
        cull_idle_timeout=_FORGOTTEN_AFTER, cull_interval=_LOOK_EVERY, cull_connected=False
    )
    return config


def _let_it_end_its_kernel(handler: Any, **_: Any) -> None:
    """Give a page the cookie without which its last message, that its kernel may end, is refused as a forgery."""
    _ = handler.xsrf_token  # to read it is to set the cookie


def _check_token(token: str | None) -> None:
    if token is not None and len(token.strip()) < 8:
        what = "shorter than 8 characters" if token.strip() else "empty, and nothing is served without one"
        raise CleanerError(f"the token is {what}; leave it out to get a random one")


def _check_max_visitors(number: int | None) -> None:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise CleanerError(f"max_visitors is {number!r}; a whole number from 1 is accepted, or None for as many as fit")


def _is_this_machine(ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return ip == "localhost"


def _who_can_reach(ip: str, port: int) -> str:
    where = ip or "every address"
    return (
        f"warning: the page listens on {where}, not on this machine alone. Whoever can reach port {port} there and has "
        "the address with its token sees the images and can decide; what travels is not encrypted, the token neither. "
        "In a network that you do not trust leave --ip out, and let others come by an encrypted way: "
        f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
    )


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
