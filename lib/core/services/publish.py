"""Report events to the journal and to the administrator's hooks.

A hook is an executable file of root in /etc/ganeti/gluster-events.d, run in the order of the
names, as run-parts(8) does, with the event in its environment.  Its result changes nothing, and it
has a time limit.  It belongs to the administrator and may do what the sync may not, so it runs in
a systemd unit of its own.
"""

from __future__ import annotations

import math
import os
import re
import signal
import stat
import subprocess
import syslog
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.services.events import FETCH_FAILED, Event
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.tools import systemd

IDENTIFIER = "gluster-services"
# The name of all these messages for journalctl and catalogues.
MESSAGE_ID = "5e1e0f5c0f0b4e0c9d0a7f1a3f6d2b84"

#: How the units of hooks begin.
HOOK_UNIT = "gluster-services-hook"

# The longest time for which one sync reports events; the next one continues with the rest.
PUBLISH_SECONDS = 30.0

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_OUTPUT_TAIL = 500


def priority(event: Event) -> int:
    """How much it matters, as a priority of syslog."""
    if event.kind == FETCH_FAILED or event.new not in ("", ServiceStatus.RUNNING.value):
        return syslog.LOG_WARNING
    return syslog.LOG_NOTICE


def fields(event: Event) -> dict[str, str]:
    """The event as named fields, for the journal and for the environment of hooks."""
    return {
        "GLUSTER_EVENT": event.kind,
        "GLUSTER_EVENT_ID": event.uid,
        "GLUSTER_EVENT_TIME": "%.3f" % event.time,
        "GLUSTER_SERVICE_TYPE": event.type,
        "GLUSTER_NODE": event.node,
        "GLUSTER_SERVICE": event.service,
        "GLUSTER_OLD_STATUS": event.old,
        "GLUSTER_NEW_STATUS": event.new,
        "GLUSTER_MESSAGE": event.message,
    }


def to_journal(event: Event) -> None:
    """Log the event, with its fields where python3-systemd is installed."""
    try:
        from systemd import journal
    except ImportError:
        log(priority(event), event.line())
        return
    journal.send(
        event.line(),
        MESSAGE_ID=MESSAGE_ID,
        PRIORITY=str(priority(event)),
        SYSLOG_IDENTIFIER=IDENTIFIER,
        **{name: value for name, value in fields(event).items() if value},
    )


def log(level: int, text: str) -> None:
    """One line to syslog."""
    syslog.openlog(IDENTIFIER, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(level, text)


def hooks(directory: str | None = None) -> list[str]:
    """The hooks that are run, in their order: others could have been put there by anybody."""
    directory = directory or constants.EVENTS_HOOK_DIR
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    paths = (os.path.join(directory, name) for name in names if _NAME.fullmatch(name))
    return [path for path in paths if _is_ours(path)]


def _is_ours(path: str) -> bool:
    """Whether `path` is an executable file that only root, or who we are, can change."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    return (
        stat.S_ISREG(info.st_mode)
        and bool(info.st_mode & 0o100)
        and not info.st_mode & 0o022
        and info.st_uid in (0, os.geteuid())
    )


def hook_argv(path: str, environment: Mapping[str, str], seconds: float) -> list[str]:
    """The command that runs a hook in a unit of its own, and ends when that does.

    systemd ends the unit as well, a little after those that wait for it have given up.
    """
    return systemd.run_argv(
        "%s-%s.service" % (HOOK_UNIT, os.urandom(8).hex()),
        "Hook %s for an event of the services" % os.path.basename(path),
        [path],
        options=[
            "--pipe",
            "--wait",
            *("--setenv=%s=%s" % pair for pair in environment.items()),
        ],
        properties=[
            "RuntimeMaxSec=%d" % math.ceil(seconds + 1),
            "KillSignal=SIGKILL",
            # Stopping the sync also stops the hooks that it waits for.
            "PartOf=gluster-services-sync.service ganeti-gluster-agent.service",
        ],
    )


def run_hook(
    path: str,
    event: Event,
    *,
    seconds: float,
    argv: Callable[[str, Mapping[str, str], float], list[str]] = hook_argv,
) -> str:
    """Run a hook and return what went wrong, "" if nothing did.

    After `seconds` it is killed with all that it has started.
    """
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **fields(event)}
    try:
        process = subprocess.Popen(
            argv(path, environment, seconds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as err:
        # A ValueError is raised for a value that no environment can have; the remaining events
        # must be reported all the same.
        return "cannot be started: %s" % (getattr(err, "strerror", None) or err)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
        return "killed after %g s" % seconds
    if process.returncode == 0:
        return ""
    text = output.decode("utf-8", "replace").strip()[-_OUTPUT_TAIL:]
    return "exit status %d%s" % (process.returncode, ": %s" % text if text else "")


def publish(
    events: Iterable[Event],
    told: Callable[[Event], None],
    *,
    logged: Callable[[Event], None],
    last_logged: int,
    hook_seconds: float,
    directory: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    **sinks: Any,
) -> None:
    """Report each event to the journal and to every hook, and then call `told`.

    `logged` is called before the hooks, which may take long: so the journal does not get an
    event (up to `last_logged`) twice when they are interrupted.  Stops when the time is over;
    the remaining events are for the next call.
    """
    journal = sinks.get("journal", to_journal)
    warn = sinks.get("warn", lambda text: log(syslog.LOG_WARNING, text))
    run = sinks.get("run", run_hook)
    deadline = clock() + PUBLISH_SECONDS
    for event in events:
        if clock() > deadline:
            return
        if event.id > last_logged:
            journal(event)
            logged(event)
        for path in hooks(directory):
            problem = run(path, event, seconds=hook_seconds)
            if problem:
                warn("hook %s for event %s: %s" % (path, event.uid, problem))
        told(event)
