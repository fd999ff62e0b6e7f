"""The master's knowledge of nodes, volumes and disks, without a job or a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ganeti import cli, constants, errors, pathutils, ssconf

from ganeti_gluster.cmdlib import cluster
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.pool import settings
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.storage.disks import place


@dataclass(frozen=True)
class ClusterConfig:
    """The cluster, as far as Gluster is concerned.

    `params` are the parameters of volumes by node group: those of the gluster
    template, where it is enabled and allowed or used, and those of disks of the ExtStorage
    provider.  `instances` are the UUIDs of all, `detached` the images of disks that no
    instance has but Ganeti keeps, on whatever volume, `pools` how volumes' pools are kept,
    `refused_pools` why that is not valid of some.
    """

    cluster: str
    master: str
    nodes: tuple[ClusterNode, ...]
    params: Mapping[str, Sequence[Mapping[str, Any]]]
    disks: tuple[Disk, ...]
    instances: frozenset[str]
    pools: Mapping[str, Settings] = field(default_factory=dict)
    refused_pools: Mapping[str, str] = field(default_factory=dict)
    detached: frozenset[str] = frozenset()

    @property
    def used(self) -> bool:
        """Whether there is anything to look at."""
        return any(self.params.values())

    @property
    def offline(self) -> frozenset[str]:
        """The names of nodes that are marked offline."""
        return frozenset(node.name for node in self.nodes if node.offline)

    @property
    def specs(self) -> list[VolumeSpec]:
        """Every volume that a group with nodes uses, each way of reaching it once."""
        groups = sorted({node.group for node in self.nodes})
        return expected_volumes.specs(
            each for group in groups for each in self.params.get(group, ())
        )

    def params_of(self, node: ClusterNode) -> list[dict[str, Any]]:
        """What a node should know of the volumes it reaches."""
        return expected_volumes.plain(self.params.get(node.group, ()))


def load(client: Any = None) -> ClusterConfig:
    """Read it, on the master.

    Disks come from the configuration's file, which no question to the master daemon
    gives without a job for all of them; it is replaced as a whole, at the latest a
    moment after a change.  Raises `OpPrereqError` on any other node.
    """
    master, myself = ssconf.GetMasterAndMyself()
    if master != myself:
        raise errors.OpPrereqError(
            "This is not the master node; run it on %s" % master,
            errors.ECODE_INVAL,
        )
    client = client or cli.GetClient()
    info = client.QueryClusterInfo()
    policies = client.QueryGroups([], ["name", "ipolicy"], False)
    data = read()
    template = template_params(client)
    disks = list(_disks_in(data, template))
    enabled = constants.DT_GLUSTER in info["enabled_disk_templates"]
    params = {}
    for name, policy in policies:
        allowed = enabled and constants.DT_GLUSTER in policy[constants.IPOLICY_DTS]
        own = [each.params for each in disks if each.group == name]
        params[name] = expected_volumes.plain([*([template[name]] if allowed else ()), *own])
    tags = data["cluster"].get("tags", ())
    return ClusterConfig(
        cluster=info["name"],
        master=master,
        nodes=tuple(cluster.nodes(client)),
        params=params,
        disks=tuple(each.disk for each in disks),
        instances=frozenset(data["instances"]),
        pools=settings.parse(tags),
        refused_pools=settings.refused(tags),
        detached=frozenset(_detached_in(data)),
    )


def read() -> dict[str, Any]:
    """The configuration's file, on the master."""
    with open(pathutils.CLUSTER_CONF_FILE, encoding="utf-8") as stream:
        data: dict[str, Any] = json.load(stream)
    return data


def live() -> dict[str, Any]:
    """The same from the daemon that has it, without the moment by which the file may be late."""
    from ganeti import wconfd  # late: only what decides by it needs the daemon

    data: dict[str, Any] = wconfd.Client().ReadConfig()
    return data


def _detached_in(data: Mapping[str, Any]) -> Iterator[str]:
    """The images of disks that were detached from their instances."""
    attached = {uuid for each in data["instances"].values() for uuid in each.get("disks", ())}
    for uuid, disk in data["disks"].items():
        where = place(disk, {}) if uuid not in attached else None
        if where is not None:
            yield where[1]


class _Found(NamedTuple):
    """A disk, its node group and the parameters of its volume."""

    disk: Disk
    group: str
    params: Mapping[str, Any]


def _disks_in(
    data: Mapping[str, Any], template: Mapping[str, Mapping[str, Any]]
) -> Iterator[_Found]:
    """The disks on Gluster in a configuration's data, by instance and index.

    `template` are the gluster template's parameters by the name of the node group.
    """
    groups = {uuid: group["name"] for uuid, group in data["nodegroups"].items()}
    for instance in sorted(data["instances"].values(), key=lambda each: str(each["name"])):
        node = data["nodes"].get(instance.get("primary_node"), {})
        group = groups.get(node.get("group"), "")
        for index, uuid in enumerate(instance.get("disks", ())):
            disk = data["disks"].get(uuid, {})
            where = place(disk, template.get(group, {}))
            if where is None:
                continue
            params, path = where
            yield _Found(
                Disk(
                    instance=instance["name"],
                    index=index,
                    volume=params.get("volume", ""),
                    path=path,
                    size=disk["size"] * MIB,
                    node=node.get("name", ""),
                ),
                group,
                params,
            )


# Ganeti's query merges these parameters by template, not by parameter: where a group sets one
# parameter of a template, the cluster's others are missing in the answer (Ganeti 3.0 and 3.1).


def template_params(client: Any) -> dict[str, dict[str, Any]]:
    """The gluster template's effective parameters by the name of the node group."""
    defaults = constants.DISK_DT_DEFAULTS[constants.DT_GLUSTER]
    cluster = client.QueryClusterInfo()["diskparams"].get(constants.DT_GLUSTER, {})
    own = groups_own_params(client)
    return {name: {**defaults, **cluster, **of_group} for name, of_group in own.items()}


def groups_own_params(client: Any) -> dict[str, dict[str, Any]]:
    """Those that a group has for itself."""
    rows = client.QueryGroups([], ["name", "custom_diskparams"], False)
    return {name: (own or {}).get(constants.DT_GLUSTER, {}) for name, own in rows}
