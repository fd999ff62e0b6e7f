"""TLS for a pool: certificates for all nodes, and the restarts that take them into use.

The pool has TLS as a whole: the connections of glusterd, and those of clients and self-heal
daemons to the bricks of all its volumes.  One end without TLS cannot talk to one with it, so all
processes change at the same time.  Images are not available in the meantime, and requests of
guests wait for them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ganeti_gluster.cmdlib import cluster, node_maintenance, pool_state
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import absence, authority, members, profile, tls
from ganeti_gluster.core.pool.agents import AgentFailed, Agents
from ganeti_gluster.core.pool.build import BRICK_SECONDS, PEER_SECONDS, offline_bricks
from ganeti_gluster.core.pool.healing import Healer
from ganeti_gluster.core.pool.steps import Say, Step, wait
from ganeti_gluster.core.pool.tls import NodeTls
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed, VolumeInfo

#: Seconds that a node may take to stop and start all that it serves.
RESTART_SECONDS = 2 * tls.UNIT_SECONDS + 30
#: Seconds for all image servers of a node to start again.
RENEW_SECONDS = 600
#: Seconds that an authority's copies may take.
COPY_SECONDS = 30
#: A certificate that was made less than a day ago is not made again.
FRESH_SECONDS = (authority.NODE_DAYS - 1) * 86400

_SWITCHES = ("client.ssl", "server.ssl")
_ALLOWED = "auth.ssl-allow"


@dataclass(frozen=True)
class Parts:
    """The nodes that take part: members of the pool, and nodes that only reach its volumes."""

    managed: ManagedPool
    members: tuple[str, ...]
    clients: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.members, *self.clients)


def parts(volume: str, client: Any, agents: Agents) -> Parts:
    """Who takes part, of the pool that has a volume; raises `GanetiGlusterError`.

    A member that is not a node of this cluster cannot be given a certificate.
    """
    managed = pool_state.find_volume(client, agents, volume)
    managed.pool.volume(volume)
    others = [one.pool for one in pool_state.find_all(client, agents) if one != managed]
    pool = managed.pool
    known = {pool.uuid(name) for name in managed.all_names()}
    foreign = [peer.hostname for peer in pool.peers if peer.uuid not in known]
    if foreign:
        raise InvalidParameter(
            "members of the pool are not nodes of this cluster: %s" % ", ".join(foreign)
        )
    inside = [name for name in managed.names() if pool.state(name) != members.OUTSIDE]
    away = [name for name in inside if pool.state(name) != members.CONNECTED]
    if away and not _is_mixed(inside, agents):
        raise GanetiGlusterError(
            "nodes are not connected in the pool: %s" % ", ".join(away),
            hint="see gnt-gluster pool status",
        )
    group = managed.settings[volume].group if volume in managed.settings else ""
    outside = [
        name
        for name in managed.names(group)
        if name not in inside and not any(other.uuid(name) for other in others)
    ]
    return Parts(managed, tuple(inside), tuple(outside))


def _is_mixed(inside: Sequence[str], agents: Agents) -> bool:
    """Whether all members answer, and only some use TLS, so that they cannot be connected.

    A switch that did not reach all of them leaves that, and another one mends it.
    """
    seen, errors = agents.try_all("tls", {node: {} for node in inside})
    return not errors and len({one.management for one in seen.values()}) > 1


# -- on and off --------------------------------------------------------------


def encrypting(volume: str, client: Any, agents: Agents, say: Say) -> list[Step]:
    """The steps to TLS for the whole pool of a volume; those that are done are found again."""
    who = parts(volume, client, agents)
    return [
        *_certificate_steps(who, client, agents),
        *(
            Step(
                "volume %s: TLS required" % info.name,
                partial(_has_tls, agents, who, info.name),
                partial(_require, agents, who, info.name),
            )
            for info in who.managed.pool.volumes
        ),
        _switch_step(who, agents, say, management=True),
        *_end_steps(volume, who, agents, say),
    ]


def plaining(volume: str, client: Any, agents: Agents, say: Say) -> list[Step]:
    """The steps back to connections without TLS; keys and certificates stay where they are."""
    who = parts(volume, client, agents)
    return [
        *(
            Step(
                "volume %s: TLS not required" % info.name,
                lambda name=info.name: not _has_any(agents, who, name),  # type: ignore[misc]
                partial(_release, agents, who, info.name),
            )
            for info in who.managed.pool.volumes
        ),
        _switch_step(who, agents, say, management=False),
        *_end_steps(volume, who, agents, say),
    ]


def _certificate_steps(who: Parts, client: Any, agents: Agents) -> list[Step]:
    """A step for each node without a usable certificate; those that were given are kept.

    Raises `GanetiGlusterError` if some nodes have certificates of an authority that is not
    ours, and others have none.
    """
    seen: dict[str, NodeTls] = agents.all("tls", {node: {} for node in who.nodes})
    now = time.time()
    own = authority.digest()
    good = {node: one for node, one in seen.items() if one.fits(node, now=now)}
    given = {one.authorities for one in good.values() if one.authorities != own}
    if (
        len(good) == len(seen)
        and len(given) == 1
        and given == {one.authorities for one in good.values()}
    ):
        return [_link_step(node, agents) for node in who.nodes]
    if given:
        strange = sorted(node for node, one in good.items() if one.authorities != own)
        lacking = sorted(
            "%s (%s)" % (node, one.problem or "its name is %s" % one.name)
            for node, one in seen.items()
            if node not in strange
        )
        raise GanetiGlusterError(
            "%s trust another authority than %s" % (", ".join(strange), ", ".join(lacking)),
            hint="give each node a certificate of that authority, with the node's name as common"
            " name, or remove %s from %s" % (tls.CERTIFICATE, tls.DIRECTORIES[0]),
        )
    return [_issue_step(node, client, agents) for node in who.nodes]


def _issue_step(node: str, client: Any, agents: Agents, *, spare: float = 0.0) -> Step:
    def done() -> bool:
        one: NodeTls = agents.one(node, "tls")
        trusted = authority.digest()
        return one.fits(node, now=time.time(), spare=spare) and one.authorities == trusted

    return Step("%s: key and certificate" % node, done, partial(_issue, node, client, agents))


def _link_step(node: str, agents: Agents) -> Step:
    """GlusterFS finds what was given to the node, in whichever directory it looks."""

    def done() -> bool:
        one: NodeTls = agents.one(node, "tls")
        return one.linked

    return Step(
        "%s: given key and certificate" % node, done, partial(agents.one, node, "link-certificate")
    )


def _issue(node: str, client: Any, agents: Agents) -> None:
    authority.create(client.QueryClusterInfo()["name"])
    share(client)
    lines = agents.one(node, "request-certificate", name=node)
    certificate = authority.issue("".join("%s\n" % line for line in lines), node)
    agents.one(
        node,
        "install-certificate",
        timeout=tls.CLOCK_SECONDS + 30,
        certificate=certificate,
        authorities=authority.certificate(),
    )


def share(client: Any) -> None:
    """Give the master candidates the authority; raises if one does not take it."""
    candidates = [
        node.name for node in cluster.nodes(client) if node.master_candidate and not node.offline
    ]
    for path in authority.FILES:
        missed = cluster.SshChannel().copy(path, candidates, seconds=COPY_SECONDS)
        if missed:
            raise GanetiGlusterError("cannot copy %s to %s" % (path, ", ".join(missed)))


def _options(agents: Agents, who: Parts, name: str) -> dict[str, str]:
    info = agents.gluster(who.managed.pool.anchor).volume(name)
    return dict(info.options) if info else {}


def _has_tls(agents: Agents, who: Parts, name: str) -> bool:
    options = _options(agents, who, name)
    return all(profile.normal(options.get(option, "")) == "on" for option in _SWITCHES) and (
        set(who.nodes) <= set(options.get(_ALLOWED, "").split(","))
    )


def _has_any(agents: Agents, who: Parts, name: str) -> bool:
    options = _options(agents, who, name)
    return any(option in options for option in (*_SWITCHES, _ALLOWED))


def _require(agents: Agents, who: Parts, name: str) -> None:
    allowed = _options(agents, who, name).get(_ALLOWED, "")
    names = dict.fromkeys([*filter(None, allowed.split(",")), *who.nodes])
    words = [word for option in _SWITCHES for word in (option, "on")]
    gluster = agents.gluster(who.managed.pool.anchor)
    gluster.ask("volume", "set", name, *words, _ALLOWED, ",".join(names))


def _release(agents: Agents, who: Parts, name: str) -> None:
    gluster = agents.gluster(who.managed.pool.anchor)
    for option in (*_SWITCHES, _ALLOWED):
        if option in _options(agents, who, name):
            gluster.ask("volume", "reset", name, option)


def _switch_step(who: Parts, agents: Agents, say: Say, *, management: bool) -> Step:
    """All of Gluster's processes are stopped, and started with TLS or without."""

    def done() -> bool:
        try:
            seen: dict[str, NodeTls] = agents.all("tls", {node: {} for node in who.nodes})
            return all(one.management == management for one in seen.values()) and not problem()
        except (GlusterFailed, CommandFailed, AgentFailed):
            return False

    def problem() -> str:
        return _trouble(agents, who)

    def switch() -> None:
        agents.all(
            "restart-glusterd",
            {node: {"management": management} for node in who.nodes},
            timeout=RESTART_SECONDS,
        )
        wait("pool", problem, seconds=PEER_SECONDS + BRICK_SECONDS, say=say)

    text = "glusterd and bricks of all nodes restarted %s TLS"
    return Step(text % ("with" if management else "without"), done, switch)


