"""`gnt-gluster pool`: the Gluster pool that Ganeti builds and keeps."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli, utils

from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.client.plans import PLAN_OPT
from ganeti_gluster.client.stepwise import Say, carry_out
from ganeti_gluster.cmdlib import (
    cluster,
    pool_create,
    pool_destroy,
    pool_evacuate,
    pool_modify,
    pool_new_disk,
    pool_nodes,
    pool_rebalance,
    pool_state,
    pool_tls,
    pool_use,
)
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.pool import hosts, members, settings, steps
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools import names

VOLUME_OPT = cli.cli_option(
    "--volume",
    dest="volume",
    default="gv0",
    metavar="VOLUME",
    help="Name of the volume (default: gv0)",
)
REPLICA_OPT = cli.cli_option(
    "--replica",
    dest="replica",
    type="int",
    metavar="N",
    help="Number of copies of each image (default: 3)",
)
ARBITER_OPT = cli.cli_option(
    "--arbiter",
    dest="arbiter",
    type="int",
    metavar="1",
    help="Let the third brick of each three be an arbiter, without data",
)
DISPERSE_OPT = cli.cli_option(
    "--disperse", dest="disperse", type="int", metavar="N", help="Use erasure coding over N bricks"
)
REDUNDANCY_OPT = cli.cli_option(
    "--redundancy",
    dest="redundancy",
    type="int",
    metavar="N",
    help="Number of bricks of a dispersed set that may fail (less than half)",
)
BRICK_DIR_OPT = cli.cli_option(
    "--brick-dir",
    dest="brick_dir",
    metavar="DIR",
    help="Directory for the bricks on each node; with --brick-device, the mount point (default:"
    " %s)" % pool_create.DEFAULT_DIRECTORY,
)
BRICK_DEVICE_OPT = cli.cli_option(
    "--brick-device",
    dest="brick_device",
    metavar="DEV",
    help="Block device on each node, to be formatted with XFS and mounted",
)
NODES_OPT = cli.cli_option(
    "--nodes",
    dest="pool_nodes",
    type="list",
    metavar="NODE,...",
    help="Nodes of the pool, in the order of the brick sets (default: all)",
)
GROUP_OPT = cli.cli_option(
    "--group",
    dest="nodegroup",
    default=None,
    metavar="GROUP",
    help="Use only the nodes of this node group, and configure Ganeti for it alone",
    completion_suggest=cli.OPT_COMPL_ONE_NODEGROUP,
)
NETWORK_OPT = cli.cli_option(
    "--network",
    dest="pool_network",
    choices=list(hosts.NETWORKS),
    default=None,
    metavar="|".join(hosts.NETWORKS),
    help="Name the nodes in the pool by their names (primary, the default), or by their secondary"
    " addresses in Ganeti (storage)",
)
ON_NODE_ADD_OPT = cli.cli_option(
    "--on-node-add",
    dest="on_node_add",
    choices=list(settings.NODE_ADD),
    default=None,
    metavar="|".join(settings.NODE_ADD),
    help="What to do with a node that is added to the cluster (default: join)",
)
NO_CONFIGURE_OPT = cli.cli_option(
    "--no-configure",
    dest="configure",
    action="store_false",
    default=True,
    help="Do not change Ganeti's disk template and its parameters",
)
WIPE_OPT = cli.cli_option(
    "--wipe",
    dest="wipe",
    action="store_true",
    default=False,
    help="Format the devices even if they contain data, which is lost",
)

TLS_OPT = cli.cli_option(
    "--tls",
    dest="tls",
    action="store_true",
    default=False,
    help="Encrypt all connections of the pool and of its volumes",
)
TLS_SWITCH_OPT = cli.cli_option(
    "--tls",
    dest="tls",
    choices=["on", "off"],
    default=None,
    metavar="on|off",
    help="Encrypt all connections of the pool and of its volumes, or none",
)
TO_OPT = cli.cli_option(
    "--to",
    dest="target_node",
    default=None,
    metavar="NODE",
    help="The node to move the bricks to (default: the spares)",
    completion_suggest=cli.OPT_COMPL_ONE_NODE,
)
MOVE_DATA_OPT = cli.cli_option(
    "--move-data",
    dest="move_data",
    action="store_true",
    default=False,
    help="Also move existing images to the new bricks",
)


_READY = """Volume %s is ready.
Add an instance on it: gnt-instance add -t gluster --disk 0:size=20G -o OS NAME
(gnt-os list shows the operating systems)."""


def Create(opts: Any, args: list[str]) -> int:
    """Build the pool and the volume, or continue to; 0 only if everything is done."""
    asked = pool_create.order(opts)
    client = cli.GetClient()
    shown: set[str] = set()

    def plan() -> list[steps.Step]:
        planned = pool_create.plan(asked, client, pool_nodes.agents(), Say)
        for problem in planned.problems:
            line = "%s: %s" % ("Problem" if problem.blocks else "Note", problem)
            if line not in shown:
                cli.ToStderr("%s", line)
            shown.add(line)
        obstacles = planned.obstacles(asked.force)
        if obstacles:
            forced = all(problem.force for problem in obstacles)
            raise GanetiGlusterError(
                "nothing was changed; see the problems above",
                hint="use --force to continue in spite of them"
                if forced
                else "correct them and try again",
            )
        return planned.steps

    return carry_out(opts, plan, "Continue?", done=_READY % asked.volume)


def Destroy(opts: Any, args: list[str]) -> int:
    """Stop and delete a volume with its bricks; 0 only if nothing of it is left."""
    name = names.volume_name(args[0])
    client = cli.GetClient()
    shown: set[str] = set()

    def plan() -> list[steps.Step]:
        todo, left = pool_destroy.plan(name, client, pool_nodes.agents(), force=opts.force)
        for brick in left:
            if brick not in shown:
                cli.ToStderr("Note: %s is left as it is: Ganeti cannot reach that node", brick)
            shown.add(brick)
        return todo

    question = "All images on volume %s will be lost. Destroy it?" % name
    return carry_out(opts, plan, question, done="Volume %s has been destroyed." % name)


def Evacuate(opts: Any, args: list[str]) -> int:
    """Move all bricks of a node away; 0 only if they are complete where they are now."""
    client = cli.GetClient()
    node = _full_name(client, args[0])
    target = None if opts.target_node is None else _full_name(client, opts.target_node)

    def plan() -> list[steps.Step]:
        return pool_evacuate.evacuation(node, client, pool_nodes.agents(), Say, target=target)

    return carry_out(opts, plan, "Move all bricks away from %s?" % node)


def Replace(opts: Any, args: list[str]) -> int:
    """Put a node in the place of a dead one; 0 only if it has all that the dead one had."""
    client = cli.GetClient()
    nodes = cluster.nodes(client)
    new = cluster.find(nodes, args[1]).name
    # It may have left Ganeti's cluster already, dead as it is.
    old = next((node.name for node in nodes if node.is_called(args[0])), args[0])
    if old == new:
        return _renew(opts, client, new)
    if opts.brick_device:
        raise InvalidParameter("--brick-device is only for a disk that was replaced in its node")

    def plan() -> list[steps.Step]:
        return pool_evacuate.replacement(
            old, new, client, pool_nodes.agents(), Say, force=opts.force, wipe=opts.wipe
        )

    return carry_out(
        opts, plan, "All data in the bricks of %s will be given up. Replace it?" % old
    )


def _renew(opts: Any, client: Any, node: str) -> int:
    """Fill the bricks of a node on its new disk; 0 only if they are complete."""

    def plan() -> list[steps.Step]:
        return pool_new_disk.renewal(
            node,
            client,
            pool_nodes.agents(),
            Say,
            device=opts.brick_device or "",
            wipe=opts.wipe,
        )

    return carry_out(opts, plan, "Fill the bricks of %s on its new disk from the others?" % node)


def _full_name(client: Any, name: str) -> str:
    """A node's name as Ganeti has it, from what may be its beginning; raises OpPrereqError."""
    return cluster.find(cluster.nodes(client), name).name


