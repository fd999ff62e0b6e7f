"""What hooks are told of an instance's gluster disks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import __version__
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import instance_utils

PARAMS = {
    "host": "node1,node2",
    "port": 24007,
    "volume": "gv0",
    "access": "userspace",
    "patience": "60",
    "preallocation": "off",
}


def test_the_volume_is_added_to_what_ganeti_says() -> None:
    module = SimpleNamespace(
        constants=SimpleNamespace(DT_GLUSTER="gluster"),
        BuildInstanceHookEnvByObject=lambda lu, instance, override=None: {"INSTANCE_NAME": "x"},
    )
    disks = [
        SimpleNamespace(dev_type="gluster", params={}),
        SimpleNamespace(dev_type="gluster", params={"volume": "gv1"}),
    ]
    config = SimpleNamespace(
        GetInstanceDiskParams=lambda instance: {"gluster": PARAMS},
        GetInstanceDisks=lambda uuid: disks,
    )
    instance_utils.extend(module)
    env: dict[str, Any] = module.BuildInstanceHookEnvByObject(
        SimpleNamespace(cfg=config), SimpleNamespace(uuid="u"), override={}
    )
    assert env == {
        "INSTANCE_NAME": "x",
        "INSTANCE_GLUSTER_HOST": "node1,node2",
        "INSTANCE_GLUSTER_PORT": 24007,
        "INSTANCE_GLUSTER_VOLUME": "gv0",
        "INSTANCE_GLUSTER_DISK1_VOLUME": "gv1",
        "INSTANCE_GLUSTER_ACCESS": "userspace",
        "INSTANCE_GLUSTER_PATIENCE": "60",
        "INSTANCE_GLUSTER_VERSION": __version__,
    }


def test_the_disks_of_an_instance_that_was_removed_are_those_that_are_given() -> None:
    def unknown(uuid: str) -> None:
        raise KeyError(uuid)

    module = SimpleNamespace(
        constants=SimpleNamespace(DT_GLUSTER="gluster"),
        BuildInstanceHookEnvByObject=lambda lu, instance, secondary_nodes=None, disks=None: {},
    )
    config = SimpleNamespace(
        GetInstanceDiskParams=lambda instance: {"gluster": PARAMS}, GetInstanceDisks=unknown
    )
    instance_utils.extend(module)
    moved = SimpleNamespace(dev_type="gluster", params={"volume": "gv1"})
    env = module.BuildInstanceHookEnvByObject(
        SimpleNamespace(cfg=config), SimpleNamespace(uuid="u"), disks=[moved]
    )
    assert env["INSTANCE_GLUSTER_DISK0_VOLUME"] == "gv1"


def test_an_unknown_ganeti_is_left_alone() -> None:
    with pytest.raises(PatchRefused, match="BuildInstanceHookEnvByObject is missing"):
        instance_utils.extend(SimpleNamespace())
