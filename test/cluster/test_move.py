"""Moves that would fail or lose data are refused before anything moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .conftest import SERVERS, Cluster

NAME = "vm7"
SERVER = "/usr/lib/ganeti-gluster/image-server"


@pytest.fixture(scope="module")
def instance(cluster: Cluster) -> Iterator[str]:
    cluster.add(NAME)
    yield NAME
    cluster.remove(NAME)


def refusal(cluster: Cluster, command: str = "migrate") -> str:
    """What a move to node3 is refused with; the instance stays where it is."""
    argv = ("gnt-instance", command, "-f", "-n", "node3", NAME)
    done = cluster.run(*argv, fail=True, max_seconds=120)
    where = cluster.run("gnt-instance", "list", "--no-headers", "-o", "pnode,status", NAME)
    assert where.stdout.split() == ["node1", "running"]
    assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
    return done.stdout + done.stderr


@contextlib.contextmanager
def renamed(cluster: Cluster, path: str) -> Iterator[None]:
    """Take a file of node3's away for as long as the block runs."""
    cluster.run("mv", path, path + ".away", node="node3")
    try:
        yield
    finally:
        cluster.run("mv", path + ".away", path, node="node3")


def test_a_node_that_lacks_the_server_of_images(cluster: Cluster, instance: str) -> None:
    said = "%s cannot move to node3: the image server cannot run here" % NAME
    with renamed(cluster, SERVER):
        for command in ("migrate", "failover"):
            assert said in refusal(cluster, command)


@pytest.mark.slow
def test_a_node_that_cannot_reach_the_volume(cluster: Cluster, instance: str) -> None:
    for node in ("node1", "node2"):
        cluster.run("sed", "-i", r"s/\bnode2$/& others/", "/etc/hosts", node=node)
    try:
        cluster.run("gnt-cluster", "modify", "-D", "gluster:host=others")
        said = refusal(cluster)
        assert "cannot move to node3: no server of volume gv0 answers: others:24007" in said
    finally:
        cluster.run("gnt-cluster", "modify", "-D", "gluster:host=%s" % SERVERS.replace(",", r"\,"))


@pytest.mark.slow
def test_a_volume_without_quorum(cluster: Cluster, instance: str) -> None:
    pids = {
        node: cluster.run("pgrep", "-x", "glusterfsd", node=node).stdout.split()[0]
        for node in ("node2", "node3")
    }
    for node, pid in pids.items():
        cluster.run("kill", "-9", pid, node=node)
    try:
        argv = ("gnt-instance", "migrate", "-f", "-n", "node3", NAME)
        done = cluster.run(*argv, fail=True, max_seconds=120)
        assert "too few bricks of volume gv0 answer" in done.stdout + done.stderr
    finally:
        cluster.run("gluster", "volume", "start", "gv0", "force")
        cluster.testbed.wait_volume()
