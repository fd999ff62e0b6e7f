"""The work of Ganeti's hooks for the pool, on the master only.

The settings say whether anything is done: without settings, or if a volume's node-add is off, a
hook changes nothing.  But the removal of a node with bricks is always refused.  A hook runs
within a job, so it must not wait for another job: its queries to Ganeti are answered without one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ganeti import cli, constants, errors, ssconf

from ganeti_gluster.cmdlib import pool_evacuate, pool_nodes, pool_state, pool_tls, pool_use
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import brick_moves, extend, members, steps
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.settings import EXTEND, OFF, Settings
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter, in_words

#: Seconds for another command that changes the pool to end.
LOCK_SECONDS = 120
#: The hook that is run for volumes of which nothing is kept, too.
REMOVING = "node-remove-pre"


def run(name: str, environment: Mapping[str, str] = os.environ) -> int:
    """Do what belongs to the hook, for example "node-add-post"; returns its exit status.

    What is printed is shown by Ganeti if the status is not 0, which stops the job in a
    pre hook, and is a warning after a post one.
    """
    master, own = ssconf.GetMasterAndMyself()
    if own != master:
        return 0
    try:
        client = cli.GetClient()
        kept = pool_use.read_settings(client)
        if kept or pool_use.refused_settings(client):
            HOOKS[name](client, kept, environment)
        elif name == REMOVING:
            _check_without_settings(client, environment)
    except (GanetiGlusterError, errors.GenericError, OSError) as err:
        say(in_words(err))
        return 1
    return 0


def say(line: str) -> None:
    """A line for Ganeti, and for the log."""
    sys.stdout.write(line.strip() + "\n")
    pool_nodes.logger().info("%s", line.strip())


def node_added(client: Any, kept: dict[str, Settings], environment: Mapping[str, str]) -> None:
    """Take the new node into the pool, and extend the volumes that are to be."""
    node = environment["GANETI_OP_TARGET"]
    agents = pool_nodes.agents()
    with pool_nodes.exclusive(seconds=LOCK_SECONDS):
        for one in kept.values():
            managed = pool_state.find_volume(client, agents, one.volume)
            if one.node_add == OFF or node not in managed.names(one.group):
                continue
            if managed.pool.bricks_on(node):
                say("%s already has bricks" % node)
                _start_bricks(agents, managed, node)
                continue
            steps.run(pool_evacuate.admission(managed, client, agents, node, one, say), say)
            managed = pool_state.find_volume(client, agents, one.volume)
            extended = one.node_add == EXTEND and _extend(client, agents, managed, one)
            if not extended:
                say("%s is a spare for volume %s" % (node, one.volume))
    refused = pool_use.refused_settings(client)
    if refused:
        raise InvalidParameter(
            "nothing was done for %s"
            % "; ".join("volume %s: %s" % pair for pair in sorted(refused.items())),
            hint="set its pool settings again with gnt-gluster pool modify",
        )


def _extend(client: Any, agents: Agents, managed: ManagedPool, kept: Settings) -> bool:
    """Add a set of bricks if there are the nodes for one; whether that was so."""
    volume = managed.pool.volume(kept.volume)
    nodes = managed.names(kept.group)
    spares = members.ready_spares(agents, managed.pool, volume, nodes, kept.directory)
    bricks = extend.next_set(
        managed.pool, volume, spares=spares, nodes=nodes, directory=kept.directory
    )
    if not bricks:
        return False
    gluster = agents.gluster(managed.pool.anchor)
    extend.add(gluster, volume, bricks, say)
    say("added a set of bricks to volume %s: %s" % (volume.name, ", ".join(bricks)))
    if _is_used(client):
        say(
            "instances are running: to use the new bricks, run gnt-gluster pool rebalance %s"
            % volume.name
        )
    else:
        gluster.ask("volume", "rebalance", volume.name, "fix-layout", "start")
        say("the new bricks are used for new images")
    return True


def _is_used(client: Any) -> bool:
    """Whether any instance that may have a gluster disk is meant to run."""
    rows = client.QueryInstances([], ["disk_template", "admin_state"], False)
    none = (constants.DT_DISKLESS, constants.DT_DRBD8, constants.DT_PLAIN, constants.DT_FILE)
    return any(template not in none and state == constants.ADMINST_UP for template, state in rows)


def node_removing(client: Any, kept: dict[str, Settings], environment: Mapping[str, str]) -> None:
    """Refuse while the node has bricks, naming them."""
    node = environment["GANETI_OP_TARGET"]
    agents = pool_nodes.agents()
    managed = pool_state.find_known(client, agents, node)
    bricks = managed.pool.bricks_on(node)
    if bricks:
        alive = managed.pool.state(node) == members.CONNECTED
        raise GanetiGlusterError(
            "node %s has bricks with data: %s"
            % (node, ", ".join("%s of volume %s" % (b.path, v.name) for v, b in bricks)),
            hint="first run gnt-gluster pool %s"
            % ("evacuate %s" % node if alive else "replace %s NEW" % node),
        )


def _check_without_settings(client: Any, environment: Mapping[str, str]) -> None:
    """Refuse for the bricks of volumes that were created by hand as well.

    If no node is in a pool, or none answers, there is nothing to check.
    """
    try:
        pool_state.find_all(client, pool_nodes.agents())
    except GanetiGlusterError as err:
        pool_nodes.logger().info("no pool is looked at: %s", err)
        return
    node_removing(client, {}, environment)


def node_removed(client: Any, kept: dict[str, Settings], environment: Mapping[str, str]) -> None:
    """Take the node out of the pool; it has no bricks any more."""
    node = environment["GANETI_OP_TARGET"]
    if all(one.node_add == OFF for one in kept.values()):
        return
    agents = pool_nodes.agents()
    with pool_nodes.exclusive(seconds=LOCK_SECONDS):
        managed = pool_state.find_node(client, agents, node)
        gluster = agents.gluster(managed.pool.anchor)
        gone = managed.pool.state(node) != members.CONNECTED
        left = brick_moves.leave_pool(gluster, managed.pool, node, is_gone=lambda: gone)
        steps.run([left, *pool_tls.leaving(gluster, node)], say)


def node_modifying(client: Any, kept: dict[str, Settings], environment: Mapping[str, str]) -> None:
    """Refuse to take a live node offline while others of its sets are down already.

    If the pool does not answer, nothing is known about it, and the node can be marked.
    """
    node = environment["GANETI_OP_TARGET"]
    if environment.get("GANETI_OFFLINE") != "True":
        return
    agents = pool_nodes.agents()
    try:
        managed = pool_state.find_node(client, agents, node)
        down = _down_beside(agents, managed, node)
    except GanetiGlusterError as err:
        say("cannot determine which bricks are online: %s" % err)
        return
    if down:
        raise GanetiGlusterError(
            "node %s is alive and its bricks are needed, since these bricks are not online: %s"
            % (node, down),
            hint="see gnt-gluster pool status",
        )


def _down_beside(agents: Agents, managed: ManagedPool, node: str) -> str:
    """The bricks that are down in the sets of a live node's bricks."""
    if managed.pool.state(node) != members.CONNECTED:
        return ""
    gluster = agents.gluster(managed.pool.anchor)
    down = []
    for volume, brick in managed.pool.bricks_on(node):
        if volume.started:
            others = [other for other in volume.set_of(brick) if other != brick]
            down += gluster.status(volume.name).offline(others)
    return ", ".join(map(str, down))


def node_modified(client: Any, kept: dict[str, Settings], environment: Mapping[str, str]) -> None:
    """Start the bricks of a node that is back."""
    node = environment["GANETI_OP_TARGET"]
    if environment.get("GANETI_OFFLINE") != "False":
        return
    agents = pool_nodes.agents()
    _start_bricks(agents, pool_state.find_node(client, agents, node), node)


def _start_bricks(agents: Agents, managed: ManagedPool, node: str) -> None:
    gluster = agents.gluster(managed.pool.anchor)
    for volume, brick in managed.pool.bricks_on(node):
        if volume.started and gluster.status(volume.name).offline([brick]):
            gluster.ask("volume", "start", volume.name, "force")
            say("volume %s: brick %s started" % (volume.name, brick))


HOOKS: dict[str, Callable[[Any, dict[str, Settings], Mapping[str, str]], None]] = {
    "node-add-post": node_added,
    REMOVING: node_removing,
    "node-remove-post": node_removed,
    "node-modify-pre": node_modifying,
    "node-modify-post": node_modified,
}
