"""`pool rebalance`: use added bricks for images, when this is safe."""

from __future__ import annotations

from typing import Any

from ganeti_gluster.cmdlib import pool_state, pool_use
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.steps import Say, Step, wait
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed, tasks

#: Seconds that a rebalance may take; it goes on when nobody waits for it any more.
SECONDS = 7 * 24 * 3600

#: Words in glusterd's states, as "fix-layout stopped", after which it goes on no more; and ours.
_ENDS = {
    tasks.COMPLETED: "completed",
    "failed": "failed",
    "stopped": "been stopped",
    "reset": "been ended by another change of the volume",
}


def steps(
    name: str, client: Any, agents: Agents, say: Say, *, move_data: bool, force: bool
) -> list[Step]:
    """New pieces of images go to all bricks; with `move_data` old ones as well.

    Refused while instances run there, unless `force`: GlusterFS before 11.1 has
    corrupted images that were in use.
    """
    managed = pool_state.find_volume(client, agents, name)
    managed.pool.volume(name)
    running = pool_use.running_on(client, name)
    if running and not force:
        raise GanetiGlusterError(
            "instances are running on volume %s, and a rebalance may damage their images: %s"
            % (name, ", ".join(running)),
            hint="shut them down first, or use --force",
        )
    gluster = agents.gluster(managed.pool.anchor)
    words = ("volume", "rebalance", name, *(() if move_data else ("fix-layout",)), "start")

    def rebalance() -> None:
        gluster.ask(*words)
        wait("rebalance", lambda: _unfinished(gluster, name), seconds=SECONDS, say=say)

    return [
        Step(
            "volume %s: %s"
            % (name, "images moved" if move_data else "layout extended to all bricks"),
            lambda: False,
            rebalance,
        )
    ]


def _unfinished(gluster: Gluster, name: str) -> str:
    try:
        status = tasks.parse(gluster.ask("volume", "rebalance", name, "status"))
    except GlusterFailed as err:
        return str(err)
    if tasks.COMPLETED in status.state and not status.failures:
        return ""
    for end, said in _ENDS.items():
        if end in status.state:
            raise RebalanceFailed(
                "the rebalance of %s has %s%s"
                % (
                    name,
                    said,
                    ", with %d failures" % status.failures if status.failures else "",
                ),
                hint="see /var/log/glusterfs/%s-rebalance.log on the servers" % name,
            )
    return "%s: %d files moved" % (status.state, status.files)


class RebalanceFailed(GanetiGlusterError):
    """glusterd gave up, or somebody stopped it."""
