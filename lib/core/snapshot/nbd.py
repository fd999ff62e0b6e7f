"""A disk that QEMU offers by NBD, as a source of the copy engine."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ganeti_gluster.core.copy import Extent
from ganeti_gluster.errors import GanetiGlusterError

_CONTEXT = "base:allocation"
_READS_AS_ZEROES = 2
#: Bytes that are asked about at a time; the protocol's limit is 4 GiB.
_STEP = 1 << 30

_Connection = socket.socket


class SnapshotLost(GanetiGlusterError):
    """QEMU does not show the disk as it was any more; the guest is not concerned."""


class NbdSource:
    """An export at a Unix socket; a context manager that ends its connections.

    Each thread that reads has a connection of its own, made when it first does.
    `explain` is asked why a read failed, and answers "" where it does not know.
    """

    def __init__(
        self, name: str, socket: str, export: str, *, explain: Callable[[], str] = lambda: ""
    ) -> None:
        self.name = name
        self.size = 0
        self._socket = socket
        self._export = export
        self._explain = explain
        self._mine = threading.local()
        self._all: list[Any] = []
        self._sockets: list[_Connection] = []
        self._stopped = False
        self._lock = threading.Lock()

    def __enter__(self) -> NbdSource:
        self.size = int(self._call("get_size"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # QEMU takes a connection that is closed for what it is.
        with self._lock:
            self._all.clear()
            for each in self._sockets:
                each.close()
            self._sockets.clear()
        self._mine = threading.local()

    def stop(self) -> None:
        """End the connections, of which QEMU may answer none while its storage is away."""
        with self._lock:
            self._stopped = True
            for each in self._sockets:
                with contextlib.suppress(OSError):  # QEMU has ended it
                    each.shutdown(socket.SHUT_RDWR)

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        data = self._call("pread", len(buffer), offset)
        buffer[:] = data
        return len(buffer)

    def extents(self) -> Iterator[Extent] | None:
        if not self._call("can_meta_context", _CONTEXT):
            return None
        return self._extents()

    def _extents(self) -> Iterator[Extent]:
        offset = 0
        while offset < self.size:
            answer: list[int] = []

            def take(context: str, start: int, entries: list[int], error: Any) -> int:
                answer.extend(entries)  # noqa: B023 - called before the next turn
                return 0

            self._call("block_status", min(_STEP, self.size - offset), offset, take)
            for length, flags in zip(answer[::2], answer[1::2], strict=True):
                length = min(length, self.size - offset)
                if length > 0 and not flags & _READS_AS_ZEROES:
                    yield Extent(offset, length)
                offset += length
            if not answer:
                raise SnapshotLost("%s: QEMU does not report what is at %d" % (self.name, offset))

    def _call(self, method: str, *args: Any) -> Any:
        import nbd  # late: only a running guest's snapshot needs it

        try:
            return getattr(self._handle(nbd), method)(*args)
        except nbd.Error as err:
            why = self._explain() or err.string
            raise SnapshotLost(
                "%s is lost: %s" % (self.name, why), hint="the guest keeps running; try again"
            ) from err

    def _handle(self, nbd: Any) -> Any:
        handle = getattr(self._mine, "handle", None)
        if handle is None:
            handle = nbd.NBD()
            handle.add_meta_context(_CONTEXT)
            handle.set_export_name(self._export)
            handle.connect_socket(self._connect())
            self._mine.handle = handle
            with self._lock:
                self._all.append(handle)
        return handle

    def _connect(self) -> int:
        """A new connection for libnbd, which owns it; ours is the other name of the same one."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._lock:
            self._sockets.append(connection)
            if self._stopped:
                raise SnapshotLost("%s is read no more" % self.name)
        try:
            connection.connect(self._socket)
        except OSError as err:
            why = self._explain() or str(err)
            raise SnapshotLost(
                "%s is lost: %s" % (self.name, why), hint="the guest goes on; try again"
            ) from err
        return os.dup(connection.fileno())
