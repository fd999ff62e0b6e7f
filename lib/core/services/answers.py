"""What nodes answer to the restricted commands, and what the master makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganeti_gluster.core.services import config, control
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.services.model import ServerService, Service, ServiceStatus, ServiceType
from ganeti_gluster.core.services.node import FORMAT
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Name, NotUnderstood

# How long Ganeti's RPC waits for a connection, in seconds.
CONNECT_SECONDS = 5

# libcurl's error codes.
_CANNOT_CONNECT = 7
_NOT_TAKEN = 23
_TIMED_OUT = 28
# Of TLS: its library says more of itself than of the cause.
_TLS = frozenset([35, 51, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91])

# What the state of a single service may be.
_STATES = frozenset(ServiceStatus) - {ServiceStatus.PARTIALLY_UP}


@dataclass(frozen=True)
class NodeAnswer:
    """What a node's restricted command printed, or the `reason` why there is nothing.

    `error` is that in the words of Ganeti's RPC, `seconds` what the answer took.
    """

    output: str = ""
    reason: str = ""
    error: str = ""
    seconds: float = 0.0


class Body:
    """What a node daemon sends in answer to a restricted command, `longest` bytes at most."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._data = bytearray()

    def take(self, data: bytes) -> int:
        """Take a part, as libcurl hands it over, which ends a transfer at any other number."""
        if len(self._data) + len(data) > self._longest:
            return 0
        self._data += data
        return len(data)

    def text(self) -> str:
        """The answer, which Ganeti's RPC can read; raises NotUnderstood.

        That is `[true, OUTPUT]` or `[false, REASON]`, both of them texts of any content.
        """
        try:
            text = self._data.decode()
        except UnicodeDecodeError as err:
            raise NotUnderstood("", "it is not UTF-8") from err
        parts = decode.plain(text, longest=self._longest)
        if not isinstance(parts, list) or [type(part) for part in parts] != [bool, str]:
            raise NotUnderstood("", "it is not an outcome and a string")
        return text

    def complaint(self) -> str:
        """What stands in place of an answer, for people."""
        return decode.printable(self._data.decode("utf-8", "replace"))


@dataclass(frozen=True)
class _Told:
    """A node's answer about a type."""

    digest: Name
    services: tuple[ServerService, ...]


def explain(message: str, seconds: int, *, known: bool = False) -> str:
    """The reason in the node RPC's error `message`, the same for the same cause.

    libcurl's own words have the milliseconds in them.  `seconds` is the time limit.  A node
    that is `known` has answered before: it has this package.
    """
    question = "" if known else "; is ganeti-gluster installed there?"
    message = decode.printable(message)
    match = re.match(r"Error (\d{1,9}): (.*)", message)
    if match is None:
        if re.fullmatch(r"Executing command '.*' failed", message):
            return "its node daemon refuses" + question
        return message
    code, text = int(match.group(1)), match.group(2).strip()
    if code == _TIMED_OUT and "onnection" in text:
        return "no connection within %d s" % min(CONNECT_SECONDS, seconds)
    if code == _TIMED_OUT:
        return "no answer within %d s%s" % (seconds, question)
    if code == _NOT_TAKEN:
        return str(NotUnderstood("", "it is too long"))
    if code in _TLS:
        return "no TLS connection; does it have this cluster's certificate?"
    if code == _CANNOT_CONNECT:
        return "no connection; is the node up, and is ganeti-noded running there?"
    return text


def parse_status(
    answer: NodeAnswer, node: str, types: Iterable[ServiceType]
) -> dict[str, list[ServerService]]:
    """A node's answer to the status command, by the names of `types`.

    The master's configuration counts: what the node's one lacks is UNKNOWN.  Raises
    GanetiGlusterError with the reason if there is no answer, or one that does not fit.
    """
    told = decode.value(dict[Name, _Told], data(answer).get("types", {}), "types")
    by_type: dict[str, list[ServerService]] = {}
    for each in types:
        own = told.get(each.name)
        if own is None or own.digest != config.digest(each):
            by_type[each.name] = [
                ServerService(
                    each.name, service.name, node, ServiceStatus.UNKNOWN, OTHER_CONFIGURATION
                )
                for service in each.services
            ]
            continue
        for service in own.services:
            _check(service, each)
        if [service.name for service in own.services] != [one.name for one in each.services]:
            raise NotUnderstood("types", "not the requested services of %s" % each.name)
        by_type[each.name] = [replace(service, node=node) for service in own.services]
    return by_type


def _check(service: ServerService, type: ServiceType) -> None:
    """Raise NotUnderstood where it cannot be one of the type's services on a node."""
    known = type.service(service.name)
    if service.type != type.name or known is None:
        raise NotUnderstood("types", "a service that does not belong to %s" % type.name)
    if service.status not in _STATES or service.unit not in ("", *known.units):
        raise NotUnderstood("types", "a state that %s %s cannot have" % (type.name, known.name))


OTHER_CONFIGURATION = (
    "its gluster-services.conf differs from that of the master; copy the file there"
)


def data(answer: NodeAnswer, *, longest: int = decode.LONGEST) -> dict[str, Any]:
    """The plain data in an answer; raises GanetiGlusterError with the reason if none."""
    if answer.reason:
        raise GanetiGlusterError(answer.reason)
    fields = decode.plain(answer.output, longest=longest)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise GanetiGlusterError("it has a different version of ganeti-gluster")
    if "error" in fields:
        raise GanetiGlusterError(decode.value(str, fields["error"], "error"))
    return fields


def part(answer: NodeAnswer, name: str, hint: Any) -> Any:
    """One part of an answer by its annotation; raises GanetiGlusterError if it is not there."""
    fields = data(answer)
    if name not in fields:
        raise NotUnderstood(name, "it is missing")
    return decode.value(hint, fields[name], name)


def packed(answer: NodeAnswer, *, longest: int) -> str:
    """The dump that a node gives, for `replica.unpack`; raises GanetiGlusterError."""
    dump = data(answer, longest=longest).get("dump")
    if not isinstance(dump, str):
        raise NotUnderstood("dump", "not a string")
    return dump


def digests(answer: NodeAnswer) -> dict[str, str]:
    """The digests of a node's types by their names; raises GanetiGlusterError."""
    known: dict[str, str] = part(answer, "types", dict[Name, Name])
    return known


def master(answer: NodeAnswer) -> str:
    """Which node the answering one considers the master, "" if it does not say.

    Raises GanetiGlusterError if there is no answer.
    """
    name: str = decode.value(Name, data(answer).get("master", ""), "master")
    return name


def parse_outcomes(
    answer: NodeAnswer, type: ServiceType, covered: Sequence[Service], node: str
) -> list[Outcome]:
    """A node's answer to a control command; without one, all that it covers has failed."""
    try:
        outcomes: Sequence[Outcome] = part(answer, "outcomes", tuple[Outcome, ...])
        names = [(outcome.type, outcome.service) for outcome in outcomes]
        if names != [(type.name, service.name) for service in covered]:
            raise NotUnderstood("outcomes", "not of the requested services")
    except GanetiGlusterError as err:
        return all_alike(type, covered, node, control.FAILED, str(err))
    return [replace(outcome, node=node) for outcome in outcomes]


def all_alike(
    type: ServiceType, services: Sequence[Service], node: str, result: str, message: str
) -> list[Outcome]:
    """The same outcome for each of `services`, whose status is UNKNOWN."""
    return [
        Outcome(node, type.name, service.name, result, ServiceStatus.UNKNOWN, message)
        for service in services
    ]
