"""A node's agent: what it has ready is true, it runs once, ends at once, and begins anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbedlib import layout, wait_for

from .conftest import AGENT, Cluster

NODE = "node2"
UNIT = "ganeti-gluster-agent.service"
PREPARED = "/run/ganeti-gluster/services-prepared"
METRICS = "/var/lib/ganeti-gluster/metrics.prom"
COMMANDS = "/etc/ganeti/restricted-commands/gluster-services-"
CONF = "/etc/ganeti/gluster-services.conf"
#: A unit that may be restarted at any time.
LOGIN = "[LOGIN]\nservice.seats = systemd-logind\n"


@pytest.fixture(scope="module")
def agent(cluster: Cluster) -> Iterator[Cluster]:
    """The agent runs on the node."""
    cluster.testbed.exec(NODE, ["tee", CONF], stdin=LOGIN.encode(), check=True)
    cluster.run("systemctl", "start", *AGENT, node=NODE)
    yield cluster
    cluster.run("systemctl", "stop", *AGENT, node=NODE)
    cluster.run("rm", CONF, node=NODE)


def show(cluster: Cluster, what: str, unit: str = UNIT) -> str:
    argv = ("systemctl", "show", "--value", "--property=" + what, unit)
    return cluster.run(*argv, node=NODE).stdout.strip()


def is_ready(cluster: Cluster) -> bool:
    """Whether the agent that runs has its answer ready."""
    done = cluster.testbed.exec(NODE, ["head", "-n1", PREPARED])
    return done.exit_code == 0 and done.stdout.split()[0] == show(cluster, "MainPID")


def pid_told(cluster: Cluster, command: str) -> int:
    """The process of the service that the node tells."""
    answer: dict[str, Any] = json.loads(cluster.run(COMMANDS + command, node=NODE).stdout)
    (service,) = answer["types"]["LOGIN"]["services"]
    return int(service["pid"] or 0)


def restart(cluster: Cluster) -> int:
    """Restart the service; its new process."""
    cluster.run("systemctl", "reset-failed", "systemd-logind", node=NODE)
    cluster.run("systemctl", "restart", "systemd-logind", node=NODE)
    return int(show(cluster, "MainPID", "systemd-logind"))


def test_what_it_has_ready_follows_what_systemd_tells(agent: Cluster) -> None:
    wait_for(lambda: is_ready(agent), 60, "the agent has looked")
    script = "sed 1d %s | cmp - %s && %sprepared | cmp - /run/answer" % (
        *(PREPARED, "/run/answer"),
        COMMANDS,
    )
    agent.run("sh", "-c", "sed 1d %s >/run/answer; %s" % (PREPARED, script), node=NODE)
    pid = restart(agent)
    # Before the next minute's look.
    wait_for(lambda: is_ready(agent) and pid_told(agent, "prepared") == pid, 40, "it is told")
    # Who wants to know what is now does not wait for that.
    pid = restart(agent)
    assert pid_told(agent, "status") == pid
    wait_for(lambda: is_ready(agent) and pid_told(agent, "prepared") == pid, 40, "it is told")


def test_one_that_stands_still_or_is_killed_leaves_no_lie(agent: Cluster) -> None:
    wait_for(lambda: is_ready(agent), 60, "the agent has looked")
    agent.run("systemctl", "kill", "--signal=STOP", UNIT, node=NODE)
    try:
        pid = restart(agent)
        assert is_ready(agent)
        assert pid_told(agent, "prepared") == pid
    finally:
        agent.run("systemctl", "kill", "--signal=CONT", UNIT, node=NODE)
    wait_for(lambda: is_ready(agent) and pid_told(agent, "prepared") == pid, 40, "it is told")
    old = show(agent, "MainPID")
    agent.run("systemctl", "kill", "--signal=KILL", UNIT, node=NODE)
    pid = restart(agent)
    assert pid_told(agent, "prepared") == pid
    wait_for(lambda: is_ready(agent), 60, "systemd has started it again")
    assert show(agent, "MainPID") != old


def test_a_second_one_does_not_run_beside_it(agent: Cluster) -> None:
    wait_for(lambda: is_ready(agent), 60, "the agent has looked")
    done = agent.run("/usr/lib/ganeti-gluster/agent", node=NODE, fail=1)
    assert "the agent runs already" in done.stderr
    wait_for(lambda: is_ready(agent), 60, "the first one goes on")


def test_it_ends_at_once_and_takes_away_what_was_ready(agent: Cluster) -> None:
    wait_for(lambda: is_ready(agent), 60, "the agent has looked")
    agent.run("timeout", "5", "systemctl", "stop", UNIT, node=NODE)
    assert show(agent, "Result") == "success"
    agent.run("test", "!", "-e", PREPARED, node=NODE)
    agent.run("systemctl", "start", UNIT, node=NODE)


def test_it_measures(agent: Cluster) -> None:
    agent.run("rm", "-f", METRICS, node=NODE)
    agent.run("systemctl", "restart", UNIT, node=NODE)
    measured = ["test", "-e", METRICS]
    wait_for(lambda: agent.testbed.exec(NODE, measured).exit_code == 0, 60, "it has measured")
    text = agent.run("cat", METRICS, node=NODE).stdout
    where = 'cluster="%s",node="%s"' % (layout.CLUSTER_NAME, NODE)
    assert "ganeti_gluster_plugin_active{%s} 1\n" % where in text
    assert 'ganeti_gluster_peer_connected{%s,peer="node1"} 1\n' % where in text


@pytest.mark.slow
def test_it_begins_anew_when_the_plugin_is_switched(agent: Cluster) -> None:
    pid = show(agent, "MainPID")
    agent.run("touch", "/etc/ganeti/gluster-plugin-disabled", node=NODE)
    try:
        wait_for(lambda: show(agent, "MainPID") not in ("0", pid), 120, "it has begun anew")
    finally:
        agent.run("rm", "/etc/ganeti/gluster-plugin-disabled", node=NODE)
    assert show(agent, "NRestarts") != "0"


@pytest.mark.slow
def test_a_frozen_glusterd_holds_up_only_what_is_asked_of_it(agent: Cluster) -> None:
    agent.run("systemctl", "kill", "--signal=STOP", "glusterd", node=NODE)
    try:
        pid = restart(agent)
        wait_for(lambda: is_ready(agent) and pid_told(agent, "prepared") == pid, 40, "it is told")

        def silent() -> bool:
            return 'code="GLUSTERD_SILENT"' in agent.run("cat", METRICS, node=NODE).stdout

        wait_for(silent, 180, "the metrics tell it")
    finally:
        agent.run("systemctl", "kill", "--signal=CONT", "glusterd", node=NODE)


@pytest.mark.slow
def test_outside_a_cluster_it_does_nothing_until_the_node_is_in_one(agent: Cluster) -> None:
    place = "/var/lib/ganeti/ssconf_master_node"
    agent.run("mv", place, place + ".away", node=NODE)
    try:
        wait_for(lambda: show(agent, "ActiveState") == "inactive", 120, "it has ended")
    finally:
        agent.run("mv", place + ".away", place, node=NODE)
    wait_for(lambda: show(agent, "ActiveState") == "active", 30, "it runs again")
