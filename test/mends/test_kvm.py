"""How Ganeti 3.1 hands a gluster disk to QEMU, mended."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.mends import kvm
from ganeti_gluster.plugin import Refused


def utils_module() -> SimpleNamespace:
    """Functions with the faults of Ganeti 3.1's kvm_utils."""

    def FlattenDict(d: dict[str, Any], parent_key: str = "", sep: str = ".") -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, value in d.items():
            name = parent_key + sep + key if parent_key else key
            if isinstance(value, dict):
                items.update(module.FlattenDict(value, name, sep=sep))
            else:
                items[name] = value
        return items

    def ParseStorageUriToBlockdevParam(uri: str) -> dict[str, Any]:
        found = re.match(r"^gluster://(?P<host>[a-z0-9-.]+):(\d+)/[^/]+/.+$", uri)
        if found is None:
            raise ValueError(uri)
        return {"driver": "gluster", "server": [{"host": found["host"]}]}

    module = SimpleNamespace(
        FlattenDict=FlattenDict, ParseStorageUriToBlockdevParam=ParseStorageUriToBlockdevParam
    )
    return module


def test_the_list_of_servers_is_flattened_by_index() -> None:
    module = utils_module()
    kvm.extend_utils(module)
    assert module.FlattenDict(
        {"file": {"server": [{"host": "a", "port": "1"}, {"host": "b"}], "path": "p"}}
    ) == {
        "file.server.0.host": "a",
        "file.server.0.port": "1",
        "file.server.1.host": "b",
        "file.path": "p",
    }


def test_a_ganeti_that_flattens_lists_is_left_alone() -> None:
    module = utils_module()
    kvm.extend_utils(module)
    mended = module.FlattenDict
    kvm.extend_utils(module)
    assert module.FlattenDict is mended


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("gluster://node1:24007/gv0/ganeti/x.0", "node1", "24007"),
        ("gluster://Node1.Example:1/gv0/ganeti/x.0", "Node1.Example", "1"),
        ("gluster://[2001:db8::1]:24008/gv0/ganeti/x.0", "2001:db8::1", "24008"),
    ],
)
def test_a_uri_becomes_the_structure_for_qemu(uri: str, host: str, port: str) -> None:
    module = utils_module()
    kvm.extend_utils(module)
    assert module.ParseStorageUriToBlockdevParam(uri) == {
        "driver": "gluster",
        "volume": "gv0",
        "path": "ganeti/x.0",
        "server": [{"type": "inet", "host": host, "port": port}],
    }


def test_a_uri_of_another_storage_is_ganetis_own_business() -> None:
    module = utils_module()
    kvm.extend_utils(module)
    with pytest.raises(ValueError, match="rbd:pool/image"):
        module.ParseStorageUriToBlockdevParam("rbd:pool/image")


@pytest.mark.parametrize("uri", ["gluster://node1:24007/gv0", "gluster://node1:24007/gv0/../x"])
def test_a_uri_of_no_image_is_refused(uri: str) -> None:
    with pytest.raises(InvalidParameter):
        kvm.blockdev_of_uri(uri)


def test_functions_that_are_not_as_expected_are_refused() -> None:
    module = utils_module()
    module.ParseStorageUriToBlockdevParam = lambda uri: {}
    with pytest.raises(Refused, match="ParseStorageUriToBlockdevParam"):
        kvm.extend_utils(module)


def hypervisor_module() -> SimpleNamespace:
    class KVMHypervisor:
        @staticmethod
        def _GenerateKVMBlockDevice(
            target: str, disk_info: Any, hvp: Any, kvm_devid: str
        ) -> dict[str, Any]:
            if target.startswith("gluster:"):
                return {"node-name": kvm_devid, "file": kvm.blockdev_of_uri(target)}
            return {"node-name": kvm_devid, "file": {"driver": "file", "filename": target}}

        def GetMigrationStatus(self, instance: Any) -> None:
            return None

        def FinalizeMigrationSource(self, instance: Any, success: bool, live: bool) -> None:
            return None

    return SimpleNamespace(KVMHypervisor=KVMHypervisor)


def test_qemu_gets_all_servers_with_the_live_one_first() -> None:
    module = hypervisor_module()
    kvm.extend_hypervisor(module)
    disk = SimpleNamespace(params={"host": "a,b,c", "port": 24007, "volume": "gv0"})
    device = module.KVMHypervisor._GenerateKVMBlockDevice(
        "gluster://b:24007/gv0/ganeti/x.0", disk, {}, "disk-1"
    )
    assert [server["host"] for server in device["file"]["server"]] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "params", [{"provider": "other", "host": "a,b", "volume": "gv0"}, {"access": "userspace"}]
)
def test_a_gluster_disk_of_another_provider_stays_as_it_is(params: dict[str, Any]) -> None:
    module = hypervisor_module()
    kvm.extend_hypervisor(module)
    device = module.KVMHypervisor._GenerateKVMBlockDevice(
        "gluster://b:24007/gv0/x", SimpleNamespace(params=params), {}, "disk-1"
    )
    assert [server["host"] for server in device["file"]["server"]] == ["b"]


def test_a_disk_with_a_path_stays_as_it_is() -> None:
    module = hypervisor_module()
    kvm.extend_hypervisor(module)
    device = module.KVMHypervisor._GenerateKVMBlockDevice("/dev/x", None, {}, "disk-1")
    assert device["file"] == {"driver": "file", "filename": "/dev/x"}


def test_qemu_is_told_that_a_block_device_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kvm.Path, "is_block_device", lambda self: str(self).startswith("/dev/loop")
    )
    module = hypervisor_module()
    kvm.extend_hypervisor(module)
    device = module.KVMHypervisor._GenerateKVMBlockDevice("/dev/loop3", None, {}, "disk-1")
    assert device["file"] == {"driver": "host_device", "filename": "/dev/loop3"}


def test_ganeti_3_0_has_no_structures_to_mend() -> None:
    members = dict.fromkeys(("GetMigrationStatus", "FinalizeMigrationSource"), lambda *args: None)
    module = SimpleNamespace(KVMHypervisor=type("KVMHypervisor", (), members))
    kvm.extend_hypervisor(module)
    assert not hasattr(module.KVMHypervisor, "_GenerateKVMBlockDevice")
