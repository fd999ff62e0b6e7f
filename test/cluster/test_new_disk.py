"""A node's disk is replaced at the same place, with a guest writing, and the brick is filled."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, wait_for

from .conftest import Cluster
from .test_pool import INTERRUPT as ON_QUIET_NODES

VOLUME = "gv-disk"
DIRECTORY = "/srv/gluster/disks"
UNIT = "srv-gluster-disks.mount"
BRICK = "node3:%s/%s" % (DIRECTORY, VOLUME)
NAME = "vm-disk"
DEVICE = "/dev/testbed-spare"
REPLACE = ["gnt-gluster", "pool", "replace", "--yes", "node3", "node3"]

#: Some steps take half a minute.
INTERRUPT = ON_QUIET_NODES.replace("seq 600", "seq 6000")

# udev makes the paths by UUID; nodes have none otherwise.
UDEV = """
mount -o remount,rw /sys/devices && /usr/lib/systemd/systemd-udevd --daemon
until udevadm control --ping; do sleep 0.2; done
"""
NO_UDEV = """
udevadm control --exit; mount -o remount,ro /sys/devices; rm -rf /run/udev /dev/disk
systemctl daemon-reload
"""
# Another disk appears under the name of the last one; its sectors' size is the argument.
SWAP = (
    """
set -e
image=$(mktemp /srv/bricks/swapped-XXXXXX.img)
truncate --size=4G "$image"
ln -sfn "$(losetup --find --show --sector-size="$1" "$image")" %s
"""
    % DEVICE
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def disks(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a volume on devices of its own, one of them on a node with udev."""
    for node in cluster.nodes:
        cluster.testbed.add_device(node)
    cluster.run("bash", "-c", UDEV, node="node3")
    cluster.run(
        *("gnt-gluster", "pool", "create", "--yes", "--volume", VOLUME, "--no-configure"),
        *("--brick-dir", DIRECTORY, "--brick-device", DEVICE),
        max_seconds=300,
    )
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=" + VOLUME)
    yield cluster
    cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=gv0")
    cluster.run("gnt-gluster", "pool", "destroy", "--force", VOLUME, max_seconds=120)
    for node in cluster.nodes:
        cluster.run("systemctl", "disable", "--now", UNIT, node=node)
        cluster.run("rm", "/etc/systemd/system/" + UNIT, node=node)
        cluster.run("rmdir", DIRECTORY, node=node)
        cluster.run("wipefs", "--all", "--quiet", DEVICE, node=node)
    cluster.run("bash", "-c", NO_UDEV, node="node3")


@pytest.fixture(scope="module")
def boot(disks: Cluster) -> Iterator[Boot]:
    """A guest on the volume that writes records all the while."""
    booted = disks.boot(NAME, "node1")
    disks.add(NAME, max_seconds=300)
    written(booted)
    yield booted
    booted.close()
    disks.remove(NAME)


