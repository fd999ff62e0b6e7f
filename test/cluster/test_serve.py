"""The servers of images under running guests: killed, upgraded, and while other things happen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from . import packages
from .conftest import AGENT, Cluster, package

NAME = "vm9"
UPGRADE = "/root/glusterfs"
# A line for each server: its process, since when, and its files of GlusterFS's by inode.
SERVERS = """
import json
from ganeti_gluster.core.serve import control, files
from ganeti_gluster.tools import command

for key in files.served():
    since = float(control.ask(key, "status", timeout=30)["started"])
    unit = "ganeti-gluster-image@%s.service" % key
    show = ["systemctl", "show", "--property=MainPID", "--value", unit]
    pid = int(command.run(show, timeout=30).stdout)
    with open("/proc/%d/maps" % pid) as stream:
        lines = [line.split(maxsplit=5) for line in stream]
    mapped = {(line[5].strip(), int(line[4])) for line in lines if "glusterfs" in line[-1]}
    mapped |= {(line[5].strip(), int(line[4])) for line in lines if "/libgf" in line[-1]}
    print(json.dumps([pid, since, sorted(mapped)]))
"""

pytestmark = pytest.mark.qemu


def kill_servers(cluster: Cluster, node: str) -> None:
    """As a crash does; there may be none at the moment."""
    cluster.testbed.exec(node, ["pkill", "-9", "-x", "image-server"])


def goes_on(boot: Boot) -> None:
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 2, 60, "more records")


def whole(boot: Boot) -> None:
    """The guest wrote one record after the other, and no write failed."""
    events = boot.events()
    guest.check_unbroken(events)
    assert not [event for event in events if "lost" in str(event)]


def test_the_servers_go_on_as_what_is_installed(cluster: Cluster) -> None:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
        pid = cluster.run("pgrep", "--oldest", "-x", "image-server").stdout
        program = ("stat", "-Lc", "%i", "/proc/%s/exe" % pid.strip())
        before = cluster.run(*program).stdout
        # This package, the same release anew.
        cluster.testbed.push("node1", package(), "/root/again.deb")
        cluster.run("dpkg", "-i", "/root/again.deb", max_seconds=180)
        assert cluster.run("pgrep", "--oldest", "-x", "image-server").stdout == pid
        assert cluster.run(*program).stdout != before  # the file that was unpacked now
        goes_on(boot)
        whole(boot)
        boot.close()
    finally:
        cluster.remove(NAME)
        cluster.run("systemctl", "stop", *AGENT)  # the package's scripts start them


@dataclass(frozen=True)
class Process:
    """The process of an image's server: since when it runs this code, and by which libraries."""

    pid: int
    since: float
    mapped: frozenset[tuple[str, int]]


def servers(cluster: Cluster, node: str) -> list[Process]:
    """The servers on a node, in the order of their keys."""
    found = cluster.run("/usr/bin/python3", "-c", SERVERS, node=node).stdout.splitlines()
    return [
        Process(pid, since, frozenset((path, inode) for path, inode in mapped))
        for pid, since, mapped in map(json.loads, found)
    ]


@pytest.mark.one_suite
def test_the_servers_go_on_with_the_glusterfs_that_is_installed(cluster: Cluster) -> None:
    names = packages.installed(cluster, "node1", "glusterfs")
    assert {"libgfapi0", "libglusterfs0"} < set(names)
    packages.repack(cluster, "node1", "glusterfs", UPGRADE)
    with packages.kept(cluster, "node1", *names):
        boot = cluster.boot(NAME, "node1")
        cluster.add(NAME, disks=("size=1G", "size=64M", "size=64M"))
        try:
            boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
            before = servers(cluster, "node1")
            cluster.run("sh", "-c", "dpkg -i %s/*.deb" % UPGRADE, max_seconds=240)
            version = cluster.run("dpkg-query", "-Wf", "${Version}", "libgfapi0").stdout
            assert version.endswith("+again1")
            after = servers(cluster, "node1")
            assert [each.pid for each in after] == [each.pid for each in before]
            # One after the other, each from the first to the last of its libraries anew.
            assert [each.since for each in after] == sorted({each.since for each in after})
            for old, new in zip(before, after, strict=True):
                assert old.since < new.since
                assert {path for path, _ in old.mapped} == {path for path, _ in new.mapped}
                assert not old.mapped & new.mapped
                for path, inode in new.mapped:
                    assert cluster.run("stat", "-Lc", "%i", path).stdout.strip() == str(inode)
            goes_on(boot)
            whole(boot)
            boot.close()
        finally:
            cluster.remove(NAME)
            cluster.run("systemctl", "stop", *AGENT)  # the package's scripts start them
    cluster.run("rm", "-r", UPGRADE)


def during(cluster: Cluster, node: str, action: Callable[[], object]) -> None:
    """Do something while the servers on a node are killed again and again."""
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(1.5):
            kill_servers(cluster, node)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        action()
    finally:
        ended.set()
        killer.join()


@pytest.mark.one_suite
def test_a_server_is_killed_while_its_disk_grows_is_copied_and_moves(cluster: Cluster) -> None:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
        kill_servers(cluster, "node1")
        goes_on(boot)
        snapshot = ("gnt-gluster", "disk", "snapshot", "--name=s1", NAME)
        done: list[int] = []

        def copy() -> None:
            done.append(cluster.testbed.exec("node1", list(snapshot), timeout=300).exit_code)

        during(cluster, "node1", copy)
        assert done in ([0], [1])  # whole, or undone with a reason
        goes_on(boot)
        grow = ("gnt-instance", "grow-disk", "--no-wait", NAME, "0", "128M")

        def grown() -> bool:
            cluster.testbed.exec("node1", list(grow), timeout=120)
            return cluster.disk_info(NAME)[0]["size"] > 1 << 30

        during(cluster, "node1", lambda: wait_for(grown, 120, "it has grown"))
        goes_on(boot)
        whole(boot)
        boot.close()
        second = cluster.boot(NAME, "node2")

        def move() -> bool:
            argv = ["gnt-instance", "migrate", "-f", "-n", "node2", NAME]
            if cluster.testbed.exec("node1", argv, timeout=180).exit_code != 0:
                cluster.testbed.exec(
                    "node1", ["gnt-instance", "migrate", "-f", "--cleanup", NAME], timeout=180
                )
                return False
            return True

        during(cluster, "node1", lambda: wait_for(move, 300, "it has moved"))
        second.wait(lambda events: guest.last_acknowledged(events) > 0, 60, "it goes on there")
        goes_on(second)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        second.close()
    finally:
        remove = ["gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "s1"]
        cluster.testbed.exec("node1", remove, timeout=120)  # there may be none
        cluster.remove(NAME)
