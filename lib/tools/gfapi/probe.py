"""Which of a volume's servers answer, asked all at once."""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

#: Seconds a server may take to answer.
PROBE_TIMEOUT = 3.0
#: Seconds that servers named earlier in the list get once a later one answered.
GRACE = 0.3

#: How much of the time one server has, so that its own reason comes in time.
_SHARE = 0.9

Address = tuple[str, int]

_SILENT = "no answer in time"
_NOT_AWAITED = "was not waited for"

#: The call of ONC RPC (RFC 5531) with which every client of GlusterFS begins: which
#: programs are there?  Version 2, program, version and procedure, no credentials,
#: and an argument of eight bytes.
_DUMP_PROGRAM, _DUMP_VERSION, _DUMP = 123451501, 1, 1
_CALL = struct.pack(">10IQ", 0x47475047, 0, 2, _DUMP_PROGRAM, _DUMP_VERSION, _DUMP, 0, 0, 0, 0, 0)
_LAST_FRAGMENT = 0x80000000
_REQUEST = struct.pack(">I", _LAST_FRAGMENT | len(_CALL)) + _CALL


class Probe:
    """Servers that are being asked, all at once and from the start.

    Each by a TCP connection and a call that asks for nothing much, with name resolution
    included in `timeout` seconds.
    """

    def __init__(self, servers: Sequence[Address], *, timeout: float = PROBE_TIMEOUT) -> None:
        self._answers: queue.SimpleQueue[tuple[Address, str | None]] = queue.SimpleQueue()
        self._deadline = time.monotonic() + timeout
        self._reasons: dict[Address, str | None] = dict.fromkeys(servers, _SILENT)
        for server in self._reasons:
            # Daemon threads: a resolver that hangs must not hold up the process.
            threading.Thread(
                target=lambda s=server: self._answers.put((s, _try(s, timeout * _SHARE))),
                daemon=True,
            ).start()

    def answers(self) -> dict[Address, str | None]:
        """What each server answered: None for a live one, else the reason.

        As soon as one is live the others have `GRACE` seconds left.  Keeps the
        order given.
        """
        return self._collect(lambda: False)

    def until_best(self) -> dict[Address, str | None]:
        """As `answers`, but at once when the first live one in the order given is known."""
        answers = self._collect(self._best_known)
        if not self._best_known():
            return answers
        return {
            server: _NOT_AWAITED if reason is _SILENT else reason
            for server, reason in answers.items()
        }

    def _best_known(self) -> bool:
        answers = self._reasons.values()
        best = next((reason for reason in answers if reason is None or reason is _SILENT), "")
        return best is None

    def _collect(self, enough: Callable[[], bool]) -> dict[Address, str | None]:
        deadline = self._deadline
        for _ in range(len(self._reasons)):
            try:
                server, reason = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            self._reasons[server] = reason
            if reason is None:
                deadline = min(deadline, time.monotonic() + GRACE)
            if enough():
                break
        return self._reasons


def probe(
    servers: Sequence[Address], *, timeout: float = PROBE_TIMEOUT
) -> dict[Address, str | None]:
    """What each server answered; see `Probe.answers`."""
    return Probe(servers, timeout=timeout).answers()


def _try(server: Address, timeout: float) -> str | None:
    host, port = server
    try:
        # As bytes: for text Python loads its tables of international names first.
        address: Any = (host.encode("ascii"), port)
        with socket.create_connection(address, timeout) as tcp:
            return _ask(tcp)
    except socket.gaierror:
        return "unknown host"
    except TimeoutError:
        return "no answer within %g s" % timeout
    except OSError as err:
        return os.strerror(err.errno) if err.errno else str(err)
    except UnicodeError:
        return "not a host name"


def _ask(connection: socket.socket) -> str | None:
    """Whether a live process is behind the connection.

    The kernel accepts connections for a frozen process, so it has to answer.  Anything
    counts as an answer, including an end: a server that requires TLS ends other connections.
    """
    try:
        connection.sendall(_REQUEST)
        connection.recv(1)
    except TimeoutError:
        return "accepts the connection, but does not answer"
    except ConnectionError:
        pass
    return None
