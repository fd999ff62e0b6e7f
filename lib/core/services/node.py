"""A node's answers to the master: the work of the restricted commands.

A restricted command has a name and no arguments, so there is one for each possible request: to
start, stop or restart a type, or one of its services.  They are links to one script, which derives
its task from its own name, and are created from the configuration (`make_commands`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.control import VERBS, Controller
from ganeti_gluster.core.services.model import ServerService, Service, ServiceStatus, ServiceType
from ganeti_gluster.core.services.systemd import Systemd, UnitState, read_services
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import private
from ganeti_gluster.tools.decode import as_data

FORMAT = 1
STATUS_COMMAND = "gluster-services-status"
COMMANDS_COMMAND = "gluster-services-commands"
REPLICATE_COMMAND = "gluster-services-replicate"
DUMP_COMMAND = "gluster-services-dump"

COMMAND_DIRECTORY = "/etc/ganeti/restricted-commands"
CONTROL_SCRIPT = "/usr/share/ganeti-gluster/restricted-commands/gluster-services-control"
_CONTROL_PREFIXES = tuple("gluster-services-%s-" % verb for verb in VERBS)

# How long one start or stop waits for another one on the same node, in seconds.
LOCK_SECONDS = 20


class ControlInProgress(GanetiGlusterError):
    """Another process starts or stops services on this node."""


def command_name(verb: str, type: str, service: str | None = None) -> str:
    """The restricted command that starts, stops or restarts a type or one service."""
    # No type has a "-" in its name: no two commands have the same.
    return "-".join(["gluster-services", verb, type, *([service] if service is not None else [])])


def commands(configuration: ServicesConfig) -> dict[str, tuple[str, ServiceType, Service | None]]:
    """What each control command does, by its name."""
    return {
        command_name(verb, type.name, service.name if service else None): (verb, type, service)
        for type in configuration.types
        for verb in VERBS
        for service in (None, *type.services)
    }


def status(configuration: ServicesConfig, manager: Systemd, *, master: str = "") -> dict[str, Any]:
    """This node's services as plain data; what cannot be read is UNKNOWN.

    `master` is the node that this one takes for the master.
    """
    answer: dict[str, Any] = {"format": FORMAT, "master": master, "types": {}}
    for type in configuration.types:
        try:
            states = read_services(manager, type.services)
            services = [of_unit(type.name, name, state) for name, state in states.items()]
        except GanetiGlusterError as err:
            services = [
                ServerService(type.name, service.name, "", ServiceStatus.UNKNOWN, str(err))
                for service in type.services
            ]
        answer["types"][type.name] = {
            "digest": config.digest(type),
            "services": [as_data(service) for service in services],
        }
    return answer


def of_unit(type: str, name: str, state: UnitState) -> ServerService:
    """A service as its unit says; which node this is, the master knows."""
    return ServerService(
        type=type,
        name=name,
        node="",
        status=state.status,
        message=state.message,
        since=state.since,
        unit=state.name,
        enabled=state.enabled,
        pid=state.pid,
        transition=state.transition,
        restarts=state.restarts,
    )


def control(name: str, configuration: ServicesConfig, manager: Systemd) -> dict[str, Any]:
    """Do what the command called `name` is for; the outcomes as plain data.

    Raises GanetiGlusterError.
    """
    try:
        verb, type, service = commands(configuration)[name]
    except KeyError:
        raise GanetiGlusterError(
            "%s is not a command in the configuration of this node" % name,
            hint="copy the master's %s to this node" % constants.SERVICES_CONF,
        ) from None
    with _alone():
        outcomes = Controller(manager, type.name).run(
            verb, [service] if service else type.services
        )
    return {"format": FORMAT, "outcomes": [as_data(outcome) for outcome in outcomes]}


def _alone() -> contextlib.AbstractContextManager[int]:
    """Keep other starts and stops off this node; raises `ControlInProgress` after a while."""
    refusal = ControlInProgress("services are already being started or stopped on this node")
    return private.locked(constants.SERVICES_LOCK, seconds=LOCK_SECONDS, refusal=refusal)


def make_commands(
    configuration: ServicesConfig,
    *,
    directory: str = COMMAND_DIRECTORY,
    script: str = CONTROL_SCRIPT,
) -> list[str]:
    """Have exactly the control commands that the configuration asks for; their names.

    Idempotent; files that are not links to `script` are never touched.
    """
    wanted = commands(configuration)
    ours = {
        entry.name
        for entry in os.scandir(directory)
        if entry.name.startswith(_CONTROL_PREFIXES)
        and entry.is_symlink()
        and os.readlink(entry.path) == script
    }
    for name in ours - set(wanted):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    for name in set(wanted) - ours:
        with contextlib.suppress(FileExistsError):
            os.symlink(script, os.path.join(directory, name))
    return sorted(wanted)


def main(work: Callable[[], dict[str, Any]]) -> int:
    """Print what `work` returns, or why it could not be had, as JSON for the master."""
    # Ganeti gives a restricted command an empty environment.
    os.environ.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        answer = work()
    except (GanetiGlusterError, OSError) as err:
        answer = {"format": FORMAT, "error": in_words(err)}
    json.dump(answer, sys.stdout)
    return 0


def known_master() -> str:
    """The master as this node knows it, "" if it does not."""
    try:
        with open(constants.GANETI_MASTER_NODE, encoding="ascii") as stream:
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def answer_status() -> dict[str, Any]:
    """For the restricted command `STATUS_COMMAND`."""
    return status(config.load(), Systemd(), master=known_master())


def answer_commands() -> dict[str, Any]:
    """For the restricted command `COMMANDS_COMMAND`: make the others, and say for what."""
    configuration = config.load()
    make_commands(configuration)
    return {
        "format": FORMAT,
        "types": {type.name: config.digest(type) for type in configuration.types},
    }


def answer_control() -> dict[str, Any]:
    """For the links to `CONTROL_SCRIPT`."""
    return control(os.path.basename(sys.argv[0]), config.load(), Systemd())
