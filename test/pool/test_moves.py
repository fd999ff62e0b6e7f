"""Which node takes a brick, and when a brick may be given up."""

from __future__ import annotations

import dataclasses

import pytest

from ganeti_gluster.gluster_cli import BrickStatus, Peer, VolumeBrick, VolumeInfo, VolumeStatus
from ganeti_gluster.gluster_cli.heal import BrickHeal
from ganeti_gluster.pool import extend, held, moves
from ganeti_gluster.pool.members import CONNECTED, DISCONNECTED, OUTSIDE, Pool
from ganeti_gluster.pool.moves import MoveRefused

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
    addresses = {node: "192.0.2.1%s" % node[-1] for node in NODES}
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


def choose(found, shape, one, *, candidates, hosts=NODES):
    return moves.choose(found, shape, one, candidates=candidates, hosts=hosts)


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
    assert moves.free_path(found, "node4", DIRECTORY, "gv0") == "/srv/b/gv0"
    assert moves.free_path(found, "node1", DIRECTORY, "gv0") == "/srv/b/gv0-2"


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
        (Stub(), dataclasses.replace(THREE, replica=1), "volume gv0 has no copies: what is on"),
        (Stub(), dataclasses.replace(THREE, state="Stopped"), "volume gv0 is not started"),
    ],
)
def test_when_a_brick_may_be_given_up(gluster, shape, reason):
    found = moves.obstacle(gluster, shape, shape.bricks[2])
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


class Healing:
    """A gluster whose backlog shrinks, and a crew that counts files."""

    def __init__(self, backlog, files):
        self.backlog, self.files = list(backlog), list(files)
        self.started = []
        self.asked = []

    def gluster(self, node):
        return self

    def ask(self, *words):
        self.asked.append(" ".join(words))

    def start_heal(self, name, *, full=False):
        self.started.append(full)
        return ""

    def heal_counts(self, name, *, timeout):
        count = self.backlog.pop(0) if len(self.backlog) > 1 else self.backlog[0]
        return [BrickHeal("b", True, "Connected", count, count, 0, 0)]

    def volume(self, name):
        return THREE

    def one(self, node, verb, **arguments):
        if node != "node3":
            return {"files": 7}
        return {"files": self.files.pop(0) if len(self.files) > 1 else self.files[0]}


def heal(monkeypatch, stub):
    monkeypatch.setattr(moves, "HEAL_PAUSE", 0)
    said = []
    mover = moves.Mover(stub, pool(THREE), NODES, said.append)
    mover.heal("gv0", "node3", DIRECTORY + "/gv0")
    return said


def test_a_heal_is_waited_for_with_progress(monkeypatch):
    stub = Healing([5, 2, 0], [7])
    assert heal(monkeypatch, stub) == [
        "  5 entries to heal",
        "  2 entries to heal",
        "  0 entries to heal, 7 of 7 files there",
    ]
    assert stub.started == [False]


def test_what_the_heal_passed_over_is_healed_again(monkeypatch):
    stub = Healing([1, 2] * 6 + [0], [7])
    heal(monkeypatch, stub)
    assert stub.started == [False, False, False]
    assert stub.asked == []


def test_writers_that_keep_a_heal_up_let_go_of_their_locks(monkeypatch):
    stub = Healing([1] * 5 + [0], [7])
    assert "  writers keep no locks meanwhile: cluster.post-op-delay-secs is 0" in heal(
        monkeypatch, stub
    )
    assert stub.started == [False, False]
    assert stub.asked == [
        "volume set gv0 cluster.post-op-delay-secs 0",
        "volume reset gv0 cluster.post-op-delay-secs",
    ]


@pytest.mark.parametrize(
    ("shape", "backlog", "asked"),
    [
        (dataclasses.replace(THREE, replica=1, disperse=3), [1] * 5 + [0], []),
        # left by a command that was killed
        (
            dataclasses.replace(THREE, options={held.OPTION: "0"}),
            [0],
            ["volume reset gv0 cluster.post-op-delay-secs"],
        ),
        (
            dataclasses.replace(THREE, options={held.OPTION: "3"}),
            [1] * 5 + [0],
            [
                "volume set gv0 cluster.post-op-delay-secs 0",
                "volume set gv0 cluster.post-op-delay-secs 3",
            ],
        ),
    ],
)
def test_the_option_is_afterwards_as_it_was(monkeypatch, shape, backlog, asked):
    stub = Healing(backlog, [7])
    stub.volume = lambda name: shape
    heal(monkeypatch, stub)
    assert stub.asked == asked


def test_no_backlog_is_no_proof_while_files_are_missing(monkeypatch):
    stub = Healing([0], [0] * moves.LOOKS_BEFORE_FULL + [7])
    said = heal(monkeypatch, stub)
    assert said[0] == "  0 entries to heal, 0 of 7 files there"
    assert said[-1] == "  0 entries to heal, 7 of 7 files there"
    assert True in stub.started
