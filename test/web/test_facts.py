"""From what glusterd and the services' store say to what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gluster_cli import (
    BrickHeal,
    BrickStatus,
    Gluster,
    GlusterFailed,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.services import config, store
from ganeti_gluster.services.model import ServerService, Status
from ganeti_gluster.services.model import Snapshot as ServicesSnapshot
from ganeti_gluster.web import facts, health, pool, services, words

GIB = 1 << 30


def info(count: int, *, replica: int = 1, arbiter: int = 0, state: str = "Started") -> VolumeInfo:
    bricks = tuple(
        VolumeBrick("node%d" % n, "/b", "u%d" % n, bool(arbiter and n % replica == 0))
        for n in range(1, count + 1)
    )
    kind = "Replicate" if replica > 1 else "Distribute"
    return VolumeInfo("gv0", "u", state, kind, replica, arbiter, 0, 0, bricks, {})


def status(found: VolumeInfo, *, down: tuple[str, ...] = (), free: int = 6) -> VolumeStatus:
    bricks = tuple(
        BrickStatus(
            brick.server,
            brick.path,
            brick.server_uuid,
            brick.server not in down,
            1,
            1,
            8 * GIB,
            (free - number) * GIB,
        )
        for number, brick in enumerate(found.bricks)
    )
    return VolumeStatus(found.name, bricks, ())


def heal(node: str, total: int | None, split_brain: int | None = 0) -> BrickHeal:
    return BrickHeal(node + ":/b", total is not None, "", total, total, split_brain, 0)


def test_a_sound_volume_is_healthy_and_as_large_as_its_smallest_brick() -> None:
    found = info(3, replica=3)
    volume = pool.volume(found, status(found), [heal("node1", 0)])

    assert health.of_volume(volume) is words.HEALTHY
    assert (volume.total, volume.free) == (8 * GIB, 4 * GIB)
    assert not volume.problems


def test_sets_add_up_and_arbiters_do_not_count() -> None:
    found = info(6, replica=3, arbiter=1)
    volume = pool.volume(found, status(found, free=8), [])

    assert (volume.total, volume.free) == (16 * GIB, (7 + 4) * GIB)


def test_a_set_that_does_not_tell_leaves_the_size_unknown() -> None:
    found = info(2)
    one = VolumeStatus("gv0", status(found).bricks[:1], ())

    assert pool.volume(found, one, []).total is None


def test_a_brick_that_does_not_run_degrades_its_volume() -> None:
    found = info(3, replica=3)
    volume = pool.volume(found, status(found, down=("node2",)), [])

    assert health.of_volume(volume) is words.DEGRADED
    assert volume.problems == ["Not running: node2:/b."]


def test_waiting_heals_and_split_brain_degrade_it() -> None:
    found = info(3, replica=3)
    waiting = pool.volume(found, status(found), [heal("node1", 3), heal("node3", None)])
    split = pool.volume(found, status(found), [heal("node1", 1, 1)])

    assert health.of_volume(waiting) is words.DEGRADED and health.heals(waiting) == 3
    assert split.problems == ["Files in split-brain on node1:/b."]


@pytest.mark.parametrize("down", [("node1", "node2", "node3"), None])
def test_a_volume_that_nobody_can_use_is_out_of_service(down: tuple[str, ...] | None) -> None:
    found = info(3, replica=3, state="Started" if down else "Stopped")
    volume = pool.volume(found, status(found, down=down or ()), [])

    assert health.of_volume(volume) is words.BROKEN
    assert health.of_pool(facts.PoolFacts([], [volume])) is words.BROKEN


def test_a_server_that_is_away_degrades_the_pool() -> None:
    found = info(3, replica=3)
    volume = pool.volume(found, status(found), [])
    away = facts.PoolFacts([facts.Peer("node2", False, "")], [volume])

    assert health.of_pool(away) is words.DEGRADED


class FakeGluster(Gluster):
    """A pool of one volume that counts how often it is asked for heals."""

    asked = 0

    def peers(self) -> list[Peer]:
        return []

    def volumes(self) -> list[VolumeInfo]:
        return [info(3, replica=3)]

    def status(self, name: str, *, detail: bool = False) -> VolumeStatus:
        return status(info(3, replica=3))

    def heal_counts(self, name: str, *, timeout: float = 0) -> list[BrickHeal]:
        type(self).asked += 1
        if self.asked > 1:
            raise GlusterFailed(["volume", "heal"], "too busy")
        return [heal("node1", 7)]


def test_heals_are_asked_for_now_and_then_only() -> None:
    now = 0.0
    FakeGluster.asked = 0
    source = pool.PoolSource(FakeGluster(), clock=lambda: now)
    for now in (0.0, 1.0, pool.HEALS_EVERY - 1):  # noqa: B007  # the clock
        assert health.heals(source().volumes[0]) == 7
    assert FakeGluster.asked == 1

    now = pool.HEALS_EVERY
    (volume,) = source().volumes
    assert health.heals(volume) is None
    assert volume.problems == ["What waits for a heal is not known: gluster volume heal: too busy"]


def test_the_history_is_thinned_and_bounded() -> None:
    now = 0.0
    history = pool.History(clock=lambda: now, every=10.0)
    found = info(3, replica=3)
    facts_ = facts.PoolFacts([], [pool.volume(found, status(found), [heal("node1", 7)])])
    kept = 0
    for now in range(0, 10 * (pool.MAX_SAMPLES + 5), 5):  # noqa: B007  # the clock
        added = history.add(facts_)
        kept = len(added.samples) if added else kept

    assert kept == pool.MAX_SAMPLES
    assert history.add(facts.PoolFacts()) is None


def test_the_store_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s" / "store.db")
    monkeypatch.setattr("ganeti_gluster.constants.SERVICES_STORE", path)
    monkeypatch.setattr("ganeti_gluster.constants.SERVICES_CONF", str(tmp_path / "none"))
    with pytest.raises(GanetiGlusterError, match="nothing is known of the services yet"):
        services.services_facts()
    names = [one.name for one in config.load().type("GLUSTER_SWIFT").services]

    def taken(time: float, node2: Status) -> ServicesSnapshot:
        return ServicesSnapshot(
            time,
            tuple(
                ServerService("GLUSTER_SWIFT", name, node, state)
                for node, state in (("node1", Status.RUNNING), ("node2", node2))
                for name in names
            ),
        )

    with store.connect(path, readonly=False) as opened:
        for time, state in ((1.0, Status.RUNNING), (2.0, Status.STOPPED)):
            opened.record(taken(time, state), master="node1", history=100)

    part = services.services_facts()
    assert part.at == 2.0
    assert part.data.status == "PARTIALLY_UP" and part.data.message == "down: node2"
    assert [(one.node, one.status) for one in part.data.hosts] == [
        ("node1", "RUNNING"),
        ("node2", "STOPPED"),
    ]
    assert [one.name for one in part.data.hosts[0].services] == names
    events = services.events_facts().events
    assert events[0].text == ("GLUSTER_SWIFT in the cluster: RUNNING -> PARTIALLY_UP: down: node2")
    assert [one.id for one in events] == sorted((one.id for one in events), reverse=True)
