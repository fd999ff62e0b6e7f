"""Whether the data of a brick set is complete without one of its bricks."""

from __future__ import annotations

from collections.abc import Sequence

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
    others = [each for each in volume.set_of(brick) if each != brick]
    counts: dict[str, int] = {}
    for other in others if volume.replica > 1 else ():
        node = pool.node_of(other, nodes)
        if not node:
            raise NotWhole(
                "no node can report what brick %s knows about the other bricks" % other,
                hint="make sure that its node answers",
            )
        behind = agents.one(
            node, "behind", timeout=BEHIND_SECONDS, brick=other.path, volume=volume.name
        )
        for name, count in behind.items():
            counts[name] = max(counts.get(name, 0), count)
    late = ["%s (%d files)" % (name, counts[name]) for name in map(str, others) if name in counts]
    if late:
        raise NotWhole(
            "the remaining bricks are not healed: %s; %s may have the only good copy"
            % (", ".join(late), brick),
            hint=_hint(volume, brick),
        )
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


def _hint(volume: VolumeInfo, brick: VolumeBrick) -> str:
    return (
        "start node %s, so that the others are healed from its brick; `gluster volume heal %s"
        " info` shows what is pending, and nothing is lost in the meantime"
        % (brick.server, volume.name)
    )
