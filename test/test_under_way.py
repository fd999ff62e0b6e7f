"""What stands in the way of the package's removal, and of the node daemon's restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ganeti_gluster import under_way
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.under_way import Kind, Work

DAEMON = 100
PYTHON = "/usr/bin/python3"
MOVE = Work("a migration", Kind.MOVE)
REQUEST = Work("a request of the node daemon, process 101", Kind.REQUEST)
SNAPSHOT = Work("'gnt-gluster disk snapshot web1', process 7")


def find(
    *lines: Sequence[str], units: str = "", statuses: dict[str, dict[str, object]] | None = None
) -> list[Work]:
    return under_way.find(
        run=lambda argv, **_: CommandResult(tuple(argv), 0, units, ""),
        lines=lambda: [
            (DAEMON + number, [word.encode() for word in line])
            for number, line in enumerate(lines)
        ],
        statuses=lambda: statuses or {},
        daemon=lambda: DAEMON,
    )


def test_a_worker_of_snapshots() -> None:
    unit = "ganeti-gluster-snapshot-web1.example.org.service"
    units = unit + " loaded active running Snapshot of instance web1.example.org\n"
    assert find(units=units) == [
        Work("work on snapshots of instance web1.example.org, unit " + unit)
    ]


def test_requests_of_the_node_daemon_are_not_the_daemon() -> None:
    line = (PYTHON, "/usr/sbin/ganeti-noded", "")
    assert find(line, line) == [REQUEST]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "/usr/sbin/gnt-gluster disk snapshot web1",
            "'gnt-gluster disk snapshot web1', process 100",
        ),
        ("/usr/sbin/gnt-gluster pool replace a", "'gnt-gluster pool replace a', process 100"),
        ("/usr/sbin/gnt-gluster web --wait-master", ""),
        ("/usr/sbin/gnt-gluster monitor --write", ""),
        ("-P -m ganeti_gluster.core.copy.program export a", "a copy for Ganeti, process 100"),
        ("-P -m ganeti_gluster.with_path a -- b", "a script of an OS definition, process 100"),
        ("-I -m ganeti_gluster.core.pool.agent look {}", "work for the pool, process 100"),
        ("-P -m ganeti_gluster.under_way remove", ""),
        ("-m ganeti_gluster.core.export.exporter --image=a", ""),
    ],
)
def test_programs_of_this_package(line: str, what: str) -> None:
    words = (PYTHON, *line.split(), "")
    assert [work.what for work in find(words)] == ([what] if what else [])


def test_odd_command_lines_are_nothing() -> None:
    assert find((), ("",), (PYTHON,), (PYTHON, "-m"), (PYTHON, "/usr/sbin/gnt-gluster")) == []


def test_an_image_that_two_nodes_share_for_their_guests_is_a_migration() -> None:
    shared: dict[str, object] = {"mode": "shared", "users": 1}
    at_rest: dict[str, object] = {"mode": "shared", "users": 0}
    alone: dict[str, object] = {"mode": "exclusive", "users": 1}
    assert find(statuses={"a": at_rest, "b": alone}) == []
    assert find(statuses={"a": at_rest, "b": alone, "c": shared}) == [MOVE]


class Clock:
    """What is under way as time goes on, by the second at which it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: dict[Work, float]) -> None:
        self.now = 0.0
        self._ends = ends
        monkeypatch.setattr(under_way.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(under_way.time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self) -> list[Work]:
        return [work for work, end in self._ends.items() if self.now < end]


@pytest.mark.parametrize(
    ("action", "ends", "stays", "seconds"),
    [
        ("remove", {}, [], 0),
        ("remove", {SNAPSHOT: 5}, [SNAPSHOT], 0),
        ("remove", {REQUEST: 5}, [], 5),
        ("remove", {MOVE: 500}, [MOVE], 20.5),
        ("restart", {SNAPSHOT: 500}, [], 0),
        ("restart", {REQUEST: 5}, [], 5),
        ("restart", {REQUEST: 500}, [], 20.5),
        ("restart", {MOVE: 100}, [], 119.5),
        ("restart", {REQUEST: 500, MOVE: 100}, [], 119.5),
        ("restart", {MOVE: 295}, [], 300.5),
        ("restart", {MOVE: 500}, [MOVE], 300.5),
    ],
)
def test_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    ends: dict[Work, float],
    stays: list[Work],
    seconds: float,
) -> None:
    clock, said = Clock(monkeypatch, ends), list[str]()
    assert under_way.wait(action, said.append, clock.look) == stays
    assert clock.now == seconds
    assert len(said) == (seconds > 0)


def test_why_not_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*_: Any) -> list[Work]:
        return [SNAPSHOT, REQUEST]

    monkeypatch.setattr(under_way, "wait", found)
    assert under_way.main(["remove"]) == 75
    assert capsys.readouterr().err == (
        "ganeti-gluster is not removed while this is under way: %s and 1 more\n" % SNAPSHOT.what
    )
    assert under_way.main(["restart"]) == 75
    assert "ganeti-gluster does not restart the node daemon while" in capsys.readouterr().err
    assert under_way.main([]) == 2


def test_a_node_that_does_not_tell_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> list[Work]:
        raise OSError("no systemd")

    monkeypatch.setattr(under_way, "wait", fail)
    assert under_way.main(["remove"]) == 0
    assert "cannot tell what is under way: no systemd" in capsys.readouterr().err
