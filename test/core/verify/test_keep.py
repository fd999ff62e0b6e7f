"""What is kept of a look, and what shows that it is another now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti_gluster.core.verify import gather, stamps
from ganeti_gluster.core.verify.keep import LONG, SHORT, Keep
from ganeti_gluster.tools import tcp
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gluster_cli import Gluster

DATA = Path(__file__).parents[2] / "tools" / "gluster_cli" / "data" / "11.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_is_kept_for_its_stamp_and_its_time(clock: Clock) -> None:
    keep, calls = Keep(clock=clock), []

    def look(stamp: object) -> int:
        return keep.get("a", stamp, lambda: calls.append(stamp) or len(calls), seconds=60)

    assert [look(1), look(1), look(2), look(2)] == [1, 1, 2, 2]
    clock.now += 59
    assert look(2) == 2
    clock.now += 1
    assert look(2) == 3
    assert keep.value("a") == 3


def test_an_error_is_not_kept_and_neither_is_what_is_not_to_be(clock: Clock) -> None:
    keep = Keep(clock=clock)
    assert keep.get("a", 1, lambda: "x", seconds=60) == "x"
    with pytest.raises(ZeroDivisionError):
        keep.get("a", 2, lambda: 1 // 0, seconds=60)
    assert keep.value("a") is None
    for reason in ("cut", ""):
        assert keep.get("b", 1, lambda r=reason: r, seconds=60, keep=lambda v: not v) == reason
    assert keep.get("b", 1, lambda: "other", seconds=60, keep=lambda v: not v) == ""


def test_glusterd_is_asked_again_where_something_shows_and_now_and_then(clock: Clock) -> None:
    asked: list[str] = []
    answers = {"peer": "peer-status", "pool": "pool-list"}

    def execute(argv: list[str], timeout: float) -> CommandResult:
        words = argv[3:]
        asked.append(" ".join(words))
        name = answers.get(words[0]) or ("volume-get" if words[1] == "get" else "volume-info")
        return CommandResult(tuple(argv), 0, (DATA / (name + ".xml")).read_text(), "")

    keep = Keep(clock=clock)

    def look(stamp: int) -> list[str]:
        asked.clear()
        found = gather.look_at_glusterd(Gluster(execute=execute), keep=keep, stamp=stamp)
        assert found["glusterd"] == "running" and found["peers"] and found["volumes"]
        return sorted(asked)

    assert len(look(1)) == 4
    assert look(1) == []
    clock.now += SHORT
    assert look(1) == ["peer status"]  # whether it answers at all
    assert len(look(2)) == 4
    clock.now += LONG
    assert len(look(2)) == 4


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   4: 00000000:5DC7 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   5: 0C0200C0:5DC7 0B0200C0:BFFF 01 00000000:00000000 02:0000003B 00000000     0        0 12 2 0
   8: 0C0200C0:BFFF 0B0200C0:5DC7 01 00000000:00000000 02:00000028 00000000     0        0 13 2 0
   9: 0C0200C0:BFFE 0D0200C0:5DC7 02 00000000:00000000 02:00000028 00000000     0        0 14 2 0
"""


def test_the_stamp_of_glusterd(tmp_path: Path) -> None:
    (tmp_path / "peers").mkdir()
    (tmp_path / "vols" / "gv0").mkdir(parents=True)
    info, peer = tmp_path / "vols" / "gv0" / "info", tmp_path / "peers" / "u"
    pid, table = tmp_path / "pid", tmp_path / "tcp"
    for path in (tmp_path / "glusterd.info", info, peer):
        path.write_text("x")
    pid.write_text("%d\n" % os.getpid())
    table.write_text(TABLE)

    def now() -> object:
        return stamps.of_glusterd(tmp_path, pid, tcp.established([table, tmp_path / "none"]))

    seen = [now()]
    assert now() == seen[0]
    # What comes in is of clients as well, and what is not up yet is nothing.
    table.write_text(TABLE.replace("0B0200C0:BFFF 01", "0B0200C0:C000 01"))
    assert now() == seen[0]
    steps = [
        lambda: info.write_text("status=2"),
        lambda: (tmp_path / "vols" / "gv1").mkdir(),
        lambda: peer.write_text("state=6"),
        lambda: table.write_text(TABLE.replace("0B0200C0:5DC7 01", "0B0200C0:5DC7 08")),
        # The first process of all: the parent may have begun within the same tick.
        lambda: pid.write_text("1"),
        pid.unlink,
    ]
    for step in steps:
        step()
        assert now() not in seen
        seen.append(now())
