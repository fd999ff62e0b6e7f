"""cheroot's connections, with an end to everything that a client may take its time for.

By itself cheroot counts the seconds of silence alone, and gives each connection a thread
before it has said anything: a few that send a byte now and then have all threads.  Here
one gets a thread when there is something to read, and then has so many seconds for TLS's
handshake, the header and the body together, and so many to take the answer.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from cheroot.errors import FatalSSLAlert
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection
from cheroot.wsgi import Server as CherootServer

from ganeti_gluster.web.crowd import Crowd

#: Seconds for a whole request, from the first byte on, and for its answer.
REQUEST_SECONDS = 15.0
ANSWER_SECONDS = 60.0
#: Seconds that a client may be silent for.
SILENCE = 10.0

# As the standard library and cheroot know it.
_LATE = "timed out"


class Deadline:
    """Until when something has to be done; None: it has not begun."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end: float | None = None

    def begin(self, seconds: float) -> None:
        """It has to be done within so many seconds from now."""
        self._end = self._clock() + seconds

    def forget(self) -> None:
        """It has not begun."""
        self._end = None

    @property
    def begun(self) -> bool:
        """Whether there is one."""
        return self._end is not None

    def limit(self, most: float) -> float:
        """The seconds that are left, `most` at most; raises TimeoutError if none are."""
        if self._end is None:
            return most
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError(_LATE)
        return min(most, left)


class Timed(socket.socket):
    """A socket that lets each exchange of a request and an answer take so long and no longer."""

    request: Deadline
    answer: Deadline

    def open(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Have deadlines; before, there is nothing to be read or written."""
        self.request, self.answer = Deadline(clock=clock), Deadline(clock=clock)

    def exchange(self) -> None:
        """A request begins."""
        self.request.begin(REQUEST_SECONDS)
        self.answer.forget()

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(self.request.limit(SILENCE))
        return super().recv_into(*args, **options)

    def send(self, *args: Any) -> int:
        self._write()
        return super().send(*args)

    def _write(self) -> None:
        if not self.answer.begun:
            self.answer.begin(ANSWER_SECONDS)
        self.settimeout(self.answer.limit(SILENCE))


class TimedTls(ssl.SSLSocket, Timed):
    """Shakes hands at its first read; whatever is wrong with TLS ends the connection."""

    shaken = False

    def recv_into(self, *args: Any, **options: Any) -> int:
        try:
            self.settimeout(self.request.limit(SILENCE))
            if not self.shaken:
                # The time limit is for all of it.
                self.settimeout(self.request.limit(REQUEST_SECONDS))
                self.do_handshake()
                self.shaken = True
                self.settimeout(self.request.limit(SILENCE))
            return ssl.SSLSocket.recv_into(self, *args, **options)
        except ssl.SSLError as err:
            raise FatalSSLAlert(*err.args) from err
        except OSError as err:
            if self.shaken:
                raise  # cheroot knows what to do
            raise FatalSSLAlert(*err.args) from err

    def send(self, *args: Any) -> int:
        try:
            self._write()
            return ssl.SSLSocket.send(self, *args)
        except ssl.SSLError as err:
            raise FatalSSLAlert(*err.args) from err


class Adapter:
    """What cheroot asks of TLS.

    cheroot's own adapter shakes hands in the one thread that takes connections, where a
    client that says nothing keeps all others waiting.  Here the thread that reads the
    request does it.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        context.sslsocket_class = TimedTls

    def bind(self, sock: Any) -> Any:
        """The listening socket, as it is."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[Any, dict[str, str]]:
        """A client's socket, and what the application learns about it."""
        wrapped = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        """A client's socket as a file."""
        return (StreamReader if "r" in mode else StreamWriter)(sock, mode, bufsize)


class WebConnection(HTTPConnection):  # type: ignore[misc]  # cheroot has no types
    """A connection; `waits` until there is something to read."""

    def __init__(self, server: Any, sock: socket.socket, makefile: Any) -> None:
        if not isinstance(sock, Timed):
            sock = Timed(fileno=sock.detach())
        sock.open()
        super().__init__(server, sock, makefile)
        self.waits = True

    def communicate(self) -> bool:
        """Read a request and answer it; whether there may be a further one."""
        self.socket.exchange()
        self.server.crowd.renew(self, self.remote_addr)
        return bool(super().communicate())

    def end(self) -> None:
        """Close it; the next read finds its end."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, and have room for another one."""
        self.server.crowd.leave(self, self.remote_addr)
        super().close()


class ListeningServer(CherootServer):  # type: ignore[misc]  # cheroot has no types
    """cheroot's server on a socket that listens already."""

    ConnectionClass = WebConnection

    def __init__(self, listening: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(listening.getsockname()[:2], *args, **options)
        self._listening = listening
        self.crowd: Crowd[WebConnection] = Crowd()

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        """The socket that is there."""
        self.socket = self._listening
        return self._listening

    def process_conn(self, conn: WebConnection) -> None:
        """Have a thread read a request, once there is something to read."""
        if conn.waits:
            conn.waits = False
            gone = self.crowd.enter(conn, conn.remote_addr)
            if gone is not None:
                gone.end()
            self._connections.put(conn)
        else:
            super().process_conn(conn)
