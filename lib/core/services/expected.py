"""Whether the services run where they are expected, for `gnt-cluster verify`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ganeti_gluster import constants
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServiceNode,
    ServiceStatus,
    ServiceType,
)
from ganeti_gluster.core.verify.codes import WARNING
from ganeti_gluster.core.verify.finding import Finding


def findings(
    snapshot: ClusterServices, types: Iterable[ServiceType], *, offline: Collection[str]
) -> Iterable[Finding]:
    """One finding for each node and each type with `verify` whose services do not all run.

    Nodes that are `offline` are left out.  A node that does not answer is a warning:
    its services may well run.
    """
    for type in types:
        for node in snapshot.nodes(type.name) if type.verify else ():
            status = snapshot.aggregate(type=type.name, node=node).status
            if node in offline or status is ServiceStatus.RUNNING:
                continue
            yield Finding.of(
                "SERVICES_DOWN",
                node,
                "%s: %s" % (type.title, _reasons(snapshot, type, node)),
                severity=WARNING if status is ServiceStatus.UNKNOWN else None,
                node=node,
                type=type.name,
            )


def disabled(
    snapshot: ClusterServices, types: Iterable[ServiceType], *, offline: Collection[str]
) -> Iterable[Finding]:
    """One finding for each node and each type with `verify` that runs, but not after a reboot."""
    for type in types:
        for node in snapshot.nodes(type.name) if type.verify else ():
            named = [
                service
                for service in snapshot.select(type=type.name, node=node)
                if service.status is ServiceStatus.RUNNING and service.enabled is False
            ]
            if named and node not in offline:
                yield Finding.of(
                    "SERVICES_DISABLED",
                    node,
                    "%s: %s will not start when the node boots"
                    % (type.title, ", ".join(service.name for service in named)),
                    node=node,
                    units=" ".join(service.unit for service in named),
                )


def strange_nodes(
    types: Iterable[ServiceType], nodes: Collection[ServiceNode]
) -> Iterable[tuple[ServiceType, str]]:
    """The types whose `nodes` name what is no node of the cluster, with that name."""
    return [(type, name) for type in types for name in type.nodes.strange(nodes)]


def misnamed(
    cluster: str, types: Iterable[ServiceType], nodes: Collection[ServiceNode]
) -> Iterable[Finding]:
    """One finding for each of `strange_nodes`."""
    for type, name in strange_nodes(types, nodes):
        yield Finding.of(
            "SERVICES_NODE",
            cluster,
            "%s is expected on %s, which is no node of this cluster" % (type.title, name),
            type=type.name,
            file=constants.SERVICES_CONF,
        )


def _reasons(snapshot: ClusterServices, type: ServiceType, node: str) -> str:
    """`proxy is down (masked), object is not installed`."""
    if node in snapshot.failures:
        return "unknown (%s)" % snapshot.failures[node]
    return ", ".join(
        "%s is %s" % (service.name, service.status.word.lower())
        + (
            " (%s)" % service.message
            if service.message and service.status is not ServiceStatus.NOT_INSTALLED
            else ""
        )
        for service in snapshot.select(type=type.name, node=node)
        if service.status is not ServiceStatus.RUNNING
    )
