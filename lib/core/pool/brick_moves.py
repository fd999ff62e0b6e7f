"""Moving bricks from one node to another, while the images are in use.

A moved brick is empty at first, and is healed from the other bricks of its set.  Until this is
complete, the set has one copy less, so nothing is moved while another copy is missing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ganeti_gluster.core.pool import copies
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.build import BRICK_SECONDS
from ganeti_gluster.core.pool.healing import HEAL_SECONDS, Healer
from ganeti_gluster.core.pool.members import CONNECTED, Pool
from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.core.pool.steps import NotInTime, Say, Step, wait
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Gluster, VolumeBrick, VolumeInfo


@dataclass(frozen=True)
class BrickMove:
    """A brick of a volume, and the node and path where it goes; the pool calls the node `host`."""

    volume: str
    old: VolumeBrick
    node: str
    path: str
    host: str

    @property
    def new(self) -> str:
        """The new brick as the gluster command expects it."""
        return "%s:%s" % (self.host, self.path)


class MoveRefused(GanetiGlusterError):
    """To move the brick now could lose images."""


def free_path(
    pool: Pool, node: str, directory: str, volume: str, planned: Iterable[str] = ()
) -> str:
    """The path for a further brick on a node: that of the volume's name, or with a number.

    `planned` are paths of bricks that go there first.
    """
    taken = {*planned, *(brick.path for _, brick in pool.bricks_on(node))}
    path = "%s/%s" % (directory, volume)
    number = 2
    while path in taken:
        path = "%s/%s-%d" % (directory, volume, number)
        number += 1
    return path


def choose(
    pool: Pool,
    volume: VolumeInfo,
    brick: VolumeBrick,
    *,
    candidates: Sequence[str],
    hosts: Sequence[str],
) -> str:
    """The node for a brick: the first of the candidates with none of its set.

    The brick of an arbiter is small, and goes to any of `hosts` where there is none.
    Raises `MoveRefused`.
    """
    others = {other.server_uuid for other in volume.set_of(brick)}
    fitting = [node for node in candidates if pool.uuid(node) not in others]
    if not fitting and brick.arbiter:
        fitting = [
            node
            for node in hosts
            if pool.state(node) == CONNECTED and pool.uuid(node) not in others
        ]
    if not fitting:
        raise MoveRefused(
            "no spare node can take the brick %s of volume %s" % (brick, volume.name),
            hint="add a node (gnt-node add); `gnt-gluster pool status` shows the spares",
        )
    return fitting[0]


def need_copies(volume: VolumeInfo, brick: VolumeBrick) -> None:
    """Raise `MoveRefused` if what is on the brick is nowhere else: nothing could fill another."""
    if volume.set_size < 2:
        raise MoveRefused(
            "volume %s is not replicated: %s has the only copy of its data" % (volume.name, brick),
            hint="move the images to another volume (gnt-gluster image copy)",
        )


def obstacle(gluster: Gluster, volume: VolumeInfo, brick: VolumeBrick) -> str:
    """Why the brick cannot be given up now, "" if it can."""
    if not volume.started:
        return "volume %s is not started" % volume.name
    if volume.set_size < 2:
        return "volume %s is not replicated: %s has the only copy of its data" % (
            volume.name,
            brick,
        )
    others = [other for other in volume.set_of(brick) if other != brick]
    down = gluster.status(volume.name).offline(others)
    if down:
        return "other bricks of its set are not online: %s" % ", ".join(map(str, down))
    split = [
        count.split_brain
        for count in gluster.heal_counts(volume.name, timeout=HEAL_SECONDS)
        if count.split_brain
    ]
    if split:
        return "volume %s has %d entries in split-brain" % (volume.name, max(split))
    return ""


def need_no_obstacle(gluster: Gluster, volume: VolumeInfo, brick: VolumeBrick, what: str) -> None:
    """Raise `MoveRefused` if the brick cannot be given up now; `what` is then not done to it."""
    reason = obstacle(gluster, volume, brick)
    if reason:
        raise MoveRefused("brick %s is not %s: %s" % (brick, what, reason))


class BrickMover:
    """The steps by which bricks get to other nodes."""

    def __init__(self, agents: Agents, pool: Pool, nodes: Sequence[str], say: Say) -> None:
        self._agents = agents
        self._pool = pool
        self._nodes = tuple(nodes)
        self._say = say
        self._healer = Healer(agents, pool, nodes, say)

    @property
    def _gluster(self) -> Gluster:
        return self._agents.gluster(self._pool.anchor)

    def dead_first(
        self, bricks: Sequence[tuple[VolumeInfo, VolumeBrick]]
    ) -> list[tuple[VolumeInfo, VolumeBrick]]:
        """The bricks, those first that do not run: a refusal then comes before anything moves."""

        def runs(pair: tuple[VolumeInfo, VolumeBrick]) -> bool:
            volume, brick = pair
            return volume.started and not self._gluster.status(volume.name).offline([brick])

        return sorted(bricks, key=runs)

    def steps(self, move: BrickMove, *, heal_first: bool) -> list[Step]:
        """Move one brick; `heal_first`: its node answers, and what it has is waited for.

        `heal_step` comes after those of all bricks: while another one of the volume is down, a
        heal does not end.
        """
        steps = []
        if heal_first:
            steps.append(
                Step(
                    "nothing to heal on volume %s" % move.volume,
                    partial(self._is_moved, move),
                    partial(self._heal_before, move),
                )
            )
        return [
            *steps,
            Step(
                "volume %s: brick %s replaced by %s" % (move.volume, move.old, move.new),
                partial(self._is_moved, move),
                partial(self._move, move),
            ),
        ]

    def heal_step(self, volume: str, node: str, path: str) -> Step:
        """Wait until a brick has all that the others of its set have."""
        return Step(
            "volume %s: %s:%s healed" % (volume, node, path),
            lambda: False,
            lambda: self.heal(volume, node, path),
        )

    def heal(self, volume: str, node: str = "", path: str = "") -> None:
        """See `Healer.heal`."""
        self._healer.heal(volume, node, path)

    def need_others(self, volume: VolumeInfo, brick: VolumeBrick) -> None:
        """See `copies.need_others`; as `MoveRefused`."""
        try:
            copies.need_others(self._agents, self._pool, self._nodes, volume, brick)
        except copies.NotWhole as err:
            raise MoveRefused(
                "brick %s is not moved: %s" % (brick, err.message), hint=err.hint
            ) from err

    def _heal_before(self, move: BrickMove) -> None:
        """Have all that the old brick has on the others, too, if it can be made to run."""
        gluster = self._gluster
        if self._is_down(move):
            gluster.ask("volume", "start", move.volume, "force")
            with contextlib.suppress(NotInTime):
                wait(
                    "brick %s" % move.old,
                    lambda: "it is not running" if self._is_down(move) else "",
                    seconds=BRICK_SECONDS,
                )
        if self._is_down(move):
            self._say("  brick %s is not running and cannot be started" % move.old)
        else:
            self.heal(move.volume)

    def _is_down(self, move: BrickMove) -> bool:
        return bool(self._gluster.status(move.volume).offline([move.old]))

    def _is_moved(self, move: BrickMove) -> bool:
        volume = self._gluster.volume(move.volume)
        return bool(volume) and move.new in map(str, volume.bricks if volume else ())

    def _move(self, move: BrickMove) -> None:
        gluster = self._gluster
        volume = gluster.volume(move.volume)
        if volume is None:
            raise MoveRefused("volume %s no longer exists" % move.volume)
        need_no_obstacle(gluster, volume, move.old, "moved")
        self.need_others(volume, move.old)
        # That takes its time: what one that is down by now lacks may be good on the old one alone.
        need_no_obstacle(gluster, volume, move.old, "moved")
        words = ("volume", "replace-brick", move.volume, str(move.old), move.new)
        with PostOpDelay(gluster, move.volume, self._say) as delay:
            delay.switch_off()
            gluster.ask(*words, "commit", "force")
            if not self._is_moved(move):
                raise GanetiGlusterError(
                    "glusterd accepted the new brick %s, but does not have it now" % move.new
                )
            wait("brick %s" % move.new, partial(self._offline, move), seconds=BRICK_SECONDS)
            delay.wait_switched()

    def _offline(self, move: BrickMove) -> str:
        volume = self._gluster.volume(move.volume)
        bricks = [brick for brick in volume.bricks if str(brick) == move.new] if volume else []
        if not bricks:
            return "there is no brick %s" % move.new
        down = self._gluster.status(move.volume).offline(bricks)
        return "brick %s is not online" % move.new if down else ""


def leave_pool(gluster: Gluster, pool: Pool, node: str, *, is_gone: Callable[[], bool]) -> Step:
    """A node leaves the pool; by force, since it may be dead.

    A dead member would still count for the quorum of servers.
    """
    peer = pool.peer(node)

    def out() -> bool:
        return peer is None or peer.uuid not in {other.uuid for other in gluster.peers()}

    def detach() -> None:
        if peer is None:
            return
        if [brick for volume in gluster.volumes() for brick in volume.bricks
            if brick.server_uuid == peer.uuid]:  # fmt: skip
            raise MoveRefused("%s still has bricks" % node)
        gluster.ask("peer", "detach", peer.hostname, *(["force"] if is_gone() else []))
        if not out():
            raise GanetiGlusterError("glusterd detached %s, but still lists it" % node)

    return Step("%s removed from the pool" % node, out, detach)


def directory_of(brick: VolumeBrick) -> str:
    """Where a node has its bricks, judged by one of them."""
    return os.path.dirname(brick.path)
