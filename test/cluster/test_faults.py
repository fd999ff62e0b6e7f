"""What an administrator meets when a brick, a node or the whole volume is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbedlib import wait_for

from .conftest import Cluster

NAME = "vm3"


@pytest.fixture
def stopped_volume(cluster: Cluster) -> Iterator[None]:
    cluster.run("gluster", "--mode=script", "volume", "stop", "gv0")
    yield
    if "Started" not in cluster.run("gluster", "volume", "info", "gv0").stdout:
        cluster.run("gluster", "volume", "start", "gv0")
    cluster.testbed.wait_volume()


def test_an_instance_is_not_added_on_a_stopped_volume(
    cluster: Cluster, stopped_volume: None
) -> None:
    done = cluster.run(
        *("gnt-instance", "add", "-t", "gluster", "-o", "guest+default", "--disk", "0:size=1G"),
        *("--net", "0:mode=bridged", "--no-name-check", "--no-ip-check", "-n", "node1", NAME),
        fail=True,
        max_seconds=90,
    )
    assert "too few bricks of volume gv0 answer: it is stopped, or lost quorum" in done.stderr
    assert NAME not in cluster.run("gnt-instance", "list").stdout


def test_an_instance_is_not_forgotten_while_its_volume_is_away(cluster: Cluster) -> None:
    image = cluster.add(NAME, start=False)
    cluster.run("gluster", "--mode=script", "volume", "stop", "gv0")
    try:
        # Ganeti tries for half a minute.
        cluster.run("gnt-instance", "remove", "-f", NAME, fail=True, max_seconds=120)
    finally:
        cluster.run("gluster", "volume", "start", "gv0")
        cluster.testbed.wait_volume()
    assert cluster.images() == [image]
    cluster.remove(NAME)
    assert cluster.images() == []


def test_a_dead_node_degrades_disks_and_stops_nothing(cluster: Cluster) -> None:
    cluster.testbed.kill("node3")
    try:
        wait_for(
            lambda: (
                cluster.add(NAME, start=False) if not cluster.images() else cluster.image(NAME)
            ),
            120,
            "an instance is added while a brick is down",
        )
        wait_for(lambda: cluster.disk_info(NAME)[0]["degraded"], 60, "its disk is degraded")
        assert "node3" in cluster.disk_info(NAME)[0]["state"]
        cluster.run("gnt-instance", "start", NAME, max_seconds=120)
    finally:
        cluster.testbed.boot("node3")
        cluster.testbed.wait_volume()
    wait_for(lambda: not cluster.disk_info(NAME)[0]["degraded"], 60, "all copies are there")
    cluster.remove(NAME)
