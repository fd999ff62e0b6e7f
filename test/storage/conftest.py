"""What Ganeti has of its own where this package's storage classes are imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import ganeti_gluster.storage

NODES = ("node1", "node2", "node3")


class GenericError(Exception):
    """Ganeti's."""


class BlockDeviceError(GenericError):
    """Ganeti's."""


class HypervisorError(GenericError):
    """Ganeti's."""


class ProgrammerError(GenericError):
    """Ganeti's."""


class BlockDev:
    """Ganeti's, as far as it matters."""

    def __init__(
        self, unique_id: Any, children: Any, size: int, params: Any, dyn_params: Any, **kwargs: Any
    ) -> None:
        self.dev_path = None
        self.unique_id = unique_id
        self.size = size
        self.params = params


def module_of(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module


@pytest.fixture
def ganeti(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """`ganeti.load(name)`: a module of ours that imports Ganeti's, for this test alone.

    The node is node1 of `NODES`.
    """
    errors = module_of(
        "ganeti.errors",
        GenericError=GenericError,
        BlockDeviceError=BlockDeviceError,
        HypervisorError=HypervisorError,
        ProgrammerError=ProgrammerError,
    )
    constants = module_of(
        "ganeti.constants", DT_EXT="ext", DISK_KERNELSPACE="kernelspace", HT_KVM="kvm"
    )
    objects = module_of("ganeti.objects")
    base = module_of("ganeti.storage.base", BlockDev=BlockDev)
    storage = module_of("ganeti.storage", base=base)
    store = SimpleNamespace(
        GetNodeList=lambda: list(NODES),
        GetNodePrimaryIPList=lambda: [
            "%s 192.0.2.%d" % (name, number) for number, name in enumerate(NODES, 1)
        ],
    )
    netutils = module_of(
        "ganeti.netutils", IPAddress=SimpleNamespace(Own=lambda address: address == "192.0.2.1")
    )
    ssconf = module_of("ganeti.ssconf", SimpleStore=lambda: store)
    monitor = module_of("ganeti.hypervisor.hv_kvm.monitor")
    hv_kvm = module_of("ganeti.hypervisor.hv_kvm", monitor=monitor)
    hypervisor = module_of("ganeti.hypervisor", hv_kvm=hv_kvm)
    package = module_of(
        "ganeti",
        errors=errors,
        constants=constants,
        netutils=netutils,
        ssconf=ssconf,
        hypervisor=hypervisor,
        objects=objects,
        storage=storage,
    )
    ours = (package, errors, constants, netutils, ssconf, objects, storage, base)
    for module in (*ours, hypervisor, hv_kvm, monitor):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    prefix = ganeti_gluster.storage.__name__ + "."
    before = {name for name in sys.modules if name.startswith(prefix)}

    yield SimpleNamespace(
        errors=errors,
        hv_kvm=hv_kvm,
        load=lambda name: importlib.import_module(prefix + name),
    )

    for name in [name for name in sys.modules if name.startswith(prefix)]:
        if name not in before:
            del sys.modules[name]
            delattr(ganeti_gluster.storage, name.removeprefix(prefix))
