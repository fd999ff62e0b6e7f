"""Guests on a volume all of whose bricks are on disks with sectors of 4096 bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from demolib import guest
from demolib.console import Boot

from .conftest import Cluster

pytestmark = pytest.mark.slow

VOLUME = "gv-4k"
DIRECTORY = "/srv/gluster/large-sectors"
UNIT = "srv-gluster-large\\x2dsectors.mount"
DEVICE = "/dev/testbed-4k"
NAME = "vm-4k"
GIB = 1 << 30

PLUG_IN = """
set -e
truncate --size=4G /srv/bricks/4k.img
ln -sfn "$(losetup --find --show --sector-size=4096 /srv/bricks/4k.img)" %s
""" % DEVICE  # fmt: skip
PULL_OUT = """
systemctl disable --now '%s'
rm '/etc/systemd/system/%s'
rmdir %s
losetup --detach "$(readlink %s)"
rm %s /srv/bricks/4k.img
""" % (UNIT, UNIT, DIRECTORY, DEVICE, DEVICE)


@pytest.fixture(scope="module")
def volume(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with its disks on a volume of such bricks."""
    cluster.everywhere("bash", "-c", PLUG_IN)
    cluster.run(
        *("gnt-gluster", "pool", "create", "--yes", "--volume", VOLUME, "--no-configure"),
        *("--brick-dir", DIRECTORY, "--brick-device", DEVICE),
        max_seconds=300,
    )
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=" + VOLUME)
    yield cluster
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=gv0")
    cluster.run("gnt-gluster", "pool", "destroy", "--yes", "--force", VOLUME, max_seconds=120)
    cluster.everywhere("bash", "-ec", PULL_OUT)


@dataclass
class Guest:
    """A guest that writes, and where its console is read."""

    cluster: Cluster
    boot: Boot

    def go_on(self) -> None:
        """The guest writes further records, and none is missing."""
        before = guest.last_acknowledged(self.boot.events())
        self.boot.wait(lambda e: guest.last_acknowledged(e) > before + 3, 180, "records")
        guest.check_unbroken(self.boot.events())

    def stop(self) -> None:
        self.cluster.run("gnt-instance", "shutdown", "--timeout=0", NAME, max_seconds=120)
        self.boot.close()

    def start(self) -> None:
        self.boot = self.cluster.boot(NAME, "node1")
        self.cluster.run("gnt-instance", "start", NAME, max_seconds=120)
        self.go_on()

    def disk(self, *words: str) -> None:
        self.cluster.run("gnt-gluster", "disk", *words, max_seconds=180)


@pytest.fixture(scope="module")
def running(volume: Cluster) -> Iterator[Guest]:
    """A guest on node1; its OS was installed through a block device."""
    found = Guest(volume, volume.boot(NAME, "node1"))
    volume.add(NAME, max_seconds=300)
    found.go_on()
    yield found
    found.boot.close()
    volume.remove(NAME)


def test_the_cluster_is_silent_about_the_sectors(volume: Cluster, running: Guest) -> None:
    done = volume.testbed.exec("node1", ["gnt-gluster", "verify", "--json"], timeout=180)
    assert "BRICK_SECTORS" not in [each["code"] for each in json.loads(done.stdout)]


def test_the_guest_sees_its_disk_grow(volume: Cluster, running: Guest) -> None:
    before = running.boot.events()[-1].size
    volume.run("gnt-instance", "grow-disk", NAME, "0", "512M", max_seconds=60)
    running.boot.wait(lambda e: e[-1].size == before + GIB // 2, 30, "the guest sees it")
    running.go_on()


def test_its_disk_is_restored_from_a_snapshot(volume: Cluster, running: Guest) -> None:
    running.disk("snapshot", "--name=s1", NAME)
    running.go_on()
    kept = guest.last_acknowledged(running.boot.events())
    running.stop()
    running.disk("restore", "-f", NAME, "s1")
    running.disk("remove-snapshot", "-f", NAME, "s1")
    running.start()
    assert running.boot.events()[0].number <= kept


def test_it_goes_on_with_another_server_and_on_another_node(
    volume: Cluster, running: Guest
) -> None:
    volume.run("pkill", "-9", "-x", "image-server")
    running.go_on()
    running.boot.close()
    running.boot = volume.boot(NAME, "node2")
    volume.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=180)
    running.go_on()
    running.boot.close()
    running.boot = volume.boot(NAME, "node1")
    volume.run("gnt-instance", "migrate", "-f", "-n", "node1", NAME, max_seconds=180)
    running.go_on()


def test_so_does_one_on_a_block_device(running: Guest, set_access: Callable[[str], None]) -> None:
    running.stop()
    set_access("kernelspace")
    running.start()
    running.stop()
    set_access("userspace")
    running.start()
