"""systemd's answers, captured from real units, and what they stand for."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.services.systemd import (
    STEADY_SECONDS,
    Systemd,
    SystemdSilent,
    UnitState,
    outside,
    parse_show,
    show_words,
    state,
)
from ganeti_gluster.tools.command import CommandFailed, CommandResult

DATA = sorted((Path(__file__).parent / "data").glob("systemd-*.txt"))
R, S, N = ServiceStatus.RUNNING, ServiceStatus.STOPPED, ServiceStatus.NOT_INSTALLED


def captured(path: Path) -> dict[str, str]:
    """The text of each unit in a file of answers, by the unit's name."""
    parts = path.read_text().split("## ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def seen(text: str, *, has_file: bool = True, now: float = 0.0) -> UnitState:
    (block,) = parse_show(text)
    return state("unit", block, clock=1000.0, has_file=lambda unit: has_file, now=now)


@pytest.mark.parametrize(("text", "seconds"), [("1500000000", 1.5), ("[not set]", None)])
def test_what_a_unit_has_used_of_the_processor(text: str, seconds: float | None) -> None:
    path = DATA[0]
    assert seen(captured(path)["active"] + "CPUUsageNSec=%s\n" % text).cpu == seconds


def test_there_is_an_answer_of_each_suite() -> None:
    assert [path.stem for path in DATA] == ["systemd-252", "systemd-257"]


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("name", "status", "message", "transition"),
    [
        ("active", R, "", ""),
        ("failed", S, "failed: exit-code, exit status 3", ""),
        ("killed", S, "failed: signal, signal SIGKILL", ""),
        ("assert", S, "not started: an assertion of its unit is not met", ""),
        ("condition", S, "not started: a condition of its unit is not met", ""),
        ("activating", S, "activating (start)", "activating"),
        (
            "again",
            S,
            "waits for its restart, exit status 4",
            "",
        ),
        ("deactivating", R, "deactivating (stop)", "deactivating"),
        ("bad-setting", S, "Unit cap-bad-setting.service has a bad unit file setting.", ""),
        ("masked", S, "masked", ""),
        ("absent", N, "", ""),
    ],
)
def test_each_state_of_a_unit(
    path: Path, name: str, status: ServiceStatus, message: str, transition: str
) -> None:
    found = seen(captured(path)[name])
    assert (found.status, found.message, found.transition) == (status, message, transition)
    assert found.installed is (name != "absent")
    assert (found.pid is not None) is (name in ("active", "activating", "deactivating"))


def test_a_unit_that_reloads_was_running() -> None:
    found = seen(captured(DATA[-1])["reloading"])  # systemd 253 brought notify-reload
    assert (found.status, found.transition) == (R, "reloading")


def test_what_is_masked_and_gone_is_not_installed() -> None:
    # as Debian leaves the units of a package that was removed
    assert seen(captured(DATA[-1])["masked"], has_file=False).installed is False


def test_a_mask_does_not_hide_that_the_service_runs() -> None:
    text = captured(DATA[-1])["active"].replace("LoadState=loaded", "LoadState=masked")
    found = seen(text, has_file=False)
    assert (found.status, found.message, found.masked) == (R, "masked, and still running", True)


def test_since_is_in_seconds_of_the_day_and_unknown_before_the_first_change() -> None:
    assert (
        seen("LoadState=loaded\nActiveState=active\nStateChangeTimestampMonotonic=5000000\n").since
        == 1005
    )
    assert (
        seen("LoadState=loaded\nActiveState=inactive\nStateChangeTimestampMonotonic=0\n").since
        is None
    )


@pytest.mark.parametrize(
    ("word", "enabled"),
    [
        ("enabled", True),
        ("enabled-runtime", False),
        ("disabled", False),
        ("static", None),
        ("", None),
    ],
)
def test_enabled(word: str, enabled: bool | None) -> None:
    assert (
        seen("LoadState=loaded\nActiveState=active\nUnitFileState=%s\n" % word).enabled is enabled
    )


def restarting(active: str, sub: str, restarts: int, *, now: float, code: str = "0") -> UnitState:
    """A unit that became active at 100 s the last time."""
    return seen(
        "LoadState=loaded\nActiveState=%s\nSubState=%s\nNRestarts=%d\nUnitFileState=enabled\n"
        "ActiveEnterTimestampMonotonic=100000000\nStateChangeTimestampMonotonic=100000000\n"
        "Result=exit-code\nExecMainCode=%s\nExecMainStatus=1\n" % (active, sub, restarts, code),
        now=now,
    )


@pytest.mark.parametrize(
    ("active", "sub", "restarts", "now", "status", "message"),
    [
        ("active", "running", 2, 101, R, ""),
        ("active", "running", 3, 101, S, "restarted 3 times"),
        ("active", "running", 3, 100 + STEADY_SECONDS, R, ""),  # it lasts by now
        ("activating", "start", 7, 500, S, "restarted 7 times"),
        ("activating", "auto-restart", 7, 500, S, "restarted 7 times, exit status 1"),
        ("activating", "auto-restart-queued", 7, 500, S, "restarted 7 times, exit status 1"),
        ("activating", "auto-restart", 0, 500, S, "waits for its restart, exit status 1"),
        ("failed", "failed", 7, 500, S, "failed: exit-code, exit status 1"),
    ],
)
def test_what_is_restarted_over_and_over_is_down(
    active: str, sub: str, restarts: int, now: float, status: ServiceStatus, message: str
) -> None:
    ended = "1" if active == "failed" or sub.startswith("auto-restart") else "0"
    found = restarting(active, sub, restarts, now=now, code=ended)
    assert (found.status, found.message, found.transition) == (status, message, "")
    over = message.startswith("restarted")
    assert found.restarts == (restarts if over else 0)
    # It changes all the time, and so has no time of its own.
    assert (found.since is None) is found.ends is (over or message.startswith("waits"))


