"""What a brick stands on after its node's disk was replaced, and when it begins anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gluster_pool import DIRECTORY, ID, GlusterPool, volume

from ganeti_gluster.core.pool import steps
from ganeti_gluster.core.pool.brick_moves import MoveRefused
from ganeti_gluster.core.pool.facts import DeviceFacts, PlaceFacts
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.new_disk import BrickRenewer, Ground, LostBrick, need_ground
from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.errors import GanetiGlusterError

NODES = ["node1", "node2", "node3"]
VOLUME = volume(*NODES, replica=3)
BRICK = VOLUME.bricks[2]
LOST = LostBrick("node3", VOLUME, BRICK, DIRECTORY)
WHOLE = PlaceFacts(DIRECTORY, True, True, mount=DIRECTORY, volume_id=ID, served=True, sector=512)
EMPTY = PlaceFacts(DIRECTORY, True, True, mount=DIRECTORY, sector=512)
NOTHING = PlaceFacts(DIRECTORY, True, False, mount="/", sector=512)
BROKEN = PlaceFacts(DIRECTORY, True, mount=DIRECTORY, broken="Input/output error")
DEVICE = DeviceFacts("/dev/vdb", True, True, sector=512)


@pytest.mark.parametrize(
    ("place", "device", "ground"),
    [
        (WHOLE, True, Ground.WHOLE),
        (BROKEN, True, Ground.BROKEN),
        (EMPTY, True, Ground.EMPTY),
        (EMPTY, False, Ground.EMPTY),
        (NOTHING, True, Ground.BARE),
        (NOTHING, False, Ground.BARE),
        (PlaceFacts(DIRECTORY), True, Ground.BARE),
        # Below a file system that is mounted higher up.
        (replace(EMPTY, mount="/srv"), False, Ground.EMPTY),
        (replace(EMPTY, mount="/srv"), True, Ground.BARE),
        (replace(EMPTY, mount=DIRECTORY + "/gv0"), True, Ground.EMPTY),
        # glusterd has marked it, and nothing has served it yet.
        (replace(WHOLE, served=False), True, Ground.EMPTY),
        (replace(WHOLE, volume_id="other"), True, Ground.FOREIGN),
        (replace(EMPTY, entries=("photos",)), True, Ground.FOREIGN),
    ],
)
def test_what_a_brick_stands_on(place: PlaceFacts, device: bool, ground: Ground) -> None:
    assert LOST.ground(place, device=device) is ground


@pytest.mark.parametrize(
    ("place", "device", "said"),
    [
        (replace(WHOLE, volume_id="u9"), DEVICE, "is a brick of the volume with UUID u9; if noth"),
        (replace(EMPTY, entries=("a", "b")), DEVICE, "contains files: a, b; if nothing of it is"),
        (NOTHING, None, "no file system is mounted there; name the new disk with --brick-device"),
        (BROKEN, None, "its file system gives errors (Input/output error); name the new disk"),
        (replace(EMPTY, read_only=True), DEVICE, "its file system is mounted read-only"),
        (NOTHING, replace(DEVICE, sector=4096), "would have sectors of 4096 bytes, while the oth"),
        (replace(EMPTY, sector=4096), None, "would have sectors of 4096 bytes, while the other b"),
    ],
)
def test_what_it_cannot_stand_on(place: PlaceFacts, device: DeviceFacts | None, said: str) -> None:
    with pytest.raises(MoveRefused) as refusal:
        need_ground(LOST, place, device, 512)
    assert said in str(refusal.value) and "node3:%s/gv0" % DIRECTORY in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "device", "sectors"),
    [
        (WHOLE, None, 512),
        (WHOLE, replace(DEVICE, sector=4096), 512),
        (EMPTY, None, 512),
        (NOTHING, DEVICE, 512),
        (BROKEN, DEVICE, 512),
        (NOTHING, replace(DEVICE, sector=4096), 4096),
        (NOTHING, replace(DEVICE, sector=4096), 0),  # nobody tells
        (NOTHING, DEVICE, 4096),
    ],
)
def test_what_it_can_stand_on(place: PlaceFacts, device: DeviceFacts | None, sectors: int) -> None:
    need_ground(LOST, place, device, sectors)


class Renewal:
    """A pool in which node3 has lost its disk."""

    def __init__(self) -> None:
        self.pool = GlusterPool(VOLUME)
        self.place = EMPTY
        self.blames: dict[str, dict[str, int]] = {}
        self.pool.down.add(str(BRICK))
        self.asked = self.pool.asked
        real, command = self.pool._do, self.pool.command

        def do(node: str, verb: str, given: Any) -> Any:
            if verb == "behind":
                return self.blames.get(node, {})
            return self.place if verb == "place" else real(node, verb, given)

        def ask(words: tuple[str, ...]) -> str:
            if words[-2:] == ("commit", "force"):
                self.place = WHOLE
                self.pool.down.discard(str(BRICK))
            return command(words)

        self.pool._do, self.pool.command = do, ask  # type: ignore[method-assign]
        peers = tuple(self.pool.peers("node1"))
        known = Pool("node1", "uuid-node1", peers, (VOLUME,), {})
        agents: Any = self.pool
        self.renewer = BrickRenewer(agents, known, NODES, lambda line: None)
        self.step = self.renewer.reset_step(LOST)

    @property
    def changes(self) -> list[str]:
        words = ("volume reset-brick", "volume start")
        return [line for line in self.asked if line.startswith(words)]


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Renewal:
    monkeypatch.setattr(PostOpDelay, "wait_switched", lambda self: None)
    monkeypatch.setattr(steps, "PAUSE", 0)
    return Renewal()


def test_a_brick_begins_anew_on_an_empty_file_system(lost: Renewal) -> None:
    assert not lost.step.done()
    lost.step.do()
    assert lost.changes == [
        "volume reset-brick gv0 %s start" % BRICK,
        "volume reset-brick gv0 %s %s commit force" % (BRICK, BRICK),
    ]
    assert lost.step.done()


def test_the_old_disk_is_only_started(lost: Renewal) -> None:
    lost.place = WHOLE
    assert not lost.step.done()
    lost.step.do()
    assert lost.changes == ["volume start gv0 force"]
    assert lost.step.done()


def test_the_only_good_copy_is_not_given_up(lost: Renewal) -> None:
    lost.blames = {"node1": {"node2:%s/gv0" % DIRECTORY: 7}}
    with pytest.raises(MoveRefused, match=r"node3:/srv/b/gv0 is not given up: the remaining") as e:
        lost.step.do()
    assert "put it back" in e.value.hint
    assert lost.changes == []


def test_not_while_another_brick_is_down(lost: Renewal) -> None:
    lost.pool.down.add(str(VOLUME.bricks[0]))
    with pytest.raises(MoveRefused, match="is not reset: other bricks of its set are not online"):
        lost.step.do()
    assert lost.changes == []


def test_not_if_another_brick_ends_while_images_are_read(lost: Renewal) -> None:
    do = lost.pool._do

    def reading(node: str, verb: str, given: Any) -> Any:
        if verb == "unreadable":
            lost.pool.down.add(str(VOLUME.bricks[0]))
        return do(node, verb, given)

    lost.pool._do = reading  # type: ignore[method-assign]
    with pytest.raises(MoveRefused, match="is not reset: other bricks of its set are not online"):
        lost.step.do()
    assert lost.changes == []


@pytest.mark.parametrize("place", [NOTHING, BROKEN, replace(EMPTY, entries=("photos",))])
def test_not_on_what_is_no_empty_file_system(lost: Renewal, place: PlaceFacts) -> None:
    lost.place = place
    with pytest.raises(MoveRefused, match="node3: there is no empty file system at /srv/b"):
        lost.step.do()
    assert lost.changes == []


def test_a_reset_that_left_no_mark_is_told(lost: Renewal) -> None:
    def command(words: tuple[str, ...]) -> str:
        lost.asked.append(" ".join(words))
        lost.pool.down.clear()
        return "<cliOutput><opRet>0</opRet></cliOutput>"

    lost.pool.command = command  # type: ignore[method-assign]
    with pytest.raises(
        GanetiGlusterError, match=r"accepted the reset of brick .* has no mark of the vol"
    ):
        lost.step.do()


def test_what_has_the_broken_file_system_open_is_ended_first(lost: Renewal) -> None:
    lost.pool.down.clear()
    lost.place = BROKEN
    step = lost.renewer.stop_step(LOST)
    assert not step.done()
    step.do()
    assert lost.changes == ["volume reset-brick gv0 %s start" % BRICK]
    lost.pool.down.add(str(BRICK))
    assert step.done()
