"""What goes wrong during a snapshot breaks the snapshot, and never the guest."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from testbedlib import wait_for

from .conftest import Cluster
from .test_snapshot import FLEECING, MARKS, REMOVE, Guest

pytestmark = pytest.mark.one_suite

NAME = "snap2"
# A small volume of one brick on another node, for the snapshots.
VOLUME = "tiny"
DISK, BRICK = "/srv/gluster/tiny.img", "/srv/gluster/tiny"


@pytest.fixture(scope="module")
def tiny(cluster: Cluster) -> Iterator[str]:
    """The small volume, which has room for one snapshot."""

    def on_node2(*argv: str) -> None:
        cluster.run(*argv, node="node2")

    on_node2("truncate", "--size=128M", DISK)
    on_node2("mkfs.ext4", "-q", "-F", DISK)
    on_node2("mkdir", "-p", BRICK)
    on_node2("mount", "-o", "loop", DISK, BRICK)
    gluster = ("gluster", "--mode=script", "volume")
    cluster.run(*gluster, "create", VOLUME, "node2:%s/brick" % BRICK, "force")
    cluster.run(*gluster, "set", VOLUME, "network.ping-timeout", "10")
    cluster.run(*gluster, "start", VOLUME)
    yield VOLUME
    cluster.run(*gluster, "stop", VOLUME, "force")
    cluster.run(*gluster, "delete", VOLUME)
    on_node2("umount", BRICK)
    on_node2("rm", "-r", DISK, BRICK)


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[Guest]:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME, disks=("size=128M",))
    found = Guest(cluster, boot, NAME, node="node1")
    found.written(150)
    yield found
    found.boot.close()
    cluster.run(
        *("/usr/bin/python3", "-c", REMOVE, "node1"),
        *(path for path in cluster.images() if ".snap." in path),
    )
    cluster.remove(NAME)


class Taking:
    """A snapshot that is being taken, slowly."""

    def __init__(self, guest: Guest, *words: str, fail: bool = True) -> None:
        self._said: list[str] = []
        words = ("snapshot", "--bandwidth-limit=1", *words, guest.name)
        self._thread = threading.Thread(
            target=lambda: self._said.append(guest.disk(*words, fail=fail, max_seconds=180))
        )
        self._thread.start()
        wait_for(
            lambda: any(name.startswith("gga.") for name in guest.nodes()), 60, "it is under way"
        )

    def end(self) -> str:
        """What it said in the end."""
        self._thread.join(180)
        (said,) = self._said
        return said


def brick_pid(cluster: Cluster) -> str:
    """The process of the small volume's brick."""
    done = cluster.run("pgrep", "-f", "glusterfsd.*--volfile-id %s" % VOLUME, node="node2")
    return done.stdout.split()[0]


def worker(cluster: Cluster) -> str:
    """The process that takes the snapshot, "" if there is none."""
    unit = "ganeti-gluster-snapshot-%s" % NAME
    shown = cluster.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout
    return "" if shown.strip() == "0" else shown.strip()


def test_a_target_that_fills_up_breaks_the_snapshot(
    cluster: Cluster, running: Guest, tiny: str
) -> None:
    taking = Taking(running, "--volume=tiny")
    free = "$(($(stat -f -c %%a*%%S %s) - 1048576))" % BRICK
    cluster.run("sh", "-c", "fallocate -l %s %s/fill" % (free, BRICK), node="node2")
    running.written()
    said = taking.end()
    assert "No space left on device" in said and "free some space there first" in said
    running.check_untouched()
    cluster.run("rm", BRICK + "/fill", node="node2")
    assert running.snapshots("--volume=tiny") == {}


def test_a_target_whose_brick_dies_breaks_the_snapshot(
    cluster: Cluster, running: Guest, tiny: str
) -> None:
    taking = Taking(running, "--volume=tiny", "--name=dead")
    cluster.run("kill", "-9", brick_pid(cluster), node="node2")
    running.written()
    assert "is incomplete and could not be removed (Transport endpoint" in taking.end()
    running.check_untouched()
    cluster.run("gluster", "--mode=script", "volume", "start", VOLUME, "force")
    wait_for(lambda: brick_pid(cluster), 30, "the brick is back")
    left = running.snapshots("--volume=tiny", fail=1)
    assert not left["dead"]["complete"]
    running.disk("remove-snapshot", "-f", "--volume=tiny", NAME, "dead")
    assert running.snapshots("--volume=tiny") == {}


def test_a_target_that_is_slow_does_not_slow_the_guest(
    cluster: Cluster, running: Guest, tiny: str
) -> None:
    taking = Taking(running, "--volume=tiny", "--name=slow", fail=False)
    pid = brick_pid(cluster)
    cluster.run("kill", "-STOP", pid, node="node2")
    running.written()
    running.written()
    cluster.run("kill", "-CONT", pid, node="node2")
    assert "Took snapshot slow" in taking.end()
    assert running.snapshots("--volume=tiny")["slow"]["complete"]
    running.check_untouched()