def Rebalance(opts: Any, args: list[str]) -> int:
    """Let bricks that were added take images; 0 only if that is through."""
    name = names.volume_name(args[0])
    client = cli.GetClient()

    def plan() -> list[steps.Step]:
        return pool_rebalance.steps(
            name, client, pool_nodes.agents(), Say, move_data=opts.move_data, force=opts.force
        )

    return carry_out(opts, plan, "Rebalance volume %s?" % name)


_ON_OFF = (
    "Glusterd and the bricks of all volumes of the pool are restarted everywhere, and guests wait"
    " for their disks. Continue?"
)


def Modify(opts: Any, args: list[str]) -> int:
    """Change how a volume's pool is kept, and print how it is kept then; or switch TLS."""
    name = names.volume_name(args[0])
    client = cli.GetClient()
    if opts.tls is not None:
        if opts.brick_dir or opts.brick_device or opts.on_node_add:
            raise InvalidParameter("--tls cannot be combined with other options")
        make = pool_tls.encrypting if opts.tls == "on" else pool_tls.plaining
        return carry_out(
            opts,
            lambda: make(name, client, pool_nodes.agents(), Say),
            _ON_OFF,
            done="TLS is %s." % opts.tls,
        )
    kept, changed = pool_modify.change(name, client, pool_nodes.agents(), opts)
    for line in pool_modify.describe(kept, changed):
        cli.ToStdout("%s", line)
    if not opts.dry_run and changed != kept:
        pool_use.write_settings(client, changed)
    return 0


