"""What nodes answer to the restricted commands, and what the master makes of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.services import config, control
from ganeti_gluster.services.control import Outcome
from ganeti_gluster.services.model import (
    Node,
    ServerService,
    Service,
    ServiceType,
    Snapshot,
    Status,
)
from ganeti_gluster.services.node import FORMAT

# How long Ganeti's RPC waits for a connection, in seconds.
CONNECT_SECONDS = 5

# libcurl's error codes.
_CANNOT_CONNECT = 7
_TIMED_OUT = 28


@dataclass(frozen=True)
class Answer:
    """What a node's restricted command printed, or the `reason` why there is nothing."""

    output: str = ""
    reason: str = ""


def explain(message: str, seconds: int) -> str:
    """The reason in the node RPC's error `message`, the same for the same cause.

    libcurl's own words have the milliseconds in them.  `seconds` is the time limit.
    """
    found = re.match(r"Error (\d+): (.*)", message, re.DOTALL)
    if found is None:
        if re.fullmatch(r"Executing command '.*' failed", message):
            return "its node daemon refuses; is ganeti-gluster installed there?"
        return message.strip()
    code, text = int(found.group(1)), found.group(2).strip()
    if code == _TIMED_OUT and "onnection" in text:
        return "no connection within %d s" % min(CONNECT_SECONDS, seconds)
    if code == _TIMED_OUT:
        return "no answer within %d s; is ganeti-gluster installed there?" % seconds
    if code == _CANNOT_CONNECT:
        return "no connection; is the node up, and does ganeti-noded run there?"
    return text


def parse_status(
    answer: Answer, node: str, types: Iterable[ServiceType]
) -> dict[str, list[ServerService]]:
    """A node's answer to the status command, by the names of `types`.

    The master's configuration counts: what the node's one lacks is UNKNOWN.  Raises
    GanetiGlusterError with the reason if there is no answer.
    """
    told = data(answer).get("types", {})
    found: dict[str, list[ServerService]] = {}
    for each in types:
        own = told.get(each.name, {})
        if own.get("digest") != config.digest(each):
            found[each.name] = [
                ServerService(each.name, service.name, node, Status.UNKNOWN, OTHER_CONFIGURATION)
                for service in each.services
            ]
            continue
        try:
            services = [ServerService.from_dict(service) for service in own["services"]]
        except (KeyError, TypeError, ValueError) as err:
            raise GanetiGlusterError("its answer is not understood: %r" % (err,)) from err
        found[each.name] = [replace(service, node=node) for service in services]
    return found


OTHER_CONFIGURATION = "it has another gluster-services.conf than the master; copy it there"


def data(answer: Answer) -> dict[str, Any]:
    """The plain data in an answer; raises GanetiGlusterError with the reason if none."""
    if answer.reason:
        raise GanetiGlusterError(answer.reason)
    try:
        found = json.loads(answer.output)
    except ValueError as err:
        raise GanetiGlusterError("its answer is not JSON: %.100s" % answer.output.strip()) from err
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise GanetiGlusterError("it has another version of ganeti-gluster")
    if "error" in found:
        raise GanetiGlusterError(str(found["error"]))
    return found


def master(answer: Answer) -> str:
    """Which node the one that answers takes for the master, "" if it does not say.

    Raises GanetiGlusterError if there is no answer.
    """
    return str(data(answer).get("master", ""))


def moving(types: Mapping[str, list[ServerService]]) -> bool:
    """Whether a service is on its way to another state."""
    return any(service.transition for services in types.values() for service in services)


def snapshot(
    types: Sequence[ServiceType],
    expected: Mapping[str, Sequence[Node]],
    told: Mapping[str, Mapping[str, list[ServerService]]],
    failures: Mapping[str, str],
    *,
    final: bool,
) -> Snapshot:
    """All services expected on nodes, from what nodes told, by name and type, or did not.

    `final`: those still on their way are UNKNOWN.
    """
    services: list[ServerService] = []
    for each in types:
        for node in expected[each.name]:
            if node.name in told:
                services += told[node.name][each.name]
            else:
                services += _unknown(each, node.name, failures[node.name])
    if final:
        services = [
            replace(found, status=Status.UNKNOWN) if found.transition else found
            for found in services
        ]
    return Snapshot(time.time(), tuple(services), dict(failures))


def _unknown(type: ServiceType, node: str, reason: str) -> list[ServerService]:
    return [
        ServerService(type.name, service.name, node, Status.UNKNOWN, reason)
        for service in type.services
    ]


def parse_outcomes(
    answer: Answer, type: ServiceType, covered: Sequence[Service], node: str
) -> list[Outcome]:
    """A node's answer to a control command; without one, all that it covers has failed."""
    try:
        outcomes = [Outcome.from_dict(outcome) for outcome in data(answer)["outcomes"]]
    except (GanetiGlusterError, KeyError, TypeError, ValueError) as err:
        return all_alike(type, covered, node, control.FAILED, str(err))
    return [replace(outcome, node=node) for outcome in outcomes]


def all_alike(
    type: ServiceType, services: Sequence[Service], node: str, result: str, message: str
) -> list[Outcome]:
    """The same outcome for each of `services`, whose status is UNKNOWN."""
    return [
        Outcome(node, type.name, service.name, result, Status.UNKNOWN, message)
        for service in services
    ]
