"""The Gluster pool's facts, from this node's glusterd, and the points of the charts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ganeti_gluster.core.pool import profile
from ganeti_gluster.core.pool.state import PeerState, PoolState, of_glusterd
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.monitoring.collect import VolumeUse
from ganeti_gluster.tools.gluster_cli import BrickHeal, Gluster, VolumeInfo, VolumeStatus
from ganeti_gluster.web import facts

#: Heals are asked for less often than the rest, in seconds: it is slow, and costs the
#: bricks something.
HEALS_EVERY = 120.0
#: So are the nodes for what they alone know: each looks at its bricks and its open images.
NODES_EVERY = 60.0
#: The charts' points: so far apart, so many.
SAMPLE_EVERY = 300.0
MAX_SAMPLES = 288


class PoolSource:
    """The pool as this node's glusterd and the nodes themselves see it.

    `nodes` asks these.  Remembers their facts and the heals between two questions.  `measured`
    has the space of volumes as their clients have it; the bricks' file systems have more, of
    which a part may be reserved.
    """

    def __init__(
        self,
        gluster: Gluster,
        nodes: Callable[[], Mapping[str, NodeFacts]],
        *,
        measured: Callable[[], Mapping[str, VolumeUse]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gluster = gluster
        self._nodes = nodes
        self._measured = measured
        self._clock = clock
        self._known: Mapping[str, NodeFacts] = {}
        self._nodes_asked: float | None = None
        self._heals: dict[str, list[BrickHeal]] = {}
        self._heals_error: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._differences: dict[str, tuple[str, ...]] = {}

    def __call__(self) -> PoolState:
        """Ask glusterd; raises GanetiGlusterError if it does not answer."""
        peers = self._gluster.peers()
        self._ask_nodes()
        spaces = {
            brick.name: (brick.size, brick.free)
            for node in self._known.values()
            for brick in node.bricks
            if brick.sound
        }
        volumes = []
        uses = self._measured()
        for info in self._gluster.volumes():
            status = VolumeStatus(info.name, (), ())
            if info.started:
                status = self._gluster.status(info.name)
                self._ask_slowly(info)
            state = of_glusterd(
                info,
                status,
                self._heals.get(info.name, []),
                error=self._heals_error.get(info.name, ""),
                spaces=spaces,
            )
            state = replace(state, differences=self._differences.get(info.name, ()))
            use = uses.get(info.name)
            if use is not None:
                state = replace(state, total=use.total, free=use.free, provisioned=use.provisioned)
            volumes.append(state)
        no_space = {
            server.image for node in self._known.values() for server in node.servers if server.full
        }
        return PoolState(tuple(map(PeerState.of, peers)), tuple(volumes), tuple(sorted(no_space)))

    def _ask_nodes(self) -> None:
        now = self._clock()
        if self._nodes_asked is None or now - self._nodes_asked >= NODES_EVERY:
            self._nodes_asked = now
            self._known = self._nodes()

    @property
    def nodes(self) -> Mapping[str, NodeFacts]:
        """What the nodes said of themselves last."""
        return self._known

    def _ask_slowly(self, info: VolumeInfo) -> None:
        """Ask for heals and options, unless that was a short time ago."""
        now = self._clock()
        if now - self._asked.get(info.name, -HEALS_EVERY) < HEALS_EVERY:
            return
        self._asked[info.name] = now
        try:
            # Where there are images, what cannot be changed any more is not shown.
            options = self._gluster.options(info.name)
            found = profile.of_volume(options, copies=info.replica, images=True)
            self._differences[info.name] = tuple(map(str, found))
        except GanetiGlusterError as err:
            self._differences[info.name] = ("Its options are not known: %s" % err,)
        if info.set_size == 1:
            return
        try:
            self._heals[info.name] = self._gluster.heal_counts(info.name)
            self._heals_error.pop(info.name, None)
        except GanetiGlusterError as err:
            self._heals.pop(info.name, None)
            self._heals_error[info.name] = str(err)


class History:
    """The charts' points, made from the pool's facts; bounded, in memory only."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, every: float = SAMPLE_EVERY
    ) -> None:
        self._clock = clock
        self._every = every
        self._samples: list[facts.Sample] = []

    def add(self, pool: PoolState) -> facts.HistoryFacts | None:
        """Take a point if it is time for one; returns all, None if it is not time yet."""
        now = self._clock()
        if self._samples and now - self._samples[-1].at < self._every:
            return None
        sample = facts.Sample(
            at=now,
            used=_sum(one.used for one in pool.volumes),
            total=_sum(one.total for one in pool.volumes),
            heals=_sum(one.heals for one in pool.volumes),
        )
        self._samples = [*self._samples, sample][-MAX_SAMPLES:]
        return facts.HistoryFacts(tuple(self._samples))


def _sum(values: Iterable[int | None]) -> int | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
