"""Ganeti's use of a volume: who uses it, and the configuration that allows it."""

from __future__ import annotations

import pwd
from collections.abc import Sequence
from typing import Any

from ganeti import constants, opcodes

from ganeti_gluster.cmdlib import cluster, cluster_config, instance_disks
from ganeti_gluster.core.pool import settings
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.tools import names

TEMPLATE = constants.DT_GLUSTER
USERSPACE = constants.DISK_USERSPACE


def disks_on(client: Any, volume: str) -> list[Disk]:
    """The disks of instances on a volume, both of the template and of the ExtStorage provider."""
    return [disk for disk in cluster_config.load(client).disks if disk.volume == volume]


def instances(client: Any) -> dict[str, str]:
    """The names of all instances by their UUIDs."""
    return dict(client.QueryInstances([], ["uuid", "name"], False))


def running_on(client: Any, volume: str) -> list[str]:
    """The instances with a disk on a volume that are meant to run."""
    up = {
        name
        for name, state in client.QueryInstances([], ["name", "admin_state"], False)
        if state == constants.ADMINST_UP
    }
    return sorted({disk.instance for disk in disks_on(client, volume)} & up)


def template_disks() -> list[instance_disks.InstanceDisk]:
    """All disks of the gluster template."""
    return [disk for disk in instance_disks.find([]) if disk.template]


def owner(client: Any) -> tuple[int, int] | None:
    """The user and group that QEMU runs as, None for root or for one of a pool."""
    kvm = client.QueryClusterInfo()["hvparams"].get(constants.HT_KVM, {})
    if kvm.get(constants.HV_SECURITY_MODEL) != constants.HT_SM_USER:
        return None
    try:
        user = pwd.getpwnam(kvm.get(constants.HV_SECURITY_DOMAIN, ""))
    except KeyError:
        return None
    return user.pw_uid, user.pw_gid


def params_for(volume: str, servers: Sequence[str]) -> dict[str, Any]:
    """The template's parameters for a volume."""
    return {
        "volume": volume,
        "host": ",".join(servers),
        "port": names.DEFAULT_PORT,
        "access": USERSPACE,
    }


def is_used(client: Any, params: dict[str, Any], group: str | None) -> bool:
    """Whether Ganeti uses the volume by these parameters: template, policy, parameters."""
    info = client.QueryClusterInfo()
    if group is None:
        actual = info["diskparams"].get(TEMPLATE, {})
        allowed = info["ipolicy"][constants.IPOLICY_DTS]
    else:
        ((policy,),) = client.QueryGroups([group], ["ipolicy"], False)
        actual = cluster_config.template_params(client)[group]
        allowed = policy[constants.IPOLICY_DTS]
    return (
        TEMPLATE in info["enabled_disk_templates"]
        and TEMPLATE in allowed
        and all(actual.get(key) == value for key, value in params.items())
    )


def servers_of(client: Any, volume: str, group: str | None) -> str | None:
    """The servers that Ganeti asks for a volume; None if it uses another, or none."""
    if group is None:
        params = client.QueryClusterInfo()["diskparams"].get(TEMPLATE, {})
    else:
        params = cluster_config.template_params(client).get(group, {})
    return params.get("host") if params.get("volume") == volume else None


def is_unused(client: Any, volume: str) -> bool:
    """Whether Ganeti uses another volume or none, for all nodes and for each group's."""
    return not _groups_with(client, volume) and not _is_the_clusters(client, volume)


def _is_the_clusters(client: Any, volume: str) -> bool:
    """Whether the template is enabled, and its volume for all groups is this one.

    Not where it is the last one, or a group has a volume of its own: it has to stay.
    """
    info = client.QueryClusterInfo()
    return (
        TEMPLATE in info["enabled_disk_templates"]
        and info["diskparams"].get(TEMPLATE, {}).get("volume") == volume
        and bool({*info["ipolicy"][constants.IPOLICY_DTS]} - {TEMPLATE})
        and bool({*info["enabled_disk_templates"]} - {TEMPLATE})
        and not any("volume" in own for own in cluster_config.groups_own_params(client).values())
    )


def _groups_with(client: Any, volume: str) -> list[str]:
    """The groups that have this volume by parameters of their own."""
    own = cluster_config.groups_own_params(client)
    return [name for name, params in own.items() if params.get("volume") == volume]


