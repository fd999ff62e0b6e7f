"""Commands in units of their own: how they begin, what is known of them, how they end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.client.invocation import FOR
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.web import commands, run_command, run_files, runs
from ganeti_gluster.web.commands import CommandOrder
from ganeti_gluster.web.runs import CommandRefused, Runs

HEAL = CommandOrder("heal", volume="gv0", user="root")
EVACUATE = CommandOrder("evacuate", node="node1", dry_run=True, user="root")


class Systemd:
    """Runs units, of which it knows the states."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.states: dict[str, str] = {}
        self.broken = False

    def __call__(self, argv: Sequence[str], *, timeout: float, **options: bool) -> CommandResult:
        if self.broken:
            raise GanetiGlusterError("no bus")
        if argv[0] == "systemd-run":
            self.begun.append(list(argv))
            unit = next(word for word in argv if word.startswith("--unit="))
            self.states[unit.removeprefix("--unit=")] = "active"
            return CommandResult(tuple(argv), 0, "", "")
        return CommandResult(tuple(argv), 0, self.states.get(argv[-1], "inactive") + "\n", "")

    def end(self, number: int) -> None:
        del self.states[runs.UNIT % number]


class Fixture:
    """Commands in a directory of the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.systemd = Systemd()
        self.told: list[str] = []
        self.runs = self.new()

    def new(self, run: Any = None) -> Runs:
        return Runs(
            run=run or self.systemd,
            directory=self.directory,
            clock=lambda: 1000.0,
            on_begin=lambda: self.told.append("begin"),
            on_end=lambda: self.told.append("end"),
        )

    def say(self, number: int, text: str, status: int | None = None) -> None:
        """The command says something, and ends where it has a status."""
        path = run_files.path(number, run_files.OUTPUT, self.directory)
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text)
        if status is not None:
            end = run_files.path(number, run_files.END, self.directory)
            Path(end).write_text(json.dumps({"ended": 1009.0, "status": status}))
            self.systemd.end(number)


@pytest.fixture
def page(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_a_command_begins_in_a_unit_of_its_own_and_is_known_at_once(page: Fixture) -> None:
    assert page.runs.begin(HEAL) == 1
    (argv,) = page.systemd.begun
    assert "--unit=ganeti-gluster-page-1.service" in argv
    assert argv[argv.index("--") + 1 :] == [*runs.PROGRAM, "1"]
    page.say(1, "[1/1] volume gv0 healed ...\n")
    (shown,) = page.runs.facts().commands
    assert (shown.order, shown.state, shown.started) == (HEAL, "running", 1000.0)
    assert shown.lines == ("[1/1] volume gv0 healed ...",)
    assert page.told == ["begin"]


@pytest.mark.parametrize(("status", "state"), [(0, "done"), (1, "failed")])
def test_its_end_is_told_once(page: Fixture, status: int, state: str) -> None:
    page.runs.begin(HEAL)
    page.runs.facts()
    page.say(1, "so it was\n", status)
    for _ in range(2):
        (shown,) = page.runs.facts().commands
        assert (shown.state, shown.status, shown.ended) == (state, status, 1009.0)
    assert page.told == ["begin", "end"]


def test_one_that_was_killed(page: Fixture) -> None:
    page.runs.begin(HEAL)
    page.systemd.end(1)
    assert page.runs.facts().commands[0].state == "killed"


def test_a_page_that_is_started_again_knows_them(page: Fixture) -> None:
    page.runs.begin(HEAL)
    again = page.new()
    assert again.facts().commands[0].running
    assert again.begin(CommandOrder("verify", user="root")) == 2


def test_one_of_another_release_is_not_shown(page: Fixture) -> None:
    page.runs.begin(HEAL)
    order = run_files.path(1, run_files.ORDER, page.directory)
    Path(order).write_text(Path(order).read_text().replace('"heal"', '"polish"'))
    assert page.runs.facts().commands == ()
    assert page.runs.begin(HEAL) == 2


def test_a_dry_run_names_its_plan(page: Fixture) -> None:
    page.runs.begin(EVACUATE)
    page.say(1, "Steps:\n  [    ] brick moved\nPlan: 0123456789ab\n")
    assert page.runs.facts().commands[0].shows == ""
    page.say(1, "", 0)
    (shown,) = page.runs.facts().commands
    assert (shown.shows, shown.state) == ("0123456789ab", "shown")


@pytest.mark.parametrize("order", [HEAL, EVACUATE])
def test_only_a_dry_run_that_succeeded_names_one(page: Fixture, order: CommandOrder) -> None:
    page.runs.begin(order)
    page.say(1, "Plan: 0123456789ab\n", 1 if order.dry_run else 0)
    assert page.runs.facts().commands[0].shows == ""


def test_the_same_command_runs_once_at_a_time_whoever_asks(page: Fixture) -> None:
    page.runs.begin(HEAL)
    said = "root has already begun: Heal volume gv0; wait until it has finished"
    with pytest.raises(CommandRefused) as caught:
        page.runs.begin(CommandOrder("heal", volume="gv0", user="other"))
    assert str(caught.value) == said
    page.say(1, "", 0)
    assert page.runs.begin(HEAL) == 2


def test_no_more_than_so_many_run(page: Fixture) -> None:
    for number in range(runs.MAX_RUNNING):
        page.runs.begin(CommandOrder("heal", volume="gv%d" % number))
    with pytest.raises(CommandRefused, match="8 commands are running"):
        page.runs.begin(CommandOrder("verify"))
    assert len(page.systemd.begun) == runs.MAX_RUNNING


def test_one_that_cannot_begin_leaves_nothing(page: Fixture) -> None:
    page.systemd.broken = True
    with pytest.raises(GanetiGlusterError, match="no bus"):
        page.runs.begin(HEAL)
    assert os.listdir(page.directory) == []


def test_old_ones_are_forgotten(page: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_COMMANDS", 2)
    for number in range(1, 5):
        page.runs.begin(HEAL)
        page.say(number, "", 0)
    assert [one.number for one in page.runs.facts().commands] == [4, 3]
    assert len(os.listdir(page.directory)) == 6


def test_one_that_runs_for_long_is_known_for_as_long(
    page: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_COMMANDS", 2)
    monkeypatch.setattr(runs, "SHOWN", 2)
    page.runs.begin(EVACUATE)
    for number in range(2, 6):
        page.runs.begin(HEAL)
        page.say(number, "", 0)
    assert [one.number for one in page.runs.facts().commands] == [5, 4, 1]
    with pytest.raises(CommandRefused, match="root has already begun: Evacuate the bricks of nod"):
        page.runs.begin(EVACUATE)
    page.say(1, "", 0)
    assert [one.number for one in page.runs.facts().commands] == [5, 4]
    assert page.told == ["begin"] * 5 + ["end"]


def test_one_that_began_although_systemd_did_not_answer_in_time(
    page: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = page.systemd.__call__

    def late(argv: Sequence[str], **options: Any) -> CommandResult:
        done = begin(argv, **options)
        if argv[0] == "systemd-run":
            raise GanetiGlusterError("no answer within 15 s")
        return done

    page.runs = page.new(late)
    assert page.runs.begin(HEAL) == 1
    assert page.runs.facts().commands[0].running


def test_one_that_systemd_may_begin_later_gets_no_other_order(page: Fixture) -> None:
    page.systemd.broken = True
    with pytest.raises(GanetiGlusterError, match="no bus"):
        page.runs.begin(HEAL)
    page.systemd.broken = False
    assert page.runs.begin(EVACUATE) == 2


def test_its_output_is_text_and_bounded(page: Fixture) -> None:
    page.runs.begin(HEAL)
    page.say(1, "x\x1b[2J\n" * 20000)
    lines = page.runs.facts().commands[0].lines
    assert len(lines) == runs.LINES and lines[-1] == "x\ufffd[2J"


@pytest.mark.allow_process  # it is what is tested
@pytest.mark.parametrize(
    ("script", "status"),
    [("import os; print(os.environ[%r])" % FOR, 0), ("raise SystemExit(3)", 3)]
    + [("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_the_program_runs_it_for_the_user_and_keeps_its_end(
    page: Fixture, monkeypatch: pytest.MonkeyPatch, script: str, status: int
) -> None:
    page.runs.begin(HEAL)
    argv = [sys.executable, "-c", script]
    monkeypatch.setattr(commands.CommandOrder, "argv", property(lambda order: argv))
    assert run_command.main(["1"], page.directory) == status
    page.systemd.end(1)
    (shown,) = page.runs.facts().commands
    assert shown.status == status
    assert shown.lines == (("root (web page)",) if status == 0 else ())
