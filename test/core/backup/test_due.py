"""What is due, late or too old, and what is kept of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.backup import due, scheduled_unit
from ganeti_gluster.core.backup.due import GRACE, RETRY, ScheduleEntry, ScheduleState, Times
from ganeti_gluster.core.backup.scheduled_unit import Alarm
from ganeti_gluster.tools import private
from ganeti_gluster.tools.command import CommandResult

DAY = 86400.0


def daily(asked: list[float] | None = None) -> Times:
    def after(expression: str, moment: float) -> float | None:
        if asked is not None:
            asked.append(moment)
        return None if expression == "never" else (moment // DAY + 1) * DAY

    return Times(["midnight", "never"], after)


def test_times_are_asked_for_once_in_each_span() -> None:
    asked: list[float] = []
    times = daily(asked)
    assert [times.after(moment) for moment in (DAY + 5, DAY + 7, 2 * DAY - 1)] == [2 * DAY] * 3
    assert asked == [DAY + 5] * 2  # both expressions
    assert times.after(2 * DAY) == 3 * DAY
    assert Times(["never"], lambda text, moment: None).after(5) is None


def test_an_entry_is_due_at_the_first_time_after_its_last_backup() -> None:
    entry = daily().of(ScheduleEntry("s", "vm1"), since=DAY / 2)
    assert (entry.due, entry.overdue) == (DAY, 2 * DAY)
    assert not entry.is_due(DAY - 1) and entry.is_due(DAY)
    made = entry.failed(DAY, "no").made(DAY + 1, daily())
    assert (made.last, made.due, made.failures) == (DAY + 1, 2 * DAY, 0)


def test_one_that_fails_is_tried_again_after_longer_and_longer_pauses() -> None:
    entry = daily().of(ScheduleEntry("s", "vm1"), since=0.5)
    pauses = []
    for _ in range(8):
        entry = entry.failed(DAY, "no")
        assert entry.next_try is not None
        pauses.append(entry.next_try - DAY)
    assert pauses[:3] == [RETRY, 2 * RETRY, 4 * RETRY]
    assert pauses[-1] == due.LONGEST_RETRY


@pytest.mark.parametrize(
    ("entry", "now", "codes", "state"),
    [
        (ScheduleEntry("s", "vm1", 0.0, DAY, 2 * DAY), DAY + GRACE - 1, [], "ok"),
        (ScheduleEntry("s", "vm1", 0.0, DAY, 2 * DAY), DAY + GRACE, ["BACKUP_MISSED"], "missed"),
        (ScheduleEntry("s", "vm1", 0.0, DAY, 2 * DAY), 2 * DAY + GRACE, ["BACKUP_OLD"], "old"),
        (ScheduleEntry("s", "vm1", 0.0, DAY, 2 * DAY, 1, DAY, "no"), DAY + 9,
         ["BACKUP_FAILED"], "failed"),
        (ScheduleEntry("s", "vm1", None, DAY, 2 * DAY, 1, DAY, "no"), 3 * DAY,
         ["BACKUP_FAILED", "BACKUP_OLD"], "failed"),
        (ScheduleEntry("s", "vm1"), 3 * DAY, [], "ok"),
    ],
)  # fmt: skip
def test_findings(entry: ScheduleEntry, now: float, codes: list[str], state: str) -> None:
    found = list(due.findings([entry], now))
    assert [each.code for each in found] == codes
    assert entry.state(now) == state
    assert all(each.object == "vm1" and "schedule s " in each.text for each in found)


def test_what_is_known_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    state = ScheduleState(
        {"s": 1.0}, 5.0, (ScheduleEntry("s", "a"), ScheduleEntry("s", "b")), {"/mnt": 2.0}
    )
    due.save(state, path)
    assert due.load(path) == state
    changed = state.with_entry(ScheduleEntry("s", "a", last=3.0))
    assert changed.entry("s", "a") == ScheduleEntry("s", "a", last=3.0)
    assert len(changed.entries) == 2
    Path(path).write_text('{"entries": 5}')
    assert due.load(path) == due.load(str(tmp_path / "none")) == ScheduleState()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "BACKUP_CONF", str(tmp_path / "conf"))
    monkeypatch.setattr(constants, "BACKUP_STATE", str(tmp_path / "state"))
    return tmp_path


def test_the_alarm_rings_for_a_new_configuration_and_when_something_is_due(files: Path) -> None:
    alarm = Alarm()
    assert not alarm.rings(100.0)
    (files / "conf").write_text("a")
    assert alarm.rings(100.0) and not alarm.rings(100.0)
    due.save(ScheduleState(next=150.0))
    assert [alarm.rings(now) for now in (149.0, 150.0, 151.0)] == [False, True, True]
    due.save(ScheduleState(next=250.0))
    assert not alarm.rings(151.0)
    # The clock was ahead, and was set back.
    due.save(ScheduleState(next=9e6, written=8e6))
    assert alarm.rings(151.0) and alarm.rings(152.0)
    due.save(ScheduleState(next=250.0, written=152.0))
    assert not alarm.rings(152.0)
    alarm.mute()
    assert not alarm.rings(300.0)
    (files / "conf").write_text("ab")
    assert alarm.rings(300.0) and alarm.rings(301.0)
    os.unlink(files / "conf")
    assert not alarm.rings(300.0)


def test_the_unit_may_write_to_the_directories_of_repositories(files: Path) -> None:
    private.write(
        constants.BACKUP_CONF,
        "[repository a]\nplace = /mnt/a\n[repository b]\nplace = sftp://host/x\n",
    )
    ran: list[list[str]] = []

    def run(argv: list[str], **options: object) -> CommandResult:
        ran.append(argv)
        return CommandResult(tuple(argv), 1, "", "already loaded")

    scheduled_unit.start(run=run)
    (argv,) = ran
    assert "--property=ReadWritePaths=-/mnt/a" in argv
    assert argv[-3:] == ["/usr/sbin/gnt-gluster", "backup", "run"]
