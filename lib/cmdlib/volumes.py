"""Which volumes the cluster's disks are on, and who uses them for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools.gfapi.stat import Space


@dataclass
class UsedVolume:
    """A volume, the node groups that use it, and the disks of instances on it.

    `provisioned` is the sum of the disks' configured sizes, in bytes.
    """

    spec: VolumeSpec
    groups: list[str] = field(default_factory=list)
    disks: int = 0
    provisioned: int = 0


def find() -> list[UsedVolume]:
    """The volumes of the template and of disks of the ExtStorage provider, by name.

    Runs on the master, and asks none of the nodes.
    """
    # Late: it imports Ganeti.
    from ganeti_gluster.cmdlib import cluster_config

    config = cluster_config.load()
    group_of = {node.name: node.group for node in config.nodes}
    return combine(config.params, config.disks, group_of)


def combine(
    params: Mapping[str, Sequence[Mapping[str, Any]]],
    disks: Iterable[Disk],
    group_of: Mapping[str, str],
) -> list[UsedVolume]:
    """Bring parameters of volumes, by node group, and disks together by volume.

    Parameters of one name that share a server mean one volume.
    """
    volumes: list[UsedVolume] = []
    for group in sorted(params):
        for spec in expected_volumes.specs(params[group]):
            volume = _place(volumes, spec)
            if group not in volume.groups:
                volume.groups.append(group)
    for disk in disks:
        for volume in volumes:
            if volume.spec.name == disk.volume and group_of.get(disk.node) in volume.groups:
                volume.disks += 1
                volume.provisioned += disk.size
                break
    return sorted(volumes, key=lambda volume: (volume.spec.name, volume.groups))


def space(spec: VolumeSpec) -> Space:
    """The space of a volume, as its clients have it; every command shows this figure.

    Bricks have more than that: what `storage.reserve` keeps.  Raises a `GanetiGlusterError`
    or OSError.
    """
    with connect(spec) as volume:
        return volume.space()


def _place(volumes: list[UsedVolume], spec: VolumeSpec) -> UsedVolume:
    """The volume that parameters mean, with their servers; a new one if there is none."""
    for volume in volumes:
        known = volume.spec
        if known.name == spec.name and set(known.servers) & set(spec.servers):
            servers = tuple(dict.fromkeys(known.servers + spec.servers))
            volume.spec = known._replace(servers=servers)
            return volume
    volumes.append(UsedVolume(spec))
    return volumes[-1]
