"""A network between the page and its kernel that delays, loses, reorders and cuts, as a test says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Network:
    """The web sockets of a page; all that passes is delivered at once until a test says otherwise.

    Args:
        page: a page of the browser, before it opens the app.

    Attributes:
        holds_up, holds_down: whether messages to the kernel, or to the page, wait for `release`.
        loses_down: whether messages to the page are lost.
        is_cut: whether connections are refused.
    """

    def __init__(self, page: Any) -> None:
        self.holds_up = self.holds_down = self.loses_down = self.is_cut = False
        self._waiting: list[Callable[[], None]] = []
        self._sockets: list[Any] = []
        page.route_web_socket(re.compile(r"/channels"), self._connect)

    def release(self, backwards: bool = False) -> None:
        """Deliver what waits, in its order or backwards, and hold nothing any more."""
        self.holds_up = self.holds_down = False
        waiting, self._waiting = self._waiting, []
        for deliver in reversed(waiting) if backwards else waiting:
            deliver()

    def cut(self) -> None:
        """Close the connections and refuse new ones."""
        self.is_cut = True
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            socket.close()

    def mend(self) -> None:
        """Accept connections again."""
        self.is_cut = False

    @property
    def waiting(self) -> int:
        """Number of messages that wait."""
        return len(self._waiting)

    def _connect(self, page_side: Any) -> None:
        if self.is_cut:
            page_side.close()
            return
        kernel_side = page_side.connect_to_server()
        self._sockets.append(page_side)
        page_side.on_message(lambda message: self._pass(kernel_side, message, self.holds_up))
        kernel_side.on_message(lambda message: self.loses_down or self._pass(page_side, message, self.holds_down))

    def _pass(self, to: Any, message: str | bytes, holds: bool) -> None:
        if holds:
            self._waiting.append(lambda: to.send(message))
        else:
            to.send(message)
