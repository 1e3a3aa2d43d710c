"""The speed of a reviewer, to estimate how long the rest takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Pace"]

_MAX_PAUSE = 120.0  # seconds
_MAX_ACTIONS = 100


class Pace:
    """Seconds per decision over the last 100 actions, without pauses longer than two minutes.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._actions: deque[tuple[float, int]] = deque(maxlen=_MAX_ACTIONS)

    def decided(self, files: int) -> None:
        """Note that `files` files were decided at once, just now."""
        now = self._clock()
        if now - self._last <= _MAX_PAUSE:
            self._actions.append((now - self._last, files))
        self._last = now

    @property
    def seconds(self) -> float | None:
        """Seconds per decision; None before the first one."""
        files = sum(count for _, count in self._actions)
        return sum(seconds for seconds, _ in self._actions) / files if files else None
