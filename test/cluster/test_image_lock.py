"""What works on an image has its lock: an instance that starts meanwhile keeps its disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from testbedlib import CompletedCommand, wait_for

from .conftest import Cluster
from .test_snapshot import REMOVE

pytestmark = pytest.mark.slow

NAME = "lock1"
MIB = 1 << 20
SIZE = 96 * MIB

# Writes one byte over and over to an image: path, byte, MiB.
FILL = """
import sys
from ganeti_gluster.core.volume import VolumeSpec, connect
path, byte, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
with connect(VolumeSpec.from_params({"host": "node1", "volume": "gv0"})) as volume:
    with volume.open(path, write=True) as file:
        for number in range(count):
            file.pwrite(byte * (1 << 20), number << 20)
"""
# Tells which bytes an image has.
TELL = """
import sys
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": "node1", "volume": "gv0"})) as volume:
    with volume.open(sys.argv[1]) as file:
        found = set()
        for number in range(int(sys.argv[2])):
            found |= set(file.pread(1 << 20, number << 20))
print(bytes(sorted(found)).decode("latin-1"), volume.lstat(sys.argv[1]).size)
"""


def python(cluster: Cluster, program: str, *arguments: str) -> str:
    done = cluster.run("/usr/bin/python3", "-P", "-c", program, *arguments, max_seconds=120)
    return done.stdout.strip()


def tell(cluster: Cluster, path: str, *, volume: str = "gv0") -> str:
    program = TELL.replace('"gv0"', '"%s"' % volume)
    return python(cluster, program, path, str(SIZE // MIB))


@pytest.fixture
def image(cluster: Cluster) -> Iterator[str]:
    """A stopped instance on node2 whose disk is full of n, and was of o in a snapshot."""
    cluster.add(NAME, node="node2", start=False, disks=("size=96M",))
    cluster.run("gnt-instance", "deactivate-disks", NAME)
    path = cluster.image(NAME)
    python(cluster, FILL, path, "o", str(SIZE // MIB))
    cluster.run("gnt-gluster", "disk", "snapshot", "--name=one", NAME, max_seconds=120)
    python(cluster, FILL, path, "n", str(SIZE // MIB))
    yield path
    cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=120)
    cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "one", max_seconds=60)
    cluster.remove(NAME)


class Slow(threading.Thread):
    """A command on snapshots that goes on slowly while a test does something else."""

    def __init__(self, cluster: Cluster, *words: str, copies: str) -> None:
        super().__init__()
        self._cluster, self._words = cluster, words
        self.result: CompletedCommand | None = None
        self.start()
        wait_for(lambda: copies in cluster.images(), 60, "the copy is under way")

    def run(self) -> None:
        argv = ["gnt-gluster", "disk", self._words[0], "--bandwidth-limit=1", *self._words[1:]]
        self.result = self._cluster.testbed.exec("node1", argv, timeout=400)

    def ended(self) -> CompletedCommand:
        self.join(400)
        assert self.result is not None
        return self.result


def refused(cluster: Cluster, *argv: str) -> str:
    done = cluster.run(*argv, fail=True, max_seconds=120)
    return done.stdout + done.stderr


def test_an_instance_is_not_moved_while_its_disk_is_worked_on(
    cluster: Cluster, image: str
) -> None:
    snapshot = Slow(cluster, "snapshot", "--name=two", NAME, copies=image + ".snap.two.partial")
    (info,) = cluster.disk_info(NAME)
    assert info["open_on"] == "node node2 for a snapshot, copy or removal (shared)"
    said = refused(cluster, "gnt-instance", "failover", "-f", "-n", "node3", NAME)
    assert "open on node node2 for a snapshot, copy or removal" in said
    assert "is being taken" in refused(cluster, "gnt-instance", "start", NAME)
    done = snapshot.ended()
    assert done.exit_code == 0, done.describe()
    assert tell(cluster, image + ".snap.two") == "n %d" % SIZE
    cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "two", max_seconds=60)


@pytest.mark.parametrize("word", ["snapshot", "restore"])
def test_what_was_under_way_on_a_node_that_is_cut_off_leaves_the_guests_disk_alone(
    cluster: Cluster, image: str, word: str
) -> None:
    words = {
        "snapshot": ("snapshot", "--name=two", NAME),
        "restore": ("restore", "-f", NAME, "one"),
    }
    made = {"snapshot": ".snap.two", "restore": ".restored"}[word]
    under_way = Slow(cluster, *words[word], copies=image + made + ".partial")
    cluster.testbed.cut("node2")
    try:
        cluster.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=120)
        argv = ("gnt-instance", "failover", "-f", "-n", "node3", NAME)
        cluster.run(*argv, max_seconds=200)
        cluster.run("gnt-instance", "start", NAME, max_seconds=120)
        python(cluster, FILL, image, "g", "1")
    finally:
        cluster.testbed.heal("node2")
    done = under_way.ended()
    assert done.exit_code != 0, done.describe()
    unit = "ganeti-gluster-snapshot-%s" % NAME
    argv = ["systemctl", "is-active", unit]
    wait_for(
        lambda: cluster.testbed.exec("node2", argv).stdout.strip() != "active", 200, "its end"
    )
    assert tell(cluster, image) == "gn %d" % SIZE
    (info,) = cluster.disk_info(NAME)
    assert info["open_on"] == "node node3 (exclusive)"
    cluster.run("gnt-node", "modify", "--force", "--offline=no", "node2", max_seconds=200)
    left = [path for path in cluster.images() if path.startswith(image + made)]
    if left:  # the node could not remove it, and nobody takes it for whole
        assert left == [image + made + ".partial"]
        cluster.run(
            "gnt-gluster", "disk", "snapshots", NAME, fail=1 if word == "snapshot" else False
        )
        python(cluster, REMOVE, "node1", left[0])
