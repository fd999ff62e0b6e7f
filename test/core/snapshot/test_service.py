"""The talk with a worker, with stand-ins for it, and the hooks' decision."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.snapshot import gate, request, service
from ganeti_gluster.core.snapshot.request import DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.storage.snapshot_worker import PROGRAM
from ganeti_gluster.tools import command

SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007), VolfileServer("::1", 24008)))
REQUEST = SnapshotRequest(
    operation=request.TAKE,
    instance="vm1.example.com",
    instance_uuid="3bcf4bcd-8379-4e25-9c80-5371cb899f56",
    name="a",
    disks=(DiskRequest(0, "u", "ganeti/x.0"),),
    disks_volume=SPEC,
    snapshots_volume=VolumeSpec("gv1", (VolfileServer("node9", 24007),)),
    running=True,
    keep=3,
)


def test_a_request_comes_over_as_it_was() -> None:
    assert request.load(request.dump(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "line", ["", "x", "{}", '{"operation": "take"}', request.dump(REQUEST).replace("take", "rm")]
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(InvalidParameter):
        request.load(line)


def test_the_unit_is_the_instances_and_cleans_up_whatever_happens() -> None:
    argv = service.worker_argv(PROGRAM, "vm1.example.com")
    assert "--unit=ganeti-gluster-snapshot-vm1.example.com.service" in argv
    (after,) = [arg for arg in argv if arg.startswith("--property=ExecStopPost=")]
    assert after.endswith(" undo vm1.example.com")
    assert argv[-2:] == ["run", "vm1.example.com"]


def test_an_instances_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        service.worker_argv(PROGRAM, "../x y")


def talk(program: str) -> tuple[dict[str, Any], list[service.WorkerEvent]]:
    heard: list[service.WorkerEvent] = []
    argv = [sys.executable, "-c", program]
    return service.converse(argv, "vm1", lambda: REQUEST, heard.append), heard


READY = "import json, sys\nprint(json.dumps({'event': 'ready'}), flush=True)\n"
READ = READY + "line = sys.stdin.readline()\n"


@pytest.mark.allow_process  # it is what is tested
def test_a_worker_gets_its_request_and_is_heard_out() -> None:
    result, heard = talk(
        READ + "print(json.dumps({'event': 'message', 'text': 'so'}))\n"
        "name = json.loads(line)['name']\n"
        "print(json.dumps({'event': 'done', 'result': {'name': name}}), flush=True)\n"
        "sys.stdin.read()"
    )
    assert heard == [{"event": "message", "text": "so"}]
    assert result == {"name": REQUEST.name}


@pytest.mark.allow_process  # it is what is tested
@pytest.mark.parametrize(
    ("program", "kind", "why"),
    [
        (
            READ + "print(json.dumps({'event': 'failed', 'message': 'no', 'hint': 'h'}))",
            service.WorkerFailed,
            "^no; h$",
        ),
        (READ + "sys.exit('cut')", service.WorkerFailed, "exit status 1.*: cut; see journalctl"),
        (READY, service.WorkerFailed, "the worker ended"),
        (
            READ + "print('[' * 10000); print(json.dumps({'event': ['done']})); sys.exit('cut')",
            service.WorkerFailed,
            "exit status 1.*: cut; see journalctl",
        ),
        (READ + "sys.exit('\\x1b[2J')", service.WorkerFailed, r"exit status 1\): �\[2J; "),
        (
            READ + "print(json.dumps({'event': 'done', 'result': []}))",
            service.WorkerFailed,
            "the output of the worker is not understood: result: not an object",
        ),
        (
            READ + "print(json.dumps({'event': 'done', 'result': {'size': 'x'}}))",
            service.WorkerFailed,
            "the output of the worker is not understood: result.size: not a number",
        ),
        (
            READ + "print(json.dumps({'event': 'message', 'text': '\\x1b[2J'}))",
            service.WorkerFailed,
            "the output of the worker is not understood: message.text: a string that"
            " cannot be printed",
        ),
        (
            READ + "print(json.dumps({'event': 'progress', 'done': 1}))",
            service.WorkerFailed,
            "the output of the worker is not understood: progress.disk: it is missing",
        ),
        (
            READ + "print(json.dumps({'event': 'failed', 'hint': 'h'}))",
            service.WorkerFailed,
            "the output of the worker is not understood: failed.message: it is missing",
        ),
        (
            READ + "print('x' * 2000000)",
            service.WorkerFailed,
            "the output of the worker is not understood: it has no end",
        ),
        (
            "import sys; sys.exit('Failed to start transient service unit:"
            " Unit x.service was already loaded or has a fragment file.')",
            service.SnapshotInProgress,
            "snapshots of instance vm1 is already running; wait",
        ),
    ],
)
def test_how_a_worker_fails_is_told(program: str, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        talk(program)


@pytest.mark.allow_process  # it is what is tested
def test_a_worker_that_is_silent_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SILENCE", 0.2)
    with pytest.raises(service.WorkerFailed, match="silent"):
        talk(READ + "sys.stdin.read()")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A node on which the hook asks systemd, and what it does there."""
    seen: dict[str, Any] = {"state": "inactive", "ran": []}

    def run(argv: list[str], **options: Any) -> command.CommandResult:
        seen["ran"].append(argv)
        if "fail" in seen and argv[0] != seen.get("works"):
            raise command.CommandFailed(argv, seen["fail"])
        return command.CommandResult(tuple(argv), 0, seen["state"] + "\n", "")

    monkeypatch.setattr(constants, "SNAPSHOT_DIR", str(tmp_path))
    monkeypatch.setattr(command, "run", run)
    for asks in (service.is_busy, service.is_going_on):
        monkeypatch.setattr(asks, "__kwdefaults__", {"run": run})
    return seen


