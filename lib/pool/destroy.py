"""Undo a volume: nothing of it is left but the file systems its bricks were on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gluster_cli import VolumeBrick, VolumeInfo
from ganeti_gluster.pool.crew import Crew
from ganeti_gluster.pool.members import Pool
from ganeti_gluster.pool.steps import Step

#: Seconds to remove what is in a brick.
DISCARD_SECONDS = 3600


def steps(crew: Crew, pool: Pool, volume: VolumeInfo, nodes: Sequence[str]) -> list[Step]:
    """In an order in which each step is found again: the volume goes after its bricks.

    `nodes` are the cluster's.
    """
    gluster = crew.gluster(pool.anchor)

    def state() -> VolumeInfo | None:
        return gluster.volume(volume.name)

    def is_stopped() -> bool:
        found = state()
        return found is None or not found.started

    def stop() -> None:
        gluster.ask("volume", "stop", volume.name)

    def delete() -> None:
        gluster.ask("volume", "delete", volume.name)
        if state() is not None:
            raise GanetiGlusterError("glusterd deleted volume %s, and still has it" % volume.name)

    def discard(node: str, brick: VolumeBrick) -> None:
        crew.one(node, "discard", timeout=DISCARD_SECONDS, brick=brick.path, volume_id=volume.uuid)

    def is_discarded(node: str, brick: VolumeBrick) -> bool:
        directory, name = os.path.split(brick.path)
        return not crew.one(node, "place", directory=directory, volume=name).brick_exists

    found = [Step("volume %s stopped" % volume.name, is_stopped, stop)]
    for brick in volume.bricks:
        node = pool.node_of(brick, nodes)
        if not node:
            continue  # of a server that Ganeti does not know, or that is offline
        found.append(
            Step(
                "%s: brick %s removed with all that is in it" % (node, brick.path),
                partial(is_discarded, node, brick),
                partial(discard, node, brick),
            )
        )
    return [*found, Step("volume %s deleted" % volume.name, lambda: state() is None, delete)]


def dissolve(crew: Crew, pool: Pool, volume: VolumeInfo) -> Step:
    """The members leave the pool, unless another volume than this one still needs it."""
    gluster = crew.gluster(pool.anchor)

    def needed_or_gone() -> bool:
        others = [found for found in gluster.volumes() if found.name != volume.name]
        return not gluster.peers() or bool(others)

    def detach() -> None:
        for peer in gluster.peers():
            force = [] if peer.connected else ["force"]
            gluster.ask("peer", "detach", peer.hostname, *force)

    return Step("pool dissolved, if it has no other volume", needed_or_gone, detach)
