"""A node's disk was replaced: its bricks start again on an empty file system at the same place.

`gluster volume start … force` never brings such a brick back, since the mark of the volume is
missing.  `reset-brick … start`, the empty file system, and `reset-brick … commit force` do, and
the brick is then filled from the others of its set.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ganeti_gluster.core.pool import brick_moves, copies
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.brick_moves import BrickMover, MoveRefused
from ganeti_gluster.core.pool.build import BRICK_SECONDS
from ganeti_gluster.core.pool.facts import DeviceFacts, PlaceFacts
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.core.pool.steps import Say, Step, wait
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Gluster, VolumeBrick, VolumeInfo


class Ground(enum.Enum):
    """What a brick stands on."""

    #: It has its data, or is being filled already.
    WHOLE = "whole"
    #: An empty file system.
    EMPTY = "empty"
    #: A file system that gives errors.
    BROKEN = "broken"
    #: No file system of its own is mounted there.
    BARE = "bare"
    #: Something else is in its place.
    FOREIGN = "foreign"


@dataclass(frozen=True)
class LostBrick:
    """A brick of `node`; `directory` is where its file system is mounted."""

    node: str
    volume: VolumeInfo
    brick: VolumeBrick
    directory: str

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(self.brick.path)

    def ground(self, place: PlaceFacts, *, device: bool) -> Ground:
        """What it stands on; `device`: it is to be on a device of its own.

        Without one, any file system but that of the root directory is the administrator's
        choice.
        """
        if place.broken:
            return Ground.BROKEN
        if place.volume_id == self.volume.uuid and place.served:
            return Ground.WHOLE
        if (place.volume_id and place.volume_id != self.volume.uuid) or place.entries:
            return Ground.FOREIGN
        if place.mount in (self.directory, self.brick.path):
            return Ground.EMPTY
        return Ground.EMPTY if place.own_file_system and not device else Ground.BARE


def need_ground(
    lost: LostBrick, place: PlaceFacts, device: DeviceFacts | None, sectors: int
) -> None:
    """Raise `MoveRefused` where there is nothing for the brick to stand on.

    `sectors` is what the other bricks of its set have at most, 0 where that is not known.
    """
    ground = lost.ground(place, device=device is not None)
    where = "%s:%s" % (lost.node, lost.brick.path)
    if ground is Ground.FOREIGN:
        what = "is a brick of the volume with UUID %s" % place.volume_id
        raise MoveRefused(
            "%s %s" % (where, what if place.volume_id else "contains files: %s"
                       % ", ".join(place.entries)),
            hint="if nothing of it is needed, unmount it and format it with --wipe",
        )  # fmt: skip
    if device is None and ground in (Ground.BARE, Ground.BROKEN):
        raise MoveRefused(
            "%s: %s" % (where, "its file system gives errors (%s)" % place.broken
                        if place.broken else "no file system is mounted there"),
            hint="name the new disk with --brick-device, or mount an empty file system there",
        )  # fmt: skip
    if place.read_only and ground is Ground.EMPTY:
        raise MoveRefused("%s: its file system is mounted read-only" % where)
    own = device.sector if device and ground is not Ground.EMPTY else place.sector
    if ground is not Ground.WHOLE and sectors and own > sectors:
        raise MoveRefused(
            "%s would have sectors of %d bytes, while the other bricks of its set have %d:"
            " requests of guests that fit those would fail on it" % (where, own, sectors),
            hint="use a disk with sectors of %d bytes, or move the brick to another node with"
            " gnt-gluster pool evacuate" % sectors,
        )


class BrickRenewer:
    """The steps by which bricks start again at their places; `nodes` can be contacted."""

    def __init__(self, agents: Agents, pool: Pool, nodes: Sequence[str], say: Say) -> None:
        self._agents = agents
        self._pool = pool
        self._nodes = tuple(nodes)
        self._say = say
        self._mover = BrickMover(agents, pool, nodes, say)

    @property
    def _gluster(self) -> Gluster:
        return self._agents.gluster(self._pool.anchor)

    def place(self, lost: LostBrick) -> PlaceFacts:
        """The facts about its place, as they are now."""
        facts: PlaceFacts = self._agents.one(
            lost.node, "place", directory=lost.directory, volume=lost.name
        )
        return facts

    def stop_step(self, lost: LostBrick) -> Step:
        """Nothing has the brick's old file system open any more."""
        return Step(
            "volume %s: brick %s stopped" % (lost.volume.name, lost.brick),
            lambda: self._is_whole(lost) or self._is_down(lost),
            partial(self._ask_reset, lost, "start"),
        )

    def release_step(self, node: str, directory: str) -> Step:
        """The file system that gives errors is unmounted."""
        return Step(
            "%s: the old file system at %s unmounted" % (node, directory),
            lambda: not self._agents.one(node, "place", directory=directory, volume="").broken,
            lambda: self._agents.one(node, "release", directory=directory),
        )

    def reset_step(self, lost: LostBrick) -> Step:
        """The brick runs on what is there now."""
        return Step(
            "volume %s: brick %s in use again" % (lost.volume.name, lost.brick),
            lambda: self._is_whole(lost) and not self._is_down(lost),
            partial(self._reset, lost),
        )

    def heal_step(self, lost: LostBrick) -> Step:
        """The brick has all that the others of its set have; after `reset_step` of all bricks."""
        return self._mover.heal_step(lost.volume.name, lost.node, lost.brick.path)

    def need_others(self, lost: LostBrick) -> None:
        """See `copies.need_others`; as `MoveRefused`."""
        try:
            copies.need_others(self._agents, self._pool, self._nodes, lost.volume, lost.brick)
        except copies.NotWhole as err:
            raise MoveRefused(
                "brick %s is not given up: %s" % (lost.brick, err.message),
                hint="if the old disk can be read at all, put it back, so that the others are"
                " healed from it; `gluster volume heal %s info` shows what is pending"
                % lost.volume.name,
            ) from err

    def _is_whole(self, lost: LostBrick) -> bool:
        return lost.ground(self.place(lost), device=False) is Ground.WHOLE

    def _is_down(self, lost: LostBrick) -> bool:
        return bool(self._gluster.status(lost.volume.name).offline([lost.brick]))

    def _ask_reset(self, lost: LostBrick, *verb: str) -> None:
        same = (str(lost.brick),) if verb[0] == "commit" else ()
        self._gluster.ask("volume", "reset-brick", lost.volume.name, str(lost.brick), *same, *verb)

    def _reset(self, lost: LostBrick) -> None:
        gluster = self._gluster
        volume = gluster.volume(lost.volume.name)
        if volume is None or lost.brick not in volume.bricks:
            raise MoveRefused("%s is no brick of volume %s" % (lost.brick, lost.volume.name))
        # The old disk, mounted again, has its data.
        if self._is_whole(lost):
            gluster.ask("volume", "start", volume.name, "force")
            self._wait(lost, self._offline)
            return
        brick_moves.need_no_obstacle(gluster, volume, lost.brick, "reset")
        self.need_others(lost)
        # That takes its time: another brick that is down by now may lack something.
        brick_moves.need_no_obstacle(gluster, volume, lost.brick, "reset")
        place = self.place(lost)
        if lost.ground(place, device=False) is not Ground.EMPTY:
            raise MoveRefused(
                "%s: there is no empty file system at %s" % (lost.node, lost.directory)
            )
        with PostOpDelay(gluster, volume.name, self._say) as delay:
            delay.switch_off()
            self._ask_reset(lost, "start")
            self._ask_reset(lost, "commit", "force")
            self._wait(lost, self._offline)
            delay.wait_switched()
        if not self._is_whole(lost):
            raise GanetiGlusterError(
                "glusterd accepted the reset of brick %s, but it has no mark of the volume"
                % lost.brick
            )

    def _offline(self, lost: LostBrick) -> str:
        return "brick %s is not online" % lost.brick if self._is_down(lost) else ""

    def _wait(self, lost: LostBrick, problem: Callable[[LostBrick], str]) -> None:
        wait("brick %s" % lost.brick, partial(problem, lost), seconds=BRICK_SECONDS)
