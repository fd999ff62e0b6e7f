"""QMP by Ganeti's own client, which Ganeti 3.0 and 3.1 have in two forms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ganeti import errors
from ganeti.hypervisor.hv_kvm import monitor

from ganeti_gluster.core.snapshot.live import Monitor, MonitorFailed
from ganeti_gluster.errors import in_words

#: Seconds that a command may take: one that changes the block graph waits for the
#: guest's requests, and a QEMU on a busy node answers late.  Ganeti's limit is 5 s.
TIMEOUT = 60


#: How Ganeti 3.0 and 3.1 begin what QEMU has answered to a command that it refuses, and
#: what they say of one that it does not have, which they do not send.
_REFUSED = ("kvm: error executing the ", "Instance does not support the ")


class QmpMonitor(Monitor):
    """A connected monitor of a QEMU; QEMU serves one connection at a time.

    After a command that QEMU has not answered in time the connection is not used any more: its
    late answer would be taken for that of the next command.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lost = ""

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        connection = self._connection
        execute = getattr(connection, "execute_qmp", None) or connection.Execute
        with self._answered():
            return execute(command, arguments or {})

    def add_fd(self, descriptor: int) -> int:
        with self._answered():
            return int(self._connection._AddFd(descriptor))

    def name_fd(self, descriptor: int, name: str) -> None:
        with self._answered():
            self._connection._GetFd(descriptor, name)

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """Raise `MonitorFailed` for what QEMU refuses, and from the first silence on."""
        if self._lost:
            raise MonitorFailed(self._lost)
        try:
            with _translated():
                yield
        except MonitorFailed as err:
            if not str(err.__cause__).startswith(_REFUSED):
                self._lost = str(err)
            raise


@contextlib.contextmanager
def connected(socket: str) -> Iterator[QmpMonitor]:
    """The monitor behind a socket; raises `MonitorFailed` if none answers."""
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
    # Ganeti 3.1 looks for the members of None where QEMU has closed the connection.
    except (errors.GenericError, OSError, TypeError) as err:
        if isinstance(err, TypeError):
            raise MonitorFailed("QEMU has closed the connection to its monitor") from err
        raise MonitorFailed("QEMU: %s" % in_words(err).rstrip(": ")) from err
