"""`gnt-gluster swift`, and `gnt-gluster services` for the other service types."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import cli, constants, errors

from ganeti_gluster.client import invocation, service_events
from ganeti_gluster.client.options import JSON_OPT, NODE_OPT, confirm
from ganeti_gluster.client.service_table import moment, overview, wants_colour
from ganeti_gluster.cmdlib import cluster, services
from ganeti_gluster.constants import SERVICES_CONF
from ganeti_gluster.core.services import config, control, expected
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.services.model import ClusterServices, ServerService, ServiceType
from ganeti_gluster.tools.decode import as_data

# All was done, nothing was, some was.
EXIT_DONE, EXIT_NONE, EXIT_SOME = constants.EXIT_SUCCESS, constants.EXIT_FAILURE, 3

# A silent node is reported within 10 s of the call, whatever the other nodes do.
STATUS_SECONDS = 8.5
# What a node has for its answer; a second or two are usual on a busy one.
ANSWER_SECONDS = 6.0
LEAST_ANSWER_SECONDS = 4.0

SERVICE_OPT = cli.cli_option(
    "--service",
    dest="services",
    default=[],
    action="append",
    metavar="SERVICE",
    help="Only this service; can be given several times",
)
TYPE_OPT = cli.cli_option(
    "--type",
    dest="type",
    default=None,
    metavar="TYPE",
    help="The service type, such as GLUSTER_SWIFT or GLUSTER",
)

_FIELDS: dict[str, tuple[str, Callable[[ServerService], object]]] = {
    "type": ("Type", lambda service: service.type),
    "node": ("Node", lambda service: service.node),
    "service": ("Service", lambda service: service.name),
    "status": ("Status", lambda service: service.status),
    "word": ("State", lambda service: service.status.word),
    "message": ("Message", lambda service: service.message or "-"),
    "since": ("Since", lambda service: moment(service.since)),
    "unit": ("Unit", lambda service: service.unit or "-"),
    "enabled": ("Enabled", lambda service: {True: "Y", False: "N", None: "-"}[service.enabled]),
    "pid": ("PID", lambda service: service.pid or "-"),
}
_DEFAULT_FIELDS = ["node", "service", "word", "since", "message"]

_PARTICIPLES = {control.START: "started", control.STOP: "stopped", control.RESTART: "restarted"}


def _type(opts: Any) -> ServiceType:
    """The type that the command is about; raises OpPrereqError."""
    if opts.type is None:
        raise errors.OpPrereqError("Name a service type with --type", errors.ECODE_INVAL)
    return config.load().type(opts.type)


# Looking


def ShowStatus(opts: Any, args: list[str]) -> int:
    """Print the nodes' answers; the exit status says whether all, some or none answered."""
    configuration = config.load()
    types = [configuration.type(opts.type)] if opts.type is not None else list(configuration.types)
    known = cluster.nodes()
    nodes = cluster.choose(known, opts.nodes)
    for each, strange in expected.strange_nodes(types, known):
        cli.ToStderr(
            "%s, section [%s]: there is no node '%s' in this cluster",
            *(SERVICES_CONF, each.name, strange),
        )
    names = {
        service.name for each in types for service in services.choose_services(each, opts.services)
    }
    answer, within = _limits(invocation.running_for())
    snapshot = services.fetch(types, nodes, seconds=answer, within=within)
    snapshot = snapshot.with_services(s for s in snapshot.services if s.name in names)
    if opts.json:
        cli.ToStdout("%s", json.dumps(_status_data(snapshot, types), indent=2, sort_keys=True))
    elif opts.output is not None:
        _print_fields(opts, snapshot)
    else:
        for position, each in enumerate(types):
            lines = overview(snapshot, each.name, each.title, colour=wants_colour())
            for line in [*([""] if position else []), *lines]:
                cli.ToStdout("%s", line)
    asked = snapshot.nodes()
    told = [node for node in asked if node not in snapshot.failures]
    return EXIT_DONE if len(told) == len(asked) else EXIT_SOME if told else EXIT_NONE


def _limits(passed: float) -> tuple[float, float]:
    """The time limits for a node's answer and for all together, so that the command is in time.

    `passed` seconds have passed since the command was called: many on a busy machine.
    """
    rest = STATUS_SECONDS - passed
    answer = min(ANSWER_SECONDS, max(LEAST_ANSWER_SECONDS, rest - 1))
    return answer, max(answer, rest)


def _status_data(snapshot: ClusterServices, types: Sequence[ServiceType]) -> dict[str, Any]:
    """The status as plain data: for each type the whole, each node, and each service."""
    states = [(each, snapshot.of_type(each)) for each in types]
    return {
        "time": snapshot.time,
        "unreachable": dict(snapshot.failures),
        "types": {
            each.name: {
                "title": each.title,
                **whole.to_dict(),
                "nodes": {
                    host.node: {
                        **host.to_dict(),
                        "services": {one.name: as_data(one) for one in host.services},
                    }
                    for host in whole.hosts
                },
            }
            for each, whole in states
        },
    }


def _print_fields(opts: Any, snapshot: ClusterServices) -> None:
    fields = cli.ParseFields(opts.output, _DEFAULT_FIELDS)
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        raise errors.OpPrereqError(
            "Unknown field %s; the fields are %s" % (", ".join(unknown), ", ".join(_FIELDS)),
            errors.ECODE_INVAL,
        )
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else {name: _FIELDS[name][0] for name in fields},
        fields=fields,
        separator=opts.separator,
        data=[
            [str(_FIELDS[name][1](service)) for name in fields] for service in snapshot.services
        ],
    ):
        cli.ToStdout("%s", line)


