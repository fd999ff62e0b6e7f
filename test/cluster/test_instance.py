"""A virtual machine on a gluster disk in userspace, from its first boot to its removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from .conftest import Cluster

pytestmark = pytest.mark.qemu

GIB = 1 << 30
NAME = "vm1"


@dataclass
class Running:
    """The instance: what its guest says, and where it is."""

    boot: Boot
    node: str


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[Running]:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
    yield Running(boot, "node1")
    boot.close()
    cluster.remove(NAME)
    assert cluster.images() == []


def written(running: Running, seconds: float = 30) -> guest.GuestEvent:
    """The next record that the guest writes, where it is now."""
    before = guest.last_acknowledged(running.boot.events())

    def later(events: list[guest.GuestEvent]) -> guest.GuestEvent | None:
        last = [event for event in events if event.kind == guest.WROTE]
        return last[-1] if last and last[-1].number != before else None

    return running.boot.wait(later, seconds, "another record")


def test_the_guest_boots_from_its_disk(running: Running) -> None:
    booted = [event for event in running.boot.events() if event.kind == guest.BOOTED]
    assert [event.size for event in booted] == [GIB]


def test_nothing_is_mounted_and_nothing_helps(cluster: Cluster, running: Running) -> None:
    for node in cluster.nodes:
        mounts = cluster.run("cat", "/proc/mounts", node=node).stdout
        assert "fuse.glusterfs" not in mounts
        assert "/run/ganeti-gluster" not in mounts
    assert set(cluster.exports().values()) == {""}


def test_no_directory_is_left_in_the_nodes_root(cluster: Cluster, running: Running) -> None:
    cluster.run("test", "!", "-e", "/ganeti")


def test_the_volume_tells_of_the_disk(cluster: Cluster, running: Running) -> None:
    (disk,) = cluster.disk_info(NAME)
    assert disk["path"] == cluster.image(NAME)
    assert disk["size"] == disk["configured_size"]
    assert (disk["mode"], disk["owner"]) == ("0600", [0, 0])
    assert (disk["degraded"], disk["split_brain"]) == (False, False)
    assert disk["info"] == "originstname+%s" % NAME


def test_ganeti_tells_where_the_disk_is(cluster: Cluster, running: Running) -> None:
    info = cluster.run("gnt-instance", "info", NAME).stdout
    assert "gluster://node1:24007/gv0/%s" % cluster.image(NAME) in info


def test_qemu_reaches_the_image_by_its_server(cluster: Cluster, running: Running) -> None:
    command = cluster.run("ps", "-C", "qemu-system-x86_64", "-o", "args=").stdout
    socket = "/run/ganeti-gluster-nbd/gv0-"
    if cluster.testbed.suite == "bookworm":  # Ganeti 3.0 hands QEMU a URI
        assert "file=nbd+unix:///?socket=%s" % socket in command
    else:
        assert "file.server.path=%s" % socket in command
    assert "reconnect-delay=960" in command


def test_a_running_guest_sees_its_disk_grow_at_once(cluster: Cluster, running: Running) -> None:
    before = written(running).size
    cluster.run("gnt-instance", "grow-disk", NAME, "0", "512M", max_seconds=60)
    running.boot.wait(
        lambda events: events[-1].size == before + GIB // 2, 15, "the guest sees its disk grown"
    )
    (disk,) = cluster.disk_info(NAME)
    assert disk["size"] == disk["configured_size"] == before + GIB // 2


def test_a_disk_is_added_to_a_running_guest(cluster: Cluster, running: Running) -> None:
    # Ganeti 3.1 does so unasked.
    hotplug = ("--hotplug",) if cluster.testbed.suite == "bookworm" else ()
    modify = ("gnt-instance", "modify", *hotplug, "--disk")
    done = cluster.run(*modify, "add:size=1G", NAME, max_seconds=60)
    assert "hotplug:done" in done.stdout
    assert len(cluster.disk_info(NAME)) == 2
    written(running)
    cluster.run(*modify, "1:remove", NAME, max_seconds=60)
    wait_for(lambda: cluster.images() == [cluster.image(NAME)], 15, "its image is removed")


def test_migrating_live_loses_no_record(cluster: Cluster, running: Running) -> None:
    running.boot.follow_to(cluster.testbed.node("node2"))
    cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
    running.node = "node2"
    written(running)
    running.boot.check()
    assert guest.last_acknowledged(running.boot.here()) > 0
    assert set(cluster.exports().values()) == {""}


def test_the_cluster_verifies(cluster: Cluster, running: Running) -> None:
    assert "ERROR" not in cluster.run("gnt-cluster", "verify", max_seconds=120).stdout
