"""Ganeti's side of the servers of images: for whom an image is opened, and who is refused.

Ganeti opens a disk for one node exclusively, or for both ends of a live migration, and
closes it; `ganeti_gluster.serve` does the rest.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

from ganeti import errors

from ganeti_gluster import constants, names
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.serve import control, hold
from ganeti_gluster.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.serve.holder import (
    Held,
    LastUser,
    holders_of,
    node_number,
    word_of,
    work_number,
)
from ganeti_gluster.serve.server import ImageServer
from ganeti_gluster.storage import node_names
from ganeti_gluster.volume import VolumeSpec, connect

#: Seconds for a server that was started again, or opens its image anew, to lock it: who has
#: not by then is dead or cut off.
RETURN_SECONDS = 10.0
_POLL_SECONDS = 1.0


def enabled(params: dict[str, Any]) -> bool:
    """Whether the administrator wants images to be locked."""
    value = names.locking(params.get(constants.PARAM_LOCKING, names.LOCKING_ON))
    return bool(value == names.LOCKING_ON)


def patience(params: dict[str, Any]) -> int:
    """Seconds that requests wait for storage that is away."""
    return names.patience(params.get(constants.PARAM_PATIENCE, names.PATIENCE))


def own_number() -> int:
    """The number of this node's locks."""
    return node_number(node_names.own())


def open_image(params: dict[str, Any], path: str, *, exclusive: bool) -> None:
    """Have an image served on this node; raises `BlockDeviceError` where it cannot be.

    What this node's own server held before a reboot is waited for, since the bricks forget
    it; then, and where its word alone is left, the image is taken if nobody else shows for as
    long as a server takes to come back, as the other end of a migration that was under way.
    What another left that is gone is taken once it has had time to come back.
    """
    try:
        wanted: dict[str, Any] = {
            "number": own_number(),
            "mode": EXCLUSIVE if exclusive else SHARED,
            "locking": enabled(params),
            "patience": patience(params),
        }
        _open(ImageServer(VolumeSpec.from_params(params), path), wanted)
    except Held as err:
        raise errors.BlockDeviceError(refusal(err)) from err
    except GanetiGlusterError as err:
        raise errors.BlockDeviceError(str(err)) from err


def _open(server: ImageServer, wanted: dict[str, Any]) -> None:
    number = wanted["number"]
    if wanted["locking"] and wanted["mode"] == EXCLUSIVE and _was_open_here(server, number):
        _await_former(server, number)
    try:
        server.open(**wanted)
    except Held as err:
        if err.holder is None or err.holder.number not in _own_numbers(number):
            raise
        _await_former(server, number)
        server.open(**wanted)
    except LastUser as err:
        _take_over(server, wanted, err)


def _own_numbers(number: int) -> tuple[int, int]:
    """The numbers of this node's locks: its servers', and those of its work on images."""
    return number, work_number(node_names.own())


def _was_open_here(server: ImageServer, number: int) -> bool:
    """Whether this node had the image for itself and has not closed it; it restarted then.

    Where the volume does not tell, opening the image does.
    """
    try:
        found = server.status()
        if found is not None and found.state != control.LOST:
            return False
        with connect(server.spec) as volume:
            word, left_by = word_of(volume, server.path)
    except (GanetiGlusterError, OSError):
        return False
    return bool(word) and left_by == number


def _await_former(server: ImageServer, number: int) -> None:
    """Wait until the bricks have forgotten what this node had before it restarted.

    A lock of its own may hide that of the other end of a migration, and that one may lock
    again just then: so nobody else may show on any brick for `RETURN_SECONDS`.  Raises
    `Held`.
    """
    path, own = server.path, _own_numbers(number)
    logging.warning("Image %s is still open from before a restart of this node", path)
    end = time.monotonic() + hold.OWN_SECONDS
    free_since: float | None = None
    while True:
        with connect(server.spec) as volume:
            found = holders_of(volume, path)
        now = time.monotonic()
        other = next((one for one in sorted(found) if one.number not in own), None)
        if other is not None or (found and now > end):
            raise Held(path, other or next(iter(found)))
        free_since = None if found else now if free_since is None else free_since
        if free_since is not None and now - free_since >= RETURN_SECONDS:
            return
        time.sleep(_POLL_SECONDS)


def _take_over(server: ImageServer, wanted: dict[str, Any], left: LastUser) -> None:
    """Take an image whose last user has gone without a word, if it does not come back."""
    deadline = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        try:
            server.open(**wanted)
        except LastUser as err:
            left = err
        else:
            return
    logging.warning("Taking image %s, which %s has left open", left.path, _node(left.number))
    server.open(**wanted, take=left.word)


def refusal(err: Held) -> str:
    """Who has an image that is refused, and what to do about it."""
    if err.holder is None:
        return "Image %s was being opened by another node at the same time" % err.path
    nodes = node_names.every()
    said = "Image %s is open on %s (%s): " % (err.path, err.holder.name(nodes), err.holder.mode)
    if err.holder.works(nodes):
        return said + (
            "wait for the end of that, or end it there (systemctl stop"
            " 'ganeti-gluster-snapshot-*'); if that node cannot be reached, take the image from"
            " it (gnt-gluster disk evict)"
        )
    return said + (
        "stop the instance there; if that node is dead, or"
        " cannot be reached, mark it offline (gnt-node modify --offline=yes) and fail the"
        " instance over, or take the image from it (gnt-gluster disk evict)"
    )


@contextlib.contextmanager
def holding(params: dict[str, Any], volume: Volume, path: str) -> Iterator[None]:
    """Keep all others from an image in the block; `BlockDeviceError` where one has it.

    What this node had before it restarted is waited for.  An image that is gone is nobody's.
    """
    if not enabled(params):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                hold.held(volume, path, node=node_names.own(), own_seconds=hold.OWN_SECONDS)
            )
        except FileNotFoundError:
            pass
        except Held as err:
            raise errors.BlockDeviceError(refusal(err)) from err
        yield


def _node(number: int) -> str:
    found = [node for node in node_names.every() if node_number(node) == number]
    return "node %s" % " or ".join(found) if found else "an unknown node (%d)" % number
