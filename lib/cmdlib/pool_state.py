"""The existing pool, compared with Ganeti's nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ganeti import ssconf

from ganeti_gluster.cmdlib import cluster, pool_use, volumes
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.core.pool import identities, members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.shape import Shape
from ganeti_gluster.core.pool.state import VolumeState, of_glusterd
from ganeti_gluster.core.verify.maintenance import TAG
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    Gluster,
    GlusterFailed,
    VolumeInfo,
    VolumeStatus,
)

#: Seconds for an answer about heals, which takes long where there is much to heal.
HEAL_SECONDS = 60


@dataclass(frozen=True)
class ManagedPool:
    """The pool, the nodes of Ganeti, and how each volume is to be kept.

    `refused` is why that is not valid of some volumes.
    """

    pool: Pool
    nodes: tuple[ClusterNode, ...]
    settings: dict[str, Settings]
    refused: dict[str, str]

    def names(self, group: str = "") -> list[str]:
        """The nodes that are not offline, of a group if one is given."""
        return [node.name for node in self.nodes if not node.offline and group in ("", node.group)]

    def all_names(self) -> list[str]:
        """All nodes, those offline as well."""
        return [node.name for node in self.nodes]


def find_all(client: Any, agents: Agents) -> list[ManagedPool]:
    """The pools that the cluster's nodes are in; raises `GanetiGlusterError` if in none.

    The master is asked first.  As a rule there is one; node groups may have their own.
    """
    nodes = cluster.nodes(client)
    master = ssconf.SimpleStore().GetMasterNode()
    online = [node.name for node in nodes if not node.offline]
    asked = [name for name in online if name == master]
    asked += [name for name in online if name != master]
    kept, refused = pool_use.read_settings(client), pool_use.refused_settings(client)
    addresses = {node.name: node.addresses for node in nodes}
    pools = members.find_all(agents, asked, addresses, identities.load())
    return [ManagedPool(pool, tuple(nodes), kept, refused) for pool in pools]


def find_volume(client: Any, agents: Agents, name: str) -> ManagedPool:
    """The pool with this volume; the first one if there is no such volume."""
    pools = find_all(client, agents)
    pool = members.with_volume([one.pool for one in pools], name)
    return next(one for one in pools if one.pool is pool)


def find_node(client: Any, agents: Agents, *nodes: str) -> ManagedPool:
    """The pool with the first of these nodes that is in any; the first one if none is."""
    return _with_node(find_all(client, agents), *nodes)


def find_known(client: Any, agents: Agents, node: str, *others: str) -> ManagedPool:
    """As `find_node`, for what would touch a node's bricks; raises as `need_known`."""
    pools = find_all(client, agents)
    need_known(pools, node, agents)
    return _with_node(pools, node, *others)


def _with_node(pools: Sequence[ManagedPool], *nodes: str) -> ManagedPool:
    pool = members.with_node([one.pool for one in pools], *nodes)
    return next(one for one in pools if one.pool is pool)


def describe(pools: Sequence[ManagedPool], agents: Agents) -> dict[str, Any]:
    """The pools as plain data, for a table or JSON; sizes are bytes."""
    everyone = pools[0].nodes
    return {
        "nodes": [_node(_of_node(pools, node.name), node) for node in everyone],
        "volumes": [
            _volume(managed, agents, volume)
            for managed in pools
            for volume in managed.pool.volumes
        ],
        "others": sorted(
            peer.hostname
            for managed in pools
            for peer in managed.pool.peers
            if peer.uuid not in {managed.pool.uuid(name) for name in managed.all_names()}
        ),
    }


def _of_node(pools: Sequence[ManagedPool], node: str) -> ManagedPool:
    return next((managed for managed in pools if managed.pool.uuid(node)), pools[0])


def _node(managed: ManagedPool, node: ClusterNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "offline": node.offline,
        "maintenance": TAG in node.tags,
        "peer": managed.pool.state(node.name),
        "bricks": [str(brick) for _, brick in managed.pool.bricks_on(node.name)],
    }


def _volume(managed: ManagedPool, agents: Agents, volume: VolumeInfo) -> dict[str, Any]:
    kept = managed.settings.get(volume.name)
    state, error = look(agents.gluster(managed.pool.anchor), volume)
    free = _free(volume)
    return {
        "name": volume.name,
        "shape": str(Shape.of(volume)),
        "state": volume.state,
        "bricks": [str(brick) for brick in volume.bricks],
        "offline": [brick.name for brick in state.down],
        "heal_pending": state.heals,
        "on_node_add": kept.node_add if kept else None,
        "settings_refused": managed.refused.get(volume.name),
        "spares": (
            members.ready_spares(
                agents, managed.pool, volume, managed.names(kept.group), kept.directory
            )
            if kept
            else []
        ),
        **({"free": free} if free is not None else {}),
        **({"error": error} if error else {}),
    }


def _free(volume: VolumeInfo) -> int | None:
    """The free bytes, None for a volume that does not answer."""
    if not volume.started:
        return None
    try:
        return volumes.space(VolumeSpec.from_params(volume.params)).free
    except (GanetiGlusterError, OSError):
        return None


def look(gluster: Gluster, volume: VolumeInfo) -> tuple[VolumeState, str]:
    """The state of a volume as glusterd reports it, and what went wrong with that."""
    status: VolumeStatus | None = None
    heals: list[BrickHeal] = []
    error = ""
    try:
        if volume.started:
            status = gluster.status(volume.name)
            if volume.set_size > 1:
                heals = gluster.heal_counts(volume.name, timeout=HEAL_SECONDS)
    except GlusterFailed as err:
        error = str(err)
    return of_glusterd(volume, status, heals), error


def need_known(pools: Sequence[ManagedPool], node: str, agents: Agents) -> None:
    """Raise `GanetiGlusterError` if a node that seems to be in no pool may yet have bricks there.

    If a node is gone and Ganeti has other addresses for it than GlusterFS, nothing says which
    server it is.
    """
    if any(managed.pool.uuid(node) for managed in pools):
        return
    bricks = [b for one in pools for b in one.pool.unknown_bricks(one.all_names())]
    if bricks and not _tells_itself(agents, node):
        raise GanetiGlusterError(
            "node %s may be the server of bricks that are down, since that is no node that Ganeti"
            " knows: %s" % (node, ", ".join(dict.fromkeys(map(str, bricks)))),
            hint="start that server and run gnt-cluster verify, or move the bricks with gluster"
            " volume replace-brick",
        )


def _tells_itself(agents: Agents, node: str) -> bool:
    try:
        return bool(agents.gluster(node).own_uuid())
    except (GlusterFailed, CommandFailed):
        return False


def need(managed: ManagedPool, name: str) -> ClusterNode:
    """The node of this name; raises `GanetiGlusterError` if Ganeti has none."""
    for node in managed.nodes:
        if node.name == name:
            return node
    raise GanetiGlusterError("%s is not a node of this cluster" % name)
