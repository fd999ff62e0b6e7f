"""Corrections of Ganeti's KVM code; that of 3.1 passes block devices to QEMU as structures.

Ganeti 3.0 passes the disk's URI to QEMU unchanged, and needs none of this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganeti_gluster.core.serve.server import qemu_blockdev
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import hv_kvm_user, instance_migration


def extend_utils(module: Any) -> None:
    """Let `kvm_utils` know the URI of an image's server.

    Ganeti 3.1 makes structures of the URIs that it knows, gluster's and rbd's, and
    refuses any other.
    """
    original = module.ParseStorageUriToBlockdevParam
    if original("rbd:pool/image").get("driver") != "rbd":
        raise PatchRefused("kvm_utils.ParseStorageUriToBlockdevParam is not as expected")

    def ParseStorageUriToBlockdevParam(uri: str) -> dict[str, Any]:
        result: dict[str, Any] = qemu_blockdev(uri) or original(uri)
        return result

    ParseStorageUriToBlockdevParam.__doc__ = original.__doc__
    module.ParseStorageUriToBlockdevParam = ParseStorageUriToBlockdevParam


def extend_hypervisor(module: Any) -> None:
    """Mend Ganeti's class for KVM: what QEMU is given, and how a migration has ended."""
    hv_kvm_user.extend_hypervisor(module.KVMHypervisor)
    instance_migration.extend_connection(getattr(module, "QmpConnection", None))
    instance_migration.extend_hypervisor(module.KVMHypervisor)
    _correct_block_device(module.KVMHypervisor)


def _correct_block_device(hypervisor: Any) -> None:
    """Call a block device one, at start and at hot-add alike.

    In kernelspace Ganeti takes every gluster disk for a file, and QEMU refuses a block
    device that is called one.
    """
    original = getattr(hypervisor, "_GenerateKVMBlockDevice", None)
    if original is None:  # Ganeti 3.0 does not say what it is
        return

    def _GenerateKVMBlockDevice(
        target: str, disk_info: Any, hvp: dict[str, Any], kvm_devid: str
    ) -> dict[str, Any]:
        result: dict[str, Any] = original(target, disk_info, hvp, kvm_devid)
        blockdev = result.get("file", {})
        if blockdev.get("driver") == "file" and Path(target).is_block_device():
            blockdev["driver"] = "host_device"
        return result

    hypervisor._GenerateKVMBlockDevice = staticmethod(_GenerateKVMBlockDevice)
