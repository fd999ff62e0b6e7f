"""Service types, services on nodes, and how their statuses make one.

The statuses form a semilattice: `aggregate` takes the least upper bound in

    UNKNOWN < NOT_INSTALLED < STOPPED < PARTIALLY_UP,   RUNNING < PARTIALLY_UP

where RUNNING is above none of the others, so that RUNNING together with anything
else is PARTIALLY_UP.  Hence the order of members does not matter, a status with
itself stays, and it is the same whether services or nodes are put together first.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Between, Moment, Name, Serial, Summary


class ServiceStatus(enum.Enum):
    """The state of one service on one node, or of several together."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    PARTIALLY_UP = "PARTIALLY_UP"
    NOT_INSTALLED = "NOT_INSTALLED"
    UNKNOWN = "UNKNOWN"

    def __str__(self) -> str:
        return self.value

    @property
    def word(self) -> str:
        """What people read: "Up", "Down", …"""
        return _APPEARANCE[self][0]

    @property
    def colour(self) -> str:
        """The colour that goes with the word, never without it."""
        return _APPEARANCE[self][1]


_APPEARANCE = {
    ServiceStatus.RUNNING: ("Up", "green"),
    ServiceStatus.STOPPED: ("Down", "red"),
    ServiceStatus.PARTIALLY_UP: ("Partially up", "amber"),
    ServiceStatus.NOT_INSTALLED: ("Not installed", "grey"),
    ServiceStatus.UNKNOWN: ("Unknown", "grey"),
}


def status_word(name: str) -> str:
    """What people read for a status by its name; the name itself if there is no such status."""
    try:
        return ServiceStatus(name).word
    except ValueError:
        return name


# All but RUNNING, the lowest first.
_CHAIN = (
    ServiceStatus.UNKNOWN,
    ServiceStatus.NOT_INSTALLED,
    ServiceStatus.STOPPED,
    ServiceStatus.PARTIALLY_UP,
)


def aggregate(statuses: Iterable[ServiceStatus]) -> ServiceStatus:
    """The status of several together.

    UNKNOWN for none at all.  That is an answer, not a member: leave empty groups out when
    groups are combined.
    """
    distinct = set(statuses)
    if distinct == {ServiceStatus.RUNNING}:
        return ServiceStatus.RUNNING
    if ServiceStatus.RUNNING in distinct:
        return ServiceStatus.PARTIALLY_UP
    return max(distinct, key=_CHAIN.index, default=ServiceStatus.UNKNOWN)


# The kernel's own limit on 64 bits.
MOST_PID = 2**22


@dataclass(frozen=True)
class Service:
    """A service of the master list, and the names that its unit may have, best first."""

    name: str
    units: tuple[str, ...]


@dataclass(frozen=True)
class NodeChoice:
    """Which nodes a service type is expected on: all, those with a tag, or those named.

    `kind` is "all", "tag" or "names"; no names means none.
    """

    kind: str = "all"
    tag: str = ""
    names: frozenset[str] = frozenset()

    def __contains__(self, node: ServiceNode) -> bool:
        if self.kind == "all":
            return True
        if self.kind == "tag":
            return self.tag in node.tags
        return any(_is_called(node.name, name) for name in self.names)

    def strange(self, nodes: Iterable[ServiceNode]) -> list[str]:
        """The names here that no node has."""
        known = [node.name for node in nodes]
        return sorted(
            name for name in self.names if not any(_is_called(node, name) for node in known)
        )

    def __str__(self) -> str:
        if self.kind == "tag":
            return "tag:%s" % self.tag
        return "all" if self.kind == "all" else " ".join(sorted(self.names)) or "none"


def _is_called(node: str, name: str) -> bool:
    """Whether a name means a node: its whole name, or that without its domain or a part of it."""
    return node == name or node.startswith("%s." % name)


@dataclass(frozen=True)
class ServiceNode:
    """A node as the cluster knows it."""

    name: str
    tags: frozenset[str] = frozenset()
    offline: bool = False
    address: str = ""
    master_candidate: bool = False


@dataclass(frozen=True)
class ServiceType:
    """A group of services that are managed together, in the order of their start.

    `verify`: whether `gnt-cluster verify` reports nodes on which not all run.
    """

    name: str
    title: str
    services: tuple[Service, ...]
    nodes: NodeChoice = NodeChoice()
    verify: bool = False

    def service(self, name: str) -> Service | None:
        """The service called `name`, by its own name or by one of its units."""
        for service in self.services:
            if name == service.name or name in service.units:
                return service
        return None


