"""Bricks that die under a snapshot of a running guest: it ends, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import Cluster
from .test_package_midway import Work
from .test_snapshot import REMOVE, SOCKET, Guest

pytestmark = [pytest.mark.slow, pytest.mark.qemu]

NAME, NODE = "snap3", "node2"
#: Seconds for a heal, and for what a snapshot has put into QEMU to be taken out again.
PATIENCE = 300
STATUS = ("/usr/bin/python3", "-m", "ganeti_gluster.core.serve.fleet", "status")


def kill_bricks(cluster: Cluster, *nodes: str) -> None:
    for node in nodes:
        cluster.run("pkill", "-KILL", "-x", "glusterfsd", node=node)


def start_bricks(cluster: Cluster) -> None:
    cluster.run("gluster", "--mode=script", "volume", "start", "gv0", "force")


def is_whole(cluster: Cluster) -> bool:
    """Whether all bricks are there, and none waits for a heal.

    By the bricks' indices: `heal info` also lists what the guest is writing.
    """
    cluster.testbed.exec("node1", ["gluster", "volume", "heal", "gv0"])
    argv = ["gluster", "volume", "heal", "gv0", "statistics", "heal-count"]
    lines = cluster.testbed.exec("node1", argv).stdout.splitlines()
    return [line.split()[-1] for line in lines if line.startswith("Number of e")] == ["0"] * 3


def server_state(cluster: Cluster) -> str:
    """What the server of the guest's image does."""
    (found,) = json.loads(cluster.run(*STATUS, node=NODE).stdout).values()
    state: str = found["state"]
    return state


@pytest.fixture
def running(cluster: Cluster) -> Iterator[Guest]:
    """A guest with 112 MiB of data that it does not write itself."""
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME, node=NODE, disks=("size=256M",))
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 150, "records")
    argv = ("/usr/bin/python3", "-c", SOCKET, cluster.image(NAME))
    uri = "nbd+unix:///?socket=%s" % cluster.run(*argv, node=NODE).stdout.strip()
    cluster.run("qemu-io", "-f", "raw", "-c", "write -P 7 128M 112M", uri, node=NODE)
    yield Guest(cluster, boot, NAME, node=NODE)
    start_bricks(cluster)
    boot.close()
    wait_for(lambda: is_whole(cluster), PATIENCE, "all is healed")
    left = [path for path in cluster.images() if ".snap." in path]
    cluster.run("/usr/bin/python3", "-c", REMOVE, "node1", *left)
    cluster.remove(NAME)


def snapshot(running: Guest) -> Work:
    """Begin a snapshot that takes some 40 s; it copies."""
    argv = ("gnt-gluster", "disk", "snapshot", "--bandwidth-limit=3", "--name=one", NAME)
    partial = running.cluster.image(NAME) + ".snap.one.partial"
    return Work(running.cluster, *argv, begun=lambda: partial in running.cluster.images())


def waiting_snapshot(cluster: Cluster, running: Guest) -> Work:
    """Begin one, and take its disk two bricks of three: what it reads waits."""
    work = snapshot(running)
    kill_bricks(cluster, "node1", "node3")
    wait_for(lambda: server_state(cluster) == "waiting", 90, "requests wait")
    return work


def left_alone(running: Guest) -> bool:
    """Whether no worker is there, and nothing of one in QEMU and on the node."""
    try:
        running.check_untouched()
    except AssertionError:
        return False
    return True


def test_a_brick_that_dies_while_another_heals(cluster: Cluster, running: Guest) -> None:
    """The snapshot is whole, or there is none, with the reason."""
    kill_bricks(cluster, "node3")
    running.written()
    start_bricks(cluster)
    work = snapshot(running)
    running.written()
    kill_bricks(cluster, "node1")
    done = work.ended()
    found = running.snapshots() if done.exit_code == 0 else {}
    if done.exit_code == 0:
        assert found["one"]["complete"]
    else:
        assert "failed after" in done.stderr or "is lost" in done.stderr, done
    start_bricks(cluster)
    wait_for(lambda: left_alone(running), PATIENCE, "nothing is left")
    guest.check_unbroken(running.boot.events())


def test_a_snapshot_whose_disk_waits_for_its_bricks_is_interrupted(
    cluster: Cluster, running: Guest
) -> None:
    work = waiting_snapshot(cluster, running)
    cluster.run("pkill", "-INT", "-f", "gnt-gluster disk snapshot")
    done = work.ended()
    # Still without its bricks.
    assert server_state(cluster) == "waiting"
    assert done.exit_code != 0
    start_bricks(cluster)
    wait_for(lambda: left_alone(running), PATIENCE, "nothing is left")
    guest.check_unbroken(running.boot.events())


def test_a_snapshot_whose_disk_waits_for_its_bricks_gives_up(
    cluster: Cluster, running: Guest
) -> None:
    """After five minutes; what it has in QEMU goes when the bricks are back."""
    work = waiting_snapshot(cluster, running)
    done = work.ended()
    assert server_state(cluster) == "waiting"
    assert done.exit_code != 0
    assert "nothing was copied for 300 s" in done.stderr, done
    start_bricks(cluster)
    wait_for(lambda: left_alone(running), PATIENCE, "nothing is left")
    guest.check_unbroken(running.boot.events())
