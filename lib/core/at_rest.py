"""An image that does not change while it is read.

An image that no node has open is locked for reading.  If this node has it open for a stopped
instance, its server shares the lock: starting the instance needs the lock exclusively, and is
refused.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ganeti_gluster.core.in_use import ImageInUse
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.hold import Hold, locked
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import Volume


class NotAtRest(GanetiGlusterError):
    """Something on this node may change the image."""


class AtRest:
    """An image that is kept as it is."""

    def __init__(self, hold: Hold, in_use: ImageInUse | None) -> None:
        self._hold = hold
        self._in_use = in_use

    def check(self) -> None:
        """Raise a `GanetiGlusterError` if anyone can have changed the image until now."""
        self._hold.check()
        if self._in_use is not None:
            _refuse_users(self._in_use)


@contextlib.contextmanager
def at_rest(volume: Volume, spec: VolumeSpec, path: str, *, node: str) -> Iterator[AtRest]:
    """Keep an image as it is in the block, for work on `node`, which is this one.

    What came of it counts if `AtRest.check` says so at its end.  Raises `NotAtRest` where a
    process of this node has the image, and `OpenElsewhere` where another node has.
    """
    in_use = ImageInUse(spec, path, 0)
    with contextlib.ExitStack() as stack:
        served = in_use.status() is not None
        if served:
            _refuse_users(in_use)
            in_use.flush()
            in_use.server.change(SHARED)
            stack.callback(_back, in_use)
        hold = stack.enter_context(locked(volume, path, node=node, shared=True))
        yield AtRest(hold, in_use if served else None)


def _refuse_users(in_use: ImageInUse) -> None:
    status = in_use.status()
    if status is None or in_use.has_user():
        raise NotAtRest(
            "image %s of volume %s is in use on this node" % (in_use.path, in_use.spec.name),
            hint="stop what uses it, or wait until it has finished",
        )


def _back(in_use: ImageInUse) -> None:
    """Let the server have the image for itself again; who opens it next does so as well."""
    try:
        in_use.server.change(EXCLUSIVE)
    except GanetiGlusterError as err:
        logging.warning("%s", err)
