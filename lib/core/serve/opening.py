"""Opening an image for this node when its previous user may not have closed it.

This is the only way to get a server for an image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ganeti_gluster.core.serve import control, hold
from ganeti_gluster.core.serve.files import EXCLUSIVE
from ganeti_gluster.core.serve.holder import LastUser, OpenElsewhere, holders_of, word_of
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError

#: Seconds for a server that was started again, or opens its image again, to lock it: who has
#: not by then is dead or cut off.
RETURN_SECONDS = 10.0
_POLL_SECONDS = 1.0


def open_image(
    server: ImageServer,
    *,
    number: int,
    work: int = 0,
    mode: str = EXCLUSIVE,
    locking: bool,
    patience: int,
    name_of: Callable[[int], str] = "the node with number %d".__mod__,
) -> None:
    """Serve an image on this node; `number` is the node's, `work` that of its work on images.

    If this node's own server held the lock before a reboot, wait until the bricks drop it.  Then,
    and if only its word is left, take the image when no other holder shows up for as long as a
    server needs to come back: it could be the other end of a migration.  If another node left its
    word and is gone, take the image after the time that it had to come back; `name_of` gives its
    name.  Raises as `ImageServer.open`.
    """

    def try_it(**more: Any) -> None:
        server.open(number=number, mode=mode, locking=locking, patience=patience, **more)

    own = (number, work)
    if locking and mode == EXCLUSIVE and _was_open_here(server, number):
        _await_former(server, own)
    try:
        try_it()
    except OpenElsewhere as err:
        if err.holder is None or err.holder.number not in own or _is_served(server):
            raise  # what this node works on a served image began after the server
        _await_former(server, own)
        try_it()
    except LastUser as err:
        left = _wait_for(try_it, err)
        if left is not None:
            logging.warning("Taking image %s, which %s left open", left.path, name_of(left.number))
            try_it(take=left.word)


def _was_open_here(server: ImageServer, number: int) -> bool:
    """Whether this node had the image exclusively and has not closed it; then it restarted.

    If the volume does not answer, opening the image will fail anyway.
    """
    try:
        if _is_served(server):
            return False
        with connect(server.spec) as volume:
            word, left_by = word_of(volume, server.path)
    except (GanetiGlusterError, OSError):
        return False
    return bool(word) and left_by == number


def _is_served(server: ImageServer) -> bool:
    found = server.status()
    return found is not None and found.state != control.LOST


def _await_former(server: ImageServer, own: tuple[int, int]) -> None:
    """Wait until the bricks have forgotten what this node had before it restarted.

    A lock of its own may hide that of the other end of a migration, and that one may lock
    again just then: so nobody else may show on any brick for `RETURN_SECONDS`.  Raises
    `OpenElsewhere`.
    """
    path = server.path
    logging.warning("Image %s is still open since before this node was restarted", path)
    end = time.monotonic() + hold.OWN_SECONDS
    free_since: float | None = None
    while True:
        with connect(server.spec) as volume:
            holders = holders_of(volume, path)
        now = time.monotonic()
        other = next((one for one in sorted(holders) if one.number not in own), None)
        if other is not None or (holders and now > end):
            raise OpenElsewhere(path, other or next(iter(holders)))
        free_since = None if holders else now if free_since is None else free_since
        if free_since is not None and now - free_since >= RETURN_SECONDS:
            return
        time.sleep(_POLL_SECONDS)


def _wait_for(try_it: Callable[[], None], left: LastUser) -> LastUser | None:
    """Who does not come back, and has left the word that is there now; None once opened."""
    deadline = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        try:
            try_it()
        except LastUser as err:
            left = err
        else:
            return None
    return left
