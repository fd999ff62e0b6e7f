"""One word for a volume, a pool and a node: pure, from the facts."""

from __future__ import annotations

from ganeti_gluster.web import words
from ganeti_gluster.web.facts import Brick, Node, PoolFacts, Sample, Volume
from ganeti_gluster.web.words import Word


def of_volume(volume: Volume) -> Word:
    """Healthy, Degraded, or Out of service."""
    if volume.status != "Started" or not any(brick.online for brick in volume.bricks):
        return words.BROKEN
    if volume.problems or not all(brick.online for brick in volume.bricks):
        return words.DEGRADED
    if any(brick.heals or brick.split_brain for brick in volume.bricks):
        return words.DEGRADED
    return words.HEALTHY


def of_pool(pool: PoolFacts) -> Word:
    """The worst of the volumes; a server that is not connected degrades the pool."""
    states = [of_volume(volume) for volume in pool.volumes]
    if words.BROKEN in states:
        return words.BROKEN
    if words.DEGRADED in states or not all(peer.connected for peer in pool.peers):
        return words.DEGRADED
    return words.HEALTHY


def of_node(node: Node) -> Word:
    """Whether Ganeti uses the node."""
    return words.SET_OFFLINE if node.offline else words.ONLINE


def heals(volume: Volume) -> int | None:
    """Entries that wait for a heal, None where no brick told."""
    told = [brick.heals for brick in volume.bricks if brick.heals is not None]
    return max(told) if told else None


def used(brick: Brick | Volume) -> int | None:
    """Bytes used, None where not known."""
    if brick.total is None or brick.free is None:
        return None
    return brick.total - brick.free


def heal_line(samples: list[Sample]) -> list[tuple[float, float]]:
    """The points of the chart of heals."""
    return [(one.at, float(one.heals)) for one in samples if one.heals is not None]


def space_line(samples: list[Sample]) -> list[tuple[float, float]]:
    """The points of the chart of space: GiB used."""
    return [(one.at, round(one.used / 2**30, 2)) for one in samples if one.used is not None]
