"""The facts about a node and about a volume; nodes send theirs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.pool.state import BrickState
from ganeti_gluster.plugin_state import PluginState
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import (
    Between,
    Count,
    Moment,
    Name,
    NotUnderstood,
    OneOf,
    Sentence,
    printable,
)
from ganeti_gluster.tools.gfapi.stat import Space
from ganeti_gluster.tools.gluster_cli import BrickHeal, VolumeInfo, VolumeStatus

#: Changes when a node's facts are no longer read by older releases.
FORMAT = 1

#: The GFID of the directory of pieces, the same on all volumes (`SHARD_ROOT_GFID`).
SHARD_GFID = "be318638-e8a0-4c6d-977d-7a937aa84806"

# The state of glusterd on a node.
RUNNING = "running"
ABSENT = "absent"  # not installed, or never a member of a pool
DOWN = "down"
SILENT = "silent"

_Glusterd = Annotated[str, OneOf((RUNNING, ABSENT, DOWN, SILENT))]


@dataclass(frozen=True)
class PeerView:
    """A member of the pool, as this node's glusterd sees it."""

    name: Name
    names: tuple[Name, ...]
    uuid: Name
    connected: bool
    sound: bool
    rejected: bool
    state: str


@dataclass(frozen=True)
class BrickPlace:
    """A brick of this node on its file system; sizes in bytes.

    `problem` is the error that looking at it gave; `mounted` whether it is on a
    file system that has the volume's mark; `empty`: a file system is mounted there that has
    nothing on it yet; `sector` the smallest request that its device takes, 0 where that is
    not known; `thin` what is left of a thin pool below it, None without one; `reserve` what
    the volume leaves unused of it, in per cent.  `behind`: how many entries of other bricks it
    knows to wait for a heal (counted up to a bound), None where it keeps no such index.
    `pieces`: the GFIDs of such entries that are pieces of images, each with its image's (up to
    a bound).
    """

    volume: Name
    name: str
    path: str
    problem: Sentence = ""
    mounted: bool = True
    empty: bool = False
    read_only: bool = False
    sector: Count = 0
    size: Count = 0
    free: Count = 0
    thin: Count | None = None
    inodes: Count = 0
    inodes_free: Count = 0
    reserve: Annotated[float, Between(0, 100)] = 0.0
    behind: Count | None = None
    pieces: Mapping[Name, Name] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether its file system is the brick's, and can be read."""
        return self.mounted and not self.problem

    def state(self, *, online: bool | None, arbiter: bool = False) -> BrickState:
        """As it is shown; whether it is `online` is not to be seen on its file system."""
        state = BrickState(self.name.partition(":/")[0], self.path, online, arbiter)
        if not self.sound:
            return state
        return replace(state, total=self.size, free=self.free, heals=self.behind)


@dataclass(frozen=True)
class SelfHeal:
    """A node's self-heal daemon: the ports of bricks that it is connected to, one for each.

    `missing`: how many it lacks of the bricks on servers that are connected.
    """

    ports: tuple[Count, ...]
    missing: Count = 0


@dataclass(frozen=True)
class ExportView:
    """A block device of the kernel for an image: its key, and whether its exporter runs."""

    key: str
    answers: bool


@dataclass(frozen=True)
class ServerView:
    """The server of an open image: its key, `serve.control`'s state, since when and why.

    `image` is the volume and the image's path on it, as `gv0/ganeti/…`; `mode` how it is
    locked: exclusive, shared or none.  `full`: it waits for room on the volume.
    """

    key: str
    state: Name
    waiting: float = 0.0
    why: Sentence = ""
    image: Name = ""
    full: bool = False
    mode: Name = ""


@dataclass(frozen=True)
class TlsFiles:
    """Gluster's TLS on a node: `management` if glusterd uses it, and the files.

    `missing` are those of the three files that are not there, `authorities` is the
    digest of the trusted ones.  `problem` is why the certificate cannot be used; `name` is its
    common name, and `ends` when it ends.
    """

    management: bool = False
    missing: tuple[str, ...] = ()
    authorities: str = ""
    problem: Sentence = ""
    name: Name = ""
    ends: Moment = 0.0


