"""Remove the directory of a brick that was given up, with its content.

Runs on the node itself, and only trusts the node's own glusterd about the owner of the directory.
"""

from __future__ import annotations

import os
import shutil
import stat

from ganeti_gluster.core.pool import place
from ganeti_gluster.core.pool.place import PlaceRefused
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gluster_cli import Gluster, VolumeInfo


def discard(brick: str, volume: str, volume_id: str, gluster: Gluster) -> bool:
    """Remove a brick's directory; returns whether there was one.

    glusterd must know a volume of this name and UUID.  The directory is a brick of it
    here, and the volume is stopped; or it is one no more and still has the volume's
    mark, and no other brick is in or above it.  Raises `InvalidParameter`, `PlaceRefused`,
    or `GlusterFailed` where glusterd does not answer.
    """
    names.directory(brick)
    names.volume_name(volume)
    names.uuid(volume_id)
    try:
        info = os.lstat(brick)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(info.st_mode):
        raise PlaceRefused("%s is not a directory and is left as it is" % brick)
    _check(brick, volume, volume_id, gluster)
    shutil.rmtree(brick)
    return True


def _check(brick: str, volume: str, volume_id: str, gluster: Gluster) -> None:
    own = names.uuid(gluster.own_uuid())
    volumes = gluster.volumes()
    known = next((one for one in volumes if one.name == volume), None)
    if known is None or known.uuid != volume_id:
        raise PlaceRefused(
            "glusterd has no volume %s with UUID %s; %s is left as it is"
            % (volume, volume_id, brick),
            hint="see gluster volume info",
        )
    present = brick in _paths(known, own)
    if present and known.started:
        raise PlaceRefused("%s is a brick of volume %s, which is started" % (brick, volume))
    for other in volumes:
        for path in _paths(other, own):
            if (path != brick or other is not known) and _overlap(path, brick):
                raise PlaceRefused("%s overlaps a brick of volume %s" % (brick, other.name))
    mark = place.volume_id(brick)
    # What is left of a brick whose content is removed already, or was never made.
    empty = present and not mark and not os.listdir(brick)
    if mark != volume_id and not empty:
        raise PlaceRefused(
            "%s is not a brick of volume %s and is left as it is" % (brick, volume),
            hint="check what it contains",
        )


def _paths(volume: VolumeInfo, own: str) -> list[str]:
    """Where this node has bricks of a volume."""
    return [brick.path for brick in volume.bricks if brick.server_uuid == own]


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)
