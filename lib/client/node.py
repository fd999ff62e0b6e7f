"""`gnt-gluster node`: a node is taken away for a while, and taken back."""

from __future__ import annotations

from typing import Any

from ganeti import cli

from ganeti_gluster.client.plans import PLAN_OPT
from ganeti_gluster.client.stepwise import Say, carry_out
from ganeti_gluster.cmdlib import cluster, node_maintenance, pool_nodes
from ganeti_gluster.cmdlib.node_maintenance import FAILOVER, MIGRATE, Away
from ganeti_gluster.core.pool import steps
from ganeti_gluster.errors import InvalidParameter

ON, OFF = "on", "off"

MIGRATE_OPT = cli.cli_option(
    "--migrate",
    dest="migrate",
    action="store_true",
    default=False,
    help="Migrate the instances that run on the node to other nodes",
)
FAILOVER_OPT = cli.cli_option(
    "--failover",
    dest="failover",
    action="store_true",
    default=False,
    help="Shut the instances on the node down, and start them on other nodes",
)
TO_OPT = cli.cli_option(
    "--to",
    dest="target_node",
    default=None,
    metavar="NODE",
    help="The node to move the instances to (default: the default iallocator chooses, or the"
    " node of the same group with the most free memory)",
    completion_suggest=cli.OPT_COMPL_ONE_NODE,
)

_READY = """Node %(node)s is in maintenance.
You may stop glusterd and its bricks, shut the node down or reboot it.
No other node of its brick sets may be away in the meantime.
When it is back: gnt-gluster node maintenance %(node)s off"""
_BACK = "Node %(node)s is in use again.  Instances are not moved back; hbal(1) can do that."


def Maintenance(opts: Any, args: list[str]) -> int:
    """Make a node ready to be taken away, or take it back; 0 only if all of that is done."""
    name, wanted = args
    client = cli.GetClient()
    nodes = cluster.nodes(client)
    node = cluster.find(nodes, name).name
    if wanted not in (ON, OFF):
        raise InvalidParameter("'%s' is neither on nor off" % wanted)
    if wanted == OFF:
        if opts.migrate or opts.failover or opts.target_node:
            raise InvalidParameter("--migrate, --failover and --to have no meaning with off")
        return carry_out(
            opts,
            lambda: node_maintenance.leaving(node, client, pool_nodes.agents(), Say),
            "End the maintenance of node %s?" % node,
            done=_BACK % {"node": node},
        )
    target = None if opts.target_node is None else cluster.find(nodes, opts.target_node).name
    moving = away(opts, target)
    if target is not None and not moving.how:
        raise InvalidParameter("--to needs --migrate or --failover")

    def plan() -> list[steps.Step]:
        return node_maintenance.entering(node, client, pool_nodes.agents(), moving, Say)

    return carry_out(
        opts, plan, "Put node %s into maintenance?" % node, done=_READY % {"node": node}
    )


def away(opts: Any, target: str | None = None) -> Away:
    """How --migrate and --failover have instances moved."""
    if opts.migrate and opts.failover:
        raise InvalidParameter("give either --migrate or --failover")
    return Away(MIGRATE if opts.migrate else FAILOVER if opts.failover else "", target)


COMMANDS = {
    "node maintenance": (
        Maintenance,
        [
            cli.ArgNode(min=1, max=1),
            cli.ArgChoice(min=1, max=1, choices=[ON, OFF]),
        ],
        [
            MIGRATE_OPT,
            FAILOVER_OPT,
            TO_OPT,
            cli.DRY_RUN_OPT,
            PLAN_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
        ],
        "<node> on|off",
        "Prepare a node for being stopped or rebooted, or take it back and wait for heals",
    ),
}