@dataclass(frozen=True)
class NodeFacts:
    """One node, looked at from within.

    `plugin` is what `plugin_status.local_status` gives.  `unreachable` has the
    reason for each volume that libgfapi could not reach from here, `reached` the
    others.  `self_heal` is None without such a daemon.  `problems` is what could not be
    found out.  `checksums` are those of volumes' configurations, by volume, if a peer is
    rejected: glusterd compares them.  `incomplete`: glusterd is down, and these of its files,
    relative to its directory, are empty or missing.
    """

    node: Name
    plugin: PluginState
    server_problem: Sentence = ""
    servers: tuple[ServerView, ...] = ()
    glusterfs: Name = ""
    glusterd: _Glusterd = ABSENT
    glusterd_reason: Sentence = ""
    incomplete: tuple[str, ...] = ()
    uuid: Name = ""
    peers: tuple[PeerView, ...] = ()
    volumes: tuple[Name, ...] = ()
    op_version: Count = 0
    max_op_version: Count = 0
    checksums: Mapping[Name, Name] = field(default_factory=dict)
    bricks: tuple[BrickPlace, ...] = ()
    self_heal: SelfHeal | None = None
    reached: tuple[Name, ...] = ()
    unreachable: Mapping[Name, Sentence] = field(default_factory=dict)
    exports: tuple[ExportView, ...] = ()
    tls: TlsFiles = TlsFiles()
    problems: tuple[Sentence, ...] = ()
    told: tuple[Mapping[Name, str | float | None], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NodeFacts:
        """From `to_dict`'s data; raises NotUnderstood, also for another format."""
        form = decode.value(int, data.get("format"), "format")
        if form != FORMAT:
            raise NotUnderstood("", "facts of format %d, not %d" % (form, FORMAT))
        return decode.build(cls, data)


def read(text: str, node: str) -> NodeFacts:
    """The facts in the answer of a node, which are about itself; raises NotUnderstood."""
    data = decode.plain(text)
    if not isinstance(data, dict):
        raise NotUnderstood("", "not an object")
    facts = NodeFacts.from_dict(data)
    if facts.node != node:
        raise NotUnderstood("node", "the name of another node")
    return facts


@dataclass(frozen=True)
class SplitFile:
    """A file in split-brain: its path on the volume, or `<gfid:…>`; its GFID, "" if unknown."""

    path: str
    gfid: str


@dataclass(frozen=True)
class VolumeFacts:
    """One volume according to its servers; None for what they did not report.

    `unreadable` has the reason for each image of an instance that cannot be read, though
    enough bricks answer.
    """

    name: str
    info: VolumeInfo | None
    options: Mapping[str, str] | None = None
    status: VolumeStatus | None = None
    heal: tuple[BrickHeal, ...] | None = None
    split: tuple[SplitFile, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFacts:
    """The images of one volume; `root` is owner and group of its root directory.

    `space` is the volume's room as a client has it, without what `storage.reserve` keeps.
    `gfids` has the GFIDs of images that were asked for, by path.  `shards`: whether
    pieces of images lie where they show when sharding is off.
    """

    volume: str
    images: tuple[ImageInfo, ...]
    unreadable: tuple[str, ...]
    root: tuple[int, int]
    space: Space | None = None
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


@dataclass(frozen=True)
class Answers:
    """The facts of the nodes that answered, and the reasons for the others.

    Nodes in `silent` did not answer; the answers of those in `strange` are not understood.
    """

    nodes: Mapping[str, NodeFacts]
    silent: Mapping[str, str]
    strange: Mapping[str, str]

    def updated(self, later: Answers) -> Answers:
        """These, but for the nodes that were asked again."""
        again = {*later.nodes, *later.silent, *later.strange}
        kept = {name: facts for name, facts in self.nodes.items() if name not in again}
        return Answers(
            {**kept, **later.nodes},
            {**self.silent, **later.silent},
            {**self.strange, **later.strange},
        )


def sort(outputs: Mapping[str, tuple[bool, str]]) -> Answers:
    """The answers in what the nodes' commands printed; for each whether it succeeded, too."""
    nodes, silent, strange = {}, {}, {}
    for name, (success, output) in outputs.items():
        if not success:
            silent[name] = printable(output) or "no answer"
            continue
        try:
            nodes[name] = read(output, name)
        except NotUnderstood as err:
            strange[name] = str(err)
    return Answers(nodes, silent, strange)
