"""An image is open for writing on one node, whatever happens to the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import Cluster

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
