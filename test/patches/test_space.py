"""The volumes that the master names to its nodes, and the values of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.patches import space
from ganeti_gluster.tools.gfapi.stat import Space

KNOWN = SimpleNamespace(
    ST_GLUSTER="gluster",
    DT_GLUSTER="gluster",
    SF_NAME="name",
    SF_SIZE="size",
    SF_FREE="free",
    SF_USED="used",
    SF_ALLOCATABLE="allocatable",
)


class Config:
    """Two groups with a volume each."""

    groups = {
        "uuid1": {"volume": "gv0", "host": "a,b", "port": 24007, "access": "userspace"},
        "uuid2": {"volume": "gv1", "host": "c", "port": 24007, "access": "userspace"},
    }

    def GetAllNodesInfo(self) -> dict[str, Any]:
        names = {"n1": "uuid1", "n2": "uuid2", "n3": "uuid1"}
        return {name: SimpleNamespace(name=name, group=group) for name, group in names.items()}

    def GetAllNodeGroupsInfo(self) -> dict[str, Any]:
        return {uuid: uuid for uuid in self.groups}

    def GetGroupDiskParams(self, group: str) -> dict[str, Any]:
        return {"gluster": self.groups[group]}


def node_module() -> SimpleNamespace:
    return SimpleNamespace(
        constants=KNOWN, _GetStorageTypeArgs=lambda cfg, kind: [["/srv/%s" % kind]]
    )


def test_each_node_measures_the_volume_of_its_group() -> None:
    module = node_module()
    space.extend_node(module)
    (volumes,) = module._GetStorageTypeArgs(Config(), "gluster")
    assert [spec.name for spec in space.specs_of(volumes, "n3")] == ["gv0"]
    (spec,) = space.specs_of(volumes, "n2")
    assert (spec.name, spec.servers) == ("gv1", (("c", 24007),))
    assert space.specs_of(volumes, "n4") == []


def test_other_storage_types_are_asked_for_as_ever() -> None:
    module = node_module()
    space.extend_node(module)
    assert module._GetStorageTypeArgs(Config(), "file") == [["/srv/file"]]


def test_a_ganeti_without_that_function_is_left_alone() -> None:
    with pytest.raises(PatchRefused, match="_GetStorageTypeArgs"):
        space.extend_node(SimpleNamespace(constants=KNOWN))


def test_the_path_that_a_stock_master_sends_is_not_measured() -> None:
    with pytest.raises(GanetiGlusterError, match="the master names no volume; 'gnt-gluster"):
        space.specs_of(["/var/run/ganeti/gluster"], "n1")


def test_values_are_mib_in_the_order_asked() -> None:
    room = Space(total=(100 << 20) + 5, free=(30 << 20) - 5)
    fields = ["free", "name", "allocatable", "used", "size"]
    assert space.row("gv0", room, fields, KNOWN) == [29, "gv0", True, 70, 100]
    with pytest.raises(ValueError, match="unknown field color"):
        space.row("gv0", room, ["color"], KNOWN)
