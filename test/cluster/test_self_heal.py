"""A self-heal daemon that tries an old port of its brick for ever: reported, and restarted.

It comes to that where glusterd names a port, no connection to it succeeds, and the brick has
another one by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from testbedlib import wait_for

from .conftest import AGENT, Cluster
from .faults import expect, settle

pytestmark = pytest.mark.slow

NODE = "node3"
STATE = "/var/lib/ganeti-gluster/self-heal.json"
LOG = "/var/log/glusterfs/glustershd.log"
# Routes to the brick's port, also the local one, come to an end; what is connected is ended.
BLOCK = """
port=$(pgrep -ax glusterfsd | grep -o 'brick-port [0-9]*' | cut -d' ' -f2)
ip rule add pref 100 lookup local
ip rule del pref 0
ip rule add pref 10 ipproto tcp dport $port unreachable
ss -K dport = :$port >/dev/null
"""
RESTART = "pkill -9 -x glusterfsd; gluster --mode=script volume start gv0 force"
UNBLOCK = """
ip rule add pref 0 lookup local
ip rule del pref 100
ip rule del pref 10
"""
# As if it had lacked its brick for long.
EARLIER = """
import json, sys
with open(sys.argv[1]) as stream:
    state = json.load(stream)
state["since"] -= 600
with open(sys.argv[1], "w") as stream:
    json.dump(state, stream)
"""


@pytest.fixture(autouse=True)
def agent(cluster: Cluster) -> Iterator[None]:
    cluster.run("systemctl", "start", *AGENT, node=NODE)
    yield
    cluster.run("systemctl", "stop", *AGENT, node=NODE)


def noted(cluster: Cluster) -> dict[str, object]:
    done = cluster.testbed.exec(NODE, ["cat", STATE], timeout=30)
    found: dict[str, object] = json.loads(done.stdout) if done.exit_code == 0 else {}
    return found


def told_ports(cluster: Cluster) -> int:
    """How often the daemon was told a port."""
    return cluster.run("cat", LOG, node=NODE).stdout.count("changing port to")


def test_the_agent_restarts_a_daemon_that_lost_its_brick(cluster: Cluster) -> None:
    settle(cluster)  # verify also tells the nodes which volumes Ganeti uses
    before = told_ports(cluster)
    try:
        cluster.run("sh", "-ec", BLOCK, node=NODE)
        wait_for(lambda: told_ports(cluster) > before, 60, "glusterd has named the port again")
        cluster.run("sh", "-ec", RESTART, node=NODE, max_seconds=120)
    finally:
        cluster.run("sh", "-ec", UNBLOCK, node=NODE)
    (said,) = expect(cluster, {("ERROR", "HEAL_DAEMON_DISCONNECTED", NODE)})
    assert said["text"].startswith("volume gv0: the self-heal daemon has no connection to node3:/")
    wait_for(lambda: noted(cluster).get("since"), 150, "the agent has noted it")
    cluster.run("/usr/bin/python3", "-P", "-c", EARLIER, STATE, node=NODE)
    wait_for(lambda: noted(cluster).get("restarts"), 150, "the agent has restarted the daemon")
    expect(cluster, set())
    journal = cluster.run(
        *("journalctl", "-u", "ganeti-gluster-agent", "-o", "cat", "--no-pager"), node=NODE
    ).stdout
    assert "the self-heal daemon has no connection to node3:/" in journal
    assert "the self-heal daemon is restarted" in journal
