"""All data of the page and its sources, and the actions that it can request.

It runs in the process that may query glusterd and read the services' store, and only returns
data.  Each source may hang; background.py makes sure that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ganeti import cli

from ganeti_gluster.cmdlib import cluster, cluster_config, verify
from ganeti_gluster.cmdlib import services as cluster_services
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.monitoring.agent import METRICS_FILE, REPORT_FILE
from ganeti_gluster.tools.gluster_cli import Gluster
from ganeti_gluster.web import facts
from ganeti_gluster.web.actions import Order
from ganeti_gluster.web.background import FactSource
from ganeti_gluster.web.pool import History, PoolSource
from ganeti_gluster.web.services import events_facts, service_type, services_facts, silent_nodes
from ganeti_gluster.web.verification import findings_facts, metrics_facts, volumes_in_use

#: Seconds between two looks at each source while somebody looks at the page.
CLUSTER_EVERY = 15.0
POOL_EVERY = 30.0
SERVICES_EVERY = 5.0
FINDINGS_EVERY = 10.0
METRICS_EVERY = 15.0
#: Seconds for the nodes to tell of their bricks and open images.
NODES_SECONDS = 15.0

_ROLES = {
    "M": "master",
    "C": "master candidate",
    "R": "regular",
    "D": "drained",
    "O": "offline",
}


def cluster_facts() -> facts.ClusterFacts:
    """Nodes and gluster disks, from Ganeti's master daemon; no job is needed."""
    client = cli.GetClient()
    known = cluster_config.load(client)
    # Their state is asked of the nodes, which takes a while.
    names = sorted({disk.instance for disk in known.disks})
    states = dict(client.QueryInstances(names, ["name", "status"], False)) if names else {}
    silent = silent_nodes()
    return facts.ClusterFacts(
        name=known.cluster,
        master=known.master,
        nodes=tuple(_node(node, silent.get(node.name, "")) for node in known.nodes),
        disks=tuple(
            facts.ShownDisk(**vars(disk), status=str(states.get(disk.instance, "?")))
            for disk in known.disks
        ),
    )


def _node(node: ClusterNode, silent: str) -> facts.ShownNode:
    role = _ROLES.get(node.role, node.role)
    return facts.ShownNode(node.name, role, node.offline, node.group or "?", silent)


def node_facts() -> Mapping[str, NodeFacts]:
    """What the nodes say of themselves, those that answer in time."""
    return verify.facts_of(cluster.nodes(), seconds=NODES_SECONDS)


def carry_out(order: Order, report: Callable[[list[Outcome]], None]) -> None:
    """Start, stop or restart; see `orders.obey`, which has looked at the names."""
    cluster_services.run(
        order.verb,
        service_type(),
        nodes=order.nodes,
        services=order.services,
        user="%s (web page)" % order.user,
        on_node_done=lambda _node, outcomes: report(outcomes),
    )


def sources() -> list[FactSource]:
    """All sources of the page."""
    history = History()

    def pool_extra(pool: Any) -> tuple[str, Any] | None:
        samples = history.add(pool)
        return None if samples is None else ("history", samples)

    return [
        FactSource("cluster", cluster_facts, every=CLUSTER_EVERY),
        FactSource(
            "pool",
            PoolSource(Gluster(), node_facts, measured=lambda: volumes_in_use(REPORT_FILE)),
            every=POOL_EVERY,
            extra=pool_extra,
        ),
        FactSource("swift", services_facts, every=SERVICES_EVERY),
        FactSource("events", events_facts, every=SERVICES_EVERY),
        FactSource("findings", findings_facts, every=FINDINGS_EVERY),
        FactSource("metrics", lambda: metrics_facts(METRICS_FILE), every=METRICS_EVERY),
    ]
