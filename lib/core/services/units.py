"""The unit of each service of a node, as systemd has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti_gluster.core.services.model import Service
from ganeti_gluster.core.services.systemd import Systemd, UnitState


def which(service: Service, states: Mapping[str, UnitState]) -> UnitState:
    """The unit that counts for a service: the first one that is installed."""
    for unit in service.units:
        if states[unit].installed:
            return states[unit]
    return UnitState(name="", installed=False, message="looked for %s" % ", ".join(service.units))


def read(manager: Systemd, services: Sequence[Service]) -> dict[str, UnitState]:
    """The state of each service by its name, in their order; raises GanetiGlusterError."""
    states = manager.read([unit for service in services for unit in service.units])
    return {service.name: which(service, states) for service in services}
