"""The QEMU of this node that has a disk, reached through Ganeti's own QMP client.

GlusterFS's replication lets the one client that writes all the time keep its
lock on a file: another client that truncates the image of a busy guest waits
for minutes and more (measured: 5 minutes and no end, GlusterFS 11.1).  So the
QEMU that has the image open grows it; its guest sees that at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from ganeti import constants, errors
from ganeti.hypervisor import hv_kvm

from ganeti_gluster.storage import qmp

_RUNTIME_SUFFIX = ".runtime"
# Place of the disks in a runtime of Ganeti's: command, NICs, parameters, disks.
_DISKS = 3


def grow(disk_uuid: str, size: int) -> bool:
    """Let the running QEMU that has the disk grow it to `size` bytes.

    False if none on this node has it.  Raises `MonitorFailed` where QEMU refuses
    or does not answer.
    """
    found = _find(disk_uuid, userspace=True)
    if found is not None:
        _resize(*found, size)
    return found is not None


def tell_size(disk_uuid: str, size: int) -> None:
    """Let the running QEMU that has the disk by a block device see that it has grown.

    Ganeti 3.1 does that as well, later.  Raises `MonitorFailed` as `grow`.
    """
    found = _find(disk_uuid, userspace=False)
    if found is not None:
        _resize(*found, size)


def _resize(instance: str, device: str, size: int) -> None:
    with qmp.connected(hv_kvm.KVMHypervisor._InstanceQmpMonitor(instance)) as monitor:
        # Ganeti 3.1 names the block node, Ganeti 3.0 the drive.
        nodes = monitor.execute("query-named-block-nodes", {"flat": True})
        key = "node-name" if any(node["node-name"] == device for node in nodes) else "device"
        monitor.execute("block_resize", {key: device, "size": size})


def user(disk_uuid: str) -> str | None:
    """The instance whose QEMU runs on this node and has the disk, by a URI or by a path."""
    for instance, disk, _ in running_disks():
        if disk.uuid == disk_uuid:
            return instance
    return None


def find_process(disk_uuid: str) -> int | None:
    """The process of the QEMU on this node that has the disk, by a URI or by a path."""
    for instance, disk, _ in running_disks():
        if disk.uuid == disk_uuid:
            _, pid, alive = hv_kvm.KVMHypervisor._InstancePidAlive(instance)
            return pid if alive else None
    return None


def find_ext(provider: str, name: str) -> tuple[str, str] | None:
    """The running instance on this node that has an ExtStorage disk, and the disk's UUID."""
    for instance, disk, _ in running_disks():
        if disk.dev_type == constants.DT_EXT and tuple(disk.logical_id) == (provider, name):
            return instance, disk.uuid
    return None


def _find(disk_uuid: str, *, userspace: bool) -> tuple[str, str] | None:
    """The running instance on this node whose QEMU has the disk, and its id of the disk.

    A disk with a URI is one that QEMU reaches in userspace.
    """
    for instance, disk, uri in running_disks():
        if disk.uuid == disk_uuid and disk.hvinfo and bool(uri) == userspace:
            return instance, disk.hvinfo["id"]
    return None


def running_disks() -> Iterator[tuple[str, Any, str | None]]:
    """The disks of the instances that run on this node: instance, disk, URI."""
    kvm: Any = hv_kvm.KVMHypervisor()
    running = set(kvm.ListInstances())
    for name in sorted(os.listdir(kvm._CONF_DIR)):
        instance, suffix = os.path.splitext(name)
        if suffix != _RUNTIME_SUFFIX or instance not in running:
            continue
        try:
            runtime = kvm._LoadKVMRuntime(SimpleNamespace(name=instance))
        except errors.HypervisorError:
            if instance in kvm.ListInstances():
                raise
            continue  # it has ended meanwhile
        for disk, _, uri in runtime[_DISKS]:
            yield instance, disk, uri
