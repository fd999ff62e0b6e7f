"""A degraded disk where people already look, and the page of `gnt-gluster status`."""

from __future__ import annotations

import json

import pytest

from testbedlib import layout, wait_for

from .conftest import Cluster
from .terminal import INTERRUPT, terminal

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
        # The agent of that node, as it does every minute.
        cluster.run("systemctl", "start", "ganeti-gluster-monitor.service", node="node2")
        measured = cluster.run("cat", "/var/lib/ganeti-gluster/metrics.prom", node="node2").stdout
        place = 'cluster="%s",node="node2"' % layout.CLUSTER_NAME
        assert 'brick_up{%s,volume="gv0",brick="%s"} 0\n' % (place, BRICK) in measured
        # What the node daemon's children counted, one for each request.
        of_node1 = cluster.run("gnt-gluster", "monitor").stdout
        place = place.replace("node2", "node1")
        assert 'operation_duration_seconds_count{%s,operation="Create"} ' % place in of_node1
        of_disk = 'disk_size_bytes{cluster="%s",instance_name="%s",disk="0",'
        assert of_disk % (layout.CLUSTER_NAME, NAME) in of_node1
        text = cluster.run("gnt-gluster", "status", "--separator=|", fail=1).stdout
        assert "%s|node1|1|1024|" % NAME in text
    finally:
        cluster.run("gluster", "volume", "start", "gv0", "force")
        cluster.testbed.wait_volume()
        cluster.remove(NAME)


@pytest.mark.slow
def test_a_frozen_glusterd_holds_nothing_up(cluster: Cluster) -> None:
    cluster.run("systemctl", "kill", "--signal=STOP", "glusterd", node="node2")
    try:
        # 8 s for a question to glusterd, 20 for the whole look.
        report = json.loads(
            cluster.run("gnt-gluster", "monitor", "--json", node="node2", max_seconds=60).stdout
        )
        assert report["data"]["status"]["code"] == 4
        assert "GLUSTERD_SILENT: node2: " in report["data"]["status"]["message"]
        done = cluster.run("gnt-gluster", "verify", fail=1, max_seconds=180)
        assert "ERROR: GLUSTERD_SILENT: node2: " in done.stdout
    finally:
        cluster.run("systemctl", "kill", "--signal=CONT", "glusterd", node="node2")
    quiet = ["gnt-gluster", "verify"]
    wait_for(lambda: not cluster.testbed.exec("node1", quiet).stdout, 60, "all is well again")


def test_the_page_is_shown_again_and_again_on_a_terminal(cluster: Cluster) -> None:
    page, watch = "\033[H\033[2J", ["gnt-gluster", "status", "--watch", "--interval=5"]
    with terminal(cluster.testbed.node("node1"), watch, TERM="xterm") as watched:
        for _ in range(2):
            watched.text = ""
            watched.until(page, 60)
            watched.until("\033[32monline", 10)
        watched.type(INTERRUPT)
        watched.end(60)
    assert "Traceback" not in watched.text
