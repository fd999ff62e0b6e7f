"""What an administrator meets when a brick, a node or the whole volume is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import Cluster

NAME = "vm3"
FILLER = "/srv/gluster/brick1/full"
#: Leaves some MiB, far less than a brick keeps in reserve.
FILL = (
    "free=$(df --output=avail -B1 /srv/gluster/brick1 | tail -n 1);"
    " fallocate -l $((free - (16 << 20))) %s" % FILLER
)

MEASURE = "from ganeti_gluster.monitoring import agent; agent.write_files(agent.collect())"


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


@pytest.fixture
def dead_node(cluster: Cluster) -> Iterator[str]:
    """A node without power, which the administrator has marked as offline."""
    name = "node3"
    # What its brick removed a moment ago must not come back with it: GlusterFS
    # has no call that makes a removal last.
    cluster.run("sync", node=name)
    cluster.testbed.kill(name)
    cluster.run("gnt-node", "modify", "--offline=yes", name, max_seconds=120)
    yield name
    cluster.testbed.boot(name)
    cluster.testbed.wait_volume()
    # A node that was offline comes back by being added again.
    add = ("gnt-node", "add", "--readd", name)
    wait_for(lambda: cluster.run(*add, max_seconds=120), 120, "it is a node of the cluster again")


def test_a_dead_node_degrades_disks_and_stops_nothing(cluster: Cluster, dead_node: str) -> None:
    assert cluster.status()[dead_node]["template"] == "offline"
    cluster.add(NAME, max_seconds=120)
    try:
        wait_for(lambda: cluster.disk_info(NAME)[0]["degraded"], 60, "its disk is degraded")
        assert dead_node in cluster.disk_info(NAME)[0]["state"]
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
    finally:
        cluster.remove(NAME)
    assert cluster.images() == []


@pytest.mark.slow
def test_on_a_full_volume_a_guest_waits_and_with_room_it_goes_on(cluster: Cluster) -> None:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
        for node in cluster.nodes:
            cluster.run("sh", "-c", FILL, node=node)
        found = ["gnt-gluster", "verify"]
        wait_for(
            lambda: "IMAGE_NO_SPACE" in cluster.testbed.exec("node1", found, timeout=120).stdout,
            120,
            "the guest's writes wait",
        )
        said = cluster.testbed.exec("node1", found, timeout=120).stdout
        assert "ERROR: BRICK_FULL" in said
        assert "No space left on device" in said
        # Now, and not at the agent's next minute.
        cluster.run("/usr/bin/python3", "-c", MEASURE)
        metrics = cluster.run("cat", "/var/lib/ganeti-gluster/metrics.prom").stdout
        (line,) = [line for line in metrics.splitlines() if "image_waits_for_space{" in line]
        assert line.endswith("} 1")
        assert "running" in cluster.monitor(NAME, "info status")
    finally:
        for node in cluster.nodes:
            cluster.run("rm", "-f", FILLER, node=node)
    before = guest.last_acknowledged(boot.events())
    boot.wait(
        lambda events: guest.last_acknowledged(events) > before,
        60,
        "more records, once the bricks have noticed their room",
    )
    boot.check()
    boot.close()
    cluster.remove(NAME)
