"""A connection to an image's server, by NBD on its unix socket, which is made again.

A server may be killed, restarted or upgraded at any time, and it ends all connections
when its image grows.  The user of an `NbdConnection` does not notice: requests that were not
answered are repeated to the next server, for as long as the `Outage` allows.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ganeti_gluster.errors import GanetiGlusterError

#: Seconds between two attempts to connect to a socket at which nobody listens.
RETRY_SECONDS = 0.2
#: Seconds for an attempt once the server has been away for too long.
LAST_SECONDS = 1.0

T = TypeVar("T")


class ServerAway(GanetiGlusterError):
    """The server could not be reached, or ended before it answered."""


class Outage:
    """Since when a server is unavailable, as all connections to it see it.

    Requests are repeated for `seconds`, and afterwards fail at once until the server is back.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._is_told = False

    def begin(self) -> float:
        """It may be away; when requests are given up, on the clock of `time.monotonic`."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
            return self._since + self._seconds

    def tell(self, reason: str) -> None:
        """Log once that the server is unavailable."""
        with self._lock:
            if not self._is_told:
                _say("the image server is unavailable, and requests are waiting: %s" % reason)
            self._is_told = True

    def end(self) -> None:
        """It has answered."""
        if self._since is None:  # as nearly always
            return
        with self._lock:
            if self._is_told and self._since is not None:
                _say(
                    "the image server is available again after %.1f s"
                    % (time.monotonic() - self._since)
                )
            self._since = None
            self._is_told = False


class NbdConnection:
    """One thread's connection to the server at a socket, made when it is first needed."""

    def __init__(self, path: str, outage: Outage) -> None:
        self._path = path
        self._outage = outage
        self._handle: Any = None

    def call(self, ask: Callable[[Any], T]) -> T:
        """What `ask` returns, which makes one request by the handle of libnbd that it gets.

        Raises the `OSError` that the server answered with, or EIO when the server was
        away for too long.
        """
        given_up: float | None = None
        while True:
            try:
                answer = self._try(ask)
            except ServerAway as err:
                until = self._outage.begin()
                given_up = until if given_up is None else min(given_up, until)
                self._outage.tell(str(err))
                if time.monotonic() >= given_up:
                    raise OSError(errno.EIO, "the image server is unavailable: %s" % err) from err
                continue
            self._outage.end()
            return answer

    def _try(self, ask: Callable[[Any], T]) -> T:
        import nbd  # late: nothing but the exporter needs it

        if self._handle is None:
            self._handle = self._connect()
        try:
            return ask(self._handle)
        except nbd.Error as err:
            if self._handle.aio_is_ready():  # the server's own answer
                self._outage.end()
                code = err.errnum or errno.EIO
                raise OSError(code, os.strerror(code)) from err
            self._handle = None
            raise ServerAway(err.string) from err

    def _connect(self) -> Any:
        """A new handle; waits for a server that is being started, or has not opened yet.

        The wait is at the socket: a connection that is given up would stay in its queue.
        """
        import nbd

        limit = max(self._outage.begin(), time.monotonic() + LAST_SECONDS)
        handle = nbd.NBD()
        # The server checks what it is asked; of a size that has changed it knows alone.
        handle.set_strict_mode(0)
        handle.set_request_structured_replies(False)
        try:
            handle.aio_connect_unix(self._path)
            while handle.aio_is_connecting():
                left = limit - time.monotonic()
                if left <= 0:
                    raise ServerAway("it does not answer")
                handle.poll(int(left * 1000) + 1)
        except nbd.Error as err:
            time.sleep(RETRY_SECONDS)
            raise ServerAway(err.string) from err
        if not handle.aio_is_ready():
            time.sleep(RETRY_SECONDS)
            raise ServerAway("it closed the connection")
        return handle


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
