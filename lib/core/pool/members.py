"""An existing pool: its members, their bricks, and members without bricks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganeti_gluster.core.pool import hosts
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.hosts import PRIMARY, STORAGE, Addresses, node_of
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed, Peer, VolumeBrick, VolumeInfo

CONNECTED = "connected"
DISCONNECTED = "disconnected"
OUTSIDE = "not in the pool"


@dataclass(frozen=True)
class Pool:
    """The pool as the glusterd of `anchor` sees it; `addresses` are the nodes' own.

    A node of Ganeti is found in it by its name, its addresses or another name for them, and
    from then on by the UUID of its glusterd, since a peer and a brick's server may have been
    named in any way.  `told` are the UUIDs that other nodes have reported for themselves, or
    had when they were last seen.
    """

    anchor: str
    own_uuid: str
    peers: tuple[Peer, ...]
    volumes: tuple[VolumeInfo, ...]
    addresses: Addresses
    told: Mapping[str, str] = field(default_factory=dict)

    def uuid(self, node: str) -> str:
        """The UUID of a node's glusterd, "" if it is not in the pool."""
        if node == self.anchor:
            return self.own_uuid
        peer = self.peer(node)
        return peer.uuid if peer else ""

    def peer(self, node: str) -> Peer | None:
        """The node as the anchor's peer."""
        uuid = self.told.get(node)
        if uuid:
            return next((peer for peer in self.peers if peer.uuid == uuid), None)
        addresses = {**self.addresses, node: self.addresses.get(node, ())}
        return next((peer for peer in self.peers if node_of(peer.names, addresses) == node), None)

    def has_peer(self, uuid: str) -> bool:
        """Whether a member other than the anchor has this UUID."""
        return any(peer.uuid == uuid for peer in self.peers)

    def state(self, node: str) -> str:
        """How the anchor sees the node, in a word or glusterd's own."""
        if node == self.anchor:
            return CONNECTED
        peer = self.peer(node)
        if peer is None:
            return OUTSIDE
        if peer.sound:
            return CONNECTED
        return DISCONNECTED if not peer.connected else peer.state_text

    def volume(self, name: str) -> VolumeInfo:
        """The volume; raises `GanetiGlusterError` if there is none of this name."""
        for volume in self.volumes:
            if volume.name == name:
                return volume
        raise GanetiGlusterError("there is no volume %s in the pool of %s" % (name, self.anchor))

    def bricks_on(self, node: str) -> list[tuple[VolumeInfo, VolumeBrick]]:
        """The bricks of a node, each with its volume."""
        uuid = self.uuid(node)
        return [
            (volume, brick)
            for volume in self.volumes
            for brick in volume.bricks
            if uuid and brick.server_uuid == uuid
        ]

    def without_brick(self, volume: VolumeInfo, nodes: Sequence[str]) -> list[str]:
        """Those of the nodes that are connected members and have no brick of the volume."""
        used = {brick.server_uuid for brick in volume.bricks}
        return [
            node for node in nodes if self.state(node) == CONNECTED and self.uuid(node) not in used
        ]

    @property
    def network(self) -> str:
        """The network in which most servers of bricks are named."""
        servers = {
            brick.server_uuid: brick.server for volume in self.volumes for brick in volume.bricks
        }
        named = {
            node: servers[self.uuid(node)] for node in self.addresses if self.uuid(node) in servers
        }
        storage = [
            node
            for node, server in named.items()
            if server != node and _is_at(server, hosts.secondary(self.addresses[node]))
        ]
        return STORAGE if 2 * len(storage) > len(named) else PRIMARY

    def host(self, node: str) -> str:
        """What a node is called as a server of bricks.

        As its bricks are named now.  A node without bricks is called as the network of the pool
        requires, by a name that it has as a member if there is one.
        """
        for _, brick in self.bricks_on(node):
            return brick.server
        wanted = hosts.host_in(self.network, node, self.addresses)
        peer = self.peer(node)
        if peer is None or wanted in peer.names:
            return wanted
        own = self.addresses.get(node, ())
        address = wanted if wanted != node else next(iter(own), "")
        return next((name for name in peer.names if _is_at(name, address)), peer.hostname)

    def unknown_bricks(self, nodes: Sequence[str]) -> list[VolumeBrick]:
        """The bricks on servers that are not connected, and are none of these nodes.

        Such a server may be a node that is gone, and that Ganeti knows by other addresses.
        """
        known = {self.uuid(node) for node in nodes}
        gone = {peer.uuid for peer in self.peers if not peer.connected} - known
        return [b for volume in self.volumes for b in volume.bricks if b.server_uuid in gone]

    def node_of(self, brick: VolumeBrick, nodes: Sequence[str]) -> str:
        """The node of Ganeti that has the brick, "" if none of these."""
        return next((node for node in nodes if self.uuid(node) == brick.server_uuid), "")


