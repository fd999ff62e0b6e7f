"""Services under systemd, by systemctl."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ganeti_gluster.core.services.model import Service, ServiceStatus
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, processes, systemd

READ_SECONDS = 4
# What a start or a stop may take; systemd's own limit is 90 s by default.
ACT_SECONDS = 60

# A service that systemd has restarted so often, and that has not run for so many seconds
# since, does not run: it ends and is started again.
RESTARTS = 3
STEADY_SECONDS = 120.0

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
    "NRestarts",
    "ActiveEnterTimestampMonotonic",
    "ExecStart",
    "WantedBy",
    "RequiredBy",
    "TriggeredBy",
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
    systemd knows that.  `ends` means that it ends by itself and systemd starts it again; it has
    done so `restarts` times, if it does it over and over.  `program` is the unit's program with
    its first argument.
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
    ends: bool = False
    restarts: int = 0
    program: tuple[str, ...] = ()


@dataclass(frozen=True)
class Systemd:
    """systemd, as a node's services are read and changed through it."""

    run: command.Run = command.run
    processes: Callable[[], Iterable[tuple[int, list[bytes]]]] = processes.command_lines

    def read(self, units: Sequence[str]) -> Mapping[str, UnitState]:
        """The state of each unit, installed or not; raises GanetiGlusterError."""
        done = systemd.ctl(*show_words(units), timeout=READ_SECONDS, run=self.run)
        blocks = parse_show(done.stdout)
        if len(blocks) != len(units):
            raise SystemdSilent(
                "systemctl reported %d units instead of %d" % (len(blocks), len(units))
            )
        now = time.monotonic()
        clock = time.time() - now
        states = (
            state(unit, block, clock=clock, has_file=_has_file, now=now)
            for unit, block in zip(units, blocks, strict=True)
        )
        return {found.name: found for found in self._explained(list(states))}

    def _explained(self, states: Sequence[UnitState]) -> Iterator[UnitState]:
        """The states, with what the properties of their units do not tell."""
        down = [found for found in states if found.program and _is_down(found)]
        strays = outside([found.program for found in down], self.processes) if down else {}
        for found in states:
            more = ""
            if found.restarts and found.status is ServiceStatus.STOPPED and found.pid:
                # A unit forgets how its last process ended when it starts the next one.
                more = systemd.last_exit("%s.service" % found.name, run=self.run)
            elif found in down and found.program in strays:
                more = (
                    "a process of it is running outside its unit (PID %d)"
                    % (strays[found.program])
                )
            if more:
                separator = ", " if found.restarts else "; "
                message = separator.join(text for text in (found.message, more) if text)
                found = replace(found, message=message)
            yield found

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
    name: str,
    properties: Mapping[str, str],
    *,
    clock: float,
    has_file: Callable[[str], bool],
    now: float = 0.0,
) -> UnitState:
    """The state that systemd's properties of a unit stand for, at `now`, in monotonic seconds.

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
    enabled = _enabled(properties)
    ends, restarts = _ends(properties, now)
    if ends:
        message = _restarted(properties, restarts)
    elif active == "active":
        status = ServiceStatus.RUNNING
        if masked:
            message = "masked, and still running"
        elif enabled is False:
            message = "its unit is disabled: it will not start when the node boots"
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
        # What is restarted changes all the time.
        since=round(clock + changed / 1e6) if changed and not ends else None,
        enabled=enabled,
        masked=masked,
        pid=int(properties.get("MainPID") or 0) or None,
        transition=transition,
        cpu=_cpu(properties.get("CPUUsageNSec", "")),
        ends=ends,
        restarts=restarts,
        program=_program(properties.get("ExecStart", "")),
    )


def _ends(properties: Mapping[str, str], now: float) -> tuple[bool, int]:
    """Whether a unit has ended and is started again, and how often so if over and over.

    systemd counts restarts until somebody starts the unit or `reset-failed` is used.
    """
    waits = properties.get("SubState", "").startswith("auto-restart")
    count = int(properties.get("NRestarts") or 0)
    active = properties.get("ActiveState")
    since = int(properties.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    is_new = active == "activating" or (active == "active" and now - since < STEADY_SECONDS)
    over_and_over = count >= RESTARTS and (waits or is_new)
    return waits or over_and_over, count if over_and_over else 0


def _restarted(properties: Mapping[str, str], restarts: int) -> str:
    """`restarted 7 times, exit status 1`; without its end if that is not known any more."""
    parts = ["restarted %d times" % restarts] if restarts else ["waits for its restart"]
    ended = _ended(properties)
    return ", ".join([*parts, *([ended] if ended else [])])


def _transition(properties: Mapping[str, str]) -> str:
    """`activating (start-pre)`, with the last failure where systemd tries again."""
    text = "%s (%s)" % (properties["ActiveState"], properties.get("SubState", "?"))
    if properties.get("Result", "success") != "success":
        text = "%s after a failure: %s" % (text, _reason(properties))
    return text


def _reason(properties: Mapping[str, str]) -> str:
    """Why a unit failed: systemd's result, and how its main process ended."""
    result, ended = properties.get("Result", ""), _ended(properties)
    return "%s, %s" % (result, ended) if ended and ended != "exit status 0" else result