@dataclass(frozen=True)
class ServerService:
    """One service on one node.

    `since` (seconds since the epoch) is when it came into its status, None if not
    known; `unit` is the one of its units that counts, "" if none is installed.
    `transition` is "activating", "deactivating", … while the service is on its
    way to another status than `status`.  `restarts` is how often systemd has restarted it, if
    it ends over and over.
    """

    type: Name
    name: Name
    node: Name
    status: ServiceStatus
    message: str = ""
    since: Moment | None = None
    unit: Name = ""
    enabled: bool | None = None
    pid: Annotated[int, Between(1, MOST_PID)] | None = None
    transition: Name = ""
    restarts: Serial = 0


@dataclass(frozen=True)
class Aggregate:
    """The status of several services; `message` names every member that is UNKNOWN."""

    status: ServiceStatus
    message: Summary = ""
    members: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the members."""
        return {"status": self.status.value, "message": self.message, "members": self.members}


@dataclass(frozen=True)
class Host(Aggregate):
    """The services of a type on one node, and their status as one."""

    node: Name = ""
    services: tuple[ServerService, ...] = ()


@dataclass(frozen=True)
class TypeServices(Aggregate):
    """The services of a type in the cluster: as one, by service over all nodes, by node.

    Those over all nodes have no `node`.
    """

    type: Name = ""
    services: tuple[ServerService, ...] = ()
    hosts: tuple[Host, ...] = ()


@dataclass(frozen=True)
class ClusterServices:
    """The services of the cluster at one time.

    It only contains what is expected: a node on which a type is not expected has no services of
    that type.  `failures` has the nodes that did not answer, with the reason; their services are
    UNKNOWN.  `masters` has which node each answering node considers the master; it is not stored.
    """

    time: Moment
    services: tuple[ServerService, ...]
    failures: Mapping[Name, str] = field(default_factory=dict)
    masters: Mapping[Name, Name] = field(default_factory=dict)

    def select(
        self, *, type: str | None = None, node: str | None = None, service: str | None = None
    ) -> list[ServerService]:
        """The services with all of the properties that are given."""
        return [
            each
            for each in self.services
            if type in (None, each.type)
            and node in (None, each.node)
            and service in (None, each.name)
        ]

    def aggregate(
        self, *, type: str | None = None, node: str | None = None, service: str | None = None
    ) -> Aggregate:
        """Those of `select` as one."""
        return together(self.select(type=type, node=node, service=service))

    def of_type(self, type: ServiceType) -> TypeServices:
        """All that is known of a type."""
        hosts = []
        for node in self.nodes(type.name):
            members = self.select(type=type.name, node=node)
            hosts.append(Host(**vars(together(members)), node=node, services=tuple(members)))
        services = []
        for service in type.services:
            each = self.aggregate(type=type.name, service=service.name)
            message = decode.printable(each.message, longest=decode.LONGEST_TEXT)
            services.append(ServerService(type.name, service.name, "", each.status, message))
        whole = self.aggregate(type=type.name)
        return TypeServices(
            **vars(whole), type=type.name, services=tuple(services), hosts=tuple(hosts)
        )

    def types(self) -> list[str]:
        """The names of the types there are services of, in their order."""
        return list(dict.fromkeys(service.type for service in self.services))

    def nodes(self, type: str | None = None) -> list[str]:
        """The nodes there are services on, sorted."""
        return sorted({service.node for service in self.select(type=type)})

    def with_services(self, services: Iterable[ServerService]) -> ClusterServices:
        """The same with other services."""
        return replace(self, services=tuple(services))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, as it is kept."""
        data = decode.as_data(self)
        del data["masters"]
        return data


def together(services: Iterable[ServerService]) -> Aggregate:
    """Services as one, with a message that names what does not run, if some do.

    Members that are UNKNOWN are named in any case, with their reasons.
    """
    members = list(services)
    status = aggregate(member.status for member in members)
    parts = []
    if status is ServiceStatus.PARTIALLY_UP:
        for each in (ServiceStatus.STOPPED, ServiceStatus.NOT_INSTALLED):
            named = _names(members, each, lambda member: "")
            if named:
                parts.append("%s: %s" % (each.word.lower(), named))
    unknown = _names(members, ServiceStatus.UNKNOWN, lambda member: member.message)
    if unknown:
        parts.append("unknown: %s" % unknown)
    return Aggregate(status, "; ".join(parts), len(members))


def _names(
    members: list[ServerService], status: ServiceStatus, reason: Callable[[ServerService], str]
) -> str:
    """`node1 (proxy, object), node2: reason`, where all services of a node need no names."""
    groups: dict[tuple[str, str], list[str]] = {}
    for member in sorted(members, key=lambda member: member.node):
        if member.status is status:
            groups.setdefault((member.node, reason(member)), []).append(member.name)
    total: dict[str, int] = {}
    for member in members:
        total[member.node] = total.get(member.node, 0) + 1
    texts = []
    for (node, why), names in groups.items():
        text = node if len(names) == total[node] > 1 else "%s (%s)" % (node, ", ".join(names))
        texts.append("%s: %s" % (text, why) if why else text)
    return ", ".join(texts)
