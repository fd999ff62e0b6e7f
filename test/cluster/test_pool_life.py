"""A pool from plain nodes on: members come, move their bricks, die, and a guest writes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, Testbed, layout, wait_for
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


def shapes(cluster: Cluster) -> dict[str, str]:
    """The volumes of all pools of the cluster."""
    done = cluster.testbed.exec("node1", ["gnt-gluster", "pool", "status", "--json"])
    if done.exit_code and "no node is in a Gluster pool" in done.stderr:
        return {}
    return {volume["name"]: volume["shape"] for volume in json.loads(done.stdout)["volumes"]}


def pool(cluster: Cluster, *words: str, **options: Any) -> CompletedCommand:
    """A `gnt-gluster pool` command that asks nothing."""
    verb, *others = words
    return cluster.run(
        *("gnt-gluster", "pool", verb, "--yes", *others), **{"max_seconds": 300, **options}
    )


def create(cluster: Cluster, name: str, *words: str, **options: Any) -> CompletedCommand:
    return pool(
        *(cluster, "create", "--volume", name, "--brick-dir", layout.BRICK_MOUNT, *words),
        **options,
    )


def written_on(boot: Boot) -> None:
    """The guest writes further records, and none is missing."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 3, 120, "records")


# Stops glusterd on a node when a command has come to a step, and lets it go on then.
STUMBLE = """
text=$1; node=$2; shift 2
"$@" >/tmp/stumbled 2>&1 &
for _ in $(seq 600); do
  if grep -qF "$text" /tmp/stumbled; then break; fi
  sleep 0.02
done
kill -STOP $!
ssh -o BatchMode=yes "$node" systemctl stop glusterd
kill -CONT $!
wait $!; code=$?
cat /tmp/stumbled; exit $code
"""


def test_a_volume_whose_creation_failed_on_the_way(bare: Cluster) -> None:
    words = ("gv-d", "--disperse", "3", "--redundancy", "1", "--no-configure")
    failed = bare.run(
        *("bash", "-c", STUMBLE, "-", "[1/", "node3", "gnt-gluster", "pool", "create", "--yes"),
        *("--volume", *words, "--brick-dir", layout.BRICK_MOUNT),
        fail=True,
        max_seconds=300,
    )
    assert "Failure: pool of node1, node2, node3: " in failed.stdout
    assert "run the command again to continue" in failed.stdout
    refused = create(bare, *words, fail=True)
    assert "Problem: node3: glusterd does not answer; systemctl enable --now" in refused.stderr
    bare.run("systemctl", "start", "glusterd", node="node3")
    done = create(bare, *words)
    assert "Note: volume: disperse 3 redundancy 1: small writes to a dispersed" in done.stderr
    assert "Volume gv-d is ready.\n" in done.stdout
    assert shapes(bare) == {"gv-d": "disperse 3 redundancy 1"}

    # How it is kept.
    changed = bare.run("gnt-gluster", "pool", "modify", "--on-node-add", "off", "gv-d")
    assert "on node-add:   off (was join)\n" in changed.stdout
    assert status(bare)["on_node_add"] == "off"
    refused = bare.run("gnt-gluster", "pool", "modify", "--on-node-add=off", "gv0", fail=True)
    assert "Failure: there is no volume gv0 in the pool of node1" in refused.stderr

    # A node that others' bricks depend on is not taken away.
    bare.run("pkill", "-f", "glusterfsd.*gv-d", node="node2")
    wait_for(lambda: bool(status(bare)["offline"]), 30, "the brick is down")
    refused = bare.run("gnt-node", "modify", "--offline=yes", "node3", fail=True, max_seconds=120)
    assert (
        "node node3 is alive and its bricks are needed, since these bricks are not"
        " online: node2:%s/gv-d" % layout.BRICK_MOUNT
    ) in refused.stderr
    bare.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=120)
    assert len(status(bare)["offline"]) == 1
    bare.run("gnt-node", "modify", "--force", "--offline=no", "node2", max_seconds=120)
    assert status(bare)["offline"] == []

    pool(bare, "destroy", "gv-d")
    assert shapes(bare) == {}


