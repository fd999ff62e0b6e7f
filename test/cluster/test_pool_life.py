"""A pool from plain nodes on: members come, move their bricks, die, and a guest writes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import Testbed
from testbedlib import cluster as ganeti

from .conftest import OS_DIRECTORY, Cluster, package

NAME = "vm-pool"
BRICK = "/srv/gluster/bricks/gv0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare() -> Iterator[Cluster]:
    """A cluster of three nodes, three more that are in none, and no pool at all."""
    main = Testbed()
    testbed = Testbed("%s-p" % main.layout.name[:18])
    testbed.up(nodes=6, suite=main.suite, bare=True)
    try:
        ganeti.create([testbed.node(name) for name in testbed.nodes[:3]])
        cluster = Cluster(testbed)
        for name in testbed.nodes:
            testbed.add_device(name)
        testbed.install([package()])
        cluster.everywhere("mkdir", "-p", OS_DIRECTORY)
        cluster.everywhere("ln", "-sfn", "/src/qa/os/guest", OS_DIRECTORY + "/guest")
        yield cluster
    finally:
        testbed.down()


def status(cluster: Cluster) -> dict[str, Any]:
    answer = json.loads(
        cluster.testbed.exec("node1", ["gnt-gluster", "pool", "status", "--json"]).stdout
    )
    (volume,) = answer["volumes"]
    return {**volume, "nodes": {node["name"]: node for node in answer["nodes"]}}


def servers(cluster: Cluster) -> list[str]:
    return [brick.partition(":")[0] for brick in status(cluster)["bricks"]]


def add_node(cluster: Cluster, name: str) -> str:
    done = cluster.run("gnt-node", "add", name, max_seconds=300)
    return done.stdout + done.stderr


def written_on(boot: Boot) -> None:
    """The guest writes further records, and none is missing."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 3, 120, "records")


def test_a_pool_lives_with_its_nodes(bare: Cluster) -> None:
    # From plain nodes to a running guest.
    bare.run(
        *("gnt-gluster", "pool", "create", "--arbiter", "1", "--yes"),
        *("--brick-device", "/dev/testbed-spare", "--on-node-add", "join+extend"),
        max_seconds=300,
    )
    boot = bare.boot(NAME, "node1")
    bare.add(NAME, max_seconds=300)
    written_on(boot)

    # A fourth node is a spare, and with a fifth there is a further set.
    assert "WARNING: On" not in add_node(bare, "node4")
    assert status(bare)["spares"] == ["node4"]
    assert "WARNING: On" not in add_node(bare, "node5")
    assert servers(bare) == ["node1", "node2", "node3", "node4", "node5", "node1"]
    assert status(bare)["offline"] == []
    refused = bare.run("gnt-gluster", "pool", "rebalance", "--yes", "gv0", fail=True)
    assert "instances run on volume gv0, whose images a rebalance may damage: %s" % NAME in (
        refused.stderr
    )

    # A node that holds data stays, until its bricks are elsewhere.
    refused = bare.run("gnt-node", "remove", "node5", fail=True, max_seconds=120)
    assert (
        "node node5 has bricks with data: %s of volume gv0; first run: " % BRICK in refused.stderr
    )
    refused = bare.run("gnt-gluster", "pool", "evacuate", "--yes", "node5", fail=True)
    assert "no spare node can take the brick node5:%s of volume gv0" % BRICK in refused.stderr
    add_node(bare, "node6")
    bare.run("gnt-gluster", "pool", "evacuate", "--yes", "node5", max_seconds=600)
    assert servers(bare) == ["node1", "node2", "node3", "node4", "node6", "node1"]
    assert status(bare)["spares"] == ["node5"]
    written_on(boot)

    # One dies, and the spare takes its place.
    bare.testbed.kill("node2")
    written_on(boot)
    bare.run("gnt-gluster", "pool", "replace", "--yes", "node2", "node5", max_seconds=600)
    found = status(bare)
    assert servers(bare) == ["node1", "node5", "node3", "node4", "node6", "node1"]
    assert (found["offline"], found["nodes"]["node2"]["peer"]) == ([], "not in the pool")
    bare.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=300)
    bare.run("gnt-node", "remove", "node2", max_seconds=300)
    written_on(boot)

    # All of it is still there, also for a guest that boots anew without the old bricks.
    bare.run("gnt-instance", "shutdown", "--timeout=30", NAME, max_seconds=120)
    boot.wait_end(60)
    before = boot.events()
    boot.close()
    again = bare.boot(NAME, "node1")
    bare.run("gnt-instance", "start", NAME, max_seconds=120)
    written_on(again)
    guest.check_reboot(before, again.events())
    again.close()

    # A node's file system is there again after a loss of power, before its brick.
    bare.testbed.kill("node3")
    bare.testbed.boot("node3")
    mounted = bare.run("findmnt", "-no", "FSTYPE", "/srv/gluster/bricks", node="node3")
    assert mounted.stdout == "xfs\n"
    bare.testbed.wait_volume()
