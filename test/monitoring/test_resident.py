"""The agent's loop: what is done when, and which answer about services is ready."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.backup import due
from ganeti_gluster.core.services import prepared
from ganeti_gluster.monitoring import resident
from ganeti_gluster.monitoring.resident import BACKUPS, MEASURE, SERVICES, SYNC, Ended, Resident

pytestmark = pytest.mark.allow_process

ANSWER = {
    "master": "node1",
    "types": {"GLUSTER": {"services": [{"transition": "", "status": "RUNNING", "restarts": 0}]}},
}


class Bus:
    """systemd's signals; `tell` sends one."""

    events = select.POLLIN

    def __init__(self, units: Iterable[str]) -> None:
        self.units = list(units)
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.broken = False

    def open(self) -> None:
        if self.broken:
            raise OSError("the system's bus: no such file")

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            os.close(descriptor)

    def fileno(self) -> int:
        return self.reader

    def tell(self) -> None:
        os.write(self.writer, b"x")

    def heard(self) -> bool:
        if self.broken:
            raise OSError("the system's bus: broken pipe")
        try:
            return bool(os.read(self.reader, 100))
        except BlockingIOError:
            return False


class Agent:
    """A resident agent, whose children do what `work` has for them, in this directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.path = directory / "prepared"
        self.buses: list[Bus] = []
        self.loop = Resident(master=False, lock=os.open(os.devnull, os.O_RDONLY))
        usual = prepared.write
        monkeypatch.setattr(prepared, "write", lambda answer: usual(answer, str(self.path)))
        monkeypatch.setattr(prepared, "take_away", lambda: self.path.unlink(missing_ok=True))
        monkeypatch.setattr(prepared, "stamp", lambda: "as it was")
        monkeypatch.setattr(resident, "Signals", self.bus)
        self.answer: dict[str, Any] = dict(ANSWER)
        monkeypatch.setattr(resident, "_services", lambda: json.dumps(self.answer).encode())

    def bus(self, units: Iterable[str]) -> Bus:
        self.buses.append(Bus(units))
        return self.buses[-1]

    def look(self) -> None:
        """Begin a look at the services, as the loop does when it is due."""
        self.loop.stamp, self.loop.answer = prepared.stamp(), resident._LOOKING
        self.loop._begin(SERVICES, resident._services, 30.0)

    def finish(self) -> None:
        """Wait until no child is there."""
        while self.loop.children:
            self.loop._wait(time.monotonic() + 10)

    @property
    def ready(self) -> bool:
        return self.path.exists()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Agent]:
    monkeypatch.setattr(constants, "SERVICES_CONF", str(tmp_path / "none"))
    found = Agent(monkeypatch, tmp_path)
    yield found
    found.loop.end()
    found.finish()
    found.loop._stop_listening()
    os.close(found.loop.lock)


def test_the_services_are_looked_at_when_it_begins_and_then_the_answer_is_ready(
    agent: Agent,
) -> None:
    agent.loop._listen()
    assert "glusterd.service" in agent.buses[0].units
    assert agent.loop._is_due(SERVICES)
    agent.look()
    assert not agent.ready
    agent.finish()
    assert agent.ready
    assert not agent.loop._is_due(SERVICES)


def test_a_signal_takes_the_answer_away_at_once_and_has_it_looked_at_again(agent: Agent) -> None:
    agent.loop._listen()
    agent.look()
    agent.finish()
    agent.buses[0].tell()
    agent.loop._wait(time.monotonic() + 10)
    assert not agent.ready
    assert agent.loop._is_due(SERVICES)


def test_an_answer_that_a_signal_overtook_is_not_used(agent: Agent) -> None:
    agent.loop._listen()
    agent.look()
    agent.loop._changed()  # while the child looks
    agent.finish()
    assert not agent.ready
    # Not at once: a service that fails again and again makes signals without end.
    assert time.monotonic() < agent.loop.due[SERVICES] <= time.monotonic() + resident.PAUSE


@pytest.mark.parametrize(
    "service",
    [
        {"transition": "activating", "status": "RUNNING", "restarts": 0},
        {"transition": "", "status": "UNKNOWN", "restarts": 0},
        {"transition": "", "status": "STOPPED", "restarts": 5},
    ],
)
def test_a_state_that_no_signal_ends_is_never_ready(agent: Agent, service: Any) -> None:
    agent.answer["types"] = {"GLUSTER": {"services": [service]}}
    agent.loop._listen()
    agent.look()
    agent.finish()
    assert not agent.ready
    agent.loop._refresh()
    assert agent.loop._is_due(SERVICES)


def test_what_is_ready_is_written_again_each_minute(agent: Agent) -> None:
    agent.loop._listen()
    agent.look()
    agent.finish()
    agent.path.unlink()
    agent.loop._refresh()
    assert agent.ready
    assert len(agent.buses) == 1


def test_a_new_configuration_or_master_is_looked_at_from_the_beginning(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.loop._listen()
    agent.look()
    agent.finish()
    monkeypatch.setattr(prepared, "stamp", lambda: "another")
    agent.loop._refresh()
    assert not agent.ready
    assert len(agent.buses) == 2
    assert agent.loop._is_due(SERVICES)


def test_nothing_is_ready_where_systemd_cannot_be_heard(
    agent: Agent, capfd: pytest.CaptureFixture[str]
) -> None:
    agent.loop._listen()
    agent.look()
    agent.finish()
    agent.buses[0].broken = True
    agent.buses[0].tell()
    agent.loop._wait(time.monotonic() + 10)
    assert not agent.ready
    assert agent.loop.signals is None
    assert "systemd's signals are not heard any more: " in capfd.readouterr().err
    agent.loop._refresh()  # a minute later
    assert len(agent.buses) == 2


def test_a_piece_of_work_that_still_runs_is_not_begun_again(agent: Agent) -> None:
    agent.loop.due[MEASURE] = time.monotonic()
    agent.loop._begin(MEASURE, lambda: time.sleep(60) or b"", 90.0, 60.0)
    first = agent.loop.children[MEASURE]
    assert not agent.loop._is_due(MEASURE)
    agent.loop.due[MEASURE] = time.monotonic()
    agent.loop._begin(MEASURE, lambda: b"second", 90.0, 60.0)
    assert agent.loop.children[MEASURE] is first
    assert not agent.loop._is_due(MEASURE)


def test_one_that_hangs_holds_up_no_other_and_is_killed(
    agent: Agent, capfd: pytest.CaptureFixture[str]
) -> None:
    agent.loop.due = {MEASURE: time.monotonic(), SYNC: time.monotonic()}
    agent.loop._begin(SYNC, lambda: time.sleep(60) or b"", 0.0, 60.0)
    agent.loop._begin(MEASURE, lambda: b"measured", 30.0, 60.0)
    agent.finish()
    assert agent.loop.kept == b"measured"
    assert "sync: not done in time" in capfd.readouterr().err


def test_what_was_kept_stays_where_a_look_fails(agent: Agent) -> None:
    agent.loop.due[MEASURE] = time.monotonic()
    agent.loop.kept = b"kept"
    agent.loop._begin(MEASURE, lambda: bytes(1 // 0), 30.0, 60.0)
    agent.finish()
    assert agent.loop.kept == b"kept"


def test_times_do_not_drift_and_are_never_made_up_for(agent: Agent) -> None:
    now = time.monotonic()
    agent.loop.due = {MEASURE: now - 1.0, SYNC: now - 1000.0}
    agent.loop._begin(MEASURE, lambda: b"", 30.0, 60.0)
    agent.loop._begin(SYNC, lambda: b"", 30.0, 60.0)
    assert agent.loop.due[MEASURE] == now + 59.0
    assert agent.loop.due[SYNC] >= now + 30.0


@pytest.mark.parametrize(("in_cluster", "status"), [(False, 0), (True, resident.ANEW)])
def test_it_ends_outside_a_cluster_and_begins_anew_where_its_software_changed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, in_cluster: bool, status: int
) -> None:
    versions = iter(["1", "2"])
    monkeypatch.setattr(resident, "software", lambda: next(versions))
    monkeypatch.setattr(resident, "EVERY", 0.0)
    monkeypatch.setattr(resident.this_node, "in_cluster", lambda: in_cluster)
    monkeypatch.setattr(resident, "_system_runs_for", lambda: 0.0)
    with pytest.raises(Ended) as ended:
        agent.loop.run()
    assert ended.value.args == (status,)


def test_a_configuration_of_backups_that_is_invalid_is_told_once(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(constants, "BACKUP_CONF", str(tmp_path / "backup.conf"))
    monkeypatch.setattr(constants, "BACKUP_STATE", str(tmp_path / "state"))
    due.save(due.ScheduleState(next=1.0))
    (tmp_path / "backup.conf").write_text("[colour]\n")
    assert agent.loop.alarm.rings(2.0) and agent.loop.alarm.rings(3.0)
    agent.loop._begin(BACKUPS, resident._start_backups, 30.0)
    agent.finish()
    assert "backup.conf, line 1, section [colour]: expected" in capfd.readouterr().err
    assert not agent.loop.alarm.rings(4.0)
