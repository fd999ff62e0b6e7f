"""A live migration that fails half-way leaves the guest on one node, with its data."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, wait_for

from .conftest import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.qemu]

NAME = "vm8"
TARGET = "node3"
MIGRATION_PORT = ":8102"


@pytest.fixture
def source() -> str:
    """The guest's node, the master."""
    return "node1"


@pytest.fixture
def boot(cluster: Cluster, source: str) -> Iterator[Boot]:
    """A guest that writes on its node, and whose migration would take a minute."""
    boot = cluster.boot(NAME, source)
    cluster.add(NAME, node=source)
    bandwidth(cluster, "1")
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
    yield boot
    let_go_on(cluster, source)
    boot.close()
    bandwidth(cluster, "1000")
    cluster.remove(NAME)


def bandwidth(cluster: Cluster, mib: str) -> None:
    """Let migrations go on at so many MiB/s; Ganeti has one value for all instances."""
    cluster.run("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=%s" % mib)


def has_qemu(cluster: Cluster, node: str) -> bool:
    argv = ["ps", "-C", "qemu-system-x86_64", "-o", "stat="]
    return bool(cluster.testbed.exec(node, argv).stdout.strip())


def has_stream(cluster: Cluster) -> bool:
    """Whether the guest is on its way; Ganeti starts QEMU to ask it things as well."""
    argv = ["ss", "-Htn", "state", "established", "sport", "=", MIGRATION_PORT]
    return bool(cluster.testbed.exec(TARGET, argv).stdout.strip())


class Migration(threading.Thread):
    """A migration that goes on while a test does something else; `result` when it ended."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self.result: CompletedCommand | None = None
        self.start()
        wait_for(lambda: has_stream(cluster), 60, "the guest is being sent")

    def run(self) -> None:
        argv = ["gnt-instance", "migrate", "-f", "-n", TARGET, NAME]
        self.result = self._cluster.testbed.exec("node1", argv, timeout=300)

    def ended(self) -> CompletedCommand:
        self.join(300)
        assert self.result is not None
        return self.result


def let_go_on(cluster: Cluster, source: str) -> None:
    """Have a migration that goes on end soon; no-op where there is none any more."""
    cluster.monitor(NAME, "migrate_set_parameter max-bandwidth 1000M", node=source)


def undo(cluster: Cluster) -> None:
    """Undo what a migration that failed has left half done, as the administrator does it."""
    cleanup = ["gnt-instance", "migrate", "-f", "--cleanup", NAME]
    wait_for(
        lambda: cluster.testbed.exec("node1", cleanup, timeout=120).exit_code == 0,
        120,
        "the cleanup succeeds",
    )


def goes_on(boot: Boot) -> None:
    """Wait for another record of the guest."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before, 60, "another record")


def disk(cluster: Cluster, **options: Any) -> str:
    found: str = cluster.disk_info(NAME, **options)[0]["open_on"]
    return found


def servers_bricks(cluster: Cluster) -> list[tuple[str, str]]:
    """The bricks that the target's server of the image is connected to: addresses and ports."""
    argv = ("ss", "-Htnp", "state", "established")
    lines = cluster.run(*argv, node=TARGET).stdout.splitlines()
    peers = [line.split()[3].rsplit(":", 1) for line in lines if "image-server" in line]
    return [(address, port) for address, port in peers if port != "24007"]


@contextlib.contextmanager
def without_bricks(cluster: Cluster) -> Iterator[None]:
    """The target reaches no brick of another host in the block, and loses its connections."""
    found = servers_bricks(cluster)
    assert len(found) == 3
    rules = [
        ("to", address, "ipproto", "tcp", "dport", port, "prohibit") for address, port in found
    ]
    try:
        for rule in rules:
            cluster.run("ip", "rule", "add", *rule, node=TARGET)
        for address, port in found:
            cluster.run("ss", "-K", "dst", address, "dport", "=", port, node=TARGET)
        yield
    finally:
        for rule in rules:
            cluster.run("ip", "rule", "del", *rule, node=TARGET)


def boots_again(cluster: Cluster, boot: Boot, node: str) -> None:
    """End the guest and start it: it finds all its records."""
    written = boot.events()
    guest.check_unbroken(written)
    cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=60)
    again = cluster.boot(NAME, node)
    cluster.run("gnt-instance", "start", NAME, max_seconds=60)
    again.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "its records")
    again.close()
    guest.check_reboot(written, again.events())


def test_the_target_has_its_storage_back_soon_after_the_guest_came(
    cluster: Cluster, boot: Boot
) -> None:
    boot.follow_to(cluster.testbed.node(TARGET))
    migration = Migration(cluster)
    with without_bricks(cluster):
        let_go_on(cluster, "node1")
        wait_for(lambda: not has_qemu(cluster, "node1"), 60, "the guest is on the target")
    ended = migration.ended()
    assert ended.exit_code == 0, ended.describe()
    goes_on(boot)
    assert disk(cluster) == "node %s (exclusive)" % TARGET
    boots_again(cluster, boot, TARGET)


def test_the_target_has_no_storage_when_the_guest_comes(cluster: Cluster, boot: Boot) -> None:
    boot.follow_to(cluster.testbed.node(TARGET))
    migration = Migration(cluster)
    with without_bricks(cluster):
        let_go_on(cluster, "node1")
        ended = migration.ended()
        assert ended.exit_code != 0
        assert "could not be opened in exclusive mode: the storage is unavailable" in ended.stderr
        # The guest waits there for the storage.
        assert has_qemu(cluster, TARGET)
        assert not has_qemu(cluster, "node1")
    goes_on(boot)
    undo(cluster)
    assert disk(cluster) == "node %s (exclusive)" % TARGET
    boots_again(cluster, boot, TARGET)


