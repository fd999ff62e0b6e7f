"""The images of a stopped instance are copied to another volume, to which Ganeti then refers.

Until Ganeti's configuration names the new volume of a disk, its old image is the valid one, and
afterwards the new one.  The new one says where the old one is (`MOVED_FROM`), from before it has
its name until the old one has been removed.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import Any

from ganeti_gluster.core import image
from ganeti_gluster.core.copy import copy
from ganeti_gluster.core.copy.images import ImageSource, NewImage
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.holder import leave_word
from ganeti_gluster.core.snapshot.request import SnapshotRequest
from ganeti_gluster.core.snapshot.work import (
    Guests,
    Report,
    check_running,
    closed,
    options,
    take_back,
)
from ganeti_gluster.core.volume import connect
from ganeti_gluster.tools.gfapi import Volume

#: The attribute of a moved image that names the volume of the old one.
MOVED_FROM = "user.ganeti-gluster.moved-from"
AGAIN = "give the command again when the volumes are healthy"


def do(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    """Copy all images or none; nobody opens the old ones meanwhile.

    Each copy is read back, since it will be the only one.  A server that had an old image before
    never writes to it again, and by the stamps in the result can be told whether one was replaced
    since.
    """
    check_running(request, guests)
    disks, made = request.disks, dict[str, "int | None"]()
    with (
        connect(request.disks_volume) as source,
        connect(request.snapshots_volume) as target,
        contextlib.ExitStack() as stack,
    ):
        locks = [stack.enter_context(closed(source, disk, guests)) for disk in disks]
        image.check_free_space(
            target, sum(image.stat(source, disk.path).allocated for disk in disks)
        )
        try:
            for disk, lock in zip(disks, locks, strict=True):
                report.message("Copying disk/%d" % disk.index)
                info = image.get_info(source, disk.path).encode()
                attributes = {MOVED_FROM: source.name.encode(), image.INFO_XATTR: info}
                new = NewImage(target, disk.path, attributes=attributes)
                with ImageSource(source, disk.path) as opened:
                    how = options(request, opened, disk.index, report, confirm=lock.check)
                    copy(opened, new, how)
                made[disk.path] = new.made
                image.settle(target, disk.path)
            for lock in locks:
                lock.check()
            for disk in disks:
                leave_word(source, disk.path)
                image.settle(source, disk.path)
            stamps = [
                {"old": image.stamp(source, disk.path), "new": image.stamp(target, disk.path)}
                for disk in disks
            ]
            report.message("Copied all")  # raises if nobody waits for the result
        except BaseException as err:
            take_back(target, made, err, node=guests.node, hint=AGAIN)
            raise
    return {"stamps": stamps}


def origin(volume: Volume, path: str) -> str:
    """The volume of the old image, "" if there is none; ENOENT if there is no new one."""
    try:
        return volume.getxattr(path, MOVED_FROM).decode("utf-8", "replace")
    except OSError as err:
        if err.errno == errno.ENODATA:
            return ""
        raise


def forget_origin(volume: Volume, path: str) -> None:
    """Have the image be like any other, once the old one has gone."""
    volume.setxattr(path, MOVED_FROM, b"")
    image.settle(volume, path)


def remove_unused(volume: Volume, path: str, *, node: str, sure: Callable[[], bool]) -> bool:
    """Remove a new image that the configuration does not refer to; False if there is none.

    One that was not made by a move stays, and so does any unless it is `sure`, when the image is
    locked, that the configuration does not.  Raises `OpenElsewhere`.
    """
    try:
        return bool(origin(volume, path)) and hold.remove(
            volume, path, node=node, sure=lambda held: sure()
        )
    except FileNotFoundError:
        return False
