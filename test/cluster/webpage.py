"""The page on a testbed's master, and a client of it on another machine."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from testbedlib import Testbed, swift, wait_for

from .conftest import Cluster

ADDRESS = "192.0.2.2"
URL = "https://%s:5083" % ADDRESS
UNIT = "ganeti-gluster-web.service"
SYNC = "gluster-services-sync"
USERS_FILE = "/var/lib/ganeti/rapi/users"
USERS = """
# root's password is "secret"; the hash is of "root:Ganeti Remote API:secret"
root {HA1}%s write
guest look read
"""
HA1 = "be34f163535350f5d86082ddd67db5e7"
SERVICES = ("account", "container", "object", "proxy")
ROOT = ("root", "secret")
GUEST = ("guest", "look")

_CLONE_NEWNET = 0x40000000


class Answer(NamedTuple):
    """A response: its status, headers and text."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def in_network(testbed: Testbed, function: Callable[[], Any]) -> Any:
    """Call a function in a thread that is in the testbed's network, outside the pool."""

    def enter() -> None:
        with open(testbed.layout.netns_file) as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    with ThreadPoolExecutor(1, initializer=enter) as threads:
        return threads.submit(function).result()


def ask(
    testbed: Testbed,
    path: str,
    user: tuple[str, str] | None = None,
    *,
    order: Any = None,
) -> Answer:
    """Ask the page as a program does; `order` is sent as JSON."""
    request = urllib.request.Request(URL + path)
    if user:
        pair = base64.b64encode(":".join(user).encode()).decode()
        request.add_header("Authorization", "Basic " + pair)
    if order is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(order).encode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def send() -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as err:
            return Answer(err.code, err.headers, err.read().decode())

    found: Answer = in_network(testbed, send)
    return found


def sync(cluster: Cluster) -> None:
    """Have the services' states taken down now."""
    cluster.run("systemctl", "start", SYNC + ".service")


def is_active(cluster: Cluster, node: str, service: str = "proxy") -> bool:
    """Whether systemd calls a Swift service of a node active."""
    done = cluster.testbed.exec(node, ["systemctl", "is-active", "swift-%s" % service])
    return done.stdout.strip() == "active"


@contextlib.contextmanager
def served(cluster: Cluster, nodes: Sequence[str]) -> Iterator[None]:
    """Serve the page on the cluster's address, with Swift configured on some nodes."""
    testbed = cluster.testbed
    swift.configure([testbed.node(node) for node in nodes])
    settings = {
        "/etc/default/ganeti-gluster-web": 'WEB_ARGS="--bind %s"\n' % ADDRESS,
        USERS_FILE: USERS % HA1,
    }
    with tempfile.TemporaryDirectory() as folder:
        for path, text in settings.items():
            local = Path(folder) / os.path.basename(path)
            local.write_text(text)
            testbed.node("node1").push(local, path)
    cluster.run("chown", "gnt-rapi:gnt-masterd", USERS_FILE)
    cluster.run("chmod", "0640", USERS_FILE)
    stop_swift(cluster, nodes)
    sync(cluster)
    try:
        cluster.run("systemctl", "start", UNIT)
        wait_for(lambda: knows_all(testbed), 60, "the page knows the cluster")
        yield
    finally:
        cluster.run("systemctl", "stop", UNIT)
        cluster.run("rm", "-f", *settings)
        stop_swift(cluster, nodes)


def stop_swift(cluster: Cluster, nodes: Sequence[str]) -> None:
    """Stop Swift on some nodes."""
    for node in nodes:
        units = ["swift-%s" % service for service in SERVICES]
        cluster.run("systemctl", "stop", *units, node=node)


def knows_all(testbed: Testbed) -> bool:
    """Whether every source has answered."""
    try:
        return all(
            ask(testbed, "/api/v1/" + name, GUEST).json["data"]
            for name in ("cluster", "pool", "swift", "events")
        )
    except (OSError, ValueError, KeyError):
        return False
