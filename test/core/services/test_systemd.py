"""systemd's answers, captured from real units, and what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.services.systemd import (
    Systemd,
    SystemdSilent,
    UnitState,
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


def seen(text: str, *, has_file: bool = True) -> UnitState:
    (block,) = parse_show(text)
    return state("unit", block, clock=1000.0, has_file=lambda unit: has_file)


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
            "activating (auto-restart) after a failure: exit-code, exit status 4",
            "activating",
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
        ("enabled-runtime", True),
        ("disabled", False),
        ("static", None),
        ("", None),
    ],
)
def test_enabled(word: str, enabled: bool | None) -> None:
    assert (
        seen("LoadState=loaded\nActiveState=active\nUnitFileState=%s\n" % word).enabled is enabled
    )


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