def _is_at(host: str, address: str) -> bool:
    return bool(address) and (host == address or address in hosts.resolve(host))


def read(
    gluster: Gluster, anchor: str, addresses: Addresses, told: Mapping[str, str] | None = None
) -> Pool:
    """The pool as it is now; `gluster` is the anchor's, `told` as in `Pool`."""
    return Pool(
        anchor,
        gluster.own_uuid(),
        tuple(gluster.peers()),
        tuple(gluster.volumes()),
        addresses,
        told or {},
    )


def find_all(
    agents: Agents, nodes: Sequence[str], addresses: Addresses, seen: Mapping[str, str]
) -> list[Pool]:
    """The pools that the nodes are in, each as the first of its members sees it.

    `seen` are UUIDs that nodes had when they were last seen; they count for nodes that do not
    answer and are known by no name, see `_with_seen`.  Raises `GanetiGlusterError` if no node is
    in a pool.
    """
    pools: list[Pool] = []
    answered = set()
    reasons = []
    for node in nodes:
        if any(pool.uuid(node) for pool in pools):
            continue
        try:
            gluster = agents.gluster(node)
            uuid = gluster.own_uuid()
            answered.add(node)
            known = next((pool for pool in pools if pool.has_peer(uuid)), None)
            if known is not None:
                pools[pools.index(known)] = replace(known, told={**known.told, node: uuid})
                continue
            pool = read(gluster, node, addresses)
        except (GlusterFailed, CommandFailed) as err:
            reasons.append("%s: %s" % (node, err))
            continue
        if pool.peers or pool.volumes:
            pools.append(pool)
    if pools:
        return [_with_seen(pool, seen, answered) for pool in pools]
    raise GanetiGlusterError(
        "no node is in a Gluster pool%s" % "".join("; %s" % reason for reason in reasons),
        hint="create one with gnt-gluster pool create",
    )


def _with_seen(pool: Pool, seen: Mapping[str, str], answered: Collection[str]) -> Pool:
    """The pool with what was seen of nodes, but not where one that `answered` is another machine.

    It is if the member that had its name is connected.  One that is not may have been this node
    before it was installed again.
    """
    connected = {peer.uuid for peer in pool.peers if peer.connected}
    owned = {pool.uuid(node) for node in pool.addresses}
    more = {
        node: uuid
        for node, uuid in seen.items()
        if not pool.uuid(node)
        and pool.has_peer(uuid)
        and uuid not in owned
        and not (node in answered and uuid in connected)
    }
    return replace(pool, told={**more, **pool.told})


def with_volume(pools: Sequence[Pool], name: str) -> Pool:
    """The pool that has a volume, the first one if none has."""
    with_it = [pool for pool in pools if name in [volume.name for volume in pool.volumes]]
    return (with_it or list(pools))[0]


def with_node(pools: Sequence[Pool], *nodes: str) -> Pool:
    """The pool that has the first of the nodes that is in any, else the first one."""
    with_one = [pool for node in nodes for pool in pools if pool.uuid(node)]
    return (with_one or list(pools))[0]


def ready_spares(
    agents: Agents, pool: Pool, volume: VolumeInfo, nodes: Sequence[str], directory: str
) -> list[str]:
    """Those of the nodes that could take a brick of the volume at once.

    They are members without one, and the place for it is there and empty.
    """
    candidates = pool.without_brick(volume, nodes)
    arguments = {"directory": directory, "volume": volume.name}
    answers, _ = agents.try_all("ready", dict.fromkeys(candidates, arguments))
    return [node for node in candidates if answers.get(node)]