def _trouble(agents: Agents, who: Parts) -> str:
    """Which member is not connected or which brick is not online, "" if all is well."""
    pool = who.managed.pool
    for node in who.members:
        problem = absence.apart(agents, pool, node, who.members)
        if problem:
            return problem
    gluster = agents.gluster(pool.anchor)
    for info in pool.volumes:
        problem = offline_bricks(gluster, info.name) if info.started else ""
        if problem:
            return problem
    return ""


def _end_steps(volume: str, who: Parts, agents: Agents, say: Say) -> list[Step]:
    """Clients connect again and reach the volume, and what was cut short is healed."""
    arguments: dict[str, Any] = {
        "volume": volume,
        "servers": who.managed.pool.volume(volume).servers,
    }

    def renew() -> None:
        agents.all("renew-clients", {node: {} for node in who.nodes}, timeout=RENEW_SECONDS)

    def reach() -> None:
        agents.all("try-volume", dict.fromkeys(who.nodes, arguments))

    steps = [Step("image servers of all nodes restarted", lambda: False, renew)]
    if who.managed.pool.volume(volume).started:
        text = "volume %s reachable through libgfapi from every node" % volume
        steps.append(Step(text, lambda: False, reach))
    healer = Healer(agents, who.managed.pool, who.members, say)
    for info in who.managed.pool.volumes:
        if info.started and info.set_size > 1:
            text = "volume %s: everything healed" % info.name
            steps.append(Step(text, lambda: False, partial(healer.heal, info.name)))
    return steps


