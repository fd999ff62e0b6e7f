"""Services under systemd, by systemctl."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, systemd

READ_SECONDS = 4
# What a start or a stop may take; systemd's own limit is 90 s by default.
ACT_SECONDS = 60

PROPERTIES = (
    "Id",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "AssertResult",
    "AssertTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "CPUUsageNSec",
)

# What a unit was while it is on its way to something else.
_BEFORE = {
    "activating": ServiceStatus.STOPPED,
    "deactivating": ServiceStatus.RUNNING,
    "reloading": ServiceStatus.RUNNING,
    "refreshing": ServiceStatus.RUNNING,
    "maintenance": ServiceStatus.STOPPED,
}
# siginfo's si_code of a process that has ended, as systemd prints it.
_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = "1", "2", "3"


class SystemdSilent(GanetiGlusterError):
    """systemctl did not give the answer that was asked for."""


@dataclass(frozen=True)
class UnitState:
    """One unit of a node; `status` is the one before while there is a `transition`.

    `cpu` is what all its processes have used of a processor, in seconds, where
    systemd knows that.
    """

    name: str
    installed: bool
    status: ServiceStatus = ServiceStatus.NOT_INSTALLED
    message: str = ""
    since: float | None = None
    enabled: bool | None = None
    masked: bool = False
    pid: int | None = None
    transition: str = ""
    cpu: float | None = None


@dataclass(frozen=True)
class Systemd:
    """systemd, as a node's services are read and changed through it."""

    run: command.Run = command.run

    def read(self, units: Sequence[str]) -> Mapping[str, UnitState]:
        """The state of each unit, installed or not; raises GanetiGlusterError."""
        done = systemd.ctl(*show_words(units), timeout=READ_SECONDS, run=self.run)
        blocks = parse_show(done.stdout)
        if len(blocks) != len(units):
            raise SystemdSilent(
                "systemctl reported %d units instead of %d" % (len(blocks), len(units))
            )
        clock = time.time() - time.monotonic()
        return {
            unit: state(unit, block, clock=clock, has_file=_has_file)
            for unit, block in zip(units, blocks, strict=True)
        }

    def start(self, unit: str) -> None:
        """Ask for the start of a unit, and wait for the answer: that it runs is not certain then.

        Raises GanetiGlusterError, as `stop` does.
        """
        # systemd refuses to start what has failed too often of late.
        self._act("reset-failed", unit, timeout=READ_SECONDS, check=False)
        self._act("start", unit, timeout=ACT_SECONDS)

    def stop(self, unit: str) -> None:
        """As `start`."""
        self._act("stop", unit, timeout=ACT_SECONDS)

    def _act(self, verb: str, unit: str, *, timeout: float, check: bool = True) -> None:
        words = ("--quiet", "--no-ask-password", verb, "--", "%s.service" % unit)
        systemd.ctl(*words, timeout=timeout, check=check, run=self.run)


def show_words(units: Sequence[str]) -> list[str]:
    """The arguments of systemctl that print the properties of units, one block each, in order."""
    return [
        "show",
        "--no-pager",
        "--property=%s" % ",".join(PROPERTIES),
        "--",
        *("%s.service" % unit for unit in units),
    ]


def parse_show(text: str) -> list[dict[str, str]]:
    """The blocks in the output of `show_words`; the order of a block's lines is any."""
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in re.split(r"\n\n+", text.strip("\n"))
        if block
    ]


def state(
    name: str, properties: Mapping[str, str], *, clock: float, has_file: Callable[[str], bool]
) -> UnitState:
    """The state that systemd's properties of a unit stand for.

    Add `clock` to systemd's monotonic seconds to get the time of day; `has_file` says whether
    a masked unit has a file.
    """
    load, active = properties.get("LoadState", ""), properties.get("ActiveState", "")
    if not load or not active:
        raise SystemdSilent("systemctl reported no state for %s" % name)
    masked = load == "masked"
    runs = active not in ("inactive", "failed")
    # Debian masks the units of a package that has been removed.
    if load in ("not-found", "stub") or (masked and not runs and not has_file(name)):
        return UnitState(name=name, installed=False)
    status, message = ServiceStatus.STOPPED, ""
    transition = ""
    if active == "active":
        status = ServiceStatus.RUNNING
        message = "masked, and still running" if masked else ""
    elif active in _BEFORE:
        status, transition = _BEFORE[active], active
        message = _transition(properties)
    elif masked:
        message = "masked"
    elif active == "failed":
        message = "failed: %s" % _reason(properties)
    elif load != "loaded":
        message = properties.get("LoadError", "").partition(" ")[2].strip('"') or load
    else:
        message = _not_started(properties)
    changed = int(properties.get("StateChangeTimestampMonotonic") or 0)
    return UnitState(
        name=name,
        installed=True,
        status=status,
        message=message,
        since=round(clock + changed / 1e6) if changed else None,
        enabled=_enabled(properties.get("UnitFileState", "")),
        masked=masked,
        pid=int(properties.get("MainPID") or 0) or None,
        transition=transition,
        cpu=_cpu(properties.get("CPUUsageNSec", "")),
    )


def _transition(properties: Mapping[str, str]) -> str:
    """`activating (start-pre)`, with the last failure where systemd tries again."""
    text = "%s (%s)" % (properties["ActiveState"], properties.get("SubState", "?"))
    if properties.get("Result", "success") != "success":
        text = "%s after a failure: %s" % (text, _reason(properties))
    return text


def _reason(properties: Mapping[str, str]) -> str:
    """Why a unit failed: systemd's result, and how its main process ended."""
    result = properties.get("Result", "")
    code, status = properties.get("ExecMainCode", ""), properties.get("ExecMainStatus", "")
    if code == _CLD_EXITED and status != "0":
        return "%s, exit status %s" % (result, status)
    if code in (_CLD_KILLED, _CLD_DUMPED):
        return "%s, signal %s" % (result, _signal(status))
    return result


def _signal(number: str) -> str:
    try:
        return signal.Signals(int(number)).name
    except ValueError:
        return number


def _not_started(properties: Mapping[str, str]) -> str:
    """Why systemd skipped the last start of a unit that is inactive, "" if it did not."""
    for what in ("Condition", "Assert"):
        tried = properties.get("%sTimestampMonotonic" % what) or "0"
        if tried != "0" and properties.get("%sResult" % what) == "no":
            name = "a condition" if what == "Condition" else "an assertion"
            return "not started: %s of its unit is not met" % name
    return ""


def _cpu(nanoseconds: str) -> float | None:
    # "[not set]" where nothing runs, or control groups are not used.
    return int(nanoseconds) / 1e9 if nanoseconds.isdigit() else None


def _enabled(state: str) -> bool | None:
    """Whether a unit starts with the node; None if that does not depend on the unit."""
    if state.startswith("enabled"):
        return True
    return False if state in ("disabled", "masked", "masked-runtime") else None


# Where units come from, as of systemd.unit(5).
_UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)


def _has_file(unit: str) -> bool:
    """Whether a masked unit is there behind its mask, which is a link to /dev/null."""
    paths = (os.path.join(folder, "%s.service" % unit) for folder in _UNIT_DIRECTORIES)
    return any(os.path.isfile(path) for path in paths)
