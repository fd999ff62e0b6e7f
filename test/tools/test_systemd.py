"""What systemd is given to run, how it reads that, and what it is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools import systemd
from ganeti_gluster.tools.command import CommandResult

ODD = ["/bin/x", "a b", "${HOME}", "$$", "100%n", 'say "hi"', "back\\slash", ""]


def test_each_word_arrives_as_it_is() -> None:
    argv = systemd.run_argv("u.service", "Text", ODD, options=["--wait"])
    assert argv == [
        *("systemd-run", "--quiet", "--collect", "--wait", "--unit=u.service"),
        *("--description=Text", "--", "/bin/x", "a b", "$${HOME}", "$$$$", "100%n"),
        *('say "hi"', "back\\slash", ""),
    ]


def test_a_property_with_a_command_has_each_word_quoted() -> None:
    assert systemd.command_property("ExecStopPost", ODD) == (
        r'ExecStopPost=/bin/x "a b" "$${HOME}" "$$$$" 100%n "say \"hi\"" "back\\slash" ""'
    )


def test_what_is_started_again_has_no_word_that_changes_by_that() -> None:
    properties = ["Restart=always"]
    with pytest.raises(InvalidParameter, match="a unit that is started again can have no"):
        systemd.run_argv("u.service", "Text", ["/bin/x", "a$b"], properties=properties)
    argv = systemd.run_argv("u.service", "Text", ["/bin/x"], properties=properties)
    assert argv[-3:] == ["--property=Restart=always", "--", "/bin/x"]


def test_a_unit_that_never_starts_again_may_have_any_word() -> None:
    argv = systemd.run_argv("u", "d", ["true", "a$b"], properties=["Restart=no"])
    assert argv[-2:] == ["true", "a$$b"]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd.notify("READY=1")
        assert listening.recv(64) == b"READY=1"


def test_nobody_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")


#: As systemd-analyze of 252 and 257 says it, in UTC and elsewhere.
IN_UTC = """  Original form: 02:30
Normalized form: *-*-* 02:30:00
    Next elapse: Sat 2025-11-29 02:30:00 UTC
       From now: 11 months 29 days ago
"""
IN_BERLIN = """    Next elapse: Sat 2025-11-29 02:30:00 CET
       (in UTC): Sat 2025-11-29 01:30:00 UTC
"""


@pytest.mark.parametrize(
    ("said", "moment"),
    [(IN_UTC, 1764383400.0), (IN_BERLIN, 1764379800.0), ("    Next elapse: never\n", None)],
)
def test_the_next_time_of_a_calendar_expression(said: str, moment: float | None) -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], **options: object) -> CommandResult:
        asked.append(argv)
        return CommandResult(tuple(argv), 0, said, "")

    assert systemd.next_elapse("02:30", 1764300000.7, run=run) == moment
    words = ["systemd-analyze", "calendar", "--base-time=@1764300000", "--", "02:30"]
    assert asked == [words]


@pytest.mark.allow_process
def test_systemd_refuses_what_is_no_calendar_expression() -> None:
    systemd.check_calendar("Mon..Fri 8..18:00")
    with pytest.raises(GanetiGlusterError, match="Failed to parse calendar specification"):
        systemd.check_calendar("blah")
