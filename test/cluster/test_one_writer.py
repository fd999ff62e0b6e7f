"""An image is open for writing on one node, whatever happens to the other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from .conftest import SERVERS, Cluster

NAME = "vm6"
LOCKS = "ganeti-gluster-lock-*"


def lock_units(cluster: Cluster, node: str) -> str:
    """The keepers on a node."""
    argv = ("systemctl", "list-units", "--all", "--no-legend", "--plain", LOCKS)
    return cluster.run(*argv, node=node).stdout


def qemu_state(cluster: Cluster, node: str) -> str:
    """The state of the QEMU on a node as ps has it, empty if there is none."""
    argv = ["ps", "-C", "qemu-system-x86_64", "-o", "stat="]
    return cluster.testbed.exec(node, argv).stdout.strip()


@pytest.mark.qemu
def test_a_lock_follows_the_instance(cluster: Cluster) -> None:
    cluster.add(NAME)
    try:
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        assert lock_units(cluster, "node1") == ""
        # The node daemon has no part in it once the lock is taken.
        cluster.restart("node2")
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=60)
        assert cluster.disk_info(NAME)[0]["open_on"] == ""
        assert [lock_units(cluster, node) for node in cluster.nodes] == ["", "", ""]
    finally:
        cluster.remove(NAME)


CONNECT = (
    """
import json, os, sys
from ganeti_gluster.gfapi import brick
from ganeti_gluster.lock.image_lock import EXCLUSIVE, Held, ImageLock, holder_of
from ganeti_gluster.volume import VolumeSpec, connect
volume = connect(VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
path = sys.argv[1]
"""
    % SERVERS
)
#: How each brick by itself says that the image is open.
ON_BRICKS = """
def mode(one):
    holder = holder_of(one, path)
    return holder and holder.mode
print(json.dumps(brick.ask_each(volume, mode)), flush=True)
os._exit(0)
"""
#: How the one that keeps another node out holds the lock.
TAKE = """
try:
    ImageLock(volume, path, 1).take(EXCLUSIVE)
except Held as err:
    print(err.holder.mode, flush=True)
os._exit(0)
"""


def on_bricks(cluster: Cluster, path: str) -> list[str | None]:
    argv = ("/usr/bin/python3", "-c", CONNECT + ON_BRICKS, path)
    found: list[str | None] = json.loads(cluster.run(*argv, node="node2").stdout)
    return found


def refusal(cluster: Cluster, path: str) -> str:
    """Who keeps another node from the image, "" where none does."""
    argv = ("/usr/bin/python3", "-c", CONNECT + TAKE, path)
    return cluster.run(*argv, node="node2").stdout.strip()


def goes_on(boot: Boot) -> None:
    """Wait for another record of the guest."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before, 60, "another record")


@pytest.mark.slow
def test_a_lock_is_held_while_all_bricks_hosts_restart(cluster: Cluster) -> None:
    boot = cluster.boot(NAME, "node1")
    path = cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        for host in ("node2", "node3"):
            cluster.testbed.kill(host)
            assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
            cluster.testbed.boot(host)
            cluster.testbed.wait_volume()
            assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
            assert refusal(cluster, path) == "exclusive"
            wait_for(lambda: on_bricks(cluster, path) == ["exclusive"] * 3, 15, "all have it")
            wait_for(lambda host=host: cluster.has_brick("node1", host), 90, "QEMU has that brick")
        goes_on(boot)
        boot.close()
        # The brick of the guest's own host; it may have the only healed copy.
        pid = cluster.run("pgrep", "-x", "glusterfsd").stdout.split()[0]
        cluster.run("kill", "-9", pid)
        cluster.run("gluster", "volume", "start", "gv0", "force")
        cluster.testbed.wait_volume()
        assert refusal(cluster, path) == "exclusive"
        wait_for(lambda: on_bricks(cluster, path) == ["exclusive"] * 3, 15, "all have it")
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
    finally:
        cluster.remove(NAME)


@pytest.fixture
def cut(cluster: Cluster) -> Iterator[str]:
    """A node that a test cuts off; it is one of the cluster's again afterwards."""
    node = "node3"
    yield node
    cluster.testbed.heal(node)
    cluster.testbed.wait_volume()
    add = ("gnt-node", "add", "--readd", node)
    wait_for(lambda: cluster.run(*add, max_seconds=120), 120, "it is a node of the cluster again")


@pytest.mark.slow
def test_a_node_that_is_cut_off_writes_no_more(cluster: Cluster, cut: str) -> None:
    first = cluster.boot(NAME, cut)
    cluster.add(NAME, node=cut)
    try:
        first.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        cluster.testbed.cut(cut)
        wait_for(lambda: qemu_state(cluster, cut).startswith("T"), 40, "its QEMU is stopped")
        written = first.events()
        # The other nodes do not take it as long as that node counts as alive.
        cluster.run("gnt-node", "modify", "--offline=yes", cut, max_seconds=120)
        second = cluster.boot(NAME, "node1")
        cluster.run("gnt-instance", "failover", "-f", "-n", "node1", NAME, max_seconds=180)
        second.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "it boots elsewhere")
        assert first.events() == written
        cluster.testbed.heal(cut)
        wait_for(lambda: qemu_state(cluster, cut) == "", 90, "the stale QEMU is killed")
        wait_for(lambda: lock_units(cluster, cut) == "", 30, "its keeper has gone")
        before = guest.last_acknowledged(second.events())
        second.wait(lambda events: guest.last_acknowledged(events) > before, 60, "it goes on")
        guest.check_reboot(written, second.events())
        first.close()
        second.close()
    finally:
        cluster.remove(NAME)
