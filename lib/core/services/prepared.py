"""The answer that a node's agent has prepared for the master: the states of the services.

The restricted command `gluster-services-prepared`, a shell script, prints it if the agent that
wrote it is alive and wrote it recently, and if the configuration and the master have not changed;
otherwise it reads the states itself.  The agent removes the answer when systemd reports a change,
and reads the states again.  systemd reports changes with a short delay, so
`gluster-services-status` is there for exact answers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.verify.stamps import of_file
from ganeti_gluster.tools import private, processes
from ganeti_gluster.tools.ini import InvalidConfiguration

COMMAND = "gluster-services-prepared"
#: Seconds for which it counts after it was written; the command has the same number.
FRESH = 150


def stamp() -> object:
    """What an answer depends on, beside systemd: the configuration, and who is the master."""
    return of_file(constants.SERVICES_CONF), of_file(constants.GANETI_MASTER_NODE)


def units(configuration: ServicesConfig) -> list[str]:
    """The units on which an answer depends."""
    return [
        "%s.service" % unit
        for found in configuration.types
        for service in found.services
        for unit in service.units
    ]


def configuration() -> ServicesConfig:
    """This node's configuration; the built-in one if its file is invalid (the answer says so)."""
    try:
        return config.load()
    except InvalidConfiguration:
        return ServicesConfig()


def settled(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is valid until systemd reports a change.

    A service that was restarted over and over is Up again after a while, which is no change of
    its unit.
    """
    services = [found for each in answer["types"].values() for found in each["services"]]
    return not any(
        found["transition"] or found["restarts"] or found["status"] == ServiceStatus.UNKNOWN.value
        for found in services
    )


def head(answer: Mapping[str, Any], pid: int, *, has_configuration: bool) -> Sequence[str]:
    """What its validity depends on: the agent, its start, the time of writing, and so on."""
    began = processes.stat_of(pid)[19]
    with open("/proc/uptime", encoding="ascii") as stream:
        now = stream.read().partition(".")[0]
    return str(pid), began, now, "yes" if has_configuration else "no", answer["master"]


def write(answer: Mapping[str, Any], path: str = constants.SERVICES_PREPARED) -> None:
    """Have it ready; by the agent, and again at least every `FRESH` seconds."""
    has_configuration = os.path.exists(constants.SERVICES_CONF)
    words = head(answer, os.getpid(), has_configuration=has_configuration)
    private.write(path, "%s\n%s\n" % (" ".join(words), json.dumps(answer)))


def take_away(path: str = constants.SERVICES_PREPARED) -> None:
    """Have nothing ready any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
