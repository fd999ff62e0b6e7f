"""How Ganeti 3.1 hands an image's server and a block device to QEMU."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.serve.server import qemu_blockdev, qemu_uri
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import hv_kvm

SOCKET = "/run/ganeti-gluster-nbd/gv0-0123456789abcdef.nbd"


class HypervisorError(Exception):
    """Ganeti's."""


class QmpConnection:
    """Ganeti's, as far as it is extended."""

    def GetMigrationStatus(self) -> dict[str, Any]:
        return {}


def utils_module() -> SimpleNamespace:
    """The function of Ganeti 3.1's kvm_utils."""

    def ParseStorageUriToBlockdevParam(uri: str) -> dict[str, Any]:
        """Parse a storage uri into qemu blockdev params"""
        found = re.match(r"^rbd:(?P<pool>\w+)/(?P<image>[a-z0-9-\.]+)$", uri)
        if found is None:
            raise HypervisorError("Unsupported storage URI scheme: %s" % uri)
        return {"driver": "rbd", **found.groupdict()}

    return SimpleNamespace(ParseStorageUriToBlockdevParam=ParseStorageUriToBlockdevParam)


def test_the_uri_of_a_server_becomes_its_structure_for_qemu() -> None:
    module = utils_module()
    hv_kvm.extend_utils(module)
    uri = qemu_uri(SOCKET, 900)
    assert module.ParseStorageUriToBlockdevParam(uri) == qemu_blockdev(uri)
    assert module.ParseStorageUriToBlockdevParam.__doc__.startswith("Parse a storage uri")


def test_a_uri_of_another_storage_is_ganetis_own_business() -> None:
    module = utils_module()
    hv_kvm.extend_utils(module)
    assert module.ParseStorageUriToBlockdevParam("rbd:pool/image") == {
        "driver": "rbd",
        "pool": "pool",
        "image": "image",
    }
    with pytest.raises(HypervisorError, match="nbd://node1"):
        module.ParseStorageUriToBlockdevParam("nbd://node1")


def test_functions_that_are_not_as_expected_are_refused() -> None:
    module = SimpleNamespace(ParseStorageUriToBlockdevParam=lambda uri: {})
    original = module.ParseStorageUriToBlockdevParam
    with pytest.raises(PatchRefused, match="ParseStorageUriToBlockdevParam"):
        hv_kvm.extend_utils(module)
    assert module.ParseStorageUriToBlockdevParam is original


def hypervisor_module() -> SimpleNamespace:
    class KVMHypervisor:
        @staticmethod
        def _GenerateKVMBlockDevice(
            target: str, disk_info: Any, hvp: Any, kvm_devid: str
        ) -> dict[str, Any]:
            found = qemu_blockdev(target) or {"driver": "file", "filename": target}
            return {"node-name": kvm_devid, "file": found}

        def _RunKVMCmd(self, name: str, kvm_cmd: list[str], tap_fds: Any = None) -> None:
            return None

        def HotAddDevice(self, *args: Any) -> None:
            return None

        def GetMigrationStatus(self, instance: Any) -> None:
            return None

        def FinalizeMigrationSource(self, instance: Any, success: bool, live: bool) -> None:
            return None

    return SimpleNamespace(KVMHypervisor=KVMHypervisor, QmpConnection=QmpConnection)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/dev/loop3", {"driver": "host_device", "filename": "/dev/loop3"}),
        ("/dev/x", {"driver": "file", "filename": "/dev/x"}),
        (qemu_uri(SOCKET, 0), qemu_blockdev(qemu_uri(SOCKET, 0))),
    ],
)
def test_qemu_is_told_that_a_block_device_is_one(
    monkeypatch: pytest.MonkeyPatch, target: str, expected: dict[str, object]
) -> None:
    monkeypatch.setattr(
        hv_kvm.Path, "is_block_device", lambda self: str(self).startswith("/dev/loop")
    )
    module = hypervisor_module()
    hv_kvm.extend_hypervisor(module)
    device = module.KVMHypervisor._GenerateKVMBlockDevice(target, None, {}, "disk-1")
    assert device == {"node-name": "disk-1", "file": expected}


def test_ganeti_3_0_has_no_structures_to_mend() -> None:
    names = ("HotAddDevice", "GetMigrationStatus", "FinalizeMigrationSource")
    members = dict.fromkeys(names, lambda *args: None)
    members["_RunKVMCmd"] = lambda self, name, kvm_cmd, tap_fds: None
    module = SimpleNamespace(
        KVMHypervisor=type("KVMHypervisor", (), members), QmpConnection=QmpConnection
    )
    hv_kvm.extend_hypervisor(module)
    assert not hasattr(module.KVMHypervisor, "_GenerateKVMBlockDevice")
