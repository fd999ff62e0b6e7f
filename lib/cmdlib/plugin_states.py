"""The plugin's state on every node, fetched by one of Ganeti's restricted commands."""

from __future__ import annotations

from typing import Any

from ganeti import cli, opcodes

from ganeti_gluster.plugin_state import OFFLINE, parse, untold

STATUS_COMMAND = "gluster-plugin-status"


def fetch(nodes: list[str]) -> dict[str, dict[str, Any]]:
    """The state of each of `nodes`, of all if empty, as `plugin_status.local_status` gives it.

    A node that does not tell has `template` ("unknown") and `reasons` alone, and
    so has one that Ganeti knows as offline ("offline"), which is not asked.
    """
    client = cli.GetClient()
    offline = dict(client.QueryNodes([], ["name", "offline"], False))
    asked = [node for node in nodes or offline if not offline.get(node)]
    op = opcodes.OpRestrictedCommand(nodes=asked, command=STATUS_COMMAND, use_locking=False)
    results = cli.SubmitOpCode(op, cl=client, opts=None) if asked else []
    states = {node: untold(OFFLINE, "marked offline in Ganeti") for node in nodes or offline}
    for node, (success, output) in zip(asked, results, strict=True):
        states[node] = parse(success, output)
    return states
