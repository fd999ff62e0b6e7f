"""An image that nobody changes while it is read, or that nobody else has open.

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
from ganeti_gluster.core.serve.hold import Hold, LockLost, locked
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

    What came of it counts if `AtRest.check` says so at its end.  Raises `NotAtRest` if a
    process of this node has the image, and `OpenElsewhere` where another node has.
    """
    in_use = ImageInUse(spec, path, 0)
    with contextlib.ExitStack() as stack:
        if in_use.status() is None:
            hold = stack.enter_context(locked(volume, path, node=node, shared=True))
            yield AtRest(hold, None)
        else:
            _refuse_users(in_use)
            in_use.flush()
            yield AtRest(stack.enter_context(_beside(volume, in_use, node)), in_use)


@contextlib.contextmanager
def kept_from_others(volume: Volume, in_use: ImageInUse, *, node: str) -> Iterator[None]:
    """Let nobody have a served image for itself in the block, on this node neither.

    For a user of its server or its device who is no instance.  Raises `LockLost` at the end
    where someone had it all the same.
    """
    with _beside(volume, in_use, node):
        yield
        found = in_use.status()
        if found is None or found.mode == EXCLUSIVE:
            raise LockLost(
                "image %s of volume %s may have been used by another meanwhile"
                % (in_use.path, in_use.spec.name),
                hint="try again",
            )


@contextlib.contextmanager
def alone(volume: Volume, spec: VolumeSpec, path: str, *, node: str) -> Iterator[Hold]:
    """Have an image for this process in the block, for work on `node`, which is this one.

    The image's server here ends.  Raises `NotAtRest` if a process of this node has the image,
    and `OpenElsewhere` where another node has.
    """
    in_use = ImageInUse(spec, path, 0)
    if in_use.status() is not None:
        _refuse_users(in_use)
    in_use.end()
    with locked(volume, path, node=node) as hold:
        yield hold


@contextlib.contextmanager
def _beside(volume: Volume, in_use: ImageInUse, node: str) -> Iterator[Hold]:
    """Share an image's lock with its server here, which cannot have it alone meanwhile."""
    in_use.server.change(SHARED)
    try:
        with locked(volume, in_use.path, node=node, shared=True) as hold:
            yield hold
    finally:
        _back(in_use)


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
