"""From a Ganeti cluster with glusterd on its nodes to a volume that it uses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti_gluster import __version__
from ganeti_gluster.cmdlib import cluster, pool_nodes, pool_tls, pool_use
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.core.pool import checks, hosts
from ganeti_gluster.core.pool import members as pool_members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.build import Build, PoolLayout, VolumeDiffers
from ganeti_gluster.core.pool.checks import Problem
from ganeti_gluster.core.pool.facts import CandidateFacts
from ganeti_gluster.core.pool.hosts import PRIMARY, STORAGE, Addresses
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.settings import JOIN, Settings
from ganeti_gluster.core.pool.shape import Shape, whole_sets
from ganeti_gluster.core.pool.steps import Say, Step, run
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools import names
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import GlusterFailed, VolumeInfo

#: Where a device is mounted, if nothing is said.
DEFAULT_DIRECTORY = "/srv/gluster/bricks"


@dataclass(frozen=True)
class CreateOptions:
    """What the administrator asked for; `nodes` is empty for all of the group's.

    `network` is one of `hosts.NETWORKS`, "" if nothing was said.
    """

    volume: str
    shape: Shape
    directory: str
    device: str = ""
    nodes: tuple[str, ...] = ()
    group: str | None = None
    node_add: str = ""
    configure: bool = True
    wipe: bool = False
    force: bool = False
    tls: bool = False
    network: str = ""


@dataclass
class Plan:
    """The steps, and what was found on the way to them."""

    layout: PoolLayout
    steps: list[Step]
    facts: dict[str, CandidateFacts]
    problems: list[Problem] = field(default_factory=list)

    def obstacles(self, force: bool) -> list[Problem]:
        """The problems that prevent the command from continuing."""
        return [
            problem
            for problem in self.problems
            if problem.blocks and not (problem.force and force)
        ]


def order(opts: Any) -> CreateOptions:
    """The order from the command line's options; raises `InvalidParameter`."""
    directory = opts.brick_dir or (DEFAULT_DIRECTORY if opts.brick_device else "")
    if not directory:
        raise InvalidParameter("give --brick-dir, --brick-device, or both")
    asked = CreateOptions(
        volume=names.volume_name(opts.volume),
        shape=Shape.wanted(
            replica=opts.replica,
            arbiter=opts.arbiter,
            disperse=opts.disperse,
            redundancy=opts.redundancy,
        ),
        directory=directory,
        device=opts.brick_device or "",
        nodes=_names(opts.pool_nodes),
        group=opts.nodegroup,
        node_add=opts.on_node_add or "",
        configure=opts.configure,
        wipe=opts.wipe,
        force=opts.force,
        tls=opts.tls,
        network=opts.pool_network or "",
    )
    # Before anything is formatted by what could not be kept then.
    _settings(asked).tags()
    return asked


def _names(given: Sequence[str] | None) -> tuple[str, ...]:
    """The nodes of --nodes, () without it; raises `InvalidParameter`."""
    if given is None:
        return ()
    if not given or "" in given:
        raise InvalidParameter("--nodes: give the names of nodes, with commas between them")
    return tuple(given)


def plan(asked: CreateOptions, client: Any, agents: Agents, say: Say) -> Plan:
    """Look at all nodes and say what would be done; changes nothing."""
    nodes = cluster.nodes(client)
    members, clients = _choose(asked, nodes)
    everyone = [*members, *(node for node in clients if node not in members)]
    addresses = {node.name: node.addresses for node in nodes}
    called = _called(asked, members, addresses)
    facts, errors = pool_nodes.look(
        agents,
        everyone,
        directory=asked.directory,
        volume=asked.volume,
        device=asked.device,
        hosts=called,
    )
    problems = [Problem(node, reason) for node, reason in errors.items()]
    known = [node for node in members if node in facts]
    anchor = checks.anchor({node: facts[node] for node in known}, members[0]) if known else ""
    pool = _pool(agents, anchor, addresses, facts) if anchor else None
    existing = _volume(pool, asked.volume)
    with_bricks, spares = whole_sets(members, asked.shape)
    if not with_bricks:
        raise InvalidParameter(
            "%s needs %d nodes, but there are %d: %s"
            % (asked.shape, asked.shape.set_size, len(members), ", ".join(members))
        )
    if pool and existing:
        _check_directory(existing, asked.directory)
        owners = {b.server: pool.node_of(b, list(addresses)) or b.server for b in existing.bricks}
        with_bricks = list(dict.fromkeys(owners.values()))
        spares = [node for node in members if node not in with_bricks]
        seen = {node: server for server, node in owners.items()}
        _check_network(asked, called, seen)
        called = {**{node: pool.host(node) for node in spares}, **seen}
    layout = PoolLayout(
        volume=asked.volume,
        shape=asked.shape,
        nodes=tuple(with_bricks),
        spares=tuple(spares),
        clients=tuple(clients),
        directory=asked.directory,
        device=asked.device,
        anchor=anchor or members[0],
        owner=pool_use.owner(client),
        wipe=asked.wipe,
        force=asked.force,
        existing=tuple(map(str, existing.bricks)) if existing else (),
        wiped={
            node: facts[node].wiped(asked.directory, wipe=asked.wipe)
            for node in members
            if node in facts
        },
        hosts=called,
    )
    problems += checks.check(
        {node: facts[node] for node in known},
        bricks=known,
        volume=asked.volume,
        volume_id=existing.uuid if existing else "",
        plugin=__version__,
        wipe=asked.wipe,
        hosts=called,
    )
    problems += _of_shape(asked)
    problems += _of_ganeti(asked)
    steps = [*Build(layout, agents, say).steps(), *_ganeti_steps(asked, layout, client)]
    if asked.tls:
        steps.append(_tls_step(asked.volume, client, agents, say))
    return Plan(layout, steps, facts, problems)


