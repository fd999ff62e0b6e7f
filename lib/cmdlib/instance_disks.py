"""Which images belong to an instance, from the cluster's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganeti import cli, constants, opcodes

from ganeti_gluster.cmdlib import configuration, group_params
from ganeti_gluster.extstorage.request import DIRECTORY
from ganeti_gluster.volume import VolumeSpec


@dataclass(frozen=True)
class InstanceDisk:
    """A disk of an instance on a Gluster volume; `size` is the configured one, in MiB.

    `group` is the node group of the instance's primary node.  `template` tells it from a
    disk of the ExtStorage provider, whose volume is its own parameter.
    """

    instance: str
    index: int
    uuid: str
    size: int
    spec: VolumeSpec
    path: str
    group: str = ""
    template: bool = True


def find(instances: list[str]) -> list[InstanceDisk]:
    """The disks of `instances` on Gluster, in order; asks the master daemon.

    Those of the template, and those of the ExtStorage provider, whose parameters are in
    the configuration's file alone.
    """
    op = opcodes.OpInstanceQueryData(instances=instances, static=True, use_locking=False)
    data = cli.SubmitOpCode(op, opts=None)
    client = cli.GetClient()
    group_of = dict(client.QueryInstances(list(data), ["name", "pnode.group"], False))
    params_of = group_params.gluster(client)
    kinds = {disk["dev_type"] for instance in data.values() for disk in instance["disks"]}
    ext = configuration.ext_disks() if constants.DT_EXT in kinds else {}
    return [
        disk
        for name in sorted(data)
        for disk in gluster_disks(data[name], params_of[group_of[name]], group_of[name], ext)
    ]


def gluster_disks(
    data: dict[str, Any],
    template: Mapping[str, Any],
    group: str,
    ext: Mapping[str, Mapping[str, Any]],
) -> list[InstanceDisk]:
    """The disks on Gluster in one instance's data.

    `template` are its group's parameters of the template, `ext` those of the provider's
    disks by UUID.
    """
    found = []
    for index, disk in enumerate(data["disks"]):
        _driver, path = disk["logical_id"] if len(disk["logical_id"] or ()) == 2 else ("", "")
        if disk["dev_type"] == constants.DT_GLUSTER:
            params = template
        elif disk["uuid"] in ext:
            params, path = ext[disk["uuid"]], "%s/%s" % (DIRECTORY, path)
        else:
            continue
        found.append(
            InstanceDisk(
                instance=data["name"],
                index=index,
                uuid=disk["uuid"],
                size=disk["size"],
                spec=VolumeSpec.from_params(params),
                path=path,
                group=group,
                template=disk["uuid"] not in ext,
            )
        )
    return found
