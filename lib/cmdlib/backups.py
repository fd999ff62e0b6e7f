"""Backups of instances: what the master has to know and to do for them.

The work on disks is done by a worker on the instance's primary node, as that on snapshots is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ganeti import constants, errors, opcodes

from ganeti_gluster.cmdlib import cluster, cluster_config, snapshots
from ganeti_gluster.core.backup.manifest import Manifest
from ganeti_gluster.core.snapshot.request import (
    BACK_UP,
    FILL,
    BackupRequest,
    DiskRequest,
    SnapshotRequest,
)
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.storage import boot_watch
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import NotUnderstood

#: Seconds for SSH and for Ganeti's library to be loaded, before a guest is watched.
_START_SECONDS = 60
#: Parameters of KVM by which a guest may reach something outside, or be reached.
_OUTSIDE = ("kvm_extra", "usb_devices", "vnc_bind_address", "spice_bind")


def to_back_up(
    instance: snapshots.Instance, name: str, repository: str, *, full: bool, freeze: bool
) -> SnapshotRequest:
    """The request for a backup of all disks of an instance, with its configuration."""
    data = cluster_config.read()
    return _request(
        BACK_UP,
        instance,
        name,
        snapshots.choose(instance, None),
        BackupRequest(
            repository=repository,
            full=full,
            freeze=freeze,
            cluster=data["cluster"].get("cluster_name", ""),
            configuration=json.dumps(configuration(data, instance.uuid)),
        ),
    )


def to_fill(
    instance: snapshots.Instance,
    backup: Manifest,
    repository: str,
    disks: tuple[DiskRequest, ...],
) -> SnapshotRequest:
    """The request to give these disks of an instance the content of those of a backup."""
    for disk in disks:
        if backup.disk(disk.index) is None:
            raise errors.OpPrereqError(
                "Backup %s has no disk/%d" % (backup.name, disk.index), errors.ECODE_NOENT
            )
    return _request(
        FILL,
        instance,
        backup.name,
        disks,
        BackupRequest(
            repository=repository,
            instance=backup.instance,
            sources=tuple(disk.index for disk in disks),
        ),
    )


def _request(
    operation: str,
    instance: snapshots.Instance,
    name: str,
    disks: tuple[DiskRequest, ...],
    backup: BackupRequest,
) -> SnapshotRequest:
    return SnapshotRequest(
        operation=operation,
        instance=instance.name,
        instance_uuid=instance.uuid,
        name=name,
        disks=disks,
        disks_volume=instance.volume,
        snapshots_volume=instance.volume,
        running=snapshots.is_running(instance),
        backup=backup,
    )


def configuration(data: Mapping[str, Any], uuid: str) -> dict[str, Any]:
    """All that Ganeti's configuration has of an instance, as Ganeti has it.

    UUIDs of another cluster mean nothing here, so networks are there by name as well.
    """
    instance = data["instances"][uuid]
    networks = data.get("networks", {})
    return {
        "instance": instance,
        "disks": [data["disks"][disk] for disk in instance.get("disks", ())],
        "networks": {uuid: each.get("name", "") for uuid, each in networks.items()},
    }


def to_create(backup: Manifest, name: str, *, node: str | None) -> dict[str, Any]:
    """The fields of the opcode that creates the instance of a backup again, with empty disks.

    They come from the repository, so Ganeti checks them as it does those of its users.  A new
    name is that of a second instance, which gets new MAC addresses.  Raises `OpPrereqError`.
    """
    try:
        known = decode.plain(backup.configuration)
        instance, disks, networks = known["instance"], known["disks"], known["networks"]
        params: dict[str, Any] = {
            "instance_name": name,
            "mode": constants.INSTANCE_CREATE,
            "disk_template": constants.DT_GLUSTER,
            "disks": [_disk(disk, number, backup) for number, disk in enumerate(disks)],
            "nics": [
                _nic(nic, networks, keep=name == backup.instance)
                for nic in _list(instance["nics"])
            ],
            "os_type": instance.get("os") or None,
            "no_install": True,
            "start": False,
            "name_check": False,
            "ip_check": False,
            "wait_for_sync": True,
            "force_variant": True,
            "hypervisor": instance["hypervisor"],
            "hvparams": instance.get("hvparams") or {},
            "beparams": instance.get("beparams") or {},
            "osparams": instance.get("osparams") or {},
            "tags": list(instance.get("tags") or ()),
        }
    except (KeyError, TypeError, AttributeError, ValueError, NotUnderstood) as err:
        raise errors.OpPrereqError(
            "The configuration in backup %s is not understood: %s" % (backup.name, err),
            errors.ECODE_INVAL,
        ) from err
    if node is not None:
        params["pnode"] = node
    return params


def _list(values: Any) -> list[Any]:
    """Ganeti's lists in either form: as such, or by UUID."""
    return list(values.values()) if isinstance(values, Mapping) else list(values)


