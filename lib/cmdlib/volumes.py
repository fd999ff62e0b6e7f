"""Which volumes the cluster's gluster template uses, and for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ganeti import cli, constants

from ganeti_gluster.cmdlib import instance_disks
from ganeti_gluster.volume import VolumeSpec


@dataclass
class TemplateVolume:
    """A volume, the node groups whose disks are on it, and these disks.

    `provisioned` is the sum of their configured sizes, in MiB.
    """

    spec: VolumeSpec
    groups: list[str] = field(default_factory=list)
    disks: int = 0
    provisioned: int = 0


def find() -> list[TemplateVolume]:
    """The volumes of all node groups, by name; none where the template is not enabled.

    Asks the master daemon, and none of the nodes.
    """
    client = cli.GetClient()
    if constants.DT_GLUSTER not in client.QueryClusterInfo()["enabled_disk_templates"]:
        return []
    groups = dict(client.QueryGroups([], ["name", "diskparams"], False))
    instances = client.QueryInstances([], ["name", "disk_template"], False)
    names = [name for name, template in instances if may_be_on_gluster(template)]
    return combine(groups, instance_disks.find(names) if names else [])


def may_be_on_gluster(template: str) -> bool:
    """Whether an instance of this template can have a gluster disk."""
    return template in (constants.DT_GLUSTER, constants.DT_MIXED)


def combine(
    groups: Mapping[str, dict[str, Any]], disks: Iterable[instance_disks.InstanceDisk]
) -> list[TemplateVolume]:
    """Bring the groups' disk parameters and the instances' disks together by volume."""
    volumes: dict[VolumeSpec, TemplateVolume] = {}
    for group in sorted(groups):
        spec = VolumeSpec.from_params(groups[group][constants.DT_GLUSTER])
        volumes.setdefault(spec, TemplateVolume(spec)).groups.append(group)
    for disk in disks:
        volume = volumes.setdefault(disk.spec, TemplateVolume(disk.spec))
        volume.disks += 1
        volume.provisioned += disk.size
    return sorted(volumes.values(), key=lambda volume: (volume.spec.name, volume.groups))
