"""Whose template it is: the package on a cluster, switched off, and removed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import AGENT, Cluster, package

OURS = "ganeti-gluster"
INSTALLED = "/usr/lib/python3/dist-packages/ganeti_gluster"
NAME = "vm4"


def test_the_template_is_ours_on_every_node(cluster: Cluster) -> None:
    status = cluster.status()
    assert sorted(status) == cluster.nodes
    for state in status.values():
        assert (state["template"], state["noded"], state["reasons"]) == (OURS, OURS, [])


def test_the_table_names_every_node(cluster: Cluster) -> None:
    done = cluster.run("gnt-gluster", "plugin", "status")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["Node", "Template", "NodeDaemon", "Plugin", "Ganeti", "Reason"]
    assert [row.split()[0] for row in rows] == cluster.nodes


def test_one_node_tells_of_itself(cluster: Cluster) -> None:
    done = cluster.run("gnt-gluster", "plugin", "status", "--local", node="node3")
    assert done.stdout.splitlines()[1].split()[:3] == ["node3", OURS, OURS]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["plugin", "status", "nonode"], 1, "nonode"),
        (["plugin", "status", "--local", "node1"], 1, "--local is for this node"),
        (["disk", "info"], 1, "Name at least one instance"),
        (["disk", "info", "novm"], 1, "novm"),
        (["nonsense"], 1, "unknown command 'nonsense'; see gnt-gluster --help"),
    ],
)
def test_a_mistake_is_told(cluster: Cluster, argv: list[str], code: int, message: str) -> None:
    done = cluster.run("gnt-gluster", *argv, fail=code)
    assert message in done.stdout + done.stderr


def test_a_daemon_from_before_the_package_is_told(cluster: Cluster) -> None:
    cluster.run("mv", "/run/ganeti-gluster/noded.json", "/root/", node="node2")
    try:
        state = cluster.status(fail=1)["node2"]
        assert (state["template"], state["noded"]) == (OURS, "stock")
        (reason,) = state["noded_reasons"]
        assert "restart it: systemctl restart ganeti" in reason
    finally:
        cluster.run("mv", "/root/noded.json", "/run/ganeti-gluster/", node="node2")


def test_a_node_can_be_switched_off_and_on(cluster: Cluster) -> None:
    cluster.run("gnt-gluster", "plugin", "disable", "--dry-run", node="node2")
    cluster.run("test", "!", "-e", "/etc/ganeti/gluster-plugin-disabled", node="node2")
    cluster.run("gnt-gluster", "plugin", "disable", node="node2")
    try:
        cluster.restart("node2")
        status = cluster.status(fail=1)
        assert (status["node2"]["template"], status["node2"]["noded"]) == ("stock", "stock")
        assert "gluster-plugin-disabled" in status["node2"]["reasons"][0]
        assert status["node1"]["template"] == OURS
        log = cluster.run("cat", "/var/log/ganeti/node-daemon.log", node="node2").stdout
        assert "left stock Ganeti in place: switched off by" in log
    finally:
        cluster.run("gnt-gluster", "plugin", "enable", node="node2")
        cluster.restart("node2")
    assert cluster.status()["node2"]["noded"] == OURS


def test_an_unknown_release_of_ganeti_stays_stock(cluster: Cluster) -> None:
    release = "s/^VERSION_MINOR = .*/VERSION_MINOR = 9/"
    cluster.run("mkdir", "-p", "/root/copy")
    cluster.run("cp", "-rL", "/usr/share/ganeti/default/ganeti", "/root/copy/ganeti")
    cluster.run("sed", "-i", release, "/root/copy/ganeti/_constants.py")
    program = (
        "import sys; sys.path.insert(0, '/root/copy');"
        "from ganeti.storage import bdev; from ganeti_gluster import plugin;"
        "print(bdev.DEV_MAP['gluster'].__module__, plugin.extended(), plugin.refusals())"
    )
    try:
        out = cluster.run("/usr/bin/python3", "-c", program).stdout
    finally:
        cluster.run("rm", "-rf", "/root/copy")
    assert out.startswith("ganeti.storage.gluster ['ganeti.utils.log'] ")
    assert "is not supported (supported: 3.0, 3.1)" in out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("preallocation=most", "it is not one of off, falloc, full"),
        ("volume=../x", "only letters, digits"),
        ("host=a b", "it is neither a host name nor an address"),
        ("nonsense=1", "Unknown parameter 'nonsense'"),
    ],
)
def test_a_bad_parameter_is_refused_when_it_is_set(
    cluster: Cluster, given: str, message: str
) -> None:
    before = sorted(cluster.run("gnt-cluster", "info").stdout.split())
    done = cluster.run("gnt-cluster", "modify", "-D", "gluster:" + given, fail=True)
    assert message in done.stderr
    assert sorted(cluster.run("gnt-cluster", "info").stdout.split()) == before


@pytest.fixture
def without_package(cluster: Cluster) -> Iterator[None]:
    """Remove the package from every node; it is installed again afterwards.

    With byte code in it that the package does not know, as processes write that begin
    while it is removed.
    """
    cluster.everywhere("touch", INSTALLED + "/__pycache__/late.cpython-3.pyc")
    cluster.everywhere("apt-get", "purge", "--yes", "ganeti-gluster")
    cluster.testbed.allow_stock_gluster()
    yield
    cluster.everywhere("rm", "-f", "/etc/ganeti/file-storage-paths")
    cluster.everywhere("umount", "--all", "--types", "fuse.glusterfs")
    cluster.run("gnt-cluster", "modify", "-D", r"gluster:host=node1\,node2\,node3")
    cluster.testbed.install([package()])
    cluster.everywhere("systemctl", "is-active", *AGENT)
    for node in cluster.nodes:
        cluster.restart(node)
    assert cluster.status()["node1"]["noded"] == OURS


@pytest.fixture
def running(cluster: Cluster) -> Iterator[guest.GuestEvent]:
    """A guest that writes from before the package is removed until after it is back."""
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
    yield boot
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before, 30, "more records")
    boot.close()
    cluster.remove(NAME)
    assert cluster.images() == []


def test_removing_the_package_gives_stock_ganeti_back(
    cluster: Cluster, running: None, without_package: None
) -> None:
    for node in cluster.nodes:
        left = cluster.run(
            *("find", "/usr/lib/python3", "/usr/sbin", "/usr/share", "/etc/ganeti"),
            *("/etc/systemd", "/run/systemd", "-iname", "*gluster*gan*", "-o"),
            *("-iname", "*ganeti*gluster*", "-not", "-path", "/usr/share/ganeti/*"),
            # The server of the guest's image, which runs as long as the guest does.
            *("-not", "-name", "*ganeti-gluster-image@?*.service"),
            node=node,
        ).stdout
        assert left == ""
    # Stock Ganeti knows one server, and reaches the same image by its mount.
    cluster.run("gnt-cluster", "modify", "-D", "gluster:host=node1,access=kernelspace")
    info = cluster.run("gnt-instance", "info", NAME, max_seconds=120).stdout
    assert "/var/run/ganeti/gluster/%s" % cluster_image(cluster) in info
    cluster.run("gnt-cluster", "modify", "-D", "gluster:access=userspace")


def cluster_image(cluster: Cluster) -> str:
    return cluster.image(NAME)


def test_stock_ganeti_3_1_cannot_start_a_vm_in_userspace_and_ours_can(cluster: Cluster) -> None:
    if cluster.testbed.suite == "bookworm":
        pytest.skip("Ganeti 3.0 hands QEMU the URI as it is")
    cluster.add(NAME, start=False)
    cluster.testbed.allow_stock_gluster()
    cluster.run("gnt-gluster", "plugin", "disable")
    try:
        cluster.restart("node1")
        cluster.run("gnt-cluster", "modify", "-D", "gluster:host=node1")
        done = cluster.run("gnt-instance", "start", NAME, fail=True, max_seconds=120)
        assert "Parameter 'server' is missing" in done.stderr or "Invalid parameter" in done.stderr
    finally:
        cluster.run("gnt-gluster", "plugin", "enable")
        cluster.run("umount", "--all", "--types", "fuse.glusterfs")
        cluster.everywhere("rm", "-f", "/etc/ganeti/file-storage-paths")
        cluster.restart("node1")
        cluster.run("gnt-cluster", "modify", "-D", r"gluster:host=node1\,node2\,node3")
    boot = cluster.boot(NAME, "node1")
    cluster.run("gnt-instance", "start", NAME, max_seconds=120)
    boot.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "records")
    boot.close()
    cluster.remove(NAME)
    wait_for(lambda: cluster.images() == [], 15, "its image is removed")
