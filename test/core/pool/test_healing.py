"""How a heal is waited for, and what is done where it comes to a stand."""

from __future__ import annotations

import dataclasses

import pytest

from ganeti_gluster.core.pool import brick_moves, healing, post_op_delay, reopen
from ganeti_gluster.core.pool.healing import HealStuck
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import Peer, VolumeBrick, VolumeInfo
from ganeti_gluster.tools.gluster_cli.heal import BrickHeal

NODES = ["node1", "node2", "node3"]
PATH = "/srv/b/gv0"


def volume(**fields):
    bricks = tuple(VolumeBrick(node, PATH, "uuid-" + node, False) for node in NODES)
    what = {"options": {"features.shard": "on"}, "replica": 3, **fields}
    return VolumeInfo(
        name="gv0", uuid="v", state="Started", kind="Replicate", arbiter=0, disperse=0,
        redundancy=0, bricks=bricks, **what,
    )  # fmt: skip


def peers():
    return [Peer("uuid-" + node, (node,), True, 3, "Peer in Cluster") for node in NODES[1:]]


class Healing:
    """A gluster whose backlog shrinks, and agents that count files.

    Each look takes `look_seconds` on the clock of the test.
    """

    def __init__(self, backlog, files=(7,), *, shape=None, healing=0):
        self.backlog, self.files = list(backlog), list(files)
        self.shape = shape or volume()
        self.healing = healing
        self.started = []
        self.asked = []
        self.ended = []
        self.hangs = False
        self.now, self.look_seconds = 0.0, 0.0

    def gluster(self, node):
        return self

    def ask(self, *words):
        self.asked.append(" ".join(words))

    def own_uuid(self):
        return "uuid-node1"

    def peers(self):
        return peers()

    def volumes(self):
        return [self.shape]

    def volume(self, name):
        return self.shape

    def start_heal(self, name, *, full=False):
        if self.hangs:
            raise CommandFailed(["gluster"], "did not end within 130 s")
        self.started.append(full)
        return ""

    def heal_counts(self, name, *, timeout):
        self.now += self.look_seconds
        count = self.backlog.pop(0) if len(self.backlog) > 1 else self.backlog[0]
        return [BrickHeal("b", True, "Connected", count, count, 0, self.healing)]

    def one(self, node, verb, **arguments):
        if node != "node3":
            return {"files": 7}
        return {"files": self.files.pop(0) if len(self.files) > 1 else self.files[0]}

    def try_all(self, verb, arguments):
        assert verb == "end-self-heal"
        self.ended.append(sorted(arguments))
        return {node: int(node != "node2") for node in arguments}, {}


#: What opens again what is open.
OPENED = "  opening the files in use on node3:/srv/b/gv0 as well"
DONE = "  0 entries to heal, 7 of 7 files present"
LET_GO = "  writers release their locks in the meantime: cluster.post-op-delay-secs is 0"
TOGGLED = ("volume set gv0 %s off" % reopen.OPTION, "volume reset gv0 %s" % reopen.OPTION)


def heal(monkeypatch, stub, *, node="node3"):
    """Wait for the heal of node3's brick; what was said."""
    monkeypatch.setattr(healing, "HEAL_PAUSE", 0)
    monkeypatch.setattr(post_op_delay, "SWITCH_SECONDS", 0)
    monkeypatch.setattr(healing.time, "monotonic", lambda: stub.now)
    said = []
    pool = Pool("node1", "uuid-node1", tuple(peers()), (stub.shape,), {})
    waiting = brick_moves.BrickMover(stub, pool, NODES, said.append)
    try:
        waiting.heal("gv0", node, PATH if node else "")
    except HealStuck as err:
        said.append(str(err))
    return said


def test_a_heal_is_waited_for_with_progress(monkeypatch):
    stub = Healing([5, 2, 0])
    assert heal(monkeypatch, stub, node="") == [
        "  5 entries to heal",
        "  2 entries to heal",
        "  0 entries to heal",
    ]
    assert stub.started == [False]
    assert stub.asked == []


def test_what_is_open_is_opened_on_a_brick_when_it_is_filled(monkeypatch):
    stub = Healing([5, 0, 0, 1, 0], [3, 7])
    assert heal(monkeypatch, stub) == [
        "  5 entries to heal",
        "  0 entries to heal, 3 of 7 files present",
        "  0 entries to heal, 7 of 7 files present",
        OPENED,
        LET_GO,
        "  1 entries to heal",
        "  0 entries to heal, 7 of 7 files present",
    ]
    assert stub.asked == [
        "volume set gv0 cluster.post-op-delay-secs 0",
        *TOGGLED,
        "volume reset gv0 cluster.post-op-delay-secs",
    ]


def test_a_file_that_is_not_open_on_a_brick_keeps_no_heal_up(monkeypatch):
    stub = Healing([1] * 6 + [0])
    said = heal(monkeypatch, stub)
    assert said == [
        "  1 entries to heal",
        LET_GO,
        OPENED,
        "  0 entries to heal, 7 of 7 files present",
    ]
    stub = Healing([1] * 9 + [0], [3] * 3 + [7])
    assert OPENED in heal(monkeypatch, stub)


