"""A guest that moves live to a node with a newer QEMU, as when nodes are upgraded in turn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from demolib import guest

from . import packages
from .conftest import Cluster
from .test_serve import goes_on, kill_servers, whole

NAME = "vm15"
FOLDER = "/root/newer"
QEMU = ("qemu-system-x86", "qemu-utils", "qemu-block-extra")

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def version(cluster: Cluster, node: str) -> tuple[int, ...]:
    """The release of the QEMU that has the guest."""
    found = re.search(r"QEMU (\d+)\.(\d+)", cluster.monitor(NAME, "info version", node=node))
    assert found
    return tuple(map(int, found.groups()))


@pytest.fixture
def newer(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """A node that has a newer QEMU for a while."""
    if cluster.testbed.suite != "trixie":
        pytest.skip("what is newer is in trixie-backports")
    node = "node2"
    debs = packages.fetch(cluster, node, "trixie-backports", tmp_path, QEMU)
    cluster.run("mkdir", "-p", FOLDER, node=node)
    for deb in debs:
        cluster.testbed.push(node, deb, "%s/%s" % (FOLDER, deb.name))
    with packages.kept(cluster, node, *(deb.name.partition("_")[0] for deb in debs)):
        cluster.run("sh", "-c", "dpkg -i %s/*.deb" % FOLDER, node=node, max_seconds=180)
        yield node
    cluster.run("rm", "-r", FOLDER, node=node)


def test_a_guest_moves_to_a_newer_qemu_or_stays(cluster: Cluster, newer: str) -> None:
    """QEMU 11.1.3 refuses what 10.0.13 sends of its virtio devices, whatever the disks."""
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        before = version(cluster, "node1")
        assert before < (11, 0)
        boot.follow_to(cluster.testbed.node(newer))
        argv = ["gnt-instance", "migrate", "-f", "-n", newer, NAME]
        done = cluster.testbed.exec("node1", argv, timeout=180)
        where = newer if done.exit_code == 0 else "node1"
        if where == "node1":
            assert "QEMU on the new node does not resume the guest; see its log" in done.stderr
        assert cluster.disk_info(NAME)[0]["open_on"] == "node %s (exclusive)" % where
        goes_on(boot)
        assert bool(guest.last_acknowledged(boot.here())) == (where == newer)
        whole(boot)
        boot.close()
        # It starts again with the newer one, which reaches the image's server again as well.
        written = boot.events()
        if where == "node1":
            boot = cluster.boot(NAME, newer)
            argv = ["gnt-instance", "failover", "-f", "--shutdown-timeout=0", "-n", newer, NAME]
            cluster.run(*argv, max_seconds=180)
            boot.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "it boots there")
            guest.check_reboot(written, boot.events())
        assert version(cluster, newer) >= (11, 0)
        kill_servers(cluster, newer)
        goes_on(boot)
        whole(boot)
        boot.close()
    finally:
        cluster.remove(NAME)
