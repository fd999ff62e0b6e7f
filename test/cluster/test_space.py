"""The space of the volume, as Ganeti and its allocator hear of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import Cluster

MIB = 1 << 20
NAME = "space1"
LIST = ("gnt-node", "list-storage", "-t", "gluster", "--no-headers", "--separator=|")


def listed(cluster: Cluster) -> dict[str, list[str]]:
    """What `gnt-node list-storage` says of each node: name, size, used, free (MiB)."""
    done = cluster.run(*LIST, "-o", "node,name,size,used,free,allocatable", "--units=m")
    return {row.split("|")[0]: row.split("|")[1:] for row in done.stdout.splitlines()}


@pytest.fixture
def other_volume(cluster: Cluster) -> Iterator[str]:
    """Let the template name a volume that there is not."""
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=nosuch")
    yield "nosuch"
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=gv0")


def test_every_node_reports_the_volume_with_nothing_mounted(cluster: Cluster) -> None:
    (status,) = json.loads(cluster.run("gnt-gluster", "volume", "status", "--json").stdout)
    assert (status["volume"], status["groups"]) == ("gv0", ["default"])
    brick = cluster.run("df", "-B1", "--output=size", "/srv/gluster/brick1").stdout.split()
    assert status["total"] == int(brick[1])
    rows = listed(cluster)
    assert sorted(rows) == cluster.nodes
    for name, size, used, free, allocatable in rows.values():
        assert (name, allocatable) == ("gv0", "Y")
        assert int(size) == status["total"] // MIB
        # Two readings of a volume in use.
        assert abs(int(free) - status["free"] // MIB) < 64
        assert 0 <= int(size) - int(used) - int(free) <= 1
    for node in cluster.nodes:
        assert "glusterfs" not in cluster.run("cat", "/proc/mounts", node=node).stdout


def test_a_volume_that_is_not_there_is_told(cluster: Cluster, other_volume: str) -> None:
    done = cluster.run(*LIST)
    told = done.stdout + done.stderr
    for node in cluster.nodes:
        assert "Can't get storage data from node %s: " % node in told
    assert "Cannot measure the volume: there is no volume nosuch" in told
    assert "|" not in done.stdout
    done = cluster.run("gnt-gluster", "volume", "status", fail=1)
    assert done.stdout.splitlines()[1].split()[0] == other_volume
    assert "there is no volume nosuch" in done.stderr


def test_the_allocator_places_instances_and_no_disk_exceeds_the_free_space(
    cluster: Cluster,
) -> None:
    add = ("gnt-instance", "add", "-t", "gluster", "-o", "guest+default", "--no-install")
    more = ("--no-start", "--no-name-check", "--no-ip-check", "--no-nics", "-I", "hail", NAME)
    cluster.run("gnt-cluster", "modify", "-D", "gluster:preallocation=falloc")
    try:
        done = cluster.run(*add, "--disk", "0:size=100G", *more, fail=True, max_seconds=60)
        assert "volume gv0 has" in done.stderr
        assert "MiB free, but 102400 MiB are needed" in done.stderr
        assert NAME not in cluster.run("gnt-instance", "list").stdout

        cluster.run(*add, "--disk", "0:size=64M", *more, max_seconds=60)
        done = cluster.run("gnt-instance", "grow-disk", NAME, "0", "100G", fail=True)
        assert "MiB free, but 102400 MiB are needed" in done.stderr
        (disk,) = cluster.disk_info(NAME)
        assert disk["size"] == disk["configured_size"] == 64 * MIB

        done = cluster.run("gnt-gluster", "volume", "status", "--json", "gv0")
        (status,) = json.loads(done.stdout)
        assert (status["disks"], status["provisioned"]) == (1, 64 * MIB)
        # As for every template whose space is not a node's own.
        done = cluster.run("hbal", "-L", "--no-disk-moves", "--print-nodes=name,fdsk,pcnt")
        for node in cluster.nodes:
            assert node in done.stdout + done.stderr
        cluster.remove(NAME)
    finally:
        cluster.run("gnt-cluster", "modify", "-D", "gluster:preallocation=off")
    assert cluster.images() == []


def test_a_disk_larger_than_the_free_space_is_a_warning(cluster: Cluster) -> None:
    def warned(*argv: str) -> int:
        done = cluster.run(*argv, max_seconds=60)
        return (done.stdout + done.stderr).count("MiB free, less than the 102400 MiB that may be")

    add = ("gnt-instance", "add", "-t", "gluster", "-o", "guest+default", "--no-install")
    more = ("--no-start", "--no-name-check", "--no-ip-check", "--no-nics", "-n", "node1", NAME)
    assert warned(*add, "--disk", "0:size=100G", *more) == 1
    assert warned("gnt-instance", "grow-disk", NAME, "0", "100G") == 1
    assert warned("gnt-instance", "modify", "--disk", "add:size=100G", NAME) == 1
    assert warned("gnt-instance", "modify", "--disk", "add:size=64M", NAME) == 0
    cluster.remove(NAME)
    assert cluster.images() == []


def test_a_volume_that_no_group_uses_is_no_argument(cluster: Cluster) -> None:
    done = cluster.run("gnt-gluster", "volume", "status", "gv7", fail=1)
    assert "No node group uses the volume gv7" in done.stderr
