"""The processes of a volume.

`volume status VOLUME detail` would tell of the bricks' file systems as well, but makes glusterd
grow with each answer, up to the end of memory (public reports).  So it is never asked: each node
looks at the file systems of its own bricks (`core.verify.gather`).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from ganeti_gluster.tools.gluster_cli.volumes import VolumeBrick


@dataclass(frozen=True)
class BrickStatus:
    """A brick's process.

    `online` if it is running and clients find it: they ask glusterd for its port.
    """

    server: str
    path: str
    server_uuid: str
    online: bool
    port: int | None
    pid: int | None

    def __str__(self) -> str:
        """As the gluster command expects it."""
        return "%s:%s" % (self.server, self.path)


@dataclass(frozen=True)
class Daemon:
    """A helper process of the volume on a server, as "Self-heal Daemon" on node2.

    `server` is "localhost" for the one that was asked.
    """

    kind: str
    server: str
    server_uuid: str
    online: bool


@dataclass(frozen=True)
class VolumeStatus:
    """What runs of a volume, on the servers that are connected; `tasks` by kind."""

    name: str
    bricks: tuple[BrickStatus, ...]
    daemons: tuple[Daemon, ...]
    tasks: tuple[tuple[str, str], ...] = ()

    @property
    def without_port(self) -> list[BrickStatus]:
        """The bricks that run, of which glusterd does not know the port."""
        return [brick for brick in self.bricks if brick.port is None and brick.pid is not None]

    def offline(self, expected: Sequence[VolumeBrick]) -> list[VolumeBrick]:
        """Which of the bricks do not run, those of servers not connected included."""
        running = {(brick.server_uuid, brick.path) for brick in self.bricks if brick.online}
        return [brick for brick in expected if (brick.server_uuid, brick.path) not in running]


def words(volume: str) -> tuple[str, ...]:
    """The question."""
    return ("volume", "status", volume)


def parse(answer: ET.Element, name: str) -> VolumeStatus:
    """The status of volume `name` in the answer; empty if the answer lacks it."""
    for volume in answer.iterfind("volStatus/volumes/volume"):
        if volume.findtext("volName") == name:
            nodes = volume.findall("node")
            return VolumeStatus(
                name=name,
                bricks=tuple(_brick(node) for node in nodes if _is_brick(node)),
                daemons=tuple(_daemon(node) for node in nodes if not _is_brick(node)),
                tasks=tuple(
                    (task.findtext("type", ""), task.findtext("statusStr", ""))
                    for task in volume.iterfind("tasks/task")
                ),
            )
    return VolumeStatus(name, (), ())


def _is_brick(node: ET.Element) -> bool:
    return node.findtext("path", "").startswith("/")


def _brick(node: ET.Element) -> BrickStatus:
    return BrickStatus(
        server=node.findtext("hostname", ""),
        path=node.findtext("path", ""),
        server_uuid=node.findtext("peerid", ""),
        online=node.findtext("status") == "1" and _number(node, "port") is not None,
        port=_number(node, "port"),
        pid=_number(node, "pid"),
    )


def _daemon(node: ET.Element) -> Daemon:
    return Daemon(
        kind=node.findtext("hostname", ""),
        server=node.findtext("path", ""),
        server_uuid=node.findtext("peerid", ""),
        online=node.findtext("status") == "1",
    )


def _number(node: ET.Element, name: str) -> int | None:
    text = node.findtext(name, "")
    return int(text) if text.isdecimal() else None
