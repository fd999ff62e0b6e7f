"""Ganeti is told to use a volume, and not to use it any more."""

from __future__ import annotations

import copy
import pwd
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.pool.settings import Settings

from .conftest import Part

PARAMS = {"volume": "gv0", "host": "node1,node2", "port": 24007, "access": "userspace"}
KEPT = Settings("gv0", "/srv/b", "/dev/vdb", "join", "default")


@pytest.fixture
def use(part: Part) -> Any:
    return part("pool_use")


def test_the_parameters_of_a_volume(use: Any) -> None:
    assert use.params_for("gv0", ["node1", "node2"]) == PARAMS


@pytest.mark.parametrize("group", [None, "default"])
def test_what_is_used_is_not_used_any_more(use: Any, master: Master, group: str | None) -> None:
    before = copy.deepcopy(master.info)
    assert not use.is_used(master, PARAMS, group)
    use.use(master, PARAMS, group)
    assert use.is_used(master, PARAMS, group)
    assert not use.is_unused(master, "gv0")
    assert use.servers_of(master, "gv0", group) == "node1,node2"
    use.disuse(master, "gv0")
    assert use.is_unused(master, "gv0")
    assert master.info["enabled_disk_templates"] == before["enabled_disk_templates"]
    assert master.info["ipolicy"] == before["ipolicy"]
    assert master.groups["default"]["policy"] == {}


def test_a_group_uses_a_volume_alone(use: Any, master: Master) -> None:
    master.groups["other"] = {"params": {}, "policy": {}}
    use.use(master, PARAMS, "default")
    assert master.info["ipolicy"] == {"disk-templates": ["drbd", "plain"]}
    assert "gluster" in master.groups["default"]["policy"]["disk-templates"]
    assert not use.is_used(master, PARAMS, "other")


@pytest.mark.parametrize(
    ("name", "value"),
    [("volume", "gv1"), ("host", "node1"), ("port", 24008), ("access", "kernelspace")],
)
def test_with_another_parameter_it_is_not_used(
    use: Any, master: Master, name: str, value: Any
) -> None:
    use.use(master, PARAMS, None)
    master.info["diskparams"]["gluster"][name] = value
    assert not use.is_used(master, PARAMS, None)


@pytest.mark.parametrize("left", ["enabled_disk_templates", "ipolicy"])
def test_a_template_that_is_not_allowed_is_not_used(use: Any, master: Master, left: str) -> None:
    use.use(master, PARAMS, None)
    master.info[left] = Master().info[left]
    assert not use.is_used(master, PARAMS, None)


def test_nothing_is_enabled_twice(use: Any, master: Master) -> None:
    use.use(master, PARAMS, None)
    use.use(master, PARAMS, None)
    assert master.info["enabled_disk_templates"].count("gluster") == 1
    assert master.info["ipolicy"]["disk-templates"].count("gluster") == 1


def test_another_volume_of_the_cluster_is_left(use: Any, master: Master) -> None:
    use.use(master, {**PARAMS, "volume": "gv1"}, None)
    assert use.is_unused(master, "gv0") and use.servers_of(master, "gv0", None) is None
    use.disuse(master, "gv0")
    assert use.is_used(master, {**PARAMS, "volume": "gv1"}, None)


@pytest.mark.parametrize(
    ("enabled", "allowed"),
    [
        (["gluster"], ["gluster"]),
        (["gluster"], ["gluster", "drbd"]),
        (["drbd", "gluster"], ["gluster"]),
    ],
)
def test_the_last_template_stays(
    use: Any, master: Master, enabled: list[str], allowed: list[str]
) -> None:
    # Ganeti has to have one.
    use.use(master, PARAMS, None)
    master.info["enabled_disk_templates"] = enabled
    master.info["ipolicy"] = {"disk-templates": allowed}
    assert use.is_unused(master, "gv0")
    use.disuse(master, "gv0")
    assert master.info["enabled_disk_templates"] == enabled


def test_the_template_stays_for_a_group_that_has_a_volume_of_its_own(
    use: Any, master: Master
) -> None:
    use.use(master, PARAMS, None)
    master.groups["other"] = {"params": {"gluster": {"volume": "gv1"}}, "policy": {}}
    use.disuse(master, "gv0")
    assert "gluster" in master.info["enabled_disk_templates"]


