"""An image is open for writing on one node, whatever happens to the other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from .conftest import SERVERS, Cluster

NAME = "vm6"
SERVERS_OF_IMAGES = "ganeti-gluster-image@*"
#: What is frozen of a node: all that has to do with the image, deliberately not ended.
FROZEN = ("image-server", "qemu-system-x86_64")


def units(cluster: Cluster, node: str) -> str:
    """The servers of images on a node."""
    argv = ("systemctl", "list-units", "--all", "--no-legend", "--plain", SERVERS_OF_IMAGES)
    return cluster.run(*argv, node=node).stdout


def processes(cluster: Cluster, node: str, name: str) -> str:
    """The states of the processes of a name on a node, as ps has them."""
    argv = ["ps", "-C", name[:15], "-o", "stat="]
    return cluster.testbed.exec(node, argv).stdout.strip()


def kill(cluster: Cluster, node: str, number: int, *names: str) -> None:
    """Signal the processes of these names on a node, as far as there are any."""
    for name in names:
        cluster.testbed.exec(node, ["pkill", "-%d" % number, "-x", name[:15]])


def goes_on(boot: Boot, *, seconds: int = 60) -> None:
    """Wait for another record of the guest."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before, seconds, "another record")


def test_a_lock_follows_the_instance(cluster: Cluster) -> None:
    cluster.add(NAME)
    try:
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
        assert cluster.disk_info(NAME)[0]["served"] == "serving"
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        assert units(cluster, "node1") == ""
        # The node daemon has no part in it once the image is open.
        cluster.restart("node2")
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=60)
        assert cluster.disk_info(NAME)[0]["open_on"] == ""
        assert [units(cluster, node) for node in cluster.nodes] == ["", "", ""]
    finally:
        cluster.remove(NAME)


OPEN = (
    """
import sys
from ganeti_gluster.core.serve.holder import LastUser, OpenElsewhere, node_number
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
spec = VolumeSpec.from_params({"host": %r, "volume": "gv0"})
server = ImageServer(spec, sys.argv[1])
try:
    server.open(number=node_number(sys.argv[2]))
except (OpenElsewhere, LastUser) as err:
    print(type(err).__name__)
else:
    print("opened")
"""
    % SERVERS
)


def test_of_two_starts_at_once_one_is_refused(cluster: Cluster) -> None:
    path = cluster.add(NAME, start=False)
    cluster.run("gnt-instance", "deactivate-disks", NAME)
    answers: dict[str, str] = {}

    def start(node: str) -> None:
        done = cluster.run("/usr/bin/python3", "-c", OPEN, path, node, node=node)
        answers[node] = done.stdout.strip()

    try:
        threads = [threading.Thread(target=start, args=(node,)) for node in cluster.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers.values())[:2] != ["opened", "opened"]
        assert list(answers.values()).count("opened") <= 1
        assert len(answers) == 3
    finally:
        for node in cluster.nodes:
            cluster.run("systemctl", "stop", SERVERS_OF_IMAGES, node=node)
            cluster.run(
                "sh",
                "-c",
                "rm -f /run/ganeti-gluster/images/* /run/ganeti-gluster-nbd/*",
                node=node,
            )
        cluster.remove(NAME)


@pytest.mark.one_suite
def test_each_bricks_host_restarts_under_a_guest(cluster: Cluster) -> None:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        for host in ("node2", "node3"):
            cluster.testbed.kill(host)
            assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
            goes_on(boot)
            cluster.testbed.boot(host)
            cluster.testbed.wait_volume()
            assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
            wait_for(lambda host=host: cluster.has_brick("node1", host), 90, "it is used again")
        goes_on(boot)
        guest.check_unbroken(boot.events())
        boot.close()
    finally:
        cluster.remove(NAME)


@pytest.fixture
def other(cluster: Cluster) -> Iterator[str]:
    """A node that a test cuts off or freezes; it is one of the cluster's again afterwards."""
    node = "node3"
    yield node
    kill(cluster, node, signal.SIGCONT, *FROZEN)
    cluster.testbed.heal(node)
    cluster.testbed.wait_volume()
    add = ("gnt-node", "add", "--readd", node)
    wait_for(lambda: cluster.run(*add, max_seconds=120), 120, "it is a node of the cluster again")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 60, 300])
