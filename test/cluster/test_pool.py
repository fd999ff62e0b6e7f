"""A volume built by `gnt-gluster pool create` beside the testbed's own, and destroyed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Cluster
from .terminal import terminal

VOLUME = "gv-built"
DIRECTORY = "/srv/gluster/built"
BRICK = "%s/%s" % (DIRECTORY, VOLUME)

# Runs the command in the background, and kills it as soon as a step has begun.
INTERRUPT = """
text=$1; shift
"$@" >/tmp/interrupted 2>&1 &
for _ in $(seq 600); do
  if grep -qF "$text" /tmp/interrupted; then kill -9 $!; exit 0; fi
  kill -0 $! 2>/dev/null || break
  sleep 0.02
done
cat /tmp/interrupted; exit 1
"""


@pytest.fixture(scope="module")
def device(cluster: Cluster) -> Iterator[str]:
    """An empty disk in each node, and empty again afterwards."""
    (name,) = {cluster.testbed.add_device(node) for node in cluster.nodes}
    yield name
    for node in cluster.nodes:
        cluster.run("systemctl", "disable", "--now", "srv-gluster-built.mount", node=node)
        cluster.run("rm", "/etc/systemd/system/srv-gluster-built.mount", node=node)
        cluster.run("rmdir", DIRECTORY, node=node)
        cluster.run("wipefs", "--all", "--quiet", name, node=node)


@pytest.fixture(scope="module")
def create(cluster: Cluster, device: str) -> Iterator[list[str]]:
    """The command that builds the volume, which is gone at the end of the tests."""
    tags = cluster.run("gnt-cluster", "list-tags").stdout
    yield [
        *("gnt-gluster", "pool", "create", "--volume", VOLUME, "--no-configure"),
        *("--brick-dir", DIRECTORY, "--brick-device", device, "--yes"),
    ]
    if VOLUME in [volume["name"] for volume in status(cluster)["volumes"]]:
        cluster.run("gnt-gluster", "pool", "destroy", "--yes", VOLUME)
    assert cluster.run("gnt-cluster", "list-tags").stdout == tags


def status(cluster: Cluster, **options: Any) -> dict[str, Any]:
    done = cluster.run("gnt-gluster", "pool", "status", "--json", **options)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_says_first_what_it_would_do(cluster: Cluster, create: list[str]) -> None:
    done = cluster.run(*create, "--dry-run")
    assert "[    ] node3: file system on /dev/testbed-spare at %s\n" % DIRECTORY in done.stdout
    assert "[done] pool of node1, node2, node3\n" in done.stdout
    assert "replica 3, on node1:%s, node2:%s, node3:%s\n" % (BRICK, BRICK, BRICK) in done.stdout
    cluster.run("test", "!", "-e", DIRECTORY)


def test_what_loses_images_is_refused(cluster: Cluster, create: list[str]) -> None:
    done = cluster.run(*create, "--replica", "2", "--nodes", "node1,node2", fail=True)
    assert "Problem: volume: replica 2: with two copies, the failure of one server" in done.stderr
    assert "nothing was changed; see the problems above; use --force to continue" in done.stderr


def test_a_device_that_holds_something_is_refused(
    cluster: Cluster, create: list[str], device: str
) -> None:
    cluster.run("mkfs.ext4", "-q", device, node="node2")
    done = cluster.run(*create, fail=True)
    assert "Problem: node2: /dev/testbed-spare contains data: ext4; use --wipe" in done.stderr
    assert "Failure: nothing was changed; see the problems above" in done.stderr
    assert cluster.run("blkid", "-o", "value", "-s", "TYPE", device, node="node2").stdout == (
        "ext4\n"
    )
    cluster.run("wipefs", "--all", "--quiet", device, node="node2")


@pytest.mark.slow
def test_it_goes_on_where_it_was_killed(cluster: Cluster, create: list[str]) -> None:
    for begun in ("node2: file system", "[5/", "[6/"):
        cluster.run("bash", "-c", INTERRUPT, "-", begun, *create)
    done = cluster.run(*create)
    assert (
        "node1: file system on /dev/testbed-spare at %s: already done\n" % DIRECTORY in done.stdout
    )
    assert "Volume %s is ready.\n" % VOLUME in done.stdout
    again = cluster.run(*create)
    assert again.stdout.count("already done") == again.stdout.count("[done]") == 8


def test_it_is_built(cluster: Cluster, create: list[str]) -> None:
    done = cluster.run(*create)
    assert "pool of node1, node2, node3: already done\n" in done.stdout
    assert "Volume %s is ready.\n" % VOLUME in done.stdout


def test_the_volume_is_as_it_was_asked_for(cluster: Cluster, create: list[str]) -> None:
    (volume,) = [one for one in status(cluster)["volumes"] if one["name"] == VOLUME]
    assert (volume["state"], volume["shape"], volume["offline"]) == ("Started", "replica 3", [])
    assert volume["bricks"] == ["node%d:%s" % (number, BRICK) for number in (1, 2, 3)]
    options = cluster.run("gluster", "volume", "info", VOLUME).stdout
    assert "features.shard: on\n" in options
    assert "storage.reserve: 5\n" in options
    for node in cluster.nodes:
        mounted = cluster.run("findmnt", "-no", "FSTYPE", DIRECTORY, node=node).stdout
        assert mounted == "xfs\n"
        cluster.run("systemctl", "is-enabled", "srv-gluster-built.mount", node=node)


def on_volume(cluster: Cluster, statement: str) -> None:
    program = (
        "from ganeti_gluster.core.volume import *; from ganeti_gluster.core import image;"
        "v = connect(VolumeSpec.from_params({'host': 'node1', 'volume': '%s'})); %s"
    )
    cluster.run("/usr/bin/python3", "-c", program % (VOLUME, statement))


def test_what_comes_while_it_asks_keeps_it(cluster: Cluster, create: list[str]) -> None:
    argv = ["gnt-gluster", "pool", "destroy", VOLUME]
    with terminal(cluster.testbed.node("node1"), argv) as shown:
        shown.until("Destroy it?", 60)
        on_volume(cluster, "image.create(v, 'ganeti/late.0', 1 << 20)")
        shown.type("y\n")
        assert shown.end(60) == 1
    assert "has 1 image(s) that belong to no instance: ganeti/late.0; use --force" in shown.text
    assert cluster.run("gluster", "volume", "info", VOLUME).stdout.count("Status: Started") == 1
    on_volume(cluster, "v.unlink('ganeti/late.0')")


def test_images_without_an_instance_keep_it(cluster: Cluster, create: list[str]) -> None:
    on_volume(cluster, "image.create(v, 'ganeti/stray.0', 1 << 20)")
    done = cluster.run("gnt-gluster", "pool", "destroy", "--yes", VOLUME, fail=True)
    assert (
        "Failure: volume %s has 1 image(s) that belong to no instance: ganeti/stray.0; use --force"
        % VOLUME
        in done.stderr
    )


@pytest.mark.slow
def test_a_volume_with_disks_of_instances_is_kept(cluster: Cluster) -> None:
    cluster.add("pooled", start=False)
    try:
        done = cluster.run("gnt-gluster", "pool", "destroy", "--force", "gv0", fail=True)
        assert "Failure: volume gv0 has disks of instances: pooled; remove or" in done.stderr
    finally:
        cluster.remove("pooled")


def test_it_is_gone_with_its_bricks(cluster: Cluster, create: list[str]) -> None:
    cluster.run("gnt-gluster", "pool", "destroy", "--force", VOLUME)
    found = status(cluster)
    assert VOLUME not in [volume["name"] for volume in found["volumes"]]
    assert [node["peer"] for node in found["nodes"]] == ["connected"] * 3
    for node in cluster.nodes:
        assert cluster.run("ls", "-A", DIRECTORY, node=node).stdout == ""
