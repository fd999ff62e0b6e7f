"""GlusterFS is upgraded on node after node, while a guest writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand

from . import faults, packages
from .conftest import Cluster
from .test_node_maintenance import fields
from .test_package_midway import Work

pytestmark = [pytest.mark.slow, pytest.mark.one_suite]

NAME = "vm1"
FOLDER = "/var/tmp/newer"
GLUSTERD = "/var/lib/glusterd"
STOP = "systemctl stop glusterd"
START = "systemctl reset-failed glusterd; systemctl start glusterd"
LOWER = "sed -i 's/^operating-version=.*/operating-version=100000/' %s/glusterd.info" % GLUSTERD
DIFFERENT = "sed -i s/^network.ping-timeout=.*/network.ping-timeout=21/ %s/vols/gv0/info"
STATUS = "/var/lib/dpkg/status"
UNIT = "ganeti-gluster-upgrade.service"


def upgrade(cluster: Cluster, *words: str, fail: bool = False) -> CompletedCommand:
    return cluster.run("gnt-gluster", "upgrade", "--yes", *words, max_seconds=900, fail=fail)


def versions(cluster: Cluster) -> list[str]:
    """The version on each node."""
    argv = ("dpkg-query", "-Wf", "${Version}", "glusterfs-server")
    return [cluster.run(*argv, node=node).stdout for node in cluster.nodes]


def op_version(cluster: Cluster) -> str:
    argv = ("gluster", "volume", "get", "all", "cluster.op-version")
    return cluster.run(*argv).stdout.split()[-1]


@pytest.fixture
def newer(cluster: Cluster) -> Iterator[str]:
    """The version that apt has on all nodes; the pool's op-version is that of an older one."""
    (before,) = set(versions(cluster))
    usual = op_version(cluster)
    for script in (STOP, "%s; %s" % (LOWER, START)):
        for node in cluster.nodes:
            cluster.run("sh", "-ec", script, node=node, max_seconds=60)
    cluster.testbed.wait_volume()
    faults.expect(cluster, {("WARNING", "OP_VERSION_LOW", ", ".join(cluster.nodes))})
    try:
        with packages.offered(cluster, "glusterfs", FOLDER):
            yield before + "+again1"
    finally:
        for node in cluster.nodes:
            cluster.run("sh", "-ec", STOP + ";" + START, node=node, max_seconds=60)
            cluster.testbed.wait_volume()
        if op_version(cluster) != usual:
            argv = ("gluster", "--mode=script", "volume", "set", "all", "cluster.op-version")
            cluster.run(*argv, usual)
        assert set(versions(cluster)) == {before}
        faults.expect(cluster, set())


@pytest.fixture
def boot(cluster: Cluster, newer: str) -> Iterator[Boot]:
    """The console of a guest on node2 that writes."""
    boot = cluster.boot(NAME, "node2")
    cluster.add(NAME, node="node2")
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 90, "records")
        yield boot
    finally:
        boot.close()
        cluster.remove(NAME)


def writes_on(boot: Boot) -> None:
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 3, 120, "records")


def test_nodes_are_upgraded_in_turn(cluster: Cluster, boot: Boot, newer: str) -> None:
    (before,) = set(versions(cluster))
    two = ("--node=node2", "--node=node3")
    # As glusterd starts again, it finds another configuration than the others'.
    cluster.run("sh", "-ec", DIFFERENT % GLUSTERD, node="node2")
    stopped = upgrade(cluster, *two, fail=True)
    assert "The op-version stays as it is: node1 is not upgraded" in stopped.stdout
    assert "node2 rejects node1: the configuration of a volume differs; gnt-" in stopped.stderr
    assert versions(cluster) == [before, newer, before]
    assert fields(cluster, "node", "node2", "role") == "D"
    found = {each["code"]: each for each in faults.look(cluster)}
    assert found["VOLUME_CONFIG"]["object"] == "node2"
    assert found["NODE_MAINTENANCE"]["text"].endswith("for an upgrade of GlusterFS")
    writes_on(boot)
    remedy = found["VOLUME_CONFIG"]["remedy"].removeprefix("on the node: ").partition(". It")[0]
    cluster.run("sh", "-ec", remedy, node="node2")

    # It is killed while packages are changed, and given again at once.
    argv = ("gnt-gluster", "upgrade", "--yes", *two)
    active = ("systemctl", "is-active", "--quiet", UNIT)
    work = Work(
        cluster,
        *argv,
        begun=lambda: cluster.testbed.exec("node3", active).exit_code == 0,
        seconds=300,
    )
    cluster.run("pkill", "-9", "-f", "gnt-gluster upgrade")
    assert work.ended().exit_code != 0
    assert fields(cluster, "node", "node2", "role") == "C"
    assert fields(cluster, "node", "node3", "tags") != ""
    shown = cluster.run("gnt-gluster", "upgrade", "--dry-run")
    assert "node3" in shown.stdout.splitlines()[1] and "interrupted" in shown.stdout
    upgrade(cluster, *two)
    assert versions(cluster) == [before, newer, newer]
    assert {fields(cluster, "node", node, "tags") for node in cluster.nodes} == {""}
    assert op_version(cluster) == "100000"
    writes_on(boot)

    # The master is last, and its guest is moved away.
    boot.follow_to(cluster.testbed.node("node1"))
    cluster.run("gnt-instance", "migrate", "-f", "-n", "node1", NAME, max_seconds=180)
    writes_on(boot)
    for node in ("node2", "node3"):
        boot.follow_to(cluster.testbed.node(node))
    done = upgrade(cluster, "--migrate")
    assert "instance %s migrated from node1: done (" % NAME in done.stdout
    assert fields(cluster, "instance", NAME, "pnode") != "node1"
    assert versions(cluster) == [newer, newer, newer]
    assert int(op_version(cluster)) > 100000
    writes_on(boot)
    guest.check_unbroken(boot.events())
    faults.expect(cluster, set())
    assert "There is nothing to upgrade." in upgrade(cluster).stdout


def test_packages_that_dpkg_has_left_halfway(cluster: Cluster, newer: str) -> None:
    # As after a power loss, which takes a node away in the middle.
    deb = FOLDER + "/glusterfs-client.deb"
    cluster.run("dpkg", "--unpack", deb, node="node3")
    cluster.run(
        "sed", "-i", "/^Package: cpio$/,/^$/s/ok installed/ok unpacked/", STATUS, node="node3"
    )
    refused = upgrade(cluster, "--node=node3", fail=True)
    assert (
        "node3: packages are not completely installed: cpio; run dpkg --configure -a"
        in refused.stderr
    )
    cluster.run("dpkg", "--configure", "cpio", node="node3")
    upgrade(cluster, "--node=node3")
    assert versions(cluster)[2] == newer