def _ended(properties: Mapping[str, str]) -> str:
    """How the main process of a unit ended, "" if it has not, or there was none."""
    code, status = properties.get("ExecMainCode", ""), properties.get("ExecMainStatus", "")
    if code == _CLD_EXITED:
        return "exit status %s" % status
    if code in (_CLD_KILLED, _CLD_DUMPED):
        return "signal %s" % _signal(status)
    return ""


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


def _enabled(properties: Mapping[str, str]) -> bool | None:
    """Whether a unit starts with the node; None if that does not depend on the unit."""
    state = properties.get("UnitFileState", "")
    if state == "enabled":
        return True
    # Until the node boots, or by another unit, which may be enabled.
    started = any(properties.get(name) for name in ("WantedBy", "RequiredBy", "TriggeredBy"))
    if state == "disabled" and started:
        return None
    return False if state in ("disabled", "enabled-runtime", "masked", "masked-runtime") else None


# ExecStart=, as systemctl shows it: its first command.
_EXEC = re.compile(r"\{ path=(\S+) ; argv\[\]=\S+ ?(\S*)[^;]* ;")


def _program(exec_start: str) -> tuple[str, ...]:
    """The program of a unit, with its first argument if that is a file."""
    found = _EXEC.match(exec_start)
    if found is None:
        return ()
    path, argument = found.groups()
    return (path, argument) if argument.startswith("/") else (path,)


def _is_down(found: UnitState) -> bool:
    return (
        found.status is ServiceStatus.STOPPED
        and found.installed
        and not (found.ends or found.transition)
    )


# What runs a script; its name is the word after it.
_INTERPRETER = re.compile(rb"(python|perl|ruby|sh|bash|dash)[0-9.]*")


def outside(
    programs: Iterable[tuple[str, ...]],
    command_lines: Callable[[], Iterable[tuple[int, list[bytes]]]],
    in_container: Callable[[int], bool] = processes.in_container,
) -> dict[tuple[str, ...], int]:
    """A process for each of the programs of units that do not run, where there is one.

    The programs are those of `UnitState`.
    """
    wanted = {(os.path.basename(words[0]).encode(), *words[1:]): words for words in programs}
    found: dict[tuple[str, ...], int] = {}
    for pid, words in command_lines():
        names = [os.path.basename(word) for word in words[:2]]
        script = len(names) > 1 and _INTERPRETER.fullmatch(names[0]) is not None
        name = names[1] if script else names[0]
        after = words[2:3] if script else words[1:2]
        arguments = [word.decode("utf-8", "replace") for word in after]
        for key in ((name,), (name, *arguments)):
            if key in wanted and wanted[key] not in found and not in_container(pid):
                found[wanted[key]] = pid
    return found


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


def unit_of(service: Service, states: Mapping[str, UnitState]) -> UnitState:
    """The unit that counts for a service: the first one that is installed."""
    for unit in service.units:
        if states[unit].installed:
            return states[unit]
    return UnitState(name="", installed=False, message="looked for %s" % ", ".join(service.units))


def read_services(manager: Systemd, services: Sequence[Service]) -> dict[str, UnitState]:
    """The state of each service by its name, in their order; raises GanetiGlusterError."""
    states = manager.read([unit for service in services for unit in service.units])
    return {service.name: unit_of(service, states) for service in services}