def test_a_group_s_own_policy_keeps_its_other_templates(use: Any, master: Master) -> None:
    master.groups["default"]["policy"] = {"disk-templates": ["plain"]}
    use.use(master, PARAMS, "default")
    use.disuse(master, "gv0")
    assert master.groups["default"]["policy"] == {"disk-templates": ["plain"]}
    assert master.groups["default"]["params"] == {"gluster": {"access": "userspace"}}


def test_what_fails_midway_is_gone_on_with(use: Any, master: Master) -> None:
    use.use(master, PARAMS, "default")
    master.fail = RuntimeError("the master daemon has gone")
    with pytest.raises(RuntimeError):
        use.disuse(master, "gv0")
    assert not use.is_unused(master, "gv0")
    use.disuse(master, "gv0")
    assert use.is_unused(master, "gv0")
    assert "gluster" not in master.info["enabled_disk_templates"]


# -- settings ----------------------------------------------------------------


def test_settings_are_kept_as_tags(use: Any, master: Master) -> None:
    master.tags = {"mine", "gluster:pool:gv1:dir:/x"}
    assert use.write_settings(master, KEPT)
    assert use.read_settings(master)["gv0"] == KEPT
    assert not use.write_settings(master, KEPT)
    changed = Settings("gv0", "/srv/c")
    assert use.write_settings(master, changed)
    assert use.read_settings(master)["gv0"] == changed
    assert use.has_settings(master, "gv0")
    use.forget_settings(master, "gv0")
    assert not use.has_settings(master, "gv0")
    assert master.tags == {"mine", "gluster:pool:gv1:dir:/x"}
    before = list(master.done)
    use.forget_settings(master, "gv0")
    assert master.done == before


def test_new_settings_are_there_before_the_old_ones_go(use: Any, master: Master) -> None:
    use.write_settings(master, KEPT)
    before = set(master.tags)
    master.fail = RuntimeError("no candidate answers")
    with pytest.raises(RuntimeError):
        use.write_settings(master, Settings("gv0", "/srv/c"))
    assert master.tags == before
    use.write_settings(master, Settings("gv0", "/srv/c"))
    assert master.done[-2:] == ["TagsSet", "TagsDel"]


@pytest.mark.parametrize("tags", [["dir:b"], ["dir:/b", "dir:/c"], ["dir:/b", "device:vdb"]])
def test_tags_that_are_not_valid_are_refused_and_can_be_removed(
    use: Any, master: Master, tags: list[str]
) -> None:
    master.tags = {"gluster:pool:gv0:%s" % tag for tag in tags}
    assert (list(use.read_settings(master)), list(use.refused_settings(master))) == ([], ["gv0"])
    use.forget_settings(master, "gv0")
    assert master.tags == set()


# -- who uses it -------------------------------------------------------------


def test_the_disks_on_a_volume(use: Any, master: Master) -> None:
    use.use(master, PARAMS, None)
    ext = {"dev_type": "ext", "params": {"volume": "gv1"}, "logical_id": ["gluster", "x.0"]}
    master.add_instance("vm1", {}, {"dev_type": "plain", "logical_id": ["xenvg", "lv"]})
    master.add_instance("vm2", ext, state="down")
    master.add_instance("vm3", {**ext, "logical_id": ["another", "x.0"]})
    assert [disk.path for disk in use.disks_on(master, "gv0")] == ["ganeti/vm1.0"]
    assert [disk.instance for disk in use.disks_on(master, "gv1")] == ["vm2"]
    assert use.running_on(master, "gv0") == ["vm1"]
    assert use.running_on(master, "gv1") == []
    assert [disk.instance for disk in use.template_disks()] == ["vm1"]


@pytest.mark.parametrize(
    ("kvm", "owner"),
    [
        ({}, None),
        ({"security_model": "pool"}, None),
        ({"security_model": "user", "security_domain": "qemu"}, (64055, 105)),
        ({"security_model": "user", "security_domain": "nobody-here"}, None),
        ({"security_model": "user"}, None),
    ],
)
def test_whom_images_belong_to(
    use: Any,
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
    kvm: dict[str, str],
    owner: tuple[int, int] | None,
) -> None:
    users = {"qemu": SimpleNamespace(pw_uid=64055, pw_gid=105)}
    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    master.info["hvparams"] = {"kvm": kvm}
    assert use.owner(master) == owner
