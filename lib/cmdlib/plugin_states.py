"""The plugin's state on every node, fetched by one of Ganeti's restricted commands."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli, opcodes

STATUS_COMMAND = "gluster-plugin-status"
OFFLINE = "offline"
UNKNOWN = "unknown"


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
    states = {node: _state(OFFLINE, "marked offline in Ganeti") for node in nodes or offline}
    for node, (success, output) in zip(asked, results, strict=True):
        states[node] = parse(success, output)
    return states


def parse(success: bool, output: str) -> dict[str, Any]:
    """One node's answer: JSON of its state, or the reason why there is none."""
    if success:
        try:
            state = json.loads(output)
        except ValueError:
            return _state(UNKNOWN, "not the answer of gnt-gluster: %.200s" % output)
        if isinstance(state, dict) and "template" in state:
            return state
        return _state(UNKNOWN, "not the answer of gnt-gluster: %.200s" % output)
    return _state(UNKNOWN, "%s; is ganeti-gluster installed there?" % output.strip())


def _state(template: str, reason: str) -> dict[str, Any]:
    return {"template": template, "reasons": [reason]}
