"""What the page knows: facts of several sources, each with its age, as plain data.

The facts are gathered in another process (gather.py) and reach this one as JSON.
"""

from __future__ import annotations

import json
import time
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A node of the cluster; `role` is Ganeti's word for it."""

    name: str
    role: str
    offline: bool
    group: str


@dataclass(frozen=True)
class Disk:
    """A gluster disk of an instance; `size` in bytes, `status` the instance's in Ganeti."""

    instance: str
    index: int
    node: str
    status: str
    size: int
    volume: str
    path: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """What Ganeti's configuration says."""

    name: str
    master: str
    nodes: list[Node] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)


@dataclass(frozen=True)
class Brick:
    """A brick; sizes in bytes, `heals` waiting entries, None where it did not tell."""

    node: str
    path: str
    online: bool
    arbiter: bool = False
    total: int | None = None
    free: int | None = None
    heals: int | None = None
    split_brain: int | None = None


@dataclass(frozen=True)
class Volume:
    """A volume; `problems` are sentences, none when it is sound."""

    name: str
    kind: str
    status: str
    bricks: list[Brick] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    total: int | None = None
    free: int | None = None


@dataclass(frozen=True)
class Peer:
    """A server of the pool as the master's glusterd sees it."""

    name: str
    connected: bool
    state: str


@dataclass(frozen=True)
class PoolFacts:
    """The pool and its volumes."""

    peers: list[Peer] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)


@dataclass(frozen=True)
class Service:
    """A service on a node; `since` is seconds since the epoch."""

    type: str
    name: str
    status: str
    message: str = ""
    since: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Host:
    """The services of one node, and their status as one."""

    node: str
    status: str
    message: str = ""
    services: list[Service] = field(default_factory=list)


@dataclass(frozen=True)
class ServicesFacts:
    """The services of a type in the cluster: as one, by service over nodes, by node."""

    type: str
    status: str
    message: str = ""
    services: list[Service] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """A change that was noticed, the newest first in lists.

    `title` is the type's for people, `text` tells the event in a line.
    """

    id: int
    at: float
    kind: str
    type: str = ""
    title: str = ""
    node: str = ""
    service: str = ""
    old: str = ""
    new: str = ""
    message: str = ""
    text: str = ""


@dataclass(frozen=True)
class EventsFacts:
    """The latest events."""

    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, as `gnt-gluster verify` tells it."""

    code: str
    severity: str
    object: str
    text: str
    remedy: str


@dataclass(frozen=True)
class FindingsFacts:
    """What the last verification of the whole cluster found."""

    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class MetricsFacts:
    """The monitoring agent's measurements of the master, in Prometheus's format."""

    text: str = ""


@dataclass(frozen=True)
class Sample:
    """A point of the charts: bytes used and total, entries waiting for a heal."""

    at: float
    used: int | None = None
    total: int | None = None
    heals: int | None = None


@dataclass(frozen=True)
class HistoryFacts:
    """The charts' points, the oldest first."""

    samples: list[Sample] = field(default_factory=list)


#: The sources and what each brings.
KINDS: dict[str, type[Any]] = {
    "cluster": ClusterFacts,
    "pool": PoolFacts,
    "swift": ServicesFacts,
    "events": EventsFacts,
    "findings": FindingsFacts,
    "history": HistoryFacts,
    "metrics": MetricsFacts,
}


@dataclass(frozen=True)
class Part:
    """What a source told: its facts, when (seconds since the epoch), and its latest error.

    After an error the facts are the last good ones, or None.
    """

    data: Any = None
    at: float | None = None
    error: str = ""

    def age(self, now: float) -> float | None:
        """Seconds since the facts were gathered."""
        return None if self.at is None else max(0.0, now - self.at)


class Snapshot:
    """All parts at one moment; immutable."""

    def __init__(self, parts: dict[str, Part] | None = None) -> None:
        self.parts = dict(parts or {})

    def part(self, name: str) -> Part:
        """A source's part; an empty one before its first answer."""
        return self.parts.get(name, Part())

    @property
    def cluster(self) -> ClusterFacts:
        return self.part("cluster").data or ClusterFacts("", "")

    @property
    def pool(self) -> PoolFacts:
        return self.part("pool").data or PoolFacts()

    @property
    def swift(self) -> ServicesFacts | None:
        found: ServicesFacts | None = self.part("swift").data
        return found

    @property
    def events(self) -> list[Event]:
        facts: EventsFacts = self.part("events").data or EventsFacts()
        return facts.events

    @property
    def findings(self) -> list[Finding]:
        facts: FindingsFacts = self.part("findings").data or FindingsFacts()
        return facts.findings

    @property
    def history(self) -> list[Sample]:
        facts: HistoryFacts = self.part("history").data or HistoryFacts()
        return facts.samples

    def host(self, node: str) -> Host | None:
        """The services of a node, None where they are not known."""
        hosts = self.swift.hosts if self.swift else []
        return next((host for host in hosts if host.node == node), None)

    def merged(self, name: str, part: Part) -> Snapshot:
        """This snapshot with one part's news; an error keeps the old facts."""
        old = self.part(name)
        if part.data is None:
            part = Part(old.data, old.at, part.error)
        return Snapshot({**self.parts, name: part})


class Board:
    """The newest snapshot, for many readers; thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.snapshot = Snapshot()

    def post(self, said: dict[str, Any]) -> None:
        """Take the news in what `encode` made; raises ValueError, KeyError or TypeError."""
        name, data = said["name"], said["data"]
        news = None if data is None else build(KINDS[name], data)
        if said["same"]:
            news = self.snapshot.part(name).data
        # One thread posts; readers see the old or the new one.
        self.snapshot = self.snapshot.merged(name, Part(news, said["at"], said["error"]))


def encode(name: str, part: Part, *, same: bool = False) -> bytes:
    """A part as one line of JSON; `same`: the facts are those of the line before."""
    data = None if part.data is None or same else asdict(part.data)
    said = {"name": name, "data": data, "same": same, "at": part.at, "error": part.error}
    text = json.dumps(said)
    return text.encode("ascii") + b"\n"


def build(kind: type[T], data: dict[str, Any]) -> T:
    """A dataclass from what `asdict` made of it; unknown fields are left out."""
    hints = typing.get_type_hints(kind)
    values = {name: _value(hints[name], value) for name, value in data.items() if name in hints}
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return [_value(inner, item) for item in value]
    if isinstance(hint, types.UnionType):
        return value
    return build(hint, value) if is_dataclass(hint) and isinstance(hint, type) else value
