"""A virtual machine whose kernel block device loses its exporter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import Cluster

pytestmark = pytest.mark.one_suite

NAME = "vm4"
NODE = "node1"


def test_a_guest_whose_exporter_was_killed_runs_again_after_a_reboot(
    cluster: Cluster, set_access: Callable[[str], None]
) -> None:
    set_access("kernelspace")
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        (unit,) = (line.split()[0] for line in cluster.exports()[NODE].splitlines())
        cluster.run("systemctl", "kill", "--signal=SIGKILL", unit, node=NODE)
        wait_for(
            lambda: any(event.kind == guest.LOST for event in boot.events()), 60, "it has errors"
        )
        # Nothing restarts it, and the node works.
        assert cluster.exports()[NODE] == ""
        for command in (["gnt-instance", "list"], ["gnt-node", "list"]):
            cluster.run(*command, max_seconds=30)
        cluster.run("df", node=NODE, max_seconds=10)
        last = guest.last_acknowledged(boot.events())
    finally:
        boot.close()
    try:
        cluster.run("gnt-instance", "reboot", "--type=hard", NAME, max_seconds=120)
        boot = cluster.boot(NAME, NODE)
        boot.wait(
            lambda events: guest.last_acknowledged(events) > last, 60, "it writes where it ended"
        )
        assert cluster.exports()[NODE].count("running") == 1
    finally:
        boot.close()
        cluster.remove(NAME)
    assert set(cluster.exports().values()) == {""}
    assert cluster.images() == []


def test_a_guest_whose_image_was_taken_is_ended(
    cluster: Cluster, set_access: Callable[[str], None]
) -> None:
    set_access("kernelspace")
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        cluster.run("gnt-gluster", "disk", "evict", "-f", NAME, max_seconds=90)
        wait_for(
            lambda: any(event.kind == guest.LOST for event in boot.events()), 60, "it has errors"
        )
        boot.close()
        # What the agent does every minute.
        cluster.run("systemctl", "start", "ganeti-gluster-monitor.service", node=NODE)
        wait_for(lambda: not pids(cluster, NODE, "qemu-system-x86_64"), 30, "the guest is ended")
        cluster.run("gnt-instance", "start", NAME, max_seconds=120)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
    finally:
        boot.close()
        cluster.remove(NAME)
    assert set(cluster.exports().values()) == {""}


def pids(cluster: Cluster, node: str, name: str) -> str:
    """The processes of a name on a node."""
    return cluster.testbed.exec(node, ["ps", "-C", name[:15], "-o", "pid="]).stdout.strip()
