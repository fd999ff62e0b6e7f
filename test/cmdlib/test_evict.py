"""From which node an image is to be taken."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ganeti_gluster.cmdlib import evict
from ganeti_gluster.cmdlib.evict import BrickHost, EvictedNode, NotEvicted
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import LockHolder, node_number, work_number
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.tools.command import CommandFailed, CommandResult

SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007),))
NODES = ["node1", "node2"]
NODE1, NODE2 = map(node_number, NODES)


@pytest.mark.parametrize(
    ("word", "lock", "expected"),
    [
        (("", 0), None, 0),
        (("5fe0", NODE1), None, NODE1),
        (("5fe0", NODE1), LockHolder(NODE1, EXCLUSIVE), NODE1),
        (("evicted-5fe0", 0), None, 0),
        (("", 0), LockHolder(work_number("node2"), SHARED), NODE2),
        # who works on it now, whoever had it before
        (("5fe0", NODE1), LockHolder(work_number("node2"), EXCLUSIVE), NODE2),
    ],
)
def test_whose_an_image_is(
    monkeypatch: pytest.MonkeyPatch, word: tuple[str, int], lock: LockHolder | None, expected: int
) -> None:
    @contextlib.contextmanager
    def connect(spec: Any) -> Iterator[str]:
        yield "volume"

    monkeypatch.setattr(evict, "connect", connect)
    monkeypatch.setattr(evict, "word_of", lambda volume, path: word)
    monkeypatch.setattr(evict, "holder_of", lambda volume, path: lock)
    assert evict.last_holder(SPEC, "ganeti/x.0", NODES) == expected


# -- taking it ---------------------------------------------------------------


class Bricks:
    """The bricks of a volume on node1 and node2, of which node2 has an image open.

    The lock is given once connections were ended `rounds` times.
    """

    def __init__(self) -> None:
        self.rounds = 1
        self.error: OSError | None = None
        self.argvs: list[tuple[str, list[str]]] = []
        self.exit_code = 0
        self.silent = ""
        self.words: list[bytes] = []
        self.let_go = 0
        self._free = threading.Event()

    # the volume and the file
    @contextlib.contextmanager
    def connect(self, spec: Any) -> Iterator[Any]:
        yield self

    def open(self, path: str, *, write: bool) -> Any:
        return self

    def set_lock_owner(self, owner: bytes) -> None:
        pass

    def lock(self, kind: int, *, wait: bool = False, pid: int = 0) -> None:
        if not wait:  # for an unlock
            return
        self._free.wait(5)
        if self.error:
            raise self.error

    def abandon(self) -> None:
        pass

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        self.words.append(value)

    def give_back(self, file: object) -> None:
        self.let_go += 1

    # the nodes
    def channel(self, node: str, argv: Sequence[str], *, timeout: float) -> CommandResult:
        self.argvs.append((node, list(argv)))
        if node == self.silent:
            raise CommandFailed(argv, "SSH does not reach it")
        if len(self.argvs) >= self.rounds:
            self._free.set()
        return CommandResult(tuple(argv), self.exit_code, "", "no permission\n" * self.exit_code)


HOSTS = [BrickHost("node1", "node1", (49152, 49153))]
OUTSIDE = [*HOSTS, BrickHost("storage9", "", (49152,))]
NODE = EvictedNode("node2", ("192.0.2.2", "2001:db8::2"))


@pytest.fixture
def bricks(monkeypatch: pytest.MonkeyPatch) -> Bricks:
    found = Bricks()
    monkeypatch.setattr(evict, "connect", found.connect)
    monkeypatch.setattr(evict, "let_go", found.give_back)
    monkeypatch.setattr(evict, "_ROUND_SECONDS", 0.05)
    return found


def take(bricks: Bricks, holder: EvictedNode = NODE, hosts: Any = HOSTS, **named: Any) -> None:
    evict.evict(SPEC, "ganeti/x.0", holder, hosts, bricks.channel, **named)


def test_connections_are_ended_where_the_bricks_are(bricks: Bricks) -> None:
    take(bricks)
    assert bricks.argvs[0] == (
        "node1",
        [
            "ss",
            "--kill",
            "--tcp",
            "--no-header",
            "state",
            "established",
            "(",
            "dst",
            "192.0.2.2",
            "or",
            "dst",
            "[2001:db8::2]",
            ")",
            "and",
            "(",
            "sport",
            "=",
            ":49152",
            "or",
            "sport",
            "=",
            ":49153",
            ")",
        ],
    )
    assert [word.startswith(b"evicted-") for word in bricks.words] == [True]
    assert bricks.let_go == 1


def test_they_are_ended_again_until_the_lock_is_there(bricks: Bricks) -> None:
    bricks.rounds = 3
    take(bricks)
    assert len(bricks.argvs) >= 3
    assert len(bricks.words) == 1


def test_a_lock_that_does_not_come_leaves_the_image_as_it_was(bricks: Bricks) -> None:
    bricks.rounds = 10**6
    with pytest.raises(NotEvicted, match="the bricks still hold the lock on image ganeti"):
        take(bricks, seconds=0)
    assert bricks.words == []


def test_a_lock_that_never_will_be_there_is_not_waited_for(bricks: Bricks) -> None:
    bricks.error = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    with pytest.raises(NotEvicted, match="the lock cannot be taken: Transport endpoint is not"):
        take(bricks)
    assert bricks.words == []


@pytest.mark.parametrize(
    ("silent", "exit_code", "said"),
    [
        ("node1", 0, "cannot close the connections to the bricks on node1: ss --kill --tcp"),
        ("", 1, "cannot close the connections to the bricks on node1: no permission; its bricks"),
    ],
)
def test_a_host_of_bricks_that_cannot_be_told(
    bricks: Bricks, silent: str, exit_code: int, said: str
) -> None:
    bricks.silent, bricks.exit_code = silent, exit_code
    with pytest.raises(NotEvicted) as failure:
        take(bricks)
    assert str(failure.value).startswith(said)
    assert bricks.words == []


def test_where_bricks_are_on_other_hosts_the_server_is_killed(bricks: Bricks) -> None:
    bricks.rounds = 2
    take(bricks, hosts=OUTSIDE)
    (killed, *_), (ended, *_) = bricks.argvs[:2]
    assert (killed, ended) == ("node2", "node1")
    assert "kill" in bricks.argvs[0][1] and "--signal=KILL" in bricks.argvs[0][1]


def test_and_where_that_is_not_possible_either_nothing_is_done(bricks: Bricks) -> None:
    bricks.silent = "node2"
    said = r"some bricks are on hosts outside the cluster \(storage9\), and node node2 cannot be"
    with pytest.raises(NotEvicted, match=said):
        take(bricks, hosts=OUTSIDE)
    assert bricks.words == []


def test_this_node_s_own_connections_are_left(bricks: Bricks) -> None:
    take(bricks, holder=EvictedNode("node1", ("192.0.2.1",), here=True))
    assert all("--signal=KILL" in argv for _, argv in bricks.argvs)
    bricks.exit_code = 1
    with pytest.raises(NotEvicted, match="cannot stop the image server on this node: no perm"):
        take(bricks, holder=EvictedNode("node1", ("192.0.2.1",), here=True))
