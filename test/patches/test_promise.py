"""Warnings for disks that are larger than what their volume has free."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.constants import MIB
from ganeti_gluster.core import room
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.patches import promise
from ganeti_gluster.tools.gfapi.stat import Space

PARAMS = {"gluster": {"volume": "gv0", "host": "node1", "port": 24007, "access": "userspace"}}
FREE = 1000


class Lu:
    """A command of Ganeti's, and what it says."""

    def __init__(self, **members: Any) -> None:
        self.said: list[str] = []
        self.checked = False
        self.cfg = SimpleNamespace(
            GetNodeInfo=lambda uuid: SimpleNamespace(group="of " + uuid),
            GetNodeGroup=lambda uuid: uuid,
            GetGroupDiskParams=lambda group: PARAMS if group == "of n1" else {},
        )
        vars(self).update(members)

    def LogWarning(self, text: str, *values: Any) -> None:
        self.said.append(text % values)

    def CheckPrereq(self) -> None:
        self.checked = True


def generate(
    lu: Any, template_name: str, instance_uuid: str, disk_info: Any, full_disk_params: Any
) -> list[str]:
    """Ganeti's, with some of its parameters."""
    return ["disk/%d" % index for index, _ in enumerate(disk_info)]


def module(**members: Any) -> Any:
    known = SimpleNamespace(
        DT_GLUSTER="gluster", DT_EXT="ext", IDISK_ADOPT="adopt", IDISK_PROVIDER="provider",
        IDISK_SIZE="size",
    )  # fmt: skip
    usual = {
        "constants": known,
        "GenerateDiskTemplate": generate,
        "LUInstanceGrowDisk": type("LUInstanceGrowDisk", (Lu,), {}),
    }
    return SimpleNamespace(**{**usual, **members})


@pytest.fixture
def ganeti(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ganeti's module, extended; gv0 has `FREE` MiB free, and others do not tell."""

    def of_volume(spec: VolumeSpec) -> Space:
        if spec.name != "gv0":
            raise GanetiGlusterError("volume %s: there is none" % spec.name)
        return Space(2 * FREE * MIB, FREE * MIB)

    monkeypatch.setattr(room, "of_volume", of_volume)
    found = module()
    promise.extend(found)
    return found


def add(ganeti: Any, template: str, *disks: dict[str, Any], params: Any = PARAMS) -> list[str]:
    """Add disks; what was said."""
    lu = Lu()
    made = ganeti.GenerateDiskTemplate(lu, template, "u", disks, full_disk_params=params)
    assert len(made) == len(disks)
    return lu.said


@pytest.mark.parametrize(
    ("template", "disks", "warned"),
    [
        ("gluster", [{"size": FREE}], False),
        ("gluster", [{"size": FREE + 1}], True),
        ("gluster", [{"size": 600}, {"size": 600}], True),
        ("gluster", [{"size": 9999, "adopt": "ganeti/a.0"}], False),
        ("plain", [{"size": 9999}], False),
        ("ext", [{"size": 9999, "provider": "other"}], False),
        ("ext", [{"size": 9999, "provider": "gluster", "volume": "gv0", "host": "x"}], True),
    ],
)
def test_new_disks(ganeti: Any, template: str, disks: Any, warned: bool) -> None:
    said = add(ganeti, template, *disks)
    assert bool(said) == warned
    assert all("Volume gv0 has 1000 MiB free, less than the " in line for line in said)


def test_a_volume_that_does_not_tell(ganeti: Any) -> None:
    params = {"gluster": {"volume": "gv7", "host": "node1"}}
    (line,) = add(ganeti, "gluster", {"size": 1}, params=params)
    assert line == "The free space of the volume is not known: volume gv7: there is none"


def test_parameters_that_are_not_valid_are_for_others_to_refuse(ganeti: Any) -> None:
    assert add(ganeti, "gluster", {"size": 9999}, params={"gluster": {"volume": "a/b"}}) == []


@pytest.mark.parametrize(
    ("template", "delta", "warned"),
    [
        ("gluster", FREE, False),
        ("gluster", FREE + 1, True),
        ("gluster", 0, False),
        ("plain", 9999, False),
    ],
)
def test_a_disk_that_grows(ganeti: Any, template: str, delta: int, warned: bool) -> None:
    lu = ganeti.LUInstanceGrowDisk(
        disk=SimpleNamespace(dev_type=template, params={}),
        delta=delta,
        instance=SimpleNamespace(primary_node="n1"),
    )
    lu.CheckPrereq()
    assert lu.checked
    assert bool(lu.said) == warned


def test_a_disk_that_was_moved_grows_on_its_own_volume(ganeti: Any) -> None:
    lu = ganeti.LUInstanceGrowDisk(
        disk=SimpleNamespace(dev_type="gluster", params={"volume": "gv7"}),
        delta=1,
        instance=SimpleNamespace(primary_node="n1"),
    )
    lu.CheckPrereq()
    assert lu.said == ["The free space of the volume is not known: volume gv7: there is none"]


@pytest.mark.parametrize(
    "members",
    [
        {"LUInstanceGrowDisk": None},
        {"GenerateDiskTemplate": None},
        {"GenerateDiskTemplate": lambda lu, disks: []},
    ],
)
def test_another_ganeti_is_left_as_it_is(members: dict[str, Any]) -> None:
    found = module(**members)
    before = dict(vars(found))
    with pytest.raises(PatchRefused):
        promise.extend(found)
    assert vars(found) == before
