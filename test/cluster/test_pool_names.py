"""Pools that know their servers by other names or addresses than nodes' names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbedlib import Testbed, layout, pool, wait_for
from testbedlib import cluster as ganeti

from .conftest import Cluster, package

pytestmark = pytest.mark.slow

VOLUME = "gv0"
SECOND = "198.51.100.%d"
#: By a secondary address, by another name, by a literal primary address, by another name.
SERVERS = {
    "node1": SECOND % 11,
    "node2": "node2-gl",
    "node3": layout.node_address("node3"),
    "node4": "node4-gl",
}
IDENTITIES = "/var/lib/ganeti-gluster/identities.json"
#: A second set of bricks, on other file systems.
MORE = "/srv/gluster/more"


def on(cluster: Cluster, *words: str, node: str = "node1") -> None:
    cluster.run("gluster", "--mode=script", *words, node=node, max_seconds=120)


def create_volume(cluster: Cluster) -> None:
    """Two sets of three bricks, on servers called as the pool calls them."""
    bricks = [
        "%s:%s/%s" % (SERVERS[node], directory, VOLUME)
        for directory in (layout.BRICK_MOUNT, MORE)
        for node in cluster.nodes[:3]
    ]
    on(cluster, "volume", "create", VOLUME, "replica", "3", *bricks)
    on(cluster, "volume", "set", VOLUME, "group", "virt")
    options = [word for pair in pool.volume_options(3).items() for word in pair]
    on(cluster, "volume", "set", VOLUME, *options)
    on(cluster, "volume", "start", VOLUME)
    pool.wait_online(cluster.testbed.node("node1"), VOLUME)


@pytest.fixture(scope="module")
def named() -> Iterator[Cluster]:
    """Four nodes with secondary addresses in Ganeti, and a volume on three of them.

    A fifth node is not in the cluster yet.
    """
    main = Testbed()
    testbed = Testbed("%s-n" % main.layout.name[:18])
    testbed.up(nodes=5, suite=main.suite, bare=True)
    try:
        cluster = Cluster(testbed)
        for node in cluster.nodes:
            number = 10 + int(node[-1])
            cluster.run("ip", "address", "add", SECOND % number + "/24", "dev", "br0", node=node)
            hosts = "".join("%s node%d-gl\n" % (SECOND % (10 + n), n) for n in range(1, 6))
            cluster.run("sh", "-c", "cat >>/etc/hosts", node=node, stdin=hosts.encode())
            device = testbed.add_device(node)
            cluster.run("mkfs.xfs", "-q", device, node=node)
            cluster.run("mkdir", "-p", MORE, node=node)
            cluster.run("mount", device, MORE, node=node)
        ganeti.create([testbed.node(name) for name in cluster.nodes[:4]])
        for node in cluster.nodes[:4]:
            argv = ("gnt-node", "modify", "--force", "-s", SECOND % (10 + int(node[-1])), node)
            cluster.run(*argv, max_seconds=120)
        testbed.install([package()])
        cluster.everywhere("systemctl", "stop", "ganeti-gluster-agent.path")
        cluster.everywhere("systemctl", "stop", "ganeti-gluster-agent.service")
        for node in cluster.nodes[1:4]:
            on(cluster, "peer", "probe", SERVERS[node])
        on(cluster, "peer", "probe", SERVERS["node1"], node="node2")
        wait_for(lambda: peers(cluster) == 3, 60, "all are connected")
        create_volume(cluster)
        hosts = r"\,".join(SERVERS[node] for node in cluster.nodes[:3])
        cluster.run(
            *("gnt-cluster", "modify", "--enabled-disk-templates", "gluster,diskless,ext"),
            *("--ipolicy-disk-templates", "gluster,diskless,ext"),
            *("-D", "gluster:access=userspace,volume=%s,host=%s" % (VOLUME, hosts)),
        )
        yield cluster
    finally:
        testbed.down()


def peers(cluster: Cluster) -> int:
    """How many peers of node1 are connected, as every other node is to it."""
    counts = [
        cluster.run("gluster", "peer", "status", node=node).stdout.count(
            "State: Peer in Cluster (Connected)"
        )
        for node in cluster.nodes[:4]
    ]
    return min(counts)


def status(cluster: Cluster) -> dict[str, Any]:
    argv = ["gnt-gluster", "pool", "status", "--json"]
    answer: dict[str, Any] = json.loads(cluster.testbed.exec("node1", argv).stdout)
    return answer


def verified(cluster: Cluster) -> list[tuple[str, str]]:
    done = cluster.testbed.exec("node1", ["gnt-gluster", "verify", "--json"], timeout=180)
    return [(each["code"], each["text"]) for each in json.loads(done.stdout)]


def not_of_heals(cluster: Cluster) -> list[tuple[str, str]]:
    """While a node is dead, what is written in the meantime waits for a heal."""
    return [each for each in verified(cluster) if each[0] != "HEAL_BACKLOG"]


def brick(node: str, directory: str = layout.BRICK_MOUNT) -> str:
    return "%s:%s/%s" % (SERVERS[node], directory, VOLUME)


def test_a_healthy_cluster_is_silent(named: Cluster) -> None:
    assert verified(named) == []


def test_each_node_is_found_and_each_volume_shown_once(named: Cluster) -> None:
    shown = status(named)
    assert [volume["name"] for volume in shown["volumes"]] == [VOLUME]
    assert shown["others"] == []
    for node in shown["nodes"]:
        expected = [] if node["name"] == "node4" else [
            brick(node["name"]), brick(node["name"], MORE)
        ]  # fmt: skip
        assert (node["peer"], node["bricks"]) == ("connected", expected)


def test_a_node_with_bricks_is_not_removed(named: Cluster) -> None:
    assert named.run("gnt-cluster", "list-tags").stdout == ""
    refused = named.run("gnt-node", "remove", "node3", fail=True, max_seconds=120)
    assert "node node3 has bricks with data: %s/%s of volume" % (layout.BRICK_MOUNT, VOLUME) in (
        refused.stderr
    )


def test_the_set_that_is_full_first_is_named(named: Cluster) -> None:
    fill = "fallocate -l $(($(df --output=avail -B1 %s | tail -n 1) * 7 / 10)) %s/filler"
    for node in named.nodes[:3]:
        named.run("sh", "-c", fill % (MORE, MORE), node=node)
    ((code, text),) = verified(named)
    assert code == "SETS_UNEVEN"
    assert text.startswith("set 2 will be full first: ")
    assert ", ".join(brick(node, MORE) for node in named.nodes[:3]) in text
    for node in named.nodes[:3]:
        named.run("rm", MORE + "/filler", node=node)


def test_a_disk_of_a_node_with_another_name_is_replaced(named: Cluster) -> None:
    named.run("pkill", "-9", "-f", "glusterfsd.*more-" + VOLUME, node="node2")
    wait_for(lambda: len(status(named)["volumes"][0]["offline"]) == 1, 60, "a brick is down")
    named.run("umount", MORE, node="node2")
    named.run("mkfs.xfs", "-q", "-f", "/dev/testbed-spare", node="node2")
    named.run("mount", "/dev/testbed-spare", MORE, node="node2")
    assert [code for code, _ in verified(named)] == ["BRICK_EMPTY"]
    argv = ("gnt-gluster", "pool", "replace", "--yes", "node2", "node2")
    done = named.run(*argv, max_seconds=600)
    assert "brick %s in use again: done" % brick("node2", MORE) in done.stdout
    assert verified(named) == []


def test_a_dead_node_that_is_offline_is_no_error_and_is_replaced(named: Cluster) -> None:
    named.testbed.kill("node3")
    named.run("gnt-node", "modify", "--offline=yes", "node3", max_seconds=300)
    assert not_of_heals(named) == []
    shown = status(named)
    assert [volume["name"] for volume in shown["volumes"]] == [VOLUME]
    assert shown["volumes"][0]["offline"] == [brick("node3"), brick("node3", MORE)]
    named.run("gnt-gluster", "pool", "replace", "--yes", "node3", "node4", max_seconds=600)
    (volume,) = status(named)["volumes"]
    assert volume["offline"] == []
    assert not any(each.startswith(SERVERS["node3"]) for each in volume["bricks"])
    named.run("gnt-node", "remove", "node3", max_seconds=300)
    assert verified(named) == []


# -- a pool on the secondary addresses ---------------------------------------


def address(node: str) -> str:
    return SECOND % (10 + int(node[-1]))


def servers(cluster: Cluster) -> list[str]:
    (volume,) = status(cluster)["volumes"]
    return [each.partition(":")[0] for each in volume["bricks"]]


def host_in_ganeti(cluster: Cluster) -> str:
    params = cluster.run("gnt-cluster", "info").stdout
    (line,) = [line for line in params.splitlines() if line.strip().startswith("host:")]
    return line.split()[1]


def test_a_pool_is_created_on_the_secondary_addresses(named: Cluster) -> None:
    named.run("gnt-gluster", "pool", "destroy", "--yes", "--force", VOLUME, max_seconds=300)
    create = ("gnt-gluster", "pool", "create", "--yes", "--brick-dir", layout.BRICK_MOUNT)
    named.run(*create, "--network", "storage", max_seconds=300)
    members = ("node1", "node2", "node4")
    assert servers(named) == [address(node) for node in members]
    assert host_in_ganeti(named) == ",".join(address(node) for node in members)
    for node in members:
        shown = named.run("gluster", "peer", "status", node=node).stdout
        assert all(address(other) in shown for other in members if other != node)
    assert verified(named) == []
    again = named.run(*create, max_seconds=300)
    assert "volume gv0 started: already done" in again.stdout
    refused = named.run(*create, "--network=primary", fail=True, max_seconds=120)
    assert "servers that are not named in the primary network" in refused.stderr


def test_a_node_that_joins_later_is_called_by_its_secondary_address(named: Cluster) -> None:
    named.run("gnt-node", "add", "-s", address("node5"), "node5", max_seconds=300)
    (node,) = [each for each in status(named)["nodes"] if each["name"] == "node5"]
    assert node["peer"] == "connected"
    assert address("node5") in named.run("gluster", "peer", "status").stdout
    assert verified(named) == []
    named.run("gnt-gluster", "pool", "evacuate", "--yes", "node4", max_seconds=600)
    assert servers(named) == [address(node) for node in ("node1", "node2", "node5")]
    assert host_in_ganeti(named) == ",".join(servers(named))
    assert verified(named) == []


def test_a_dead_node_whose_address_nobody_can_tell_any_more(named: Cluster) -> None:
    new = SECOND % 112
    named.run("ip", "address", "add", new + "/24", "dev", "br0", node="node2")
    named.run("gnt-node", "modify", "--force", "-s", new, "node2", max_seconds=120)
    assert verified(named) == []
    named.testbed.kill("node2")
    named.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=300)
    assert not_of_heals(named) == []
    assert status(named)["others"] == []
    remove = ("gnt-node", "remove", "node2")
    refused = named.run(*remove, fail=True, max_seconds=120)
    assert "node node2 has bricks with data" in refused.stderr
    # Without what was noted of it while it was there, nobody knows, and that is said.
    named.run("mv", IDENTITIES, IDENTITIES + ".away")
    refused = named.run(*remove, fail=True, max_seconds=120)
    assert "node node2 may be the server of bricks that are down" in refused.stderr
    assert status(named)["others"] == [address("node2")]
    replace = ("gnt-gluster", "pool", "replace", "--yes", "node2", "node4")
    refused = named.run(*replace, fail=True, max_seconds=120)
    assert "node node2 may be the server of bricks that are down" in refused.stderr
    named.run("mv", IDENTITIES + ".away", IDENTITIES)
    named.run(*replace, max_seconds=600)
    assert servers(named) == [address(node) for node in ("node1", "node4", "node5")]
    named.run(*remove, max_seconds=300)
    assert verified(named) == []
