"""What an administrator does to replace a node throws no image's only good copy away."""

from __future__ import annotations

import contextlib
import json
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
#: MiB of the image, and where its second piece begins.
SIZE, SECOND = 96, 64
#: What is on it once that piece was written while a brick was away.
WRITTEN = "no %d" % (SIZE << 20)
#: The node with the good copy, and the one that is to take its place.
OLD, NEW = "node2", "node4"
#: A brick's process; the expression does not match whoever looks for it.
PROCESS = "glusterfs[d].*vols/%s/" % VOLUME
#: Seconds for a heal of one image, and for bricks to come back.
HEAL = 300


# Writes one byte over and over to an image, as a guest does: path, byte, from which MiB to which;
# after a command, if there is one, that ends a brick.
WRITE = (
    """
import os, subprocess, sys
from ganeti_gluster.core.export.client import NbdConnection, Outage
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
path, byte, first, end = sys.argv[1], sys.argv[2].encode(), *map(int, sys.argv[3:5])
server = ImageServer(VolumeSpec.from_params({"host": "node1", "volume": "%s"}), path)
server.open(number=1, patience=900)
if sys.argv[5:]:
    subprocess.run(sys.argv[5:], check=True)
connection = NbdConnection(server.socket_path, Outage(900))
for number in range(first, end):
    connection.call(lambda handle: handle.pwrite(byte * (1 << 20), number << 20))
connection.call(lambda handle: handle.flush())
server.close(force=True)
os._exit(0)
"""
    % VOLUME
)


class Shape(NamedTuple):
    """A kind of volume: its words, how heals are switched, whether one brick has all data."""

    words: tuple[str, ...]
    daemon: str
    whole: bool


BEHIND = "the remaining bricks are not healed: node1:%s (" % BRICK
HEALS, EC_HEALS = "cluster.self-heal-daemon", "cluster.disperse-self-heal-daemon"
SHAPES = {
    "replica": Shape(("replica", "3"), HEALS, whole=True),
    "arbiter": Shape(("replica", "3", "arbiter", "1"), HEALS, whole=False),
    "disperse": Shape(("disperse", "3", "redundancy", "1"), EC_HEALS, whole=False),
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
        # Another volume would be moved as well, and healed.
        for word in ("stop", "delete"):
            self.gluster(word, "gv0")
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

    def write(self, byte: str, *between: str, first: int = 0) -> None:
        argv = ("/usr/bin/python3", "-P", "-c", WRITE, self.image, byte, str(first), str(SIZE))
        self.cluster.run(*argv, *between, max_seconds=120)

    def content(self) -> str:
        return tell(self.cluster, self.image, volume=VOLUME)

    def fall_behind(self) -> None:
        """The brick of node1 is away while the guest writes, and is not healed after that."""
        self.gluster("set", VOLUME, self.shape.daemon, "off")
        # Opening an image changes its first piece as well.
        self.write("n", "pkill", "-KILL", "-f", PROCESS, first=SECOND)
        self.gluster("start", VOLUME, "force")
        self.cluster.testbed.wait_volume(VOLUME)

    @contextlib.contextmanager
    def without_brick(self, node: str) -> Iterator[None]:
        """The brick of a node is dead in the block, and cannot be started."""
        self.cluster.run("pkill", "-KILL", "-f", PROCESS, node=node)
        self.cluster.run("mv", BRICK, BRICK + ".away", node=node)
        try:
            yield
        finally:
            self.cluster.run("mv", BRICK + ".away", BRICK, node=node)
            # The node is about to lose its power.
            self.cluster.run("sync", "--file-system", layout.BRICK_MOUNT, node=node)
            self.gluster("start", VOLUME, "force")
            self.cluster.testbed.wait_volume(VOLUME)

    def check_verify(self) -> None:
        """An image that no brick has whole is an error that names the instance, no backlog."""
        done = self.cluster.run("gnt-gluster", "verify", "--json", fail=1, max_seconds=200)
        rows = json.loads(done.stdout)
        found = {(row["severity"], row["code"], row["object"]) for row in rows}
        wanted = ("ERROR", "IMAGE_UNREADABLE", self.image)
        assert (wanted in found) != self.shape.whole, found
        assert self.shape.whole or "%s disk/0 cannot be read" % NAME in done.stdout

    def bricks(self) -> str:
        """What the pool is made of."""
        lines = [line for line in self.gluster("info").splitlines() if line.startswith("Brick")]
        members = self.cluster.run("gluster", "pool", "list").stdout.splitlines()
        return "\n".join([*lines, *(line.split()[1] for line in members)])

    def is_up(self) -> bool:
        """Whether each brick is online."""
        said = self.gluster("status", VOLUME)
        return OLD in said and " N " not in said

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
    stays = "brick %s:%s is not moved: %s" % (OLD, BRICK, BEHIND)
    with world.without_brick(OLD):
        assert stays in refused(world, "evacuate", "--yes", "--to=%s" % NEW, OLD)
        world.check_verify()
    cluster.testbed.kill(OLD)

    for force in ((), ("--force",)):
        said = refused(world, "replace", "--yes", *force, OLD, NEW)
        assert stays in said
        assert "start node %s, so that the others are healed from its brick" % OLD in said
    assert "does not answer" in refused(world, "evacuate", "--yes", "--to=%s" % NEW, OLD)
    world.check_verify()

    cluster.testbed.boot(OLD)
    wait_for(world.is_up, HEAL, "all bricks are back")
    assert world.content() == WRITTEN
    # A node that answers is healed from before it goes, whatever it is replaced for.
    world.gluster("set", VOLUME, world.shape.daemon, "on")
    replace(world, OLD, NEW, "--force")
    assert world.content() == WRITTEN

    wait_for(world.is_whole, HEAL, "all is healed")
    cluster.testbed.kill(NEW)
    cluster.run("rm", "-r", BRICK, node=OLD)
    replace(world, NEW, OLD)
    assert world.content() == WRITTEN


def replace(world: World, old: str, new: str, *options: str) -> None:
    """Put a node in the place of another."""
    argv = ("gnt-gluster", "pool", "replace", "--yes", *options, old, new)
    world.cluster.run(*argv, max_seconds=600)
    assert "%s:%s" % (new, BRICK) in world.bricks()
    assert "%s:%s" % (old, BRICK) not in world.bricks()
