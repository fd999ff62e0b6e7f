"""Opening an image for this node, where nobody may have said that it had ended.

The one way to a server for whoever wants to use an image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ganeti_gluster.serve.files import EXCLUSIVE
from ganeti_gluster.serve.holder import Held, LastUser
from ganeti_gluster.serve.server import ImageServer

#: Seconds for a server that was started again, or opens its image anew, to lock it: who has
#: not by then is dead or cut off.
RETURN_SECONDS = 10.0
_POLL_SECONDS = 1.0


def open_image(
    server: ImageServer,
    *,
    number: int,
    mode: str = EXCLUSIVE,
    locking: bool,
    patience: int,
    name_of: Callable[[int], str] = "the node of number %d".__mod__,
) -> None:
    """Have an image served on this node, whose number is `number`.

    What this node's own server held before a reboot is waited for, since the bricks forget
    it.  What another left that is gone is taken once it has had time to come back; `name_of`
    names its node.  Raises as `ImageServer.open`.
    """

    def try_it(**more: Any) -> None:
        server.open(number=number, mode=mode, locking=locking, patience=patience, **more)

    try:
        try_it()
    except Held as err:
        if err.holder is None or err.holder.number != number:
            raise
        logging.warning("Image %s is still locked from before a restart of this node", err.path)
        try_it(wait=True)
    except LastUser as err:
        left = _wait_for(try_it, err)
        if left is not None:
            logging.warning("Taking image %s, which %s left open", left.path, name_of(left.number))
            try_it(take=left.word)


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
