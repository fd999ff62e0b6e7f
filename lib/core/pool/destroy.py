"""Destroy a volume; only the file systems of its bricks remain."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import VolumeBrick, VolumeInfo

#: Seconds to remove what is in a brick.
DISCARD_SECONDS = 3600

_SHOWN = 5


class VolumeInUse(GanetiGlusterError):
    """The volume holds what would be lost."""


def check_instances(name: str, instances: Collection[str]) -> None:
    """Raise `VolumeInUse` if an instance has a disk on the volume."""
    if instances:
        raise VolumeInUse(
            "volume %s has disks of instances: %s" % (name, ", ".join(sorted(instances))),
            hint="remove or move these instances first",
        )


def check_owners(name: str, images: Sequence[str], instances: Mapping[str, str]) -> None:
    """Raise `VolumeInUse` if instances have images there that Ganeti looks for elsewhere.

    `instances`: the names of all instances by UUID, with which their images' names begin.
    """
    owners = {
        owner
        for path in images
        for uuid, owner in instances.items()
        if path.rpartition("/")[2].startswith(uuid)
    }
    if owners:
        raise VolumeInUse(
            "volume %s has images of instances whose disks Ganeti looks for on another volume: %s"
            % (name, ", ".join(sorted(owners))),
            hint="set gluster:volume back to %s (gnt-cluster modify -D), or remove these"
            " instances first" % name,
        )


def check_images(name: str, images: Sequence[str]) -> None:
    """Raise `VolumeInUse` if the volume has images that belong to no instance."""
    if images:
        shown = ", ".join(images[:_SHOWN])
        raise VolumeInUse(
            "volume %s has %d image(s) that belong to no instance: %s%s"
            % (name, len(images), shown, " …" if len(images) > _SHOWN else ""),
            hint="use --force to destroy them as well",
        )


def steps(
    agents: Agents,
    pool: Pool,
    volume: VolumeInfo,
    nodes: Sequence[str],
    *,
    unused: Callable[[], None],
    leave: Step,
) -> list[Step]:
    """In an order in which each step is found again: the volume goes after its bricks.

    `nodes` are the cluster's.  `leave` makes Ganeti stop using the volume, and `unused` raises
    `VolumeInUse` if it is in use all the same.  It is called three times: first, because the
    administrator may have taken long to confirm; after `leave`, which does not prevent new
    disks by the ExtStorage provider, or if gluster is the only template; and when nobody can
    write there any more, after which there is no way back.
    """
    gluster = agents.gluster(pool.anchor)

    def state() -> VolumeInfo | None:
        return gluster.volume(volume.name)

    def is_stopped() -> bool:
        info = state()
        return info is None or not info.started

    def stop() -> None:
        unused()
        gluster.ask("volume", "stop", volume.name)
        try:
            unused()
        except GanetiGlusterError:
            gluster.ask("volume", "start", volume.name)
            raise

    def delete() -> None:
        gluster.ask("volume", "delete", volume.name)
        if state() is not None:
            raise GanetiGlusterError(
                "glusterd deleted volume %s, but still lists it" % volume.name
            )

    def discard(node: str, brick: VolumeBrick) -> None:
        agents.one(
            node,
            "discard",
            timeout=DISCARD_SECONDS,
            brick=brick.path,
            volume=volume.name,
            volume_id=volume.uuid,
        )

    def is_discarded(node: str, brick: VolumeBrick) -> bool:
        directory, name = os.path.split(brick.path)
        return not agents.one(node, "place", directory=directory, volume=name).brick_exists

    in_order = [
        Step("volume %s is not in use" % volume.name, lambda: False, unused),
        leave,
        Step("volume %s stopped" % volume.name, is_stopped, stop),
    ]
    for brick in volume.bricks:
        node = pool.node_of(brick, nodes)
        if not node:
            continue  # of a server that Ganeti does not know, or that is offline
        in_order.append(
            Step(
                "%s: brick %s removed with its contents" % (node, brick.path),
                partial(is_discarded, node, brick),
                partial(discard, node, brick),
            )
        )
    return [*in_order, Step("volume %s deleted" % volume.name, lambda: state() is None, delete)]


def dissolve(agents: Agents, pool: Pool, volume: VolumeInfo) -> Step:
    """The members leave the pool, unless another volume than this one still needs it."""
    gluster = agents.gluster(pool.anchor)

    def needed_or_gone() -> bool:
        others = [each for each in gluster.volumes() if each.name != volume.name]
        return not gluster.peers() or bool(others)

    def detach() -> None:
        for peer in gluster.peers():
            force = [] if peer.connected else ["force"]
            gluster.ask("peer", "detach", peer.hostname, *force)

    return Step("pool dissolved if it has no other volume", needed_or_gone, detach)
