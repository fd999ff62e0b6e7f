"""The state of the cluster's Gluster storage on one page, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti_gluster.gluster_cli import VolumeInfo
from ganeti_gluster.verify.facts import RUNNING, BrickPlace, Disk, ImageFacts, VolumeFacts
from ganeti_gluster.verify.finding import Finding
from ganeti_gluster.verify.volume_checks import image_of

if TYPE_CHECKING:
    from ganeti_gluster.cmdlib.verify import Look

OK = "healthy"
DEGRADED = "degraded"
MISSING = "missing"
SPLIT = "split-brain"
UNKNOWN = "unknown"

#: From good to bad, as the state of several disks together is the worst.
ORDER = (OK, UNKNOWN, DEGRADED, SPLIT, MISSING)


def describe(seen: Look, findings: Sequence[Finding]) -> dict[str, Any]:
    """What was seen: `nodes`, `volumes`, `bricks`, `disks`, `exports`, `findings`.

    Sizes are bytes; None is what could not be found out.
    """
    places = {brick.name: brick for node in seen.nodes.values() for brick in node.bricks}
    return {
        "cluster": seen.config.cluster,
        "nodes": _nodes(seen),
        "volumes": [
            _volume(volume, seen.images.get(name), places)
            for name, volume in sorted(seen.volumes.items())
        ],
        "bricks": [
            brick
            for _, volume in sorted(seen.volumes.items())
            for brick in _bricks(volume, places)
        ],
        "disks": _disks(seen),
        "exports": [
            {"node": name, "export": export.key, "running": export.answers}
            for name, node in sorted(seen.nodes.items())
            for export in node.exports
        ],
        "findings": [finding.to_dict() for finding in findings],
    }


def _nodes(seen: Look) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for node in seen.config.nodes:
        facts = seen.nodes.get(node.name)
        if facts is None:
            state = "offline" if node.offline else UNKNOWN
            result.append({"node": node.name, "glusterd": state})
            continue
        result.append(
            {
                "node": node.name,
                "glusterd": facts.glusterd,
                "peers": len(facts.peers),
                "peers_connected": sum(peer.sound for peer in facts.peers),
                "template": facts.plugin.get("template"),
                "version": facts.plugin.get("version"),
                "glusterfs": facts.glusterfs,
                "reached": list(facts.reached),
                "unreachable": sorted(facts.unreachable),
            }
        )
    return sorted(result, key=lambda row: str(row["node"]))


def shape(info: VolumeInfo) -> str:
    """A volume's shape in short, as `2 x (2 + 1)` for two sets with an arbiter."""
    sets = len(info.bricks) // max(info.set_size, 1)
    if info.disperse:
        each = "(%d + %d)" % (info.disperse - info.redundancy, info.redundancy)
    elif info.arbiter:
        each = "(%d + %d)" % (info.replica - info.arbiter, info.arbiter)
    else:
        each = str(info.replica)
    return "%d x %s" % (sets, each)


def _volume(
    volume: VolumeFacts, images: ImageFacts | None, places: Mapping[str, BrickPlace]
) -> dict[str, Any]:
    info = volume.info
    row: dict[str, Any] = {
        "volume": volume.name,
        "state": UNKNOWN if volume.problems and info is None else "missing",
        "images": None if images is None else len(images.images),
        "allocated": None if images is None else sum(each.allocated for each in images.images),
    }
    if info is None:
        return row
    bricks = _bricks(volume, places)
    behind = [brick["behind"] for brick in bricks if brick["behind"] is not None]
    row.update(
        state=info.state.lower(),
        type=info.kind,
        shape=shape(info),
        bricks=len(bricks),
        bricks_online=sum(brick["state"] == "online" for brick in bricks),
        behind=max(behind) if behind else None,
        split_brain=len(volume.split),
        size=_space(info, places, "size"),
        free=_space(info, places, "free"),
    )
    return row


def _space(info: VolumeInfo, places: Mapping[str, BrickPlace], what: str) -> int | None:
    """The room of a volume: of each set what its smallest data brick has."""
    total = 0
    for bricks in info.sets:
        sizes = [
            getattr(places[str(brick)], what)
            for brick in bricks
            if not brick.arbiter and str(brick) in places and places[str(brick)].size
        ]
        if not sizes:
            return None
        total += min(sizes) * max(info.disperse - info.redundancy, 1)
    return total


def _bricks(volume: VolumeFacts, places: Mapping[str, BrickPlace]) -> list[dict[str, Any]]:
    if volume.info is None:
        return []
    down = volume.status.offline(volume.info.bricks) if volume.status else None
    result = []
    for brick in volume.info.bricks:
        place = places.get(str(brick))
        told = place if place is not None and not place.problem and place.mounted else None
        result.append(
            {
                "volume": volume.name,
                "brick": str(brick),
                "state": UNKNOWN if down is None else "down" if brick in down else "online",
                "arbiter": brick.arbiter,
                "size": told.size if told else None,
                "free": told.free if told else None,
                "behind": told.behind if told else None,
            }
        )
    return result


def _disks(seen: Look) -> list[dict[str, Any]]:
    split = {
        (volume.name, image_of(file.path, file.gfid, _by_gfid(seen.images.get(volume.name))))
        for volume in seen.volumes.values()
        for file in volume.split
    }
    allocated = {
        (name, image.path): image.allocated
        for name, facts in seen.images.items()
        for image in facts.images
    }
    return [
        {
            "instance": disk.instance,
            "disk": disk.index,
            "node": disk.node,
            "volume": disk.volume,
            "path": disk.path,
            "size": disk.size,
            "allocated": allocated.get((disk.volume, disk.path)),
            "state": _state(disk, seen, split, allocated),
        }
        for disk in seen.config.disks
    ]


def _state(
    disk: Disk, seen: Look, split: set[tuple[str, str]], there: Mapping[tuple[str, str], int]
) -> str:
    volume = seen.volumes.get(disk.volume)
    if volume is None or volume.info is None or disk.volume not in seen.images:
        return UNKNOWN
    if (disk.volume, disk.path) in split:
        return SPLIT
    if (disk.volume, disk.path) not in there:
        return MISSING
    if volume.status is None:
        return UNKNOWN
    return DEGRADED if volume.status.offline(volume.info.bricks) else OK


def _by_gfid(images: ImageFacts | None) -> dict[str, str]:
    return {gfid: path for path, gfid in (images.gfids if images else {}).items()}


def by_instance(disks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The disks of each instance together: how many, how large, and the worst state."""
    result: dict[str, dict[str, Any]] = {}
    for disk in disks:
        row = result.setdefault(
            str(disk["instance"]),
            {
                "instance": disk["instance"],
                "node": disk["node"],
                "disks": 0,
                "size": 0,
                "allocated": 0,
                "state": OK,
            },
        )
        row["disks"] += 1
        row["size"] += disk["size"]
        row["allocated"] += disk["allocated"] or 0
        row["state"] = max(row["state"], disk["state"], key=ORDER.index)
    return list(result.values())


def running_nodes(nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many nodes' glusterd runs."""
    return sum(node["glusterd"] == RUNNING for node in nodes)
