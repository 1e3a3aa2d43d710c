"""The kernel process of one visitor: ipykernel without its TCP port for the output of child processes.

ipykernel opens that port on the loopback interface with every transport, and every user of the machine can connect to
it. The review starts no child processes.
"""

from __future__ import annotations

from typing import Any

from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread

__all__ = ["main"]


class _OutputThread(IOPubThread):
    """ipykernel's sender of messages, in its state after failing to open the port for child processes."""

    def _setup_pipe_in(self) -> None:
        self._pipe_flag = False


def main() -> None:
    """Run the kernel that the command line describes, as `python -m ipykernel_launcher` does."""
    replaced: Any = kernelapp
    replaced.IOPubThread = _OutputThread
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
