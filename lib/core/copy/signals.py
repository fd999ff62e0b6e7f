"""Signals that end a copy, as an exception in the main thread."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from ganeti_gluster.errors import GanetiGlusterError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(GanetiGlusterError):
    """A signal came; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted by %s" % signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Interrupted` at the first signal; further ones do not disturb what it undoes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
