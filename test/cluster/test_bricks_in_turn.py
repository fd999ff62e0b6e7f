"""Every brick restarted in turn, again and again, with many images open."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from testbedlib import layout, wait_for

from .conftest import SERVERS, Cluster

PROGRAM = "/src/test/cluster/writers.py"
STOP = "/run/stop-writers"
IMAGES = ["ganeti/turn.%d" % number for number in range(20)]
ROUNDS = 10
#: Seconds for all servers to have a brick again, and for a heal.
PATIENCE = 180

REMOVE = (
    """
import sys
from ganeti_gluster.core import image
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
spec = VolumeSpec.from_params({"host": %r, "volume": "gv0"})
for path in sys.argv[1:]:
    ImageServer(spec, path).close(force=True)
with connect(spec) as volume:
    for path in sys.argv[1:]:
        image.remove(volume, path)
"""
    % SERVERS
)


@pytest.fixture
def told(cluster: Cluster) -> Iterator[dict[str, object]]:
    """What the writers tell in the end, once they have been asked to stop."""
    answer: dict[str, object] = {}
    argv = ["/usr/bin/python3", "-P", PROGRAM, "gv0", SERVERS, STOP, *IMAGES]

    def write() -> None:
        done = cluster.testbed.exec("node1", argv, timeout=3600)
        answer.update(json.loads(done.stdout) if done.exit_code == 0 else {"": done.describe()})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield answer
    finally:
        cluster.run("touch", STOP)
        thread.join()
        cluster.run("rm", STOP)
        cluster.run("/usr/bin/python3", "-c", REMOVE, *IMAGES, max_seconds=120)


def servers_use(cluster: Cluster, bricks: int) -> bool:
    """Whether each image's server has connections to so many bricks."""
    argv = ("/usr/bin/python3", "-m", "ganeti_gluster.core.serve.fleet", "status")
    found = json.loads(cluster.run(*argv, max_seconds=120).stdout)
    states = [(each["state"], each.get("connected")) for each in found.values()]
    return states == [("serving", bricks)] * len(IMAGES)


def is_whole(cluster: Cluster) -> bool:
    """Whether no brick waits for a heal, the heals' own marks included."""
    argv = ["gluster", "volume", "heal", "gv0", "statistics", "heal-count"]
    done = cluster.testbed.exec("node1", argv, timeout=60)
    counts = [line for line in done.stdout.splitlines() if line.startswith("Number of entries")]
    return [line.split()[-1] for line in counts] == ["0"] * len(cluster.nodes)


def restart_brick(cluster: Cluster, node: str, signal: str) -> None:
    """End a node's brick, and start it again; all is as before then."""
    cluster.run("pkill", signal, "-x", "glusterfsd", node=node)
    wait_for(lambda: servers_use(cluster, 2), PATIENCE, "the brick of %s is away" % node)
    cluster.run("gluster", "volume", "start", "gv0", "force", max_seconds=60)
    cluster.testbed.wait_volume()
    wait_for(lambda: servers_use(cluster, 3), PATIENCE, "the brick of %s is used again" % node)
    wait_for(lambda: is_whole(cluster), PATIENCE, "the brick of %s is healed" % node)


@pytest.mark.slow
def test_bricks_restart_in_turn_under_many_images(
    cluster: Cluster, told: dict[str, dict[str, object]]
) -> None:
    wait_for(lambda: servers_use(cluster, 3), PATIENCE, "all images are open")
    for number in range(ROUNDS):
        for node in cluster.nodes:
            restart_brick(cluster, node, "-KILL" if number % 2 else "-TERM")
    assert told == {}  # they write until now
    cluster.run("touch", STOP)
    wait_for(lambda: told, PATIENCE, "the writers have ended")
    assert sorted(told) == sorted(IMAGES)
    assert [each["errors"] for each in told.values()] == [[] for _ in IMAGES]
    wait_for(lambda: is_whole(cluster), PATIENCE, "all is healed")
    for node in cluster.nodes:
        paths = ["%s/gv0/%s" % (layout.BRICK_MOUNT, path) for path in IMAGES]
        lines = cluster.run("sha256sum", *paths, node=node, max_seconds=120).stdout.splitlines()
        assert [line.split()[0] for line in lines] == [told[path]["digest"] for path in IMAGES]