def RenewCertificates(opts: Any, args: list[str]) -> int:
    """Give all nodes new certificates; 0 only if all processes of the pool use them."""
    name = names.volume_name(args[0])
    client = cli.GetClient()
    return carry_out(
        opts,
        lambda: pool_tls.renewing(name, client, pool_nodes.agents(), Say),
        "Renew the certificates, and restart glusterd and bricks on one node after the other?",
    )


def ShowStatus(opts: Any, args: list[str]) -> int:
    """Print the pool; 0 only if all members are connected and all bricks online."""
    client = cli.GetClient()
    agents = pool_nodes.agents()
    state = pool_state.describe(pool_state.find_all(client, agents), agents)
    if opts.json:
        cli.ToStdout("%s", json.dumps(state, indent=2, sort_keys=True))
    else:
        _print_nodes(opts, state)
        for volume in state["volumes"]:
            _print_volume(volume)
    well = all(node["peer"] == members.CONNECTED for node in state["nodes"] if node["bricks"])
    whole = not any(
        volume["offline"] or "error" in volume or volume["state"] != "Started"
        for volume in state["volumes"]
    )
    return 0 if well and whole else 1


_HEADERS = {"name": "Node", "ganeti": "Ganeti", "peer": "Pool", "bricks": "Bricks"}


def _print_nodes(opts: Any, state: dict[str, Any]) -> None:
    rows = []
    for node in state["nodes"]:
        spare = [volume["name"] for volume in state["volumes"] if node["name"] in volume["spares"]]
        bricks = [brick.partition(":")[2] for brick in node["bricks"]]
        bricks += ["(spare for %s)" % name for name in spare]
        rows.append(
            [
                node["name"],
                _ganeti(node),
                node["peer"],
                " ".join(bricks) or "-",
            ]
        )
    rows += [[other, "-", "member", "?"] for other in state["others"]]
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=list(_HEADERS),
        separator=opts.separator,
        data=rows,
    ):
        cli.ToStdout("%s", line)


def _ganeti(node: dict[str, Any]) -> str:
    """How Ganeti has a node, in a word."""
    if node["offline"]:
        return "offline"
    return "maintenance" if node["maintenance"] else "online"


