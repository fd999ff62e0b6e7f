"""Whether the services run where they are expected, for `gnt-cluster verify`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ganeti_gluster.core.services.model import ClusterServices, ServiceStatus, ServiceType
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
