"""How far a copy is, for a callback, a terminal or a log; and how fast it may be."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TextIO

from ganeti_gluster.constants import MIB

COPYING = "copied"
VERIFYING = "verified"

#: Seconds over which the rate is taken.
WINDOW = 10.0


class Progress(NamedTuple):
    """How far a copy is.

    `done` of `total` bytes are finished, holes included (`total` None: not known); `data` of
    them were transferred, at `rate` bytes per second; `remaining` is in seconds, None if it
    cannot be estimated.
    """

    phase: str
    done: int
    total: int | None
    data: int
    elapsed: float
    rate: float
    remaining: float | None


Callback = Callable[[Progress], None]


class Meter:
    """Makes a `Progress` of the counts at each moment."""

    def __init__(
        self, phase: str, total: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._phase = phase
        self._total = total
        self._clock = clock
        self._start = clock()
        self._past: deque[tuple[float, int, int]] = deque([(self._start, 0, 0)])

    def measure(self, done: int, data: int) -> Progress:
        """The progress now."""
        now = self._clock()
        self._past.append((now, done, data))
        while len(self._past) > 2 and self._past[1][0] <= now - WINDOW:
            self._past.popleft()
        then, done_then, data_then = self._past[0]
        seconds = max(now - then, 1e-3)
        remaining = None
        if self._total is not None and done > done_then:
            remaining = (self._total - done) * seconds / (done - done_then)
        elapsed, rate = now - self._start, (data - data_then) / seconds
        return Progress(self._phase, done, self._total, data, elapsed, rate, remaining)


def sentence(progress: Progress) -> str:
    """One line: bytes, share, rate and the time left."""
    parts = ["%d MiB" % (progress.done // MIB)]
    if progress.total:
        parts[0] += " of %d MiB" % (progress.total // MIB)
        parts.append("%d%%" % (100 * progress.done // progress.total))
    parts.append("%.0f MiB/s" % (progress.rate / MIB))
    if progress.remaining is not None:
        parts.append("%s left" % duration(progress.remaining))
    return "%s %s" % (progress.phase, ", ".join(parts))


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    whole = round(seconds)
    if whole >= 3600:
        return "%d:%02d:%02d" % (whole // 3600, whole // 60 % 60, whole % 60)
    return "%d:%02d" % (whole // 60, whole % 60)


class Terminal:
    """Keeps one line of a terminal up to date; says nothing if there is none."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = 0

    def __call__(self, progress: Progress) -> None:
        if self._stream.isatty():
            text = sentence(progress)
            self._stream.write("\r" + text.ljust(self._shown))
            self._stream.flush()
            self._shown = len(text)

    def end(self) -> None:
        """Leave the line for what comes next."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = 0


class EachLine:
    """Hands a sentence to `write` every `interval` seconds at most: for a log."""

    def __init__(
        self,
        write: Callable[[str], None],
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._interval = interval
        self._clock = clock
        self._next = clock() + interval

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + self._interval
            self._write(sentence(progress))


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
