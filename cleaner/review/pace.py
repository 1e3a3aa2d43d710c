"""How fast a reviewer decides, from which it is told how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Pace"]

_PAUSE = 120.0
_REMEMBERED = 100


class Pace:
    """Seconds per decision over the last actions; longer pauses than two minutes are left out.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._actions: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def decided(self, files: int) -> None:
        """So many files were decided at once, just now."""
        now = self._clock()
        if now - self._last <= _PAUSE:
            self._actions.append((now - self._last, files))
        self._last = now

    @property
    def seconds(self) -> float | None:
        """Seconds per decision; None until there is something to tell it from."""
        files = sum(number for _, number in self._actions)
        return sum(seconds for seconds, _ in self._actions) / files if files else None
