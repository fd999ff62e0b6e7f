"""The QEMU of this node that uses a disk, through Ganeti's own QMP client.

A disk grows through its image server; the server's clients then reconnect and get the new size.
QEMU applies it with the next request, and refuses `block_resize` until then ("Cannot grow NBD
nodes"; QEMU 7.2 to 11.1), so this module sends a request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from ganeti import constants, errors
from ganeti.hypervisor import hv_kvm

from ganeti_gluster.core.snapshot.live import MonitorFailed
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.storage import qmp

_RUNTIME_SUFFIX = ".runtime"
# Place of the disks in a runtime of Ganeti's: command, NICs, parameters, disks.
_DISKS = 3


#: Seconds for QEMU to connect to a server that has grown its image.
RECONNECT_SECONDS = 30.0
_POLL_SECONDS = 0.2


def tell_size(disk_uuid: str, size: int) -> None:
    """Let the running QEMU that has the disk, by its server or a block device, see its size.

    Raises `MonitorFailed` where QEMU refuses or does not answer.
    """
    guest = _find(disk_uuid)
    if guest is None:
        return
    instance, device = guest
    deadline = time.monotonic() + RECONNECT_SECONDS
    with qmp.connected(hv_kvm.KVMHypervisor._InstanceQmpMonitor(instance)) as monitor:
        # Ganeti 3.1 names the block node, Ganeti 3.0 the drive.
        nodes = monitor.execute("query-named-block-nodes", {"flat": True})
        key = "node-name" if any(node["node-name"] == device for node in nodes) else "device"
        while True:
            try:
                _read(monitor, device)
                monitor.execute("block_resize", {key: device, "size": size})
            except MonitorFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)
            else:
                return


def show_size(disk_uuid: str, size: int) -> None:
    """As `tell_size`; raises `GanetiGlusterError` with what to do where Ganeti cannot."""
    try:
        tell_size(disk_uuid, size)
    except errors.HypervisorError as err:
        raise GanetiGlusterError(
            "it has %d bytes now, but QEMU does not show the new size to the guest: %s"
            % (size, err),
            hint="stop and start the instance",
        ) from err


def _read(monitor: qmp.QmpMonitor, device: str) -> None:
    """Make one request to the disk, as a guest would; its outcome does not matter."""
    monitor.execute("human-monitor-command", {"command-line": 'qemu-io %s "read 0 512"' % device})


def user(disk_uuid: str) -> str | None:
    """The instance whose QEMU runs on this node and has the disk, by a URI or by a path."""
    for instance, disk, _ in running_disks():
        if disk.uuid == disk_uuid:
            return instance
    return None


def find_ext(provider: str, name: str) -> tuple[str, str] | None:
    """The running instance on this node that has an ExtStorage disk, and the disk's UUID."""
    for instance, disk, _ in running_disks():
        if disk.dev_type == constants.DT_EXT and tuple(disk.logical_id) == (provider, name):
            return instance, disk.uuid
    return None


def _find(disk_uuid: str) -> tuple[str, str] | None:
    """The running instance on this node whose QEMU has the disk, and its id of the disk."""
    for instance, disk, _ in running_disks():
        if disk.uuid == disk_uuid and disk.hvinfo:
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
