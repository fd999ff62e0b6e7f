"""A virtual machine whose disk is a block device of the kernel."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from demolib import guest

from .conftest import Cluster

pytestmark = pytest.mark.qemu

NAME = "vm2"
GIB = 1 << 30


def test_it_runs_grows_moves_and_leaves_nothing(
    cluster: Cluster, set_access: Callable[[str], None]
) -> None:
    set_access("kernelspace")
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        exports = cluster.exports()
        assert exports["node1"].count("running") == 1
        assert exports["node2"] == exports["node3"] == ""
        device = block_device(cluster)
        command = cluster.run("ps", "-C", "qemu-system-x86_64", "-o", "args=").stdout
        assert "nbd" not in command

        # The device is the same one for a node daemon that was restarted.
        cluster.restart("node1")
        assert block_device(cluster) == device

        cluster.run("gnt-instance", "grow-disk", NAME, "0", "512M", max_seconds=60)
        boot.wait(
            lambda events: events[-1].size == GIB + GIB // 2, 15, "the guest sees its disk grown"
        )

        boot.follow_to(cluster.testbed.node("node2"))
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
        before = guest.last_acknowledged(boot.events())
        boot.wait(lambda events: guest.last_acknowledged(events) > before, 30, "more records")
        boot.check()
        exports = cluster.exports()
        assert exports["node2"].count("running") == 1
        assert exports["node1"] == exports["node3"] == ""
    finally:
        boot.close()
        cluster.remove(NAME)
    assert set(cluster.exports().values()) == {""}
    for node in cluster.nodes:
        left = cluster.run("find", "/run/ganeti-gluster", "-name", "gv0-*", node=node).stdout
        assert left == ""
    assert cluster.images() == []


def block_device(cluster: Cluster) -> str:
    """The device of the instance's disk, as Ganeti tells it."""
    info = cluster.run("gnt-instance", "info", NAME).stdout
    found = re.search(r"(/dev/loop\d+) \(7:\d+\)", info)
    assert found, info
    return found[1]
