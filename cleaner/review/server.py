"""The web server of `cleaner serve`: Voila, with stricter handlers."""

from __future__ import annotations

import re
import signal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from jupyter_core.utils import run_sync
from jupyter_server.auth.decorator import allow_unauthenticated, ws_authenticated
from jupyter_server.auth.logout import LogoutHandler
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, authenticated
from tornado.websocket import WebSocketHandler
from voila.app import Voila
from voila.static_file_handler import TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from cleaner.core.errors import CleanerError
from cleaner.review.frames import PROTOCOL, check_frame, offered_protocols
from cleaner.review.plain_pages import CONTINUE, FULL, LOGGED_OUT, OTHER_SITE, PlainPage
from cleaner.review.visitors import NoRoomError, started_kernels

__all__ = ["KernelConnection", "Server"]

# Voila's page names style sheets of other servers, which the browser would refuse, and works without them.
_ELSEWHERE = re.compile(r"""<link\b[^>]*\bhref=["'](?:https?:)?//[^>]*>""")
_MALFORMED = 1007  # the web socket's code for a malformed message
_NEEDS_PROTOCOL = (
    f"This socket was opened without the protocol {PROTOCOL}. If a proxy is in front of the server, ask its "
    "administrator to pass the header Sec-WebSocket-Protocol."
)


class Server(Voila):  # type: ignore[misc]
    """Voila with safe handlers in place of its own."""

    def init_handlers(self) -> list[Any]:
        """Return Voila's table of handlers with these ones."""
        ours = {
            LogoutHandler: LogoutPage,
            TemplateStaticFileHandler: TemplateFiles,
            TornadoVoilaHandler: ReviewPage,
            VoilaKernelWebsocketHandler: KernelSocket,
        }
        handlers = [(path, ours.get(handler, handler), *more) for path, handler, *more in super().init_handlers()]
        return [(r"/cleaner/connection", ConnectionTest), *handlers]

    def listen(self) -> None:
        """Answer requests until stopped; a closed terminal stops the server properly too."""
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self._handle_signal_stop)
        super().listen()

    def stop(self) -> None:
        """End the kernels, and only then remove the folder with the sockets over which they are told to end."""
        try:
            run_sync(self.kernel_manager.shutdown_all)()
        finally:
            super().stop()


def _send(handler: JupyterHandler, page: PlainPage, target: str = "", **values: object) -> None:
    """Answer a request with a page that has no kernel."""
    handler.set_status(page.status)
    handler.set_header("Content-Type", "text/html; charset=UTF-8")
    handler.set_header("Cache-Control", "no-store")
    handler.set_header("Referrer-Policy", "no-referrer")
    handler.finish(page.html(target, **values))


class ReviewPage(TornadoVoilaHandler):  # type: ignore[misc]
    """The review; each request of a visitor starts a kernel."""

    _is_left = False

    @authenticated
    async def get(self, path: str | None = None) -> None:
        """Send the page and start its kernel."""
        if _is_from_other_site(self.request):
            has_token = self.identity_provider.is_token_authenticated(self)
            return _send(self, CONTINUE if has_token else OTHER_SITE, self._address_without_token())
        if "prefetch" in self.request.headers.get("Sec-Purpose", ""):
            raise HTTPError(503, "The review is not fetched in advance")
        kernels: list[str] = []
        started_kernels.set(kernels)
        try:
            async for html in self.get_generator(path=path):
                page = _ELSEWHERE.sub("", html)
                self.write(page.replace("</head>", f"<script>{_connection_script()}</script></head>", 1))
                self.flush()
        except NoRoomError:
            self.set_header("Retry-After", "60")
            _send(self, FULL, self._address_without_token(), max_pages=self.kernel_manager.max_visitors)
        finally:
            for kernel_id in kernels:
                await self._release(kernel_id)
        return None

    async def _release(self, kernel_id: str) -> None:
        """Leave a kernel to its page, or end it if the visitor left before the page was complete."""
        if self._is_left and kernel_id in self.kernel_manager:
            await self.kernel_manager.shutdown_kernel(kernel_id)
        else:
            self.kernel_manager.page_was_sent(kernel_id)

    def on_connection_close(self) -> None:
        """Note that the visitor left before the page was complete."""
        self._is_left = True
        super().on_connection_close()

    def _address_without_token(self) -> str:
        """Return the page's address, relative to itself. The visitor's cookie takes the place of the token."""
        names = [name for name in self.request.query_arguments if name != "token"]
        query = urlencode([(name, value) for name in names for value in self.get_query_arguments(name)])
        return f"./?{query}" if query else "./"


def _is_from_other_site(request: HTTPServerRequest) -> bool:
    """Return whether a page of another site or port made the browser send a request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Browsers omit that header if the page is neither encrypted nor on this machine.
    origin = request.headers.get("Origin") or request.headers.get("Referer")
    return origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()


@cache
def _connection_script() -> str:
    return Path(__file__).with_name("connection.js").read_text(encoding="utf-8")


class KernelSocket(VoilaKernelWebsocketHandler):  # type: ignore[misc]
    """The web socket between a page and its kernel. Without the v1 protocol, Voila's reader would never end."""

    @ws_authenticated
    async def get(self, kernel_id: str) -> None:
        """Open the socket, or answer what is missing."""
        if PROTOCOL not in offered_protocols(self.request.headers.get("Sec-WebSocket-Protocol", "")):
            self.log.warning(_NEEDS_PROTOCOL)
            self.set_status(400)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(_NEEDS_PROTOCOL)
            return
        await super().get(kernel_id)


class KernelConnection(ZMQChannelsWebsocketConnection):
    """Pass well-formed messages from a page's web socket to its kernel."""

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Pass a message on, or close the socket."""
        try:
            check_frame(incoming_msg)
        except CleanerError as error:
            self.log.info("A page's socket was closed: %s", error)
            self.websocket_handler.close(_MALFORMED, str(error)[:100])
        else:
            super().handle_incoming_message(incoming_msg)


class ConnectionTest(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """A web socket that closes at once; with it a page tests whether a proxy passes web sockets."""

    def set_default_headers(self) -> None:
        """Tell a page that gets an answer but no web socket that it reached this server."""
        self.set_header("X-Cleaner-Connection", "reached")

    @ws_authenticated
    async def get(self, *args: Any, **options: Any) -> None:
        """Open the socket."""
        await super().get(*args, **options)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Answer as the kernel's socket would."""
        return PROTOCOL if PROTOCOL in subprotocols else None

    def open(self, *_: str, **__: str) -> None:
        """Close the socket."""
        self.close()

    def on_message(self, message: str | bytes) -> None:
        """Ignore messages that arrive before the socket is closed."""


class LogoutPage(LogoutHandler):
    """Log a visitor out, without Jupyter's page, whose templates Voila lacks."""

    @allow_unauthenticated
    def get(self) -> None:
        """Forget the visitor."""
        self.identity_provider.clear_login_cookie(self)
        _send(self, LOGGED_OUT)


class TemplateFiles(TemplateStaticFileHandler):  # type: ignore[misc]
    """Files of Voila's templates."""

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file; an invalid path, on which Voila would fail, is not found."""
        try:
            await super().get(path, include_body)
        except (ValueError, AssertionError) as error:
            raise HTTPError(404) from error
