"""`pool evacuate` and `pool replace`: where bricks go, and the changes in Ganeti."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ganeti_gluster import __version__
from ganeti_gluster.cmdlib import pool_nodes, pool_state, pool_tls, pool_use
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import brick_moves, build, checks, members, silent
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.brick_moves import BrickMove, BrickMover, MoveRefused
from ganeti_gluster.core.pool.destroy import DISCARD_SECONDS
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import Say, Step
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools.gluster_cli import VolumeBrick, VolumeInfo


def evacuation(
    node: str, client: Any, agents: Agents, say: Say, *, target: str | None
) -> list[Step]:
    """The steps that leave `node` without a brick; to `target`, or to spares.

    The node stays in the pool: removing it from Ganeti's cluster takes it out.
    """
    managed = pool_state.find_known(client, agents, node)
    pool_state.need(managed, node)
    if target is not None:
        pool_state.need(managed, target)
    if managed.pool.state(node) == members.DISCONNECTED:
        raise MoveRefused(
            "node %s does not answer, so its bricks cannot be moved" % node,
            hint="replace it with gnt-gluster pool replace %s NEW" % node,
        )
    mover = BrickMover(agents, managed.pool, managed.names(), say)
    steps: list[Step] = []
    heals: list[Step] = []
    discards: list[Step] = []
    taken: set[tuple[str, str]] = set()
    for volume, brick in mover.dead_first(managed.pool.bricks_on(node)):
        brick_moves.need_copies(volume, brick)
        kept = managed.settings.get(volume.name)
        directory = kept.directory if kept else brick_moves.directory_of(brick)
        hosts = [name for name in managed.names(kept.group if kept else "") if name != node]
        candidates = [
            name for name in ([target] if target else hosts) if (name, volume.name) not in taken
        ]
        ready = members.ready_spares(agents, managed.pool, volume, candidates, directory)
        if target and not ready and not brick.arbiter:
            raise MoveRefused(
                "node %s cannot take a brick of volume %s" % (target, volume.name),
                hint="`gnt-gluster pool status` shows the spares",
            )
        new = brick_moves.choose(managed.pool, volume, brick, candidates=ready, hosts=candidates)
        taken.add((new, volume.name))
        move = _move(managed, volume, brick, new, directory)
        steps += mover.steps(move, heal_first=True)
        heals.append(mover.heal_step(move.volume, move.node, move.path))
        discards.append(_discarded(agents, managed, volume, node, brick.path))
    # What was moved before an interruption may not be healed yet.
    moved = {volume for _, volume in taken}
    for volume in managed.pool.volumes:
        if volume.name in moved or volume.set_size < 2 or not volume.started:
            continue
        kept = managed.settings.get(volume.name)
        path = "%s/%s" % (kept.directory, volume.name) if kept else ""
        removal = [_discarded(agents, managed, volume, node, path)] if path else []
        if not moved or not all(step.done() for step in removal):
            heals.append(_healed(mover, volume))
            discards += removal
    return [*steps, *heals, *discards, *_servers(managed, client, agents)]


def replacement(
    old: str, new: str, client: Any, agents: Agents, say: Say, *, force: bool, wipe: bool
) -> list[Step]:
    """The steps that put `new` in the place of `old`, which is dead.

    May be run again while they are under way, and after the old node has left the pool.
    Raises `GanetiGlusterError` if the new node is not fit.
    """
    if old == new:
        raise InvalidParameter("a node cannot be replaced by itself")
    managed = pool_state.find_known(client, agents, old, new)
    fresh = pool_state.need(managed, new)
    if fresh.offline:
        raise InvalidParameter("node %s is offline in Ganeti" % new)
    managed = replace(managed, pool=silent.notice(agents, managed.pool, old, managed.names(), say))
    if managed.pool.state(old) == members.CONNECTED and not force:
        raise MoveRefused(
            "node %s is alive in the pool" % old,
            hint="move its bricks with gnt-gluster pool evacuate %s, or use --force to replace it"
            " anyway" % old,
        )
    # A node that answers is asked first, even where it shall go whatever it says.
    answers = managed.pool.state(old) == members.CONNECTED
    others = [name for name in managed.names() if name != old]
    mover = BrickMover(agents, managed.pool, managed.names() if answers else others, say)
    bricks = managed.pool.bricks_on(old)
    steps: list[Step] = []
    heals = [
        mover.heal_step(volume.name, new, brick.path)
        for volume, brick in managed.pool.bricks_on(new)
        if volume.set_size > 1
    ]
    if bricks:
        steps += _prepare(managed, client, agents, new, bricks, say, wipe=wipe)
        planned: list[str] = []
        for volume, brick in bricks:
            brick_moves.need_copies(volume, brick)
            if brick.server_uuid and managed.pool.uuid(new) in {
                other.server_uuid for other in volume.set_of(brick)
            } - {""}:
                raise MoveRefused(
                    "node %s already has a brick of the same set of volume %s"
                    % (new, volume.name),
                    hint="name another node",
                )
            if not answers:
                mover.need_others(volume, brick)
            directory = _directory(managed, volume, brick)
            move = _move(managed, volume, brick, new, directory, planned)
            planned.append(move.path)
            steps += mover.steps(move, heal_first=answers)
            heals.append(mover.heal_step(move.volume, move.node, move.path))
    leave = brick_moves.leave_pool(
        agents.gluster(managed.pool.anchor), managed.pool, old, is_gone=lambda: True
    )
    return [*steps, *heals, leave, *_servers(managed, client, agents)]


def _directory(managed: ManagedPool, volume: VolumeInfo, brick: VolumeBrick) -> str:
    kept = managed.settings.get(volume.name)
    return kept.directory if kept else brick_moves.directory_of(brick)


def _move(
    managed: ManagedPool,
    volume: VolumeInfo,
    brick: VolumeBrick,
    node: str,
    directory: str,
    planned: Sequence[str] = (),
) -> BrickMove:
    path = brick_moves.free_path(managed.pool, node, directory, volume.name, planned)
    return BrickMove(volume.name, brick, node, path, managed.pool.host(node))


def _healed(mover: BrickMover, volume: VolumeInfo) -> Step:
    return Step(
        "nothing to heal on volume %s" % volume.name,
        lambda: False,
        lambda: mover.heal(volume.name),
    )


def _discarded(
    agents: Agents, managed: ManagedPool, volume: VolumeInfo, node: str, path: str
) -> Step:
    """What a node that lives still has of a brick that is elsewhere now is removed."""
    uuid = managed.pool.uuid(node)

    def left() -> bool:
        directory, name = os.path.split(path)
        facts = agents.one(node, "place", directory=directory, volume=name)
        return bool(volume.uuid and facts.volume_id == volume.uuid)

    def discard() -> None:
        now = agents.gluster(managed.pool.anchor).volume(volume.name)
        if now and any(brick.server_uuid == uuid and brick.path == path for brick in now.bricks):
            raise MoveRefused("%s:%s is still a brick of volume %s" % (node, path, volume.name))
        agents.one(
            node,
            "discard",
            timeout=DISCARD_SECONDS,
            brick=path,
            volume=volume.name,
            volume_id=volume.uuid,
        )

    return Step("%s: what is left of %s removed" % (node, path), lambda: not left(), discard)


def _prepare(
    managed: ManagedPool,
    client: Any,
    agents: Agents,
    node: str,
    bricks: list[tuple[VolumeInfo, VolumeBrick]],
    say: Say,
    *,
    wipe: bool,
) -> list[Step]:
    """The steps that make a node one that can take the bricks; checks it first."""
    steps: list[Step] = []
    for volume, brick in bricks:
        kept = managed.settings.get(volume.name)
        own = kept or Settings(volume.name, _directory(managed, volume, brick))
        steps += admission(managed, client, agents, node, own, say, wipe=wipe)
    return list({step.text: step for step in steps}.values())


def admission(
    managed: ManagedPool,
    client: Any,
    agents: Agents,
    node: str,
    kept: Settings,
    say: Say,
    *,
    wipe: bool = False,
) -> list[Step]:
    """The steps that make a node a member with the place for a brick of a volume.

    Checks the node, and raises `GanetiGlusterError` with all that is wrong with it.
    """
    connected = [
        name
        for name in managed.names()
        if name != node and managed.pool.state(name) == members.CONNECTED
    ]
    pool = managed.pool
    known = [pool.anchor, *(name for name in connected if name != pool.anchor)]
    hosts = {name: pool.host(name) for name in (*known, node)}
    facts, errors = pool_nodes.look(
        agents,
        list(hosts),
        directory=kept.directory,
        volume=kept.volume,
        device=kept.device,
        hosts=hosts,
    )
    wrong = ["%s: %s" % (name, reason) for name, reason in errors.items() if name == node]
    if node in facts:
        # A member that is down is why a node is replaced, and no obstacle to it.
        problems = checks.check(
            {name: replace(seen, unsound_peers=()) for name, seen in facts.items()},
            bricks=[node],
            volume=kept.volume,
            plugin=__version__,
            wipe=wipe,
            hosts=hosts,
        )
        wrong += [
            str(problem)
            for problem in problems
            if problem.blocks and problem.node in (node, "pool")
        ]
    if wrong:
        raise GanetiGlusterError("; ".join(wrong))
    steps = []
    if kept.device:
        directory, device = kept.directory, kept.device
        steps.append(
            build.file_system_step(
                agents, node, device, directory, facts[node].wiped(directory, wipe=wipe), wipe=wipe
            )
        )
    steps += pool_tls.joining(managed, node, client, agents)
    # Members may be called by any name, so that none gets a second one.
    all_members = {**{name: pool.uuid(name) for name in known}, node: hosts[node]}
    steps.append(
        Step(
            "%s in the pool" % node,
            lambda: not build.unjoined(agents, all_members),
            lambda: build.join(agents, all_members, say),
        )
    )
    return steps


def _servers(managed: ManagedPool, client: Any, agents: Agents) -> list[Step]:
    """Ganeti asks the servers that have bricks now, where it asked those that had."""

    def wanted(name: str) -> list[str]:
        volume = agents.gluster(managed.pool.anchor).volume(name)
        return volume.servers if volume else []

    def step(kept: Settings) -> Step:
        group = kept.group or None

        def done() -> bool:
            return pool_use.servers_of(client, kept.volume, group) in (
                None,
                ",".join(wanted(kept.volume)),
            )

        def change() -> None:
            pool_use.use(client, pool_use.params_for(kept.volume, wanted(kept.volume)), group)

        return Step("servers of volume %s in Ganeti" % kept.volume, done, change)

    there = [volume.name for volume in managed.pool.volumes]
    return [step(kept) for kept in managed.settings.values() if kept.volume in there]
