"""What systemd is given to run, how it reads that, and what it is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import systemd

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
