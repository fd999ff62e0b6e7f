"""What the page knows: facts of several sources, each with its age, as plain data.

The facts are gathered in another process (gather.py) and reach this one as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from ganeti_gluster.core.pool.state import PoolState
from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.events import Event
from ganeti_gluster.core.services.model import ClusterServices, Host, ServiceType, TypeServices
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Count, Moment, Name, Sentence, Serial
from ganeti_gluster.web.commands import CommandOrder

#: The type that has views of its own.
SWIFT = config.GLUSTER_SWIFT


@dataclass(frozen=True)
class ShownNode:
    """A node with Ganeti's word for its `role`; `silent` is why it did not answer, if so."""

    name: Name
    role: str
    offline: bool
    group: Name
    silent: Sentence = ""


@dataclass(frozen=True)
class ShownDisk(Disk):
    """A disk with the `status` that Ganeti gives its instance."""

    status: str = "?"


@dataclass(frozen=True)
class ClusterFacts:
    """What Ganeti's configuration says."""

    name: str
    master: str
    nodes: tuple[ShownNode, ...] = ()
    disks: tuple[ShownDisk, ...] = ()


@dataclass(frozen=True)
class ShownEvent(Event):
    """An event with its time, the title of its type, and one line of text."""

    at: Moment = 0.0
    title: str = ""
    text: Sentence = ""


@dataclass(frozen=True)
class EventsFacts:
    """The latest events, the newest first."""

    events: tuple[ShownEvent, ...] = ()


@dataclass(frozen=True)
class FindingsFacts:
    """What the last verification of the whole cluster found."""

    findings: tuple[Finding, ...] = ()


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

    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class ShownImage:
    """A disk's image on its volume; `size` is None if it is missing, both are in bytes.

    `degraded`, `split_brain` and `state` as of `core.health`.
    """

    volume: Name
    path: Name
    size: Count | None = None
    allocated: Count | None = None
    degraded: bool | None = None
    split_brain: bool = False
    state: Sentence = ""


@dataclass(frozen=True)
class ShownSnapshot:
    """A snapshot of an instance; `live`: the guest ran."""

    instance: Name
    name: Name
    taken: Moment
    allocated: Count
    complete: bool
    live: bool


@dataclass(frozen=True)
class ShownHolder:
    """A node that has an image open, named as `gv0/ganeti/…`; `why` its requests wait, if so."""

    image: Name
    node: Name
    mode: Name
    why: Sentence = ""


@dataclass(frozen=True)
class DisksFacts:
    """What volumes and nodes have of the disks; `problems` are of volumes that did not answer."""

    images: tuple[ShownImage, ...] = ()
    snapshots: tuple[ShownSnapshot, ...] = ()
    holders: tuple[ShownHolder, ...] = ()
    problems: tuple[Sentence, ...] = ()


@dataclass(frozen=True)
class ShownCommand:
    """A command that was begun on the page.

    `status` is its exit status, None while it runs and if it was killed; `lines` are the end of
    its output; `shows` is the plan that it has shown, if it is a dry run that succeeded.
    """

    number: Serial
    order: CommandOrder
    started: Moment
    ended: Moment | None = None
    status: Count | None = None
    lines: tuple[str, ...] = ()
    shows: Name = ""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    @property
    def state(self) -> str:
        """`running`, `done`, `shown` (a dry run), `failed` or `killed`."""
        if self.running:
            return "running"
        if self.status is None:
            return "killed"
        if self.status:
            return "failed"
        return "shown" if self.order.dry_run else "done"


@dataclass(frozen=True)
class CommandsFacts:
    """The latest commands, the newest first."""

    commands: tuple[ShownCommand, ...] = ()


@dataclass(frozen=True)
class ShownType(TypeServices):
    """The services of a type, with what people call it."""

    title: str = ""


@dataclass(frozen=True)
class ServicesFacts:
    """The services of all types."""

    types: tuple[ShownType, ...] = ()


#: The sources and what each brings; beside them "metrics" is the monitoring agent's text.
KINDS: dict[str, type[Any]] = {
    "cluster": ClusterFacts,
    "pool": PoolState,
    "swift": TypeServices,
    "services": ServicesFacts,
    "events": EventsFacts,
    "findings": FindingsFacts,
    "history": HistoryFacts,
    "commands": CommandsFacts,
    "disks": DisksFacts,
}


