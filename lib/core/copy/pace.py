"""A limit on bytes per second, shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Lets `rate` bytes a second pass; any number if None.

    What is not used is not saved up, but for a tenth of a second.
    """

    def __init__(self, rate: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    def delay(self, count: int) -> float:
        """The seconds to wait before `count` bytes are moved."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - 0.1)
            self._free_at = start + count / self._rate
            return max(0.0, start - now)
