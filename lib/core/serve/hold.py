"""An image's lock, while this process works on the image by itself.

It is the same lock that image servers take (src/storage.c).  Readers of an image that must not
change share it; changing or removing an image needs it exclusively.  In the meantime no server can
start for the image, and the lock is refused for an image that has a server.  The lock ends with
this process's connection.  To see whether it is still held, take it again: a descriptor whose lock
the bricks have dropped gets none any more (`client.strict-locks`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import time
from collections.abc import Callable, Iterator

from ganeti_gluster.core import image
from ganeti_gluster.core.serve.holder import (
    OpenElsewhere,
    holder_in,
    let_go,
    new_owner,
    node_number,
    work_number,
)
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import File, Volume

#: Seconds for the bricks to forget what this node had before it restarted.
OWN_SECONDS = 60.0
_POLL_SECONDS = 0.5
_REFUSED = (errno.EAGAIN, errno.EACCES)


class LockLost(GanetiGlusterError):
    """The image's lock went with a connection; another may have changed the image since."""


class Hold:
    """An image that is locked."""

    def __init__(self, volume: Volume, file: File, kind: int, number: int, inode: int) -> None:
        self._volume = volume
        self._file = file
        self._inode = inode
        self._kind = kind
        self._number = number

    @property
    def path(self) -> str:
        """The image's path when it was locked."""
        return self._file.path

    def check(self) -> None:
        """Raise `LockLost` unless nobody else can have opened the image since it was locked."""
        try:
            self._file.lock(self._kind, pid=self._number)
        except OSError as err:
            raise LockLost(
                "the lock on image %s was lost while it was in use (%s), and a node may have"
                " opened it since" % (self.path, err.strerror),
                hint="try again when all bricks of volume %s answer" % self._volume.name,
            ) from err

    def has(self, inode: int | None) -> bool:
        """Whether the image is the one of this inode."""
        return self._inode == inode

    def is_at(self, path: str) -> bool:
        """Whether `path` is a name of the image."""
        try:
            return self._volume.lstat(path).inode == self._inode
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def locked(
    volume: Volume, path: str, *, node: str, shared: bool = False, own_seconds: float = 0.0
) -> Iterator[Hold]:
    """Keep an image's lock in the block, for work on `node`, which is this one.

    What this node itself had is waited for, for as long as `own_seconds`.  Raises `OpenElsewhere`
    where another has it, and ENOENT if there is no image.
    """
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    deadline = time.monotonic() + own_seconds
    while True:
        file = volume.open(path, write=True)
        try:
            inode = _take(volume, file, kind, node, last=time.monotonic() >= deadline)
        except BaseException:
            let_go(file)
            raise
        if inode is not None:
            break
        let_go(file)
        time.sleep(_POLL_SECONDS)
    try:
        yield Hold(volume, file, kind, work_number(node), inode)
    finally:
        let_go(file)


def _take(volume: Volume, file: File, kind: int, node: str, *, last: bool) -> int | None:
    """Lock the file, which has the inode returned; None if that is worth another try.

    Opened and locked are two steps, between which the name may become another image's.
    """
    file.set_lock_owner(new_owner())
    try:
        file.lock(kind, pid=work_number(node))
    except OSError as err:
        if err.errno not in _REFUSED:
            raise
        holder = holder_in(volume, file, kind)
        own = holder is not None and holder.number in (node_number(node), work_number(node))
        if own and not last:
            return None
        raise OpenElsewhere(file.path, holder) from err
    inode = file.stat().inode
    return inode if volume.lstat(file.path).inode == inode else None


def remove(
    volume: Volume,
    path: str,
    *,
    node: str,
    own_seconds: float = 0.0,
    sure: Callable[[Hold], bool] = lambda hold: True,
) -> bool:
    """Remove an image of which no one else has the lock; False if there was none.

    Nor is it removed unless it is `sure`, when it is locked.  Raises `OpenElsewhere`.
    """
    try:
        with locked(volume, path, node=node, own_seconds=own_seconds) as hold:
            if not sure(hold):
                return False
            hold.check()
            return image.remove(volume, path)
    except FileNotFoundError:
        return False