@dataclass(frozen=True)
class Part:
    """The answer of a source: its facts, when (seconds since the epoch), and its latest error.

    After an error the facts are the last good ones, or None.
    """

    data: Any = None
    at: float | None = None
    error: str = ""

    def age(self, now: float) -> float | None:
        """Seconds since the facts were gathered."""
        return None if self.at is None else max(0.0, now - self.at)


class Known:
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
    def pool(self) -> PoolState:
        return self.part("pool").data or PoolState()

    @property
    def swift(self) -> TypeServices | None:
        services: TypeServices | None = self.part("swift").data
        return services

    @property
    def types(self) -> tuple[ShownType, ...]:
        facts: ServicesFacts = self.part("services").data or ServicesFacts()
        return facts.types

    def type(self, name: str) -> ShownType | None:
        """The services of a type, None if they are not known."""
        return next((one for one in self.types if one.type == name), None)

    @property
    def events(self) -> tuple[ShownEvent, ...]:
        facts: EventsFacts = self.part("events").data or EventsFacts()
        return facts.events

    @property
    def findings(self) -> tuple[Finding, ...]:
        facts: FindingsFacts = self.part("findings").data or FindingsFacts()
        return facts.findings

    @property
    def history(self) -> tuple[Sample, ...]:
        facts: HistoryFacts = self.part("history").data or HistoryFacts()
        return facts.samples

    @property
    def disks(self) -> DisksFacts:
        facts: DisksFacts = self.part("disks").data or DisksFacts()
        return facts

    @property
    def commands(self) -> tuple[ShownCommand, ...]:
        facts: CommandsFacts = self.part("commands").data or CommandsFacts()
        return facts.commands

    def command(self, number: int) -> ShownCommand | None:
        """The command of that number, None if there is none or it is too old."""
        return next((one for one in self.commands if one.number == number), None)

    def host(self, node: str, type: str = SWIFT) -> Host | None:
        """The services of a type on a node, None if they are not known."""
        services = self.swift if type == SWIFT else self.type(type)
        hosts = services.hosts if services else ()
        return next((host for host in hosts if host.node == node), None)

    def merged(self, name: str, part: Part) -> Known:
        """This snapshot with one part's news; an error keeps the old facts."""
        old = self.part(name)
        if part.data is None:
            part = Part(old.data, old.at, part.error)
        return Known({**self.parts, name: part})


class Board:
    """The newest snapshot, for many readers; thread-safe.

    `types` are those of which the services are shown.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        types: Sequence[ServiceType] = config.BUILT_IN,
    ) -> None:
        self.clock = clock
        self._types = types
        self.snapshot = Known()

    def post(self, said: dict[str, Any]) -> None:
        """Take the news in what `encode` made.

        Raises ValueError, KeyError, TypeError or NotUnderstood.
        """
        snapshot = self.snapshot
        # The services of all types arrive together.
        for name in ("swift", "services") if said["name"] == "swift" else (said["name"],):
            news = snapshot.part(name).data if said["same"] else self._built(name, said["data"])
            snapshot = snapshot.merged(name, Part(news, said["at"], said["error"]))
        # One thread posts; readers see the old or the new one.
        self.snapshot = snapshot

    def _built(self, name: str, data: Any) -> Any:
        if data is None or name not in KINDS:
            return data
        if name in ("swift", "services"):
            return self._services(name, decode.build(ClusterServices, data))
        return decode.build(KINDS[name], data)

    def _services(self, name: str, found: ClusterServices) -> Any:
        shown = tuple(
            ShownType(**vars(found.of_type(type)), title=type.title) for type in self._types
        )
        if name == "services":
            return ServicesFacts(shown)
        return next((found.of_type(one) for one in self._types if one.name == SWIFT), None)


def encode(name: str, part: Part, *, same: bool = False) -> bytes:
    """A part as one line of JSON; `same`: the facts are those of the line before."""
    data = None if same else part.data
    if is_dataclass(data):
        data = decode.as_data(data)
    said = {"name": name, "data": data, "same": same, "at": part.at, "error": part.error}
    return json.dumps(said).encode("ascii") + b"\n"
