"""Which node takes a brick, and when a brick may be given up."""

from __future__ import annotations

import dataclasses

import pytest

from ganeti_gluster.core.pool import brick_moves, extend
from ganeti_gluster.core.pool.brick_moves import MoveRefused
from ganeti_gluster.core.pool.members import CONNECTED, DISCONNECTED, OUTSIDE, Pool
from ganeti_gluster.tools.gluster_cli import (
    BrickStatus,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.tools.gluster_cli.heal import BrickHeal

NODES = ["node%d" % number for number in range(1, 7)]
DIRECTORY = "/srv/b"


def brick(node, *, arbiter=False, path=DIRECTORY + "/gv0"):
    return VolumeBrick(node, path, "uuid-" + node, arbiter)


def volume(*bricks, replica=3, arbiter=0):
    return VolumeInfo(
        "gv0", "v", "Started", "Replicate", replica, arbiter, 0, 0, tuple(bricks), {}
    )


THREE = volume(brick("node1"), brick("node2"), brick("node3"))
ARBITER = volume(brick("node1"), brick("node2"), brick("node3", arbiter=True), arbiter=1)


def pool(*volumes, down=()):
    """node1 to node5 are members, node1 by its address; node6 is none."""
    peers = [
        Peer("uuid-" + node, (node,), node not in down, 3, "Peer in Cluster")
        for node in NODES[1:5]
    ]
    addresses = {node: ("192.0.2.1%s" % node[-1],) for node in NODES}
    return Pool("node1", "uuid-node1", tuple(peers), volumes, addresses)


def test_how_members_are_seen():
    found = pool(THREE, down=["node3"])
    assert [found.state(node) for node in ("node1", "node2", "node3", "node6")] == [
        CONNECTED,
        CONNECTED,
        DISCONNECTED,
        OUTSIDE,
    ]
    assert found.without_brick(THREE, NODES) == ["node4", "node5"]
    assert [str(one) for _, one in found.bricks_on("node3")] == ["node3:/srv/b/gv0"]
    assert found.bricks_on("node6") == []


def test_a_member_is_found_by_its_address():
    peer = Peer("uuid-x", ("192.0.2.12",), True, 3, "Peer in Cluster")
    found = dataclasses.replace(pool(THREE), peers=(peer,))
    assert found.uuid("node2") == "uuid-x"


def test_a_member_is_found_by_the_uuid_that_its_node_has_told():
    peers = (Peer("uuid-x", ("node2-gl",), True, 3, "Peer in Cluster"),)
    unknown = dataclasses.replace(pool(THREE), peers=peers)
    assert unknown.uuid("node2") == ""
    told = dataclasses.replace(unknown, told={"node2": "uuid-x"})
    assert told.uuid("node2") == "uuid-x" and told.state("node2") == "connected"


def choose(found, shape, one, *, candidates, hosts=NODES):
    return brick_moves.choose(found, shape, one, candidates=candidates, hosts=hosts)


def test_a_spare_takes_a_brick():
    assert choose(pool(THREE), THREE, THREE.bricks[2], candidates=["node5"]) == "node5"


@pytest.mark.parametrize("candidates", [[], ["node1"]])
def test_no_node_takes_two_bricks_of_a_set(candidates):
    with pytest.raises(MoveRefused, match="no spare node can take the brick node3:/srv/b/gv0 of "):
        choose(pool(THREE), THREE, THREE.bricks[2], candidates=candidates, hosts=NODES[:3])


def test_an_arbiter_goes_to_any_member_outside_its_set():
    arbiter = ARBITER.bricks[2]
    assert choose(pool(ARBITER), ARBITER, arbiter, candidates=[]) == "node4"
    with pytest.raises(MoveRefused):
        choose(pool(ARBITER), ARBITER, ARBITER.bricks[0], candidates=[])


def test_a_second_brick_of_a_node_has_a_path_of_its_own():
    found = pool(THREE)
    assert brick_moves.free_path(found, "node4", DIRECTORY, "gv0") == "/srv/b/gv0"
    assert brick_moves.free_path(found, "node1", DIRECTORY, "gv0") == "/srv/b/gv0-2"


class Stub:
    """A gluster of which some bricks are down, or some entries in split-brain."""

    def __init__(self, *down, split=0):
        self.down, self.split = down, split

    def status(self, name):
        return VolumeStatus(
            name,
            tuple(
                BrickStatus(node, DIRECTORY + "/gv0", "uuid-" + node, node not in self.down, 1, 1)
                for node in NODES
            ),
            (),
        )

    def heal_counts(self, name, *, timeout):
        return [BrickHeal("b", True, "Connected", self.split, 0, self.split, 0)]


@pytest.mark.parametrize(
    ("gluster", "shape", "reason"),
    [
        (Stub(), THREE, ""),
        (Stub("node3"), THREE, ""),
        (Stub("node2", "node3"), THREE, "other bricks of its set are not online: node2:/srv"),
        (Stub(split=2), THREE, "volume gv0 has 2 entries in split-brain"),
        (Stub(), dataclasses.replace(THREE, replica=1), "volume gv0 is not replicated: "),
        (Stub(), dataclasses.replace(THREE, state="Stopped"), "volume gv0 is not started"),
    ],
)
def test_when_a_brick_may_be_given_up(gluster, shape, reason):
    found = brick_moves.obstacle(gluster, shape, shape.bricks[2])
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("shape", "spares", "bricks"),
    [
        (THREE, ["node4", "node5"], []),
        (THREE, ["node4", "node5", "node6"], ["node4", "node5", "node6"]),
        (ARBITER, ["node4"], []),
        # the arbiter goes to a node without one
        (ARBITER, ["node4", "node5"], ["node4", "node5", "node1"]),
    ],
)
def test_a_further_set(shape, spares, bricks):
    found = extend.next_set(pool(shape), shape, spares=spares, nodes=NODES, directory=DIRECTORY)
    assert [one.partition(":")[0] for one in found] == bricks
    assert len(set(found)) == len(bricks)