def written(boot: Boot) -> None:
    """The guest writes further records, and none is missing."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 3, 180, "records")
    guest.check_unbroken(boot.events())


def unit(cluster: Cluster) -> str:
    return cluster.run("cat", "/etc/systemd/system/" + UNIT, node="node3").stdout


def uuid(cluster: Cluster) -> str:
    argv = ["blkid", "-p", "-o", "value", "-s", "UUID", DEVICE]
    return cluster.testbed.exec("node3", argv).stdout.strip()  # 2 where there is none


def replace(cluster: Cluster, *words: str, **options: object) -> CompletedCommand:
    argv = [*REPLACE[:-2], *words, *REPLACE[-2:]]
    return cluster.run(*argv, **{"max_seconds": 600, **options})


def down(cluster: Cluster) -> list[str]:
    done = cluster.testbed.exec("node1", ["gnt-gluster", "pool", "status", "--json"])
    (volume,) = [each for each in json.loads(done.stdout)["volumes"] if each["name"] == VOLUME]
    found: list[str] = volume["offline"]
    return found


def of_brick(cluster: Cluster) -> dict[str, str]:
    """The remedies of what verify finds about the brick, by code."""
    done = cluster.testbed.exec("node1", ["gnt-gluster", "verify", "--json"], timeout=180)
    findings = json.loads(done.stdout)
    return {each["code"]: each["remedy"] for each in findings if each["object"] == BRICK}


def kill_brick(cluster: Cluster) -> None:
    cluster.run("pkill", "-9", "-f", "glusterfsd.*" + VOLUME, node="node3")
    wait_for(lambda: down(cluster) == [BRICK], 60, "the brick is down")


def copies_agree(cluster: Cluster) -> None:
    """The new brick has as many files as another one."""
    argv = ("bash", "-c", "find %s/%s -type f -not -path '*/.glusterfs/*' | wc -l")
    argv = (*argv[:2], argv[2] % (DIRECTORY, VOLUME))
    counts = {node: cluster.run(*argv, node=node).stdout for node in ("node2", "node3")}
    assert counts["node2"] == counts["node3"] != "0\n"


def test_a_healthy_node_is_left_as_it_is(disks: Cluster, boot: Boot) -> None:
    assert "What=UUID=%s\n" % uuid(disks) in unit(disks)
    done = replace(disks)
    assert "node3: file system on %s at %s: already done" % (DEVICE, DIRECTORY) in done.stdout
    assert "volume %s: brick %s in use again: already done" % (VOLUME, BRICK) in done.stdout
    assert of_brick(disks) == {}


def test_a_dead_disk_is_replaced_while_a_guest_writes(disks: Cluster, boot: Boot) -> None:
    old = uuid(disks)
    disks.run("xfs_io", "-x", "-c", "shutdown", DIRECTORY, node="node3")
    wait_for(lambda: down(disks) == [BRICK], 90, "the brick is down")
    assert "gnt-gluster pool replace node3 node3" in of_brick(disks)["BRICK_UNREADABLE"]
    written(boot)
    disks.run("bash", "-c", SWAP, "-", "512", node="node3")
    shown = replace(disks, "--dry-run").stdout
    assert "node3: the old file system at %s unmounted" % DIRECTORY in shown
    assert uuid(disks) == ""
    # It is killed in the middle of each step, and goes on when it is given again.
    for begun in ("unmounted ...", "file system on", "in use again ...", "entries to heal"):
        disks.run("bash", "-c", INTERRUPT, "-", begun, *REPLACE, max_seconds=600)
        written(boot)
    replace(disks)
    assert uuid(disks) not in ("", old)
    assert "What=UUID=%s\n" % uuid(disks) in unit(disks)
    assert (down(disks), of_brick(disks)) == ([], {})
    copies_agree(disks)
    written(boot)


def test_what_is_on_the_new_disk_is_kept(disks: Cluster, boot: Boot) -> None:
    disks.run("systemctl", "stop", UNIT, node="node3", fail=True)  # the brick has it open
    kill_brick(disks)
    disks.run("systemctl", "stop", UNIT, node="node3")
    remedies = of_brick(disks)
    assert "BRICK_NOT_MOUNTED" in remedies
    assert "gnt-gluster pool replace node3 node3" in remedies["BRICK_NOT_MOUNTED"]
    disks.run("bash", "-c", SWAP, "-", "512", node="node3")
    disks.run("mkfs.ext4", "-q", DEVICE, node="node3")
    refused = replace(disks, fail=True)
    assert "node3: %s contains data: ext4; use --wipe" % DEVICE in refused.stderr
    shown = replace(disks, "--wipe", "--dry-run").stdout
    assert "node3: file system on %s at %s, in place of ext4" % (DEVICE, DIRECTORY) in shown
    # With sectors larger than those that guests were told of.
    disks.run("bash", "-c", SWAP, "-", "4096", node="node3")
    refused = replace(disks, fail=True)
    assert "%s would have sectors of 4096 bytes, while the other bricks" % BRICK in refused.stderr
    disks.run("bash", "-c", SWAP, "-", "512", node="node3")


def test_an_empty_file_system_is_told_from_none(disks: Cluster, boot: Boot) -> None:
    disks.run("mkfs.xfs", "-q", DEVICE, node="node3")
    disks.run("mount", DEVICE, DIRECTORY, node="node3")
    remedies = of_brick(disks)
    assert set(remedies) == {"BRICK_EMPTY"}
    assert "gnt-gluster pool replace node3 node3" in remedies["BRICK_EMPTY"]
    replace(disks)
    assert (down(disks), of_brick(disks)) == ([], {})
    assert "What=UUID=%s\n" % uuid(disks) in unit(disks)
    copies_agree(disks)
    written(boot)


def test_the_only_good_copy_is_not_given_up(disks: Cluster, boot: Boot) -> None:
    # node2 is behind, and only node1 and node3 know the newest records.
    disks.run("pkill", "-9", "-f", "glusterfsd.*" + VOLUME, node="node2")
    written(boot)
    kill_brick_of_two = ("pkill", "-9", "-f", "glusterfsd.*" + VOLUME)
    disks.run(*kill_brick_of_two, node="node3")
    disks.run("systemctl", "stop", UNIT, node="node3")
    disks.run("bash", "-c", SWAP, "-", "512", node="node3")
    refused = replace(disks, fail=True)
    assert "brick %s is not given up: the remaining bricks are not healed" % BRICK in (
        refused.stderr
    )
    assert "put it back" in refused.stderr
    assert uuid(disks) == ""
    disks.run("gluster", "volume", "start", VOLUME, "force")
    wait_for(lambda: down(disks) == [BRICK], 60, "the brick of node2 is back")
    # As soon as node2 is healed from node1.
    wait_for(lambda: disks.testbed.exec("node1", REPLACE, timeout=600).exit_code == 0, 600, "done")
    assert (down(disks), of_brick(disks)) == ([], {})
    written(boot)