def test_what_the_heal_passed_over_is_healed_again(monkeypatch):
    stub = Healing([1, 2] * 6 + [0])
    heal(monkeypatch, stub, node="")
    assert stub.started == [False, False, False]
    assert stub.asked == []


def test_writers_that_keep_a_heal_up_let_go_of_their_locks(monkeypatch):
    stub = Healing([1] * 5 + [0])
    assert LET_GO in heal(monkeypatch, stub, node="")
    assert stub.started == [False, False]
    assert stub.asked == [
        "volume set gv0 cluster.post-op-delay-secs 0",
        "volume reset gv0 cluster.post-op-delay-secs",
    ]


@pytest.mark.parametrize(
    ("shape", "backlog", "asked"),
    [
        (volume(replica=1), [1] * 5 + [0], []),
        # left by a command that was killed
        (
            volume(options={post_op_delay.OPTION: "0"}),
            [0],
            ["volume reset gv0 cluster.post-op-delay-secs"],
        ),
        (
            volume(options={post_op_delay.OPTION: "3"}),
            [1] * 5 + [0],
            [
                "volume set gv0 cluster.post-op-delay-secs 0",
                "volume set gv0 cluster.post-op-delay-secs 3",
            ],
        ),
    ],
)
def test_the_option_is_afterwards_as_it_was(monkeypatch, shape, backlog, asked):
    if shape.replica == 1:
        shape = dataclasses.replace(shape, disperse=3)
    stub = Healing(backlog, shape=shape)
    heal(monkeypatch, stub, node="")
    assert stub.asked == asked


def test_no_backlog_is_no_proof_while_files_are_missing(monkeypatch):
    stub = Healing([0], [0] * healing.LOOKS_BEFORE_FULL + [7])
    said = heal(monkeypatch, stub)
    assert said[0] == "  0 entries to heal, 0 of 7 files present"
    assert DONE in said
    assert True in stub.started


@pytest.mark.parametrize("hangs", [False, True])
def test_self_heal_daemons_that_heal_nothing_are_started_anew(monkeypatch, hangs):
    stub = Healing([4] * 8 + [0])
    stub.look_seconds, stub.hangs = 10, hangs
    said = heal(monkeypatch, stub)
    assert "  no progress for 60 s: restarting the self-heal daemons" in said
    assert "  stopped: node1, node3" in said
    assert ("  gluster: did not end within 130 s" in said) == hangs
    assert stub.ended == [NODES]
    assert "volume start gv0 force" in stub.asked
    assert DONE in said


@pytest.mark.parametrize(
    ("backlog", "files", "line"),
    [
        ([4], [7], "4 entries to heal"),
        ([4, 5], [7], "5 entries to heal"),
        ([None], [7], "? entries to heal, not answering: b"),
        ([0], [3], "0 entries to heal, 3 of 7 files present"),
    ],
)
def test_a_heal_that_comes_to_nothing_is_given_up(monkeypatch, backlog, files, line):
    stub = Healing(backlog * 40, files)
    stub.look_seconds = 20
    said = heal(monkeypatch, stub)
    assert len(stub.ended) == len(healing.RESTART_AFTER)
    assert said[-1] == (
        "no progress for 600 s, although the self-heal daemons were restarted: %s;"
        " `gluster volume "
        "heal gv0 info` lists them, `gluster volume status gv0` shows what is not running" % line
    )


def test_progress_that_is_slow_is_waited_for(monkeypatch):
    stub = Healing([count for left in range(30, 0, -1) for count in (left, left, left)] + [0])
    stub.look_seconds = 19
    assert DONE in heal(monkeypatch, stub)
    assert stub.ended == []


def test_whole_images_that_are_being_healed_are_waited_for(monkeypatch):
    for shape, restarts in ((volume(options={}), 0), (volume(), 2)):
        stub = Healing([1] * 30 + [0], shape=shape, healing=1)
        stub.look_seconds = 20
        heal(monkeypatch, stub)
        assert len(stub.ended) == restarts


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ({}, ["volume set gv0 %s off", "volume reset gv0 %s"]),
        ({reopen.OPTION: "on"}, ["volume set gv0 %s off", "volume set gv0 %s on"]),
        ({reopen.OPTION: "disable"}, ["volume set gv0 %s on", "volume set gv0 %s disable"]),
    ],
)
def test_the_translator_is_afterwards_as_it_was(monkeypatch, before, asked):
    stub = Healing([0], shape=volume(options=before))
    heal(monkeypatch, stub)
    assert stub.asked == [
        "volume set gv0 cluster.post-op-delay-secs 0",
        *(words % reopen.OPTION for words in asked),
        "volume reset gv0 cluster.post-op-delay-secs",
    ]
