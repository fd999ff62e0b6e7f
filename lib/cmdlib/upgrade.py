"""`upgrade`: the GlusterFS of one node after the other is upgraded, while guests go on.

Each node is put into maintenance for it, the master last.  What is left to do is seen: by the
versions of packages, and by a tag of the node that an upgrade has put into maintenance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ganeti import constants

from ganeti_gluster.cmdlib import cluster, node_maintenance, pool_state
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.cmdlib.node_maintenance import Away, Guest
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import absence, members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.packages import (
    LOOK_SECONDS,
    UPGRADE_SECONDS,
    PackageFacts,
    check_candidate,
)
from ganeti_gluster.core.pool.steps import Say, Step, run
from ganeti_gluster.core.verify.maintenance import TAG, UPGRADING
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli.peers import REJECTED

#: Seconds for all image servers of a node to begin again.
RENEW_SECONDS = 600
_OP_VERSION = "cluster.op-version"


class UpgradeRefused(GanetiGlusterError):
    """Something is not as it must be for the next step of an upgrade."""


@dataclass(frozen=True)
class Turn:
    """A node, its packages (None for one that is offline), and the instances that run there."""

    node: ClusterNode
    packages: PackageFacts | None
    guests: tuple[Guest, ...]

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def begun(self) -> bool:
        """Whether an upgrade was interrupted here."""
        return UPGRADING in self.node.tags

    @property
    def due(self) -> bool:
        """Whether there is something to do here."""
        return self.packages is not None and (self.begun or not self.packages.current)


@dataclass(frozen=True)
class Seen:
    """All nodes, in the order of the upgrade, and their pools.

    `chosen` are the names of those that are to be upgraded.
    """

    turns: tuple[Turn, ...]
    pools: tuple[ManagedPool, ...]
    chosen: frozenset[str]

    def walk(self) -> list[Turn]:
        """The nodes that something is done on."""
        return [turn for turn in self.turns if turn.due and turn.name in self.chosen]

    def candidate(self) -> str:
        """The version that nodes get; after the checks there is one."""
        return next((one.packages.candidate for one in self.turns if one.packages), "")

    def unready(self, walk: Sequence[Turn] = ()) -> list[str]:
        """Why the op-version has to stay, even once the nodes of `walk` are upgraded."""
        reasons = [
            "%s is %s" % (turn.name, "not upgraded" if turn.packages else "offline")
            for turn in self.turns
            if turn not in walk and (turn.due or turn.packages is None)
        ]
        for managed in self.pools:
            done = {managed.pool.uuid(turn.name) for turn in walk}
            reasons += [
                "%s is not connected" % peer.hostname
                for peer in managed.pool.peers
                if not peer.sound and peer.uuid not in done
            ]
        return reasons


def look(client: Any, agents: Agents, names: Sequence[str]) -> Seen:
    """What there is now; `names` are the nodes to upgrade, none for all.

    Raises `UpgradeRefused` if a node does not answer.
    """
    nodes = cluster.nodes(client)
    chosen = frozenset(node.name for node in cluster.choose(nodes, names))
    online: dict[str, dict[str, Any]] = {node.name: {} for node in nodes if not node.offline}
    facts, errors = agents.try_all("packages", online, timeout=LOOK_SECONDS)
    if errors:
        raise UpgradeRefused("; ".join("%s: %s" % pair for pair in sorted(errors.items())))
    pools = tuple(pool_state.find_all(client, agents))

    def rank(node: ClusterNode) -> tuple[bool, bool, bool, str]:
        """What has begun is finished first; then members, the others, and the master."""
        outside = not any(managed.pool.uuid(node.name) for managed in pools)
        begun = UPGRADING in node.tags
        return (not begun, node.role == constants.NR_MASTER, outside, node.name)

    turns = tuple(
        Turn(node, facts.get(node.name), tuple(node_maintenance.guests(client, node.name)))
        for node in sorted(nodes, key=rank)
    )
    return Seen(turns, pools, chosen)


def describe(seen: Seen) -> list[dict[str, Any]]:
    """The nodes in the order of the upgrade, as plain data."""
    walk = seen.walk()
    return [
        {
            "node": turn.name,
            "offline": turn.packages is None,
            "version": turn.packages.version if turn.packages else None,
            "candidate": turn.packages.candidate if turn.packages else None,
            "along": list(turn.packages.along) if turn.packages else [],
            "upgrade": turn in walk,
            "interrupted": turn.begun,
            "instances": [guest.name for guest in turn.guests],
        }
        for turn in seen.turns
    ]


def steps(
    seen: Seen, client: Any, agents: Agents, away: Away, say: Say, *, force: bool = False
) -> list[Step]:
    """What is left to do, none if that is nothing; raises `GanetiGlusterError` at a doubt.

    `force`: nodes may have several old versions.
    """
    walk = seen.walk()
    _check_versions(seen, force=force)
    for turn in walk:
        _check_node(turn, seen, agents)
    if walk and not walk[0].begun and _pool_of(walk[0], seen):
        node_maintenance.check(client, agents, walk[0].name)
    todo = [
        Step(
            _text(turn, seen.candidate(), away),
            lambda: False,
            partial(_upgrade, turn, seen.candidate(), client, agents, away, say),
        )
        for turn in walk
    ]
    if not seen.unready(walk):
        todo += [_op_version_step(managed, client, agents) for managed in seen.pools]
    return todo if walk or not all(step.done() for step in todo) else []


def _text(turn: Turn, candidate: str, away: Away) -> str:
    """All that somebody agrees to who agrees to the upgrade of a node."""
    along = (
        ", with %s" % ", ".join(turn.packages.along)
        if turn.packages and turn.packages.along
        else ""
    )
    moved = ", its instances %s" % node_maintenance.MOVED[away.how] if away.how else ""
    return "%s: GlusterFS upgraded to %s%s%s" % (turn.name, candidate, along, moved)


# -- doubts ------------------------------------------------------------------


def _check_versions(seen: Seen, *, force: bool) -> None:
    known = [(turn.name, turn.packages) for turn in seen.turns if turn.packages]
    without = [name for name, packages in known if not packages.version]
    if without:
        raise UpgradeRefused("GlusterFS is not installed on %s" % ", ".join(without))
    wrong = ["%s: %s" % (name, packages.problem) for name, packages in known if packages.problem]
    if wrong:
        raise UpgradeRefused("; ".join(wrong))
    offered = {packages.candidate for _, packages in known}
    if len(offered) > 1:
        raise UpgradeRefused(
            "apt has different versions on the nodes: %s"
            % ", ".join("%s %s" % (name, packages.candidate) for name, packages in known),
            hint="give all nodes the same package sources, and run gnt-cluster command apt-get"
            " update",
        )
    old = {packages.version for _, packages in known} - offered
    if len(old) > 1 and not force:
        raise UpgradeRefused(
            "more than one old version is installed: %s"
            % ", ".join("%s %s" % (name, packages.version) for name, packages in known),
            hint="use --force to upgrade all of them all the same",
        )


def _check_node(turn: Turn, seen: Seen, agents: Agents) -> None:
    if TAG in turn.node.tags and not turn.begun:
        raise UpgradeRefused(
            "node %s is in maintenance" % turn.name,
            hint="end that with gnt-gluster node maintenance %s off" % turn.name,
        )
    pool_state.need_known(seen.pools, turn.name, agents)
    managed = _pool_of(turn, seen)
    if managed is None:
        return
    for each in seen.turns:
        if each.packages is None or (each.begun and each in seen.walk()):
            continue
        state = managed.pool.state(each.name)
        if state not in (members.CONNECTED, members.OUTSIDE):
            raise UpgradeRefused(
                "node %s is %s in the pool" % (each.name, state), hint=_remedy(managed, each.name)
            )


def _remedy(managed: ManagedPool, name: str) -> str:
    peer = managed.pool.peer(name)
    rejected = peer is not None and peer.state == REJECTED
    return absence.REJECTED_REMEDY if rejected else "see gnt-gluster pool status"


def _pool_of(turn: Turn, seen: Seen) -> ManagedPool | None:
    return next((managed for managed in seen.pools if managed.pool.uuid(turn.name)), None)


# -- steps -------------------------------------------------------------------


def _upgrade(
    turn: Turn, candidate: str, client: Any, agents: Agents, away: Away, say: Say
) -> None:
    """Take one node through its upgrade, with what is there when it is its turn."""
    name = turn.name
    managed = pool_state.find_known(client, agents, name)
    member = bool(managed.pool.uuid(name))
    drained = pool_state.need(managed, name).role != constants.NR_MASTER

    def check() -> None:
        # One whose glusterd was stopped by an upgrade that was interrupted is away already, unless
        # its bricks run: clients use these without glusterd.
        state = pool_state.find_node(client, agents, name).pool.state(name)
        gone = turn.begun and state != members.CONNECTED and not look_at_packages().serving
        if member and not gone:
            node_maintenance.check(client, agents, name)

    def download() -> None:
        check_candidate(look_at_packages(), candidate)
        agents.one(name, "download", timeout=2 * UPGRADE_SECONDS)

    def install() -> None:
        check()
        agents.one(name, "upgrade", timeout=2 * UPGRADE_SECONDS, version=candidate, member=member)

    def look_at_packages() -> PackageFacts:
        facts: PackageFacts = agents.one(name, "packages", timeout=LOOK_SECONDS)
        return facts

    movable = [guest for guest in node_maintenance.guests(client, name) if guest.movable]
    run(
        [
            # First, since whether the node may be away is known for a moment only.
            Step(
                "%s: packages of GlusterFS %s downloaded" % (name, candidate),
                lambda: look_at_packages().current,
                download,
            ),
            node_maintenance.mark_step(name, client, check, UPGRADING, drained=drained),
            *node_maintenance.moves(name, client, movable if away.how else [], away, check),
            Step(
                "%s: packages of GlusterFS %s installed" % (name, candidate),
                lambda: look_at_packages().current,
                install,
            ),
            *(node_maintenance.running(name, managed, agents, say) if member else []),
            Step(
                "%s: image servers use the installed GlusterFS" % name,
                lambda: not look_at_packages().stale,
                partial(agents.one, name, "renew-clients", timeout=RENEW_SECONDS),
            ),
            node_maintenance.unmark_step(name, client, drained=drained),
        ],
        lambda line: say("  " + line),
    )


def _op_version_step(managed: ManagedPool, client: Any, agents: Agents) -> Step:
    """What all members can do is used; never while one of them is away or older."""
    gluster = agents.gluster(managed.pool.anchor)

    def raised() -> bool:
        now, most = gluster.op_versions()
        return 0 < now == most

    def do() -> None:
        reasons = look(client, agents, ()).unready()
        if reasons:
            raise UpgradeRefused("the op-version has to stay: %s" % "; ".join(reasons))
        _, most = gluster.op_versions()
        gluster.ask("volume", "set", "all", _OP_VERSION, str(most))
        if not raised():
            raise UpgradeRefused("glusterd accepted op-version %d, but does not use it" % most)

    return Step(
        "pool of %s: op-version is the highest that all members support" % managed.pool.anchor,
        raised,
        do,
    )
