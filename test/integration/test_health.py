"""An image's health on volumes whose bricks die."""

from __future__ import annotations

import time

import pytest

from ganeti_gluster.core import health, image
from ganeti_gluster.core.volume import connect

MIB = 1 << 20


@pytest.fixture
def replicated(make_volume):
    return make_volume("ill", 3, "replica", "3", cluster__quorum_type="auto")


def test_a_whole_image_is_healthy_and_it_costs_little(volume, directory):
    image.create(volume, directory + "/x", MIB)
    expected = health.ImageHealth(degraded=False, split_brain=False, healing=None, detail="")
    assert health.check(volume, directory + "/x") == expected
    started = time.monotonic()
    for _ in range(10):
        health.check(volume, directory + "/x")
    assert time.monotonic() - started < 1
    with pytest.raises(FileNotFoundError):
        health.check(volume, directory + "/y")


def test_a_dead_brick_is_named_and_two_are_too_many(replicated):
    with connect(replicated.spec) as volume:
        image.create(volume, "x", MIB)
        replicated.kill(1)
        state = health.check(volume, "x")
        assert (state.degraded, state.split_brain) == (True, False)
        assert state.detail.endswith(":%s" % replicated.bricks[1])
        assert state.detail.startswith("bricks that do not answer: ")
        replicated.kill(0)
        state = health.check(volume, "x")
        assert state.degraded
        assert state.detail == "too few bricks answer" or str(replicated.bricks[0]) in state.detail
        replicated.revive()
        assert health.check(volume, "x").degraded is False


def test_of_a_sharded_and_distributed_volume_every_brick_counts(make_volume):
    made = make_volume("both", 6, "replica", "3", features__shard="on")
    with connect(made.spec) as volume:
        image.create(volume, "x", MIB)
        for index in (1, 4):
            made.kill(index)
            state = health.check(volume, "x")
            assert state.degraded
            assert str(made.bricks[index]) in state.detail
            made.revive()


def test_a_dead_brick_of_a_disperse_set(make_volume, wait):
    made = make_volume("coded", 3, "disperse", "3", "redundancy", "1")
    with connect(made.spec) as volume:
        image.create(volume, "x", MIB)
        assert health.check(volume, "x").degraded is False
        pids = made.pids()
        made.seen = lambda volume: 0  # disperse does not answer that
        made.kill(2)
        assert pids[2]
        state = wait("the client notices", lambda: _if_degraded(volume))
        assert state.detail.endswith(":%s" % made.bricks[2])


def _if_degraded(volume):
    state = health.check(volume, "x")
    return state if state.degraded else None


def test_copies_that_contradict_each_other_are_a_split_brain(make_volume):
    made = make_volume(
        "split",
        2,
        "replica",
        "2",
        cluster__quorum_type="none",
        cluster__self_heal_daemon="off",
        cluster__favorite_child_policy="none",
    )
    with connect(made.spec) as volume:
        image.create(volume, "x", MIB)
        for dead in (0, 1):
            made.kill(dead)
            with volume.open("x", write=True) as file:
                file.pwrite(b"%d" % dead, 0)
            made.revive()
            if dead == 0:
                assert health.check(volume, "x").split_brain is False
        state = health.check(volume, "x")
        assert state.split_brain
        assert "split-brain" in state.detail