def test_the_target_dies(cluster: Cluster, boot: Boot) -> None:
    migration = Migration(cluster)
    cluster.run("sync", node=TARGET)
    cluster.testbed.kill(TARGET)
    try:
        assert migration.ended().exit_code != 0
        goes_on(boot)
        assert disk(cluster).startswith("node node1")
    finally:
        cluster.testbed.boot(TARGET)
        cluster.testbed.wait_volume()
    undo(cluster)
    assert disk(cluster) == "node node1 (exclusive)"
    bandwidth(cluster, "1000")
    boot.follow_to(cluster.testbed.node(TARGET))
    cluster.run("gnt-instance", "migrate", "-f", "-n", TARGET, NAME, max_seconds=120)
    goes_on(boot)
    assert disk(cluster) == "node %s (exclusive)" % TARGET


def kill_job(cluster: Cluster) -> None:
    """End the job of the migration, as a master does that loses its power."""
    rows = cluster.run("gnt-job", "list", "--no-headers", "-o", "id,status,summary").stdout
    (job,) = [row.split()[0] for row in rows.splitlines() if "running" in row and "MIGRATE" in row]
    cluster.run("gnt-job", "cancel", "--kill", "--yes-do-it", job)


def migrate_without_job(cluster: Cluster, boot: Boot, source: str) -> None:
    """Have the guest go to the target, of which nobody tells Ganeti."""
    boot.follow_to(cluster.testbed.node(TARGET))
    migration = Migration(cluster)
    kill_job(cluster)
    assert migration.ended().exit_code != 0
    let_go_on(cluster, source)
    wait_for(
        lambda: "postmigrate" in cluster.monitor(NAME, "info status", node=source),
        60,
        "all is sent",
    )
    goes_on(boot)


@pytest.mark.parametrize("source", ["node2"])
def test_a_source_that_lost_its_power_takes_no_image_from_the_target(
    cluster: Cluster, boot: Boot, source: str
) -> None:
    migrate_without_job(cluster, boot, source)
    cluster.testbed.kill(source)
    cluster.testbed.boot(source)
    # The bricks still have its own lock, beside the target's.
    cluster.run("ganeti-watcher", "--ignore-pause", max_seconds=200)
    start = cluster.run("gnt-instance", "start", NAME, fail=True, max_seconds=200)
    assert "is open on node %s" % TARGET in start.stdout + start.stderr
    assert [node for node in cluster.nodes if has_qemu(cluster, node)] == [TARGET]
    assert disk(cluster).startswith("node %s" % TARGET)
    goes_on(boot)
    cluster.testbed.wait_volume()
    undo(cluster)
    assert disk(cluster) == "node %s (exclusive)" % TARGET
    assert [node for node in cluster.nodes if has_qemu(cluster, node)] == [TARGET]
    goes_on(boot)
    guest.check_unbroken(boot.events())


def test_a_migration_that_goes_on_without_its_job_is_finished(
    cluster: Cluster, boot: Boot, source: str
) -> None:
    migrate_without_job(cluster, boot, source)
    undo(cluster)
    assert [node for node in cluster.nodes if has_qemu(cluster, node)] == [TARGET]
    assert disk(cluster) == "node %s (exclusive)" % TARGET
    goes_on(boot)
    written = boot.events()
    cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=60)
    again = cluster.boot(NAME, TARGET)
    cluster.run("gnt-instance", "start", NAME, max_seconds=60)
    again.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "its records")
    again.close()
    guest.check_reboot(written, again.events())


def test_a_migration_is_taken_back_whose_job_is_dead(cluster: Cluster, boot: Boot) -> None:
    migration = Migration(cluster)
    kill_job(cluster)
    assert migration.ended().exit_code != 0
    undo(cluster)
    assert [node for node in cluster.nodes if has_qemu(cluster, node)] == ["node1"]
    assert disk(cluster) == "node node1 (exclusive)"
    goes_on(boot)


def test_a_brick_dies_and_the_network_fails_for_a_while(cluster: Cluster, boot: Boot) -> None:
    boot.follow_to(cluster.testbed.node(TARGET))
    migration = Migration(cluster)
    pid = cluster.run("pgrep", "-x", "glusterfsd", node="node2").stdout.split()[0]
    cluster.run("kill", "-9", pid, node="node2")
    try:
        goes_on(boot)
    finally:
        cluster.run("gluster", "volume", "start", "gv0", "force")
        cluster.testbed.wait_volume()
    wait_for(
        lambda: cluster.has_brick("node1", "node2"), 90, "the guest's QEMU has that brick again"
    )
    cluster.testbed.cut(TARGET)
    try:
        goes_on(boot)  # once the brick there is given up
    finally:
        cluster.testbed.heal(TARGET)
        cluster.testbed.wait_volume()
    let_go_on(cluster, "node1")
    ended = migration.ended()
    goes_on(boot)
    running = [node for node in cluster.nodes if has_qemu(cluster, node)]
    assert running == [TARGET if ended.exit_code == 0 else "node1"], ended.describe()
    if ended.exit_code:
        undo(cluster)
        bandwidth(cluster, "1000")
        boot.follow_to(cluster.testbed.node(TARGET))
        cluster.run("gnt-instance", "migrate", "-f", "-n", TARGET, NAME, max_seconds=120)
    goes_on(boot)
    assert disk(cluster) == "node %s (exclusive)" % TARGET
    boots_again(cluster, boot, TARGET)