def _print_volume(volume: dict[str, Any]) -> None:
    cli.ToStdout("Volume %s: %s, %s", volume["name"], volume["state"].lower(), volume["shape"])
    down = volume["offline"]
    online = len(volume["bricks"]) - len(down) if volume["state"] == "Started" else 0
    lines = [("bricks online", "%d of %d" % (online, len(volume["bricks"])))]
    if down:
        lines.append(("bricks down", ", ".join(down)))
    if volume.get("free") is not None:
        lines.append(("free", utils.FormatUnit(volume["free"] / MIB, "h")))
    if volume["heal_pending"] is not None:
        lines.append(("to heal", "%d" % volume["heal_pending"]))
    lines.append(("spares", ", ".join(volume["spares"]) or "none"))
    nothing = "nothing (%s)" % (volume["settings_refused"] or "not configured")
    lines.append(("on node-add", volume["on_node_add"] or nothing))
    if "error" in volume:
        lines.append(("error", volume["error"]))
    for name, value in lines:
        cli.ToStdout("  %-14s %s", name + ":", value)


COMMANDS = {
    "pool create": (
        Create,
        cli.ARGS_NONE,
        [
            VOLUME_OPT,
            REPLICA_OPT,
            ARBITER_OPT,
            DISPERSE_OPT,
            REDUNDANCY_OPT,
            BRICK_DIR_OPT,
            BRICK_DEVICE_OPT,
            NODES_OPT,
            GROUP_OPT,
            NETWORK_OPT,
            ON_NODE_ADD_OPT,
            NO_CONFIGURE_OPT,
            WIPE_OPT,
            TLS_OPT,
            cli.DRY_RUN_OPT,
            PLAN_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
        ],
        "--brick-dir <dir> | --brick-device <device>",
        "Create a Gluster pool and a volume on the nodes, and configure Ganeti to use it",
    ),
    "pool destroy": (
        Destroy,
        [cli.ArgUnknown(min=1, max=1)],
        [cli.DRY_RUN_OPT, PLAN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "<volume>",
        "Delete a volume and its bricks, and dissolve the pool if it was the last volume",
    ),
    "pool evacuate": (
        Evacuate,
        cli.ARGS_ONE_NODE,
        [TO_OPT, cli.DRY_RUN_OPT, PLAN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "<node>",
        "Move the bricks of a node to spare nodes, and wait until they are healed",
    ),
    "pool replace": (
        Replace,
        [cli.ArgNode(min=2, max=2)],
        [BRICK_DEVICE_OPT, WIPE_OPT, cli.DRY_RUN_OPT, PLAN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "<old-node> <new-node>",
        "Replace a dead node by another, or by itself with a new disk, and wait until its bricks"
        " are healed",
    ),
    "pool rebalance": (
        Rebalance,
        [cli.ArgUnknown(min=1, max=1)],
        [MOVE_DATA_OPT, cli.DRY_RUN_OPT, PLAN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "<volume>",
        "Use added bricks for images as well",
    ),
    "pool modify": (
        Modify,
        [cli.ArgUnknown(min=1, max=1)],
        [
            BRICK_DIR_OPT,
            BRICK_DEVICE_OPT,
            ON_NODE_ADD_OPT,
            TLS_SWITCH_OPT,
            cli.DRY_RUN_OPT,
            PLAN_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
        ],
        "<volume>",
        "Change what happens to a volume when a node is added, or switch TLS on or off",
    ),
    "pool renew-certificates": (
        RenewCertificates,
        [cli.ArgUnknown(min=1, max=1)],
        [cli.DRY_RUN_OPT, PLAN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "<volume>",
        "Give all nodes new TLS certificates, and restart what uses them",
    ),
    "pool status": (
        ShowStatus,
        cli.ARGS_NONE,
        [JSON_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "",
        "Show the pool's members, bricks, spares and volumes",
    ),
}