def test_a_guest_whose_node_is_cut_off_pauses(cluster: Cluster, other: str, seconds: int) -> None:
    boot = cluster.boot(NAME, other)
    cluster.add(NAME, node=other)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        cluster.testbed.cut(other)
        # The guest's own clock: that much time, whatever it does meanwhile.
        cluster.testbed.exec(other, ["sleep", str(seconds)], timeout=seconds + 60)
        cluster.testbed.heal(other)
        goes_on(boot, seconds=120)
        assert not any("lost=" in str(event) for event in boot.events())
        boot.close()
    finally:
        cluster.remove(NAME)


def take_over(cluster: Cluster, lost: str) -> Boot:
    """Call a node offline, and fail the instance over; the guest writes elsewhere then."""
    cluster.run("gnt-node", "modify", "--offline=yes", lost, max_seconds=120)
    boot = cluster.boot(NAME, "node1")
    cluster.run("gnt-instance", "failover", "-f", "-n", "node1", NAME, max_seconds=180)
    boot.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "it boots elsewhere")
    return boot


def check_taken(cluster: Cluster, lost: str, written: Any, second: Boot) -> None:
    """The lost node has nothing of the guest any more, and the guest goes on elsewhere."""
    wait_for(lambda: processes(cluster, lost, FROZEN[1]) == "", 90, "the stale QEMU is ended")
    goes_on(second)
    guest.check_reboot(written, second.events())
    second.close()


@pytest.mark.one_suite
def test_a_node_that_is_cut_off_writes_no_more(cluster: Cluster, other: str) -> None:
    first = cluster.boot(NAME, other)
    cluster.add(NAME, node=other)
    try:
        first.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        cluster.testbed.cut(other)
        second = take_over(cluster, other)
        written = first.events()
        cluster.testbed.heal(other)
        check_taken(cluster, other, written, second)
        assert first.events() == written
        first.close()
    finally:
        cluster.remove(NAME)


@pytest.mark.one_suite
def test_a_node_that_is_wrongly_called_offline_writes_no_more(
    cluster: Cluster, other: str
) -> None:
    first = cluster.boot(NAME, other)
    cluster.add(NAME, node=other)
    try:
        first.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        second = take_over(cluster, other)
        check_taken(cluster, other, first.events(), second)
        first.close()
    finally:
        cluster.remove(NAME)


@pytest.mark.one_suite
def test_a_frozen_node_writes_no_more_when_it_thaws(cluster: Cluster, other: str) -> None:
    first = cluster.boot(NAME, other)
    cluster.add(NAME, node=other)
    try:
        first.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        kill(cluster, other, signal.SIGSTOP, *FROZEN)
        second = take_over(cluster, other)
        written = first.events()
        kill(cluster, other, signal.SIGCONT, *FROZEN)
        check_taken(cluster, other, written, second)
        first.close()
    finally:
        cluster.remove(NAME)


@pytest.mark.one_suite
def test_an_image_is_taken_from_a_node_by_hand(cluster: Cluster) -> None:
    path = cluster.add(NAME)
    try:
        run = cluster.run
        shown = run("gnt-gluster", "disk", "evict", "--dry-run", NAME).stdout
        assert shown == "node1: %s\n" % path
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
        told = run("gnt-gluster", "disk", "evict", "-f", NAME, max_seconds=90).stdout
        assert "Taken from node1; the instance can be started on another node." in told
        wait_for(
            lambda: processes(cluster, "node1", FROZEN[1]) == "", 60, "the guest there is ended"
        )
        assert cluster.disk_info(NAME)[0]["open_on"] == ""
        none = run("gnt-gluster", "disk", "evict", "-f", NAME).stdout
        assert none == "No node has an image of %s open.\n" % NAME
        # Ganeti starts it again.
        run("gnt-instance", "start", NAME, max_seconds=120)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node1 (exclusive)"
    finally:
        cluster.remove(NAME)