def test_a_node_without_room_for_what_is_overwritten_breaks_the_snapshot(
    cluster: Cluster, running: Guest
) -> None:
    cluster.run("mkdir", "-p", FLEECING)
    cluster.run("mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", FLEECING)
    try:
        taking = Taking(running)
        # The worker, which would give up before, sleeps: QEMU meets the end of the space.
        pid = worker(cluster)
        cluster.run("kill", "-STOP", pid)
        cluster.run("sh", "-c", "dd if=/dev/zero of=%s/fill bs=1M || true" % FLEECING)
        running.written()
        running.written()
        cluster.run("kill", "-CONT", pid)
        assert "%s has 0 MiB free" % FLEECING in taking.end()
        refused = running.disk("snapshot", NAME, fail=True)
        assert "stores there what the guest overwrites" in refused
        cluster.run("rm", FLEECING + "/fill")
        running.check_untouched()
    finally:
        cluster.run("umount", "--lazy", FLEECING)
    assert running.snapshots() == {}


def test_a_node_daemon_that_is_killed_leaves_a_guest_that_runs(
    cluster: Cluster, running: Guest
) -> None:
    """The backup's own snapshot, which the node daemon asks for."""
    said: list[str] = []
    words = ("gnt-backup", "export", "--noshutdown", "-n", "node2", NAME)

    def export() -> None:
        done = cluster.testbed.exec("node1", list(words), timeout=120)
        said.append(done.stdout + done.stderr)

    backup = threading.Thread(target=export)
    backup.start()
    pid = wait_for(lambda: worker(cluster), 60, "the worker is there")
    cluster.run("kill", "-STOP", pid)
    daemons = cluster.run("pgrep", "-f", "sbin/ganeti-noded").stdout.split()
    cluster.run("kill", "-9", *daemons)
    cluster.run("kill", "-CONT", pid)
    wait_for(lambda: not worker(cluster), 90, "the worker has ended")
    backup.join(130)
    cluster.restart("node1")
    running.check_untouched()
    assert [path for path in cluster.images() if path.endswith(".partial")] == []


def test_the_death_of_qemu_leaves_nothing(cluster: Cluster, running: Guest) -> None:
    taking = Taking(running)
    pid = cluster.run("cat", "/run/ganeti/kvm-hypervisor/pid/%s" % NAME).stdout.strip()
    cluster.run("kill", "-9", pid)
    assert "QEMU of instance %s has ended" % NAME in taking.end()
    assert running.snapshots() == {}
    assert cluster.run("ls", FLEECING).stdout == ""
    assert cluster.run("ls", MARKS).stdout == ""


@pytest.mark.slow
def test_what_hangs_of_a_snapshot_does_not_keep_a_guest_from_being_ended(
    cluster: Cluster, running: Guest
) -> None:
    """QEMU answers no more, so nothing can be taken out of it, and that keeps nobody waiting.

    Ganeti itself cannot end a QEMU that is stopped: whoever has to kills it first.
    """
    cluster.run("gnt-instance", "start", NAME, max_seconds=90)
    Taking(running, "--name=hung")
    pid = cluster.run("cat", "/run/ganeti/kvm-hypervisor/pid/%s" % NAME).stdout.strip()
    cluster.run("kill", "-STOP", pid)
    cluster.run("kill", "-9", worker(cluster))
    assert NAME in cluster.run("ls", MARKS).stdout
    refused = cluster.run("gnt-instance", "grow-disk", NAME, "0", "1M", fail=True, max_seconds=120)
    assert "a snapshot of instance %s is being taken" % NAME in refused.stderr
    stop = ("gnt-instance", "shutdown", "--timeout=0", NAME)
    failed = cluster.run(*stop, fail=True, max_seconds=150)
    assert "Could not shutdown instance" in failed.stderr
    assert "a snapshot of instance" not in failed.stderr
    cluster.run("kill", "-9", pid)
    cluster.run(*stop, max_seconds=150)
    wait_for(lambda: not worker(cluster), 180, "what undoes the snapshot has ended")
    running.boot.close()
    running.boot = cluster.boot(NAME, "node1")
    cluster.run("gnt-instance", "start", NAME, max_seconds=90)
    running.written(90)
    assert cluster.run("ls", MARKS).stdout == ""
    # What the killed worker could not remove is told, and removed when asked.
    assert not running.snapshots(fail=1)["hung"]["complete"]
    running.disk("remove-snapshot", "-f", NAME, "hung")
    assert running.snapshots() == {}
