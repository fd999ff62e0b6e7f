"""What the master's configuration says of volumes and disks."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from ganeti_cli import OpPrereqError
from ganeti_master import Master

from .conftest import Part

EXT = {
    "dev_type": "ext",
    "params": {"volume": "gv1", "host": "s1"},
    "logical_id": ["gluster", "x"],
}


@pytest.fixture
def config(part: Part, master: Master) -> Any:
    return part("cluster_config")


@pytest.fixture
def used(part: Part, master: Master) -> Master:
    """Ganeti uses the volume gv0."""
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1"]), None)
    return master


def test_only_the_master_knows(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ssconf = importlib.import_module("ganeti.ssconf")
    monkeypatch.setattr(ssconf, "GetMasterAndMyself", lambda ss=None: ("node1", "node2"))
    with pytest.raises(OpPrereqError) as failure:
        config.load()
    assert str(failure.value).startswith("('This is not the master node; run it on node1'")


def test_without_the_template_nothing_is_used(config: Any, master: Master) -> None:
    found = config.load()
    assert (found.used, found.specs, found.disks) == (False, [], ())
    assert found.cluster == "cluster.example.org"


def test_the_template_s_volume_and_disks_on_it(config: Any, used: Master) -> None:
    used.add_instance("vm1", {}, {"dev_type": "plain", "logical_id": ["xenvg", "lv"]}, {})
    found = config.load()
    assert [spec.name for spec in found.specs] == ["gv0"]
    assert [(disk.index, disk.path) for disk in found.disks] == [
        (0, "ganeti/vm1.0"),
        (2, "ganeti/vm1.2"),
    ]
    assert found.disks[0].size == 1 << 30
    assert found.disks[0].node == "node1"


def test_a_group_has_parameters_of_its_own_beside_the_cluster_s(config: Any, used: Master) -> None:
    used.groups["default"]["params"] = {"gluster": {"volume": "gv2"}}
    used.add_instance("vm1", {})
    found = config.load()
    assert found.params["default"] == [{"host": "node1", "port": 24007, "volume": "gv2"}]
    assert found.disks[0].volume == "gv2"


@pytest.mark.parametrize("left", ["enabled_disk_templates", "ipolicy"])
def test_a_template_that_is_not_allowed_is_not_used(config: Any, used: Master, left: str) -> None:
    used.info[left] = Master().info[left]
    assert not config.load().used


def test_but_its_disks_are(config: Any, used: Master) -> None:
    used.info["ipolicy"] = Master().info["ipolicy"]
    used.add_instance("vm1", {})
    assert [spec.name for spec in config.load().specs] == ["gv0"]


def test_a_disk_of_the_provider_has_a_volume_of_its_own(config: Any, used: Master) -> None:
    used.add_instance("vm1", EXT, {**EXT, "logical_id": ["another", "x"]})
    found = config.load()
    assert [(disk.volume, disk.path) for disk in found.disks] == [("gv1", "ganeti-ext/x")]
    assert {spec.name for spec in found.specs} == {"gv0", "gv1"}


def test_a_volume_of_a_group_without_nodes_is_not_looked_at(config: Any, used: Master) -> None:
    used.groups["empty"] = {"params": {"gluster": {"volume": "gv3"}}, "policy": {}}
    assert [spec.name for spec in config.load().specs] == ["gv0"]


def test_what_is_not_there_any_more_is_left_out(config: Any, used: Master) -> None:
    used.add_instance("vm1", {}, {})
    used.config["disks"].pop("vm1-disk0")
    assert [disk.index for disk in config.load().disks] == [1]


@pytest.mark.parametrize("params", [{"volume": "a/b"}, {"host": ""}, {"port": "x"}, {"host": 5}])
def test_parameters_that_are_not_valid_name_no_volume(
    config: Any, used: Master, params: dict[str, Any]
) -> None:
    used.info["diskparams"]["gluster"].update(params)
    found = config.load()
    assert found.used and found.specs == []


def test_settings_of_pools_and_why_some_are_refused(config: Any, used: Master) -> None:
    used.config["cluster"]["tags"] = ["gluster:pool:gv0:dir:/b", "gluster:pool:gv1:dir:b"]
    found = config.load()
    assert (list(found.pools), list(found.refused_pools)) == (["gv0"], ["gv1"])


def test_nodes_that_are_offline(config: Any, used: Master) -> None:
    used.nodes["node2"]["offline"] = True
    assert config.load().offline == {"node2"}
