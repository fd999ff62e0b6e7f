"""`pool replace NODE NODE`: the disk of a node's bricks was replaced, at the same place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ganeti_gluster.cmdlib import pool_nodes, pool_state
from ganeti_gluster.cmdlib.pool_state import ManagedPool
from ganeti_gluster.core.pool import brick_moves, build, checks, members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.brick_moves import MoveRefused
from ganeti_gluster.core.pool.facts import CandidateFacts, PlaceFacts
from ganeti_gluster.core.pool.new_disk import BrickRenewer, Ground, LostBrick, need_ground
from ganeti_gluster.core.pool.steps import Say, Step
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import VolumeBrick, VolumeInfo


def renewal(
    node: str, client: Any, agents: Agents, say: Say, *, device: str, wipe: bool
) -> list[Step]:
    """The steps that fill the bricks of `node` on an empty disk from those of the others.

    `device`, by default that of the pool's settings, is formatted and mounted where nothing is
    mounted yet.  A brick that has its data is left as it is, but started and healed, so the
    command may be given again at any time.  Raises `GanetiGlusterError` where the disk is not
    fit, or a brick may have the only good copy of something.
    """
    managed = pool_state.find_node(client, agents, node)
    pool_state.need(managed, node)
    if managed.pool.state(node) != members.CONNECTED:
        raise MoveRefused(
            "node %s does not answer in the pool: %s" % (node, managed.pool.state(node)),
            hint="start it, or replace it with gnt-gluster pool replace %s NEW" % node,
        )
    renewer = BrickRenewer(agents, managed.pool, managed.names(), say)
    stops: list[Step] = []
    resets: list[Step] = []
    heals: list[Step] = []
    mounts: dict[str, list[Step]] = {}
    for volume, brick in managed.pool.bricks_on(node):
        brick_moves.need_copies(volume, brick)
        if not volume.started:
            raise MoveRefused(
                "volume %s is not started" % volume.name,
                hint="gluster volume start %s" % volume.name,
            )
        lost, own = _placed(managed, node, volume, brick, device)
        facts = _look(agents, node, lost, own)
        place = renewer.place(lost)
        need_ground(lost, place, facts.device, _sectors(managed, agents, lost))
        ground = lost.ground(place, device=bool(own))
        if _is_given_up(ground, facts, wipe=wipe):
            renewer.need_others(lost)
        if ground is Ground.BROKEN:
            stops.append(renewer.stop_step(lost))
        if lost.directory not in mounts:
            mounts[lost.directory] = _mounted(
                renewer, agents, lost, place, ground, facts, own, wipe=wipe
            )
        resets.append(renewer.reset_step(lost))
        heals.append(renewer.heal_step(lost))
    if not resets:
        raise MoveRefused("node %s has no bricks" % node)
    mounted = [step for found in mounts.values() for step in found]
    return [*stops, *mounted, *resets, *heals]


def _placed(
    managed: ManagedPool, node: str, volume: VolumeInfo, brick: VolumeBrick, device: str
) -> tuple[LostBrick, str]:
    """The brick with the directory where its file system is mounted, and the device for it."""
    directory = brick_moves.directory_of(brick)
    kept = managed.settings.get(volume.name)
    known = kept.device if kept and kept.directory == directory else ""
    return LostBrick(node, volume, brick, directory), device or known


def _look(agents: Agents, node: str, lost: LostBrick, device: str) -> CandidateFacts:
    facts, errors = pool_nodes.look(
        agents, [node], directory=lost.directory, volume=lost.name, device=device
    )
    if node not in facts:
        raise GanetiGlusterError("%s: %s" % (node, errors[node]))
    return facts[node]


def _sectors(managed: ManagedPool, agents: Agents, lost: LostBrick) -> int:
    """The largest sectors that the other bricks of the set have, 0 where none tells."""
    asked: dict[str, Mapping[str, Any]] = {}
    for other in lost.volume.set_of(lost.brick):
        name = managed.pool.node_of(other, managed.names())
        if other != lost.brick and name:
            directory, path = os.path.split(other.path)
            asked[name] = {"directory": directory, "volume": path}
    answers, _ = agents.try_all("place", asked)
    return max((place.sector for place in answers.values()), default=0)


def _is_given_up(ground: Ground, facts: CandidateFacts, *, wipe: bool) -> bool:
    """Whether what the brick had is given up: nothing of it is there, or is kept.

    A device that was formatted for bricks before is mounted as it is, and may be the old one.
    """
    if ground is Ground.BARE:
        return bool(facts.device and (wipe or facts.device.interrupted or not facts.device.ours))
    return ground in (Ground.EMPTY, Ground.BROKEN)


def _mounted(
    renewer: BrickRenewer,
    agents: Agents,
    lost: LostBrick,
    place: PlaceFacts,
    ground: Ground,
    facts: CandidateFacts,
    device: str,
    *,
    wipe: bool,
) -> list[Step]:
    """The steps to an empty file system, those done before included; checks the device."""
    node, directory = lost.node, lost.directory
    mounted = bool(facts.device and facts.device.mounted_at == directory)
    if not device or (ground in (Ground.WHOLE, Ground.EMPTY) and not mounted):
        return []
    wrong = [
        str(problem)
        for problem in checks.of_device(node, facts, wipe=wipe)
        if problem.blocks and not mounted
    ]
    if wrong:
        raise GanetiGlusterError("; ".join(wrong))
    steps = [renewer.release_step(node, directory)] if ground is Ground.BROKEN else []
    return [
        *steps,
        build.file_system_step(
            agents, node, device, directory, facts.wiped(directory, wipe=wipe), wipe=wipe
        ),
    ]
