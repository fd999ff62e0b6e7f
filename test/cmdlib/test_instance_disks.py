"""Which images are an instance's."""

from __future__ import annotations

from typing import Any

import pytest
from ganeti_cli import OpPrereqError
from ganeti_master import Master

from ganeti_gluster.errors import InvalidParameter

from .conftest import Part


@pytest.fixture
def disks(part: Part, master: Master) -> Any:
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1", "node2"]), None)
    master.add_instance("vm1", {}, {"dev_type": "plain", "logical_id": ["xenvg", "lv"]})
    master.add_instance("vm2", {"dev_type": "ext", "params": {"volume": "gv1"},
                                "logical_id": ["gluster", "x"]})  # fmt: skip
    return part("instance_disks")


def test_those_of_all_instances(disks: Any) -> None:
    assert [(d.instance, d.index, d.spec.name, d.path, d.template) for d in disks.find([])] == [
        ("vm1", 0, "gv0", "ganeti/vm1.0", True),
        ("vm2", 0, "gv1", "ganeti-ext/x", False),
    ]


def test_those_of_one(disks: Any) -> None:
    (found,) = disks.find(["vm1"])
    assert (found.size, found.uuid, found.group) == (1024, "vm1-disk0", "default")
    assert found.spec.text_of_servers() == "node1:24007,node2:24007"


def test_one_that_was_moved(disks: Any, master: Master) -> None:
    master.config["disks"]["vm1-disk0"]["params"] = {"volume": "gv1"}
    (found,) = disks.find(["vm1"])
    assert (found.spec.name, found.spec.text_of_servers()) == ("gv1", "node1:24007,node2:24007")
    (found,) = disks.find(
        ["vm1"],
        read=lambda: {
            **master.config,
            "disks": {
                **master.config["disks"],
                "vm1-disk0": {
                    "dev_type": "gluster",
                    "size": 1,
                    "logical_id": ["gluster", "ganeti/vm1.0"],
                },
            },
        },
    )
    assert found.spec.name == "gv0"


def test_an_instance_that_there_is_not(disks: Any) -> None:
    with pytest.raises(OpPrereqError) as failure:
        disks.find(["vm1", "vm9"])
    assert failure.value.args == ("Instance 'vm9' is not known", "unknown_entity")


def test_one_that_is_gone_from_the_file_by_now(disks: Any, master: Master) -> None:
    del master.config["instances"]["u-vm1"]
    assert [disk.instance for disk in disks.find([])] == ["vm2"]


def test_a_volume_that_is_no_name_is_an_error(disks: Any, master: Master) -> None:
    master.info["diskparams"]["gluster"]["volume"] = "a/b"
    with pytest.raises(InvalidParameter, match="volume name 'a/b'"):
        disks.find(["vm1"])
