"""The image behind a server's socket, with the interface that the FUSE server needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ganeti_gluster.core.export.client import NbdConnection, Outage, ServerAway
from ganeti_gluster.errors import GanetiGlusterError

# Flags of NBD's "write zeroes": leave no hole; fail rather than be slow.
_NO_HOLE = 1 << 1
_FAST_ZERO = 1 << 4
#: Bytes that are zeroed or given back by one request; the protocol's limit is 4 GiB.
_STEP = 1 << 30

T = TypeVar("T")


class WrongSize(GanetiGlusterError):
    """The server's image is smaller than it should be."""


class ServedImage:
    """An image; each thread that uses it has its own connection.

    The size is known without a request, so reading the properties of the device never waits for
    the volume.  A request waits `seconds` for a server that is unavailable.
    """

    def __init__(self, socket_path: str, seconds: float) -> None:
        self._path = socket_path
        self._outage = Outage(seconds)
        self._mine = threading.local()
        self._edges = threading.Lock()
        self._block = 1
        self.size = 0

    def learn_size(self, least: int = 0, *, seconds: float) -> None:
        """Ask the server for the image's size, through a new connection; it only grows.

        Raises `WrongSize` for a size of less than `least` bytes, apart from a part of a block, and
        `ServerAway`.
        """
        connection = NbdConnection(self._path, Outage(seconds))
        try:
            size, block = connection.call(lambda nbd: (nbd.get_size(), nbd.get_block_size(0)))
        except OSError as err:
            raise ServerAway(err.strerror or str(err)) from err
        self._block = block or 1
        if size < max(self.size, least - least % self._block):
            raise WrongSize(
                "its server reports %d bytes instead of %d" % (size, max(self.size, least))
            )
        self.size = size

    def pread(self, size: int, offset: int) -> memoryview:
        """Read; what is behind the image's end is missing."""
        size = max(0, min(size, self.size - offset))
        parts = list(self._parts(offset, size))
        if len(parts) == 1:
            return self._read_part(*parts[0])
        return memoryview(b"".join(self._read_part(*part) for part in parts))

    def pwrite(self, data: memoryview, offset: int) -> None:
        """Write within the image: a device does not grow by being written to."""
        for start, length in self._parts(offset, len(data)):
            piece = data[start - offset : start - offset + length]
            if length % self._block:
                self._write_part(piece, start)
            else:
                self._call(lambda nbd, d=piece, s=start: nbd.pwrite(d, s))  # type: ignore[misc]

    def flush(self) -> None:
        """Have the bricks store what was written, by whichever connection it was."""
        self._call(lambda nbd: nbd.flush())

    def discard(self, offset: int, length: int) -> None:
        """Give blocks back; they read as zeroes."""
        self._zero(offset, length, _FAST_ZERO)

    def zero(self, offset: int, length: int) -> None:
        """Write zeroes, and keep the blocks."""
        self._zero(offset, length, _NO_HOLE)

    # -- the steps -----------------------------------------------------------

    def _call(self, ask: Callable[[Any], T]) -> T:
        connection: NbdConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = NbdConnection(self._path, self._outage)
        return connection.call(ask)

    def _zero(self, offset: int, length: int, flags: int) -> None:
        for start in range(offset, offset + length, _STEP):
            count = min(_STEP, offset + length - start)
            self._call(lambda nbd, n=count, s=start: nbd.zero(n, s, flags))  # type: ignore[misc]

    # Bricks on disks with sectors of 4096 bytes refuse less, and the device has sectors of
    # 512, as QEMU shows them: an image is the same by whichever way it is used.

    def _parts(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """Cut a range into whole blocks and what is before and behind them."""
        end = offset + size
        while offset < end:
            whole = (end - offset) // self._block * self._block
            if offset % self._block == 0 and whole:
                length = whole
            else:
                length = min(end - offset, self._block - offset % self._block)
            yield offset, length
            offset += length

    def _read_part(self, offset: int, length: int) -> memoryview:
        before = offset % self._block
        size = before + length
        size += -size % self._block
        data = self._call(lambda nbd: nbd.pread(size, offset - before))
        return memoryview(data)[before : before + length]

    def _write_part(self, data: memoryview, offset: int) -> None:
        """Write a part of one block; others may write the rest of it."""
        before = offset % self._block
        start = offset - before
        with self._edges:
            block = bytearray(self._read_part(start, self._block))
            block[before : before + len(data)] = data
            self._call(lambda nbd: nbd.pwrite(block, start))
