"""Streams, such as standard input and output, as sources and targets of a copy."""

from __future__ import annotations

import errno
import os
import select

from ganeti_gluster.core.copy.interface import Source, Stream

_POLL_SECONDS = 0.2


class StreamSource:
    """What comes from a file descriptor; `expected` bytes, or any number."""

    def __init__(self, fd: int, name: str, *, expected: int | None = None) -> None:
        self.name = name
        self.expected = expected
        self._fd = fd
        self._stopped = False

    def read_into(self, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and self._readable():
            got = os.readv(self._fd, [buffer[done:]])
            if got == 0:
                break
            done += got
        return done

    def _readable(self) -> bool:
        """Wait until there is something; False once stopped."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._stopped:
            if poll.poll(_POLL_SECONDS * 1000):
                return True
        return False

    def stop(self) -> None:
        self._stopped = True


class StreamTarget:
    """A file descriptor that receives the bytes in order.

    What was written there cannot be undone: the reader must check how this process ends.
    """

    zeroed = False
    ordered = True

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd

    def open(self, size: int | None) -> None:
        """Nothing: it is open."""

    def clone(self, source: Source | Stream) -> bool:
        return False

    def pwrite(self, data: memoryview, offset: int) -> None:
        done = 0
        while done < len(data):
            done += os.write(self._fd, data[done:])

    def zero(self, offset: int, length: int) -> None:
        raise AssertionError("a stream gets its zeroes as bytes")

    def sync(self, size: int) -> None:
        try:
            os.fsync(self._fd)  # it may be a file after all
        except OSError as err:
            if err.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
                raise

    def written(self) -> None:
        return None

    def publish(self) -> None:
        """Nothing: the reader sees the end when this process ends."""

    def abort(self) -> bool:
        return False