# Doing


def Start(opts: Any, args: list[str]) -> int:
    """Start services and print the result."""
    return _change(opts, control.START)


def Stop(opts: Any, args: list[str]) -> int:
    """As `Start`."""
    return _change(opts, control.STOP)


def Restart(opts: Any, args: list[str]) -> int:
    """As `Start`."""
    return _change(opts, control.RESTART)


def _change(opts: Any, verb: str) -> int:
    type = _type(opts)
    targets = [node.name for node in services.targets_of(type, opts.nodes)]
    what = _what(opts, type)
    if opts.dry_run:
        cli.ToStdout("Would %s %s", verb, what)
        return EXIT_DONE
    if not targets:
        raise errors.OpPrereqError(
            "%s is not expected on any node; name one with --node" % type.title, errors.ECODE_STATE
        )
    if (
        verb != control.START
        and _whole(type, opts.nodes, targets)
        and confirm(
            opts,
            "This interrupts the service in the whole cluster. %s %s?" % (verb.capitalize(), what),
            otherwise="Nothing was %s" % _PARTICIPLES[verb],
        )
    ):
        type = _type(opts)
        now = _what(opts, type)
        if now != what:
            raise errors.OpPrereqError(
                "Nothing was done: in the meantime this has changed to %s" % now,
                errors.ECODE_STATE,
            )

    def progress(node: str, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            text = outcome.result + (": %s" % outcome.message if outcome.message else "")
            cli.ToStdout("%s %s: %s", node, outcome.service, text)

    outcomes = services.run(
        verb,
        type,
        nodes=opts.nodes,
        services=opts.services,
        user=invocation.caller(),
        on_node_done=None if opts.json else progress,
    )
    if opts.json:
        data = [as_data(outcome) for outcome in outcomes]
        cli.ToStdout("%s", json.dumps(data, indent=2, sort_keys=True))
    return _judge(verb, outcomes, quiet=opts.json)


def _what(opts: Any, type: ServiceType) -> str:
    """The services and the nodes that are meant."""
    chosen = [service.name for service in services.choose_services(type, opts.services)]
    targets = [node.name for node in services.targets_of(type, opts.nodes)]
    return "%s: %s on %s" % (type.title, ", ".join(chosen), ", ".join(targets) or "no node")


def _whole(type: ServiceType, named: Sequence[str], targets: Sequence[str]) -> bool:
    """Whether no node is left that could continue to serve."""
    return not named or set(targets) >= {node.name for node in services.targets_of(type, ())}


def _judge(verb: str, outcomes: Sequence[Outcome], *, quiet: bool) -> int:
    """The exit status, with a line that says how many there are of each result."""
    good = [o for o in outcomes if o.good]
    failed = [o for o in outcomes if o.result == control.FAILED]
    if not quiet:
        rest = len(outcomes) - len(good) - len(failed)
        counts = [
            "%d %s" % (len(good), _PARTICIPLES[verb]),
            "%d failed" % len(failed),
            *(["%d not installed or skipped" % rest] if rest else []),
        ]
        cli.ToStdout("%s", ", ".join(counts))
    if not good:
        return EXIT_NONE
    return EXIT_SOME if failed else EXIT_DONE


def ShowEvents(opts: Any, args: list[str]) -> int:
    """Print what the sync has stored."""
    return service_events.show(
        opts, config.load().type(opts.type).name if opts.type is not None else None
    )


_STATUS_OPTIONS = [NODE_OPT, SERVICE_OPT, JSON_OPT, cli.FIELDS_OPT, cli.NOHDR_OPT, cli.SEP_OPT]
_CHANGE_OPTIONS = [
    *(NODE_OPT, SERVICE_OPT, JSON_OPT),
    *(cli.CONFIRM_OPT, cli.FORCE_OPT, cli.DRY_RUN_OPT),
]

_Function = Callable[[Any, list[str]], int]


def _of_swift(function: _Function) -> _Function:
    """The same for Gluster Swift, without --type."""

    def with_type(opts: Any, args: list[str]) -> int:
        opts.type = config.GLUSTER_SWIFT
        return function(opts, args)

    return with_type


def _commands() -> dict[str, tuple[Any, ...]]:
    table: list[tuple[str, _Function, list[Any], str, str]] = [
        (
            "status",
            ShowStatus,
            _STATUS_OPTIONS,
            "[--node=NODE...]",
            "Show the state of %s on every node",
        ),
        *(
            (verb, function, _CHANGE_OPTIONS, "[--node=NODE...] [--service=SERVICE...]", text)
            for verb, function, text in (
                (control.START, Start, "Start %s on the cluster or on some nodes"),
                (control.STOP, Stop, "Stop %s on the cluster or on some nodes"),
                (control.RESTART, Restart, "Restart %s on the cluster or on some nodes"),
            )
        ),
        (
            "events",
            ShowEvents,
            service_events.OPTIONS,
            "[--follow] [--since=TIME]",
            "Show what happened to %s",
        ),
    ]
    commands = {}
    for word, function, options, usage, text in table:
        commands["swift %s" % word] = (
            _of_swift(function),
            cli.ARGS_NONE,
            options,
            usage,
            text % "the Gluster Swift services",
        )
        commands["services %s" % word] = (
            function,
            cli.ARGS_NONE,
            [TYPE_OPT, *options],
            "--type=TYPE %s" % usage,
            text % "the services of a type",
        )
    return commands


COMMANDS = _commands()
