"""The Gluster pool's facts, as this node's glusterd tells them, and the charts' points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gluster_cli import (
    BrickHeal,
    Gluster,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.web import facts

#: Heals are asked for less often than the rest, in seconds: it is slow, and costs the
#: bricks something.
HEALS_EVERY = 120.0
#: The charts' points: so far apart, so many.
SAMPLE_EVERY = 300.0
MAX_SAMPLES = 288


class PoolSource:
    """The pool as this node's glusterd sees it; remembers the heals between two questions."""

    def __init__(self, gluster: Gluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gluster = gluster
        self._clock = clock
        self._heals: dict[str, list[BrickHeal]] = {}
        self._heals_error: dict[str, str] = {}
        self._asked: dict[str, float] = {}

    def __call__(self) -> facts.PoolFacts:
        """Ask glusterd; raises GanetiGlusterError where it does not answer."""
        peers = self._gluster.peers()
        volumes = []
        for info in self._gluster.volumes():
            status = VolumeStatus(info.name, (), ())
            if info.started:
                status = self._gluster.status(info.name, detail=True)
                self._ask_heals(info)
            volumes.append(
                volume(
                    info,
                    status,
                    self._heals.get(info.name, []),
                    error=self._heals_error.get(info.name, ""),
                )
            )
        return facts.PoolFacts([_peer(peer) for peer in peers], volumes)

    def _ask_heals(self, info: VolumeInfo) -> None:
        now = self._clock()
        if info.set_size == 1 or now - self._asked.get(info.name, -HEALS_EVERY) < HEALS_EVERY:
            return
        self._asked[info.name] = now
        try:
            self._heals[info.name] = self._gluster.heal_counts(info.name)
            self._heals_error.pop(info.name, None)
        except GanetiGlusterError as err:
            self._heals.pop(info.name, None)
            self._heals_error[info.name] = str(err)


def _peer(peer: Peer) -> facts.Peer:
    return facts.Peer(peer.hostname, peer.sound, peer.state_text)


def volume(
    info: VolumeInfo, status: VolumeStatus, heals: list[BrickHeal], *, error: str = ""
) -> facts.Volume:
    """One volume from what glusterd says of it."""
    processes = {(one.server_uuid, one.path): one for one in status.bricks}
    counts = {one.brick: one for one in heals}
    bricks = []
    for brick in info.bricks:
        process = processes.get((brick.server_uuid, brick.path))
        count = counts.get(str(brick))
        bricks.append(
            facts.Brick(
                node=brick.server,
                path=brick.path,
                online=bool(process and process.online),
                arbiter=brick.arbiter,
                total=process.size_total if process else None,
                free=process.size_free if process else None,
                heals=count.total if count else None,
                split_brain=count.split_brain if count else None,
            )
        )
    total, free = capacity(info, bricks)
    return facts.Volume(
        name=info.name,
        kind=info.kind,
        status=info.state,
        bricks=bricks,
        problems=list(_problems(info, status, bricks, error)),
        total=total,
        free=free,
    )


def capacity(info: VolumeInfo, bricks: Sequence[facts.Brick]) -> tuple[int | None, int | None]:
    """The bytes of a volume and those free: of each set what its smallest brick has.

    None where a set has no brick that tells.
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
    info: VolumeInfo, status: VolumeStatus, bricks: Sequence[facts.Brick], error: str
) -> Iterable[str]:
    if not info.started:
        yield "The volume is %s." % info.state.lower()
        return
    down = [_name(brick) for brick in status.offline(info.bricks)]
    if down:
        yield "Not running: %s." % ", ".join(down)
    split = [_name(brick) for brick in bricks if brick.split_brain]
    if split:
        yield "Files in split-brain on %s." % ", ".join(split)
    # A helper is as important as its bricks: without it nothing is healed.
    silent = sorted(
        {daemon.kind for daemon in status.daemons if not daemon.online and daemon.kind}
    )
    if silent:
        yield "Not running somewhere: %s." % ", ".join(silent)
    if error:
        yield "What waits for a heal is not known: %s" % error


def _name(brick: VolumeBrick | facts.Brick) -> str:
    server = brick.server if isinstance(brick, VolumeBrick) else brick.node
    return "%s:%s" % (server, brick.path)


class History:
    """The charts' points, made from the pool's facts; bounded, in memory only."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, every: float = SAMPLE_EVERY
    ) -> None:
        self._clock = clock
        self._every = every
        self._samples: list[facts.Sample] = []

    def add(self, pool: facts.PoolFacts) -> facts.HistoryFacts | None:
        """Take a point if it is time for one; returns all, None if it is not time yet."""
        now = self._clock()
        if self._samples and now - self._samples[-1].at < self._every:
            return None
        sample = facts.Sample(
            at=now,
            used=_sum(_used(one) for one in pool.volumes),
            total=_sum(one.total for one in pool.volumes),
            heals=_sum(
                max((b.heals for b in one.bricks if b.heals is not None), default=None)
                for one in pool.volumes
            ),
        )
        self._samples = [*self._samples, sample][-MAX_SAMPLES:]
        return facts.HistoryFacts(list(self._samples))


def _used(one: facts.Volume) -> int | None:
    return None if one.total is None or one.free is None else one.total - one.free


def _sum(values: Iterable[int | None]) -> int | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
