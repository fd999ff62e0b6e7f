"""What is known of a node and of a volume; nodes send theirs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ganeti_gluster.gluster_cli import BrickHeal, VolumeInfo, VolumeStatus
from ganeti_gluster.image import ImageInfo

#: Changes when a node's facts are no longer read by older releases.
FORMAT = 1

#: The GFID of the directory of pieces, the same on all volumes (`SHARD_ROOT_GFID`).
SHARD_GFID = "be318638-e8a0-4c6d-977d-7a937aa84806"

# The state of glusterd on a node.
RUNNING = "running"
ABSENT = "absent"  # not installed, or never a member of a pool
DOWN = "down"
SILENT = "silent"


@dataclass(frozen=True)
class PeerView:
    """A member of the pool, as this node's glusterd sees it."""

    name: str
    names: tuple[str, ...]
    uuid: str
    connected: bool
    sound: bool
    rejected: bool
    state: str


@dataclass(frozen=True)
class BrickPlace:
    """A brick of this node on its file system; sizes in bytes.

    `problem` is the error that looking at it gave; `mounted` whether it is on a
    file system that has the volume's mark; `behind` how many entries of other bricks
    it knows to wait for a heal (counted up to a bound), None where it keeps no such
    index.  `pieces`: the GFIDs of such entries that are pieces of images, each with its
    image's (up to a bound).
    """

    volume: str
    name: str
    path: str
    problem: str = ""
    mounted: bool = True
    read_only: bool = False
    size: int = 0
    free: int = 0
    inodes: int = 0
    inodes_free: int = 0
    behind: int | None = None
    pieces: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportView:
    """A block device of the kernel for an image: its key, and whether its exporter runs."""

    key: str
    answers: bool


@dataclass(frozen=True)
class ServerView:
    """The server of an open image: its key, `serve.control`'s state, since when and why.

    `image` is the volume and the image's path on it, as `gv0/ganeti/…`.
    """

    key: str
    state: str
    waiting: float = 0.0
    why: str = ""
    image: str = ""


@dataclass(frozen=True)
class TlsFiles:
    """Gluster's TLS on a node: `management` if glusterd uses it, and the files.

    `missing` are those of the three files that are not there, `authorities` is the
    digest of the trusted ones.
    """

    management: bool = False
    missing: tuple[str, ...] = ()
    authorities: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """One node, looked at from within.

    `plugin` is what `plugin_status.local_status` gives.  `unreachable` has the
    reason for each volume that libgfapi could not reach from here, `reached` the
    others.  `problems` is what could not be found out.
    """

    node: str
    plugin: Mapping[str, Any]
    server_problem: str = ""
    servers: tuple[ServerView, ...] = ()
    glusterfs: str = ""
    glusterd: str = ABSENT
    glusterd_reason: str = ""
    uuid: str = ""
    peers: tuple[PeerView, ...] = ()
    volumes: tuple[str, ...] = ()
    op_version: int = 0
    max_op_version: int = 0
    bricks: tuple[BrickPlace, ...] = ()
    reached: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    exports: tuple[ExportView, ...] = ()
    tls: TlsFiles = TlsFiles()
    problems: tuple[str, ...] = ()
    told: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NodeFacts:
        """From `to_dict`'s data; raises ValueError for another format."""
        if data.get("format") != FORMAT:
            raise ValueError("facts of format %r, not %d" % (data.get("format"), FORMAT))
        values = {name: value for name, value in data.items() if name in cls.__annotations__}
        try:
            values["peers"] = tuple(
                PeerView(**{**peer, "names": tuple(peer["names"])}) for peer in data["peers"]
            )
            values["bricks"] = tuple(BrickPlace(**brick) for brick in data["bricks"])
            values["exports"] = tuple(ExportView(**export) for export in data["exports"])
            values["servers"] = tuple(
                ServerView(**server)
                for server in data.get("servers", ())  # older nodes have none
            )
            values["tls"] = TlsFiles(**{**data["tls"], "missing": tuple(data["tls"]["missing"])})
            for name in ("volumes", "reached", "problems", "told"):
                values[name] = tuple(data[name])
            return cls(**values)
        except (KeyError, TypeError) as err:
            raise ValueError("facts that cannot be read: %s" % err) from err


@dataclass(frozen=True)
class SplitFile:
    """A file in split-brain: its path on the volume, or `<gfid:…>`; its GFID, "" if unknown."""

    path: str
    gfid: str


@dataclass(frozen=True)
class VolumeFacts:
    """One volume as its servers tell of it; None for what they did not tell."""

    name: str
    info: VolumeInfo | None
    options: Mapping[str, str] | None = None
    status: VolumeStatus | None = None
    heal: tuple[BrickHeal, ...] | None = None
    split: tuple[SplitFile, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFacts:
    """The images of one volume; `root` is owner and group of its root directory.

    `gfids` has the GFIDs of images that were asked for, by path.  `shards`: whether
    pieces of images lie where they show when sharding is off.
    """

    volume: str
    images: tuple[ImageInfo, ...]
    unreadable: tuple[str, ...]
    root: tuple[int, int]
    gfids: Mapping[str, str] = field(default_factory=dict)
    shards: bool = False


@dataclass(frozen=True)
class Disk:
    """A disk in Ganeti's configuration; `size` in bytes, `node` its primary node."""

    instance: str
    index: int
    volume: str
    path: str
    size: int
    node: str

    @property
    def title(self) -> str:
        """As in "vm1 disk/0"."""
        return "%s disk/%d" % (self.instance, self.index)
