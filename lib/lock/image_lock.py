"""The lock on an image, as one connection holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import File, Volume
from ganeti_gluster.gfapi.brick import ask_each

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
        self._kind: int | None = None
        # Unlike any other's, on this node as well.
        self._owner = _new_owner()

    def take(self, mode: str, *, clear: bool = False) -> None:
        """Hold the lock in `mode`, whatever it was held in; raises `Held`.

        With `clear` it is first taken away from everyone.  To take what is held is
        no change, and holds it on bricks that have come back as well.  Where it
        fails, what was held may be held on fewer bricks.
        """
        if clear:
            self._volume.clear_locks(self._path)
        kind = _KINDS[mode]
        # Locks of one owner are one, and the last file's that was locked alike; one
        # that was changed stays the former file's.  So it is moved before.
        for wanted in dict.fromkeys([kind if self._kind is None else self._kind, kind]):
            try:
                self._take(wanted)
            except OSError as err:
                raise self._failure(err, wanted) from err

    def _take(self, kind: int) -> None:
        if self._file is None or kind == self._kind:
            try:
                self._take_anew(kind)
            except OSError:
                if self._file is None:
                    raise
            else:
                return
        # To this as well where the volume's graph was changed: what is held belongs
        # to the former one until its file is used, and keeps a new file out.
        self._file.lock(kind, pid=self._number)
        self._kind = kind

    def _take_anew(self, kind: int) -> None:
        """Hold the lock by a file that was opened now, in place of the one before.

        A file is not open on a brick that was replaced, or could not open it again
        after a restart; and to lock a file that is open on too few bricks takes the
        lock from those.  At no time there is no lock.
        """
        file = self._volume.open(self._path, write=True)
        file.set_lock_owner(self._owner)
        try:
            file.lock(kind, pid=self._number)
        except OSError:
            _let_go(file)
            raise
        if self._file is not None:
            _let_go(self._file)
        self._file, self._kind = file, kind

    def _failure(self, err: OSError, kind: int) -> Exception:
        if err.errno not in (errno.EAGAIN, errno.EACCES):
            return err
        file = self._volume.open(self._path, write=True)
        file.set_lock_owner(self._owner)
        try:
            return Held(self._path, _holder(self._volume, file, kind, self._number))
        finally:
            _let_go(file)

    def give_back(self) -> None:
        """Hold no lock any more."""
        if self._file is not None:
            self._file.lock(fcntl.F_UNLCK, pid=self._number)


def holder_of(volume: Volume, path: str) -> Holder | None:
    """Who has the image open, as far as locks tell; ENOENT if there is none."""
    with volume.open(path, write=True) as file:
        file.set_lock_owner(_new_owner())
        return _holder(volume, file, fcntl.F_WRLCK)


def _holder(volume: Volume, file: File, kind: int, own: int = 0) -> Holder | None:
    """Who keeps `kind` out: another than `own`, where there is one.

    Replication passes on what the last brick answers, and that may be back without
    the lock while its holder connects.  So where it has none each brick is asked.
    """
    found = file.conflicting_lock(kind)
    if found is not None:
        return _to_holder(found)
    answers = ask_each(volume, lambda brick: _conflict(brick, file.path, kind))
    holders = [_to_holder(answer) for answer in answers if answer is not None]
    others = [holder for holder in holders if holder.number != own]
    return next(iter(others or holders), None)


def _conflict(volume: Volume, path: str, kind: int) -> tuple[int, int] | None:
    with volume.open(path, write=True) as file:
        file.set_lock_owner(_new_owner())
        return file.conflicting_lock(kind)


def _to_holder(found: tuple[int, int]) -> Holder:
    return Holder(found[1], SHARED if found[0] == fcntl.F_RDLCK else EXCLUSIVE)


def _let_go(file: File) -> None:
    """Close a file and leave its owner's locks to the other file that has them."""
    with contextlib.suppress(OSError):
        file.set_lock_owner(_new_owner())
    file.abandon()


def _new_owner() -> bytes:
    return b"ganeti-gluster-" + os.urandom(16)
