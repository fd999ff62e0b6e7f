"""What a user of a node without any rights can do with what is ours there: nothing.

The one directory that others pass has sockets alone, each of which is its user's
(test_qemu_user.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from testbedlib import wait_for

from .conftest import Cluster

# The rights of files are the same on all suites.
pytestmark = pytest.mark.one_suite

SOCKETS = "/run/ganeti-gluster-nbd"
OURS = ("/run/ganeti-gluster", "/var/lib/ganeti-gluster", SOCKETS)

# Says what of the paths on standard input can be used: of the package's, which anybody
# may read, only what can be changed.
TRY = """
import os, sys

for line in sys.stdin:
    kind, path = line.rstrip("\\n").split(" ", 1)
    for name in "RWX" if kind == "ours" else "W":
        if not os.path.islink(path) and os.access(path, getattr(os, name + "_OK")):
            print(name, path)
"""


@pytest.fixture(scope="module", autouse=True)
def used(cluster: Cluster) -> Iterator[None]:
    """Files of every kind that is made while the package is used, once open to all."""
    cluster.add("walk1")
    cluster.run("gnt-gluster", "disk", "snapshot", "--name=walk", "walk1", max_seconds=120)
    # The volume is not distributed: the pool's lock and log are left, and nothing else.
    cluster.run("gnt-gluster", "pool", "rebalance", "--force", "gv0", fail=True)
    cluster.run("gnt-gluster", "verify", max_seconds=120)
    cluster.everywhere("gnt-gluster", "monitor", "--write")
    cluster.run("systemctl", "start", "gluster-services-sync.service")
    # As a former release, or a hand, may have left it.
    cluster.everywhere("chmod", "-R", "go+rwX", *OURS)
    cluster.everywhere("dpkg-reconfigure", "ganeti-gluster")
    for node in cluster.nodes:
        wait_for(partial(cluster.status_known, node), 60, "the node daemon of %s is back" % node)
    yield
    cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", "walk1", "walk", max_seconds=120)
    cluster.remove("walk1")


@pytest.mark.parametrize("user", ["nobody", "gnt-rapi"])
def test_another_user_can_open_nothing(cluster: Cluster, user: str) -> None:
    for node in cluster.nodes:
        ours = cluster.run("find", *OURS, "-xdev", node=node).stdout.splitlines()
        logs = ("find", "/var/log/ganeti", "-name", "gluster*")
        ours += cluster.run(*logs, node=node).stdout.splitlines()
        assert set(OURS) < set(ours)
        package = cluster.run("dpkg", "-L", "ganeti-gluster", node=node).stdout.splitlines()
        lines = ["ours %s" % path for path in ours] + ["package %s" % path for path in package]
        done = cluster.testbed.exec(
            node,
            ["runuser", "-u", user, "--", "/usr/bin/python3", "-I", "-c", TRY],
            stdin="\n".join(lines).encode(),
            timeout=60,
        )
        assert (done.exit_code, done.stdout) == (0, "X %s\n" % SOCKETS), done.stderr


def test_a_lock_by_another_user_holds_nothing_up(cluster: Cluster) -> None:
    for name in ("counters/0", "pool.lock", "services.lock"):
        done = cluster.testbed.exec(
            "node1",
            ["runuser", "-u", "nobody", "--", "flock", "-nx", "%s/%s" % (OURS[0], name), "true"],
        )
        assert "cannot open lock file" in done.stderr
