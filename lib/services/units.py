"""A node's services as its service manager has them: what systemd and SysV have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ganeti_gluster.services.model import Service, Status


@dataclass(frozen=True)
class UnitState:
    """One unit of a node; `status` is the one before while there is a `transition`.

    `cpu` is what all its processes have used of a processor, in seconds, where the
    manager knows that.
    """

    name: str
    installed: bool
    status: Status = Status.NOT_INSTALLED
    message: str = ""
    since: float | None = None
    enabled: bool | None = None
    masked: bool = False
    pid: int | None = None
    transition: str = ""
    cpu: float | None = None


class Manager(Protocol):
    """A node's service manager."""

    def read(self, units: Sequence[str]) -> Mapping[str, UnitState]:
        """The state of each unit, installed or not; raises GanetiGlusterError."""

    def start(self, unit: str) -> None:
        """Ask for the start of a unit and wait for the manager's answer.

        That it runs is not certain then.  Raises GanetiGlusterError.
        """

    def stop(self, unit: str) -> None:
        """As `start`."""


def manager() -> Manager:
    """The service manager that runs this node."""
    from ganeti_gluster.services import systemd, sysv

    # As sd_booted(3) tells it.
    return systemd.Systemd() if os.path.isdir("/run/systemd/system") else sysv.SysV()


def which(service: Service, states: Mapping[str, UnitState]) -> UnitState:
    """The unit that counts for a service: the first one that is installed."""
    for unit in service.units:
        if states[unit].installed:
            return states[unit]
    return UnitState(name="", installed=False, message="looked for %s" % ", ".join(service.units))


def read(manager: Manager, services: Sequence[Service]) -> dict[str, UnitState]:
    """The state of each service by its name, in their order; raises GanetiGlusterError."""
    states = manager.read([unit for service in services for unit in service.units])
    return {service.name: which(service, states) for service in services}
