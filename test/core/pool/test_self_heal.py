"""A self-heal daemon's connections, and its restart where it has lost a brick for good."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ganeti_gluster.core.pool import heal_watch, self_heal
from ganeti_gluster.core.pool.heal_watch import Repair, Watch
from ganeti_gluster.tools import tcp
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gluster_cli import (
    BrickStatus,
    Gluster,
    GlusterFailed,
    VolumeBrick,
    VolumeInfo,
)

DATA = Path(__file__).parents[2] / "tools" / "gluster_cli" / "data" / "11.1"
BUSY = "<cliOutput><opRet>-1</opRet><opErrstr>Locking failed</opErrstr></cliOutput>"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"
LINE = "   0: 0C0200C0:BFFF %s %s 0:0 0:0 0 0 0 %s 1 0\n"


def brick(number: int, port: int | None, *, online: bool = True) -> BrickStatus:
    return BrickStatus("node%d" % number, "/b", "uuid-node%d" % number, online, port, 1)


def volume(name: str = "gv0", **values: object) -> VolumeInfo:
    bricks = tuple(VolumeBrick("node%d" % i, "/b", "uuid-node%d" % i) for i in (1, 2, 3))
    info = VolumeInfo(name, "u", "Started", "Replicate", 3, 0, 0, 0, bricks, {})
    return dataclasses.replace(info, **values)


def test_the_daemon_is_found_by_glusterds_file_and_its_ports_by_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids, proc, table = tmp_path / "shd", tmp_path / "proc", tmp_path / "tcp"
    (pids / "gv0").mkdir(parents=True)

    def ports() -> tuple[int, ...] | None:
        connections = tcp.established([table, tmp_path / "none"])
        return self_heal.ports(connections, pids=pids, proc=proc)

    assert ports() is None
    (pids / "gv0" / "gv0-shd.pid").write_text("%d\n" % os.getpid())
    assert ports() is None  # another process has its number
    daemon = [b"/usr/sbin/glusterfs", b"--process-name", b"glustershd"]
    monkeypatch.setattr(self_heal, "command_line", lambda pid: daemon)
    descriptors = proc / str(os.getpid()) / "fd"
    descriptors.mkdir(parents=True)
    for number, target in enumerate(["socket:[11]", "socket:[12]", "socket:[13]", "/dev/null"]):
        (descriptors / str(number)).symlink_to(target)
    table.write_text(
        HEAD
        + LINE % ("0C0200C0:D9F6", "01", 11)
        + LINE % ("0100007F:5DC7", "01", 12)  # to glusterd
        + LINE % ("0B0200C0:D9F7", "02", 13)  # not up yet
        + LINE % ("0B0200C0:D9F8", "01", 14)  # another process's
    )
    assert ports() == (0xD9F6,)


def test_a_brick_lacks_a_connection_if_nothing_is_connected_to_its_port() -> None:
    bricks = [brick(1, 50001), brick(2, 50002), brick(3, None, online=False)]
    assert self_heal.lacking(bricks, [50001, 50002]) == []
    assert self_heal.lacking(bricks, [50001, 50009]) == [bricks[1]]
    same = [brick(1, 50001), brick(2, 50001)]
    assert self_heal.lacking(same, [50001]) == [same[1]]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 3),
        ({"state": "Stopped"}, 0),
        ({"replica": 1}, 0),
        ({"options": {"cluster.self-heal-daemon": "disable"}}, 0),
        ({"replica": 1, "disperse": 3, "redundancy": 1}, 3),
    ],
)
def test_the_connections_of_a_volume(values: dict[str, object], count: int) -> None:
    assert self_heal.expected([volume(**values)], "uuid-node1", ()) == count


def test_no_connection_is_expected_to_servers_that_are_away_nor_without_a_brick_here() -> None:
    assert self_heal.expected([volume()], "uuid-node1", {"uuid-node2"}) == 2
    assert self_heal.expected([volume()], "uuid-node4", ()) == 0


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "self-heal.json")


def test_what_lacks_is_noted_since_when_and_there_is_no_file_otherwise(state: str) -> None:
    heal_watch.note(False, now=10, path=state)
    assert os.listdir(os.path.dirname(state)) == []
    heal_watch.note(True, now=10, path=state)
    heal_watch.note(True, now=70, path=state)
    assert heal_watch.load(state) == Watch(since=10)
    heal_watch.note(True, now=5, path=state)  # the clock was ahead
    assert heal_watch.load(state) == Watch(since=5)
    heal_watch.note(False, now=80, path=state)
    assert not os.path.exists(state)


@pytest.mark.parametrize(
    ("watch", "due"),
    [
        (Watch(), False),
        (Watch(since=9_950), False),
        (Watch(since=9_880), True),
        (Watch(since=20_000), False),
        (Watch(restarts=(9_000,)), False),
        (Watch(since=9_500, restarts=(9_450,)), False),
        (Watch(since=9_500, restarts=(9_400,)), True),
        (Watch(since=9_500, restarts=(5_000, 9_000)), False),
        (Watch(since=9_500, restarts=(5_000, 8_800)), True),
        (Watch(since=9_500, restarts=(20_000,)), True),
        (Watch(ended=True, restarts=(9_990,)), True),
    ],
)
def test_it_is_restarted_after_two_minutes_and_less_and_less_often(
    watch: Watch, due: bool
) -> None:
    assert watch.due(10_000) is due


def test_the_longest_pause_is_some_hours() -> None:
    assert Watch(since=0, restarts=tuple(range(12))).due(heal_watch.LONGEST_PAUSE + 12)


class Pool:
    """A glusterd, and the daemon that it starts."""

    def __init__(self, *, down: bool = False, refuses: str = "") -> None:
        self.asked: list[str] = []
        self.ended = 0
        self.refuses = refuses
        self.status = (DATA / "volume-status.xml").read_text()
        if down:
            self.status = re.sub("<status>1</status>", "<status>0</status>", self.status, count=1)
        #: The ports of the bricks that are up.
        self.all = tuple(map(int, re.findall(r"<port>(\d+)</port>", self.status)))
        self.ports: tuple[int, ...] | None = self.all

    def execute(self, argv: Sequence[str], timeout: float) -> CommandResult:
        words = argv[3:]
        self.asked.append(" ".join(words))
        if words[1] == "start":
            text = self.refuses or "<cliOutput><opRet>0</opRet></cliOutput>"
        elif words[1] == "status":
            text = self.status
        else:
            text = (
                (DATA / ("pool-list" if words[0] == "pool" else "volume-info"))
                .with_suffix(".xml")
                .read_text()
            )
        return CommandResult(tuple(argv), 0, text, "")

    def end(self) -> int:
        self.ended += 1
        self.ports = None
        return 1

    @property
    def started(self) -> list[str]:
        return [words for words in self.asked if words.startswith("volume start")]


@pytest.fixture
def repair(state: str) -> Callable[..., list[str]]:
    heal_watch.note(True, now=time.time() - 300, path=state)

    def run(pool: Pool, *ours: str) -> list[str]:
        said: list[str] = []
        gluster = Gluster(execute=pool.execute, patience=0)
        Repair(ours, said.append, gluster, state, ports=lambda: pool.ports, end=pool.end).run()
        return said

    return run


def test_a_daemon_that_lost_a_brick_that_is_up_is_restarted(
    state: str, repair: Callable[..., list[str]]
) -> None:
    pool = Pool()
    pool.ports = pool.all[1:]
    said = repair(pool, "gv0")
    assert pool.ended == 1
    # It has all volumes of the node with copies.
    names = ("arb", "disp", "distrep", "gv0")
    assert pool.started == ["volume start %s force" % name for name in names]
    assert re.fullmatch(
        r"the self-heal daemon has no connection to node1:\S+ of volume gv0 for 30\d s:"
        r" restarting it",
        said[0],
    )
    watch = heal_watch.load(state)
    assert (watch.since, watch.ended, len(watch.restarts)) == (None, False, 1)
    assert repair(pool, "gv0") == []  # nothing lacks


def test_one_whose_bricks_are_all_connected_is_not(
    state: str, repair: Callable[..., list[str]]
) -> None:
    pool = Pool()
    assert repair(pool, "gv0") == []
    assert (pool.ended, pool.started, heal_watch.load(state)) == (0, [], Watch())


def test_one_that_ended_by_itself_is_not(repair: Callable[..., list[str]]) -> None:
    pool = Pool()
    pool.ports = None
    assert repair(pool, "gv0") == []
    assert pool.started == []


@pytest.mark.parametrize(
    ("down", "ours", "reason"),
    [
        (False, "other", "Ganeti does not use the volume"),
        (True, "gv0", "that would start node1:"),
    ],
)
def test_where_it_is_not_ours_to_do_the_reason_is_said_once(
    repair: Callable[..., list[str]], *, down: bool, ours: str, reason: str
) -> None:
    pool = Pool(down=down)
    pool.ports = pool.all[:1]
    (said,) = repair(pool, ours)
    assert "it is not restarted, because %s" % reason in said
    assert repair(pool, ours) == []
    assert (pool.ended, pool.started) == (0, [])


def test_one_that_was_ended_and_not_started_is_started_by_the_next_run(
    state: str, repair: Callable[..., list[str]]
) -> None:
    pool = Pool(refuses=BUSY)
    pool.ports = pool.all[1:]
    with pytest.raises(GlusterFailed, match="Locking failed"):
        repair(pool, "gv0")
    heal_watch.note(False, now=time.time(), path=state)  # no daemon lacks no connection
    assert heal_watch.load(state).ended
    pool.refuses = ""
    assert repair(pool, "gv0") == ["the self-heal daemon is restarted"]
    assert pool.ended == 1
    assert not heal_watch.load(state).ended
