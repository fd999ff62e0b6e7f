"""Show a running guest its grown disk, which Ganeti 3.0 leaves to us."""

from __future__ import annotations

import logging
import os
from typing import Any

from ganeti import errors
from ganeti.hypervisor import hv_kvm
from ganeti.hypervisor.hv_kvm import monitor

_RUNTIME_SUFFIX = ".runtime"


def show_size(disk_uuid: str, size: int) -> None:
    """Tell the QEMU of this node that has the disk, if one has, its size in bytes.

    Ganeti 3.1 does so itself (`ResizeDisk`).  A failure is logged and no more:
    the disk has grown, and its guest sees that after its next start.
    """
    if hasattr(hv_kvm.KVMHypervisor, "ResizeDisk"):
        return
    try:
        found = _find(disk_uuid)
        if found is None:
            return
        instance, device = found
        socket = hv_kvm.KVMHypervisor._InstanceQmpMonitor(instance)
        with monitor.QmpConnection(socket) as qmp:
            qmp.Execute("block_resize", {"device": device, "size": size})
    except (errors.GenericError, OSError) as err:
        logging.warning(
            "Disk %s has grown, but its guest sees that only after its next start: %s",
            disk_uuid,
            err,
        )


def _find(disk_uuid: str) -> tuple[str, str] | None:
    """The running instance on this node that has the disk, and QEMU's id of it."""
    kvm: Any = hv_kvm.KVMHypervisor()
    running = set(kvm.ListInstances())
    for name in sorted(os.listdir(kvm._CONF_DIR)):
        instance, suffix = os.path.splitext(name)
        if suffix != _RUNTIME_SUFFIX or instance not in running:
            continue
        _, _, _, disks = hv_kvm._AnalyzeSerializedRuntime(kvm._ReadKVMRuntime(instance))
        for disk, _, _ in disks:
            if disk.uuid == disk_uuid and disk.hvinfo:
                return instance, disk.hvinfo["id"]
    return None
