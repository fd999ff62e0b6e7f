"""Parameters and groups that would leave instances' disks behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core import presence
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.patches import places


class OpPrereqError(Exception):
    """Ganeti's."""


def fill(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {"gluster": {**defaults.get("gluster", {}), **own.get("gluster", {})}}


def on(volume: str | None) -> dict[str, Any]:
    return {"gluster": {"volume": volume}} if volume else {}


class Cfg:
    """Ganeti's configuration: groups a (nodes 1 and 2) and b (node 3); web is on node 1."""

    def __init__(self) -> None:
        self.cluster = SimpleNamespace(diskparams={"gluster": {"volume": "gv0", "host": "x"}})
        self.groups = {uuid: SimpleNamespace(uuid=uuid, diskparams={}) for uuid in ("a", "b")}
        self.nodes = {
            number: SimpleNamespace(uuid=number, group=group)
            for number, group in (("1", "a"), ("2", "a"), ("3", "b"))
        }
        self.templates = {"web": "gluster", "db": "drbd", "none": ""}
        self.own: dict[str, Any] = {}
        self.primaries = {"web": "1", "db": "2", "none": "2"}

    def GetClusterInfo(self) -> Any:
        return self.cluster

    def GetAllInstancesInfo(self) -> dict[str, Any]:
        return {
            name: SimpleNamespace(uuid=name, name=name, primary_node=node)
            for name, node in self.primaries.items()
        }

    def GetInstanceDisks(self, uuid: str) -> list[Any]:
        template = self.templates[uuid]
        path = "ganeti/%s.0" % uuid
        disk = SimpleNamespace(
            dev_type=template, logical_id=("gluster", path), params=self.own.get(uuid, {})
        )
        return [disk] if template else []

    def GetNodeInfo(self, uuid: str) -> Any:
        return self.nodes[uuid]

    def GetNodeGroup(self, uuid: str) -> Any:
        return self.groups[uuid]


class LU:
    """A command of Ganeti's; `checked` once its own checks have passed."""

    def __init__(self, cfg: Cfg, **members: Any) -> None:
        self.cfg = cfg
        self.checked = False
        vars(self).update(members)

    def CheckPrereq(self) -> None:
        self.checked = True


def module(*names: str) -> Any:
    return SimpleNamespace(
        objects=SimpleNamespace(FillDiskParams=fill),
        constants=SimpleNamespace(
            DT_GLUSTER="gluster",
            DISK_DT_DEFAULTS={"gluster": {"volume": "gv0", "host": "node1", "port": 24007}},
        ),
        errors=SimpleNamespace(OpPrereqError=OpPrereqError, ECODE_STATE="wrong_state"),
        **{name: type(name, (LU,), {}) for name in names},
    )


@pytest.fixture
def cfg() -> Cfg:
    return Cfg()


@pytest.fixture(autouse=True)
def volumes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is there of each volume, all that is asked for unless said otherwise."""
    there: dict[str, Any] = {}

    def present(spec: VolumeSpec, paths: Any) -> set[str]:
        found = there.get(spec.text_of_servers(), there.get(spec.name, set(paths)))
        if isinstance(found, Exception):
            raise found
        return set(paths) & found

    monkeypatch.setattr(presence, "present", present)
    return there


def modify_cluster(cfg: Cfg, given: dict[str, Any]) -> Any:
    ganeti = module("LUClusterSetParams")
    places.extend_cluster(ganeti)
    merged = fill(cfg.cluster.diskparams, given)
    unit = ganeti.LUClusterSetParams(
        cfg, op=SimpleNamespace(diskparams=given), new_diskparams=merged
    )
    unit.CheckPrereq()
    return unit


def modify_group(cfg: Cfg, uuid: str, given: dict[str, Any]) -> Any:
    ganeti = module("LUGroupSetParams", "LUGroupAssignNodes")
    places.extend_group(ganeti)
    unit = ganeti.LUGroupSetParams(
        cfg,
        group_uuid=uuid,
        op=SimpleNamespace(diskparams=given),
        new_diskparams=fill(cfg.groups[uuid].diskparams, given),
    )
    unit.CheckPrereq()
    return unit


def assign(cfg: Cfg, uuid: str, *nodes: str) -> Any:
    ganeti = module("LUGroupSetParams", "LUGroupAssignNodes")
    places.extend_group(ganeti)
    unit = ganeti.LUGroupAssignNodes(
        cfg, group=cfg.groups[uuid], op=SimpleNamespace(node_uuids=list(nodes))
    )
    unit.CheckPrereq()
    return unit


def test_the_clusters_volume_stays_while_disks_are_there(cfg: Cfg) -> None:
    with pytest.raises(OpPrereqError) as caught:
        modify_cluster(cfg, on("gv1"))
    assert caught.value.args == (
        "The disks of instance web are on volume gv0, and Ganeti would look for them on gv1;"
        " move them there first (gnt-gluster disk move)",
        "wrong_state",
    )


@pytest.mark.parametrize(
    "given", [{}, on("gv0"), on("default"), {"gluster": {"host": "y"}}, {"plain": {"stripes": 1}}]
)
def test_what_leaves_the_volume_passes(cfg: Cfg, given: dict[str, Any]) -> None:
    assert modify_cluster(cfg, given).checked
    assert modify_group(cfg, "a", given).checked


def host(text: str) -> dict[str, Any]:
    return {"gluster": {"host": text}}


def test_servers_of_another_volume_of_that_name_are_refused(
    cfg: Cfg, volumes: dict[str, Any]
) -> None:
    volumes["y:24007"] = set()
    with pytest.raises(OpPrereqError) as caught:
        modify_cluster(cfg, host("y"))
    assert caught.value.args[0] == (
        "The disks of instance web are on volume gv0 of x:24007, and Ganeti would look for them on"
        " gv0 of y:24007; name servers of the volume that has them"
    )
    volumes["x:24007"] = set()
    assert modify_cluster(cfg, host("y")).checked


def test_servers_that_do_not_answer_are_refused(cfg: Cfg, volumes: dict[str, Any]) -> None:
    volumes["y:24007"] = GanetiGlusterError("nobody is there")
    with pytest.raises(OpPrereqError, match="are on volume gv0 of y:24007: nobody is there"):
        modify_group(cfg, "a", host("y"))
    assert modify_group(cfg, "b", host("y")).checked


def test_the_order_of_servers_is_no_change(cfg: Cfg, volumes: dict[str, Any]) -> None:
    cfg.cluster.diskparams = host("x,y")
    volumes["y:24007,x:24007"] = GanetiGlusterError("not asked")
    assert modify_cluster(cfg, host("y,x")).checked


def test_without_disks_there_any_volume_passes(cfg: Cfg) -> None:
    cfg.templates["web"] = "plain"
    assert modify_cluster(cfg, on("gv1")).checked
    assert modify_group(cfg, "a", on("gv1")).checked


def test_a_disk_that_was_moved_stays_where_it_is(cfg: Cfg, volumes: dict[str, Any]) -> None:
    cfg.own["web"] = {"volume": "gv0"}
    assert modify_cluster(cfg, on("gv1")).checked
    volumes["y:24007"] = set()
    with pytest.raises(OpPrereqError, match=r"on volume gv0 of x:24007, .* on gv0 of y:24007"):
        modify_cluster(cfg, host("y"))


def test_a_groups_own_volume_is_not_the_clusters(cfg: Cfg) -> None:
    cfg.groups["a"].diskparams = on("gva")
    assert modify_cluster(cfg, on("gv1")).checked
    with pytest.raises(OpPrereqError, match=r"on volume gva, .* on gv0"):
        modify_group(cfg, "a", on("default"))


def test_a_groups_volume_stays_while_disks_are_there(cfg: Cfg) -> None:
    with pytest.raises(OpPrereqError, match=r"on volume gv0, .* on gv1"):
        modify_group(cfg, "a", on("gv1"))
    assert modify_group(cfg, "b", on("gv1")).checked


def test_a_node_with_instances_stays_among_groups_of_its_volume(cfg: Cfg) -> None:
    assert assign(cfg, "b", "1", "2").checked
    cfg.groups["b"].diskparams = on("gvb")
    assert assign(cfg, "b", "2").checked
    with pytest.raises(OpPrereqError, match=r"on volume gv0, .* on gvb"):
        assign(cfg, "b", "1", "2")


def test_where_the_image_is_not_on_the_old_volume_the_new_one_may_be_right(
    cfg: Cfg, volumes: dict[str, Any]
) -> None:
    volumes["gv0"] = set()
    assert modify_cluster(cfg, on("gv1")).checked


def test_a_volume_that_does_not_answer_may_have_them(cfg: Cfg, volumes: dict[str, Any]) -> None:
    volumes["gv0"] = GanetiGlusterError("volume gv0: no brick answers")
    with pytest.raises(OpPrereqError, match=r"It is not known whether .* no brick answers"):
        modify_cluster(cfg, on("gv1"))


def test_many_instances_are_counted(cfg: Cfg) -> None:
    for number in range(8):
        cfg.templates["vm%d" % number] = "gluster"
        cfg.primaries["vm%d" % number] = "1"
    with pytest.raises(OpPrereqError, match="instances vm0, vm1, vm2, vm3, vm4 and 4 more are"):
        modify_cluster(cfg, on("gv1"))


def test_ganetis_own_check_comes_first(cfg: Cfg) -> None:
    ganeti = module("LUClusterSetParams")

    def refuse(self: Any) -> None:
        raise OpPrereqError("stock")

    ganeti.LUClusterSetParams.CheckPrereq = refuse
    places.extend_cluster(ganeti)
    unit = ganeti.LUClusterSetParams(cfg, op=SimpleNamespace(diskparams=on("gv1")))
    with pytest.raises(OpPrereqError, match="stock"):
        unit.CheckPrereq()


def test_another_ganeti_is_left_alone() -> None:
    ganeti = module("LUGroupSetParams")
    with pytest.raises(PatchRefused):
        places.extend_group(ganeti)
    assert "CheckPrereq" not in vars(ganeti.LUGroupSetParams)
    with pytest.raises(PatchRefused):
        places.extend_cluster(SimpleNamespace())
