"""Mends in Ganeti's KVM code, of which 3.1's hands QEMU block devices as structures.

Ganeti 3.0 passes the disk's URI to QEMU as it is, and has none of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ganeti_gluster.mends import migration
from ganeti_gluster.plugin import Refused
from ganeti_gluster.volume import VolumeSpec

_SCHEME = "gluster://"


def _lists_as_dicts(value: Any) -> Any:
    """Turn each list within a structure into a dict by index, as QEMU writes it."""
    if isinstance(value, (list, tuple)):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: _lists_as_dicts(item) for key, item in value.items()}
    return value


def extend_utils(module: Any) -> None:
    """Mend how `kvm_utils` writes a gluster disk for QEMU's command line.

    Ganeti 3.1 flattens dicts but not the list of servers in them, so that QEMU
    gets `file.server=[{'type': …}]` and refuses; and its pattern for a URI
    knows neither IPv6 nor capitals in host names.
    """
    _mend_flatten(module)
    _mend_uri(module)


def _mend_flatten(module: Any) -> None:
    original = module.FlattenDict
    if original({"server": [{"host": "a"}]}) == {"server.0.host": "a"}:
        return

    def FlattenDict(d: dict[str, Any], parent_key: str = "", sep: str = ".") -> dict[str, Any]:
        result: dict[str, Any] = original(_lists_as_dicts(d), parent_key, sep)
        return result

    FlattenDict.__doc__ = original.__doc__
    if FlattenDict({"server": [{"host": "a"}]}) != {"server.0.host": "a"}:
        raise Refused("kvm_utils.FlattenDict is not as expected")
    module.FlattenDict = FlattenDict


def _mend_uri(module: Any) -> None:
    original = module.ParseStorageUriToBlockdevParam
    if not isinstance(original("gluster://host:24007/gv0/path").get("server"), list):
        raise Refused("kvm_utils.ParseStorageUriToBlockdevParam is not as expected")

    def ParseStorageUriToBlockdevParam(uri: str) -> dict[str, Any]:
        if uri.startswith(_SCHEME):
            return blockdev_of_uri(uri)
        result: dict[str, Any] = original(uri)
        return result

    ParseStorageUriToBlockdevParam.__doc__ = original.__doc__
    module.ParseStorageUriToBlockdevParam = ParseStorageUriToBlockdevParam


def blockdev_of_uri(uri: str) -> dict[str, Any]:
    """The structure for QEMU of a URI such as `VolumeSpec.qemu_uri` gives.

    Raises `InvalidParameter` for what is no such URI.
    """
    parts = urlsplit(uri)
    volume, _, path = unquote(parts.path).lstrip("/").partition("/")
    return VolumeSpec.from_params({"host": parts.netloc, "volume": volume}).qemu_blockdev(path)


def extend_hypervisor(module: Any) -> None:
    """Mend Ganeti's class for KVM: what QEMU is given, and how a migration has ended."""
    migration.extend_hypervisor(module.KVMHypervisor)
    _mend_block_device(module.KVMHypervisor)


def _mend_block_device(hypervisor: Any) -> None:
    """Give QEMU all servers of a gluster disk, at start and at hot-add alike.

    The URI names the one server that answered; the disk's parameters name all.
    In kernelspace Ganeti takes every gluster disk for a file, and QEMU refuses a
    block device that is called one.
    """
    original = getattr(hypervisor, "_GenerateKVMBlockDevice", None)
    if original is None:  # Ganeti 3.0: QEMU gets the URI
        return

    def _GenerateKVMBlockDevice(
        target: str, disk_info: Any, hvp: dict[str, Any], kvm_devid: str
    ) -> dict[str, Any]:
        result: dict[str, Any] = original(target, disk_info, hvp, kvm_devid)
        blockdev = result.get("file", {})
        if blockdev.get("driver") == "gluster" and names_servers(disk_info.params):
            spec = VolumeSpec.from_params(disk_info.params)
            blockdev["server"] = merge_servers(
                blockdev["server"], spec.qemu_blockdev(blockdev["path"])["server"]
            )
        elif blockdev.get("driver") == "file" and Path(target).is_block_device():
            blockdev["driver"] = "host_device"
        return result

    hypervisor._GenerateKVMBlockDevice = staticmethod(_GenerateKVMBlockDevice)


def names_servers(params: dict[str, Any]) -> bool:
    """Whether a disk's parameters are the template's, or our ExtStorage provider's.

    Any other provider may have a disk on Gluster, too, in terms of its own.
    """
    return params.get("provider", "gluster") == "gluster" and "host" in params


def merge_servers(first: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[Any]:
    """The servers of both lists in order, each once."""
    return first + [server for server in others if server not in first]
