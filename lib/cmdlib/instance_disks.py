"""Which images belong to an instance, from the cluster's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ganeti import cli, constants, opcodes

from ganeti_gluster.cmdlib import group_params
from ganeti_gluster.volume import VolumeSpec


@dataclass(frozen=True)
class InstanceDisk:
    """A gluster disk of an instance; `size` is the configured one, in MiB.

    `group` is the node group of the instance's primary node.
    """

    instance: str
    index: int
    uuid: str
    size: int
    spec: VolumeSpec
    path: str
    group: str = ""


def find(instances: list[str]) -> list[InstanceDisk]:
    """The gluster disks of `instances` in order; asks the master daemon."""
    op = opcodes.OpInstanceQueryData(instances=instances, static=True, use_locking=False)
    data = cli.SubmitOpCode(op, opts=None)
    client = cli.GetClient()
    group_of = dict(client.QueryInstances(list(data), ["name", "pnode.group"], False))
    params_of = group_params.gluster(client)
    return [
        disk
        for name in sorted(data)
        for disk in gluster_disks(data[name], params_of[group_of[name]], group_of[name])
    ]


def gluster_disks(
    data: dict[str, Any], diskparams: dict[str, Any], group: str = ""
) -> list[InstanceDisk]:
    """The gluster disks in one instance's data, with its group's parameters of them."""
    return [
        InstanceDisk(
            instance=data["name"],
            index=index,
            uuid=disk["uuid"],
            size=disk["size"],
            spec=VolumeSpec.from_params(diskparams),
            path=disk["logical_id"][1],
            group=group,
        )
        for index, disk in enumerate(data["disks"])
        if disk["dev_type"] == constants.DT_GLUSTER
    ]
