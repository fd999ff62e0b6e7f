"""All data of the page and its sources, and the actions that it can request.

It runs in the process that may query glusterd and read the services' store, and only returns
data.  Each source may hang; background.py makes sure that nobody waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ganeti import cli

from ganeti_gluster.cmdlib import cluster, cluster_config, verify
from ganeti_gluster.cmdlib import services as cluster_services
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.monitoring.agent import METRICS_FILE, REPORT_FILE
from ganeti_gluster.tools.gluster_cli import Gluster
from ganeti_gluster.web import disks, facts
from ganeti_gluster.web.actions import Order
from ganeti_gluster.web.background import FactSource
from ganeti_gluster.web.commands import FIELDS, KINDS, CommandOrder, make_command
from ganeti_gluster.web.pool import History, PoolSource
from ganeti_gluster.web.runs import Runs
from ganeti_gluster.web.services import events_facts, service_type, services_facts, silent_nodes
from ganeti_gluster.web.verification import findings_facts, metrics_facts, volumes_in_use

#: Seconds between two looks at each source while somebody looks at the page.
CLUSTER_EVERY = 15.0
POOL_EVERY = 30.0
SERVICES_EVERY = 5.0
FINDINGS_EVERY = 10.0
METRICS_EVERY = 15.0
COMMANDS_EVERY = 2.0
DISKS_EVERY = 60.0
#: Seconds for the nodes to tell of their bricks and open images.
NODES_SECONDS = 15.0

log = logging.getLogger(__name__)

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


def disk_facts(nodes: Mapping[str, NodeFacts]) -> facts.DisksFacts:
    """What the volumes have of the disks in the configuration."""
    known = cluster_config.load()
    return disks.disks_facts(known.specs, known.disks, nodes)


#: Starts and stops are carried out one after the other.
_one_at_a_time = threading.Lock()


def carry_out(order: Order, report: Callable[[list[Outcome]], None]) -> None:
    """Start, stop or restart; see `orders.obey`, which has looked at the names."""
    with _one_at_a_time:
        cluster_services.run(
            order.verb,
            service_type(order.type),
            nodes=order.nodes,
            services=order.services,
            user="%s (web page)" % order.user,
            on_node_done=lambda _node, outcomes: report(outcomes),
        )


def begin(order: CommandOrder, runs: Runs) -> int:
    """Begin a command about what there is; raises InvalidOrder, or what `Runs.begin` does."""
    found = cluster_config.load()
    known = {
        "node": [node.name for node in found.nodes],
        "instance": sorted({disk.instance for disk in found.disks}),
        "volume": [volume.name for volume in Gluster().volumes()]
        if KINDS.get(order.kind) is KINDS["heal"]
        else [],
    }
    fields = {name: getattr(order, name) for name in FIELDS}
    checked = make_command(order.kind, fields, known, dry_run=order.dry_run, plan=order.plan)
    log.info("%s, for %s", checked.line, order.user)
    return runs.begin(replace(checked, user=order.user))


def sources(runs: Runs) -> list[FactSource]:
    """All sources of the page."""
    history = History()
    pool = PoolSource(Gluster(), node_facts, measured=lambda: volumes_in_use(REPORT_FILE))

    def pool_extra(state: Any) -> tuple[str, Any] | None:
        samples = history.add(state)
        return None if samples is None else ("history", samples)

    return [
        FactSource("cluster", cluster_facts, every=CLUSTER_EVERY),
        FactSource(
            "pool",
            pool,
            every=POOL_EVERY,
            extra=pool_extra,
        ),
        FactSource("disks", lambda: disk_facts(pool.nodes), every=DISKS_EVERY),
        FactSource("swift", services_facts, every=SERVICES_EVERY),
        FactSource("events", events_facts, every=SERVICES_EVERY),
        FactSource("findings", findings_facts, every=FINDINGS_EVERY),
        FactSource("commands", runs.facts, every=COMMANDS_EVERY),
        FactSource("metrics", lambda: metrics_facts(METRICS_FILE), every=METRICS_EVERY),
    ]
