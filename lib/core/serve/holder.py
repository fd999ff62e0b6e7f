"""Who has an image open, as shown by its locks and the word on it (src/storage.c)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import File, Volume
from ganeti_gluster.tools.gfapi.brick import ask_each

#: The word of who has the image, and the number of the node: "5fe0… 1177".
WORD_ATTRIBUTE = "user.ganeti-gluster.holder"
#: How the word of an image begins whose holder was evicted.
EVICTED = "evicted"


#: What an image is in use for that no server has, but work on it.
_WORK = "for a snapshot, copy or removal"


class LockHolder(NamedTuple):
    """Who keeps a lock from being taken: the number of its choice, and how it holds it."""

    number: int
    mode: str

    def name(self, nodes: Iterable[str]) -> str:
        """The holder in words, by its name where it is one of `nodes`."""
        names = self.nodes(nodes)
        if not names:
            return "an unknown node (%d)" % self.number
        name = "node %s" % " or ".join(names)
        return "%s %s" % (name, _WORK) if self.works(names) else name

    def nodes(self, nodes: Iterable[str]) -> list[str]:
        """Those of `nodes` that may be the holder."""
        return [node for node in nodes if self.number in (node_number(node), work_number(node))]

    def works(self, nodes: Iterable[str]) -> bool:
        """Whether it is not a server, but work on the image by one of `nodes`."""
        by_server = self.number in map(node_number, nodes)
        return not by_server and self.number in map(work_number, nodes)


class OpenElsewhere(GanetiGlusterError):
    """An image is open somewhere else; `holder` is None if it has just let go."""

    def __init__(self, path: str, holder: LockHolder | None) -> None:
        super().__init__("image %s is open on another node" % path)
        self.path = path
        self.holder = holder


class LastUser(GanetiGlusterError):
    """The lock is free, but who had the image last has not said that it ended.

    It died, is cut off, or is just taking its lock again.  `number` is its node's, `word`
    what it left.
    """

    def __init__(self, path: str, number: int, word: str) -> None:
        super().__init__("the last user of image %s has not closed it" % path)
        self.path = path
        self.number = number
        self.word = word


def node_number(node: str) -> int:
    """The number by which a node's locks are known: positive, and below 2^31."""
    return zlib.crc32(node.encode()) & 0x7FFFFFFF or 1


def work_number(node: str) -> int:
    """The number of the locks by which a node works on images that no server of its has."""
    return node_number("work on " + node)


def new_word() -> str:
    """A word unlike any other."""
    return os.urandom(12).hex()


def word_of(volume: Volume, path: str) -> tuple[str, int]:
    """The word on an image and the number of its node; empty and 0 if there is none."""
    try:
        text = volume.getxattr(path, WORD_ATTRIBUTE).decode("utf-8", "replace")
    except OSError as err:
        if err.errno == errno.ENODATA:
            return "", 0
        raise
    word, _, number = text.partition(" ")
    return word, int(number) if number.strip().isdigit() else 0


def leave_word(volume: Volume, path: str) -> None:
    """Have an image that is nobody's say so in a way unlike any other.

    Who opens it next does not wait for a last user; who had it before never comes back.
    """
    volume.setxattr(path, WORD_ATTRIBUTE, ("%s-%s 0" % (EVICTED, new_word())).encode())


def holder_of(volume: Volume, path: str) -> LockHolder | None:
    """Who has the image open, according to its locks; ENOENT if there is no image."""
    with volume.open(path, write=True) as file:
        file.set_lock_owner(new_owner())
        return holder_in(volume, file, fcntl.F_WRLCK)


def holders_of(volume: Volume, path: str) -> set[LockHolder]:
    """All who have the image open, according to each brick; ENOENT if there is no image.

    A brick names one of several holders, so a lock that is about to be released hides another
    one there.  It is released on one brick after the other.
    """
    with volume.open(path, write=True) as file:
        file.set_lock_owner(new_owner())
        answers = [file.conflicting_lock(fcntl.F_WRLCK)]
    answers += ask_each(volume, lambda brick: _conflict(brick, path, fcntl.F_WRLCK))
    return {_to_holder(answer) for answer in answers if answer is not None}


def holder_in(volume: Volume, file: File, kind: int) -> LockHolder | None:
    """Who keeps `kind` out of an open file, which has a lock's owner.

    Replication passes on what the last brick answers, and that may be back without
    the lock while its holder connects.  So where it has none each brick is asked.
    """
    lock = file.conflicting_lock(kind)
    if lock is not None:
        return _to_holder(lock)
    answers = ask_each(volume, lambda brick: _conflict(brick, file.path, kind))
    return next((_to_holder(answer) for answer in answers if answer is not None), None)


def _conflict(volume: Volume, path: str, kind: int) -> tuple[int, int] | None:
    with volume.open(path, write=True) as file:
        file.set_lock_owner(new_owner())
        return file.conflicting_lock(kind)


def _to_holder(lock: tuple[int, int]) -> LockHolder:
    return LockHolder(lock[1], SHARED if lock[0] == fcntl.F_RDLCK else EXCLUSIVE)


def let_go(file: File) -> None:
    """Close a file that had a lock."""
    with contextlib.suppress(OSError):
        file.lock(fcntl.F_UNLCK)
    file.abandon()


def new_owner() -> bytes:
    """A lock's owner, unlike any other."""
    return b"ganeti-gluster-" + os.urandom(16)
