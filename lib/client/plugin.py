"""`gnt-gluster plugin`: show which template nodes use, and switch this node."""

from __future__ import annotations

import json
import os
from typing import Any

from ganeti import cli, errors, netutils

from ganeti_gluster import constants
from ganeti_gluster.client.options import JSON_OPT, LOCAL_OPT
from ganeti_gluster.cmdlib import plugin_states
from ganeti_gluster.core.serve import fleet
from ganeti_gluster.plugin_state import OFFLINE, OURS
from ganeti_gluster.plugin_status import local_status

RESTART = "to apply this, restart Ganeti's daemons on this node: systemctl restart ganeti"

_HEADERS = {
    "node": "Node",
    "template": "Template",
    "noded": "NodeDaemon",
    "version": "Plugin",
    "ganeti": "Ganeti",
    "reasons": "Reason",
}


def ShowStatus(opts: Any, args: list[str]) -> int:
    """Print each node's state; 0 only if the template is ours on all that are not offline."""
    if opts.local:
        if args:
            raise errors.OpPrereqError(
                "--local is for this node only; do not name any nodes", errors.ECODE_INVAL
            )
        states: dict[str, dict[str, Any]] = {netutils.Hostname.GetSysName(): dict(local_status())}
    else:
        states = plugin_states.fetch(args)
    if opts.json:
        cli.ToStdout("%s", json.dumps(states, indent=2, sort_keys=True))
    else:
        _print_table(opts, states)
    ours = all(
        state["template"] == OURS and state.get("noded") == OURS
        for state in states.values()
        if state["template"] != OFFLINE
    )
    return 0 if ours else 1


def _print_table(opts: Any, states: dict[str, dict[str, Any]]) -> None:
    fields = list(_HEADERS)
    rows = []
    for node, state in sorted(states.items()):
        reasons = "; ".join(state["reasons"] + state.get("noded_reasons", [])) or "-"
        values = {"node": node, **state, "reasons": reasons}
        rows.append([str(values.get(field, "-")) for field in fields])
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=fields,
        separator=opts.separator,
        data=rows,
    ):
        cli.ToStdout("%s", line)


def Disable(opts: Any, args: list[str]) -> int:
    """Switch the plugin off on this node, for Ganeti's processes started from now on.

    Stock Ganeti would never close an image, so each server ends with its last client.
    """
    if os.path.exists(constants.DISABLED_FILE):
        cli.ToStdout("The plugin is already switched off on this node.")
        return 0
    if not opts.dry_run:
        with open(constants.DISABLED_FILE, "x", encoding="utf-8") as stream:
            stream.write("While this file exists, this node uses Ganeti's own gluster template.\n")
        fleet.leave_all()
    cli.ToStdout("The plugin is switched off on this node; %s", RESTART)
    return 0


def Enable(opts: Any, args: list[str]) -> int:
    """Undo `Disable`."""
    if not os.path.exists(constants.DISABLED_FILE):
        cli.ToStdout("The plugin is not switched off on this node.")
        return 0
    if not opts.dry_run:
        os.unlink(constants.DISABLED_FILE)
    cli.ToStdout("The plugin is no longer switched off on this node; %s", RESTART)
    return 0


COMMANDS = {
    "plugin status": (
        ShowStatus,
        cli.ARGS_MANY_NODES,
        [JSON_OPT, LOCAL_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "[<node>...]",
        "Show whether each node uses this package's gluster template",
    ),
    "plugin disable": (
        Disable,
        cli.ARGS_NONE,
        [cli.DRY_RUN_OPT],
        "",
        "Make this node use stock Ganeti's gluster template again",
    ),
    "plugin enable": (
        Enable,
        cli.ARGS_NONE,
        [cli.DRY_RUN_OPT],
        "",
        "Undo 'plugin disable' on this node",
    ),
}
