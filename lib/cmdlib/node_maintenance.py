"""`node maintenance`: a node is made ready to be taken away for a while, and taken back.

A node in maintenance is drained in Ganeti, so that nothing is placed on it, and has a tag, by
which other commands know that nothing may depend on it.  Ganeti's own jobs move its instances.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from ganeti import constants, opcodes

from ganeti_gluster.cmdlib import cluster, pool_state
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import absence
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.healing import Healer
from ganeti_gluster.core.pool.steps import Say, Step
from ganeti_gluster.core.verify.maintenance import KEPT_DRAINED, TAG, UPGRADING
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter

MIGRATE, FAILOVER = "migrate", "failover"
MOVED = {MIGRATE: "migrated", FAILOVER: "failed over"}


class NodeInUse(GanetiGlusterError):
    """Instances run on a node that is to be taken away."""


@dataclass(frozen=True)
class Away:
    """How instances are moved away: `MIGRATE`, `FAILOVER` or not at all; and where to.

    Without a `target` the cluster's default iallocator chooses.  Where there is none, it is the
    node of the same group with the most free memory.
    """

    how: str = ""
    target: str | None = None


@dataclass(frozen=True)
class Guest:
    """An instance that runs on a node, or is meant to."""

    name: str
    template: str

    @property
    def movable(self) -> bool:
        """Whether Ganeti can start it on another node without copying its disks."""
        return self.template in constants.DTS_MIRRORED


def guests(client: Any, node: str) -> list[Guest]:
    """The instances of a node that run or are meant to, by name."""
    fields = ["name", "pnode", "admin_state", "oper_state", "disk_template"]
    return sorted(
        (
            Guest(name, template)
            for name, primary, wanted, running, template in client.QueryInstances(
                [], fields, False
            )
            if primary == node and (running or wanted == constants.ADMINST_UP)
        ),
        key=lambda guest: guest.name,
    )


def resting(nodes: Collection[ClusterNode]) -> list[str]:
    """The nodes that are in maintenance."""
    return [node.name for node in nodes if TAG in node.tags]


def entering(node: str, client: Any, agents: Agents, away: Away, say: Say) -> list[Step]:
    """The steps after which a node may be taken away; refuses where it is needed."""
    managed = pool_state.find_node(client, agents, node)
    found = pool_state.need(managed, node)
    if found.role == constants.NR_MASTER:
        raise InvalidParameter(
            "node %s is the master, which cannot be drained" % node,
            hint="first run gnt-cluster master-failover on another node",
        )
    if away.target is not None and pool_state.need(managed, away.target).name == node:
        raise InvalidParameter("instances of node %s cannot be moved to itself" % node)
    look = partial(check, client, agents, node)
    look()
    there = guests(client, node)
    _check_guests(node, there, away)
    return [
        mark_step(node, client, look),
        *moves(node, client, there, away, look),
        free_step(node, client, look, say),
    ]


def mark_step(
    node: str, client: Any, check: Callable[[], None], *tags: str, drained: bool = True
) -> Step:
    """The tag of a node in maintenance, and these; `drained`: nothing is placed on it as well."""

    def is_marked() -> bool:
        row = _row(client, node)
        is_drained = not drained or row.role == constants.NR_DRAINED
        return {TAG, *tags} <= row.tags and is_drained

    return Step(
        "%s: marked as in maintenance%s" % (node, ", and drained in Ganeti" if drained else ""),
        is_marked,
        _after(check, lambda: _mark(client, node, tags, drained=drained)),
    )


def _check_guests(node: str, there: Collection[Guest], away: Away) -> None:
    if not away.how and there:
        raise NodeInUse(
            "instances run on node %s: %s" % (node, ", ".join(guest.name for guest in there)),
            hint="use --migrate or --failover to move them to other nodes",
        )
    fixed = [guest.name for guest in there if not guest.movable]
    if fixed:
        raise NodeInUse(
            "instances on node %s have their disks on that node only: %s"
            % (node, ", ".join(fixed)),
            hint="shut them down first",
        )


def moves(
    node: str, client: Any, there: Collection[Guest], away: Away, check: Callable[[], None]
) -> list[Step]:
    """A step for each instance that moves away; `check` looks whether it still may."""
    return [
        Step(
            "instance %s %s from %s%s"
            % (guest.name, MOVED[away.how], node, " to %s" % away.target if away.target else ""),
            partial(_is_away, client, guest.name, node),
            _after(check, partial(move, client, guest, node, away)),
        )
        for guest in there
    ]


def free_step(node: str, client: Any, check: Callable[[], None], say: Say) -> Step:
    """Look once more, when all is done that takes its time."""

    def look() -> None:
        there = guests(client, node)
        if there:
            raise NodeInUse(
                "instances have been started on node %s: %s"
                % (node, ", ".join(guest.name for guest in there)),
                hint="run the command again",
            )
        check()

    return Step("%s: not needed by the pool or by instances" % node, lambda: False, look)


def leaving(node: str, client: Any, agents: Agents, say: Say) -> list[Step]:
    """The steps that take a node back: all runs there, is healed, and it is used again."""
    managed = pool_state.find_node(client, agents, node)
    if pool_state.need(managed, node).offline:
        raise InvalidParameter(
            "node %s is offline in Ganeti" % node,
            hint="first run gnt-node modify --offline no %s" % node,
        )
    return [*running(node, managed, agents, say), unmark_step(node, client)]


def unmark_step(node: str, client: Any, *, drained: bool = True) -> Step:
    """The end of a maintenance that began with `mark_step`."""
    return Step(
        "%s: maintenance ended%s" % (node, ", and no longer drained in Ganeti" if drained else ""),
        lambda: not _own_tags(client, node),
        lambda: _unmark(client, node),
    )


def running(node: str, managed: ManagedPool, agents: Agents, say: Say) -> list[Step]:
    """The steps after which a node's part of the pool runs and is healed."""
    pool, names = managed.pool, managed.names()
    steps = [absence.glusterd_step(agents, pool, node, names)]
    healer = Healer(agents, pool, names, say)
    for volume in pool.volumes:
        if volume.started and any(one.name == volume.name for one, _ in pool.bricks_on(node)):
            steps.append(absence.bricks_step(agents, pool, node, volume, say))
            if volume.set_size > 1:
                steps.append(
                    Step(
                        "volume %s: everything healed" % volume.name,
                        lambda: False,
                        partial(healer.heal, volume.name),
                    )
                )
    return steps


