"""What an administrator does to replace a node throws no image's only good copy away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from testbedlib import Testbed, layout, wait_for

from .conftest import Cluster, package, prepare
from .test_image_lock import tell

pytestmark = pytest.mark.slow

NAME = "vm-copy"
VOLUME = "only"
BRICK = "%s/%s" % (layout.BRICK_MOUNT, VOLUME)
SIZE = 96 << 20
#: The node with the good copy, and the one that is to take its place.
OLD, NEW = "node2", "node4"
#: Seconds for a heal of one image.
HEAL = 120


# Writes one byte over and over to an image, as a guest does: path, byte, MiB.
WRITE = (
    """
import os, sys
from ganeti_gluster.core.export.client import Connection, Outage
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
path, byte, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
server = ImageServer(VolumeSpec.from_params({"host": "node1", "volume": "%s"}), path)
server.open(number=1, patience=900)
connection = Connection(server.socket_path, Outage(900))
for number in range(count):
    connection.call(lambda handle: handle.pwrite(byte * (1 << 20), number << 20))
connection.call(lambda handle: handle.flush())
server.close(force=True)
os._exit(0)
"""
    % VOLUME
)


class Shape(NamedTuple):
    """A kind of volume: its words, how heals are switched, and what is said of its bricks."""

    words: tuple[str, ...]
    daemon: str
    reason: str


BEHIND = "the remaining bricks are not healed: node1:%s (" % BRICK
SHAPES = {
    "replica": Shape(("replica", "3"), "cluster.self-heal-daemon", BEHIND),
}


class World:
    """A volume of a shape, with an instance's disk on it."""

    def __init__(self, cluster: Cluster, shape: Shape) -> None:
        self.cluster, self.shape = cluster, shape
        self.image = ""

    def gluster(self, *words: str) -> str:
        argv = ("gluster", "--mode=script", "volume", *words)
        return self.cluster.run(*argv, max_seconds=120).stdout

    def make(self) -> None:
        bricks = ["%s:%s" % (node, BRICK) for node in self.cluster.nodes[:3]]
        self.gluster("create", VOLUME, *self.shape.words, *bricks, "force")
        for option, value in (
            ("features.shard", "on"),
            ("client.strict-locks", "on"),
            ("network.remote-dio", "disable"),
            ("performance.strict-o-direct", "on"),
            ("network.ping-timeout", "20"),
        ):
            self.gluster("set", VOLUME, option, value)
        self.gluster("start", VOLUME)
        self.cluster.testbed.wait_volume(VOLUME)
        self.cluster.run("gnt-cluster", "modify", "-D", "gluster:volume=%s" % VOLUME)
        self.cluster.add(NAME, start=False, disks=("size=96M",))
        self.image = self.cluster.image(NAME)
        self.cluster.run("gnt-instance", "deactivate-disks", NAME)
        self.write("o")

    def write(self, byte: str) -> None:
        argv = ("/usr/bin/python3", "-P", "-c", WRITE, self.image, byte, str(SIZE >> 20))
        self.cluster.run(*argv, max_seconds=120)

    def content(self) -> str:
        return tell(self.cluster, self.image, volume=VOLUME)

    def fall_behind(self) -> None:
        """The brick of node1 is away while the guest writes, and is not healed after that."""
        self.gluster("set", VOLUME, self.shape.daemon, "off")
        self.cluster.run("pkill", "-KILL", "-f", "glusterfsd.*vols/%s/" % VOLUME)
        self.write("n")
        self.gluster("start", VOLUME, "force")
        self.cluster.testbed.wait_volume(VOLUME)

    def bricks(self) -> str:
        """What the pool is made of."""
        lines = [line for line in self.gluster("info").splitlines() if line.startswith("Brick")]
        members = self.cluster.run("gluster", "pool", "list").stdout.splitlines()
        return "\n".join([*lines, *(line.split()[1] for line in members)])

    def heal(self) -> None:
        self.gluster("set", VOLUME, self.shape.daemon, "on")
        argv = ["gluster", "--mode=script", "volume", "heal", VOLUME]
        wait_for(
            lambda: self.cluster.testbed.exec("node1", argv, timeout=60).exit_code == 0,
            HEAL,
            "the self-heal daemons run",
        )
        wait_for(self.is_whole, HEAL, "all is healed")

    def is_whole(self) -> bool:
        said = self.gluster("heal", VOLUME, "info").splitlines()
        return [x.split()[-1] for x in said if x.startswith("Number of")] == ["0"] * 3


@pytest.fixture(scope="module")
def four() -> Iterator[Cluster]:
    """A cluster of four nodes, one of which has no brick; the testbed itself if it has four."""
    main = Testbed()
    enough = len(main.nodes) > 3
    testbed = main if enough else Testbed("%s-c" % main.layout.name[:18])
    if not enough:
        testbed.up(nodes=4, suite=main.suite)
    try:
        yield Cluster(testbed)
    finally:
        if enough:
            afresh(Cluster(testbed))
        else:
            testbed.down()


def afresh(cluster: Cluster) -> None:
    """Nodes as those of any other test."""
    cluster.testbed.reset()
    cluster.testbed.install([package()])
    prepare(cluster)


@pytest.fixture(params=SHAPES)
def world(four: Cluster, request: pytest.FixtureRequest) -> World:
    afresh(four)
    found = World(four, SHAPES[request.param])
    found.make()
    return found


def refused(world: World, *words: str) -> str:
    """What a command of the pool says that does nothing."""
    before = world.bricks()
    argv = ("gnt-gluster", "pool", *words)
    done = world.cluster.run(*argv, fail=1, max_seconds=300)
    assert world.bricks() == before
    return done.stderr


def test_a_node_with_the_only_good_copy_is_not_replaced(world: World) -> None:
    cluster = world.cluster
    world.fall_behind()
    cluster.testbed.kill(OLD)

    for force in ((), ("--force",)):
        said = refused(world, "replace", "--yes", *force, OLD, NEW)
        assert "brick %s:%s is not moved: %s" % (OLD, BRICK, world.shape.reason) in said
        assert "start node %s, so that the others are healed from its brick" % OLD in said
    assert "does not answer" in refused(world, "evacuate", "--yes", "--to=%s" % NEW, OLD)

    cluster.testbed.boot(OLD)
    cluster.testbed.wait_volume(VOLUME)
    assert world.content() == "n %d" % SIZE
    world.heal()

    cluster.testbed.kill(OLD)
    argv = ("gnt-gluster", "pool", "replace", "--yes", OLD, NEW)
    cluster.run(*argv, max_seconds=600)
    assert "%s:%s" % (NEW, BRICK) in world.bricks()
    assert "%s:%s" % (OLD, BRICK) not in world.bricks()
    assert world.content() == "n %d" % SIZE
