"""The plugin's state on every node, fetched by one of Ganeti's restricted commands."""

from __future__ import annotations

from typing import Any

from ganeti_gluster.cmdlib import cluster
from ganeti_gluster.plugin_state import OFFLINE, parse, unanswered

STATUS_COMMAND = "gluster-plugin-status"
#: Seconds for a node to answer.
SECONDS = 60.0


def fetch(names: list[str]) -> dict[str, dict[str, Any]]:
    """The state of the nodes of these `names`, of all for none, as `local_status` gives it.

    A node that does not answer has only `template` ("unknown") and `reasons`, and
    so has a node that is marked offline ("offline"), which is not asked.
    """
    nodes = cluster.choose(cluster.nodes(), names)
    addresses = {node.name: node.address for node in nodes if not node.offline}
    states = {node.name: unanswered(OFFLINE, "marked offline in Ganeti") for node in nodes}
    for name, answer in cluster.ask(STATUS_COMMAND, addresses, seconds=SECONDS).items():
        states[name] = parse(not answer.error, answer.reason or answer.output)
    return states