def use(client: Any, params: dict[str, Any], group: str | None) -> None:
    """Enable the template, allow it in the policy, and set its parameters.

    For the whole cluster, or for one group's nodes: then it is that group's policy, and
    the others may still not use it.
    """
    info = client.QueryClusterInfo()
    enabled = list(info["enabled_disk_templates"])
    change: dict[str, Any] = {}
    if TEMPLATE not in enabled:
        change["enabled_disk_templates"] = [*enabled, TEMPLATE]
    if group is None:
        allowed = list(info["ipolicy"][constants.IPOLICY_DTS])
        if TEMPLATE not in allowed:
            change["ipolicy"] = {constants.IPOLICY_DTS: [*allowed, TEMPLATE]}
        change["diskparams"] = {TEMPLATE: params}
    if change:
        cluster.job(opcodes.OpClusterSetParams(**change), client)
    if group is not None:
        _use_in_group(client, params, group)


def _use_in_group(client: Any, params: dict[str, Any], group: str) -> None:
    ((policy,),) = client.QueryGroups([group], ["ipolicy"], False)
    change: dict[str, Any] = {"diskparams": {TEMPLATE: params}}
    if TEMPLATE not in policy[constants.IPOLICY_DTS]:
        change["ipolicy"] = {constants.IPOLICY_DTS: [*policy[constants.IPOLICY_DTS], TEMPLATE]}
    cluster.job(opcodes.OpGroupSetParams(group_name=group, **change), client)


def disuse(client: Any, volume: str) -> None:
    """Have no group use the volume, nor the cluster; instances must be gone.

    The template is disabled where no other volume needs it.
    """
    for group in _groups_with(client, volume):
        _disuse_in_group(client, group)
    info = client.QueryClusterInfo()
    allowed = list(info["ipolicy"][constants.IPOLICY_DTS])
    enabled = [name for name in info["enabled_disk_templates"] if name != TEMPLATE]
    nowhere = TEMPLATE not in allowed and not any(
        "volume" in own for own in cluster_config.groups_own_params(client).values()
    )
    if enabled and (nowhere or _is_the_clusters(client, volume)):
        policy = {constants.IPOLICY_DTS: [name for name in allowed if name != TEMPLATE]}
        cluster.job(
            opcodes.OpClusterSetParams(enabled_disk_templates=enabled, ipolicy=policy), client
        )


def _disuse_in_group(client: Any, group: str) -> None:
    ((own, custom),) = client.QueryGroups([group], ["custom_diskparams", "custom_ipolicy"], False)
    everywhere = client.QueryClusterInfo()["ipolicy"][constants.IPOLICY_DTS]
    # Ganeti does not take "default" for the way of access, which harms nobody.
    reset = {
        name: constants.VALUE_DEFAULT for name in own[TEMPLATE] if name != constants.LDP_ACCESS
    }
    change: dict[str, Any] = {"diskparams": {TEMPLATE: reset}}
    allowed = (custom or {}).get(constants.IPOLICY_DTS)
    if allowed and TEMPLATE not in everywhere:
        left = [name for name in allowed if name != TEMPLATE]
        same = not left or {*left} == {*everywhere}
        change["ipolicy"] = {constants.IPOLICY_DTS: [constants.VALUE_DEFAULT] if same else left}
    cluster.job(opcodes.OpGroupSetParams(group_name=group, **change), client)


def read_settings(client: Any) -> dict[str, Settings]:
    """The settings of all volumes, where they are valid."""
    return settings.parse(_tags(client))


def refused_settings(client: Any) -> dict[str, str]:
    """Why nothing is done by the settings of some volumes, by volume."""
    return settings.refused(_tags(client))


def has_settings(client: Any, volume: str) -> bool:
    """Whether anything is kept of a volume, valid or not."""
    return bool(settings.of_volume(_tags(client), volume))


def write_settings(client: Any, wanted: Settings) -> bool:
    """Set a volume's settings in place of those it had; whether that changed anything."""
    old, new = settings.of_volume(_tags(client), wanted.volume), wanted.tags()
    added = [tag for tag in new if tag not in old]
    gone = [tag for tag in old if tag not in new]
    if added:
        cluster.job(opcodes.OpTagsSet(kind=constants.TAG_CLUSTER, tags=added), client)
    if gone:
        cluster.job(opcodes.OpTagsDel(kind=constants.TAG_CLUSTER, tags=gone), client)
    return bool(added or gone)


def forget_settings(client: Any, volume: str) -> None:
    """Remove all settings of a volume."""
    old = settings.of_volume(_tags(client), volume)
    if old:
        cluster.job(opcodes.OpTagsDel(kind=constants.TAG_CLUSTER, tags=old), client)


def _tags(client: Any) -> list[str]:
    return list(client.QueryTags(constants.TAG_CLUSTER, ""))
