"""QMP by Ganeti's own client, which Ganeti 3.0 and 3.1 have in two forms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ganeti import errors
from ganeti.hypervisor.hv_kvm import monitor

from ganeti_gluster.core.snapshot.live import Monitor, MonitorFailed

#: Seconds that a command may take: one that changes the block graph waits for the
#: guest's requests, and a QEMU on a busy node answers late.  Ganeti's limit is 5 s.
TIMEOUT = 60


class QmpMonitor(Monitor):
    """A connected monitor of a QEMU; QEMU serves one connection at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        connection = self._connection
        execute = getattr(connection, "execute_qmp", None) or connection.Execute
        with _translated():
            return execute(command, arguments or {})

    def add_fd(self, descriptor: int) -> int:
        with _translated():
            return int(self._connection._AddFd(descriptor))

    def name_fd(self, descriptor: int, name: str) -> None:
        with _translated():
            self._connection._GetFd(descriptor, name)


@contextlib.contextmanager
def connected(socket: str) -> Iterator[QmpMonitor]:
    """The monitor behind a socket; raises `MonitorFailed` where none answers."""
    connection = monitor.QmpConnection(socket)
    # Ganeti 3.1 and 3.0 have the time limit of a socket here.
    connection.sock = None
    connection.timeout = connection._SOCKET_TIMEOUT = TIMEOUT
    try:
        with _translated():
            connection.connect()
        yield QmpMonitor(connection)
    finally:
        connection.close()
        # Ganeti 3.1 takes a connection for closed already, and leaves its socket open.
        if connection.sock is not None:
            connection.sock.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (errors.GenericError, OSError) as err:
        raise MonitorFailed("QEMU: %s" % str(err).rstrip(": ")) from err
