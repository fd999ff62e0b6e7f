"""An overview of the state of the cluster's Gluster storage, as plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti_gluster.core.pool.state import BrickState, VolumeState, of_bricks
from ganeti_gluster.core.verify.facts import RUNNING, Disk, ImageFacts, VolumeFacts
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.core.verify.volume_checks import image_of
from ganeti_gluster.tools import names
from ganeti_gluster.tools.decode import as_data
from ganeti_gluster.tools.gluster_cli import VolumeInfo

if TYPE_CHECKING:
    from ganeti_gluster.cmdlib.verify import Look

OK = "healthy"
DEGRADED = "degraded"
MISSING = "missing"
SPLIT = "split-brain"
UNKNOWN = "unknown"

_ONLINE = {True: "online", False: "down", None: UNKNOWN}

#: From good to bad, as the state of several disks together is the worst.
ORDER = (OK, UNKNOWN, DEGRADED, SPLIT, MISSING)


def describe(seen: Look, findings: Sequence[Finding]) -> dict[str, Any]:
    """What was seen: `nodes`, `volumes`, `bricks`, `disks`, `exports`, `findings`.

    Sizes are bytes; None is what could not be found out.
    """
    states = volume_states(seen)
    return {
        "cluster": seen.config.cluster,
        "nodes": _nodes(seen),
        "volumes": [
            _volume(name, volume, states.get(name), seen.images.get(name))
            for name, volume in sorted(seen.volumes.items())
        ],
        "bricks": [brick for state in states.values() for brick in _bricks(state)],
        "disks": _disks(seen, states),
        "exports": _exports(seen),
        "findings": [as_data(finding) for finding in findings],
    }


def _exports(seen: Look) -> list[dict[str, Any]]:
    """The exports by instance and disk; one of an image that no instance has is without."""
    disks = {names.unit_key(disk.volume, disk.path): disk for disk in seen.config.disks}
    rows = []
    for name, node in sorted(seen.nodes.items()):
        for export in node.exports:
            disk = disks.get(export.key)
            rows.append(
                {
                    "node": name,
                    "instance": disk.instance if disk else None,
                    "disk": disk.index if disk else None,
                    "export": export.key,
                    "running": export.answers,
                }
            )
    return rows


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
    name: str, volume: VolumeFacts, state: VolumeState | None, images: ImageFacts | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "volume": name,
        "state": UNKNOWN if volume.problems else "missing",
        "images": None if images is None else len(images.images),
        "allocated": None if images is None else sum(each.allocated for each in images.images),
    }
    if state is None or volume.info is None:
        return row
    return {
        **row,
        "state": state.status.lower(),
        "type": state.kind,
        "shape": shape(volume.info),
        "bricks": len(state.bricks),
        "bricks_online": state.online,
        "behind": state.heals,
        "split_brain": len(volume.split),
        # As for every command: what an image can take, as a client of the volume sees it.
        "size": images.space.total if images and images.space else None,
        "free": images.space.free if images and images.space else None,
    }


def _bricks(state: VolumeState) -> list[dict[str, Any]]:
    return [
        {
            "volume": state.name,
            "brick": brick.name,
            "state": _ONLINE[brick.online],
            "arbiter": brick.arbiter,
            "size": brick.total,
            "free": brick.free,
            "behind": brick.heals,
        }
        for brick in state.bricks
    ]


def volume_states(seen: Look) -> dict[str, VolumeState]:
    """The state of each volume that exists, with its bricks as their nodes report them."""
    places = {brick.name: brick for node in seen.nodes.values() for brick in node.bricks}
    states = {}
    for name, volume in sorted(seen.volumes.items()):
        if volume.info is None:
            continue
        down = volume.status.offline(volume.info.bricks) if volume.status else None
        bricks = []
        for brick in volume.info.bricks:
            online = None if down is None else brick not in down
            place = places.get(str(brick))
            bricks.append(
                place.state(online=online, arbiter=brick.arbiter)
                if place
                else BrickState(brick.server, brick.path, online, brick.arbiter)
            )
        states[name] = of_bricks(volume.info, bricks, volume.status)
    return states


def _disks(seen: Look, states: Mapping[str, VolumeState]) -> list[dict[str, Any]]:
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
            "state": _state(disk, states.get(disk.volume), split, seen.images, allocated),
        }
        for disk in seen.config.disks
    ]


def _state(
    disk: Disk,
    volume: VolumeState | None,
    split: set[tuple[str, str]],
    images: Collection[str],
    there: Collection[tuple[str, str]],
) -> str:
    if volume is None or disk.volume not in images:
        return UNKNOWN
    if (disk.volume, disk.path) in split:
        return SPLIT
    if (disk.volume, disk.path) not in there:
        return MISSING
    if any(brick.online is None for brick in volume.bricks):
        return UNKNOWN
    return OK if volume.online == len(volume.bricks) else DEGRADED


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
