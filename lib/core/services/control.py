"""Start, stop and restart services on this node, and check the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from ganeti_gluster.core.services.model import Service, ServiceStatus
from ganeti_gluster.core.services.systemd import Systemd, UnitState, read_services
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.decode import Name, OneOf

START, STOP, RESTART = "start", "stop", "restart"
VERBS = (START, STOP, RESTART)

# A service that has started must stay so for this long, in seconds: some die soon
# after systemd has called them active, and Python takes its time to begin.
SETTLE_SECONDS = 4.0
# While it still uses more than this share of a processor, over a second, it may not have
# begun yet, as on a busy machine: it is watched for longer, up to TRANSITION_SECONDS.
BUSY_SHARE = 0.1
_BUSY_SECONDS = 1.0
# How long a service may be on its way to another state.
TRANSITION_SECONDS = 10.0
_PAUSE = 0.25

DONE, UNCHANGED, FAILED, ABSENT = "done", "unchanged", "failed", "not installed"
RESULTS = (DONE, UNCHANGED, FAILED, ABSENT)


@dataclass(frozen=True)
class Outcome:
    """What came of it for one service of a node.

    `result` is "done", "unchanged" (it was so already), "failed" or "not
    installed"; `status` is what was read afterwards.  `node` is for the master to fill
    in.
    """

    node: Name
    type: Name
    service: Name
    result: Annotated[str, OneOf(RESULTS)]
    status: ServiceStatus
    message: str = ""

    @property
    def good(self) -> bool:
        """Whether it is now as it was asked for."""
        return self.result in (DONE, UNCHANGED)


@dataclass(frozen=True)
class Controller:
    """Changes services of this node by `manager`; `type` is for the outcomes."""

    manager: Systemd
    type: str
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self, verb: str, services: Sequence[Service]) -> list[Outcome]:
        """Do it to all `services`, which stand in the order of their start.

        What fails for one service does not keep the others.  Raises
        GanetiGlusterError if their state cannot be read before.
        """
        before = read_services(self.manager, services)
        errors: dict[str, str] = {}
        if verb in (STOP, RESTART):
            self._each(STOP, reversed(services), before, errors)
        if verb in (START, RESTART):
            self._each(START, services, before, errors)
        begun = {
            name
            for name, unit in before.items()
            if verb == RESTART or (verb == START and unit.status is not ServiceStatus.RUNNING)
        }
        after, unsteady, seconds = self._settled(verb, services, begun)
        for name in unsteady:
            errors[name] = "it ended and was restarted within %.0f s" % seconds
        return [
            self._outcome(verb, service, before, after, errors.get(service.name, ""))
            for service in services
        ]

    def _each(
        self,
        verb: str,
        services: Iterable[Service],
        before: Mapping[str, UnitState],
        errors: dict[str, str],
    ) -> None:
        for service in services:
            unit = before[service.name]
            if not unit.installed:
                continue
            act = self.manager.start if verb == START else self.manager.stop
            try:
                act(unit.name)
            except GanetiGlusterError as err:
                errors[service.name] = str(err)

    def _settled(
        self, verb: str, services: Sequence[Service], begun: Collection[str]
    ) -> tuple[dict[str, UnitState], set[str], float]:
        """The states once none is in transition, and what was `begun` has lasted.

        With them, the names of services that did not last, whatever they are now, and
        for how many seconds they were watched.
        """
        begin = self.clock()
        history: list[tuple[float, dict[str, UnitState]]] = []
        least = SETTLE_SECONDS if verb in (START, RESTART) else 0.0
        pids: dict[str, set[int]] = {service.name: set() for service in services}
        while True:
            states = read_services(self.manager, services)
            for name, state in states.items():
                pids[name] |= {state.pid} if state.pid else set()
            now = self.clock()
            history.append((now, states))
            passed = now - begin
            moving = any(state.transition for state in states.values())
            if passed >= TRANSITION_SECONDS or (
                passed >= least and not moving and not _busy(history, begun)
            ):
                return states, {name for name, seen in pids.items() if len(seen) > 1}, passed
            self.sleep(_PAUSE)

    def _outcome(
        self,
        verb: str,
        service: Service,
        before: Mapping[str, UnitState],
        after: Mapping[str, UnitState],
        error: str,
    ) -> Outcome:
        was, now = before[service.name], after[service.name]
        wanted = ServiceStatus.STOPPED if verb == STOP else ServiceStatus.RUNNING
        status = ServiceStatus.UNKNOWN if now.transition else now.status
        if not now.installed:
            result, message = ABSENT, now.message
        elif status is not wanted:
            result, message = FAILED, now.message or error or "it is %s" % status.word.lower()
            if now.masked and wanted is ServiceStatus.RUNNING:
                message = "masked; use systemctl unmask %s.service" % now.name
        elif (error and verb != STOP) or (now.ends and verb == STOP):
            result, message = FAILED, error or now.message
        elif verb != RESTART and was.status is wanted and not (was.transition or was.ends):
            result, message = UNCHANGED, ""
        else:
            result, message = DONE, ""
        return Outcome("", self.type, service.name, result, status, message)


def _busy(
    history: Sequence[tuple[float, Mapping[str, UnitState]]], names: Collection[str]
) -> bool:
    """Whether one of these services has used the processor in the last second.

    `history` has when which states were seen.
    """
    now, states = history[-1]
    earlier = [seen for seen in history if seen[0] <= now - _BUSY_SECONDS]
    if not earlier:
        return False
    then, past = earlier[-1]
    for name in names:
        used, before = states[name].cpu, past[name].cpu
        if used is not None and before is not None and used - before > BUSY_SHARE * (now - then):
            return True
    return False
