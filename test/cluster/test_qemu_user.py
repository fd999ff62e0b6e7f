"""A QEMU that runs as another user than root: Ganeti's security_model=user and pool."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from .conftest import Cluster
from .test_serve import goes_on, kill_servers, whole

NAME = "vm14"
SOCKETS = "/run/ganeti-gluster-nbd"
#: Users of the nodes: of one for all instances, and of the pool.
USERS = {"guests": 4100, "pool1": 4101, "pool2": 4102}
MODELS = {
    "user": "security_model=user,security_domain=guests",
    "pool": "security_model=pool",
}

pytestmark = [pytest.mark.qemu, pytest.mark.one_suite]

# What comes of connecting to each socket: what the server says first, "" for nothing.
CONNECT = """
import socket, sys

for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
            print(client.recv(8).decode())
        except OSError as err:
            print(type(err).__name__)
"""


@pytest.fixture(scope="module", autouse=True)
def users(cluster: Cluster) -> Iterator[None]:
    """Users on every node; three of them are Ganeti's pool."""
    for name, uid in USERS.items():
        cluster.everywhere("useradd", "--system", "--no-create-home", "-u", str(uid), name)
    cluster.run("gnt-cluster", "modify", "--uid-pool", "4101-4102")
    yield
    cluster.run("gnt-cluster", "modify", "--uid-pool", "")
    for name in USERS:
        cluster.everywhere("userdel", name)


@pytest.fixture
def start(cluster: Cluster) -> Iterator[Callable[..., Boot]]:
    """Start the instance with hypervisor parameters."""
    boots = []

    def begin(parameters: str) -> Boot:
        cluster.add(NAME, start=False)
        cluster.run("gnt-instance", "modify", "-H", parameters, NAME)
        boots.append(cluster.boot(NAME, "node1"))
        cluster.run("gnt-instance", "start", NAME, max_seconds=120)
        return boots[0]

    yield begin
    for boot in boots:
        boot.close()
    cluster.remove(NAME)


def uid_of_qemu(cluster: Cluster, node: str) -> int:
    """The user as whom the one QEMU of a node runs."""
    pid = cluster.run("pgrep", "-o", "qemu-system", node=node).stdout.strip()
    status = cluster.run("cat", "/proc/%s/status" % pid, node=node).stdout
    return int(status.partition("Uid:")[2].split()[1])


def sockets(cluster: Cluster, node: str) -> dict[str, tuple[str, int]]:
    """The servers' sockets on a node, with their modes and users."""
    argv = ("find", SOCKETS, "-name", "*.nbd", "-printf", "%p %m %U\\n")
    lines = [line.split() for line in cluster.run(*argv, node=node).stdout.splitlines()]
    return {path: (mode, int(uid)) for path, mode, uid in lines}


def connect(cluster: Cluster, node: str, uid: int, *paths: str) -> set[str]:
    """What comes of it when a user connects to sockets."""
    argv = ("setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups")
    python = ("/usr/bin/python3", "-I", "-c", CONNECT)
    return set(cluster.run(*argv, *python, *paths, node=node).stdout.splitlines())


def check_owner(cluster: Cluster, node: str, disks: int) -> None:
    """Nobody but root and the user of QEMU gets anything from the servers."""
    uid = uid_of_qemu(cluster, node)
    assert uid in USERS.values()
    found = sockets(cluster, node)
    assert list(found.values()) == [("600", uid)] * disks
    others = {*USERS.values(), 65534} - {uid}
    assert [connect(cluster, node, other, *found) for other in others] == [
        {"PermissionError"} for _ in others
    ]
    assert connect(cluster, node, uid, *found) == {"NBDMAGIC"}


