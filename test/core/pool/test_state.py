"""What the state of volumes and of the pool is, and the verdict on them."""

from __future__ import annotations

import dataclasses

import pytest

from ganeti_gluster.core.pool.state import Condition, PeerState, PoolState, most, of_glusterd
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    Daemon,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)

GIB = 1 << 30


def info(count: int, *, replica: int = 1, arbiter: int = 0, state: str = "Started") -> VolumeInfo:
    bricks = tuple(
        VolumeBrick("node%d" % n, "/b", "u%d" % n, bool(arbiter and n % replica == 0))
        for n in range(1, count + 1)
    )
    kind = "Replicate" if replica > 1 else "Distribute"
    return VolumeInfo("gv0", "u", state, kind, replica, arbiter, 0, 0, bricks, {})


def spaces(found: VolumeInfo, *, free: int = 6) -> dict[str, tuple[int, int]]:
    """What the nodes tell of their bricks' file systems."""
    return {
        str(brick): (8 * GIB, (free - number) * GIB) for number, brick in enumerate(found.bricks)
    }


def status(found: VolumeInfo, *, down: tuple[str, ...] = ()) -> VolumeStatus:
    bricks = tuple(
        BrickStatus(
            brick.server,
            brick.path,
            brick.server_uuid,
            brick.server not in down,
            1,
            1,
        )
        for brick in found.bricks
    )
    return VolumeStatus(found.name, bricks, ())


def heal(node: str, total: int | None, split_brain: int | None = 0) -> BrickHeal:
    return BrickHeal(node + ":/b", total is not None, "", total, total, split_brain, 0)


def test_a_sound_volume_is_healthy_and_as_large_as_its_smallest_brick() -> None:
    found = info(3, replica=3)
    volume = of_glusterd(found, status(found), [heal("node1", 0)], spaces=spaces(found))

    assert volume.verdict is Condition.HEALTHY
    assert (volume.total, volume.free) == (8 * GIB, 4 * GIB)
    assert not volume.problems


def test_sets_add_up_and_arbiters_do_not_count() -> None:
    found = info(6, replica=3, arbiter=1)
    volume = of_glusterd(found, status(found), [], spaces=spaces(found, free=8))

    assert (volume.total, volume.free) == (16 * GIB, (7 + 4) * GIB)


def test_a_set_that_does_not_tell_leaves_the_size_unknown() -> None:
    found = info(2)
    one = {"node1:/b": (8 * GIB, 6 * GIB)}

    assert of_glusterd(found, status(found), [], spaces=one).total is None


def test_a_brick_that_does_not_run_degrades_its_volume() -> None:
    found = info(3, replica=3)
    volume = of_glusterd(found, status(found, down=("node2",)), [])

    assert volume.verdict is Condition.DEGRADED
    assert volume.problems == ("Not running: node2:/b.",)


def test_waiting_heals_and_split_brain_degrade_it() -> None:
    found = info(3, replica=3)
    waiting = of_glusterd(found, status(found), [heal("node1", 3), heal("node3", None)])
    split = of_glusterd(found, status(found), [heal("node1", 1, 1)])

    assert waiting.verdict is Condition.DEGRADED and waiting.heals == 3
    assert split.problems == ("Files in split-brain on node1:/b.",)


@pytest.mark.parametrize("down", [("node1", "node2", "node3"), None])
def test_a_volume_that_nobody_can_use_is_out_of_service(down: tuple[str, ...] | None) -> None:
    found = info(3, replica=3, state="Started" if down else "Stopped")
    volume = of_glusterd(found, status(found, down=down or ()), [])

    assert volume.verdict is Condition.BROKEN
    assert PoolState((), (volume,)).verdict is Condition.BROKEN


def test_a_server_that_is_away_degrades_the_pool() -> None:
    found = info(3, replica=3)
    volume = of_glusterd(found, status(found), [])
    away = PoolState((PeerState("node2", False, ""),), (volume,))

    assert away.verdict is Condition.DEGRADED


@pytest.mark.parametrize(
    ("changed", "down", "verdict"),
    [
        ({"replica": 3}, ("node1",), Condition.DEGRADED),
        ({"replica": 3}, ("node1", "node2"), Condition.BROKEN),
        ({"disperse": 3, "redundancy": 1}, ("node3",), Condition.DEGRADED),
        ({"disperse": 3, "redundancy": 1}, ("node2", "node3"), Condition.BROKEN),
        ({}, ("node1",), Condition.BROKEN),
    ],
)
def test_a_set_without_quorum_is_out_of_service(changed, down, verdict) -> None:
    found = dataclasses.replace(info(3), **changed)
    assert of_glusterd(found, status(found, down=down), []).verdict is verdict


def test_what_glusterd_does_not_tell_is_not_known() -> None:
    found = info(3, replica=3)
    volume = of_glusterd(found, None, [])
    assert volume.verdict is Condition.UNKNOWN
    assert (volume.online, volume.down, volume.heals, volume.used) == (0, [], None, None)
    assert PoolState((), (volume,)).verdict is Condition.UNKNOWN


def test_a_volume_without_copies_has_nothing_to_heal() -> None:
    found = info(1)
    assert of_glusterd(found, status(found), []).heals == 0
    assert (most([None, 3, 1]), most([None]), most([])) == (3, None, None)


def test_a_helper_that_is_away_degrades_it() -> None:
    found = info(3, replica=3)
    daemon = Daemon("Self-heal Daemon", "node2", "u2", False)
    volume = of_glusterd(found, dataclasses.replace(status(found), daemons=(daemon,)), [])
    assert volume.problems == ("Not running somewhere: Self-heal Daemon.",)
    assert volume.verdict is Condition.DEGRADED
