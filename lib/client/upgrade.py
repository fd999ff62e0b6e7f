"""`gnt-gluster upgrade`: GlusterFS is upgraded on all nodes, one by one."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli

from ganeti_gluster.client.node import FAILOVER_OPT, MIGRATE_OPT, away
from ganeti_gluster.client.options import JSON_OPT, NODE_OPT
from ganeti_gluster.client.plans import PLAN_OPT
from ganeti_gluster.client.stepwise import Say, carry_out
from ganeti_gluster.cmdlib import pool_nodes, upgrade
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.errors import InvalidParameter

_HEADERS = {
    "node": "Node",
    "version": "GlusterFS",
    "candidate": "Candidate",
    "state": "State",
    "instances": "Instances",
}


def Upgrade(opts: Any, args: list[str]) -> int:
    """Upgrade GlusterFS on the nodes that do not have apt's candidate; 0 only if all is done."""
    if opts.json and not opts.dry_run:
        raise InvalidParameter("--json needs --dry-run")
    moving = away(opts)
    client = cli.GetClient()
    agents = pool_nodes.agents()

    def steps(seen: upgrade.Seen) -> list[Step]:
        return upgrade.steps(seen, client, agents, moving, Say, force=opts.force)

    seen = upgrade.look(client, agents, opts.nodes)
    todo = steps(seen)
    if opts.json:
        cli.ToStdout("%s", json.dumps(upgrade.describe(seen), indent=2, sort_keys=True))
        return 0
    _show(seen)
    reasons = seen.unready(seen.walk())
    if reasons:
        cli.ToStdout("The op-version stays as it is: %s", "; ".join(reasons))
    if not todo:
        cli.ToStdout("There is nothing to upgrade.")
        return 0
    return carry_out(
        opts,
        lambda: steps(upgrade.look(client, agents, opts.nodes)),
        "Upgrade GlusterFS to %s?" % seen.candidate(),
        done="GlusterFS %s is installed." % seen.candidate(),
    )


def _show(seen: upgrade.Seen) -> None:
    rows = []
    told = upgrade.describe(seen)
    for row in told:
        state = "interrupted" if row["interrupted"] else "to upgrade" if row["upgrade"] else "-"
        rows.append(
            [
                row["node"],
                row["version"] or "-",
                row["candidate"] or "-",
                "offline" if row["offline"] else state,
                " ".join(row["instances"]) or "-",
            ]
        )
    table = cli.GenerateTable(headers=_HEADERS, fields=list(_HEADERS), separator=None, data=rows)
    for line in table:
        cli.ToStdout("%s", line)
    for row in told:
        if row["upgrade"] and row["along"]:
            cli.ToStdout(
                "%s: apt-get also installs or upgrades %s", row["node"], ", ".join(row["along"])
            )


COMMANDS = {
    "upgrade": (
        Upgrade,
        cli.ARGS_NONE,
        [
            MIGRATE_OPT,
            FAILOVER_OPT,
            NODE_OPT,
            cli.DRY_RUN_OPT,
            PLAN_OPT,
            JSON_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
        ],
        "[--migrate | --failover] [--node <node>...]",
        "Upgrade GlusterFS on the nodes, one by one, with instances running",
    ),
}
