"""This node as it is verified: what it is like, and what of that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.core.verify.finding import Finding, ordered
from ganeti_gluster.core.verify.gather import gather_node
from ganeti_gluster.core.verify.keep import Keep
from ganeti_gluster.core.verify.node_checks import check_node
from ganeti_gluster.plugin_state import PluginState


def facts(
    node: str,
    plugin: PluginState,
    params: Sequence[Mapping[str, Any]] | None = None,
    *,
    keep: Keep | None = None,
) -> NodeFacts:
    """Check this node; `params` are the volumes to reach, by default the master's last list."""
    params = expected_volumes.load(node) if params is None else expected_volumes.plain(params)
    found = gather_node(node, plugin, expected_volumes.specs(params), keep=keep)
    return NodeFacts(**{**vars(found), "told": tuple(params)})


def findings(facts: NodeFacts, offline: Collection[str]) -> list[Finding]:
    """What this node's own facts show to be wrong; nodes that are `offline` are none of it."""
    return ordered(check_node(facts, offline=offline))
