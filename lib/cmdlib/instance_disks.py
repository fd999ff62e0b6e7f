"""Which images belong to an instance, from the cluster's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ganeti import cli, constants, errors, utils

from ganeti_gluster.cmdlib import cluster_config
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.storage.disks import place


@dataclass(frozen=True)
class InstanceDisk:
    """A disk of an instance on a Gluster volume; `size` is the configured one, in MiB.

    `group` is the node group of the instance's primary node.  `template` distinguishes it from
    a disk of the ExtStorage provider, whose volume is a parameter of the disk.
    """

    instance: str
    index: int
    uuid: str
    size: int
    spec: VolumeSpec
    path: str
    group: str = ""
    template: bool = True


def find(
    instances: list[str], read: Callable[[], Mapping[str, Any]] | None = None
) -> list[InstanceDisk]:
    """The disks of `instances` on Gluster, in order, on the master.

    Those of the template and those of the ExtStorage provider, of all instances if none
    is named.  From the configuration's file, since a question for disks is a job, and each
    job waits for every master candidate that is dead (seen: 12 to 21 s), or by `read`.  Raises
    `OpPrereqError` for a name that there is not.
    """
    client = cli.GetClient()  # refuses a node that is not the master
    data = (read or cluster_config.read)()
    known = {instance["name"]: instance for instance in data["instances"].values()}
    names = [_expand(name, known) for name in instances]
    group_of = dict(client.QueryInstances(names, ["name", "pnode.group"], False))
    params_of = cluster_config.template_params(client)
    return [
        disk
        for name in sorted(group_of.keys() & known.keys())
        for disk in gluster_disks(
            known[name], data["disks"], params_of[group_of[name]], group_of[name]
        )
    ]


def _expand(name: str, known: Mapping[str, Any]) -> str:
    """The whole name of an instance, as Ganeti's commands take it shortened."""
    full: str | None = utils.MatchNameComponent(name, known)
    if full is None:
        raise errors.OpPrereqError("Instance '%s' is not known" % name, errors.ECODE_NOENT)
    return full


def gluster_disks(
    instance: Mapping[str, Any],
    disks: Mapping[str, Any],
    template: Mapping[str, Any],
    group: str,
) -> list[InstanceDisk]:
    """The disks on Gluster of one instance; `disks` by UUID, both as in the configuration.

    `template` are its group's parameters of the template.
    """
    on_gluster = []
    for index, uuid in enumerate(instance.get("disks", ())):
        disk = disks[uuid]
        where = place(disk, template)
        if where is None:
            continue
        params, path = where
        on_gluster.append(
            InstanceDisk(
                instance=instance["name"],
                index=index,
                uuid=uuid,
                size=disk["size"],
                spec=VolumeSpec.from_params(params),
                path=path,
                group=group,
                template=disk["dev_type"] == constants.DT_GLUSTER,
            )
        )
    return on_gluster
