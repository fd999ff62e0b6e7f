"""A virtual machine whose disk is reached by a path of the kernel."""

from __future__ import annotations

from collections.abc import Callable

from demolib import guest

from .conftest import Cluster

NAME = "vm2"


def test_it_runs_moves_and_leaves_nothing(
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

        boot.follow_to(cluster.testbed.node("node2"))
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
        before = guest.last_acknowledged(boot.events())
        boot.wait(lambda events: guest.last_acknowledged(events) > before, 30, "more records")
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
