"""Whether the data of a brick set is complete without one of its bricks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import VolumeBrick, VolumeInfo

#: Seconds to read what a brick knows of the others.
BEHIND_SECONDS = 300.0
#: Seconds to read the beginning of each image.
READ_SECONDS = 900.0
#: Images that are named.
_NAMED = 3


class NotWhole(GanetiGlusterError):
    """A brick may have the only good copy of something."""


def need_others(
    agents: Agents, pool: Pool, nodes: Sequence[str], volume: VolumeInfo, brick: VolumeBrick
) -> None:
    """Raise `NotWhole` unless the other bricks of a brick's set have all that it has.

    None of them may be behind, as they themselves know it, and each image can be read by a
    client that does not know the brick.  `nodes` are those that can be asked.
    """
    others = {each: _node_of(pool, nodes, each) for each in volume.set_of(brick) if each != brick}
    _need_healed(agents, volume, brick, others)
    _need_readable(agents, pool, volume, brick)
    # Reading takes its time, and one that was away meanwhile lacks what was written.
    _need_healed(agents, volume, brick, others)


def _need_healed(
    agents: Agents, volume: VolumeInfo, brick: VolumeBrick, others: Mapping[VolumeBrick, str]
) -> None:
    counts = (_behind_versions if volume.disperse else _blamed)(agents, volume, others)
    late = ["%s (%d files)" % (name, counts[name]) for name in map(str, others) if name in counts]
    if late:
        raise NotWhole(
            "the remaining bricks are not healed: %s; %s may have the only good copy"
            % (", ".join(late), brick),
            hint=_hint(volume, brick),
        )


def _need_readable(agents: Agents, pool: Pool, volume: VolumeInfo, brick: VolumeBrick) -> None:
    images = agents.one(
        pool.anchor,
        "unreadable",
        timeout=READ_SECONDS,
        volume=volume.name,
        servers=[each.server for each in volume.bricks if each != brick],
        without=str(brick),
    )
    if images:
        raise NotWhole(
            "%d images cannot be read without brick %s: %s%s"
            % (
                len(images),
                brick,
                ", ".join(images[:_NAMED]),
                ", ..." if len(images) > _NAMED else "",
            ),
            hint=_hint(volume, brick),
        )


def _node_of(pool: Pool, nodes: Sequence[str], brick: VolumeBrick) -> str:
    node = pool.node_of(brick, nodes)
    if not node:
        raise NotWhole(
            "no node can report what brick %s knows about the other bricks" % brick,
            hint="make sure that its node answers",
        )
    return node


def _blamed(
    agents: Agents, volume: VolumeInfo, bricks: Mapping[VolumeBrick, str]
) -> dict[str, int]:
    """How many files each brick of a replicated set is behind with, as these bricks know."""
    counts: dict[str, int] = {}
    for brick, node in bricks.items():
        behind = agents.one(
            node, "behind", timeout=BEHIND_SECONDS, brick=brick.path, volume=volume.name
        )
        for name, count in behind.items():
            counts[name] = max(counts.get(name, 0), count)
    return counts


def _behind_versions(
    agents: Agents, volume: VolumeInfo, bricks: Mapping[VolumeBrick, str]
) -> dict[str, int]:
    """How many files each of these bricks of a disperse set is behind with.

    All that is pending is compared, and not only counted: since the brick that is given up is
    away, everything that is written is pending.
    """
    behind: dict[str, set[str]] = {}
    for brick, node in bricks.items():
        after = ""
        while newest := _versions(agents, node, brick, after=after):
            for other, place in bricks.items():
                if other != brick:
                    late = _late(agents, (node, brick), (place, other), newest)
                    behind.setdefault(str(other), set()).update(late)
            after = max(newest)
    return {name: len(gfids) for name, gfids in behind.items() if gfids}


def _late(
    agents: Agents,
    first: tuple[str, VolumeBrick],
    second: tuple[str, VolumeBrick],
    newest: Mapping[str, Sequence[int]],
) -> set[str]:
    """The files of which the second brick has less than the first one had before, and has.

    Versions grow while somebody writes, so the second brick is asked after the first.
    """
    have = _versions(agents, *second, gfids=list(newest))
    late = [
        gfid
        for gfid, versions in newest.items()
        if any(a < b for a, b in zip(have.get(gfid, (-1, -1)), versions, strict=True))
    ]
    # A file that was removed meanwhile is on neither.
    return set(_versions(agents, *first, gfids=late)) if late else set()


def _versions(
    agents: Agents, node: str, brick: VolumeBrick, **which: object
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = agents.one(
        node, "versions", timeout=BEHIND_SECONDS, brick=brick.path, **which
    )
    return found


def _hint(volume: VolumeInfo, brick: VolumeBrick) -> str:
    return (
        "start node %s, so that the others are healed from its brick; `gluster volume heal %s"
        " info` shows what is pending, and nothing is lost in the meantime"
        % (brick.server, volume.name)
    )
