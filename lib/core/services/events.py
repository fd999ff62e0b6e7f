"""What changed between two snapshots: each change is one event.

Nothing here reads a clock or a disk: the same two snapshots give the same events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from ganeti_gluster.core.services.model import (
    Aggregate,
    ClusterServices,
    ServerService,
    ServiceStatus,
    status_word,
)
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Longest, Moment, Name, Serial

SERVICE_STATUS = "service-status"
SERVICE_APPEARED = "service-appeared"
SERVICE_VANISHED = "service-vanished"
NODE_STATUS = "node-status"
CLUSTER_STATUS = "cluster-status"
FETCH_FAILED = "fetch-failed"
FETCH_RESTORED = "fetch-restored"
SERVICE_ACTION = "service-action"
KINDS = (
    SERVICE_ACTION,
    FETCH_FAILED,
    FETCH_RESTORED,
    SERVICE_APPEARED,
    SERVICE_VANISHED,
    SERVICE_STATUS,
    NODE_STATUS,
    CLUSTER_STATUS,
)


#: Characters of an event's message: it goes into the environment of hooks, and
#: `replica.longest` has to know how much room a history takes.
LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Event:
    """One change, found at `time` (seconds since the epoch).

    `type`, `node`, `service`, `old` and `new` are "" if they do not apply.  `id` orders the events
    of the cluster and is 0 before the event is stored.  `uid` identifies the event permanently,
    even if it is reported twice.
    """

    time: Moment
    kind: Name
    type: Name = ""
    node: Name = ""
    service: Name = ""
    old: Name = ""
    new: Name = ""
    message: Annotated[str, Longest(LONGEST_MESSAGE)] = ""
    id: Serial = 0
    uid: Name = ""

    def line(self) -> str:
        """One line for people, without the time."""
        return _sentence(self) + (": %s" % self.message if self.message else "")


def _sentence(event: Event) -> str:
    if event.kind == FETCH_FAILED:
        return "%s no longer reports its services" % event.node
    if event.kind == FETCH_RESTORED:
        return "%s reports its services again" % event.node
    if event.kind == SERVICE_ACTION:
        service = "%s %s" % (event.type, event.service) if event.service else event.type
        return "%s on %s" % (service, event.node)
    old, new = status_word(event.old), status_word(event.new)
    change = "%s -> %s" % (old, new)
    if event.kind == CLUSTER_STATUS:
        return "%s in the cluster: %s" % (event.type, change)
    if event.kind == NODE_STATUS:
        return "%s on %s: %s" % (event.type, event.node, change)
    service = "%s %s on %s" % (event.type, event.service, event.node)
    if event.kind == SERVICE_APPEARED:
        return "%s is new: %s" % (service, new)
    if event.kind == SERVICE_VANISHED:
        return "%s no longer exists: was %s" % (service, old)
    return "%s: %s" % (service, change)


def with_since(old: ClusterServices | None, new: ClusterServices) -> ClusterServices:
    """`new`, where a service whose node does not say since when has what `old` knows.

    For a status that `old` does not have it is the time of `new`.
    """
    before = {(was.type, was.node, was.name): was for was in (old.services if old else ())}
    services = []
    for service in new.services:
        if service.since is None:
            was = before.get((service.type, service.node, service.name))
            same = was is not None and was.status is service.status
            service = replace(service, since=was.since if was and same else new.time)
        services.append(service)
    return new.with_services(services)


def changes(old: ClusterServices, new: ClusterServices) -> list[Event]:
    """The events that lead from `old` to `new`, in the order of `KINDS`.

    A type that `old` has nothing of is recorded without events.  `id` and `uid` are
    not set.
    """
    events = [*_fetching(old, new)]
    common = [name for name in new.types() if name in old.types()]
    gone = [name for name in old.types() if name not in new.types()]
    for name in [*common, *gone]:
        events += _services(old.select(type=name), new.select(type=name), new.time)
    for name in common:
        events += _aggregates(old, new, name)
    return sorted(events, key=lambda event: KINDS.index(event.kind))


def news(
    old: ClusterServices, new: ClusterServices, last: Collection[ServerService]
) -> list[Event]:
    """As `changes`, but a node that becomes silent, or answers again, is one event.

    `last` has the last answers of the nodes that are silent in `old` or `new`: changes since
    then are reported when they answer again.
    """
    known = {(was.type, was.node, was.name): was for was in last}

    def as_told(snapshot: ClusterServices) -> ClusterServices:
        return snapshot.with_services(
            known.get((found.type, found.node, found.name), found)
            if found.node in snapshot.failures
            else found
            for found in snapshot.services
        )

    of_cluster = [event for event in changes(old, new) if event.kind == CLUSTER_STATUS]
    others = changes(as_told(old), as_told(new))
    return [*(event for event in others if event.kind != CLUSTER_STATUS), *of_cluster]


def _fetching(old: ClusterServices, new: ClusterServices) -> Iterable[Event]:
    for node, reason in sorted(new.failures.items()):
        if node not in old.failures:
            yield Event(new.time, FETCH_FAILED, node=node, message=message(reason))
    for node in sorted(old.failures):
        # A node that has left the cluster does not answer again.
        if node not in new.failures and node in new.nodes():
            yield Event(new.time, FETCH_RESTORED, node=node)


def _services(old: list[ServerService], new: list[ServerService], time: float) -> Iterable[Event]:
    before = {(service.node, service.name): service for service in old}
    after = {(service.node, service.name): service for service in new}
    for key, service in after.items():
        was = before.get(key)
        if was is None:
            yield _of(service, time, SERVICE_APPEARED, "", service.status)
        elif was.status is not service.status:
            yield _of(service, time, SERVICE_STATUS, was.status.value, service.status)
    for key, was in before.items():
        if key not in after:
            yield Event(
                time,
                SERVICE_VANISHED,
                type=was.type,
                node=was.node,
                service=was.name,
                old=was.status.value,
            )


def _of(service: ServerService, time: float, kind: str, old: str, new: ServiceStatus) -> Event:
    return Event(
        time,
        kind,
        type=service.type,
        node=service.node,
        service=service.name,
        old=old,
        new=new.value,
        message=message(service.message),
    )


def message(text: str) -> str:
    """What an event says beside the change, in one line of a bounded length."""
    return decode.printable(text, longest=LONGEST_MESSAGE)


def _aggregates(old: ClusterServices, new: ClusterServices, name: str) -> Iterable[Event]:
    for node in new.nodes(name):
        was, now = (at.aggregate(type=name, node=node) for at in (old, new))
        if was.members:
            yield from _aggregate_event(NODE_STATUS, name, node, was, now, new.time)
    was, now = old.aggregate(type=name), new.aggregate(type=name)
    yield from _aggregate_event(CLUSTER_STATUS, name, "", was, now, new.time)


def _aggregate_event(
    kind: str, name: str, node: str, was: Aggregate, now: Aggregate, time: float
) -> Iterable[Event]:
    if was.status is not now.status:
        yield Event(
            time,
            kind,
            type=name,
            node=node,
            old=was.status.value,
            new=now.status.value,
            message=message(now.message),
        )