# -- renewal -----------------------------------------------------------------


def renewing(volume: str, client: Any, agents: Agents, say: Say) -> list[Step]:
    """The steps to new certificates, and to their use on one node after the other.

    Certificates of another authority are used as they are now.
    """
    who = parts(volume, client, agents)
    seen: dict[str, NodeTls] = agents.all("tls", {node: {} for node in who.nodes})
    without = sorted(node for node, one in seen.items() if not one.management)
    if without:
        raise GanetiGlusterError(
            "the pool does not use TLS on %s" % ", ".join(without),
            hint="run gnt-gluster pool modify --tls on %s" % volume,
        )
    steps = []
    trusted = {one.authorities for one in seen.values() if one.authorities}
    if trusted == {authority.digest()}:
        steps += [_issue_step(node, client, agents, spare=FRESH_SECONDS) for node in who.nodes]
    else:
        wrong = sorted(
            "%s: %s" % (node, one.problem or "its name is %s, or it has ended" % one.name)
            for node, one in seen.items()
            if not one.fits(node, now=time.time())
        )
        if wrong or len(trusted) != 1:
            raise GanetiGlusterError(
                "the key of the authority is not on this node, and certificates of nodes cannot"
                " be used: %s" % ("; ".join(wrong) or "they are of different authorities"),
                hint="put new files in their places, or copy %s from a former master"
                % " and ".join(authority.FILES),
            )
    for node in who.members:
        steps.append(_restart_step(who, node, client, agents, say))
    for node in who.clients:
        steps.append(
            Step(
                "%s: image servers restarted" % node,
                lambda: False,
                partial(agents.one, node, "renew-clients", timeout=RENEW_SECONDS),
            )
        )
    return steps


