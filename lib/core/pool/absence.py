"""Whether a node may be away for a while, and what has to run there when it is back.

While a node is away, each set of its bricks has one brick less.  Guests notice nothing if the
other bricks are there and have everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ganeti_gluster.core.pool import copies, profile
from ganeti_gluster.core.pool.agents import AgentFailed, Agents
from ganeti_gluster.core.pool.build import BRICK_SECONDS, PEER_SECONDS
from ganeti_gluster.core.pool.copies import BEHIND_SECONDS, NotWhole
from ganeti_gluster.core.pool.healing import HEAL_SECONDS
from ganeti_gluster.core.pool.members import CONNECTED, Pool
from ganeti_gluster.core.pool.state import lost_sets
from ganeti_gluster.core.pool.steps import Say, Step, wait
from ganeti_gluster.core.pool.tls import UNIT_SECONDS
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import GlusterFailed, Peer, VolumeBrick, VolumeInfo
from ganeti_gluster.tools.gluster_cli.peers import REJECTED

_SERVER_QUORUM = "cluster.server-quorum-type"
SELF_HEAL = "Self-heal Daemon"
#: Of peers that reject each other, as after an upgrade of some nodes.
REJECTED_REMEDY = (
    "the configuration of a volume differs; gnt-gluster verify says on which node, and what to do"
    " there (VOLUME_CONFIG)"
)


class CannotBeAway(GanetiGlusterError):
    """Images could not be used, or the only good copy would be missing, without a node."""


def check(
    agents: Agents,
    pool: Pool,
    node: str,
    nodes: Sequence[str],
    *,
    resting: Collection[str] = (),
) -> None:
    """Raise `CannotBeAway` with all reasons, if the pool needs a node now.

    `nodes` are those that can be contacted.  `resting` are nodes that may be taken away at any
    time, so nothing depends on them.
    """
    if pool.state(node) != CONNECTED:
        raise CannotBeAway(
            "node %s is %s in the pool" % (node, pool.state(node)),
            hint="see gnt-gluster pool status",
        )
    others = [name for name in resting if name != node]
    reasons = list(_quorum(pool, node, others))
    for volume, brick in pool.bricks_on(node):
        if volume.started:
            reasons += _brick(agents, pool, volume, brick, nodes, others)
    if reasons:
        raise CannotBeAway(
            "node %s is needed: %s" % (node, "; ".join(dict.fromkeys(reasons))),
            hint="see gnt-gluster pool status",
        )


def _quorum(pool: Pool, node: str, resting: Collection[str]) -> Iterator[str]:
    """Without a majority of the servers, glusterd stops the bricks of those that are left."""
    guarded = [
        volume.name
        for volume in pool.volumes
        if volume.started and profile.normal(volume.options.get(_SERVER_QUORUM, "")) == "server"
    ]
    gone = {pool.uuid(name) for name in (*resting, node)}
    away = [peer.hostname for peer in pool.peers if not peer.sound or peer.uuid in gone]
    members = 1 + len(pool.peers)
    left = members - len(away) - (1 if pool.own_uuid in gone else 0)
    if guarded and 2 * left <= members:
        yield "only %d of %d servers would be left, so the bricks of volume %s would stop" % (
            left,
            members,
            ", ".join(guarded),
        )


def _brick(
    agents: Agents,
    pool: Pool,
    volume: VolumeInfo,
    brick: VolumeBrick,
    nodes: Sequence[str],
    resting: Collection[str],
) -> Iterator[str]:
    """Why a brick has to be there."""
    gluster = agents.gluster(pool.anchor)
    if lost_sets(volume, [brick]):
        yield "volume %s cannot be used without brick %s" % (volume.name, brick)
        return
    others = [other for other in volume.set_of(brick) if other != brick]
    down = gluster.status(volume.name).offline(others)
    for other in down:
        yield "brick %s of the same set is not online" % other
    for name in resting:
        if any(pool.uuid(name) == other.server_uuid for other in others if other not in down):
            yield "node %s, with a brick of the same set of volume %s, is in maintenance" % (
                name,
                volume.name,
            )
    if down:
        return
    yield from _behind(agents, pool, volume, brick, nodes)


def _behind(
    agents: Agents, pool: Pool, volume: VolumeInfo, brick: VolumeBrick, nodes: Sequence[str]
) -> Iterator[str]:
    """What waits for a heal in the set of a brick, whichever of its bricks lacks it."""
    if volume.replica < 2:
        counts = agents.gluster(pool.anchor).heal_counts(volume.name, timeout=HEAL_SECONDS)
        late = max((count.total or 0 for count in counts), default=0)
        if late:
            yield "%d entries of volume %s are not healed" % (late, volume.name)
        return
    try:
        copies.need_others(agents, pool, nodes, volume, brick)
        own = agents.one(
            pool.node_of(brick, nodes),
            "behind",
            timeout=BEHIND_SECONDS,
            brick=brick.path,
            volume=volume.name,
        )
    except NotWhole as err:
        yield err.message
        return
    if any(own.values()):
        yield "not healed yet: %s" % ", ".join(
            "%s (%d files)" % pair for pair in sorted(own.items()) if pair[1]
        )


def glusterd_step(agents: Agents, pool: Pool, node: str, nodes: Sequence[str]) -> Step:
    """glusterd runs on a node, and all members are connected with it."""

    def start() -> None:
        agents.one(node, "start-glusterd", timeout=2 * UNIT_SECONDS)
        wait("pool", lambda: apart(agents, pool, node, nodes), seconds=PEER_SECONDS)

    def runs() -> bool:
        try:
            return not apart(agents, pool, node, nodes)
        except (GlusterFailed, CommandFailed, AgentFailed):
            return False

    return Step("%s: glusterd runs and is connected" % node, runs, start)


def apart(agents: Agents, pool: Pool, node: str, nodes: Sequence[str]) -> str:
    """Which members do not see a node, or are not seen by it; "" if all do."""
    uuid = agents.gluster(node).own_uuid()
    own = agents.gluster(node).peers()
    for other in nodes:
        if other == node or pool.state(other) != CONNECTED:
            continue
        theirs = agents.gluster(other).peers()
        problem = _view(node, own, other, pool.uuid(other)) or _view(other, theirs, node, uuid)
        if problem:
            return problem
    return ""


def _view(viewer: str, peers: Collection[Peer], seen: str, uuid: str) -> str:
    """How a member sees another one, "" if it is connected."""
    found = [peer for peer in peers if peer.uuid == uuid]
    if any(peer.sound for peer in found):
        return ""
    if any(peer.state == REJECTED for peer in found):
        return "%s rejects %s: %s" % (viewer, seen, REJECTED_REMEDY)
    return "%s does not see %s as Peer in Cluster (Connected)" % (viewer, seen)


def bricks_step(agents: Agents, pool: Pool, node: str, volume: VolumeInfo, say: Say) -> Step:
    """All bricks that a node has of a volume run, and its self-heal daemon."""
    gluster = agents.gluster(pool.anchor)
    bricks = [brick for one, brick in pool.bricks_on(node) if one.name == volume.name]
    uuid = pool.uuid(node)

    def missing() -> str:
        status = gluster.status(volume.name)
        down = [str(brick) for brick in status.offline(bricks)]
        down += [
            "the self-heal daemon of %s" % node
            for daemon in status.daemons
            if daemon.kind == SELF_HEAL and daemon.server_uuid == uuid and not daemon.online
        ]
        return "not online: %s" % ", ".join(down) if down else ""

    def start() -> None:
        for brick in gluster.status(volume.name).offline(bricks):
            directory, _, name = brick.path.rpartition("/")
            place = agents.one(node, "place", directory=directory, volume=name)
            if volume.uuid and place.volume_id != volume.uuid:
                raise GanetiGlusterError(
                    "%s is not mounted, or is not the brick of volume %s" % (brick, volume.name),
                    hint="mount its file system on %s and run the command again" % node,
                )
        gluster.ask("volume", "start", volume.name, "force")
        wait("volume %s" % volume.name, missing, seconds=BRICK_SECONDS, say=say)

    return Step(
        "volume %s: bricks and self-heal daemon of %s online" % (volume.name, node),
        lambda: not missing(),
        start,
    )
