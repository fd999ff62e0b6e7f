"""A degraded disk where people already look, and the page of `gnt-gluster status`."""

from __future__ import annotations

import json

from testbedlib import wait_for

from .conftest import Cluster

NAME = "vm-status"
BRICK = "node2:/srv/gluster/brick1/gv0"
WARNED = "WARNING: Gluster disk disk/0 of instance %s: *DEGRADED*" % NAME


def info(cluster: Cluster) -> str:
    """The line of `gnt-instance info` that says where the disk is."""
    text = cluster.run("gnt-instance", "info", NAME).stdout
    (line,) = (line for line in text.splitlines() if "on primary" in line)
    return line


def test_a_degraded_disk_is_seen_everywhere(cluster: Cluster) -> None:
    cluster.add(NAME, start=False)
    try:
        assert info(cluster).endswith(", status ok")
        cluster.run("sh", "-c", "kill -9 $(cat /var/run/gluster/vols/gv0/*.pid)", node="node2")
        wait_for(lambda: info(cluster).endswith(", status *DEGRADED*"), 60, "info tells it")
        assert WARNED in cluster.run("gnt-cluster", "verify-disks", max_seconds=120).stdout
        cluster.run("ganeti-watcher", "--ignore-pause", max_seconds=120)
        assert WARNED in cluster.run("cat", "/var/log/ganeti/watcher.log").stdout
        page = json.loads(cluster.run("gnt-gluster", "status", "--json", fail=1).stdout)
        (disk,) = page["disks"]
        assert (disk["instance"], disk["state"]) == (NAME, "degraded")
        states = {brick["brick"]: brick["state"] for brick in page["bricks"]}
        assert [name for name, state in states.items() if state == "down"] == [BRICK]
        text = cluster.run("gnt-gluster", "status", "--separator=|", fail=1).stdout
        assert "%s|node1|1|1024|" % NAME in text
    finally:
        cluster.run("gluster", "volume", "start", "gv0", "force")
        cluster.testbed.wait_volume()
        cluster.remove(NAME)