def _restart_step(who: Parts, node: str, client: Any, agents: Agents, say: Say) -> Step:
    """One node's processes start again, while those of all others have everything."""
    pool, names = who.managed.pool, who.members

    def done() -> bool:
        one: NodeTls = agents.one(node, "tls")
        return not one.stale

    def restart() -> None:
        resting = node_maintenance.resting(who.managed.nodes)
        absence.check(agents, pool, node, names, resting=resting)
        agents.one(node, "restart-glusterd", timeout=RESTART_SECONDS)
        wait("pool", lambda: _trouble(agents, who), seconds=PEER_SECONDS + BRICK_SECONDS, say=say)
        healer = Healer(agents, pool, names, say)
        for info in _of_node(who, node):
            healer.heal(info.name)
        agents.one(node, "renew-clients", timeout=RENEW_SECONDS)

    return Step("%s: glusterd, bricks and image servers use the certificate" % node, done, restart)


def _of_node(who: Parts, node: str) -> list[VolumeInfo]:
    """The started volumes with copies that have a brick on a node, each once."""
    with_bricks = {volume.name for volume, _ in who.managed.pool.bricks_on(node)}
    return [
        info
        for info in who.managed.pool.volumes
        if info.name in with_bricks and info.started and info.set_size > 1
    ]


def _accepted(gluster: Gluster) -> dict[str, list[str]]:
    """The names that each volume accepts, of those volumes that limit them."""
    limits = {info.name: dict(info.options).get(_ALLOWED) for info in gluster.volumes()}
    return {name: names.split(",") for name, names in limits.items() if names is not None}


# -- new nodes ---------------------------------------------------------------


def joining(managed: ManagedPool, node: str, client: Any, agents: Agents) -> list[Step]:
    """The steps that a node needs before it can join a pool; none where that has no TLS."""
    anchor: NodeTls = agents.one(managed.pool.anchor, "tls")
    if not anchor.management:
        return []
    if anchor.authorities != authority.digest():
        seen: NodeTls = agents.one(node, "tls")
        if not seen.fits(node, now=time.time()) or seen.authorities != anchor.authorities:
            raise GanetiGlusterError(
                "the pool uses TLS with certificates that were given to it, and node %s has none"
                " that fits" % node,
                hint="put %s into %s there" % (", ".join(tls.FILES), tls.DIRECTORIES[0]),
            )
        steps = [_link_step(node, agents)]
    else:
        steps = [_issue_step(node, client, agents)]

    def limited() -> dict[str, list[str]]:
        """The volumes that do not let the node in, with the names that they accept."""
        return {name: names for name, names in _accepted(gluster).items() if node not in names}

    def allow() -> None:
        for name, names in limited().items():
            gluster.ask("volume", "set", name, _ALLOWED, ",".join([*names, node]))

    gluster = agents.gluster(managed.pool.anchor)
    return [
        *steps,
        Step(
            "%s: glusterd uses TLS" % node,
            lambda: bool(agents.one(node, "tls").management and not agents.one(node, "tls").stale),
            lambda: agents.one(node, "restart-glusterd", timeout=RESTART_SECONDS, management=True),
        ),
        Step("volumes accept the certificate of %s" % node, lambda: not limited(), allow),
    ]


# -- nodes that leave --------------------------------------------------------


def leaving(gluster: Gluster, node: str) -> list[Step]:
    """The step after which no volume accepts the certificate that a node keeps, if one does."""

    def accepting() -> dict[str, list[str]]:
        """By volume, the names beside it.  Without a name glusterd would let in all."""
        return {
            name: [each for each in names if each != node]
            for name, names in _accepted(gluster).items()
            if node in names and names != [node]
        }

    def shut_out() -> None:
        for name, others in accepting().items():
            gluster.ask("volume", "set", name, _ALLOWED, ",".join(others))

    text = "volumes do not accept the certificate of %s any more" % node
    return [Step(text, lambda: not accepting(), shut_out)] if accepting() else []
