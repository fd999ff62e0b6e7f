"""A node is taken away for maintenance and comes back, while a guest writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, wait_for

from . import faults
from .conftest import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.one_suite]

NAME = "vm1"
GLUSTER = ("gluster", "--mode=script", "volume")


def maintenance(cluster: Cluster, *words: str, fail: bool = False) -> CompletedCommand:
    return cluster.run(
        *("gnt-gluster", "node", "maintenance", "--yes", *words), max_seconds=300, fail=fail
    )


def fields(cluster: Cluster, what: str, name: str, column: str) -> str:
    return cluster.run("gnt-" + what, "list", "--no-headers", "-o", column, name).stdout.strip()


@pytest.fixture
def boot(cluster: Cluster) -> Iterator[Boot]:
    """The console of a guest on node2 that writes."""
    boot = cluster.boot(NAME, "node2")
    cluster.add(NAME, node="node2")
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 90, "records")
        yield boot
    finally:
        boot.close()
        cluster.remove(NAME)


@pytest.fixture
def unhealed(cluster: Cluster) -> Iterator[None]:
    """The self-heal daemon does nothing; all is healed when the guest is gone."""
    option = "cluster.self-heal-daemon"
    cluster.run(*GLUSTER, "set", "gv0", option, "off")
    try:
        yield
    finally:
        cluster.run(*GLUSTER, "set", "gv0", option, "on")
        faults.settle(cluster)


def test_a_node_leaves_and_comes_back(cluster: Cluster, boot: Boot) -> None:
    refused = maintenance(cluster, "node2", "on", fail=True)
    assert "instances run on node node2: %s; use --migrate or --failover" % NAME in refused.stderr
    shown = cluster.run(
        "gnt-gluster", *["node", "maintenance", "--dry-run", "--migrate", "node2", "on"]
    )
    assert "[    ] instance %s migrated from node2\n" % NAME in shown.stdout
    assert fields(cluster, "node", "node2", "role") == "C"
    boot.close()
    moved = cluster.boot(NAME, "node3")
    try:
        done = maintenance(cluster, "--migrate", "--to=node3", "node2", "on")
        assert "Node node2 is in maintenance." in done.stdout
        assert fields(cluster, "instance", NAME, "pnode") == "node3"
        assert fields(cluster, "node", "node2", "role") == "D"
        # Nothing is placed there, and nobody else may leave.
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, fail=True)
        refused = maintenance(cluster, "--migrate", "node3", "on", fail=True)
        assert "with a brick of the same set of volume gv0, is in maintenance" in refused.stderr
        codes = {each["code"] for each in faults.look(cluster)}
        assert codes == {"NODE_MAINTENANCE"}
        cluster.testbed.kill("node2")
        moved.wait(lambda events: guest.last_acknowledged(events) > 8, 120, "it writes on")
        cluster.testbed.boot("node2")
        cluster.testbed.wait_volume()
        # Whoever worked on it left glusterd and, with Debian 13's unit, the brick stopped.
        cluster.run("systemctl", "stop", "glusterd", node="node2")
        done = maintenance(cluster, "node2", "off")
        assert "node2: glusterd runs and is connected: done (" in done.stdout
        assert "[    ] volume gv0: bricks and self-heal daemon of node2 online\n" in done.stdout
        assert fields(cluster, "node", "node2", "role") == "C"
        assert fields(cluster, "node", "node2", "tags") == ""
        guest.check_unbroken(moved.events())
        faults.expect(cluster, set())
        assert "already done" in maintenance(cluster, "node2", "off").stdout
    finally:
        moved.close()


def test_a_node_that_is_needed_stays(cluster: Cluster, unhealed: None, boot: Boot) -> None:
    cluster.run("pkill", "-9", "-x", "glusterfsd", node="node1")
    wait_for(
        lambda: "node1:" in maintenance(cluster, "node3", "on", fail=True).stderr,
        30,
        "the brick is missed",
    )
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 3, 60, "records")
    cluster.run(*GLUSTER, "start", "gv0", "force")
    cluster.testbed.wait_volume()
    refused = maintenance(cluster, "node3", "on", fail=True)
    assert "node node3 is needed: the remaining bricks are not healed: node1:" in refused.stderr
    assert fields(cluster, "node", "node3", "role") == "C"
