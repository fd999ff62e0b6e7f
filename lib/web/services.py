"""The services' facts, from the store that their sync keeps."""

from __future__ import annotations

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.services import config, store
from ganeti_gluster.services.model import ServiceType, Snapshot
from ganeti_gluster.web import facts

#: Events that are shown.
MAX_EVENTS = 300


def service_type() -> ServiceType:
    """The services that the page manages, as configured."""
    return config.load().type(config.GLUSTER_SWIFT)


def services_facts() -> facts.Part:
    """What the last sync of the services found."""
    with store.connect() as found:
        snapshot = found.snapshot()
    if snapshot is None:
        raise GanetiGlusterError("the services have not been asked yet")
    return facts.Part(services(snapshot, service_type()), snapshot.time)


def services(snapshot: Snapshot, type: ServiceType) -> facts.ServicesFacts:
    """The services of a type, by service and by node."""
    whole = snapshot.aggregate(type=type.name)
    columns = []
    for service in type.services:
        each = snapshot.aggregate(type=type.name, service=service.name)
        columns.append(facts.Service(type.name, service.name, each.status.value, each.message))
    hosts = []
    for node in snapshot.nodes(type.name):
        together = snapshot.aggregate(type=type.name, node=node)
        found = {one.name: one for one in snapshot.select(type=type.name, node=node)}
        hosts.append(
            facts.Host(
                node,
                together.status.value,
                together.message,
                [
                    facts.Service(
                        type.name, one.name, one.status.value, one.message, one.since, one.unit
                    )
                    for one in (found.get(service.name) for service in type.services)
                    if one is not None
                ],
            )
        )
    return facts.ServicesFacts(type.name, whole.status.value, whole.message, columns, hosts)


def events_facts() -> facts.EventsFacts:
    """The latest events, of all types."""
    titles = {type.name: type.title for type in config.load().types}
    with store.connect() as found:
        events = found.events(limit=MAX_EVENTS)
    return facts.EventsFacts(
        [
            facts.Event(
                id=event.id,
                at=event.time,
                kind=event.kind,
                type=event.type,
                title=titles.get(event.type, event.type),
                node=event.node,
                service=event.service,
                old=event.old,
                new=event.new,
                message=event.message,
                text=event.text(),
            )
            for event in reversed(events)
        ]
    )
