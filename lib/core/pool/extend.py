"""Add a set of bricks to a volume, as soon as there are enough nodes for a complete one."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti_gluster.core.pool.brick_moves import free_path
from ganeti_gluster.core.pool.build import BRICK_SECONDS, offline_bricks
from ganeti_gluster.core.pool.members import CONNECTED, Pool
from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.core.pool.steps import Say, wait
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Gluster, VolumeInfo


def next_set(
    pool: Pool, volume: VolumeInfo, *, spares: Sequence[str], nodes: Sequence[str], directory: str
) -> list[str]:
    """The bricks of a further set, as the gluster command expects them; [] without enough spares.

    An arbiter only stores names, so it goes to the member with the fewest of them, and two
    spare nodes are enough for a set.
    """
    data = volume.set_size - volume.arbiter
    if len(spares) < data:
        return []
    chosen = list(spares[:data])
    if volume.arbiter:
        arbiters = [brick.server_uuid for brick in volume.bricks if brick.arbiter]
        hosts = [node for node in nodes if node not in chosen and pool.state(node) == CONNECTED]
        if not hosts:
            return []
        chosen.append(min(hosts, key=lambda node: arbiters.count(pool.uuid(node))))
    return [
        "%s:%s" % (pool.host(node), free_path(pool, node, directory, volume.name))
        for node in chosen
    ]


def add(gluster: Gluster, volume: VolumeInfo, bricks: Sequence[str], say: Say) -> None:
    """Add the bricks, and wait until they are online.

    glusterd says success for bricks that it did not take: the state is read back.
    """
    with PostOpDelay(gluster, volume.name, say) as delay:
        delay.switch_off()
        gluster.ask("volume", "add-brick", volume.name, *bricks)
        current = gluster.volume(volume.name)
        has = [str(brick) for brick in current.bricks] if current else []
        if [brick for brick in bricks if brick not in has]:
            raise GanetiGlusterError(
                "glusterd accepted the bricks %s, but does not have them now" % ", ".join(bricks)
            )
        wait(
            "bricks of %s" % volume.name,
            lambda: offline_bricks(gluster, volume.name),
            seconds=BRICK_SECONDS,
        )
        delay.wait_switched()
