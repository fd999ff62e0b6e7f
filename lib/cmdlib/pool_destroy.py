"""Whether a volume may be destroyed, and the steps to it."""

from __future__ import annotations

from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.cmdlib import pool_state, pool_use
from ganeti_gluster.core import image
from ganeti_gluster.core.pool import destroy
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import VolumeInfo


def plan(name: str, client: Any, agents: Agents, *, force: bool) -> tuple[list[Step], list[str]]:
    """The steps, and the bricks that stay since no node of Ganeti's has them online.

    Raises `VolumeInUse` while an instance has a disk there, whatever `force`, and so do the
    steps.

    So are images of instances whose disks Ganeti looks for elsewhere, if the volume tells
    of its images.  One that does not, and images without an instance, are refused unless
    `force`.
    """

    def unused() -> None:
        destroy.check_instances(name, {disk.instance for disk in pool_use.disks_on(client, name)})
        now = agents.gluster(managed.pool.anchor).volume(name)
        if now is None:
            return
        try:
            images = _images(now)
        except (GanetiGlusterError, OSError):
            if not force:
                raise
            return
        destroy.check_owners(name, images, pool_use.instances(client))
        if not force:
            destroy.check_images(name, images)

    managed = pool_state.find_volume(client, agents, name)
    volume = managed.pool.volume(name)
    unused()
    ganeti = Step(
        "Ganeti without volume %s" % name,
        lambda: pool_use.is_unused(client, name),
        lambda: pool_use.disuse(client, name),
    )
    settings = Step(
        "settings of the pool removed",
        lambda: not pool_use.has_settings(client, name),
        lambda: pool_use.forget_settings(client, name),
    )
    steps = destroy.steps(
        agents, managed.pool, volume, managed.names(), unused=unused, leave=ganeti
    )
    left = [
        str(brick) for brick in volume.bricks if not managed.pool.node_of(brick, managed.names())
    ]
    return [*steps, settings, destroy.dissolve(agents, managed.pool, volume)], left


def _images(volume: VolumeInfo) -> list[str]:
    """The paths of the images on a volume."""
    if not volume.started:
        return []  # half destroyed, or stopped by somebody who knows why
    with connect(VolumeSpec.from_params(volume.params)) as connection:
        return [
            info.path
            for directory in (constants.IMAGE_DIRECTORY, constants.EXT_DIRECTORY)
            if connection.access(directory)
            for info in image.list_images(connection, directory).images
        ]
