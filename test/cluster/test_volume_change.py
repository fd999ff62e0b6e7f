"""Parameters and node groups that would leave the disks of instances behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import Cluster

NAME, NODE = "stay1", "node2"
OTHER = "gv9"
GROUP = "rack9"
#: As if it had been done before the package was there.
WITHOUT_PLUGIN = "gnt-gluster plugin disable; %s; gnt-gluster plugin enable"


@pytest.fixture(scope="module")
def other_volume(cluster: Cluster) -> Iterator[str]:
    bricks = ["%s:/srv/gluster/brick1/%s" % (node, OTHER) for node in cluster.nodes]
    cluster.run("gluster", "volume", "create", OTHER, "replica", "3", *bricks, "force")
    cluster.run("gluster", "volume", "start", OTHER)
    yield OTHER
    cluster.run("gluster", "--mode=script", "volume", "stop", OTHER, "force")
    cluster.run("gluster", "--mode=script", "volume", "delete", OTHER)
    for node in cluster.nodes:
        cluster.run("rm", "-r", "/srv/gluster/brick1/%s" % OTHER, node=node)


@pytest.fixture(scope="module")
def image(cluster: Cluster, other_volume: str) -> Iterator[str]:
    path = cluster.add(NAME, node=NODE, start=False, disks=("size=128M",))
    cluster.run("gnt-group", "add", "-D", "gluster:volume=%s" % OTHER, GROUP)
    yield path
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=gv0")
    cluster.run("gnt-group", "remove", GROUP)
    cluster.remove(NAME)


def volume(cluster: Cluster) -> str:
    """The template's volume in the group of all nodes."""
    done = cluster.run("gnt-gluster", "volume", "status", "--json")
    (name,) = [each["volume"] for each in json.loads(done.stdout) if "default" in each["groups"]]
    return str(name)


@pytest.mark.parametrize(
    "words",
    [
        ("gnt-cluster", "modify", "-D", "gluster:volume=%s" % OTHER),
        ("gnt-group", "modify", "-D", "gluster:volume=%s" % OTHER, "default"),
        ("gnt-group", "assign-nodes", GROUP, NODE),
        ("gnt-group", "assign-nodes", "--force", GROUP, NODE),
    ],
    ids=["cluster", "group", "assign", "assign-forced"],
)
def test_what_would_leave_a_disk_behind_is_refused(
    cluster: Cluster, image: str, words: tuple[str, ...]
) -> None:
    done = cluster.run(*words, fail=1)
    assert "The disks of instance %s are on volume gv0" % NAME in done.stderr, done
    assert "would look for them on %s" % OTHER in done.stderr
    assert "move them there first (gnt-gluster disk move)" in done.stderr
    assert volume(cluster) == "gv0"
    row = cluster.run("gnt-group", "list", "--no-headers", "-o", "node_cnt", GROUP)
    assert row.stdout.split() == ["0"]


def test_what_leaves_the_disks_where_they_are_is_done(cluster: Cluster, image: str) -> None:
    servers = "\\,".join(cluster.nodes)
    cluster.run("gnt-cluster", "modify", "-D", "gluster:host=%s" % servers)
    cluster.run("gnt-group", "assign-nodes", GROUP, "node3")
    cluster.run("gnt-group", "assign-nodes", "default", "node3")


def test_disks_that_were_left_behind_are_not_taken_for_lost(cluster: Cluster, image: str) -> None:
    command = "gnt-cluster modify -D gluster:volume=%s"
    cluster.run("sh", "-ec", WITHOUT_PLUGIN % command % OTHER)
    assert volume(cluster) == OTHER
    done = cluster.run("gnt-gluster", "verify", "--json", fail=1, max_seconds=240)
    (found,) = [each for each in json.loads(done.stdout) if each["object"] == image]
    assert found["code"] == "IMAGE_ELSEWHERE"
    assert "gluster:volume back to gv0" in found["remedy"]
    done = cluster.run("gnt-gluster", "pool", "destroy", "--yes", "--force", "gv0", fail=1)
    assert NAME in done.stderr and "looks for on another volume" in done.stderr, done
    cluster.run(*(command % "gv0").split())
    assert volume(cluster) == "gv0"
    assert image in cluster.images()
