"""The facts about a node that `pool create` needs before it changes anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Count, Name, Sentence


@dataclass(frozen=True)
class PlaceFacts:
    """The directory where a node's bricks are to be, and the brick's own below it.

    Sizes are bytes.  `volume_id` is of the brick's directory, `inside` a directory
    above it that is a brick itself.  `entries` are a few names that the brick's
    directory holds, without Gluster's own; `served`: a brick's process has had it before.
    `mount` is where the file system is mounted, `broken` the error that looking at it gave.
    `sector` is the smallest request that its device takes, 0 where that is not known.
    """

    path: str
    exists: bool = False
    own_file_system: bool = False
    file_system: str = ""
    source: str = ""
    read_only: bool = False
    size: Count = 0
    free: Count = 0
    holds_something: bool = False
    brick_exists: bool = False
    volume_id: str = ""
    entries: tuple[str, ...] = ()
    inside: str = ""
    served: bool = False
    mount: str = ""
    broken: Sentence = ""
    sector: Count = 0


@dataclass(frozen=True)
class DeviceFacts:
    """The block device that is to be formatted; `signatures` say what is on it.

    `mounted_at` is where its file system is mounted; `busy`: something else has it.
    `ours`: it was formatted for this purpose; `interrupted`: that did not end.  `sector` is
    the smallest request that it takes, in bytes, 0 where that is not known.
    """

    path: str
    exists: bool = False
    is_block: bool = False
    size: Count = 0
    signatures: tuple[str, ...] = ()
    mounted_at: str = ""
    busy: bool = False
    ours: bool = False
    interrupted: bool = False
    sector: Count = 0

    def wiped(self, directory: str) -> tuple[str, ...]:
        """What is on it that would be lost if it became the file system at `directory`."""
        return () if directory == self.mounted_at or self.interrupted else self.signatures


@dataclass(frozen=True)
class CandidateFacts:
    """A node that may get a brick, as it sees itself and the others.

    `addresses`: for each node's name what it resolves to here, "" if it does not;
    `names`: for each of those addresses the name that it resolves back to;
    `reach`: for each node why its glusterd is not reached from here, "" if it is.
    `clock` is the seconds by which its clock is ahead of the asking node's, measured
    to about a second.
    """

    version: Name = ""
    plugin: Name = ""
    active: bool = False
    enabled: bool = False
    uuid: Name = ""
    peers: tuple[Name, ...] = ()
    peer_uuids: tuple[Name, ...] = ()
    unsound_peers: tuple[str, ...] = ()
    volumes: tuple[Name, ...] = ()
    own_addresses: tuple[Name, ...] = ()
    addresses: dict[Name, Name] = field(default_factory=dict)
    names: dict[Name, str] = field(default_factory=dict)
    reach: dict[Name, Sentence] = field(default_factory=dict)
    has_mkfs: bool = False
    clock: float = 0.0
    place: PlaceFacts = field(default_factory=lambda: PlaceFacts(""))
    device: DeviceFacts | None = None

    def wiped(self, directory: str, *, wipe: bool) -> tuple[str, ...]:
        """What would be lost on its device, for a message."""
        return self.device.wiped(directory) if self.device and wipe else ()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CandidateFacts:
        """From what `dataclasses.asdict` made, after its way through JSON.

        Raises NotUnderstood.
        """
        return decode.build(cls, data)
