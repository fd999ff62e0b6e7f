"""The plugin's state on every node, fetched by one of Ganeti's restricted commands."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli, opcodes

STATUS_COMMAND = "gluster-plugin-status"


def fetch(nodes: list[str]) -> dict[str, dict[str, Any]]:
    """The state of each node, as `plugin_status.local_status` gives it.

    A node that does not tell has the keys `template` ("unknown") and `reasons`.
    """
    op = opcodes.OpRestrictedCommand(nodes=nodes, command=STATUS_COMMAND, use_locking=False)
    results = cli.SubmitOpCode(op, opts=None)
    return {
        node: parse(success, output)
        for node, (success, output) in zip(nodes, results, strict=True)
    }


def parse(success: bool, output: str) -> dict[str, Any]:
    """One node's answer: JSON of its state, or the reason why there is none."""
    if success:
        try:
            state = json.loads(output)
        except ValueError:
            return _unknown("not the answer of gnt-gluster: %.200s" % output)
        if isinstance(state, dict) and "template" in state:
            return state
        return _unknown("not the answer of gnt-gluster: %.200s" % output)
    return _unknown("%s; is ganeti-gluster installed there?" % output.strip())


def _unknown(reason: str) -> dict[str, Any]:
    return {"template": "unknown", "reasons": [reason]}
