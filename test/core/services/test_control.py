"""Start, stop and restart on a node: in order, and believed only when read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ganeti_gluster.core.services.config import BUILT_IN
from ganeti_gluster.core.services.control import (
    ABSENT,
    DONE,
    FAILED,
    RESTART,
    START,
    STOP,
    UNCHANGED,
    Controller,
)
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.services.systemd import UnitState
from ganeti_gluster.errors import GanetiGlusterError

SWIFT = BUILT_IN[0]
R, S, N, U = (
    ServiceStatus.RUNNING,
    ServiceStatus.STOPPED,
    ServiceStatus.NOT_INSTALLED,
    ServiceStatus.UNKNOWN,
)
UNITS = ("swift-account", "swift-container", "swift-object", "swift-proxy")


@dataclass
class Fake:
    """A manager whose units do what they are told, but for what a test changes."""

    states: dict[str, UnitState] = field(
        default_factory=lambda: {name: UnitState(name, True, S) for name in UNITS}
    )
    done: list[tuple[str, str]] = field(default_factory=list)
    refuse: frozenset[str] = frozenset()
    now: float = 0.0
    pids: int = 100
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def read(self, units: Sequence[str]) -> Mapping[str, UnitState]:
        for at, what in list(self.later):
            if self.now >= at:
                self.later.remove((at, what))
                what()
        return {unit: self.states.get(unit, UnitState(unit, False)) for unit in units}

    def start(self, unit: str) -> None:
        self._act(START, unit)
        if self.states[unit].status is not R:
            self.pids += 1
            self.set(unit, status=R, pid=self.pids)

    def stop(self, unit: str) -> None:
        self._act(STOP, unit)
        self.set(unit, status=S, pid=None, message="")

    def _act(self, verb: str, unit: str) -> None:
        self.done.append((verb, unit))
        if unit in self.refuse:
            raise GanetiGlusterError("systemctl %s %s: exit status 1" % (verb, unit))

    def set(self, unit: str, **changes: object) -> None:
        self.states[unit] = replace(self.states[unit], **changes)  # type: ignore[arg-type]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, verb: str) -> dict[str, tuple[str, ServiceStatus, str]]:
        controller = Controller(self, SWIFT.name, sleep=self.sleep, clock=lambda: self.now)
        return {
            outcome.service: (outcome.result, outcome.status, outcome.message)
            for outcome in controller.run(verb, SWIFT.services)
        }


def test_a_start_goes_from_the_stores_to_the_proxy_and_a_stop_back() -> None:
    fake = Fake()
    assert set(fake.run(START).values()) == {(DONE, R, "")}
    assert fake.done == [(START, unit) for unit in UNITS]
    fake.done.clear()
    assert set(fake.run(STOP).values()) == {(DONE, S, "")}
    assert fake.done == [(STOP, unit) for unit in reversed(UNITS)]
    fake.done.clear()
    assert set(fake.run(RESTART).values()) == {(DONE, R, "")}
    assert fake.done == [(STOP, unit) for unit in reversed(UNITS)] + [
        (START, unit) for unit in UNITS
    ]


def test_what_is_so_already_is_unchanged() -> None:
    fake = Fake()
    assert set(fake.run(STOP).values()) == {(UNCHANGED, S, "")}
    fake.run(START)
    assert set(fake.run(START).values()) == {(UNCHANGED, R, "")}


def test_a_failure_of_one_keeps_no_other() -> None:
    fake = Fake(refuse=frozenset({"swift-container"}))
    fake.set("swift-object", masked=True, message="masked")
    fake.start = lambda unit: None if unit == "swift-object" else Fake.start(fake, unit)  # type: ignore[method-assign]
    del fake.states["swift-account"]
    assert fake.run(START) == {
        "account": (
            ABSENT,
            N,
            "looked for gluster-swift-account, openstack-swift-account, swift-account",
        ),
        "container": (FAILED, S, "systemctl start swift-container: exit status 1"),
        "object": (FAILED, S, "masked; use systemctl unmask swift-object.service"),
        "proxy": (DONE, R, ""),
    }


def test_a_service_that_dies_soon_after_its_start_has_failed() -> None:
    fake = Fake()
    why = "failed: exit-code, exit status 1"
    fake.later.append((3, lambda: fake.set("swift-proxy", status=S, pid=None, message=why)))
    assert fake.run(START)["proxy"] == (FAILED, S, why)


def test_one_that_systemd_starts_again_and_again_has_failed() -> None:
    fake = Fake()
    fake.later.append((1, lambda: fake.set("swift-proxy", pid=999)))
    assert fake.run(START)["proxy"] == (FAILED, R, "it ended and was restarted within 4 s")


@pytest.mark.parametrize(("share", "died_at", "result"), [(0.5, 7, FAILED), (0.05, 7, DONE)])
def test_one_that_still_works_at_its_beginning_is_watched_for_longer(
    share: float, died_at: float, result: str
) -> None:
    fake = Fake()
    fake.set("swift-account", status=R, pid=1)  # runs already, and works hard
    fake.read = lambda units: {  # type: ignore[method-assign]
        unit: replace(state, cpu=fake.now * {UNITS[0]: 1, UNITS[3]: share}.get(unit, 0))
        for unit, state in Fake.read(fake, units).items()
    }
    fake.later.append((died_at, lambda: fake.set("swift-proxy", status=S, pid=None)))
    assert fake.run(START)["proxy"][0] == result
    assert fake.now < 10.5


def test_the_end_of_a_transition_is_waited_for_but_not_for_ever() -> None:
    fake = Fake()
    fake.run(START)
    fake.stop = lambda unit: fake.set(
        unit, transition="deactivating", message="deactivating (stop)"
    )  # type: ignore[method-assign]
    begin = fake.now
    for unit in UNITS[:3]:
        fake.later.append(
            (begin + 6, lambda unit=unit: fake.set(unit, status=S, transition="", message=""))
        )  # type: ignore[misc]
    found = fake.run(STOP)
    assert found["object"] == (DONE, S, "")
    assert found["proxy"] == (FAILED, U, "deactivating (stop)")
    assert fake.now - begin == pytest.approx(10, abs=0.5)


def test_a_stop_that_is_refused_is_reported_even_if_it_runs_on() -> None:
    fake = Fake()
    fake.run(START)
    fake.refuse = frozenset({"swift-proxy"})
    assert fake.run(STOP)["proxy"] == (FAILED, R, "systemctl stop swift-proxy: exit status 1")
    assert fake.run(RESTART)["proxy"][:2] == (FAILED, R)


def test_what_ends_over_and_over_is_stopped_and_that_is_told() -> None:
    fake = Fake()
    again = "restarted 7 times, exit status 1"
    fake.run(START)
    fake.set("swift-proxy", status=S, ends=True, restarts=7, message=again)
    fake.stop = lambda unit: None if unit == "swift-proxy" else Fake.stop(fake, unit)  # type: ignore[method-assign]
    assert fake.run(STOP)["proxy"] == (FAILED, S, again)
    fake.stop = lambda unit: fake.set(unit, status=S, ends=False, message="")  # type: ignore[method-assign]
    # It was down, but something had to be done.
    assert fake.run(STOP) == {
        "account": (UNCHANGED, S, ""),
        "container": (UNCHANGED, S, ""),
        "object": (UNCHANGED, S, ""),
        "proxy": (DONE, S, ""),
    }
