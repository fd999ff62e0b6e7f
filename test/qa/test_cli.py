"""The command line: arguments, sentences and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbedlib import Testbed, assert_command, cli, wait_for


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path))
    for name in ("TESTBED_NAME", "SUITE", "QEMU"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("exec node1 -- true", "there is no testbed 'testbed'; make one with: qa/testbed up"),
        ("exec node1", "no command to run on node1; give it after --"),
        ("--name x kill node1", "there is no testbed 'x'"),
        ("kill node1 --name x", "there is no testbed 'x'"),
        ("--name UPPER status", "testbed name 'UPPER'"),
        ("up --nodes 0", "0 nodes: a testbed has 1 to 9"),
        (
            "up --suite bookworm --qemu backports",
            "suite 'bookworm+backports': it is one of trixie, trixie+backports, bookworm, sid",
        ),
        ("install /nonexistent.deb", "no such package file: /nonexistent.deb"),
    ],
)
def test_an_error_names_thing_and_next_step(
    line: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("testbed: ")
    assert error in shown


@pytest.mark.parametrize(
    "line", ["", "fly", "up --qemu stable", "up --suite buster", "kill", "down -- x"]
)
def test_a_wrong_command_line_is_a_usage_error(line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    assert caught.value.code == 2


def test_status_of_no_testbed_fails_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out == "testbed testbed: there is none\n"


def test_down_without_a_testbed_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down"]) == 0
    assert capsys.readouterr().out == "there is no testbed 'testbed'\n"


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "status",
        "exec",
        "shell",
        "install",
        "reset",
        "cut",
        "heal",
        "kill",
        "boot",
        "clean",
        "volume",
        "check",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: qa/testbed %s" % command in capsys.readouterr().out


def test_what_follows_the_dashes_is_not_ours() -> None:
    assert cli.split_command(["exec", "node1", "--", "a", "--", "--name"]) == (
        ["exec", "node1"],
        ["a", "--", "--name"],
    )


@pytest.mark.parametrize(
    ("line", "environment", "suite"),
    [
        ("up", {}, "trixie"),
        ("up --suite sid", {"SUITE": "bookworm"}, "sid"),
        ("up --qemu backports", {}, "trixie+backports"),
        ("up", {"QEMU": "backports"}, "trixie+backports"),
        ("up", {"SUITE": "trixie+backports", "QEMU": "backports"}, "trixie+backports"),
    ],
)
def test_up_makes_nodes_of_the_suite_that_was_chosen(
    line: str, environment: dict[str, str], suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Testbed, "up", lambda _self, **how: asked.append(how["suite"]))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(line.split()) == 0
    assert asked == [suite]


def test_status_shows_a_pulled_cable() -> None:
    node = {"name": "node1", "address": "192.0.2.11", "running": True, "cut": True}
    status = {
        "name": "t",
        "stage": "ready",
        "suite": "trixie",
        "bare": False,
        "network_namespace": "ggt-t",
        "nodes": [node],
    }
    assert cli.status_lines(status)[1].split() == [
        "node1",
        "192.0.2.11",
        "running,",
        "cable",
        "pulled",
    ]


def test_a_shell_line_is_refused() -> None:
    with pytest.raises(TypeError, match="list of arguments"):
        assert_command("true")


def test_waiting_ends_with_the_last_reason() -> None:
    def not_yet() -> bool:
        raise AssertionError("the brick is down")

    with pytest.raises(AssertionError, match=r"not within 0 s: healing \(the brick is down\)"):
        wait_for(not_yet, 0, "healing")
    assert wait_for(lambda: "yes", 0, "nothing") == "yes"
