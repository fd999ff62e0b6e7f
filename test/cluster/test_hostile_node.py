"""A node in strange hands: what it answers harms what is known of it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbedlib import wait_for

from .conftest import Cluster

# A node's answers are read by the same code on all suites.
pytestmark = pytest.mark.one_suite

NODE = "node3"
COMMANDS = "/etc/ganeti/restricted-commands/"
SYNC = "gluster-services-sync"
DAEMONS = "/usr/lib/ganeti/daemon-util"
NOT_UNDERSTOOD = "its answer is not understood: "
# Its port is that of Ganeti's node daemon.
DAEMON = """
import http.server, ssl, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        part, times = open("/root/answer", "rb").read(), int(sys.argv[1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(part) * times))
        self.end_headers()
        for _ in range(times):
            self.wfile.write(part)

server = http.server.ThreadingHTTPServer(("", 1811), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/var/lib/ganeti/server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def strange(cluster: Cluster) -> Iterator[Cluster]:
    """Afterwards the node is itself again."""
    yield cluster
    script = (
        "systemctl stop strange; for file in /root/gluster-*; do"
        " [ ! -e $file ] || mv $file %s; done; %s start ganeti-noded" % (COMMANDS, DAEMONS)
    )
    cluster.testbed.exec(NODE, ["sh", "-c", script])
    wait_for(lambda: status(cluster)["unreachable"] == {}, 60, "%s tells again" % NODE)


def write(cluster: Cluster, path: str, text: bytes) -> None:
    cluster.testbed.exec(NODE, ["tee", path], stdin=text, check=True)


def say(cluster: Cluster, command: str, answer: bytes) -> None:
    """Have the node answer a restricted command with this."""
    write(cluster, "/root/answer", answer)
    write(cluster, "/root/script", b"#!/bin/sh\ncat /root/answer\n")
    script = "[ -e /root/%s ] || mv %s /root; install -m 755 /root/script %s"
    path = COMMANDS + command
    cluster.run("sh", "-c", script % (command, path, path), node=NODE)


def status(cluster: Cluster) -> dict[str, Any]:
    """What `services status` tells of all types, whatever nodes do."""
    argv = ["gnt-gluster", "services", "status", "--json"]
    done = cluster.testbed.exec("node1", argv, timeout=60)
    assert done.exit_code in (0, 3), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x1b[2J", "it is not JSON: "),
        (b"[" * 10000, "it is nested too deeply"),
        (b'{"format": 1, "types": []}', "types: not an object, but list"),
        (b'{"format": 1, "types": {}, "master": ["node3"]}', "master: not a string, but list"),
    ],
    ids=["text", "deep", "list", "master"],
)
def test_services_of_others_are_known(strange: Cluster, answer: bytes, reason: str) -> None:
    say(strange, "gluster-services-status", answer)
    found = status(strange)
    assert list(found["unreachable"]) == [NODE]
    assert found["unreachable"][NODE].startswith(NOT_UNDERSTOOD + reason)
    nodes = found["types"]["GLUSTER"]["nodes"]
    assert nodes["node1"]["status"] == nodes["node2"]["status"] != "UNKNOWN"
    table = strange.run("gnt-gluster", "services", "status", "--type=GLUSTER", fail=True).stdout
    assert NOT_UNDERSTOOD in table and "\x1b" not in table
    strange.run("systemctl", "start", SYNC, max_seconds=120)


@pytest.mark.parametrize(
    ("answer", "times", "reason"),
    [
        (b"\xff", 1, "it is not UTF-8"),
        (b"<html>", 1, "it is not JSON: <html>"),
        (b"[true, " + b"[" * 10000, 1, "it is nested too deeply"),
        (b'{"osparams_private_cluster": "x"}', 1, "it is not an outcome and a string"),
        (b"x" * 1000000, 1000, "it is too long"),
    ],
    ids=["bytes", "text", "deep", "private", "long"],
)
def test_whatever_answers_in_the_node_daemons_place(
    strange: Cluster, answer: bytes, times: int, reason: str
) -> None:
    write(strange, "/root/answer", answer)
    write(strange, "/root/strange.py", DAEMON.encode())
    strange.run(DAEMONS, "stop", "ganeti-noded", node=NODE)
    strange.run(
        *("systemd-run", "--unit=strange", "--collect"),
        *("python3", "/root/strange.py", str(times)),
        node=NODE,
    )
    wait_for(
        lambda: "no connection" not in status(strange)["unreachable"].get(NODE, ""),
        60,
        "something answers",
    )
    assert status(strange)["unreachable"][NODE].startswith(NOT_UNDERSTOOD + reason)
    assert status(strange)["types"]["GLUSTER"]["nodes"]["node1"]["status"] != "UNKNOWN"
    strange.run("systemctl", "start", SYNC, max_seconds=120)


def test_verification_goes_on_without_it(strange: Cluster) -> None:
    say(strange, "gluster-verify-node", b'{"format": 1, "node": "node1"}')
    done = strange.testbed.exec("node1", ["gnt-gluster", "verify"], timeout=240)
    line = "WARNING: NOT_UNDERSTOOD: node3: " + NOT_UNDERSTOOD
    assert [each for each in done.stdout.splitlines() if each.startswith(line)], done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    say(strange, "gluster-plugin-status", b'{"template": "\\u001b[2J"}')
    table = strange.run("gnt-gluster", "plugin", "status", fail=True).stdout
    assert NOT_UNDERSTOOD + "template: a string that cannot be printed" in table