ENVIRONMENT = {"GANETI_INSTANCE_NAME": "vm1"}


@pytest.mark.parametrize("state", ["active", "activating", "deactivating"])
def test_a_hook_stops_the_job_while_there_is_a_worker(
    node: dict[str, Any], tmp_path: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node["state"] = state
    (tmp_path / "vm1").touch()
    assert gate.main(PROGRAM, ENVIRONMENT) == 1
    assert "a snapshot of instance vm1 is being taken" in capsys.readouterr().err


def test_a_hook_asks_nothing_for_an_instance_that_has_no_mark(
    node: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "vm2").touch()
    assert gate.main(PROGRAM, ENVIRONMENT) == 0
    assert gate.main(PROGRAM, {}) == 0
    assert node["ran"] == []


def test_a_hook_takes_away_what_a_killed_worker_left(node: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vm1").touch()
    assert gate.main(PROGRAM, ENVIRONMENT) == 0
    assert node["ran"][-1][-2:] == ["undo", "vm1"]


def test_a_hook_that_cannot_undo_stops_the_job(
    node: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vm1").touch()
    node["fail"] = "did not end within 10 s"
    assert gate.main(PROGRAM, ENVIRONMENT) == 1
    assert "did not end within 10 s" in capsys.readouterr().err


ENDING = ["instance-stop", "instance-remove", "instance-reboot"]


def ends(path: str) -> int:
    return gate.main(PROGRAM, {**ENVIRONMENT, "GANETI_HOOKS_PATH": path})


@pytest.mark.parametrize("path", ENDING)
@pytest.mark.parametrize("works", ["", "systemctl"])
def test_a_qemu_that_does_not_answer_keeps_nobody_from_ending_it(
    node: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    works: str,
) -> None:
    (tmp_path / "vm1").touch()
    node["fail"], node["works"] = "did not end within 10 s", works
    assert ends(path) == 0
    assert "stay in QEMU until it ends: " in capsys.readouterr().err
    assert ends("instance-migrate") == 1


@pytest.mark.parametrize("path", ENDING)
def test_what_a_killed_worker_left_is_taken_away_before_the_end(
    node: dict[str, Any], tmp_path: Path, path: str
) -> None:
    (tmp_path / "vm1").touch()
    assert ends(path) == 0
    assert node["ran"][-1][-2:] == ["undo", "vm1"]


def idle(mark: Path, seconds: float) -> None:
    mark.touch()
    os.utime(mark, (0, mark.stat().st_mtime - seconds))


@pytest.mark.parametrize("path", ENDING)
@pytest.mark.parametrize(
    ("state", "seconds", "passes", "stopped"),
    [
        ("active", 0, False, False),
        ("active", service.STUCK_SECONDS - 10, False, False),
        ("active", service.STUCK_SECONDS + 10, True, True),
        ("deactivating", 0, True, False),
    ],
)
def test_a_worker_that_does_not_come_forward_keeps_nobody_from_ending_the_guest(
    node: dict[str, Any],
    tmp_path: Path,
    path: str,
    state: str,
    seconds: float,
    passes: bool,
    stopped: bool,
) -> None:
    node["state"] = state
    idle(tmp_path / "vm1", seconds)
    assert ends(path) == (0 if passes else 1)
    stop = ["systemctl", "stop", "--no-block", "ganeti-gluster-snapshot-vm1.service"]
    assert (stop in node["ran"]) == stopped
    assert not any("undo" in argv for argv in node["ran"])
    assert ends("disk-grow") == 1


def test_progress_is_kept_with_the_mark(node: dict[str, Any], tmp_path: Path) -> None:
    idle(tmp_path / "vm1", 500)
    assert service.idle_seconds("vm1") == pytest.approx(500, abs=5)
    service.note_progress("vm1")
    assert service.idle_seconds("vm1") < 5
    service.note_progress("vm2")
    assert service.idle_seconds("vm2") == 0.0


def test_what_an_ended_worker_left_is_cleared_in_the_instances_unit(
    node: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "vm1").touch()
    assert service.clear_remains(PROGRAM, run=command.run) == ["vm1"]
    argv = node["ran"][-1]
    assert argv[0] == "systemd-run" and "--unit=%s" % service.unit("vm1") in argv
    assert argv[-2:] == ["undo", "vm1"]


@pytest.mark.parametrize("state", ["active", "activating", "deactivating"])
def test_a_worker_that_is_there_clears_up_by_itself(
    node: dict[str, Any], tmp_path: Path, state: str
) -> None:
    node["state"] = state
    (tmp_path / "vm1").touch()
    assert service.clear_remains(PROGRAM, run=command.run) == []
    assert [argv[0] for argv in node["ran"]] == ["systemctl"]


def test_without_a_mark_nothing_is_asked(
    node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.clear_remains(PROGRAM, run=command.run) == []
    monkeypatch.setattr(constants, "SNAPSHOT_DIR", str(tmp_path / "none"))
    assert service.clear_remains(PROGRAM, run=command.run) == []
    assert node["ran"] == []


def test_what_is_cleared_up_does_not_keep_a_guest_from_being_ended(
    node: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "vm1").touch()
    assert service.idle_seconds("vm1") < service.STUCK_SECONDS
    service.note_end("vm1")
    assert service.idle_seconds("vm1") > service.STUCK_SECONDS
    service.note_end("vm2")
    assert service.idle_seconds("vm2") == 0