def policies(cluster: Cluster) -> str:
    """The policies that node groups have for themselves."""
    return cluster.run("gnt-group", "list", "--no-headers", "-o", "name,custom_ipolicy").stdout


def test_volumes_that_may_lose_images_and_one_of_a_group(bare: Cluster) -> None:
    words = ("gv-1", "--replica", "1", "--no-configure")
    refused = create(bare, *words, fail=True)
    assert (
        "Problem: volume: distributed, without copies: each image is on a single" in refused.stderr
    )
    create(bare, *words, "--force", "--nodes", "node1")

    bare.run("gnt-group", "add", "rack")
    bare.run("gnt-group", "assign-nodes", "--force", "rack", "node2", "node3")
    before = policies(bare)
    words = ("gv-2", "--replica", "2", "--group", "rack")
    refused = create(bare, *words, fail=True)
    assert (
        "Problem: volume: replica 2: with two copies, the failure of one server" in refused.stderr
    )
    create(bare, *words, "--force")
    assert shapes(bare) == {"gv-1": "distributed, without copies", "gv-2": "replica 2"}
    bare.add("vm-rack", node="node2", start=False)
    refused = bare.run(
        *("gnt-instance", "add", "-t", "gluster", "--disk=0:size=1G", "-o", "guest+default"),
        *("--no-name-check", "--no-ip-check", "--no-nics", "-n", "node1", "vm-other"),
        fail=True,
    )
    assert "Disk template gluster is not allowed" in refused.stderr
    refused = pool(bare, "destroy", "--force", "gv-2", fail=True)
    assert "Failure: volume gv-2 has disks of instances: vm-rack; remove or" in refused.stderr
    bare.remove("vm-rack")
    pool(bare, "destroy", "gv-2")
    pool(bare, "destroy", "gv-1")
    assert shapes(bare) == {}
    assert policies(bare) == before
    assert "gv-2" not in bare.run("gnt-group", "list", "-o", "name,custom_diskparams").stdout
    enabled = bare.run("gnt-cluster", "info").stdout
    assert "enabled disk templates: diskless, ext\n" in enabled
    bare.run("gnt-group", "assign-nodes", "--force", "default", "node2", "node3")
    bare.run("gnt-group", "remove", "rack")


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
    assert (
        "instances are running on volume gv0, and a rebalance may damage their images: %s" % NAME
        in (refused.stderr)
    )

    # A node that holds data stays, until its bricks are elsewhere.
    refused = bare.run("gnt-node", "remove", "node5", fail=True, max_seconds=120)
    assert (
        "node node5 has bricks with data: %s of volume gv0; first run " % BRICK in refused.stderr
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
    bare.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=300)
    bare.run("gnt-gluster", "pool", "replace", "--yes", "node2", "node5", max_seconds=600)
    found = status(bare)
    assert servers(bare) == ["node1", "node5", "node3", "node4", "node6", "node1"]
    assert (found["offline"], found["nodes"]["node2"]["peer"]) == ([], "not in the pool")
    bare.run("gnt-node", "remove", "node2", max_seconds=300)
    written_on(boot)

    # Then another one, and the guest has its image open on the new brick as well.  After
    # the loss of power a node's file system is there again before its brick.
    bare.testbed.kill("node3")
    written_on(boot)
    bare.testbed.boot("node3")
    mounted = bare.run("findmnt", "-no", "FSTYPE", "/srv/gluster/bricks", node="node3")
    assert mounted.stdout == "xfs\n"
    bare.testbed.wait_volume()

    # All of it is still there, also for a guest that boots anew without the old bricks.
    bare.run("gnt-instance", "shutdown", "--timeout=30", NAME, max_seconds=120)
    boot.wait_end(60)
    before = boot.events()
    boot.close()
    pool(bare, "rebalance", "--move-data", "gv0", max_seconds=600)
    again = bare.boot(NAME, "node1")
    bare.run("gnt-instance", "start", NAME, max_seconds=120)
    written_on(again)
    guest.check_reboot(before, again.events())
    again.close()
