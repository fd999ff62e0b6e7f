"""Who is told of an event, and that no hook can hold anything up."""

from __future__ import annotations

import os
import re
import sys
import syslog
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core.services import publish
from ganeti_gluster.core.services.events import Event

EVENT = Event(
    time=1.5,
    kind="service-status",
    type="GLUSTER_SWIFT",
    node="node1",
    service="proxy",
    old="RUNNING",
    new="STOPPED",
    message="failed: signal, signal SIGKILL",
    id=7,
    uid="0123",
)
LINE = "GLUSTER_SWIFT proxy on node1: Up -> Down: failed: signal, signal SIGKILL"


def run_directly(path: str, event: Event, *, seconds: float) -> str:
    """As `publish.run_hook`, without systemd."""
    return publish.run_hook(path, event, seconds=seconds, argv=lambda path, *rest: [path])


def hook(directory: Path, name: str, text: str, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_text("#!/bin/sh\n%s\n" % text)
    path.chmod(mode)
    return path


def test_the_journal_gets_the_sentence_and_every_field(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, str] = {}
    module = types.ModuleType("systemd")
    module.journal = types.SimpleNamespace(  # type: ignore[attr-defined]
        send=lambda message, **fields: sent.update(fields, MESSAGE=message)
    )
    monkeypatch.setitem(sys.modules, "systemd", module)
    publish.to_journal(EVENT)
    assert sent == {
        "MESSAGE": LINE,
        "MESSAGE_ID": publish.MESSAGE_ID,
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "gluster-services",
        "GLUSTER_EVENT": "service-status",
        "GLUSTER_EVENT_ID": "0123",
        "GLUSTER_EVENT_TIME": "1.500",
        "GLUSTER_SERVICE_TYPE": "GLUSTER_SWIFT",
        "GLUSTER_NODE": "node1",
        "GLUSTER_SERVICE": "proxy",
        "GLUSTER_OLD_STATUS": "RUNNING",
        "GLUSTER_NEW_STATUS": "STOPPED",
        "GLUSTER_MESSAGE": "failed: signal, signal SIGKILL",
    }


def test_syslog_gets_it_where_there_is_no_python3_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[int, str]] = []
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setattr(syslog, "syslog", lambda *args: lines.append(args))
    publish.to_journal(EVENT)
    assert lines == [(syslog.LOG_WARNING, LINE)]


@pytest.mark.parametrize(
    ("kind", "new", "level"),
    [
        ("service-status", "RUNNING", syslog.LOG_NOTICE),
        ("service-status", "UNKNOWN", syslog.LOG_WARNING),
        ("cluster-status", "PARTIALLY_UP", syslog.LOG_WARNING),
        ("fetch-failed", "", syslog.LOG_WARNING),
        ("fetch-restored", "", syslog.LOG_NOTICE),
        ("service-vanished", "", syslog.LOG_NOTICE),
    ],
)
def test_what_is_bad_news_is_a_warning(kind: str, new: str, level: int) -> None:
    assert publish.priority(Event(1, kind, new=new)) == level


def test_only_files_that_root_alone_can_change_are_hooks(tmp_path: Path) -> None:
    for name in ("20-b", "10-a", "with.suffix", "backup~"):
        hook(tmp_path, name, "true")
    hook(tmp_path, "not-executable", "true", 0o644)
    hook(tmp_path, "anybodys", "true", 0o757)
    hook(tmp_path, "groups", "true", 0o775)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("/no/such/file")
    assert [os.path.basename(path) for path in publish.hooks(str(tmp_path))] == ["10-a", "20-b"]
    assert publish.hooks(str(tmp_path / "absent")) == []


@pytest.mark.allow_process  # a hook is a process
def test_an_event_that_no_environment_can_have_keeps_no_other() -> None:
    found = publish.run_hook("/bin/true", replace(EVENT, message="\0"), seconds=1)
    assert found == "cannot be started: embedded null byte"


def test_a_hook_runs_in_a_unit_of_its_own_for_as_long_as_it_may() -> None:
    argv = publish.hook_argv("/etc/x/10-mail", {"A": "b c", "D": "$e %f"}, 0.5)
    assert argv[:3] == ["systemd-run", "--quiet", "--collect"]
    assert {"--pipe", "--wait", "--setenv=A=b c", "--setenv=D=$e %f"} < set(argv)
    (unit,) = (word for word in argv if word.startswith("--unit="))
    assert re.fullmatch(r"--unit=gluster-services-hook-[0-9a-f]{16}\.service", unit)
    assert "--property=RuntimeMaxSec=2" in argv
    assert argv[-2:] == ["--", "/etc/x/10-mail"]
    assert publish.hook_argv("/etc/x/10-mail", {}, 0.5) != argv


@pytest.mark.allow_process  # a hook is a process
def test_a_hook_gets_the_event_and_its_failures_are_reported(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    good = hook(tmp_path, "good", 'env | grep ^GLUSTER_ | sort >%s; [ -z "$HOME" ]; cat' % seen)
    assert run_directly(str(good), EVENT, seconds=20) == ""
    assert seen.read_text().splitlines() == sorted(
        "%s=%s" % pair for pair in publish.fields(EVENT).items()
    )
    bad = hook(tmp_path, "bad", "echo no mail >&2; exit 3")
    assert run_directly(str(bad), EVENT, seconds=20) == "exit status 3: no mail"
    slow = hook(tmp_path, "slow", "sleep 60 & sleep 60")
    assert run_directly(str(slow), EVENT, seconds=0.2) == "killed after 0.2 s"
    (tmp_path / "broken").write_text("#!/no/such/shell\n")
    (tmp_path / "broken").chmod(0o755)
    assert (
        run_directly(str(tmp_path / "broken"), EVENT, seconds=20)
        == "cannot be started: No such file or directory"
    )


def test_events_are_told_in_order_and_then_remembered_until_time_is_over(tmp_path: Path) -> None:
    said: list[Any] = []
    now = iter([0.0, 1.0, 2.0, publish.PUBLISH_SECONDS + 1])
    events = [
        Event(1, "fetch-restored", node=name, id=at) for at, name in enumerate(("a", "b", "c"), 1)
    ]
    publish.publish(
        events,
        lambda event: said.append(("told", event.node)),
        logged=lambda event: said.append(("logged", event.node)),
        last_logged=1,
        hook_seconds=1,
        directory=str(tmp_path),
        clock=lambda: next(now),
        journal=lambda event: said.append(("journal", event.node)),
    )
    # The journal has had the first one: a hook was interrupted then.
    assert said == [("told", "a"), ("journal", "b"), ("logged", "b"), ("told", "b")]


@pytest.mark.allow_process  # a hook is a process
def test_a_hook_that_fails_does_not_keep_the_event_from_being_told(tmp_path: Path) -> None:
    path = hook(tmp_path, "bad", "exit 1")
    told, warned = [], []
    publish.publish(
        [EVENT],
        told.append,
        logged=lambda event: None,
        last_logged=0,
        hook_seconds=20,
        directory=str(tmp_path),
        journal=lambda event: None,
        warn=warned.append,
        run=run_directly,
    )
    assert told == [EVENT]
    assert warned == ["hook %s for event 0123: exit status 1" % path]
