"""Ganeti's side of the locks on images: whose they are, and when they are taken away.

Ganeti opens a disk for one node exclusively, or for both ends of a live migration,
and closes it; `ganeti_gluster.lock` does the rest.
"""

from __future__ import annotations

import logging
from typing import Any

from ganeti import errors

from ganeti_gluster import constants, names
from ganeti_gluster.lock.client import Lock, LockFailed, node_number
from ganeti_gluster.lock.image_lock import EXCLUSIVE, SHARED, Held, Holder
from ganeti_gluster.storage import node_names

# What of a disk's parameters names its volume.
_VOLUME_PARAMETERS = (constants.PARAM_HOST, constants.PARAM_PORT, constants.PARAM_VOLUME)


def enabled(params: dict[str, Any]) -> bool:
    """Whether the administrator wants images to be locked."""
    value = names.locking(params.get(constants.PARAM_LOCKING, names.LOCKING_ON))
    return bool(value == names.LOCKING_ON)


def lock_of(params: dict[str, Any], path: str) -> Lock:
    """The lock of an image on this node."""
    return Lock({name: params[name] for name in _VOLUME_PARAMETERS if name in params}, path)


def open_image(
    params: dict[str, Any], path: str, disk: str | None, *, exclusive: bool, force: bool
) -> None:
    """Lock an image for this node; raises `BlockDeviceError` where another has it.

    A lock of this node's own that nobody keeps is left from before a reboot.  It,
    and that of a node that Ganeti calls offline, and any with `force`, is taken
    away; what still writes there is killed by its keeper.
    """
    own = node_number(node_names.own())
    lock = lock_of(params, path)
    mode = EXCLUSIVE if exclusive else SHARED
    try:
        try:
            lock.take(mode, own, disk=disk or "")
        except Held as err:
            clear = err.holder is not None
            if clear:
                _assert_breakable(err, own, force=force)
            lock.take(mode, own, disk=disk or "", clear=clear)
    except Held as err:
        raise errors.BlockDeviceError(_refusal(err)) from err
    except LockFailed as err:
        raise errors.BlockDeviceError(str(err)) from err


def _assert_breakable(err: Held, own: int, *, force: bool) -> None:
    """Raise `err` again unless its lock may be taken away; says so in the log."""
    holder = err.holder
    assert holder is not None
    if holder.number == own:
        reason = "this node holds it from before it was restarted"
    elif holder.number in map(node_number, node_names.offline()):
        reason = "that node is marked offline"
    elif force:
        reason = "forced"
    else:
        raise err
    logging.warning("Taking image %s, which is open on %s: %s", err.path, _name(holder), reason)


def _refusal(err: Held) -> str:
    if err.holder is None:
        return "Image %s was being opened by another node at the same time" % err.path
    return (
        "Image %s is open on %s (%s): stop the instance there; if that node is dead, mark"
        " it offline (gnt-node modify --offline=yes)"
        % (err.path, _name(err.holder), err.holder.mode)
    )


def _name(holder: Holder) -> str:
    return holder.name(node_names.every())
