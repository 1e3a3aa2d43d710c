"""The kernels of the web page: one per open page, up to a limit, out of reach of other users of the machine."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil
import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Integer

from cleaner.core.errors import CleanerError

__all__ = ["KernelSpecs", "NoRoomError", "Visitors", "default_max_visitors", "started_kernels", "transport_settings"]

# Measured: 47 MiB for a kernel that shows a page, 16 MiB for the thumbnails it may keep, and 57 MiB per 100,000 rows.
_KERNEL_BYTES = 70 << 20
_ROW_BYTES = 600
_MEMORY_SHARE = 0.5
# Seconds that a kernel keeps running without a page, which reconnects within seconds after its network was down.
_GRACE = 60.0
# Seconds that a visitor waits: the message that a page was left may arrive after the request for the next page.
_PATIENCE = 2.0
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
# Within the folder for temporary files. macOS allows 103 bytes for the path of a socket, Linux 107.
_LONGEST_SOCKET_NAME = "voila_12345678/kernel-01234567-0123-0123-0123-0123456789ab-ipc-5"
_MAX_SOCKET_PATH = 103

started_kernels: ContextVar[list[str]] = ContextVar("started_kernels")
"""The kernels that were started for the request being answered."""


class NoRoomError(CleanerError):
    """As many pages are open as the server allows."""


class Visitors(AsyncMappingKernelManager):
    """Start a kernel per visitor, up to `max_visitors`.

    At the limit, a kernel whose page has been gone for a minute is ended for the next visitor.
    """

    max_visitors = Integer(1).tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._starting: set[str] = set()
        self._ending: dict[str, asyncio.Future[None]] = {}

    async def start_kernel(self, **options: Any) -> str:  # type: ignore[override]
        """Start a kernel and return its id.

        Raises:
            NoRoomError: as many pages as allowed are open.
        """
        await self._make_room()
        kernel_id: str = self.new_kernel_id()
        self._starting.add(kernel_id)
        try:
            await super().start_kernel(kernel_id=kernel_id, **options)
        finally:
            self._starting.discard(kernel_id)
        started_kernels.get([]).append(kernel_id)
        return kernel_id

    async def shutdown_kernel(  # type: ignore[override]
        self, kernel_id: str, now: bool = False, restart: bool = False
    ) -> None:
        """End a kernel; it counts until its process has ended."""
        done = self._ending[kernel_id] = asyncio.get_running_loop().create_future()
        try:
            await super().shutdown_kernel(kernel_id, now=now, restart=restart)  # type: ignore[no-untyped-call]
        finally:
            self._ending.pop(kernel_id, None)
            done.set_result(None)

    async def _make_room(self) -> None:
        """Wait until one more kernel is allowed; nothing else runs between the last check and the return."""
        give_up_at = time.monotonic() + _PATIENCE
        while len(self._kernels.keys() | self._starting) >= self.max_visitors:
            if abandoned := self._find_abandoned():
                await self.shutdown_kernel(abandoned)
            elif self._ending:
                await asyncio.wait(list(self._ending.values()), return_when=asyncio.FIRST_COMPLETED)
            elif time.monotonic() < give_up_at:
                await asyncio.sleep(0.1)
            else:
                raise NoRoomError(f"{self.max_visitors} pages are open")

    def _find_abandoned(self) -> str | None:
        """Return a kernel whose page has been gone longer than the grace period."""
        for kernel_id, kernel in self._kernels.items():
            left_at = getattr(kernel, "left_at", None)
            if left_at is not None and time.monotonic() - left_at >= _GRACE and kernel_id not in self._ending:
                return kernel_id
        return None

    def page_was_sent(self, kernel_id: str) -> None:
        """Note that a page is complete and should connect to its kernel."""
        if not self._kernel_connections.get(kernel_id, 0):
            self._note_presence(kernel_id, time.monotonic())

    def notify_connect(self, kernel_id: str) -> None:
        """Note that a page connected to its kernel."""
        super().notify_connect(kernel_id)  # type: ignore[no-untyped-call]
        self._note_presence(kernel_id, None)

    def notify_disconnect(self, kernel_id: str) -> None:
        """Note that a page disconnected from its kernel; most often it was closed."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        self.page_was_sent(kernel_id)

    def _note_presence(self, kernel_id: str, left_at: float | None) -> None:
        if kernel_id in self._kernels:
            self._kernels[kernel_id].left_at = left_at


class KernelSpecs(KernelSpecManager):
    """The kernel of this installation, in place of any that the user installed under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the command that starts `cleaner.review.kernel`."""
        return KernelSpec(
            argv=[sys.executable, "-m", "cleaner.review.kernel", "-f", "{connection_file}"],
            display_name="cleaner",
            language="python",
            name=kernel_name,
            metadata={"supported_encryption": ["curve"]} if _kernel_can_encrypt() else {},
        )


def default_max_visitors(rows: int) -> int:
    """Return how many pages of a scan with `rows` rows fit into half of the free memory; at least one."""
    return max(1, int(_free_memory() * _MEMORY_SHARE / (_KERNEL_BYTES + _ROW_BYTES * rows)))


def _free_memory() -> int:
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = _CGROUP_LIMIT.read_text().strip(), int(_CGROUP_USED.read_text())
    except (OSError, ValueError):
        return free  # not in a container
    return free if limit == "max" else max(0, min(free, int(limit) - used))


def transport_settings() -> dict[str, dict[str, Any]]:
    """Return settings that keep other users of this machine from listening to a kernel or sending to it.

    The kernels use sockets in a private folder. On Windows, which has no such sockets, messages are encrypted.

    Raises:
        CleanerError: neither is possible.
    """
    if os.name != "nt" and (folder := _socket_root()) is not None:
        return {"KernelManager": {"transport": "ipc"}, "Voila": {"connection_dir_root": folder}}
    if _kernel_can_encrypt() and "transport_encryption" in AsyncMappingKernelManager.class_trait_names():
        return {"MappingKernelManager": {"transport_encryption": "required"}}
    raise CleanerError(
        "Other users of this computer could watch the review: no temporary folder can hold sockets, and the "
        "installed Jupyter cannot encrypt. Install jupyter_client>=8.10, jupyter_server>=2.21 and ipykernel>=7.4, or "
        "set TMPDIR to a folder on a local disk with a path shorter than 40 characters."
    )


def _kernel_can_encrypt() -> bool:
    from ipykernel.kernelapp import IPKernelApp

    return zmq.has("curve") and "curve_secretkey" in IPKernelApp.class_trait_names()


def _socket_root() -> str | None:
    """Return a temporary folder that can hold the kernels' sockets, within a folder of mode 0700."""
    return next((folder for folder in (tempfile.gettempdir(), "/tmp") if _holds_sockets(folder)), None)  # noqa: S108


def _holds_sockets(folder: str) -> bool:
    if len(os.fsencode(os.path.join(folder, _LONGEST_SOCKET_NAME))) > _MAX_SOCKET_PATH:
        return False
    try:
        with tempfile.TemporaryDirectory(dir=folder) as own, socket.socket(socket.AF_UNIX) as probe:
            probe.bind(os.path.join(own, "probe"))
    except OSError:
        return False
    return True