@pytest.mark.parametrize(
    ("file", "wanted", "enabled", "message"),
    [
        ("disabled", "", False, "its unit is disabled: it will not start when the node boots"),
        (
            "enabled-runtime",
            "x",
            False,
            "its unit is disabled: it will not start when the node boots",
        ),
        ("disabled", "swift.target", None, ""),
        ("enabled", "multi-user.target", True, ""),
        ("static", "", None, ""),
    ],
)
def test_a_disabled_unit_that_runs_is_told(
    file: str, wanted: str, enabled: bool | None, message: str
) -> None:
    text = "LoadState=loaded\nActiveState=active\nUnitFileState=%s\nRequiredBy=%s\n"
    found = seen(text % (file, wanted))
    assert (found.status, found.enabled) == (R, enabled)
    assert found.message == message


PROXY = ("/usr/bin/swift-proxy-server", "/etc/swift/proxy-server.conf")


@pytest.mark.parametrize(
    ("command", "is_it"),
    [
        ("/usr/bin/python3 /usr/bin/swift-proxy-server /etc/swift/proxy-server.conf", True),
        ("swift-proxy-server /etc/swift/proxy-server.conf verbose", True),
        ("/usr/bin/python3 /usr/bin/swift-proxy-server /etc/swift/other.conf", False),
        ("vi /usr/bin/swift-proxy-server", False),
        ("grep swift-proxy-server /etc/swift/proxy-server.conf", False),
        ("", False),
    ],
)
def test_a_process_outside_its_unit(command: str, is_it: bool) -> None:
    def processes() -> list[tuple[int, list[bytes]]]:
        return [(5, [b"init"]), (77, command.encode().split(b" "))]

    assert outside([PROXY], processes, lambda pid: False) == ({PROXY: 77} if is_it else {})
    assert outside([PROXY], processes, lambda pid: True) == {}  # of a container


def test_a_unit_that_is_down_names_its_stray_process() -> None:
    text = (
        "LoadState=loaded\nActiveState=%s\nSubState=x\nResult=exit-code\nExecMainCode=1\n"
        "ExecMainStatus=1\nExecStart={ path=/usr/bin/swift-proxy-server ;"
        " argv[]=/usr/bin/swift-proxy-server /etc/swift/proxy-server.conf ; ignore_errors=no ;"
        " start_time=[n/a] ; pid=0 ; status=0/0 }\n"
    )

    def read(active: str) -> str:
        def processes() -> list[tuple[int, list[bytes]]]:
            return [(os.getpid(), [b"/usr/bin/python3", *(word.encode() for word in PROXY)])]

        manager = replace(answering(text % active), processes=processes)
        return manager.read(["x"])["x"].message

    stray = "a process of it is running outside its unit (PID %d)" % os.getpid()
    assert read("inactive") == stray
    assert read("failed") == "failed: exit-code, exit status 1; " + stray
    assert read("active") == ""


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('{"EXIT_CODE": "exited", "EXIT_STATUS": "3"}\n', "restarted 4 times, exit status 3"),
        ('{"EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}\n', "restarted 4 times, signal SIGKILL"),
        ("", "restarted 4 times"),
        ("no journal", "restarted 4 times"),
    ],
)
def test_the_journal_tells_how_a_process_ended_that_runs_again(entry: str, told: str) -> None:
    def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        text = (
            "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=4\nMainPID=9\n"
            "ActiveEnterTimestampMonotonic=%d\n" % (time.monotonic() * 1e6)
        )
        if argv[0] == "journalctl":
            assert argv[-1] == "UNIT=x.service"
            text = entry
        return CommandResult(tuple(argv), 0, text, "")

    assert Systemd(run=run).read(["x"])["x"].message == told


def answering(text: str) -> Systemd:
    def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        return CommandResult(tuple(argv), 0, text, "")

    return Systemd(run=run)


def test_units_are_asked_for_in_one_command_that_no_name_can_turn() -> None:
    words = show_words(["a", "b"])
    assert words[:2] == ["show", "--no-pager"]
    assert words[-3:] == ["--", "a.service", "b.service"]


def test_the_answers_are_told_apart_by_their_order() -> None:
    texts = captured(DATA[-1])
    found = answering("%s\n%s" % (texts["active"], texts["failed"])).read(["x", "y"])
    assert [(name, unit.name, unit.status) for name, unit in found.items()] == [
        ("x", "x", R),
        ("y", "y", S),
    ]


@pytest.mark.parametrize("text", ["", "Id=x.service\n"])
def test_an_answer_that_does_not_tell_is_an_error(text: str) -> None:
    with pytest.raises(SystemdSilent, match="systemctl reported"):
        answering(text).read(["x"])


def test_what_systemctl_cannot_do_is_an_error() -> None:
    def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        if check:
            raise CommandFailed(argv, "did not end within %g s" % timeout)
        return CommandResult(tuple(argv), 1, "", "")

    for act in (Systemd(run=run).start, Systemd(run=run).stop):
        with pytest.raises(CommandFailed, match=r"-- x\.service: did not end within 60 s"):
            act("x")