def check_outlives_its_servers(cluster: Cluster, node: str, boot: Boot) -> None:
    """QEMU reaches them again when they have been killed."""
    kill_servers(cluster, node)
    goes_on(boot)
    # Ganeti 3.1 names the block node, Ganeti 3.0 the drive.
    shown = [cluster.monitor(NAME, "info block" + option, node=node) for option in ("", " -n")]
    disks = set(re.findall(r"\bdisk(?:-[0-9a-f]+){3}\b", "".join(shown)))
    assert len(disks) == len(sockets(cluster, node))
    pid = int(cluster.run("pgrep", "-o", "qemu-system", node=node).stdout)

    def clients() -> list[list[int]]:
        for disk in disks:  # it connects with its next request
            cluster.monitor(NAME, 'qemu-io %s "read 0 4k"' % disk, node=node)
        status = ("/usr/bin/python3", "-m", "ganeti_gluster.core.serve.fleet", "status")
        found = json.loads(cluster.run(*status, node=node).stdout)
        return [server["peers"] for server in found.values()]

    wait_for(lambda: clients() == [[pid] for _ in disks], 60, "QEMU is each server's client")


@pytest.mark.parametrize("model", [pytest.param("user", marks=pytest.mark.slow), "pool"])
def test_a_guest_of_another_user_outlives_its_servers(
    cluster: Cluster, start: Callable[..., Boot], model: str
) -> None:
    boot = start(MODELS[model])
    boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
    check_owner(cluster, "node1", 1)
    check_outlives_its_servers(cluster, "node1", boot)
    check_owner(cluster, "node1", 1)  # the new process knows whose it is
    hotplug = ("--hotplug",) if cluster.testbed.suite == "bookworm" else ()
    add = ("gnt-instance", "modify", *hotplug, "--disk", "add:size=64M", NAME)
    assert "hotplug:done" in cluster.run(*add, max_seconds=120).stdout
    check_owner(cluster, "node1", 2)
    check_outlives_its_servers(cluster, "node1", boot)
    cluster.run("gnt-instance", "grow-disk", "--no-wait", NAME, "0", "64M", max_seconds=120)
    size = (1024 + 64) << 20
    boot.wait(lambda events: any(event.size == size for event in events), 60, "it has grown")
    cluster.run("gnt-gluster", "disk", "snapshot", "--name=s1", NAME, max_seconds=180)
    cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "s1", max_seconds=120)
    boot.follow_to(cluster.testbed.node("node2"))
    cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
    boot.wait(lambda events: guest.last_acknowledged(boot.here()) > 0, 60, "it goes on there")
    assert sockets(cluster, "node1") == {}
    check_owner(cluster, "node2", 2)
    check_outlives_its_servers(cluster, "node2", boot)
    whole(boot)


def test_a_user_who_lets_others_to_his_socket_lets_nobody_to_the_image(
    cluster: Cluster, start: Callable[..., Boot]
) -> None:
    boot = start(MODELS["pool"])
    boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
    uid = uid_of_qemu(cluster, "node1")
    found = sockets(cluster, "node1")
    argv = ("setpriv", "--reuid=%d" % uid, "--clear-groups", "chmod", "0666", *found)
    cluster.run(*argv)
    assert connect(cluster, "node1", 65534, *found) == {""}
    goes_on(boot)


def test_a_pools_user_loses_the_images_of_a_guest_that_died(
    cluster: Cluster, start: Callable[..., Boot]
) -> None:
    start(MODELS["pool"])
    uid = uid_of_qemu(cluster, "node1")
    (path,) = sockets(cluster, "node1")
    cluster.run("pkill", "-9", "qemu-system")
    # As Ganeti does for the next instance to which this user falls.
    give = "from ganeti_gluster.core.serve import owner; owner.give(['/x/none.nbd'], %d)" % uid
    cluster.run("/usr/bin/python3", "-c", give)
    assert connect(cluster, "node1", uid, path) == {"PermissionError"}
    boot = cluster.boot(NAME, "node1")
    wait_for(
        lambda: cluster.run("gnt-instance", "start", NAME, max_seconds=120), 60, "it starts again"
    )
    boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")
    boot.close()


def test_a_chroot_is_refused(cluster: Cluster) -> None:
    cluster.add(NAME, start=False)
    try:
        cluster.run("gnt-instance", "modify", "-H", "use_chroot=true", NAME)
        refused = cluster.run("gnt-instance", "start", NAME, fail=True, max_seconds=120)
        assert "cannot start with use_chroot" in refused.stderr
        assert sockets(cluster, "node1") == {}
    finally:
        cluster.remove(NAME)
