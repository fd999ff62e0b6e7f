"""The volumes of the pool: their shape, their bricks and their options."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

INFO = ("volume", "info")

STARTED = "Started"
# What `volume get` puts behind a value that nobody has set.
_DEFAULT = " (DEFAULT)"


@dataclass(frozen=True)
class VolumeBrick:
    """A brick: `server` is named as it was when the volume was made."""

    server: str
    path: str
    server_uuid: str
    arbiter: bool = False

    def __str__(self) -> str:
        """As the gluster command expects it."""
        return "%s:%s" % (self.server, self.path)


@dataclass(frozen=True)
class VolumeInfo:
    """A volume as configured; `options` are those that were set, `bricks` in order.

    `replica` counts all copies, the arbiter's among them, and is 1 without;
    `disperse` and `redundancy` are 0 without.
    """

    name: str
    uuid: str
    state: str
    kind: str
    replica: int
    arbiter: int
    disperse: int
    redundancy: int
    bricks: tuple[VolumeBrick, ...]
    options: dict[str, str]

    @property
    def started(self) -> bool:
        """Whether it is to run."""
        return self.state == STARTED

    @property
    def servers(self) -> list[str]:
        """The servers of its bricks, each once, in their order."""
        return list(dict.fromkeys(brick.server for brick in self.bricks))

    @property
    def params(self) -> dict[str, str]:
        """Ganeti's disk parameters that name it."""
        return {"volume": self.name, "host": ",".join(self.servers)}

    @property
    def set_size(self) -> int:
        """The number of bricks that belong together."""
        return self.disperse or self.replica

    @property
    def sets(self) -> list[tuple[VolumeBrick, ...]]:
        """The bricks by replica or disperse set; single bricks without copies."""
        size = self.set_size
        return [self.bricks[at : at + size] for at in range(0, len(self.bricks), size)]

    def set_of(self, brick: VolumeBrick) -> tuple[VolumeBrick, ...]:
        """The bricks that belong together with this one, itself among them."""
        return next(each for each in self.sets if brick in each)


def parse(answer: ET.Element) -> list[VolumeInfo]:
    """The volumes of `volume info`."""
    return [_volume(volume) for volume in answer.iterfind("volInfo/volumes/volume")]


def get_words(volume: str) -> tuple[str, ...]:
    """The question for all options in force."""
    return ("volume", "get", volume, "all")


def parse_options(answer: ET.Element) -> dict[str, str]:
    """The options of `volume get VOLUME all`, without the mark of defaults."""
    return {
        option.findtext("Option", ""): option.findtext("Value", "").removesuffix(_DEFAULT)
        for option in answer.iter("Opt")
    }


def _volume(volume: ET.Element) -> VolumeInfo:
    return VolumeInfo(
        name=volume.findtext("name", ""),
        uuid=volume.findtext("id", ""),
        state=volume.findtext("statusStr", ""),
        kind=volume.findtext("typeStr", ""),
        replica=_count(volume, "replicaCount") or 1,
        arbiter=_count(volume, "arbiterCount"),
        disperse=_count(volume, "disperseCount"),
        redundancy=_count(volume, "redundancyCount"),
        bricks=tuple(_brick(brick) for brick in volume.iterfind("bricks/brick")),
        options={
            option.findtext("name", ""): option.findtext("value", "")
            for option in volume.iterfind("options/option")
        },
    )


def _brick(brick: ET.Element) -> VolumeBrick:
    # An IPv6 address has colons too; the path is absolute.
    server, _, path = brick.findtext("name", "").partition(":/")
    return VolumeBrick(
        server=server,
        path="/" + path,
        server_uuid=brick.findtext("hostUuid", ""),
        arbiter=brick.findtext("isArbiter") == "1",
    )


def _count(volume: ET.Element, name: str) -> int:
    text = volume.findtext(name, "0")
    return int(text) if text.isdecimal() else 0
