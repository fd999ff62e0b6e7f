"""The state of a pool, of its volumes and bricks, with the one verdict that all views show."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.pool.shape import Shape
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Name, Sentence, Summary
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.tools.gluster_cli.volumes import STARTED


class Condition(enum.Enum):
    """How well a volume, or all of them, can be used; from good to bad.

    DEGRADED: something is missing that it does without; BROKEN: images on it cannot be used.
    """

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    BROKEN = "broken"


def most(counts: Iterable[int | None]) -> int | None:
    """The largest number reported: each brick reports the same pending heals; None for none."""
    return max((count for count in counts if count is not None), default=None)


@dataclass(frozen=True)
class BrickState:
    """A brick; sizes in bytes, `heals` pending entries, None for unknown values."""

    node: Name
    path: str
    online: bool | None
    arbiter: bool = False
    total: int | None = None
    free: int | None = None
    heals: int | None = None
    split_brain: int | None = None

    @property
    def name(self) -> str:
        """As the gluster command expects it."""
        return "%s:%s" % (self.node, self.path)

    @property
    def used(self) -> int | None:
        """The bytes in use."""
        return _used(self.total, self.free)


@dataclass(frozen=True)
class VolumeState:
    """A volume; `problems` are sentences, none if it is sound.

    `shape` is as `gluster volume create` expects it; `differences` are the options that differ
    from the profile, as sentences, where somebody has asked for them.  Sizes are bytes;
    `provisioned` is that of all disks of instances, if known.
    """

    name: Name
    kind: Name
    status: Name
    bricks: tuple[BrickState, ...] = ()
    problems: tuple[Summary, ...] = ()
    total: int | None = None
    free: int | None = None
    verdict: Condition = Condition.UNKNOWN
    provisioned: int | None = None
    shape: Name = ""
    differences: tuple[Sentence, ...] = ()

    @property
    def used(self) -> int | None:
        """The bytes in use."""
        return _used(self.total, self.free)

    @property
    def heals(self) -> int | None:
        """The entries that wait for a heal."""
        return most(brick.heals for brick in self.bricks)

    @property
    def down(self) -> list[BrickState]:
        """The bricks of a started volume that do not run, as far as that is known."""
        return [brick for brick in self.bricks if self.started and brick.online is False]

    @property
    def online(self) -> int:
        """How many bricks run."""
        return sum(bool(brick.online) for brick in self.bricks)

    @property
    def started(self) -> bool:
        """Whether it is to run."""
        return self.status == STARTED


@dataclass(frozen=True)
class PeerState:
    """Another server of the pool, as the one that was asked sees it."""

    name: Name
    connected: bool
    state: str

    @classmethod
    def of(cls, peer: Peer) -> PeerState:
        """What glusterd says of a peer."""
        return cls(peer.hostname, peer.sound, peer.state_text)


@dataclass(frozen=True)
class PoolState:
    """The pool and its volumes.

    `no_space`: the open images, as `gv0/ganeti/…`, whose guests stand still since their volume
    is full.
    """

    peers: tuple[PeerState, ...] = ()
    volumes: tuple[VolumeState, ...] = ()
    no_space: tuple[Name, ...] = ()

    @property
    def verdict(self) -> Condition:
        """That of the worst volume; a server that is not connected degrades the pool."""
        verdicts = [volume.verdict for volume in self.volumes]
        if not all(peer.connected for peer in self.peers):
            verdicts.append(Condition.DEGRADED)
        return max(verdicts, key=list(Condition).index, default=Condition.HEALTHY)


def of_glusterd(
    info: VolumeInfo,
    status: VolumeStatus | None,
    heals: Sequence[BrickHeal],
    *,
    error: str = "",
    spaces: Mapping[str, tuple[int, int]] | None = None,
) -> VolumeState:
    """A volume as glusterd describes it; `error` is why its heals are unknown.

    `status` is None if it is not known.  `spaces`: the size and the free bytes of bricks'
    file systems, by the bricks' names, as their nodes report them.  A volume without copies has
    nothing to heal.
    """
    none = 0 if info.started and info.set_size == 1 else None
    processes = {(one.server_uuid, one.path): one for one in status.bricks} if status else {}
    counts = {one.brick: one for one in heals}
    bricks = []
    for brick in info.bricks:
        process = processes.get((brick.server_uuid, brick.path))
        count = counts.get(str(brick))
        total, free = (spaces or {}).get(str(brick), (None, None))
        bricks.append(
            BrickState(
                node=brick.server,
                path=brick.path,
                online=None
                if status is None and info.started
                else bool(process and process.online),
                arbiter=brick.arbiter,
                total=total,
                free=free,
                heals=count.total if count else none,
                split_brain=count.split_brain if count else None,
            )
        )
    return of_bricks(info, bricks, status, error=error)


def of_bricks(
    info: VolumeInfo,
    bricks: Sequence[BrickState],
    status: VolumeStatus | None,
    *,
    error: str = "",
) -> VolumeState:
    """A volume whose bricks are known, in their order."""
    problems = tuple(_problems(info, bricks, status, error))
    total, free = _capacity(info, bricks)
    return VolumeState(
        name=info.name,
        kind=info.kind,
        status=info.state,
        bricks=tuple(bricks),
        problems=problems,
        total=total,
        free=free,
        verdict=_verdict(info, bricks, problems),
        shape=str(Shape.of(info)),
    )


def _verdict(info: VolumeInfo, bricks: Sequence[BrickState], problems: Sequence[str]) -> Condition:
    pairs = list(zip(info.bricks, bricks, strict=True))
    if not info.started or lost_sets(info, [one for one, now in pairs if now.online is False]):
        return Condition.BROKEN
    if problems or any(brick.heals or brick.split_brain for brick in bricks):
        return Condition.DEGRADED
    return Condition.HEALTHY if all(brick.online for brick in bricks) else Condition.UNKNOWN


def lost_sets(
    info: VolumeInfo, down: Collection[VolumeBrick]
) -> list[tuple[int, Sequence[VolumeBrick], list[VolumeBrick]]]:
    """The sets that lack their quorum: number, bricks, and those of them that are `down`."""
    sets = (
        (number, bricks, [brick for brick in bricks if brick in down])
        for number, bricks in enumerate(info.sets, 1)
    )
    return [each for each in sets if len(each[2]) > _tolerated(info, each[1], each[2])]


def _tolerated(
    info: VolumeInfo, bricks: Sequence[VolumeBrick], absent: Sequence[VolumeBrick]
) -> int:
    """How many bricks of a set may be down, by quorum-type auto for replica sets.

    That is less than half of them; of exactly half the first brick must be there.
    """
    if info.disperse:
        return info.redundancy
    half, odd = divmod(len(bricks), 2)
    if odd:
        return half
    return half if half and bricks[0] not in absent else half - 1 if half else 0


def _capacity(info: VolumeInfo, bricks: Sequence[BrickState]) -> tuple[int | None, int | None]:
    """The bytes of a volume and its free bytes: the smallest brick of each set counts.

    None if no brick of a set answers.
    """
    total = free = 0
    size = info.set_size
    for at in range(0, len(bricks), size):
        told = [
            (brick.total, brick.free)
            for brick in bricks[at : at + size]
            if not brick.arbiter and brick.total is not None and brick.free is not None
        ]
        if not told:
            return None, None
        data = info.disperse - info.redundancy if info.disperse else 1
        total += min(whole for whole, _ in told) * data
        free += min(rest for _, rest in told) * data
    return total, free


def _problems(
    info: VolumeInfo, bricks: Sequence[BrickState], status: VolumeStatus | None, error: str
) -> Iterator[str]:
    if not info.started:
        yield "The volume is %s." % info.state.lower()
        return
    down = [brick.name for brick in bricks if brick.online is False]
    if down:
        yield "Not running: %s." % ", ".join(down)
    split = [brick.name for brick in bricks if brick.split_brain]
    if split:
        yield "Files in split-brain on %s." % ", ".join(split)
    # A helper is as important as its bricks: without it nothing is healed.
    daemons = status.daemons if status else ()
    silent = sorted({daemon.kind for daemon in daemons if not daemon.online and daemon.kind})
    if silent:
        yield "Not running somewhere: %s." % ", ".join(silent)
    if error:
        yield "It is not known what needs healing: %s" % decode.printable(error)


def _used(total: int | None, free: int | None) -> int | None:
    return None if total is None or free is None else total - free