def _disk(disk: Mapping[str, Any], number: int, backup: Manifest) -> dict[str, Any]:
    found = backup.disk(number)
    if found is None or found.size != disk["size"] << 20:
        raise ValueError("disk/%d is not in it, or has another size" % number)
    named = {constants.IDISK_NAME: disk["name"]} if disk.get("name") else {}
    return {constants.IDISK_SIZE: disk["size"], constants.IDISK_MODE: disk["mode"], **named}


def _nic(nic: Mapping[str, Any], networks: Mapping[str, str], *, keep: bool) -> dict[str, Any]:
    fields = {constants.INIC_MAC: nic["mac"] if keep else constants.VALUE_GENERATE}
    params = nic.get("nicparams") or {}
    for key, value in (
        (constants.INIC_IP, nic.get("ip")),
        (constants.INIC_NAME, nic.get("name")),
        (constants.INIC_NETWORK, networks.get(nic.get("network") or "")),
    ):
        if value:
            fields[key] = value
    if constants.INIC_NETWORK not in fields:
        # A network has these itself.
        fields.update({key: params[key] for key in (constants.INIC_MODE, constants.INIC_LINK)
                       if params.get(key)})  # fmt: skip
    return fields


def create(params: Mapping[str, Any]) -> None:
    """Make the instance, by a job of Ganeti's."""
    cluster.job(opcodes.OpInstanceCreate(**params))


def to_test(backup: Manifest, name: str, *, node: str | None) -> dict[str, Any]:
    """As `to_create`, for a copy that is only to boot: without a network, with a console."""
    params = to_create(backup, name, node=node)
    if params["hypervisor"] != constants.HT_KVM:
        raise errors.OpPrereqError(
            "Only guests of KVM can be tested, and backup %s is of %s"
            % (backup.name, params["hypervisor"]),
            errors.ECODE_INVAL,
        )
    hvparams = {name: each for name, each in params["hvparams"].items() if name not in _OUTSIDE}
    hvparams[constants.HV_SERIAL_CONSOLE] = True
    # Nor is it chosen by its tags, as by a schedule of backups.
    return {**params, "nics": [], "tags": [], "hvparams": hvparams}


def boot(instance: snapshots.Instance, pattern: str, seconds: int) -> str:
    """Start it, and tell by what its boot was seen; raises a GanetiGlusterError if by nothing."""
    op = opcodes.OpInstanceStartup(
        instance_name=instance.name, instance_uuid=instance.uuid, startup_paused=True
    )
    cluster.job(op)
    argv = [*boot_watch.PROGRAM, instance.name, str(seconds), pattern]
    done = cluster.SshChannel()(instance.node, argv, timeout=seconds + _START_SECONDS)
    said = decode.printable(done.stdout.strip() or done.stderr)
    if done.exit_code != 0:
        raise GanetiGlusterError(said)
    return said


def remove(instance: snapshots.Instance) -> None:
    """Remove an instance, and no other of that name, without waiting for its guest.

    Ganeti takes a name that it does not know for the beginning of another one's.
    """
    op = opcodes.OpInstanceRemove(
        instance_name=instance.name,
        instance_uuid=instance.uuid,
        shutdown_timeout=0,
        ignore_failures=False,
    )
    cluster.job(op)