def _after(check: Callable[[], None], do: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        check()
        do()

    return run


def check(client: Any, agents: Agents, node: str) -> None:
    """Raise `CannotBeAway` if the pool needs the node now; looks at everything again."""
    managed = pool_state.find_node(client, agents, node)
    absence.check(agents, managed.pool, node, managed.names(), resting=resting(managed.nodes))


def _row(client: Any, node: str) -> ClusterNode:
    return cluster.find(cluster.nodes(client), node)


def _own_tags(client: Any, node: str) -> list[str]:
    return sorted({TAG, KEPT_DRAINED, UPGRADING} & _row(client, node).tags)


def _mark(client: Any, node: str, more: Collection[str], *, drained: bool) -> None:
    row = _row(client, node)
    tags = [tag for tag in (TAG, *more) if tag not in row.tags]
    if TAG in tags and drained and row.role == constants.NR_DRAINED:
        # Whether it is drained already is written down first, so that nobody takes this for ours.
        tags.append(KEPT_DRAINED)
    if tags:
        op = opcodes.OpTagsSet(kind=constants.TAG_NODE, name=row.name, tags=tags)
        cluster.job(op, client)
    if drained and row.role != constants.NR_DRAINED:
        op = opcodes.OpNodeSetParams(node_name=row.name, drained=True, auto_promote=True)
        cluster.job(op, client)


def _unmark(client: Any, node: str) -> None:
    row = _row(client, node)
    if KEPT_DRAINED not in row.tags and row.role == constants.NR_DRAINED:
        cluster.job(opcodes.OpNodeSetParams(node_name=row.name, drained=False), client)
    op = opcodes.OpTagsDel(
        kind=constants.TAG_NODE, name=row.name, tags=_own_tags(client, row.name)
    )
    cluster.job(op, client)


def _is_away(client: Any, instance: str, node: str) -> bool:
    return instance not in {guest.name for guest in guests(client, node)}


def move(client: Any, guest: Guest, node: str, away: Away) -> None:
    """Have Ganeti move an instance away from a node; raises if it is still there."""
    named: dict[str, Any] = {"instance_name": guest.name}
    # An instance on DRBD has one node only to go to.
    if guest.template in constants.DTS_EXT_MIRROR:
        target = away.target
        if target is None and not client.QueryClusterInfo()["default_iallocator"]:
            target = _roomiest(client, node)
        named["target_node"] = target
    make = opcodes.OpInstanceMigrate if away.how == MIGRATE else opcodes.OpInstanceFailover
    cluster.job(make(**named), client)
    if not _is_away(client, guest.name, node):
        raise GanetiGlusterError(
            "Ganeti moved instance %s, but it is still on %s" % (guest.name, node)
        )


def _roomiest(client: Any, node: str) -> str:
    """The node of the same group that has the most free memory, of those that take instances."""
    nodes = cluster.nodes(client)
    group = cluster.find(nodes, node).group
    usual = (constants.NR_MASTER, constants.NR_MCANDIDATE, constants.NR_REGULAR)
    fit = [
        each.name
        for each in nodes
        if each.name != node and each.group == group and each.vm_capable and each.role in usual
    ]
    if not fit:
        raise GanetiGlusterError(
            "no other node of group %s takes instances" % group, hint="name one with --to"
        )
    free = cluster.free_memory(client)
    return max(fit, key=lambda name: free.get(name, 0))
