"""The lock on an image, as one connection holds it."""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import File, Volume

EXCLUSIVE = "exclusive"
SHARED = "shared"
_KINDS = {EXCLUSIVE: fcntl.F_WRLCK, SHARED: fcntl.F_RDLCK}


class Holder(NamedTuple):
    """Who keeps a lock from being taken: the number of its choice, and how it holds it."""

    number: int
    mode: str

    def name(self, nodes: Iterable[str]) -> str:
        """The holder in words, by its name where it is one of `nodes`."""
        found = [node for node in nodes if node_number(node) == self.number]
        return "node %s" % " or ".join(found) if found else "an unknown node (%d)" % self.number


class Held(GanetiGlusterError):
    """An image is open somewhere else; `holder` is None where it has just let go."""

    def __init__(self, path: str, holder: Holder | None) -> None:
        super().__init__("image %s is open elsewhere" % path)
        self.path = path
        self.holder = holder


def node_number(node: str) -> int:
    """The number by which a node's locks are known: positive, and below 2^31."""
    return zlib.crc32(node.encode()) & 0x7FFFFFFF or 1


class ImageLock:
    """A lock that is taken, changed and taken again; it ends with its file's connection."""

    def __init__(self, volume: Volume, path: str, number: int) -> None:
        self._volume = volume
        self._path = path
        self._number = number
        self._file: File | None = None
        # Unlike any other's, on this node as well.
        self._owner = b"ganeti-gluster-" + os.urandom(16)

    def take(self, mode: str, *, clear: bool = False) -> None:
        """Hold the lock in `mode`, whatever it was held in; raises `Held`.

        With `clear` it is first taken away from everyone.  To take what is held is
        no change, and holds it again on bricks that have restarted.
        """
        if clear:
            self._volume.clear_locks(self._path)
        try:
            self._lock(mode)
        except OSError:
            # A file with a lock is not opened anew on a brick that was out of reach, and
            # is in a "bad state" for it.  To close it gives the lock up on the others.
            self._close()
            self._lock(mode)

    def _lock(self, mode: str) -> None:
        file = self._open()
        try:
            file.lock(_KINDS[mode], pid=self._number)
        except OSError as err:
            if err.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise Held(self._path, _holder(file, _KINDS[mode])) from err

    def give_back(self) -> None:
        """Hold no lock any more."""
        if self._file is not None:
            self._file.lock(fcntl.F_UNLCK, pid=self._number)

    def _open(self) -> File:
        if self._file is None:
            file = self._volume.open(self._path, write=True)
            file.set_lock_owner(self._owner)
            self._file = file
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.abandon()
            self._file = None


def holder_of(volume: Volume, path: str) -> Holder | None:
    """Who has the image open, as far as locks tell; ENOENT if there is none."""
    with volume.open(path, write=True) as file:
        file.set_lock_owner(b"ganeti-gluster-" + os.urandom(16))
        return _holder(file, fcntl.F_WRLCK)


def _holder(file: File, kind: int) -> Holder | None:
    found = file.conflicting_lock(kind)
    if found is None:
        return None
    return Holder(found[1], SHARED if found[0] == fcntl.F_RDLCK else EXCLUSIVE)