def _check_directory(volume: VolumeInfo, directory: str) -> None:
    elsewhere = [str(brick) for brick in volume.bricks if os.path.dirname(brick.path) != directory]
    if elsewhere:
        raise VolumeDiffers(
            "volume %s already exists, with bricks that are not in %s: %s"
            % (volume.name, directory, ", ".join(elsewhere)),
            hint="choose another name; `gnt-gluster pool status` shows the existing volumes",
        )


def _choose(asked: CreateOptions, nodes: Sequence[ClusterNode]) -> tuple[list[str], list[str]]:
    """The nodes of the pool in order, and those that must reach the volume."""
    known = {node.name: node for node in nodes}
    groups = {node.group for node in nodes}
    if asked.group is not None and asked.group not in groups:
        raise InvalidParameter("there is no node group %s, or it has no nodes" % asked.group)
    usable = [
        node.name
        for node in nodes
        if not node.offline and (asked.group is None or node.group == asked.group)
    ]
    clients = [name for name in usable if known[name].vm_capable]
    if not asked.nodes:
        return usable, clients
    members = [cluster.find(nodes, name).name for name in asked.nodes]
    for name in members:
        if members.count(name) > 1:
            raise InvalidParameter("node %s is named more than once" % name)
        if known[name].offline:
            raise InvalidParameter("node %s is offline in Ganeti" % name)
        if name not in usable:
            raise InvalidParameter("node %s is not in node group %s" % (name, asked.group))
    return members, clients


def _called(asked: CreateOptions, members: Sequence[str], addresses: Addresses) -> dict[str, str]:
    """What the members are to be called in the pool; raises `InvalidParameter`."""
    without = [node for node in members if not hosts.secondary(addresses[node])]
    if asked.network == STORAGE and without:
        raise InvalidParameter(
            "these nodes have no secondary address: %s" % ", ".join(without),
            hint="give them one with gnt-node modify --secondary-ip, or leave out --network",
        )
    return {node: hosts.host_in(asked.network or PRIMARY, node, addresses) for node in members}


def _check_network(
    asked: CreateOptions, called: Mapping[str, str], seen: Mapping[str, str]
) -> None:
    """Raise `VolumeDiffers` if another network was asked for than that of an existing volume."""
    others = [server for node, server in seen.items() if called.get(node, server) != server]
    if asked.network and others:
        raise VolumeDiffers(
            "volume %s already exists, with servers that are not named in the %s network: %s"
            % (asked.volume, asked.network, ", ".join(others)),
            hint="leave out --network to continue with it, or choose another name",
        )


def _pool(
    agents: Agents, anchor: str, addresses: Addresses, facts: Mapping[str, CandidateFacts]
) -> Pool | None:
    told = {node: seen.uuid for node, seen in facts.items() if seen.uuid}
    try:
        return pool_members.read(agents.gluster(anchor), anchor, addresses, told)
    except (GlusterFailed, CommandFailed):
        return None  # without a glusterd, which is a problem of its own


def _volume(pool: Pool | None, name: str) -> VolumeInfo | None:
    return next((info for info in pool.volumes if info.name == name), None) if pool else None


def _of_shape(asked: CreateOptions) -> list[Problem]:
    dangers = [
        Problem("volume", "%s: %s" % (asked.shape, text), force=True)
        for text in asked.shape.dangers()
    ]
    remarks = [
        Problem("volume", "%s: %s" % (asked.shape, text), blocks=False)
        for text in asked.shape.remarks()
    ]
    return dangers + remarks


def _of_ganeti(asked: CreateOptions) -> list[Problem]:
    """Instances whose disks would be looked for on another volume than theirs."""
    if not asked.configure:
        return []
    elsewhere = sorted(
        {
            "%s (%s)" % (disk.instance, disk.spec.name)
            for disk in pool_use.template_disks()
            if disk.spec.name != asked.volume and asked.group in (None, disk.group)
        }
    )
    if not elsewhere:
        return []
    return [
        Problem(
            "Ganeti",
            "these instances have disks on another volume and could not access them any more: %s"
            % ", ".join(elsewhere),
            "create the volume for another node group (--group), or use --no-configure",
        )
    ]


def _ganeti_steps(asked: CreateOptions, layout: PoolLayout, client: Any) -> list[Step]:
    params = pool_use.params_for(layout.volume, layout.servers)
    kept = _settings(asked)
    steps = []
    if asked.configure:
        steps.append(
            Step(
                "Ganeti's disk template gluster on volume %s%s"
                % (layout.volume, " in group %s" % asked.group if asked.group else ""),
                lambda: pool_use.is_used(client, params, asked.group),
                lambda: pool_use.use(client, params, asked.group),
            )
        )
    steps.append(
        Step(
            "settings of the pool (on node-add: %s)" % kept.node_add,
            lambda: pool_use.read_settings(client).get(layout.volume) == kept,
            lambda: _keep(client, kept),
        )
    )
    return steps


def _tls_step(volume: str, client: Any, agents: Agents, say: Say) -> Step:
    """All that `pool modify --tls on` does; what that is can be seen only when all is built."""
    return Step(
        "TLS for all connections of the pool",
        lambda: False,
        lambda: run(pool_tls.encrypting(volume, client, agents, say), say),
    )


def _settings(asked: CreateOptions) -> Settings:
    """How the pool is kept from then on."""
    return Settings(
        asked.volume, asked.directory, asked.device, asked.node_add or JOIN, asked.group or ""
    )


def _keep(client: Any, kept: Settings) -> None:
    pool_use.write_settings(client, kept)
    if pool_use.read_settings(client).get(kept.volume) != kept:
        raise GanetiGlusterError("Ganeti accepted the tags, but has different ones now")
