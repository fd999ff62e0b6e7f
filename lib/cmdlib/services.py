"""The services of the whole cluster: fetched from every node, started and stopped there.

To be used on the master, as root.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures

from ganeti import errors

from ganeti_gluster import constants
from ganeti_gluster.cmdlib import cluster
from ganeti_gluster.core.services import answers, by_users, config, control, patience, prepared
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.services.inquiry import OFFLINE, Inquiry
from ganeti_gluster.core.services.model import ClusterServices, Service, ServiceNode, ServiceType
from ganeti_gluster.core.services.patience import MOST_SECONDS, Patience
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private, systemd

# What a node has for its answer, and all of them together with the services that are
# on their way to another state, which are read again until then.
FETCH_SECONDS = 8.0
TRANSITION_SECONDS = control.TRANSITION_SECONDS
_PAUSE = 0.5

SKIPPED = "skipped"
SYNC_UNIT = "gluster-services-sync.service"

# What a node's restricted command has to have for a start or stop.
_ACT_SECONDS = 60
_ACT_EXTRA_SECONDS = 60
_THREADS = 32


# Fetching


def fetch(
    types: Sequence[ServiceType],
    nodes: Sequence[ServiceNode] | None = None,
    *,
    seconds: float = FETCH_SECONDS,
    within: float = TRANSITION_SECONDS,
    known: Patience | None = None,
    longer: Collection[str] = (),
    ready: Collection[str] = (),
) -> ClusterServices:
    """The services of `types` on the cluster's nodes, or on some, as the nodes tell now.

    All nodes are asked at once, so however many are silent, it takes `seconds` (whole
    ones), or longer where answers took long before (`known`, which learns what they take
    now): a node that does not tell until then is UNKNOWN, with the reason.  Those named in
    `longer` have the longest time there is, those in `ready` are asked for what their agents
    have ready, which may be a moment old.  Services in transition are read again until
    `within` is over.  libcurl adds a second at the most.
    """
    inquiry = Inquiry(types, cluster.nodes() if nodes is None else nodes)
    known = known or patience.load()
    end = time.monotonic() + within
    while True:
        limits = {
            name: MOST_SECONDS if name in longer else known.limit(name, seconds)
            for name in inquiry.to_ask
        }
        for command, asked in _commands_of(inquiry.to_ask, ready).items():
            found = cluster.ask(command, asked, seconds=limits, known=known)
            for name, answer in found.items():
                if not answer.reason:
                    known.answered(name, answer.seconds)
            inquiry.take(found)
        ready = ()
        rest = end - time.monotonic() - _PAUSE
        if not inquiry.to_ask or rest < 1:
            return inquiry.snapshot()
        time.sleep(_PAUSE)
        seconds = min(seconds, rest)


def _commands_of(
    addresses: Mapping[str, str], ready: Collection[str]
) -> dict[str, dict[str, str]]:
    """By restricted command, the addresses of the nodes that are asked by it."""
    found: dict[str, dict[str, str]] = {prepared.COMMAND: {}, on_node.STATUS_COMMAND: {}}
    for name, address in addresses.items():
        command = prepared.COMMAND if name in ready else on_node.STATUS_COMMAND
        found[command][name] = address
    return found


# Starting and stopping

OnNode = Callable[[str, list[Outcome]], None]


def run(
    verb: str,
    type: ServiceType,
    *,
    nodes: Sequence[str] = (),
    services: Sequence[str] = (),
    user: str,
    on_node_done: OnNode | None = None,
) -> list[Outcome]:
    """Start, stop or restart services of a type on nodes, all of either for none.

    What changed is an event with the name of `user`.

    Each outcome is what was read on the node afterwards.  Nodes work side by side,
    the services of a node in the order of their start (or its reverse), and a
    failure of one keeps no other.  Nodes on which the type is not expected, and
    offline ones, are left out, unless named.  `on_node_done` gets a node's outcomes
    as soon as they are there.  Raises OpPrereqError for unknown names.
    """
    chosen = choose_services(type, services)
    commands = _commands(verb, type, chosen)
    targets = targets_of(type, nodes)
    outcomes: list[Outcome] = []

    def work(node: ServiceNode) -> tuple[str, list[Outcome]]:
        if node.offline:
            result = control.FAILED if nodes else SKIPPED
            return node.name, answers.all_alike(type, chosen, node.name, result, OFFLINE)
        return node.name, _run_on(node, type, chosen, commands)

    # A thread for each node: a silent one delays no other.
    with futures.ThreadPoolExecutor(_THREADS) as pool:
        for done in futures.as_completed([pool.submit(work, node) for node in targets]):
            name, of_node = done.result()
            outcomes += of_node
            if any(outcome.result in (control.DONE, control.FAILED) for outcome in of_node):
                by_users.keep([by_users.event(verb, user, of_node)])
            if on_node_done is not None:
                on_node_done(name, of_node)
    sync_soon()
    return sorted(outcomes, key=lambda outcome: outcome.node)


def _run_on(
    node: ServiceNode,
    type: ServiceType,
    chosen: Sequence[Service],
    commands: Sequence[tuple[str, Sequence[Service]]],
) -> list[Outcome]:
    """Run the control commands on one node, one after the other."""
    address = {node.name: node.address}
    try:
        known = patience.load()
        answer = cluster.ask(
            on_node.COMMANDS_COMMAND,
            address,
            seconds=known.limit(node.name, FETCH_SECONDS),
            known=known,
        )
        if answers.digests(answer[node.name]).get(type.name) != config.digest(type):
            raise GanetiGlusterError(answers.OTHER_CONFIGURATION)
    except GanetiGlusterError as err:
        return answers.all_alike(type, chosen, node.name, control.FAILED, str(err))
    outcomes: list[Outcome] = []
    for name, covered in commands:
        seconds = _ACT_SECONDS * 2 * len(covered) + _ACT_EXTRA_SECONDS
        answer = cluster.ask(name, address, seconds=seconds)
        outcomes += answers.parse_outcomes(answer[node.name], type, covered, node.name)
    return outcomes


def choose_services(type: ServiceType, names: Sequence[str]) -> list[Service]:
    """The services called `names` in the order of their start, all for none."""
    chosen = {name: type.service(name) for name in names}
    for name, service in chosen.items():
        if service is None:
            raise errors.OpPrereqError(
                "%s has no service '%s', only %s"
                % (type.name, name, ", ".join(service.name for service in type.services)),
                errors.ECODE_NOENT,
            )
    return [service for service in type.services if not names or service in chosen.values()]


def targets_of(type: ServiceType, names: Sequence[str]) -> Sequence[ServiceNode]:
    """The nodes called `names`; for none, those on which the type is expected."""
    nodes = cluster.choose(cluster.nodes(), names)
    return nodes if names else [node for node in nodes if node in type.nodes]


def _commands(
    verb: str, type: ServiceType, chosen: Sequence[Service]
) -> list[tuple[str, list[Service]]]:
    """The restricted commands to run one after the other, each with what it covers."""
    if len(chosen) == len(type.services):
        return [(on_node.command_name(verb, type.name), list(chosen))]
    ordered = list(reversed(chosen)) if verb == control.STOP else list(chosen)
    return [(on_node.command_name(verb, type.name, each.name), [each]) for each in ordered]


def sync_soon() -> None:
    """Have a sync that begins after now, so that events of what was done are there soon."""
    # A sync that runs already would not look again by itself.
    private.touch(constants.SERVICES_SYNC_WANTED)
    systemd.ctl("start", "--no-block", SYNC_UNIT, timeout=10, check=False)
